"""Brokers that send their clients to others, through the real daemons: the bytes of each form, and
that two servers that name each other do not keep a client for ever (RFC 5572 s4.7.4, Figure 9)."""

import json
import socket
import unittest

import campus as c
import support
import tsp
import tsp_udp

OTHER = "2001:db8:3::54"  # where the second server listens
LIST = ('<tunnel action="list" type="broker">\r\n'
        "  <broker>\r\n"
        '    <address type="ipv4">192.0.2.53</address>\r\n'
        f'    <address type="ipv6">{OTHER}</address>\r\n'
        "  </broker>\r\n"
        "  <broker>\r\n"
        '    <address type="dn">ts2.campus.example</address>\r\n'
        "  </broker>\r\n"
        "</tunnel>\r\n")
BROKERS = [{"ipv4": "192.0.2.53", "ipv6": OTHER}, {"dn": "ts2.campus.example"}]


class Redirect(unittest.TestCase):
    def setUp(self):
        self.campus = c.Campus(pool=("192.0.2.2", "192.0.2.2"))
        self.addCleanup(self.campus.close)
        self.campus.broker.ip("addr", "add", f"{OTHER}/64", "dev", "srv")

    def configure(self, name="dstm-server", address="::", when="busy", brokers=BROKERS,
                  **changes):
        with open(self.campus.path("dstm-server.conf")) as file:
            configuration = json.load(file)
        server = configuration["dstm-server"]
        server["tsp"]["listen"][0]["address"] = address
        if brokers is not None:
            server["tsp"]["redirect"] = {"when": when, "brokers": brokers}
        else:
            server["tsp"].pop("redirect", None)
        if name != "dstm-server":
            server.update({"name": name, "admin-socket": self.campus.path(f"{name}.sock"),
                           "audit-log": self.campus.path(f"{name}.jsonl"),
                           "endpoints": {"unix-socket": self.campus.path(f"{name}-tep.sock")}})
        server.update(changes)
        return self.campus.write(f"{name}.conf", configuration)

    def start(self, name, configuration):
        server = self.campus.broker.start(name, self.campus.binary("dstm-server"), "-c",
                                          configuration)
        server.wait_for_log("SERVER_STARTED")
        return server

    def dialogue(self):
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        self.addCleanup(peer.close)
        return peer

    def all_of(self, peer):
        try:
            while True:
                peer.more()
        except tsp.Closed:
            return peer.buffer.decode()

    def udp(self, data):
        with self.campus.client.socket(socket.AF_INET6, socket.SOCK_DGRAM) as connection:
            connection.settimeout(10)
            connection.connect((c.BROKER, 3653))
            return tsp_udp.Peer(connection).exchange(data).decode()

    def test_always_is_bare_and_at_version(self):
        self.start("dstm-server", self.configure(when="always"))
        peer = self.dialogue()
        peer.send("VERSION=2.0.0\r\n")
        self.assertEqual(self.all_of(peer), "1530 Server too busy\r\n" + LIST)
        peer = self.dialogue()
        peer.send("VERSION=1.0.1\r\n")
        self.assertEqual(self.all_of(peer), "1302 Unsupported client version\r\n" + LIST)
        # By UDP a stranger hears as much of the list as fits its 249 bytes.
        reply = self.udp("VERSION=2.0.0\r\n")
        self.assertLess(len(reply) + 8, 250)
        self.assertTrue(reply.startswith("1530 Server too busy\r\n<tunnel"))
        self.assertTrue(reply.endswith("</tunnel>\r\n"))
        self.assertIn("192.0.2.53", reply)
        self.assertEqual(self.udp("ECHO REQUEST"), "530 Server too busy\r\n")

    def test_busy_is_framed_at_create_and_names_the_reason(self):
        self.configure()
        self.campus.start_kea()
        self.campus.start_server()
        peer = self.dialogue()
        peer.login_anonymous()
        peer.create(c.CLIENT)  # no endpoint is there
        code, text, xml = peer.framed()
        self.assertEqual((code, xml), (1530, LIST), text)
        self.assertTrue(peer.at_end())
        self.campus.start_tep()
        self.campus.wait_ready()
        first = self.dialogue()
        first.login_anonymous()
        first.create(c.CLIENT, host="one")
        self.assertEqual(first.framed()[0], 200)
        second = self.dialogue()
        second.login_anonymous()
        second.create(c.CLIENT, host="two")
        code, text, xml = second.framed()
        self.assertEqual((code, xml), (1301, LIST), text)
        self.assertTrue(second.at_end())

    def test_a_client_follows_to_the_server_that_serves(self):
        self.start("away", self.configure("away", c.BROKER, "always", [{"ipv6": OTHER}]))
        self.configure(address=OTHER, brokers=None)
        self.campus.start_daemons()
        client = self.campus.start_client(self.campus.client_configuration())
        client.wait_for_log("CLIENT_UP", timeout=30)
        self.assertEqual(client.stop(), 0)

    def test_two_servers_that_name_each_other_do_not_keep_a_client(self):
        first = self.start("one", self.configure("one", c.BROKER, "always", [{"ipv6": OTHER}]))
        second = self.start("two", self.configure("two", OTHER, "always", [{"ipv6": c.BROKER}]))
        client = self.campus.start_client(self.campus.client_configuration())
        client.wait_for_log("redirect in a circle", timeout=30)
        before, _ = client.output().split("redirect in a circle", 1)
        self.assertLessEqual(before.count("CLIENT_REDIRECTED"), 2, before)
        self.assertTrue(first.alive() and second.alive())


if __name__ == "__main__":
    support.main()
