#!/usr/bin/env python3
"""The client's v6 types against a scripted broker and endpoint: real packets, a real NAT.

  inside ----- lan0 client ----- nat ----- far: broker and endpoint in this process
  2001:db8:200:100::2   198.51.100.2  198.51.100.1       192.0.2.99 (outside)
                                      192.0.2.1          2001:db8:100::1 (inside)
"""

import json
import os
import shutil
import signal
import socket
import struct
import tempfile
import threading
import unittest

import campus
import support
import tsp_udp

OUTSIDE = "192.0.2.99"
ENDPOINT = "2001:db8:100::1"
ADDRESS = "2001:db8:100::7"
PREFIX = "2001:db8:200:100::/56"
INSIDE = "2001:db8:200:100::2"
ECHO_REQUEST, ECHO_REPLY = 128, 129
PROTO_41, PROTO_ICMPV6 = 41, 58


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def echo_reply(packet):
    """What the endpoint answers to an echo of its inner address, or None."""
    if packet[6] != PROTO_ICMPV6 or packet[24:40] != socket.inet_pton(socket.AF_INET6, ENDPOINT):
        return None
    message = packet[40:]
    if message[0] != ECHO_REQUEST:
        return None
    message = bytes([ECHO_REPLY, 0, 0, 0]) + message[4:]
    source, destination = packet[24:40], packet[8:24]
    pseudo = source + destination + struct.pack("!II", len(message), PROTO_ICMPV6)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    return packet[:8] + source + destination + message


class Far:
    """Broker and endpoint on one UDP socket, and protocol 41 beside it."""

    def __init__(self, host):
        self.udp = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((OUTSIDE, 3653))
        self.raw = self.raw_41(host)
        self.said = []          # (peer, text) of each new datagram of signalling
        self.data_from = set()  # peers of IPv6 in UDP
        self.sources = set()    # inner sources that came
        self.deleted = threading.Event()
        self.bound = None       # whose packets are carried: who said accept last
        self.answered = {}      # replies by peer and sequence: a repeat gets the same
        self.threads = [threading.Thread(target=self.serve_udp, daemon=True),
                        threading.Thread(target=self.serve_raw, daemon=True)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def raw_41(host):
        made = []

        def make():
            with open(f"/run/netns/{host.namespace}") as namespace:
                campus.os_setns(namespace.fileno())
            made.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTO_41))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def close(self):
        for one in (self.udp, self.raw):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def serve_udp(self):
        while True:
            try:
                datagram, peer = self.udp.recvfrom(65535)
            except OSError:
                return
            if not datagram:
                return
            if datagram[0] >> 4 == 0xf:
                self.udp.sendto(datagram[:8] + self.answer(peer, datagram).encode(), peer)
            else:
                self.data_from.add(peer)
                if peer == self.bound:
                    self.carry(datagram, lambda reply, to=peer: self.udp.sendto(reply, to))

    def serve_raw(self):
        while True:
            try:
                packet, peer = self.raw.recvfrom(65535)
            except OSError:
                return
            if not packet:
                return
            inner = packet[(packet[0] & 15) * 4:]
            if self.bound and peer[0] == self.bound[0]:
                self.carry(inner, lambda reply, to=peer: self.raw.sendto(reply, to))

    def carry(self, packet, send):
        self.sources.add(socket.inet_ntop(socket.AF_INET6, packet[8:24]))
        if (reply := echo_reply(packet)) is not None:
            send(reply)

    def answer(self, peer, datagram):
        key = (peer, datagram[:4])
        if key in self.answered:
            return self.answered[key]
        text = datagram[8:].decode(errors="replace")
        self.said.append((peer, text))
        reply = ""
        if "VERSION" in text:
            reply = "CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS\r\n"
        elif "AUTHENTICATE" in text:
            reply = "200 Success\r\n"
        elif '"create"' in text:
            reply = tsp_udp.framed("200 Success\r\n" + self.offer(peer, text)).decode()
        elif '"accept"' in text:
            self.bound = peer
        elif '"delete"' in text:
            self.deleted.set()
            reply = tsp_udp.framed("200 Success\r\n").decode()
        self.answered[key] = reply
        return reply

    @staticmethod
    def offer(peer, request):
        # RFC 5572 s2.1: the packet's source against the address in the message.
        kind = "v6v4" if f">{peer[0]}<" in request else "v6udpv4"
        router = ('<router><prefix length="56">2001:0db8:0200:0100:0000:0000:0000:0000</prefix>'
                  "</router>" if "<router>" in request else "")
        return (f'<tunnel action="info" type="{kind}" lifetime="60"><server>'
                f'<address type="ipv4">{OUTSIDE}</address>'
                f'<address type="ipv6">{ENDPOINT}</address></server><client>'
                f'<address type="ipv4">{peer[0]}</address>'
                f'<address type="ipv6">{ADDRESS}</address>'
                f'<address type="dn">lab.tunnel.example</address>{router}'
                f'<keepalive interval="2"><address type="ipv6">{ENDPOINT}</address></keepalive>'
                '</client><lease seconds="3600"></lease></tunnel>')

    def peers_of(self, word):
        return [peer for peer, text in self.said if word in text]


