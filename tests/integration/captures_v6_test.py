"""A capture of each mode with IPv6 inside: IPv6-in-IPv4 (RFC 4213 s3.5) and IPv6 in UDP beside the
signalling (RFC 5572 s4.5.2), as tshark dissects them; the XML as xmllint and naive parsers do."""

import re
import shutil
import unittest

import captures
import dual as d
import support


class CapturesV6(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for program in captures.PROGRAMS:
            if shutil.which(program) is None:
                raise unittest.SkipTest(f"{program} is not installed")
        cls.campus = d.DualCampus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()

    def up(self, name, host, **changes):
        client = self.campus.start_client(self.campus.client_configuration(name, **changes),
                                          host=host)
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_UP", timeout=30)
        self.campus.hosts[host].run("ping", "-c", "3", "-i", "0.2", "-W", "5", d.WEB6)
        return client

    def check_info(self, texts, kind, address):
        for text in texts:
            captures.check_xml(text)
        info = next(text for text in texts if captures.xpath(text, "/tunnel/@action") == "info")
        captures.check_naive(info)
        captures.check_addresses(info)
        self.assertEqual(captures.xpath(info, "/tunnel/@type"), kind)
        self.assertEqual(captures.xpath(info, "/tunnel/server/address[@type='ipv4']"), d.ENDPOINT4)
        self.assertEqual(captures.xpath(info, "/tunnel/client/address[@type='ipv4']"), address)
        inner = captures.xpath(info, "/tunnel/client/address[@type='ipv6']")
        self.assertRegex(inner, r"^([0-9a-f]{4}:){7}[0-9a-f]{4}$", "zero-padded")
        return re.sub(r"\b0{1,3}(?=[0-9a-f])", "", inner)

    def check_echoes(self, packets, outer_name, ends_up, inner):
        """Echo requests and replies through the tunnel, both headers of each."""
        import ipaddress

        inner = str(ipaddress.IPv6Address(inner))
        up, down = (*ends_up, inner, d.WEB6), (*ends_up[::-1], d.WEB6, inner)
        seen = {up: 0, down: 0}
        for packet in packets:
            outer, within = packet["ip"], packet["ipv6"]
            ends = (outer["ip.src"], outer["ip.dst"], within["ipv6.src"], within["ipv6.dst"])
            if ends not in seen:
                continue  # keepalives, to the endpoint itself
            seen[ends] += 1
            self.assertEqual(outer["ip.hdr_len"], "20")
            headers = 20 + (8 if outer_name == "udp" else 0) + 40
            self.assertEqual(int(outer["ip.len"]), headers + int(within["ipv6.plen"]))
            self.assertEqual(outer["ip.proto"], {"ip": "41", "udp": "17"}[outer_name])
            self.assertEqual(within["ipv6.nxt"], "58")
            self.assertEqual(within["ipv6.hlim"], "64" if ends == up else "63")
        self.assertEqual(list(seen.values()), [3, 3])

    def test_v6v4(self):
        with captures.Capture(self.campus.client, "lan4", "v6v4") as capture:
            client = self.up("v6v4", "client", transport="tcp")
            capture.wait_for("ip.proto == 41 && icmpv6", count=6)
            self.assertEqual(client.stop(), 0)
        texts = [text for stream in capture.streams() for side in stream
                 for text in captures.bodies(side)]
        inner = self.check_info(texts, "v6v4", d.CLIENT4)
        self.check_echoes(capture.packets("ip.proto == 41 && icmpv6"), "ip",
                          (d.CLIENT4, d.ENDPOINT4), inner)

    def test_v6udpv4_behind_a_nat_shares_the_ports_of_its_signalling(self):
        with captures.Capture(self.campus.nat, "isp", "v6udpv4") as capture:
            client = self.up("v6udpv4", "home", server=d.ENDPOINT4,
                             **{"tunnel-type": "v6udpv4"})
            self.assertEqual(client.stop(), 0)
        nibbles = {}
        for packet in capture.packets("udp.port == 3653"):
            data = bytes.fromhex(packet["udp"]["udp.payload"].replace(":", ""))
            port = next(port for port in (packet["udp"]["udp.srcport"],
                                          packet["udp"]["udp.dstport"]) if port != "3653")
            nibbles.setdefault(port, set()).add(data[0] >> 4)
        self.assertIn({0x6, 0xf}, nibbles.values(), "one mapping carries both (B5)")
        texts = [text for _, datagram in capture.datagrams() if datagram[0] >> 4 == 0xf
                 for text in captures.bodies(datagram[8:])]
        inner = self.check_info(texts, "v6udpv4", d.NAT)
        # tshark is told what is in these datagrams; the signalling among them is no IPv6.
        capture.decode_as = ("udp.port==3653,ipv6",)
        self.check_echoes(capture.packets("ip && icmpv6"), "udp",
                          (d.NAT, d.ENDPOINT4), inner)


if __name__ == "__main__":
    support.main()
