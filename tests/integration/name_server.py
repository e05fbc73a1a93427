"""A network namespace with BIND 9 in it, for the tests that look at DNS.

    dstm-dns-PID ---- lo ---- named (127.0.0.1:53): example.org and reverse zones, updates by TSIG
                        |---- whatever the test runs there
"""

import os
import shutil
import subprocess
import tempfile

from kea_process import SBIN, wait_until

SECRET = "3nWlGBb9Zj0dSg2FyUJ8c1vKk1nS8C7m0dLUZyqHhZ0="
KEY = "dstm-key"
ZONE_FILE = """$TTL 60
@ IN SOA ns.example.org. admin.example.org. 1 3600 600 86400 60
@ IN NS ns.example.org.
"""


class NameServer:
    def __init__(self, zones, namespace=None):
        self.is_guest = namespace is not None  # in a namespace that is somebody else's
        self.namespace = namespace or "dstm-dns-%d" % os.getpid()
        self.folder = tempfile.mkdtemp(prefix="dstm-named-")
        self.zones = zones
        self.process = None
        self.run = ("ip", "netns", "exec", self.namespace)
        if not self.is_guest:
            subprocess.run(["ip", "netns", "add", self.namespace], check=True)
            subprocess.run(["ip", "-n", self.namespace, "link", "set", "lo", "up"], check=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def key_file(self, secret=SECRET):
        return self.write("key", 'key "%s" { algorithm hmac-sha256; secret "%s"; };\n'
                          % (KEY, secret))

    def start(self):
        text = ('options { directory "%s"; listen-on { 127.0.0.1; }; listen-on-v6 { none; };'
                ' pid-file none; session-keyfile none; recursion no; dnssec-validation no; };\n'
                'controls {};\ninclude "%s";\n' % (self.folder, self.key_file()))
        for zone in self.zones:
            self.write(zone, ZONE_FILE + ("ns IN A 127.0.0.1\n" if zone == "example.org" else ""))
            text += ('zone "%s" { type primary; file "%s"; allow-update { key %s; }; };\n'
                     % (zone, zone, KEY))
        with open(self.path("log"), "wb") as log:
            self.process = subprocess.Popen(
                [*self.run, shutil.which("named", path=SBIN), "-f", "-g", "-c",
                 self.write("named.conf", text)], stdout=log, stderr=log)
        wait_until(lambda: self.ask("example.org", "SOA"), "named answers")

    def ask(self, name, kind):
        """Sorted answers; of a delegation, what stands in the authority section."""
        answer = subprocess.run([*self.run, "dig", "@127.0.0.1", "+norecurse", "+noall", "+answer",
                                 "+authority", "+time=1", "+tries=1", name, kind],
                                capture_output=True, text=True, check=False).stdout
        lines = [line.split(None, 4) for line in answer.splitlines() if not line.startswith(";")]
        return sorted(line[4] for line in lines if len(line) == 5 and line[3] == kind and
                      line[0].rstrip(".") == name.rstrip("."))

    def glue(self, name, kind):
        answer = subprocess.run([*self.run, "dig", "@127.0.0.1", "+norecurse", "+noall",
                                 "+additional", "+time=1", "+tries=1", name, "NS"],
                                capture_output=True, text=True, check=False).stdout
        lines = [line.split(None, 4) for line in answer.splitlines() if not line.startswith(";")]
        return sorted(line[4] for line in lines if len(line) == 5 and line[3] == kind)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def remove(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
        if not self.is_guest:
            subprocess.run(["ip", "netns", "del", self.namespace], check=False)
        shutil.rmtree(self.folder)
