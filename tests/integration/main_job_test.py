"""The main job: an IPv6-only host gets an IPv4 address and uses it, in both directions."""

import socket
import threading
import unittest

import campus as c
import support


class MainJob(unittest.TestCase):
    link = "unix"
    data_plane = "tun"

    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(link=cls.link, plain=True, data_plane=cls.data_plane)
        cls.addClassCleanup(cls.campus.close)
        cls.campus.add_user("alice", "wonder\"land")
        cls.campus.start_daemons()
        cls.campus.start_web()

    def client_up(self, **changes):
        """A running client and its address; stopped at the end of the test."""
        configuration = self.campus.client_configuration(user="alice", password="wonder\"land",
                                                         **changes)
        client = self.campus.start_client(configuration)
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_UP")
        return client, next(iter(self.campus.leases()))

    def assert_free(self, address):
        c.wait_for("the tunnel is gone", lambda: address not in self.campus.tunnels())
        c.wait_for("Kea's lease file has it free", lambda: address not in self.campus.lease_file())

    def test_ping_curl_and_a_connection_from_outside(self):
        client, address = self.client_up()
        self.campus.client.run("ping", "-c", "2", "-i", "0.2", "-W", "2", c.WEB)
        self.campus.client.run("ping", "-c", "1", "-W", "2", c.INNER)
        page = self.campus.client.run("curl", "-sS", "-m", "5", f"http://{c.WEB}/").stdout
        self.assertEqual(page, "hello from the IPv4-only web server\n")

        listener = self.campus.client.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.settimeout(10)
        listener.bind((address, 8080))
        listener.listen()
        with listener, self.campus.web.connect(address, 8080) as outside:
            inside, peer = listener.accept()
            with inside:
                self.assertEqual(peer[0], c.WEB)
                inside.sendall(b"reached")
                self.assertEqual(outside.recv(10), b"reached")

        tunnel = self.campus.tunnels()[address]
        self.assertEqual(tunnel["outer-client"], c.CLIENT)
        context = self.campus.leases()[address]["user-context"]["dstm"]
        self.assertEqual(context["user"], "alice")
        self.assertEqual(context["outer-address"], c.CLIENT)
        self.assertEqual(context["endpoint"], "tep1")
        self.assertIn(address, self.campus.lease_file())
        record = self.campus.audit()[-1]
        self.assertEqual((record["event"], record["user"], record["address"], record["outer"]),
                         ("started", "alice", address, c.CLIENT))

        self.assertEqual(client.stop(), 0)
        self.assert_free(address)
        links = self.campus.client.run("ip", "-br", "link").stdout
        self.assertNotIn("dstm0", links)
        self.assertEqual(self.campus.client.ip("-4", "route").stdout, "")

    def test_the_same_user_on_the_same_host_gets_the_same_address_after_kill_9(self):
        client, address = self.client_up()
        client.kill()
        client, again = self.client_up()
        self.assertEqual(again, address)
        self.campus.client.run("ping", "-c", "1", "-W", "2", c.WEB)
        client.stop()
        self.assert_free(address)

    def test_each_mechanism_authenticates_and_a_wrong_password_does_not(self):
        for mechanism in ("SCRAM-SHA-256", "DIGEST-MD5"):
            with self.subTest(mechanism):
                client, address = self.client_up(mechanisms=[mechanism])
                client.stop()
                self.assert_free(address)
                self.campus.processes.remove(client)
        configuration = self.campus.client_configuration(user="alice", password="wrong")
        done = self.campus.client.run(self.campus.binary("dstm-client"), "up", "--foreground", "-c",
                                      configuration, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("300", done.stdout + done.stderr)
        self.assertNotIn("wrong", done.stdout + done.stderr)
        self.assertEqual(self.campus.leases(), {})

    def test_bulk_transfer_both_ways_arrives_whole(self):
        client, address = self.client_up()
        size = 8 << 20
        payload = bytes(range(256)) * (size // 256)
        listener = self.campus.web.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.settimeout(20)
        listener.bind((c.WEB, 9000))
        listener.listen()

        def echo():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                while part := connection.recv(1 << 16):
                    connection.sendall(part)

        thread = threading.Thread(target=echo)
        thread.start()
        with listener, self.campus.client.connect(c.WEB, 9000) as connection:
            connection.settimeout(20)
            sender = threading.Thread(target=lambda: (connection.sendall(payload),
                                                      connection.shutdown(socket.SHUT_WR)))
            sender.start()
            received = bytearray()
            while part := connection.recv(1 << 16):
                received += part
            sender.join()
        thread.join()
        self.assertEqual(bytes(received), payload)
        client.stop()
        self.assert_free(address)


class MainJobOverTls(MainJob):
    """The same with the endpoint on another host, linked by TLS with client certificates."""

    link = "tls"


class MainJobOverBpf(MainJob):
    """The same with the endpoint's packets carried by BPF programs in the kernel."""

    data_plane = "bpf"


if __name__ == "__main__":
    support.main()
