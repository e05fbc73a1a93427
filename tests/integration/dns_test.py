"""Names from end to end: dstm-client to dstm-server to Kea to kea-dhcp-ddns to BIND 9, and the
reverse zone of a prefix from dstm-server to BIND by nsupdate. All of DNS lives on the broker's
loopback."""

import ipaddress
import json
import shutil
import unittest

import campus as c
import dual as d
import support
from kea_ddns_test import DdnsServer, ptr4
from name_server import NameServer

REVERSE6 = "1.0.8.b.d.0.1.0.0.2.ip6.arpa"  # of dual.POOLS6
ZONES = ["example.org", "2.0.192.in-addr.arpa", REVERSE6]


def reverse_zone(prefix):
    """Of a prefix that ends between two digits."""
    network = ipaddress.IPv6Network(prefix)
    digits = network.network_address.exploded.replace(":", "")[:network.prefixlen // 4]
    return ".".join(reversed(digits)) + ".ip6.arpa"


class NamedCampus(d.DualCampus):
    def write_kea_configuration(self):
        super().write_kea_configuration()
        for name in ("kea-dhcp4.conf", "kea-dhcp6.conf"):
            self.change_configuration(name, lambda kea: kea.update({
                "dhcp-ddns": {"enable-updates": True, "server-ip": "127.0.0.1"},
                "ddns-send-updates": True}))


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for program in ("named", "kea-dhcp-ddns", "nsupdate", "dig"):
            if shutil.which(program, path="/usr/sbin:/usr/bin") is None:
                raise unittest.SkipTest(f"{program} is not installed")
        cls.campus = campus = NamedCampus()
        cls.addClassCleanup(campus.close)
        cls.dns = NameServer(ZONES, campus.broker.namespace)
        cls.addClassCleanup(cls.dns.remove)
        cls.dns.start()
        ddns = DdnsServer(cls.dns, (ZONES[1], REVERSE6))
        cls.addClassCleanup(ddns.stop)
        campus.change_configuration("dstm-server.conf", lambda server: server.update({
            "dns": {"suffix": "example.org",
                    "reverse": {"address": "127.0.0.1", "key-file": cls.dns.path("key"),
                                "zones": [REVERSE6]}}}))
        campus.add_user("alice", "secret")
        campus.start_daemons()

    def up(self, **changes):
        client = self.campus.start_client(
            self.campus.client_configuration("alice-1", "alice", "secret", **changes))
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_UP", timeout=30)
        return client

    def status(self):
        return json.loads(self.campus.run_client_command("alice-1", "status", "--json").stdout)

    def must_come_and_go(self, client, asked):
        """Each (name, kind) has the answers expected, and none when the client has gone."""
        for (name, kind), answers in asked.items():
            c.wait_for(f"{name} {kind} {answers}",
                       lambda n=name, k=kind, a=answers: self.dns.ask(n, k) == a)
        self.assertEqual(client.stop(), 0)
        for name, kind in asked:
            c.wait_for(f"{name} {kind} is gone",
                       lambda n=name, k=kind: self.dns.ask(n, k) == [])

    def test_an_ipv6_address_has_a_name_both_ways(self):
        client = self.up()
        status = self.status()
        self.assertRegex(status["name"], r"^[0-9a-f]+\.alice\.example\.org$")
        address = ipaddress.IPv6Address(status["address"])
        self.must_come_and_go(client, {(status["name"], "AAAA"): [str(address)],
                                       (address.reverse_pointer, "PTR"): [status["name"] + "."]})

    def test_an_ipv4_address_has_a_name_both_ways(self):
        campus = self.campus
        campus.client.ip("link", "set", "lan", "up")
        self.addCleanup(campus.client.ip, "link", "set", "lan", "down")
        campus.client.ip("-6", "addr", "replace", f"{c.CLIENT}/64", "dev", "lan")
        campus.client.ip("-6", "route", "replace", "default", "via", "2001:db8:1::1")
        client = self.up(**{"tunnel-type": "v4v6", "server": c.BROKER, "routes": ["0.0.0.0/0"]})
        status = self.status()
        self.must_come_and_go(client, {
            (status["name"], "A"): [status["address"]],
            (ptr4(status["address"]), "PTR"): [status["name"] + "."]})

    def test_the_reverse_zone_of_a_prefix_goes_to_the_servers_the_client_lists(self):
        self.campus.client.ip("link", "add", "inside", "type", "veth", "peer", "name", "beyond")
        self.addCleanup(self.campus.client.ip, "link", "del", "inside")
        client = self.up(router={"prefix-length": 56, "inside-interface": "inside",
                                 "dns-servers": ["2001:db8:80::53"]})
        zone = reverse_zone(self.status()["prefix"])
        self.must_come_and_go(client, {(zone, "NS"): [f"ns1.{zone}."]})


if __name__ == "__main__":
    support.main()
