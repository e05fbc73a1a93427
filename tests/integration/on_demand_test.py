#!/usr/bin/env python3
"""A client on demand: no lease until IPv4 is used, and whoever uses it first does not notice."""

import json
import os
import signal
import socket
import subprocess
import time
import unittest

import campus as c
import slow_link
import support
import tsp

PAGE = "hello from the IPv4-only web server\n"
PLACEHOLDER = "192.0.0.2"


class OnDemandCase(unittest.TestCase):
    campus_type = c.Campus

    @classmethod
    def setUpClass(cls):
        cls.campus = cls.campus_type()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()
        cls.campus.start_web()

    def start(self, idle=300, **changes):
        client = self.campus.start_client(
            self.campus.client_configuration(**{"on-demand": {"idle-timeout": idle}, **changes}))
        self.addCleanup(self.end, client)
        client.wait_for_log("CLIENT_DORMANT")
        self.assertEqual(self.campus.leases(), {})
        return client

    def end(self, client):
        if client.alive():
            self.assertEqual(client.stop(), 0)
        c.wait_for("Kea has the lease back", lambda: self.campus.leases() == {})


class OnDemand(OnDemandCase):
    def status(self):
        return json.loads(self.campus.run_client_command("dstm-client", "status",
                                                         "--json").stdout)

    def curl(self):
        return self.campus.client.run("curl", "-sS", "-m", "10", f"http://{c.WEB}/").stdout

    def stop_and_see_nothing_left(self, client):
        self.assertEqual(client.stop(), 0)
        self.assertEqual(self.campus.client.ip("-4", "route").stdout, "")
        self.assertNotIn("dstm0", self.campus.client.ip("-br", "link").stdout)
        rules = self.campus.client.run("nft", "list", "ruleset").stdout
        self.assertEqual(rules.strip(), "")

    def test_first_curl_works_without_a_retry(self):
        client = self.start()
        self.assertEqual(self.status()["state"], "dormant")
        self.assertEqual(self.curl(), PAGE)
        self.assertEqual(len(self.campus.leases()), 1)
        self.assertEqual(self.curl(), PAGE)
        self.stop_and_see_nothing_left(client)

    def test_socket_that_was_connected_before_the_lease_lives_on(self):
        self.start()
        with self.campus.client.connect(c.WEB, 80) as connection:
            self.assertEqual(connection.getsockname()[0], PLACEHOLDER)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while part := connection.recv(4096):
                data += part
            self.assertIn(PAGE.encode(), data)
        with self.campus.client.connect(c.WEB, 80) as later:
            self.assertIn(later.getsockname()[0], self.campus.leases())

    def test_socket_that_is_bound_before_the_lease_lives_on(self):
        self.start()
        with self.campus.client.connect(c.WEB, 80, source=PLACEHOLDER) as connection:
            self.assertNotEqual(self.campus.leases(), {})
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.0 200"))

    def test_idle_gives_the_lease_back_and_the_next_packet_fetches_one(self):
        client = self.start(idle=2)
        self.assertEqual(self.curl(), PAGE)
        client.wait_for_log("CLIENT_DORMANT", count=2, timeout=30)
        c.wait_for("Kea has it back", lambda: self.campus.leases() == {})
        self.assertEqual(self.curl(), PAGE)
        said = client.output()
        self.assertEqual(said.count("CLIENT_DATA_PLANE"), 1, "chosen once")
        self.assertLess(said.index("CLIENT_DATA_PLANE"), said.index("CLIENT_DORMANT"), "at start")

    def taken(self):
        """Packets that went into the device that waits."""
        link = json.loads(self.campus.client.ip("-j", "-s", "link", "show", "dstm0-w").stdout)[0]
        return link["stats64"]["tx"]["packets"]

    def test_curl_that_begins_while_the_lease_is_given_back_gets_the_next(self):
        client = self.start(idle=1)
        self.assertEqual(self.curl(), PAGE)
        server = self.campus.server.popen
        server.send_signal(signal.SIGSTOP)
        self.addCleanup(server.send_signal, signal.SIGCONT)
        client.wait_for_log("CLIENT_DOWN")
        self.assertEqual(self.status()["state"], "tearing-down")
        before = self.taken()
        curl = subprocess.Popen(
            self.campus.client.argv("curl", "-sS", "-m", "10", "-o", "/dev/null", "-w",
                                    "%{time_connect}", f"http://{c.WEB}/"),
            stdout=subprocess.PIPE, text=True)
        c.wait_for("its first packet waits", lambda: self.taken() > before)
        server.send_signal(signal.SIGCONT)
        connect_time = float(curl.communicate(timeout=15)[0])
        self.assertEqual(curl.returncode, 0)
        self.assertLess(connect_time, 1.0, "a packet was lost: TCP repeats it after a second")

    def test_what_nobody_answers_costs_no_lease(self):
        client = self.start()
        before = self.taken()
        with self.campus.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            to = [("224.0.0.251", 5353), ("239.255.255.250", 1900), ("255.255.255.255", 67),
                  ("169.254.1.1", 9)]
            for peer in to:
                sender.sendto(b"is anybody there?", peer)
        c.wait_for("they were taken", lambda: self.taken() == before + len(to))
        self.assertEqual(self.status()["state"], "dormant")
        self.assertNotIn("CLIENT_UP", client.output())
        self.assertEqual(self.curl(), PAGE)

    def test_answers_to_strangers_are_no_use(self):
        client = self.start(idle=2)
        self.assertEqual(self.curl(), PAGE)
        address = self.status()["address"]
        scan = subprocess.Popen(
            self.campus.web.argv("sh", "-c", f"while :; do ping -c 1 -W 1 {address}; "
                                 f"curl -m 1 http://{address}:81/; sleep 0.2; done"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(scan.wait)
        self.addCleanup(scan.kill)
        client.wait_for_log("CLIENT_DORMANT", count=2, timeout=30)

    def test_routes_of_the_tunnel_that_are_missing_make_no_loop(self):
        client = self.start()
        self.assertEqual(self.curl(), PAGE)
        before = self.taken()
        for _ in range(5):
            self.campus.client.ip("route", "flush", "dev", "dstm0")
            self.campus.client.run("ping", "-c", "1", "-W", "5", c.WEB)
        c.wait_for("the route is back", lambda: "dstm0 " in
                   self.campus.client.ip("route", "get", c.WEB).stdout)
        self.assertLessEqual(self.taken() - before, 5)
        self.assertEqual(client.output().count("CLIENT_UP"), 1)

    def test_device_and_routes_that_somebody_removes_come_back(self):
        client = self.start()
        host = self.campus.client
        for damage in (("route", "flush", "dev", "dstm0-w"), ("addr", "flush", "dev", "dstm0-w"),
                       ("link", "del", "dstm0-w")):
            host.ip(*damage)
            c.wait_for(f"the route is back after {damage}", lambda: "dstm0-w" in c.run(
                "ip", "-n", host.namespace, "route", "get", c.WEB, check=False).stdout)
        self.assertEqual(self.curl(), PAGE)
        self.stop_and_see_nothing_left(client)

    def test_two_clients_have_placeholders_of_their_own(self):
        self.start()
        other = self.campus.start_client(self.campus.client_configuration(
            name="other", device="dstm1", **{"on-demand": {}, "routes": ["198.51.100.0/24"]}))
        self.addCleanup(other.stop)
        other.wait_for_log("CLIENT_DORMANT")
        addresses = self.campus.client.ip("-br", "-4", "addr").stdout
        self.assertIn("192.0.0.2/32", addresses)
        self.assertIn("192.0.0.3/32", addresses)
        self.campus.client.run("ping", "-c", "1", "-W", "1", "198.51.100.9", check=False)
        other.wait_for_log("CLIENT_UP")
        self.assertEqual(self.curl(), PAGE)
        self.assertEqual(len(self.campus.leases()), 2, "each has its own")

    def test_keepalives_are_no_use(self):
        client = self.start(idle=6, keepalive=5)
        self.assertEqual(self.curl(), PAGE)
        c.wait_for("a keepalive is answered", lambda: "round-trip-us" in self.status(), 20)
        client.wait_for_log("CLIENT_DORMANT", count=2, timeout=30)

    def test_killed_client_leaves_nothing(self):
        client = self.start()
        os.kill(client.pid, signal.SIGKILL)
        client.popen.wait()
        c.wait_for("the routes are gone",
                   lambda: self.campus.client.ip("-4", "route").stdout == "")
        rules = self.campus.client.run("nft", "list", "ruleset").stdout
        self.assertEqual(rules.strip(), "")

    def test_client_that_is_killed_with_a_lease_leaves_nothing_to_its_next_life(self):
        client = self.start()
        self.assertEqual(self.curl(), PAGE)
        os.kill(client.pid, signal.SIGKILL)
        client.popen.wait()
        again = self.campus.start_client(self.campus.path("dstm-client.conf"))
        self.addCleanup(again.kill)
        again.wait_for_log("CLIENT_DORMANT")
        self.assertEqual(self.curl(), PAGE)
        self.assertEqual(len(self.campus.leases()), 1, "the same one")
        self.stop_and_see_nothing_left(again)


class OneAddress(OnDemandCase):
    """Whoever asks again gets the same address, for there is no other."""

    @staticmethod
    def campus_type():
        return c.Campus(pool=("192.0.2.7", "192.0.2.7"))

    def test_connection_lives_on_over_leases(self):
        client = self.start(idle=1)
        self.campus.client.run("ping", "-c", "1", "-W", "5", c.WEB)
        with self.campus.client.connect(c.WEB, 80) as connection:
            self.assertEqual(connection.getsockname()[0], "192.0.2.7")
            client.wait_for_log("CLIENT_DORMANT", count=2)
            c.wait_for("Kea has it back", lambda: self.campus.leases() == {})
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.0 200"))
        # Its end alone is worth no lease.
        client.wait_for_log("CLIENT_DORMANT", count=3)


class FirstPacket(OnDemandCase):
    """With a client that is far away: what costs a round trip shows."""

    campus_type = slow_link.SlowCampus

    def connect_time(self):
        """Seconds until the TCP connection stands, by curl's own clock."""
        return float(self.campus.client.run(
            "curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{time_connect}",
            f"http://{c.WEB}/").stdout)

    def time_of_a_lease(self):
        """Seconds from the first byte to the address, by a client that does nothing else."""
        began = time.monotonic()
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        peer.login_anonymous()
        peer.create(c.CLIENT)
        self.assertEqual(peer.framed()[0], 200)
        took = time.monotonic() - began
        peer.close()  # unaccepted: the server takes the lease back
        c.wait_for("Kea has the lease back", lambda: self.campus.leases() == {})
        return took

    def test_it_waits_for_the_lease_and_less_than_two_round_trips(self):
        round_trip = 2 * slow_link.DELAY
        over = []
        for _ in range(3):
            lease = self.time_of_a_lease()
            client = self.start()
            first, later = self.connect_time(), self.connect_time()
            self.assertGreater(later, round_trip, "the delay is there")
            self.assertGreater(first, later + 2 * round_trip, "it did wait for a lease")
            self.assertLess(first, 1.0, "a packet was lost: TCP repeats it after a second")
            over.append(first - later - lease)
            self.end(client)
        self.assertLess(sorted(over)[1], 2 * round_trip, over)


if __name__ == "__main__":
    support.main()
