#!/usr/bin/env python3
"""The client is never in the way: of native IPv4, of IPv6, or of what the host was before."""

import json
import os
import signal
import time
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
        """Links, addresses, routes, rules and filters of both families, and where the DNS is."""
        parts = [self.host.ip(*words).stdout for words in (
            ("-j", "address"), ("-4", "route", "show", "table", "all"),
            ("-6", "route", "show", "table", "all"), ("rule",), ("-6", "rule"))]
        parts.append(self.host.run("nft", "list", "ruleset").stdout)
        addresses = [(link["ifname"], [(address["local"], address["prefixlen"])
                                       for address in link["addr_info"]])
                     for link in json.loads(parts[0])]
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

    def test_native_way_wins_whoever_set_it(self):
        client = self.start(**{"native-ipv4": "prefer"})
        client.wait_for_log("CLIENT_UP")
        for who, metric in (("ifupdown", 0), ("NetworkManager", 600), ("systemd-networkd", 1024),
                            ("dhcpcd on Wi-Fi", 3000 + 12)):
            native = ("default", "via", NATIVE_GATEWAY, "dev", "wan0", "metric", str(metric))
            self.host.ip("route", "add", *native)
            self.assertEqual(self.way_out(), "wan0", who)
            self.host.ip("route", "del", *native)
            self.assertEqual(self.way_out(), "dstm0")
        self.assertEqual(client.stop(), 0)
        self.assert_host_is_as_before()

    def test_nothing_of_ours_stands_beside_an_exclusive_native_way(self):
        native = ("route", "add", *NATIVE[2:], "metric", "30000")
        settings = {"native-ipv4": "exclusive", "on-demand": {}}
        self.host.ip(*native)
        beside = self.whole_host()
        client = self.start(**settings)
        client.wait_for_log("CLIENT_ASIDE")
        c.wait_for("there is nothing of ours", lambda: self.whole_host() == beside)
        for count in (1, 2):
            self.host.ip("route", "del", *native[2:])
            client.wait_for_log("CLIENT_DORMANT", count=count)
            self.assertEqual(self.way_out(), "dstm0-w")
            self.host.ip(*native)
            client.wait_for_log("CLIENT_ASIDE", count=1 + count)
            c.wait_for("there is nothing of ours", lambda: self.whole_host() == beside)
            self.assertEqual(self.way_out(), "wan0")
        self.host.ip("route", "del", *native[2:])
        client.wait_for_log("CLIENT_DORMANT", count=3)
        self.host.run("ping", "-c", "1", "-W", "5", c.WEB)
        self.assertEqual(client.stop(), 0)
        self.assert_host_is_as_before()

    def test_native_way_without_a_link_is_none(self):
        self.add_native_way()
        client = self.start(**{"native-ipv4": "exclusive"})
        client.wait_for_log("CLIENT_ASIDE")
        self.campus.router.ip("link", "set", "wan", "down")
        self.addCleanup(self.raise_native_link)
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(client.stop(), 0)

    def raise_native_link(self):
        self.campus.router.ip("link", "set", "wan", "up")
        c.wait_for("the link is up", lambda: "linkdown" not in self.host.ip("route").stdout +
                   self.host.ip("-6", "route").stdout)

    # --- against those who take away what is ours ------------------------------------------------

    def restored(self, client):
        return client.output().count("CLIENT_ROUTE_RESTORED")

    def test_what_others_remove_is_set_again(self):
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        for damage in (("route", "flush", "dev", "dstm0"), ("addr", "flush", "dev", "dstm0"),
                       ("link", "set", "dstm0", "down")):
            self.host.ip(*damage)
            self.host.ip("link", "set", "dstm0", "up")
            c.wait_for(f"the route is back after {damage}", lambda: "dstm0" in c.run(
                "ip", "-n", self.host.namespace, "route", "get", c.WEB, check=False).stdout)
            self.host.run("ping", "-c", "1", "-W", "5", c.WEB)
        self.assertEqual(client.output().count("CLIENT_UP"), 1)
        self.assertEqual(client.stop(), 0)
        self.assert_host_is_as_before()

    def test_place_that_another_took_is_taken_again_when_it_is_free(self):
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        other = ("default", "via", NATIVE_GATEWAY, "dev", "wan0", "metric", "4096")
        self.host.ip("route", "replace", *other)
        client.wait_for_log("CLIENT_ROUTE_SKIPPED")
        self.assertEqual(self.way_out(), "wan0")
        self.host.ip("route", "del", *other)
        c.wait_for("the tunnel's is back", lambda: self.restored(client) == 1)
        self.assertEqual(self.way_out(), "dstm0")
        self.assertEqual(client.output().count("CLIENT_ROUTE_SKIPPED"), 1, "told once")

    def test_who_insists_is_not_raced_with(self):
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        began = time.monotonic()
        c.wait_for("it is restored thrice", lambda: self.host.ip(
            "route", "flush", "dev", "dstm0") and self.restored(client) >= 3)
        self.assertGreater(time.monotonic() - began, 2, "once a second")

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

    def kill(self, client):
        os.kill(client.pid, signal.SIGKILL)
        client.popen.wait()

    def test_host_is_as_it_was_after_a_stop_and_after_a_kill_and_the_next_start(self):
        on_demand = {"on-demand": {}}
        for settings in ({}, on_demand, {"native-ipv4": "exclusive"},
                         {"native-ipv4": "exclusive", **on_demand}, {"data-plane": "tun"},
                         {"routes": ["203.0.113.0/24", "198.18.0.0/15"]}):
            with self.subTest(settings):
                for _ in range(2):
                    client = self.start(**settings)
                    if "on-demand" in settings:
                        client.wait_for_log("CLIENT_DORMANT")
                        self.host.run("ping", "-c", "1", "-W", "5", c.WEB)
                    client.wait_for_log("CLIENT_UP")
                    self.kill(client)
                client = self.start(**settings)
                client.wait_for_log("CLIENT_DORMANT" if "on-demand" in settings else "CLIENT_UP")
                self.assertEqual(client.stop(), 0)
                self.assert_host_is_as_before()

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
