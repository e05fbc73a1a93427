"""A client that keeps its IPv4 address while its IPv6 network changes under it.

           lan   ----- router  ---+
  client                          +-- dmz, srv: as in campus.py
           lan2  ----- router2 ---+
           2001:db8:4::/64        2001:db8:ff::/64

Real addresses, routes and links change; what the client hears, it hears by netlink.
"""

import os
import signal
import time
import unittest

import campus as c
import support
from transfer import Transfer

LAN2 = "2001:db8:4::/64"
CLIENT2 = "2001:db8:4::100"
RENUMBERED = "2001:db8:1:1::100"


class RoamingCampus(c.Campus):
    """With a second router, whose network the client is not on yet."""

    def build_network(self):
        super().build_network()
        self.hosts["router2"] = c.Host(self, "router2")
        self.router2.sysctl("net/ipv6/conf/all/forwarding", "1")
        self.wire("router2", "core", "2001:db8:ff::2/64", "router", "core", "2001:db8:ff::1/64")
        self.wire("client", "lan2", f"{CLIENT2}/64", "router2", "lan", "2001:db8:4::1/64")
        self.router2.ip("-6", "route", "add", "default", "via", "2001:db8:ff::1")
        self.router.ip("-6", "route", "add", LAN2, "via", "2001:db8:ff::2")
        self.router2.run("ping", "-c", "1", "-W", "5", c.BROKER)
        self.client.ip("link", "set", "lan2", "down")

    def attach(self, lan):
        """To `lan` or `lan2`, with an address and a default route there."""
        address, router = {"lan": (c.CLIENT, "2001:db8:1::1"),
                           "lan2": (CLIENT2, "2001:db8:4::1")}[lan]
        self.client.ip("link", "set", lan, "up")
        self.client.ip("-6", "addr", "replace", f"{address}/64", "dev", lan)
        self.client.ip("-6", "route", "replace", "default", "via", router, "dev", lan)
        return address

    def detach(self, lan):
        # The kernel takes the addresses and routes of the link with it.
        self.client.ip("link", "set", lan, "down")

    def outer(self, inner):
        """Where the endpoint sends what is for this inner address."""
        return self.tunnels().get(inner, {}).get("outer-client")