class Site:
    def __init__(self, has_nat):
        self.directory = tempfile.mkdtemp(prefix="dstm-client-v6-")
        self.processes = []
        self.hosts = [campus.Host(self, name) for name in ("cl", "nat", "far", "in")]
        self.client, self.nat, self.far_host, self.inside = self.hosts
        self.link(self.client, "up0", "198.51.100.2/24", self.nat, "lan0", "198.51.100.1/24")
        self.link(self.nat, "up0", "192.0.2.1/24", self.far_host, "eth0", f"{OUTSIDE}/24")
        self.link(self.client, "lan0", None, self.inside, "eth0", None)
        self.client.ip("route", "add", "default", "via", "198.51.100.1")
        if not has_nat:
            self.far_host.ip("route", "add", "default", "via", "192.0.2.1")
        self.nat.sysctl("net/ipv4/ip_forward", "1")
        if has_nat:
            self.nat.run("nft", "add table ip t; add chain ip t c { type nat hook postrouting "
                                'priority 100; }; add rule ip t c oifname "up0" masquerade')
        self.far = Far(self.far_host)

    def link(self, a, a_name, a_address, b, b_name, b_address):
        campus.run("ip", "link", "add", a_name, "netns", a.namespace, "type", "veth", "peer",
                   "name", b_name, "netns", b.namespace)
        for host, name, address in ((a, a_name, a_address), (b, b_name, b_address)):
            host.ip("link", "set", name, "up")
            if address:
                host.ip("address", "add", address, "dev", name)

    def configure(self, **more):
        self.file = os.path.join(self.directory, "client.conf")
        settings = {"server": OUTSIDE, "tunnel-type": "v6anyv4", "keepalive": 2,
                    "state-directory": os.path.join(self.directory, "state"),
                    "control-socket": os.path.join(self.directory, "control.sock"),
                    "router": {"prefix-length": 56, "inside-interface": "lan0"}, **more}
        with open(self.file, "w") as out:
            json.dump({"dstm-client": settings}, out)

    def start_client(self):
        process = self.client.start("client", os.path.join(campus.BUILD, "bin", "dstm-client"),
                                    "run", "-c", self.file)
        process.wait_for_log("CLIENT_UP")
        return process

    def command(self, word, *options):
        return self.client.run(os.path.join(campus.BUILD, "bin", "dstm-client"), word, "-c",
                               self.file, *options).stdout

    def settings_left(self):
        """What of ours is on the client's host."""
        addresses = self.client.ip("-6", "address", "show", "scope", "global").stdout
        routes = self.client.ip("-6", "route", "show", "table", "all").stdout
        forwarding = self.client.run("cat", "/proc/sys/net/ipv6/conf/all/forwarding").stdout
        return [line for line in (addresses + routes).splitlines()
                if "2001:db8" in line or "dstm0" in line] + (["forwarding"] if "1" in forwarding
                                                             else [])

    def whole_host(self):
        """Links, addresses, routes, rules and filters of the client's host, and its forwarding."""
        parts = [self.client.ip(*words).stdout for words in (
            ("-br", "link"), ("-br", "address"), ("-4", "route", "show", "table", "all"),
            ("-6", "route", "show", "table", "all"), ("rule",), ("-6", "rule"))]
        parts.append(self.client.run("nft", "list", "ruleset").stdout)
        parts.append(self.client.run("sh", "-c", "cd /proc/sys/net/ipv6/conf; "
                                     "grep . */forwarding */accept_ra").stdout)
        return [sorted(part.splitlines()) for part in parts]

    def close(self):
        for process in self.processes:
            process.kill()
        self.far.close()
        for host in self.hosts:
            campus.run("ip", "netns", "delete", host.namespace)
        shutil.rmtree(self.directory)


def pings(host, source, count=2):
    return host.run("ping", "-6", "-c", str(count), "-W", "5", "-I", source, ENDPOINT,
                    check=False).returncode == 0


