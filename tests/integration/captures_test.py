"""A capture of each mode, field by field: packets as tshark dissects them, XML as xmllint and the
naive parsers of deployed clients read it (RFC 2473 s3, s5; RFC 5572 s4.7, s5.3)."""

import shutil
import unittest

import campus as c
import captures
import support


class Captures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for program in captures.PROGRAMS:
            if shutil.which(program) is None:
                raise unittest.SkipTest(f"{program} is not installed")
        cls.campus = c.Campus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()
        cls.campus.start_web()

    def client_up(self, name, **changes):
        client = self.campus.start_client(self.campus.client_configuration(name, **changes))
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_UP")
        return client

    def check_v4v6_packets(self, capture, inner):
        """IPv4-in-IPv6 both ways: next header 4, the addresses of both headers, hop limits."""
        up = (c.CLIENT, c.ENDPOINT, inner, c.WEB)
        down = (c.ENDPOINT, c.CLIENT, c.WEB, inner)
        found = capture.wait_for(f"ipv6 && icmp && ip.addr == {c.WEB}", count=6)
        seen = {up: 0, down: 0}
        for packet in found:
            outer, within = packet["ipv6"], packet["ip"]
            ends = (outer["ipv6.src"], outer["ipv6.dst"], within["ip.src"], within["ip.dst"])
            self.assertIn(ends, seen)
            seen[ends] += 1
            self.assertEqual(outer["ipv6.nxt"], "4", "IPv4 right behind the header")
            self.assertEqual(int(outer["ipv6.plen"]), int(within["ip.len"]))
            self.assertEqual(outer["ipv6.version"], "6")
            # RFC 2473 s6.3: the outer hop limit is the tunnel's own, not the inner TTL's.
            self.assertEqual(outer["ipv6.hlim"], "64" if ends == up else "63")
            # RFC 2473 s3.1: the tunnel is one hop of the inner packet. The other ends in the
            # endpoint's own routing.
            self.assertEqual(within["ip.ttl"], "64" if ends == up else "63")
            self.assertEqual(within["ip.checksum.status"], "1", "good")
            self.assertNotIn("ipv6.fragment", packet)
        self.assertEqual(seen[up], seen[down])

    def check_messages(self, of_client, of_server):
        """The XML of one dialogue from create to delete."""
        for text in of_client + of_server:
            captures.check_xml(text)
        create, accept, delete = of_client
        self.assertEqual(captures.xpath(create, "/tunnel/@action"), "create")
        self.assertEqual(captures.xpath(create, "/tunnel/client/address[@type='ipv6']"), c.CLIENT)
        self.assertEqual(captures.xpath(create, "count(/tunnel/client/address)"), "1", "N10")
        self.assertEqual(captures.xpath(accept, "/tunnel/@action"), "accept")
        self.assertEqual(captures.xpath(delete, "/tunnel/@action"), "delete")
        info = of_server[0]
        captures.check_naive(info)
        captures.check_addresses(info)
        for expression, value in (
                ("/tunnel/@action", "info"), ("/tunnel/@type", "v4v6"),
                ("/tunnel/@lifetime", "60"),
                ("/tunnel/server/address[@type='ipv4']", c.INNER),
                ("/tunnel/server/address[@type='ipv6']", c.ENDPOINT),
                ("/tunnel/client/address[@type='ipv6']", c.CLIENT),
                ("/tunnel/client/keepalive/@interval", "30"),
                ("/tunnel/client/keepalive/address[@type='ipv4']", c.INNER),
                ("/tunnel/lease/@seconds", "3600")):
            self.assertEqual(captures.xpath(info, expression), value, expression)
        return captures.xpath(info, "/tunnel/client/address[@type='ipv4']")

    def test_v4v6_by_tcp(self):
        with captures.Capture(self.campus.client, "lan", "v4v6-tcp") as capture:
            client = self.client_up("v4v6-tcp", transport="tcp")
            self.campus.client.run("ping", "-c", "3", "-i", "0.2", "-W", "2", c.WEB)
            capture.wait_for(f"ipv6 && icmp && ip.addr == {c.WEB}", count=6)
            self.assertEqual(client.stop(), 0)
            c.wait_for("the delete is captured", lambda: "delete" in str(capture.streams()))
        of_client, of_server = ([], [])
        for client_bytes, server_bytes in capture.streams():
            of_client += captures.bodies(client_bytes)
            of_server += captures.bodies(server_bytes)
        self.check_v4v6_packets(capture, self.check_messages(of_client, of_server))

    def test_v4v6_by_udp(self):
        with captures.Capture(self.campus.client, "lan", "v4v6-udp") as capture:
            client = self.client_up("v4v6-udp", transport="udp")
            self.campus.client.run("ping", "-c", "3", "-i", "0.2", "-W", "2", c.WEB)
            capture.wait_for(f"ipv6 && icmp && ip.addr == {c.WEB}", count=6)
            self.assertEqual(client.stop(), 0)
            c.wait_for("the delete is captured", lambda: "delete" in str(capture.datagrams()))
        said = {True: {}, False: {}}
        for is_to_server, datagram in capture.datagrams():
            # RFC 5572 s4.4.1.2, Figure 6: nibble 0xF, sequence, timestamp.
            self.assertEqual(datagram[0] >> 4, 0xf)
            sequence = int.from_bytes(datagram[:4]) & 0x0fffffff
            said[is_to_server].setdefault(sequence, datagram)
        for sequence, reply in said[False].items():
            self.assertEqual(reply[:8], said[True][sequence][:8], "N2: number and time unchanged")
        self.assertEqual(len(said[True]), len(set(said[True])))
        texts = {side: [text for datagram in said[side].values()
                        for text in captures.bodies(datagram[8:])] for side in said}
        self.check_v4v6_packets(capture, self.check_messages(texts[True], texts[False]))


class NaiveParser(unittest.TestCase):
    """The checks themselves see what they are for."""

    def test_each_rule_has_something_it_refuses(self):
        good = ('<tunnel action="info"><client><address type="ipv4">192.0.2.7</address></client>'
                '<lease seconds="1"></lease></tunnel>')
        captures.check_naive(good)
        for bad in ('<?xml version="1.0"?>' + good, "<!-- x -->" + good,
                    good.replace('"', "'"), good.replace("<client>", "<client\t>"),
                    good.replace("type=", "type ="), good.replace("<lease ", "<le-ase "),
                    good.replace('<lease seconds="1"></lease>', '<lease seconds="1"/>'),
                    good.replace("<client>", '<odd a="1"></odd><client>')):
            with self.assertRaises(AssertionError, msg=bad):
                captures.check_naive(bad)


if __name__ == "__main__":
    support.main()
