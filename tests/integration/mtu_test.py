"""No black hole: large transfers over a path with a link of 1280 bytes that neither end can see.

  client -- lan2 -- router2 -- core, MTU 1280 -- router -- dmz -- endpoint -- v4 -- web

With the ICMPv6 of that path, and with all packet-too-big filtered away.
"""

import socket
import threading
import unittest

import campus as c
import support
from roaming_test import RoamingCampus

SIZE = 4 << 20


class SmallLink(unittest.TestCase):
    def setUp(self):
        self.campus = RoamingCampus()
        self.addCleanup(self.campus.close)
        self.campus.router2.ip("link", "set", "core", "mtu", "1280")
        self.campus.router.ip("link", "set", "core", "mtu", "1280")
        self.campus.detach("lan")
        self.campus.attach("lan2")
        self.campus.start_daemons()

    def client_up(self):
        client = self.campus.start_client(self.campus.client_configuration())
        client.wait_for_log("CLIENT_UP")
        return client

    def transfer(self, sender, receiver, source, target):
        """SIZE bytes from one host to the other; how many arrived within the time."""
        listener = receiver.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((target, 0))
        listener.listen()
        arrived = []

        def receive():
            connection, _ = listener.accept()
            count = 0
            with connection:
                connection.settimeout(20)
                try:
                    while part := connection.recv(1 << 16):
                        count += len(part)
                except OSError:
                    pass
            arrived.append(count)

        thread = threading.Thread(target=receive)
        thread.start()
        with sender.connect(target, listener.getsockname()[1], source) as connection:
            connection.settimeout(20)
            try:
                connection.sendall(bytes(SIZE))
            except OSError:
                pass
        thread.join(30)
        listener.close()
        return arrived[0]

    def both_ways(self):
        inner = c.wait_for("there is a lease", lambda: next(iter(self.campus.leases()), None))
        self.assertEqual(
            self.transfer(self.campus.client, self.campus.web, inner, c.WEB), SIZE, "up")
        self.assertEqual(
            self.transfer(self.campus.web, self.campus.client, c.WEB, inner), SIZE, "down")

    def test_with_icmp(self):
        self.client_up()
        self.both_ways()

    def test_with_packet_too_big_filtered(self):
        for host in (self.campus.client, self.campus.endpoint):
            host.run("nft", "add", "table", "ip6", "filter")
            host.run("nft", "add", "chain", "ip6", "filter", "input",
                     "{ type filter hook input priority 0; }")
            host.run("nft", "add", "rule", "ip6", "filter", "input", "icmpv6", "type",
                     "packet-too-big", "drop")
        client = self.client_up()
        self.both_ways()
        client.wait_for_log("CLIENT_PATH_LIMITED mtu=1240")


if __name__ == "__main__":
    support.main()