class ClientV6(unittest.TestCase):
    def site(self, has_nat):
        site = Site(has_nat)
        self.addCleanup(site.close)
        site.configure()
        return site

    def use_inside(self, site):
        site.inside.ip("address", "add", f"{INSIDE}/64", "dev", "eth0")
        site.inside.ip("route", "add", "default", "via", "2001:db8:200:100::1")

    def test_behind_a_nat_data_and_signalling_share_one_port(self):
        site = self.site(has_nat=True)
        client = site.start_client()
        status = json.loads(site.command("status", "--json"))
        self.assertEqual(status["type"], "v6udpv4")
        self.assertEqual(status["address"], ADDRESS)
        self.assertEqual(status["prefix"], PREFIX)
        self.assertEqual(status["name"], "lab.tunnel.example")
        self.assertTrue(pings(site.client, ADDRESS), client.output())
        port = site.far.peers_of("VERSION")[0]
        self.assertEqual(site.far.data_from, {port})
        self.use_inside(site)
        self.assertTrue(pings(site.inside, INSIDE), "a host behind the client")
        self.assertIn(INSIDE, site.far.sources)
        site.command("renew")
        self.assertEqual(site.far.peers_of('"create"'), [port, port], "through the same mapping")
        self.assertTrue(pings(site.client, ADDRESS), "after the renewal")
        campus.wait_for("a keepalive is answered", lambda: "round-trip-us" in
                        json.loads(site.command("status", "--json")))
        self.assertEqual(client.stop(), 0)
        self.assertTrue(site.far.deleted.is_set())
        self.assertEqual(site.settings_left(), [])

    def test_without_a_nat_it_is_protocol_41(self):
        site = self.site(has_nat=False)
        client = site.start_client()
        self.assertEqual(json.loads(site.command("status", "--json"))["type"], "v6v4")
        self.assertTrue(pings(site.client, ADDRESS), client.output())
        self.use_inside(site)
        self.assertTrue(pings(site.inside, INSIDE), "a host behind the client")
        self.assertEqual(site.far.data_from, set())

    def test_killed_client_leaves_nothing_after_its_next_life(self):
        site = self.site(has_nat=True)
        client = site.start_client()
        os.kill(client.pid, signal.SIGKILL)
        client.popen.wait()
        self.assertNotEqual(site.settings_left(), [], "the kill left something to undo")
        again = site.start_client()
        self.assertTrue(pings(site.client, ADDRESS), again.output())
        self.assertEqual(again.stop(), 0)
        self.assertEqual(site.settings_left(), [])

    def see_host_restored(self, kind, has_nat):
        site = self.site(has_nat)
        site.configure(**{"tunnel-type": kind})
        before = site.whole_host()
        for _ in range(2):
            client = site.start_client()
            self.assertNotEqual(site.whole_host(), before)
            os.kill(client.pid, signal.SIGKILL)
            client.popen.wait()
        client = site.start_client()
        self.assertEqual(client.stop(), 0)
        self.assertEqual(site.whole_host(), before)

    def test_host_of_v6v4_is_as_it_was_after_kills_and_a_stop(self):
        self.see_host_restored("v6v4", has_nat=False)

    def test_host_of_v6udpv4_is_as_it_was_after_kills_and_a_stop(self):
        self.see_host_restored("v6anyv4", has_nat=True)

    def test_outer_packets_that_are_routed_into_the_tunnel_go_round_once_at_most(self):
        site = self.site(has_nat=False)
        client = site.start_client()
        self.assertTrue(pings(site.client, ADDRESS), client.output())
        # Somebody's mistake. What the device is given is IPv6 in IPv4, which is none of its own.
        site.client.ip("route", "add", f"{OUTSIDE}/32", "dev", "dstm0")

        def sent():
            link = json.loads(site.client.ip("-j", "-s", "link", "show", "dstm0").stdout)[0]
            return link["stats64"]["tx"]["packets"]

        before = sent()
        self.assertFalse(pings(site.client, ADDRESS, count=1))
        keepalives = 5  # every other second, while one answer was waited for
        self.assertLessEqual(sent() - before, 2 * (1 + keepalives))
        site.client.ip("route", "del", f"{OUTSIDE}/32", "dev", "dstm0")
        self.assertTrue(pings(site.client, ADDRESS), client.output())

    def test_lost_mapping_is_noticed_by_keepalives(self):
        site = self.site(has_nat=True)
        client = site.start_client()
        old = site.far.peers_of("VERSION")[0]
        # The NAT gets another address and forgets what it had mapped: the endpoint does not know
        # whom the packets come from.
        site.nat.ip("link", "set", "up0", "down")
        site.nat.ip("address", "delete", "192.0.2.1/24", "dev", "up0")
        site.nat.ip("address", "add", "192.0.2.2/24", "dev", "up0")
        site.nat.ip("link", "set", "up0", "up")
        client.wait_for_log("CLIENT_KEEPALIVE_LOST", timeout=60)
        campus.wait_for("signalled anew", lambda: len(site.far.peers_of("accept")) >= 2, 60)
        self.assertNotEqual(site.far.peers_of("accept")[-1], old)
        self.assertTrue(pings(site.client, ADDRESS), client.output())


def why_not():
    for program in ("ip", "ping", "nft"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        print(f"skipped: {reason}")
        raise SystemExit(77)
    support.main()
