#!/usr/bin/env python3
"""A client on demand: no lease until IPv4 is used, and whoever uses it first does not notice."""

import json
import os
import signal
import unittest

import campus as c
import support

PAGE = "hello from the IPv4-only web server\n"


class OnDemand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()
        cls.campus.start_web()

    def start(self, idle=300):
        client = self.campus.start_client(
            self.campus.client_configuration(**{"on-demand": {"idle-timeout": idle}}))
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_DORMANT")
        self.assertEqual(self.campus.leases(), {})
        return client

    def status(self):
        return json.loads(self.campus.run_client_command("dstm-client", "status",
                                                         "--json").stdout)

    def curl(self):
        return self.campus.client.run("curl", "-sS", "-m", "10", f"http://{c.WEB}/").stdout

    def test_first_curl_works_without_a_retry(self):
        client = self.start()
        self.assertEqual(self.status()["state"], "dormant")
        self.assertEqual(self.curl(), PAGE)
        self.assertEqual(len(self.campus.leases()), 1)
        self.assertEqual(self.curl(), PAGE)
        self.assertEqual(client.stop(), 0)
        self.assertEqual(self.campus.client.ip("-4", "route").stdout, "")
        self.assertNotIn("dstm0", self.campus.client.ip("-br", "link").stdout)

    def test_socket_that_was_connected_before_the_lease_lives_on(self):
        self.start()
        with self.campus.client.connect(c.WEB, 80) as connection:
            self.assertEqual(connection.getsockname()[0], "192.0.0.2")
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while part := connection.recv(4096):
                data += part
            self.assertIn(PAGE.encode(), data)
        with self.campus.client.connect(c.WEB, 80) as later:
            self.assertIn(later.getsockname()[0], self.campus.leases())

    def test_idle_gives_the_lease_back_and_the_next_packet_fetches_one(self):
        client = self.start(idle=2)
        self.assertEqual(self.curl(), PAGE)
        client.wait_for_log("CLIENT_DORMANT", count=2, timeout=30)
        c.wait_for("Kea has it back", lambda: self.campus.leases() == {})
        self.assertEqual(self.curl(), PAGE)

    def test_killed_client_leaves_nothing(self):
        client = self.start()
        os.kill(client.pid, signal.SIGKILL)
        client.popen.wait()
        c.wait_for("the routes are gone",
                   lambda: self.campus.client.ip("-4", "route").stdout == "")
        rules = self.campus.client.run("nft", "list", "ruleset").stdout
        self.assertEqual(rules.strip(), "")


if __name__ == "__main__":
    support.main()
