"""No black hole: large transfers over a path with a link of 1280 bytes that neither end can see.

  client -- lan2 -- router2 -- core, MTU 1280 -- router -- dmz -- endpoint -- v4 -- web

With the ICMPv6 of that path, and with all packet-too-big filtered away; small from the start, and
only once connections are in the middle of their transfer.
"""

import socket
import threading
import unittest

import campus as c
import support
from roaming_test import RoamingCampus

SIZE = 4 << 20
# A look at the path every 15 s and its 1.5 s; then the sender's next try, which the kernel doubles.
NOTICED = 60


class Flow:
    """A TCP connection one way; `arrived` bytes so far."""

    def __init__(self, sender, receiver, source, target, size=None):
        self.arrived = 0
        self.stopping = False
        listener = receiver.socket(socket.AF_INET, socket.SOCK_STREAM)
        with listener:
            listener.bind((target, 0))
            listener.listen()
            self.out = sender.connect(target, listener.getsockname()[1], source)
            self.into = listener.accept()[0]
        for connection in (self.out, self.into):
            connection.settimeout(NOTICED)
        self.threads = [threading.Thread(target=self.send, args=(size,), daemon=True),
                        threading.Thread(target=self.receive, daemon=True)]
        for thread in self.threads:
            thread.start()

    def send(self, size):
        left = size
        with self.out:
            try:
                while not self.stopping and left != 0:
                    count = self.out.send(bytes(min(left or SIZE, 1 << 16)))
                    left = left and left - count
            except OSError:
                pass

    def receive(self):
        with self.into:
            try:
                while part := self.into.recv(1 << 16):
                    self.arrived += len(part)
            except OSError:
                pass

    def must_progress(self, what, timeout=NOTICED):
        before = self.arrived
        c.wait_for(f"bytes arrive {what}", lambda: self.arrived > before + SIZE, timeout)

    def close(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(5)


class SmallLink(unittest.TestCase):
    def setUp(self):
        self.campus = RoamingCampus()
        self.addCleanup(self.campus.close)
        self.campus.detach("lan")
        self.campus.attach("lan2")
        self.campus.start_daemons()

    def shrink(self):
        self.campus.router2.ip("link", "set", "core", "mtu", "1280")
        self.campus.router.ip("link", "set", "core", "mtu", "1280")

    def filter_packet_too_big(self):
        for host in (self.campus.client, self.campus.endpoint):
            host.run("nft", "add", "table", "ip6", "filter")
            host.run("nft", "add", "chain", "ip6", "filter", "input",
                     "{ type filter hook input priority 0; }")
            host.run("nft", "add", "rule", "ip6", "filter", "input", "icmpv6", "type",
                     "packet-too-big", "drop")

    def client_up(self):
        client = self.campus.start_client(self.campus.client_configuration())
        client.wait_for_log("CLIENT_UP")
        self.inner = c.wait_for("there is a lease",
                                lambda: next(iter(self.campus.leases()), None))
        return client

    def flow(self, direction, size=None):
        client, web = self.campus.client, self.campus.web
        ends = (client, web, self.inner, c.WEB) if direction == "up" else \
            (web, client, c.WEB, self.inner)
        flow = Flow(*ends, size)
        self.addCleanup(flow.close)
        return flow

    def must_pass(self, *directions):
        for direction in directions:
            flow = self.flow(direction, SIZE)
            c.wait_for(f"all that went {direction} has arrived", lambda: flow.arrived == SIZE,
                       NOTICED)

    def test_small_from_the_start_with_icmp(self):
        self.shrink()
        self.client_up()
        self.must_pass("up", "down")

    def test_small_from_the_start_with_packet_too_big_filtered(self):
        for directions in (("up", "down"), ("down", "up")):
            with self.subTest(first=directions[0]):
                self.shrink()
                self.filter_packet_too_big()
                client = self.client_up()
                self.must_pass(*directions)
                client.wait_for_log("CLIENT_PATH_LIMITED mtu=1240")
                self.assertEqual(client.stop(), 0)

    def check_in_the_middle(self):
        client = self.client_up()
        flows = [self.flow("up"), self.flow("down")]
        for flow in flows:
            flow.must_progress("at first")
        self.shrink()
        for flow in flows:
            flow.must_progress("over the path that has shrunk")
        return client

    def test_in_the_middle_with_icmp(self):
        client = self.check_in_the_middle()
        self.assertNotIn("CLIENT_PATH_LIMITED", client.output())

    def test_in_the_middle_with_packet_too_big_filtered(self):
        self.filter_packet_too_big()
        client = self.check_in_the_middle()
        client.wait_for_log("CLIENT_PATH_LIMITED mtu=1240")
        # What may be fragmented is, outside, though no router says to what size: down the way back.
        self.campus.web.run("ping", "-c", "1", "-W", "5", "-M", "dont", "-s", "1400", self.inner)

    def test_in_the_middle_of_a_download_alone(self):
        self.filter_packet_too_big()
        self.client_up()
        flow = self.flow("down")
        flow.must_progress("at first")
        self.shrink()
        flow.must_progress("over the path that has shrunk")

    def test_looking_at_the_path_is_no_use_of_the_tunnel(self):
        # Longer than until the first look after the last packet, shorter than two of them.
        client = self.campus.start_client(
            self.campus.client_configuration(**{"on-demand": {"idle-timeout": 18}}))
        client.wait_for_log("CLIENT_DORMANT")
        self.campus.client.run("ping", "-c", "1", "-W", "10", c.WEB)
        client.wait_for_log("CLIENT_UP")
        client.wait_for_log("CLIENT_DORMANT", timeout=30, count=2)


if __name__ == "__main__":
    support.main()
