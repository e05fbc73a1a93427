"""Names of clients in DNS: kea-dhcp4 and kea-dhcp6 with the hook, kea-dhcp-ddns, BIND 9 with TSIG.

    test --- hook's sockets --- kea-dhcp4, kea-dhcp6 --- kea-dhcp-ddns --- named
                                  all in one network namespace, on its loopback

Run as root: kea_ddns_test.py path/to/libdhcp_dstm.so. Exit code 77: cannot run here.
"""

import json
import os
import shutil
import signal
import subprocess
import unittest

from kea_process import SBIN, Kea, context, main, wait_until
from name_server import KEY, SECRET, NameServer

REVERSE4 = "2.0.192.in-addr.arpa"
REVERSE6 = "0.0.1.0.8.b.d.0.1.0.0.2.ip6.arpa"
DNS = [{"ip-address": "127.0.0.1", "port": 53}]


def ptr4(address):
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


class DdnsServer:
    """kea-dhcp-ddns in the name server's namespace and folder."""

    def __init__(self, dns, reverse_zones=(REVERSE4, REVERSE6)):
        configuration = {"DhcpDdns": {
            "ip-address": "127.0.0.1", "port": 53001,
            "tsig-keys": [{"name": KEY, "algorithm": "HMAC-SHA256", "secret": SECRET}],
            "forward-ddns": {"ddns-domains": [
                {"name": "example.org.", "key-name": KEY, "dns-servers": DNS}]},
            "reverse-ddns": {"ddns-domains": [
                {"name": zone + ".", "key-name": KEY, "dns-servers": DNS}
                for zone in reverse_zones]},
            "loggers": [{"name": "kea-dhcp-ddns", "severity": "INFO",
                         "output_options": [{"output": dns.path("d2.log"), "flush": True}]}]}}
        self.log_path = dns.path("d2.log")
        path = dns.write("d2.conf", json.dumps(configuration))
        environment = dict(os.environ, KEA_PIDFILE_DIR=dns.folder, KEA_LOCKFILE_DIR=dns.folder)
        self.process = subprocess.Popen(
            [*dns.run, shutil.which("kea-dhcp-ddns", path=SBIN), "-c", path], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: "DHCP_DDNS_STARTED" in self.log() or self.process.poll() is not None,
                   "kea-dhcp-ddns started")

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class KeaDdnsTest(unittest.TestCase):
    def setUp(self):
        self.dns = NameServer(["example.org", REVERSE4, REVERSE6])
        self.addCleanup(self.dns.remove)
        self.dns.start()
        self.ddns = DdnsServer(self.dns)
        self.addCleanup(self.ddns.stop)

    def start(self, family):
        kea = Kea(family, self.dns.run)
        self.addCleanup(kea.remove)
        kea.more = {"dhcp-ddns": {"enable-updates": True, "server-ip": "127.0.0.1"},
                    "ddns-send-updates": True, "ddns-qualifying-suffix": "example.org"}
        kea.start_and_wait()
        stream = kea.stream()
        self.addCleanup(stream.close)
        return stream

    def wait_for(self, name, kind, expected):
        try:
            wait_until(lambda: self.dns.ask(name, kind) == expected, "DNS")
        except AssertionError:
            self.fail("%s %s is %s, not %s\n%s" % (name, kind, self.dns.ask(name, kind), expected,
                                                  self.ddns.log()[-3000:]))

    def check(self, family, kind, client, reverse):
        """`reverse` makes the name of an address in the reverse zone."""
        stream = self.start(family)
        allocate, release = ("dstm%d-lease-%s" % (family, verb) for verb in ("allocate", "release"))

        def ask(command, **arguments):
            answer = stream.call(command, {"client-id": client, **arguments})
            self.assertEqual(answer["result"], 0, answer)
            return answer["arguments"]

        lease = ask(allocate, hostname="Lab-%d" % family, **{"user-context": context(1)})
        address, name = lease["ip-address"], "lab-%d.example.org" % family
        self.assertEqual(lease["hostname"], name + ".")
        self.wait_for(name, kind, [address])
        self.wait_for(reverse(address), "PTR", [name + "."])
        # Another name replaces it.
        self.assertEqual(ask(allocate, hostname="other-%d" % family)["hostname"],
                         "other-%d.example.org." % family)
        self.wait_for(name, kind, [])
        self.wait_for("other-%d.example.org" % family, kind, [address])
        self.wait_for(reverse(address), "PTR", ["other-%d.example.org." % family])
        ask(release, **{"ip-address": address})
        self.wait_for("other-%d.example.org" % family, kind, [])
        self.wait_for(reverse(address), "PTR", [])
        # The end of its time takes it away without us.
        lease = ask(allocate, hostname="short-%d" % family, **{"valid-lifetime": 2})
        self.wait_for("short-%d.example.org" % family, kind, [lease["ip-address"]])
        self.wait_for("short-%d.example.org" % family, kind, [])
        self.wait_for(reverse(lease["ip-address"]), "PTR", [])

    def test_an_ipv4_lease_has_its_name_in_both_zones(self):
        self.check(4, "A", "00:aa:01", ptr4)

    def test_an_ipv6_lease_has_its_name_in_both_zones(self):
        def ptr6(address):
            host = address.split("::")[1].rjust(16, "0")
            return ".".join(reversed(host)) + ".0.0.0.0." + REVERSE6
        self.check(6, "AAAA", "00:04:aa:01", ptr6)


if __name__ == "__main__":
    main(["kea-dhcp4", "kea-dhcp6", "kea-dhcp-ddns", "named", "dig"])
