"""After 1,000 tunnels have come and gone everything is back where it was; the server refuses what
would let one client take another's address; daemons say what is wrong with their configuration."""

import os
import unittest

import campus as c
import support
import tsp

BATCH = 50
ELSEWHERE = "2001:db8:1::66"


class ThousandTunnels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(server_limits={"sessions-per-address": 2 * BATCH,
                                             "tunnels-per-address": 0})
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()

    def batch(self, first):
        """BATCH hosts come, hold their tunnels at the same time, and go."""
        peers = []
        for i in range(first, first + BATCH):
            peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
            peer.login_anonymous()
            peer.create(c.CLIENT, host=f"host-{i}")
            peers.append((peer, f"host-{i}"))
        addresses = set()
        for peer, _ in peers:
            status, text, xml = peer.framed()
            self.assertEqual(status, 200, text)
            addresses.add(tsp.leased_address(xml))
            peer.accept()
        self.assertEqual(len(addresses), BATCH)
        self.assertEqual(len(self.campus.tunnels()), BATCH)
        for i, (peer, host) in enumerate(peers):
            if i % 5 == 4:
                # Every fifth one deletes in a new session, as a restarted client does.
                peer.close()
                peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
                peer.login_anonymous()
            peer.delete(host)
            status, text, _ = peer.framed()
            self.assertEqual(status, 200, text)
            peer.close()

    def daemons(self):
        return [p for p in self.campus.processes if p.name in ("kea-dhcp4", "dstm-server",
                                                               "dstm-tep")]

    def snapshot(self):
        c.wait_for("no lease", lambda: not self.campus.leases())
        c.wait_for("no tunnel", lambda: not self.campus.tunnels())
        # `ip netns exec` replaces itself by the daemon, so these are of the daemon itself.
        return {process.name: (self.settled_descriptors(process), process.resident_kib())
                for process in self.daemons()}

    @staticmethod
    def settled_descriptors(process):
        """How many are open when the connections that asked have been closed on both sides."""
        seen = []

        def settled():
            seen.append(process.descriptors())
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        c.wait_for("the descriptors settle", settled)
        return seen[-1]

    def sessions(self):
        answer = c.unix_request(self.campus.path("server.sock"), {"command": "status"})
        return answer["arguments"]["sessions"]

    def test_everything_is_back_where_it_was(self):
        for warm_up in range(4):
            self.batch(10000 + warm_up * BATCH)
        c.wait_for("no session", lambda: self.sessions() == 0)
        before = self.snapshot()
        for start in range(0, 1000, BATCH):
            self.batch(start)
        c.wait_for("no session", lambda: self.sessions() == 0)
        after = self.snapshot()
        for name, (descriptors, resident) in after.items():
            self.assertLessEqual(descriptors, before[name][0], f"descriptors of {name}")
            # A leak of 1 KiB for each tunnel would show; page-level noise does not.
            self.assertLess(resident - before[name][1], 1024, f"KiB more in {name}")
        self.assertEqual(self.campus.lease_file(), {})
        statistics = c.unix_request(self.campus.path("kea4.sock"), {
            "command": "statistic-get",
            "arguments": {"name": "subnet[1].assigned-addresses"}})["arguments"]
        self.assertEqual(statistics["subnet[1].assigned-addresses"][0][0], 0)
        events = [line["event"] for line in self.campus.audit()]
        self.assertEqual(events.count("started"), 1200)
        self.assertEqual(events.count("ended"), 1200)


class LeaseOfAnother(unittest.TestCase):
    """A host id is no secret: who says another's is not taken for the other."""

    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(plain=True, mechanisms=("PLAIN", "ANONYMOUS"))
        cls.addClassCleanup(cls.campus.close)
        for user in ("alice", "bob"):
            cls.campus.add_user(user, "secret")
        cls.campus.client.ip("addr", "add", f"{ELSEWHERE}/64", "dev", "lan", "nodad")
        cls.campus.start_daemons()

    def dialogue(self, user=None, source=ELSEWHERE):
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653, source))
        self.addCleanup(peer.close)
        if user is None:
            peer.login_anonymous()
        else:
            self.assertEqual(peer.login_plain(user, "secret")[:3], "200")
        return peer

    def test_host_id_of_another_user_neither_takes_nor_ends_the_lease(self):
        alice = self.dialogue("alice", c.CLIENT)
        alice.create(c.CLIENT, host="her-laptop")
        status, text, xml = alice.framed()
        self.assertEqual(status, 200, text)
        alice.accept()
        hers = tsp.leased_address(xml)

        def binding():
            return self.campus.leases()[hers], self.campus.tunnels()[hers]["outer-client"]

        before = binding()
        for user in ("bob", None):
            with self.subTest(user or "anonymous"):
                thief = self.dialogue(user)
                thief.delete("her-laptop")
                thief.framed()
                thief = self.dialogue(user)
                thief.create(ELSEWHERE, host="her-laptop")
                status, text, xml = thief.framed()
                self.assertEqual(status, 200, text)
                self.assertNotEqual(tsp.leased_address(xml), hers)
                thief.accept()
                thief.delete("her-laptop")
                self.assertEqual(thief.framed()[0], 200)
                self.assertEqual(binding(), before)
        alice.delete("her-laptop")
        self.assertEqual(alice.framed()[0], 200)
        c.wait_for("no lease", lambda: not self.campus.leases())


class CheckConfig(unittest.TestCase):
    def check(self, program, text):
        directory = os.path.join(c.ROOT, "build")
        path = os.path.join(directory, f"check-{os.getpid()}.conf")
        with open(path, "w") as out:
            out.write(text)
        try:
            arguments = ["run"] if program == "dstm-client" else []
            return c.run(os.path.join(c.BUILD, "bin", program), *arguments, "--check-config", "-c",
                         path, check=False)
        finally:
            os.unlink(path)

    def test_every_mistake_is_named_with_file_line_and_path(self):
        for program in ("dstm-server", "dstm-tep", "dstm-client"):
            with self.subTest(program):
                done = self.check(program, '{\n"%s": {\n"log-level": "loud",\n"colour": 1\n}}'
                                  % program)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"conf:3: {program}.log-level: \"loud\" is not one of", done.stderr)
                self.assertIn(f"conf:4: {program}.colour: unknown key", done.stderr)

    def test_the_shipped_examples_are_good(self):
        for program in ("dstm-server", "dstm-tep", "dstm-client"):
            with self.subTest(program):
                with open(os.path.join(c.ROOT, "docs", "examples", f"{program}.conf")) as example:
                    done = self.check(program, example.read())
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    support.main()
