#!/usr/bin/env python3
"""The commands for a person and for scripts: what `up` waits for, what it says, how it ends."""

import json
import unittest

import campus as c
import support

NATIVE_GATEWAY = "198.51.100.1"


class ClientCommands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.add_user("alice", "secret")
        cls.campus.start_daemons()
        cls.campus.wire("client", "wan0", "198.51.100.2/24", "router", "wan",
                        f"{NATIVE_GATEWAY}/24")

    def configure(self, **changes):
        self.configuration = self.campus.client_configuration(**changes)
        self.addCleanup(self.command, "down")

    def argv(self, *words):
        return self.campus.client.argv(self.campus.binary("dstm-client"), *words, "-c",
                                       self.configuration)

    def command(self, *words):
        return c.run(*self.argv(*words), check=False)

    def state(self):
        said = self.command("status", "--json")
        return json.loads(said.stdout)["state"] if said.returncode == 0 else None

    def add_native_way(self):
        self.campus.client.ip("route", "add", "default", "via", NATIVE_GATEWAY, "dev", "wan0")
        self.addCleanup(self.campus.client.ip, "route", "del", "default", "dev", "wan0")

    def start_in_foreground(self, *words):
        client = c.Process("up", self.argv("up", "--foreground", *words),
                           self.campus.path(f"{self.id()}.log"))
        self.campus.processes.append(client)
        return client

    # --- in the background -----------------------------------------------------------------------

    def test_up_prints_the_address_and_down_gives_it_back(self):
        self.configure()
        up = self.command("up")
        self.assertEqual(up.returncode, 0, up.stderr)
        self.assertIn(f"IPv4 address {next(iter(self.campus.leases()))} for", up.stdout)
        self.assertEqual(self.command("down").returncode, 0)
        self.assertEqual(self.campus.leases(), {})
        self.assertEqual(self.command("status").returncode, 3)

    def test_up_that_is_refused_ends_with_4_and_leaves_nothing(self):
        self.configure(user="alice", password="not hers")
        up = self.command("up")
        self.assertEqual(up.returncode, 4, up.stderr)
        self.assertIn("300", up.stderr)
        c.wait_for("there is no client", lambda: self.command("status").returncode == 3)

    def test_up_that_gets_no_answer_ends_with_5_and_leaves_nothing(self):
        self.configure(server="2001:db8:3::dead")
        up = self.command("up", "--timeout", "1")
        self.assertEqual(up.returncode, 5, up.stderr)
        c.wait_for("there is no client", lambda: self.command("status").returncode == 3)

    def test_up_is_done_where_the_host_has_a_way_of_its_own(self):
        self.add_native_way()
        self.configure(**{"native-ipv4": "exclusive"})
        up = self.command("up")
        self.assertEqual((up.returncode, up.stdout), (0, "aside\n"), up.stderr)
        self.assertEqual(self.state(), "aside", "the client stays")

    # --- in the foreground -----------------------------------------------------------------------

    def must_stay(self, client, state):
        """For longer than the second that it was given."""
        c.wait_for(f"it is {state}", lambda: self.state() == state)
        with self.assertRaises(c.subprocess.TimeoutExpired):
            client.popen.wait(2)
        self.assertEqual(self.state(), state)
        self.assertEqual(client.stop(), 0)

    def test_up_in_the_foreground_stays_on_demand(self):
        self.configure(**{"on-demand": {}})
        self.must_stay(self.start_in_foreground("--timeout", "1"), "dormant")

    def test_up_in_the_foreground_stays_where_the_host_has_a_way_of_its_own(self):
        self.add_native_way()
        self.configure(**{"native-ipv4": "exclusive"})
        self.must_stay(self.start_in_foreground("--timeout", "1"), "aside")

    def test_up_in_the_foreground_without_an_answer_ends_with_5(self):
        self.configure(server="2001:db8:3::dead")
        client = self.start_in_foreground("--timeout", "1")
        self.assertEqual(client.popen.wait(10), 5)
        self.assertIn("no tunnel in time", client.output())


if __name__ == "__main__":
    support.main()
