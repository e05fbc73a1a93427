"""Bad input gets the code the RFC has for it, framed as the phase demands; nothing is leased."""

import socket
import unittest

import campus as c
import support
import tsp
import tsp_udp

CREATE = ('<tunnel action="create" type="v4v6"><client><address type="ipv6">%s</address></client>'
          "</tunnel>" % c.CLIENT)


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(pool=("192.0.2.2", "192.0.2.4"), plain=True,
                              server_limits={"phase-timeout": 2, "tunnels-per-user": 8})
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()

    def dialogue(self):
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        self.addCleanup(peer.close)
        return peer

    def logged_in(self):
        peer = self.dialogue()
        peer.login_anonymous()
        return peer

    def tearDown(self):
        c.wait_for("nothing is leased", lambda: not self.campus.leases())
        c.wait_for("no tunnel is installed", lambda: not self.campus.tunnels())
        self.assertTrue(self.campus.server.alive())

    def assert_bare(self, peer, code):
        line = peer.line()
        self.assertTrue(line.startswith(f"{code} "), line)
        self.assertTrue(peer.at_end())

    def assert_framed(self, peer, code, closed=True):
        status, _, _ = peer.framed()
        self.assertEqual(status, code)
        if closed:
            self.assertTrue(peer.at_end())

    def violations(self):
        return self.campus.server.output().count("TSP_VIOLATION")

    def test_version_and_authentication_errors_are_bare(self):
        for name, data, code in (
                ("unknown version", "VERSION=1.1\r\n", 302),
                ("no version", "HELLO\r\n", 500),
                ("binary", b"\x16\x03\x01\x02\x00\r\n", 500),
                ("line without end", "V" * 10000, 500)):
            with self.subTest(name):
                before = self.violations()
                peer = self.dialogue()
                peer.send(data)
                self.assert_bare(peer, code)
                if code == 500:
                    c.wait_for("one log line", lambda: self.violations() == before + 1)
        for name, data, code in (
                ("mechanism not offered", "AUTHENTICATE GSSAPI\r\n", 300),
                ("wrong verb", "LOGIN x\r\n", 500),
                ("command before authentication", "Content-length: 35\r\n", 500),
                ("wrong password", "AUTHENTICATE PLAIN\r\n\0alice\0wrong\r\n", 300)):
            with self.subTest(name):
                peer = self.dialogue()
                peer.send("VERSION=2.0.0\r\n")
                self.assertTrue(peer.line().startswith("CAPABILITY TUNNEL=V4V6 "))
                peer.send(data)
                self.assert_bare(peer, code)

    def test_malformed_commands_are_answered_500_framed_and_closed(self):
        for name, data in (
                ("not XML", "Content-length: 9\r\nnonsense\n"),
                ("truncated XML", f"Content-length: {len(CREATE) - 4}\r\n{CREATE[:-4]}"),
                ("no length", f"{CREATE}\r\n"),
                ("length not a number", f"Content-length: x\r\n{CREATE}\r\n"),
                ("negative length", f"Content-length: -5\r\n{CREATE}\r\n"),
                ("huge length", "Content-length: 99999999999999999999\r\n"),
                ("over the limit", "Content-length: 1000000\r\n"),
                ("DOCTYPE", self.command('<!DOCTYPE t [<!ENTITY a "b">]><tunnel action="create" '
                                         'type="v4v6">&a;</tunnel>')),
                ("external entity", self.command(
                    '<!DOCTYPE t SYSTEM "file:///etc/passwd"><tunnel action="info"/>')),
                ("deep", self.command("<a>" * 500 + "</a>" * 500)),
                ("unknown action", self.command('<tunnel action="destroy" type="v4v6"></tunnel>')),
                ("no action", self.command('<tunnel type="v4v6"></tunnel>')),
                ("no type", self.command('<tunnel action="create"></tunnel>')),
                ("no client", self.command('<tunnel action="create" type="v4v6"></tunnel>')),
                ("accept of nothing", self.command('<tunnel action="accept"></tunnel>'))):
            with self.subTest(name):
                before = self.violations()
                peer = self.logged_in()
                peer.send(data)
                self.assert_framed(peer, 500)
                # What the broker refuses in a well-formed request is no violation of the syntax.
                if name != "no client":
                    c.wait_for("one log line", lambda: self.violations() == before + 1)

    def test_a_message_cut_off_by_the_end_of_the_connection_is_answered_500(self):
        for name, logged_in, data in (("line", False, "VERSI"), ("command", True, CREATE[:40])):
            with self.subTest(name):
                before = self.violations()
                peer = self.logged_in() if logged_in else self.dialogue()
                if logged_in:
                    data = f"Content-length: {len(CREATE)}\r\n{data}"
                peer.send(data)
                peer.connection.shutdown(socket.SHUT_WR)
                if logged_in:
                    self.assert_framed(peer, 500)
                else:
                    self.assert_bare(peer, 500)
                c.wait_for("one log line", lambda: self.violations() == before + 1)

    @staticmethod
    def command(xml):
        return f"Content-length: {len(xml) + 2}\r\n{xml}\r\n"

    def test_wrong_values_get_their_codes(self):
        for name, kind, address, code in (
                ("not the packet's source", "v4v6", "2001:db8:1::200", 502),
                ("no IPv6 address", "v4v6", "192.0.2.9", 502),
                ("eight groups and ::", "v4v6", "2001:db8:c18:ffff::0:0:0:1:2", 502),
                ("link-local", "v4v6", "fe80::1", 502),
                ("type not offered", "v6v4", c.CLIENT, 303),
                ("unknown type", "v9v9", c.CLIENT, 303)):
            with self.subTest(name):
                peer = self.logged_in()
                peer.create(address, kind=kind)
                self.assert_framed(peer, code, closed=False)

    def test_a_slow_peer_is_closed_in_each_phase(self):
        silent = self.dialogue()
        stalled = self.dialogue()
        stalled.send("VERSION=2.0.0\r\n")
        stalled.line()
        commanding = self.logged_in()
        commanding.send("Content-length: 200\r\n<tunnel")
        for peer in (silent, stalled, commanding):
            peer.connection.settimeout(8)
            with self.assertRaises(tsp.Closed):
                while True:
                    peer.more()

    def test_an_unaccepted_tunnel_goes_back(self):
        for name in ("disconnect", "reject", "silence"):
            with self.subTest(name):
                peer = self.logged_in()
                peer.create(c.CLIENT)
                status, _, xml = peer.framed()
                self.assertEqual(status, 200)
                self.assertIn(tsp.leased_address(xml), self.campus.leases())
                if name == "disconnect":
                    peer.close()
                elif name == "reject":
                    peer.command('<tunnel action="reject"></tunnel>')
                c.wait_for("given back", lambda: not self.campus.leases())
                c.wait_for("removed", lambda: not self.campus.tunnels())

    def test_pool_empty_is_301(self):
        held = []
        for i in range(3):
            peer = self.logged_in()
            peer.create(c.CLIENT, host=f"host{i}")
            self.assertEqual(peer.framed()[0], 200)
            held.append(peer)
        peer = self.logged_in()
        peer.create(c.CLIENT, host="one-too-many")
        self.assert_framed(peer, 301, closed=False)
        for peer in held:
            peer.close()

    def test_a_second_create_while_the_first_runs_is_521(self):
        self.campus.kea.popen.send_signal(c.signal.SIGSTOP)
        try:
            first = self.logged_in()
            first.create(c.CLIENT, host="twice")
            first.create(c.CLIENT, host="twice")
            self.assertEqual(first.framed()[0], 521)
            other = self.logged_in()
            other.create(c.CLIENT, host="twice")
            self.assertEqual(other.framed()[0], 521)
        finally:
            self.campus.kea.popen.send_signal(c.signal.SIGCONT)
        self.assertEqual(first.framed()[0], 200)
        first.close()
        other.close()

    # --- by UDP ---------------------------------------------------------------------------------

    def udp_peer(self, first):
        connection = self.campus.client.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        connection.settimeout(10)
        connection.connect((c.BROKER, 3653))
        peer = tsp_udp.Peer(connection, first=first)
        self.addCleanup(peer.close)
        return peer

    def udp_counters(self):
        answer = c.unix_request(self.campus.path("server.sock"), {"command": "status"})
        return answer["arguments"]["udp"]

    def test_a_datagram_cut_anywhere_is_dropped_or_answered_500(self):
        version = tsp_udp.packet(1, 7, "VERSION=2.0.2\r\n")
        before = self.udp_counters()
        noise = self.udp_peer(1)
        for size in range(len(version)):
            noise.socket.send(version[:size])
        c.wait_for("all have come", lambda: self.udp_counters()["received"]
                   == before["received"] + len(version))
        message = tsp_udp.framed(CREATE)
        for size in range(1, len(message) - 2, 9):
            with self.subTest(size=size):
                peer = self.udp_peer(0x1000 * size)
                peer.login_anonymous()
                self.assertEqual(tsp_udp.body_of(peer.exchange(message[:size]))[0], 500)

    def test_huge_datagrams_and_noise_by_udp_get_no_answer(self):
        import random

        generator = random.Random(5572)
        before = self.udp_counters()
        noise = self.udp_peer(1)
        noise.socket.send(tsp_udp.packet(1, 7, "VERSION=2.0.0\r\n" + 5000 * "A"))
        for _ in range(100):
            noise.socket.send(generator.randbytes(generator.randrange(1, 1400)))
        c.wait_for("all have come", lambda: self.udp_counters()["received"]
                   == before["received"] + 101)
        after = self.udp_counters()
        self.assertEqual(after["oversize"], before["oversize"] + 1)
        self.assertEqual(after["replied"], before["replied"])
        self.udp_peer(1).login_anonymous()

    def test_random_bytes_do_no_harm(self):
        import random

        generator = random.Random(5572)
        for _ in range(100):
            peer = self.dialogue()
            if generator.random() < 0.5:
                peer.login_anonymous()
            try:
                peer.send(generator.randbytes(generator.randrange(1, 3000)))
                peer.connection.shutdown(socket.SHUT_WR)
                while True:
                    peer.more()
            except (tsp.Closed, OSError):
                pass
            peer.close()


if __name__ == "__main__":
    support.main()
