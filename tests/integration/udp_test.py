"""Signalling by UDP over IPv6: a peer that speaks as deployed clients do, our own client, and the
way from one transport to the other. The network is drawn in campus.py."""

import socket
import unittest

import campus as c
import support
import tsp
import tsp_udp

SECOND = "2001:db8:3::54"  # the broker's other address
URI = f"tsp/[{c.BROKER}]:3653"


class Signalling(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(plain=True, mechanisms=("SCRAM-SHA-256", "DIGEST-MD5", "PLAIN",
                                                      "ANONYMOUS"))
        cls.addClassCleanup(cls.campus.close)
        cls.campus.add_user("alice", "wonderland")
        cls.campus.broker.ip("addr", "add", f"{SECOND}/64", "dev", "srv")
        cls.campus.start_daemons()
        cls.campus.start_web()

    def peer(self, server=c.BROKER, host="client", **options):
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        connection = self.campus.hosts[host].socket(family, socket.SOCK_DGRAM)
        connection.settimeout(10)
        connection.connect((server, 3653))
        peer = tsp_udp.Peer(connection, **options)
        self.addCleanup(peer.close)
        return peer

    def counters(self):
        answer = c.unix_request(self.campus.path("server.sock"), {"command": "status"})
        return answer["arguments"]["udp"]

    def give_back(self, user=None):
        """All tunnels of the user go, by TCP."""
        dialogue = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        if user is None:
            dialogue.login_anonymous()
        else:
            dialogue.login_plain(user, "wonderland")
        dialogue.delete()
        self.assertEqual(dialogue.framed()[0], 200)
        dialogue.close()
        c.wait_for("no tunnel is left", lambda: not self.campus.tunnels())

    def test_a_deployed_client_with_digest_and_every_datagram_three_times(self):
        peer = self.peer(copies=3)
        before = self.counters()["repeated"]
        self.assertTrue(peer.login_digest("alice", "wonderland", URI).startswith(b"200"))
        code, xml = peer.create(c.CLIENT)
        self.assertEqual(code, 200)
        self.assertEqual(peer.accept(), b"")
        address = tsp.leased_address(xml)
        self.assertEqual(list(self.campus.leases()), [address], "one lease")
        self.assertEqual(list(self.campus.tunnels()), [address], "one tunnel")
        self.assertEqual(self.campus.leases()[address]["user-context"]["dstm"]["user"], "alice")
        started = [line for line in self.campus.audit() if line["event"] == "started"]
        self.assertEqual(len([line for line in started if line["address"] == address]), 1)
        self.assertEqual(self.counters()["repeated"] - before, 2 * 6)
        self.give_back("alice")

    def test_a_wrong_password_is_300(self):
        self.assertTrue(self.peer().login_digest("alice", "wrong", URI).startswith(b"300"))
        self.assertTrue(self.peer().login_plain("alice", "wrong").startswith(b"300"))

    def test_plain_is_acknowledged_before_the_password(self):
        peer = self.peer(copies=2)
        self.assertTrue(peer.login_plain("alice", "wonderland").startswith(b"200"))
        self.assertEqual(peer.create(c.CLIENT)[0], 200)
        peer.accept()
        self.give_back("alice")

    def test_anonymous_and_an_error_that_is_framed(self):
        peer = self.peer()
        peer.login_anonymous()
        self.assertEqual(peer.create("2001:db8:1::dead")[0], 502, "not the packet's own source")
        self.assertEqual(peer.create(c.CLIENT)[0], 200)
        peer.accept()
        self.give_back()

    def test_the_reply_comes_from_the_address_that_was_asked(self):
        self.peer(server=SECOND).version()
        self.peer(server=c.BROKER).version()
        self.peer(server="127.0.0.1", host="broker").version()
        self.peer(server="127.0.0.2", host="broker").version()

    def test_echo_request(self):
        self.assertTrue(self.peer().exchange("ECHO REQUEST").startswith(b"200"))

    def test_what_is_no_signalling_is_dropped_and_counted(self):
        peer = self.peer()
        before = self.counters()["not-signalling"]
        for data in (b"", b"\xf0", b"VERSION=2.0.0\r\n", b"\x60" + 60 * b"\0", 1000 * b"\0"):
            peer.socket.send(data)
        c.wait_for("they are counted",
                   lambda: self.counters()["not-signalling"] == before + 5)
        peer.version()

    def test_a_flood_of_strangers_gets_short_answers_and_few(self):
        flooder = self.campus.client.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.addCleanup(flooder.close)
        before = self.counters()
        for number in range(3000):
            flooder.sendto(tsp_udp.packet(number * 7, 0, b"VERSION=2.0.0\r\n"), (c.BROKER, 3653))
        c.wait_for("the flood has come through",
                   lambda: self.counters()["limited"] > before["limited"])
        flooder.settimeout(1)
        with self.assertRaises(TimeoutError):
            while True:
                self.assertLess(len(flooder.recv(65536)), 250)
        after = self.counters()
        self.assertLess(after["replied"] - before["replied"], 1500)
        self.assertLess(after["exchanges"], 100)
        # Others have their own share; this prefix has one again in a moment.
        self.peer(server="127.0.0.1", host="broker").version()
        c.wait_for("this prefix is answered again", self.is_answered)

    def is_answered(self):
        peer = self.peer()
        peer.socket.settimeout(0.5)
        try:
            return peer.version()
        except TimeoutError:
            return False

    def client_up(self, name, **changes):
        configuration = self.campus.client_configuration(name, user="alice",
                                                         password="wonderland", **changes)
        client = self.campus.start_client(configuration)
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_UP", timeout=30)
        self.campus.client.run("ping", "-c", "1", "-W", "2", c.WEB)
        return client

    def stop(self, client):
        self.assertEqual(client.stop(), 0)
        c.wait_for("the tunnel is gone", lambda: not self.campus.tunnels())
        c.wait_for("the lease is free", lambda: not self.campus.lease_file())

    def test_our_client_by_udp(self):
        before = self.counters()
        client = self.client_up("by-udp", transport="udp")
        c.wait_for("accept has come", lambda: self.campus.audit()[-1]["event"] == "started")
        self.assertNotIn("CLIENT_OTHER_TRANSPORT", client.output())
        self.assertGreaterEqual(self.counters()["taken"] - before["taken"], 4)
        self.stop(client)

    def test_our_client_by_udp_with_each_mechanism(self):
        for mechanism in ("SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"):
            with self.subTest(mechanism):
                self.stop(self.client_up(f"by-{mechanism}", transport="udp",
                                         mechanisms=[mechanism]))

    def drop(self, protocol, kind="blackhole"):
        """The router forwards no signalling of this protocol any more."""
        # By number: a small system has no /etc/protocols.
        number = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}[protocol]
        rule = ("ipproto", str(int(number)), "dport", "3653", kind)
        self.campus.router.ip("-6", "rule", "add", *rule)
        self.addCleanup(self.campus.router.ip, "-6", "rule", "del", *rule)

    def test_udp_that_is_lost_on_the_way_leads_to_tcp(self):
        self.drop("udp")
        before = self.counters()["received"]
        client = self.client_up("lost-udp", transport="udp")
        self.assertIn("CLIENT_OTHER_TRANSPORT", client.output())
        self.assertEqual(self.counters()["received"], before)
        self.stop(client)

    def test_tcp_that_is_forbidden_leads_to_udp(self):
        self.drop("tcp", "prohibit")
        before = self.counters()["taken"]
        client = self.client_up("no-tcp", transport="auto")
        self.assertIn("CLIENT_OTHER_TRANSPORT", client.output())
        self.assertGreater(self.counters()["taken"], before)
        self.stop(client)


class WithoutUdp(unittest.TestCase):
    def test_an_unreachable_port_leads_to_tcp_at_once(self):
        with c.Campus(udp=False) as campus:
            campus.start_daemons()
            client = campus.start_client(campus.client_configuration(transport="udp"))
            client.wait_for_log("CLIENT_UP")
            self.assertIn("CLIENT_OTHER_TRANSPORT", client.output())
            self.assertIn("unreachable", client.output())
            self.assertEqual(client.stop(), 0)


if __name__ == "__main__":
    support.main()
