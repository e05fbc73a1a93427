"""A real kea-dhcp4 or kea-dhcp6 with the DSTM hook, for the tests that need one.

    test --- control socket ---------.
      |                            kea-dhcp4 or kea-dhcp6 (no interface)
      `------- the hook's socket ----'    |  libdhcp_dstm.so, libdhcp_lease_cmds.so
                                       leases.csv
"""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SKIPPED = 77
PATIENCE = 20  # seconds for any state to come
SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"
LEASE_CMDS = next(iter(glob.glob("/usr/lib/*/kea/hooks/libdhcp_lease_cmds.so")), None)


def wait_until(condition, what):
    """Polls for a state; the pause only spares the processor."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError("not within %d seconds: %s" % (PATIENCE, what))


class Stream:
    """One connection to the hook's own socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw", encoding="utf-8", newline="\n")
        self.events = []
        self.hello = self.line()

    def line(self):
        text = self.file.readline()
        if not text:
            raise ConnectionError("closed by the hook")
        return json.loads(text)

    def send(self, identifier, command, arguments):
        message = {"id": identifier, "command": command, "arguments": arguments}
        self.file.write(json.dumps(message, ensure_ascii=False) + "\n")

    def call(self, command, arguments=None):
        self.send(1, command, arguments or {})
        self.file.flush()
        while True:
            message = self.line()
            if "id" in message:
                return message
            self.events.append(message)

    def event(self):
        return self.events.pop(0) if self.events else self.line()

    def close(self):
        self.file.close()
        self.socket.close()


class Kea:
    """One server with a configuration and a folder of its own. `run` comes before its command."""

    hook = None  # path of libdhcp_dstm.so

    def __init__(self, family=4, run=("unshare", "--net", "--")):
        self.family = family
        self.program = "kea-dhcp%d" % family
        self.run = run
        self.folder = tempfile.mkdtemp(prefix="dstm-kea-")
        self.process = None
        self.parameters = {"socket-name": self.path("dstm.sock")}
        self.valid_lifetime = 3600
        self.multi_threading = False
        self.more = {}  # of the configuration

    def path(self, name):
        return os.path.join(self.folder, name)

    def subnet(self):
        if self.family == 4:
            return {"id": 1, "subnet": "192.0.2.0/24",
                    "pools": [{"pool": "192.0.2.10 - 192.0.2.200"}]}
        return {"id": 1, "subnet": "2001:db8:100::/64",
                "pools": [{"pool": "2001:db8:100::1 - 2001:db8:100::ffff"}],
                "pd-pools": [{"prefix": "2001:db8:200::", "prefix-len": 48, "delegated-len": 56}]}

    def configuration(self):
        libraries = [{"library": self.hook, "parameters": self.parameters}]
        if LEASE_CMDS:
            libraries.append({"library": LEASE_CMDS})
        configuration = {
            "interfaces-config": {"interfaces": []},
            "control-socket": {"socket-type": "unix", "socket-name": self.path("control.sock")},
            "lease-database": {"type": "memfile", "persist": True,
                               "name": self.path("leases.csv")},
            "expired-leases-processing": {"reclaim-timer-wait-time": 1, "max-reclaim-leases": 0},
            "multi-threading": {"enable-multi-threading": self.multi_threading,
                                "thread-pool-size": 2},
            "valid-lifetime": self.valid_lifetime, "min-valid-lifetime": 1,
            "max-valid-lifetime": 7200,
            "subnet%d" % self.family: [self.subnet()],
            "hooks-libraries": libraries,
            "loggers": [{"name": self.program, "severity": "INFO",
                         "output_options": [{"output": self.path("kea.log"), "flush": True}]}]}
        if self.family == 6:  # without an interface it cannot make one
            configuration["server-id"] = {"type": "EN", "enterprise-id": 2495,
                                          "identifier": "0102030405", "persist": False}
        return {"Dhcp%d" % self.family: {**configuration, **self.more}}

    def write_configuration(self):
        with open(self.path("kea.conf"), "w", encoding="utf-8") as file:
            json.dump(self.configuration(), file)

    def start(self):
        self.write_configuration()
        environment = dict(os.environ, KEA_PIDFILE_DIR=self.folder, KEA_LOCKFILE_DIR=self.folder)
        with open(self.path("output"), "ab") as output:
            self.process = subprocess.Popen(
                [*self.run, shutil.which(self.program, path=SBIN), "-c", self.path("kea.conf")],
                env=environment, stdout=output, stderr=output)

    def start_and_wait(self):
        started = "DHCP%d_STARTED" % self.family
        before = self.log().count(started)
        self.start()
        wait_until(lambda: self.log().count(started) > before or self.died(),
                   self.program + " started")
        if self.died():
            raise AssertionError(self.program + " died:\n" + self.log())

    def died(self):
        return self.process.poll() is not None

    def log(self):
        try:
            with open(self.path("kea.log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def control(self, command, arguments=None):
        message = {"command": command}
        if arguments is not None:
            message["arguments"] = arguments
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(PATIENCE)
            control.connect(self.path("control.sock"))
            control.sendall(json.dumps(message).encode())
            parts = []
            while part := control.recv(65536):
                parts.append(part)
        return json.loads(b"".join(parts))

    def stream(self):
        return Stream(self.path("dstm.sock"))

    def statistic(self, name):
        answer = self.control("statistic-get", {"name": "subnet[1]." + name})
        return answer["arguments"]["subnet[1]." + name][0][0]

    def lease_file(self):
        """address -> last row of the lease file."""
        rows = {}
        for name in sorted(glob.glob(self.path("leases.csv*")), reverse=True):
            with open(name, encoding="utf-8") as file:
                header = file.readline().strip().split(",")
                for line in file:
                    row = dict(zip(header, line.rstrip("\n").split(",")))
                    rows[row["address"]] = row
        return rows

    def stop(self, how=signal.SIGTERM):
        if self.process and not self.died():
            self.process.send_signal(how)
            self.process.wait(PATIENCE)

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder)


def context(generation, user="alice"):
    return {"dstm": {"user": user, "host": "h", "tunnel-type": "v4v6",
                     "outer-address": "2001:db8:1::5", "outer-port": 0, "endpoint": "tep1",
                     "generation": generation}}


def reason_to_skip(programs):
    if os.geteuid() != 0:
        return "needs root for a network namespace"
    for program in programs:
        if not shutil.which(program, path=SBIN):
            return program + " is not installed"
    if subprocess.run(["unshare", "--net", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        return "no network namespace can be made here"
    return None


def main(programs):
    if len(sys.argv) < 2 or not os.path.exists(sys.argv[1]):
        sys.exit("usage: %s path/to/libdhcp_dstm.so [unittest arguments]" % sys.argv[0])
    Kea.hook = os.path.abspath(sys.argv.pop(1))
    why = reason_to_skip(programs)
    if why:
        print("skipped: " + why)
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