class Roaming(unittest.TestCase):
    def setUp(self):
        self.campus = RoamingCampus(lifetime=120)
        self.addCleanup(self.campus.close)
        self.campus.add_user("alice", "secret")
        self.campus.start_daemons()
        self.client = self.start("alice-1")
        self.address = next(iter(self.campus.leases()))
        self.transfer = Transfer(self.campus)
        self.addCleanup(self.transfer.close)
        self.transfer.must_progress("at the start")

    def start(self, name, **changes):
        configuration = self.campus.client_configuration(name, "alice", "secret", **changes)
        client = self.campus.start_client(configuration)
        client.wait_for_log("CLIENT_UP")
        return client

    def must_be_at(self, outer, what):
        c.wait_for(f"the endpoint sends to {outer} {what}",
                   lambda: self.campus.outer(self.address) == outer, 20)
        self.transfer.must_progress(what)
        self.assertEqual(set(self.campus.leases()), {self.address})
        self.assertEqual(set(self.campus.tunnels()), {self.address})

    def test_between_two_routers(self):
        self.campus.detach("lan")
        self.must_be_at(self.campus.attach("lan2"), "after the move")
        # Before the old network is left, too: the kernel's choice of source decides.
        self.campus.attach("lan")
        self.campus.client.ip("-6", "route", "replace", "default", "via", "2001:db8:1::1", "dev",
                              "lan")
        self.must_be_at(c.CLIENT, "back with both links up")

    def test_a_renumbered_prefix(self):
        campus = self.campus
        campus.router.ip("addr", "add", "2001:db8:1:1::1/64", "dev", "lan")
        campus.client.ip("addr", "add", f"{RENUMBERED}/64", "dev", "lan")
        campus.client.ip("addr", "change", f"{c.CLIENT}/64", "dev", "lan", "preferred_lft", "0",
                         "valid_lft", "forever")
        self.must_be_at(RENUMBERED, "when the old prefix is deprecated")
        campus.client.ip("addr", "del", f"{c.CLIENT}/64", "dev", "lan")
        self.transfer.must_progress("without the old prefix")
        self.assertNotIn("CLIENT_RETRY", self.client.output())

    def test_a_router_that_reboots(self):
        self.campus.router.ip("link", "set", "lan", "down")
        self.assertTrue(self.client.alive())
        self.transfer.must_stand("while the router is down")
        self.campus.router.ip("link", "set", "lan", "up")
        self.campus.router.ip("addr", "add", "2001:db8:1::1/64", "dev", "lan")
        self.campus.attach("lan")
        self.must_be_at(c.CLIENT, "when the router is back")

    def test_fifty_moves_in_a_minute(self):
        began = time.monotonic()
        lans = ("lan", "lan2")
        for move in range(1, 51):
            self.campus.detach(lans[(move + 1) % 2])
            outer = self.campus.attach(lans[move % 2])
            # Flapping is damped: a move may be passed over, the last one may not.
            if move % 10 == 0:
                self.must_be_at(outer, f"after {move} moves")
            else:
                c.wait_for("the next second",
                           lambda: time.monotonic() >= began + move)
        self.assertLess(time.monotonic() - began, 75)
        self.assertEqual(self.campus.leases()[self.address]["ip-address"], self.address)
        self.assertEqual([line["event"] for line in self.campus.audit()].count("started"), 1)

    def test_a_server_that_is_away(self):
        self.campus.server.kill()
        self.campus.detach("lan")
        moved_to = self.campus.attach("lan2")
        self.client.wait_for_log("CLIENT_RETRY", timeout=30)
        self.campus.start_server()
        self.must_be_at(moved_to, "when the server is back")

    def test_two_clients_of_one_user_each_have_an_address(self):
        campus = self.campus
        campus.hosts["second"] = c.Host(campus, "second")
        campus.wire("second", "lan", "2001:db8:6::100/64", "router", "lan6", "2001:db8:6::1/64")
        campus.second.ip("-6", "route", "add", "default", "via", "2001:db8:6::1")
        campus.second.run("ping", "-c", "1", "-W", "5", c.BROKER)
        configuration = campus.client_configuration("alice-2", "alice", "secret")
        second = campus.start_client(configuration, host="second")
        second.wait_for_log("CLIENT_UP")
        other = (set(campus.leases()) - {self.address}).pop()
        campus.second.run("ping", "-c", "1", "-W", "2", c.WEB)
        self.transfer.must_progress("beside the second client")
        self.assertEqual(second.stop(), 0)
        c.wait_for("the second address is free", lambda: other not in campus.leases())
        self.transfer.must_progress("after the second client has gone")


class DeadPath(unittest.TestCase):
    def test_three_lost_keepalives_make_the_client_signal_again(self):
        with c.Campus() as campus:
            campus.add_user("alice", "secret")
            campus.start_daemons()
            configuration = campus.client_configuration("alice-1", "alice", "secret", keepalive=5)
            client = campus.start_client(configuration)
            client.wait_for_log("CLIENT_UP")
            logins = campus.server.output().count("AUTH_SUCCEEDED")
            # What the tunnel carries is lost, the signalling is not. IPv4 in IPv6 is protocol 4.
            rule = ("ipproto", "4", "blackhole")
            campus.router.ip("-6", "rule", "add", *rule)
            client.wait_for_log("CLIENT_KEEPALIVE_LOST", timeout=60)
            campus.server.wait_for_log("AUTH_SUCCEEDED", count=logins + 1)
            campus.router.ip("-6", "rule", "del", *rule)
            c.wait_for("the path works again", lambda: campus.client.run(
                "ping", "-c", "1", "-W", "1", c.WEB, check=False).returncode == 0)


class Suspended(unittest.TestCase):
    def test_a_host_that_sleeps_past_the_end_of_its_lease(self):
        with RoamingCampus(lifetime=4) as campus:
            campus.add_user("alice", "secret")
            campus.start_daemons()
            configuration = campus.client_configuration("alice-1", "alice", "secret")
            client = campus.start_client(configuration)
            client.wait_for_log("CLIENT_UP")
            os.kill(client.pid, signal.SIGSTOP)
            c.wait_for("the lease is over", lambda: not campus.leases(), 30)
            c.wait_for("the tunnel is gone", lambda: not campus.tunnels(), 30)
            os.kill(client.pid, signal.SIGCONT)
            c.wait_for("there is a lease again", campus.leases, 30)
            c.wait_for("the host has IPv4 again", lambda: campus.client.run(
                "ping", "-c", "1", "-W", "1", c.WEB, check=False).returncode == 0, 30)
            self.assertEqual(client.stop(), 0)


if __name__ == "__main__":
    support.main()
