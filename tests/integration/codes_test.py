"""Each status code of RFC 5572 Appendix B, reached over the wire in the real service."""

import os
import signal
import unittest

import campus as c
import dual as d
import support
import tsp


class Codes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = campus = d.DualCampus(
            plain=True, mechanisms=("PLAIN", "ANONYMOUS"),
            server_limits={"tunnels-per-user": 1, "tunnels-per-address": 0})
        cls.addClassCleanup(campus.close)
        campus.client.ip("link", "set", "lan", "up")
        campus.client.ip("-6", "addr", "replace", f"{c.CLIENT}/64", "dev", "lan")
        campus.client.ip("-6", "route", "replace", "default", "via", "2001:db8:1::1")
        for user in ("alice", "bob"):
            campus.add_user(user, "secret")
        campus.start_daemons()

    def dialogue(self, server=c.BROKER, user=None):
        peer = tsp.Dialogue(self.campus.client.connect(server, 3653))
        self.addCleanup(peer.close)
        if user is None:
            peer.login_anonymous()
        else:
            self.assertEqual(peer.login_plain(user, "secret")[:3], "200")
        return peer

    def create(self, peer, kind="v4v6", address=None, inside="", host="h1"):
        family = "ipv6" if kind == "v4v6" else "ipv4"
        address = address or (c.CLIENT if kind == "v4v6" else d.CLIENT4)
        peer.command(f'<tunnel action="create" type="{kind}"><client>'
                     f'<address type="{family}">{address}</address>{inside}</client>'
                     f'<host id="{host}"></host></tunnel>')

    def code_of(self, kind="v4v6", server=c.BROKER, **changes):
        peer = self.dialogue(server)
        self.create(peer, kind, **changes)
        return peer.framed()[0]

    def take_down(self, peer, kind="v4v6", host="h1"):
        peer.command(f'<tunnel action="delete" type="{kind}"><host id="{host}"></host></tunnel>')
        self.assertEqual(peer.framed()[0], 200)

    def test_200_and_info_of_what_stands(self):
        peer = self.dialogue()
        self.create(peer)
        self.assertEqual(peer.framed()[0], 200)
        peer.accept()
        peer.command('<tunnel action="info" type="v4v6"><host id="h1"></host></tunnel>')
        self.assertEqual(peer.framed()[0], 200)
        self.take_down(peer)

    def test_300_authentication_failed(self):
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        self.addCleanup(peer.close)
        self.assertEqual(peer.login_plain("alice", "wrong")[:3], "300")

    def test_301_no_more_tunnels(self):
        first = self.dialogue(user="alice")
        self.create(first, host="h1")
        self.assertEqual(first.framed()[0], 200)
        first.accept()
        second = self.dialogue(user="alice")
        self.create(second, host="h2")
        self.assertEqual(second.framed()[0], 301)
        self.take_down(first)

    def test_302_unsupported_version(self):
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        self.addCleanup(peer.close)
        peer.send("VERSION=3.0.0\r\n")
        self.assertEqual(peer.line()[:3], "302")
        self.assertTrue(peer.at_end())

    def test_303_unsupported_type(self):
        self.assertEqual(self.code_of("v6gre"), 303)

    def test_310_of_what_does_not_stand(self):
        peer = self.dialogue()
        peer.command('<tunnel action="info" type="v4v6"><host id="nothing"></host></tunnel>')
        self.assertEqual(peer.framed()[0], 310)

    def test_500_unreadable(self):
        peer = self.dialogue()
        peer.command('<tunnel action="create" type="v4v6"><client>')
        self.assertEqual(peer.framed()[0], 500)

    def test_501_not_the_clients_ipv4(self):
        self.assertEqual(self.code_of("v6v4", d.BROKER4, address="198.18.2.77"), 501)

    def test_502_not_the_clients_ipv6(self):
        self.assertEqual(self.code_of(address="2001:db8:1::77"), 502)
        self.assertEqual(self.code_of(address="2001:db8::1::2"), 502)

    def test_506_the_same_ipv4_twice(self):
        alice, bob = (self.dialogue(d.BROKER4, user) for user in ("alice", "bob"))
        self.create(alice, "v6v4")
        self.assertEqual(alice.framed()[0], 200)
        alice.accept()
        self.create(bob, "v6v4")
        self.assertEqual(bob.framed()[0], 506)
        self.take_down(alice, "v6v4")

    def test_507_no_such_prefix(self):
        for length in (47, 60, 65):
            router = f'<router><prefix length="{length}"></prefix></router>'
            self.assertEqual(self.code_of("v6v4", d.BROKER4, inside=router), 507, length)
        router = '<router><prefix length="24"></prefix></router>'
        self.assertEqual(self.code_of(inside=router), 507, "D13: IPv4 prefix")

    def test_521_in_progress(self):
        first, second = self.dialogue(), self.dialogue()
        os.kill(self.campus.kea.pid, signal.SIGSTOP)
        try:
            self.create(first)
            c.wait_for("the first create is at Kea", lambda: c.unix_request(
                self.campus.path("server.sock"),
                {"command": "status"})["arguments"]["exchanges"] == 1)
            self.create(second)
            self.assertEqual(second.framed()[0], 521)
        finally:
            os.kill(self.campus.kea.pid, signal.SIGCONT)
        self.assertEqual(first.framed()[0], 200)

    def test_530_no_lease_server(self):
        peer = self.dialogue()
        self.campus.kea.kill()
        try:
            c.wait_for("the server has noticed", lambda: not self.campus.ready())
            self.create(peer)
            self.assertEqual(peer.framed()[0], 530)
        finally:
            self.campus.kea6.kill()
            self.campus.start_kea()
            self.campus.wait_ready()


class Idle(unittest.TestCase):
    def test_a_tunnel_that_nobody_uses_is_taken_down_if_configured(self):
        with d.DualCampus(tsp={"idle-tunnels": "remove"}) as campus:
            campus.write_tep_configuration(**{"idle-timeout": 2})
            campus.add_user("alice", "secret")
            campus.start_daemons()
            client = campus.start_client(campus.client_configuration(
                "alice-1", "alice", "secret", keepalive=0))
            client.wait_for_log("CLIENT_UP")
            client.kill()  # says nothing any more
            c.wait_for("the tunnel is gone", lambda: not campus.tunnels(), 30)
            c.wait_for("the lease is free", lambda: not campus.leases6())
            self.assertEqual(campus.audit()[-1]["reason"], "idle")


if __name__ == "__main__":
    support.main()
