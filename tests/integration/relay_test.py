"""Signalling through an endpoint against the real server: an endpoint made of bytes relays
datagrams as it likes (RFC 5572 s4.4.1.2, docs/wire/endpoint-link.md)."""

import random
import unittest

import campus as c
import fake_endpoint
import support
import tsp_udp

PEER = "198.51.100.77"


class Relay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(mechanisms=("SCRAM-SHA-256", "ANONYMOUS"))
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()

    def endpoint(self, **options):
        endpoint = fake_endpoint.FakeEndpoint(self.campus.path("endpoints.sock"), **options)
        self.addCleanup(endpoint.close)
        return endpoint

    def udp(self):
        answer = c.unix_request(self.campus.path("server.sock"), {"command": "status"})
        return answer["arguments"]["udp"]

    def exchange(self, endpoint, port, sequence, data, peer=PEER):
        endpoint.relay(peer, port, tsp_udp.packet(sequence, 7, data))
        while True:
            came_from, came_port, reply = endpoint.reply()
            if (came_from, came_port) == (peer, port):
                break
            self.assertLess(len(reply), 250, "of strangers before it")
        self.assertEqual(reply[:8], tsp_udp.packet(sequence, 7, b""))
        return reply[8:]

    def test_a_dialogue_goes_through_and_ends_with_its_endpoint(self):
        endpoint = self.endpoint()
        self.assertTrue(self.exchange(endpoint, 4000, 1, "VERSION=2.0.0\r\n").startswith(
            b"CAPABILITY "))
        self.assertEqual(self.exchange(endpoint, 4000, 2, b"AUTHENTICATE ANONYMOUS\r\n\0"),
                         b"200 Success\r\n")
        reply = self.exchange(endpoint, 4000, 3, tsp_udp.framed(
            '<tunnel action="info" type="v4v6"></tunnel>'))
        self.assertTrue(reply.startswith(b"Content-length: "), reply)
        sessions = c.unix_request(self.campus.path("server.sock"),
                                  {"command": "status"})["arguments"]["sessions"]
        self.assertGreaterEqual(sessions, 1)
        endpoint.close()
        c.wait_for("the dialogue has ended", lambda: self.udp()["exchanges"] == 0)

    def test_bad_datagrams_are_counted_and_get_nothing_long(self):
        endpoint = self.endpoint(name="tep8")
        before = self.udp()
        good = tsp_udp.packet(1, 7, "VERSION=2.0.0\r\n")
        generator = random.Random(5572)
        datagrams = [good[:size] for size in range(1, len(good))]
        datagrams += [generator.randbytes(generator.randrange(1, 4097)) for _ in range(100)]
        datagrams += [b"\xf0" + generator.randbytes(generator.randrange(1, 300))
                      for _ in range(100)]
        datagrams += [b"\xff" * 4096, b"\x60" + bytes(60)]
        for number, datagram in enumerate(datagrams):
            endpoint.relay(PEER, 1000 + number, datagram)
        # What no datagram can be does not become one; the link stays.
        for wrong in ({"peer": PEER, "port": 0, "data": "8AAA8A=="},
                      {"peer": "nobody", "port": 1, "data": "8AAA8A=="},
                      {"peer": PEER, "port": 1, "data": "A" * 6000},
                      {"peer": PEER, "port": 1, "data": "?"}, {"peer": PEER}):
            endpoint.send({"jsonrpc": "2.0", "method": "datagram", "params": wrong})
        c.wait_for("they have come", lambda: self.udp()["relayed"]
                   == before["relayed"] + len(datagrams))
        self.assertTrue(self.exchange(endpoint, 7, 1, "VERSION=2.0.0\r\n",
                                      peer="203.0.113.9").startswith(b"CAPABILITY "))
        self.assertTrue(self.campus.server.alive())
        self.assertGreater(self.udp()["not-signalling"], before["not-signalling"] + 10)

    def test_strangers_behind_a_relay_are_limited_as_others_are(self):
        endpoint = self.endpoint(name="tep7")
        before = self.udp()
        for number in range(3000):
            endpoint.relay("203.0.113.200", 1024 + number,
                           tsp_udp.packet(number, 7, "VERSION=2.0.0\r\n"))
        c.wait_for("they have come", lambda: self.udp()["relayed"] >= before["relayed"] + 3000)
        after = self.udp()
        unanswered = sum(after[key] - before[key] for key in ("limited", "throttled", "no-room"))
        self.assertGreater(unanswered, 500)
        self.assertLess(after["exchanges"], 100)

    def test_the_real_endpoint_counts_what_it_relays(self):
        relay = c.unix_request(self.campus.path("tep.sock"),
                               {"command": "counters"})["arguments"]["relay"]
        self.assertEqual(set(relay), {"relayed", "returned", "oversize", "overrun", "limited",
                                      "no-server", "link-busy", "not-sent"})


if __name__ == "__main__":
    support.main()
