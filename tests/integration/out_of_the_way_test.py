#!/usr/bin/env python3
"""The client is never in the way: of native IPv4, of IPv6, or of what the host was before."""

import json
import os
import signal
import unittest

import campus as c
import support

NATIVE_GATEWAY = "198.51.100.1"
NATIVE = ("route", "add", "default", "via", NATIVE_GATEWAY, "dev", "wan0")


class OutOfTheWay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()
        host = cls.campus.client
        # Another network with IPv4, which carries nothing yet.
        cls.campus.wire("client", "wan0", "198.51.100.2/24", "router", "wan",
                        f"{NATIVE_GATEWAY}/24")
        host.ip("route", "add", "10.9.0.0/16", "via", NATIVE_GATEWAY, "metric", "50")

    def setUp(self):
        self.host = self.campus.client
        self.before = self.whole_host()

    def whole_host(self):
        """Addresses, routes and rules of both families, and where the DNS is."""
        parts = [self.host.ip(*words).stdout for words in (
            ("-j", "address"), ("-4", "route", "show", "table", "all"),
            ("-6", "route", "show", "table", "all"), ("rule",), ("-6", "rule"))]
        addresses = [(link["ifname"], address["local"], address["prefixlen"])
                     for link in json.loads(parts[0]) for address in link["addr_info"]]
        with open("/etc/resolv.conf") as resolver:
            return addresses, [sorted(part.splitlines()) for part in parts[1:]], resolver.read()

    def start(self, **changes):
        client = self.campus.start_client(self.campus.client_configuration(**changes))
        self.addCleanup(client.kill)
        return client

    def add_native_way(self):
        self.host.ip(*NATIVE)
        self.addCleanup(c.run, "ip", "-n", self.host.namespace, "route", "del", "default", "dev",
                        "wan0", check=False)

    def way_out(self):
        return json.loads(self.host.ip("-j", "route", "get", c.WEB).stdout)[0]["dev"]

    def assert_host_is_as_before(self):
        c.wait_for("the host is as it was", lambda: self.whole_host() == self.before)

    # --- native IPv4 -----------------------------------------------------------------------------

    def test_preferred_native_way_wins_by_its_metric_and_the_tunnel_waits(self):
        client = self.start(**{"native-ipv4": "prefer"})
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(self.way_out(), "dstm0")
        self.add_native_way()
        self.assertEqual(self.way_out(), "wan0")
        self.assertEqual(len(self.campus.leases()), 1, "the tunnel stays")
        self.host.ip("route", "del", "default", "dev", "wan0")
        self.assertEqual(self.way_out(), "dstm0", "at once, without signalling")
        self.assertEqual(client.output().count("CLIENT_UP"), 1)
        self.assertEqual(client.stop(), 0)
        self.assert_host_is_as_before()

    def test_exclusive_native_way_takes_the_tunnel_down_and_its_end_brings_it_back(self):
        self.add_native_way()
        client = self.start(**{"native-ipv4": "exclusive"})
        client.wait_for_log("CLIENT_ASIDE")
        self.assertEqual(self.campus.leases(), {})
        self.assertEqual(self.way_out(), "wan0")
        self.host.ip("route", "del", "default", "dev", "wan0")
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(self.way_out(), "dstm0")
        self.host.ip(*NATIVE)
        client.wait_for_log("CLIENT_ASIDE", count=2)
        c.wait_for("the lease is given back", lambda: self.campus.leases() == {})
        self.assertNotIn("dstm0", self.host.ip("-br", "link").stdout)
        self.assertEqual(client.stop(), 0)
        self.host.ip("route", "del", "default", "dev", "wan0")
        self.assert_host_is_as_before()

    # --- restored --------------------------------------------------------------------------------

    def test_stop_leaves_routes_addresses_and_dns_as_they_were(self):
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        self.assertNotEqual(self.whole_host(), self.before)
        self.assertEqual(client.stop(), 0)
        self.assert_host_is_as_before()

    def test_next_start_restores_what_a_killed_one_left(self):
        # A native way: the next life has no tunnel whose set-up could hide what is left.
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        os.kill(client.pid, signal.SIGKILL)
        client.popen.wait()
        self.add_native_way()
        again = self.start(**{"native-ipv4": "exclusive"})
        again.wait_for_log("CLIENT_ASIDE")
        self.host.ip("route", "del", "default", "dev", "wan0")
        again.wait_for_log("CLIENT_UP")
        self.assertEqual(again.stop(), 0)
        self.assert_host_is_as_before()

    # --- IPv6 ------------------------------------------------------------------------------------

    def ipv6(self):
        return [self.host.ip("-6", *words).stdout for words in (("route", "show", "table", "all"),
                                                                ("rule",), ("-o", "address"))]

    def test_ipv6_is_not_touched(self):
        before = self.ipv6()
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        self.host.run("ping", "-c", "1", "-W", "5", c.WEB)
        self.assertEqual(self.ipv6(), before)
        self.host.run("ping", "-c", "1", "-W", "5", c.BROKER)
        self.assertEqual(client.stop(), 0)
        self.assertEqual(self.ipv6(), before)

    def packets_into_the_tunnel(self):
        link = json.loads(self.host.ip("-j", "-s", "link", "show", "dstm0").stdout)[0]
        return link["stats64"]["tx"]["packets"]

    def test_default_ipv6_route_never_leads_into_the_tunnel_itself(self):
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        self.host.run("ping", "-c", "1", "-W", "5", c.WEB)
        # Refused: the device has no IPv6, so no packet of the tunnel can be routed back into it.
        refused = c.run("ip", "-n", self.host.namespace, "-6", "route", "add", "default", "dev",
                        "dstm0", "metric", "1", check=False)
        self.assertNotEqual(refused.returncode, 0)
        # The only default route goes: what cannot be sent is lost and comes nowhere twice.
        self.host.ip("-6", "route", "del", "default")
        self.addCleanup(c.run, "ip", "-n", self.host.namespace, "-6", "route", "replace",
                        "default", "via", "2001:db8:1::1", check=False)
        before = self.packets_into_the_tunnel()
        self.host.run("ping", "-c", "3", "-i", "0.2", "-W", "1", c.WEB, check=False)
        self.assertLessEqual(self.packets_into_the_tunnel() - before, 3 + 1, "and a keepalive")
        # Another router, by another way: the tunnel follows it.
        self.host.ip("-6", "route", "add", "default", "via", "2001:db8:1::1", "metric", "77")
        self.host.run("ping", "-c", "1", "-W", "5", c.WEB)
        self.assertEqual(client.stop(), 0)


if __name__ == "__main__":
    support.main()
