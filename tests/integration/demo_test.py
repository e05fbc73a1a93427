"""./dev demo does what it says, in time, and leaves the machine as it was."""

import os
import subprocess
import sys
import time
import unittest

import campus as c
import support

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo.py")


def demo(*arguments):
    return subprocess.run([sys.executable, DEMO, *arguments], capture_output=True, text=True,
                          timeout=90, check=False)


def namespaces():
    return set(os.listdir("/run/netns")) if os.path.exists("/run/netns") else set()


class Demo(unittest.TestCase):
    def test_it_shows_the_whole_way_within_a_minute_and_takes_all_down(self):
        before, started = namespaces(), time.monotonic()
        done = demo()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertLess(time.monotonic() - started, 60)
        for shown in ("CLIENT_UP", "AUTH_SUCCEEDED", "user=\"alice\"", f"outer={c.CLIENT}",
                      "0% packet loss", "hello from the IPv4-only web server",
                      "hello from the IPv6-only client", '"outer-address": "2001:db8:1::100"',
                      '"packets-up"', "Done"):
            self.assertIn(shown, done.stdout)
        self.assertEqual(namespaces(), before)

    def test_keep_leaves_it_up_and_down_takes_it_away(self):
        before = namespaces()
        kept = demo("--keep")
        try:
            self.assertEqual(kept.returncode, 0, kept.stdout + kept.stderr)
            made = namespaces() - before
            self.assertEqual(len(made), 5)
            for namespace in made:
                self.assertIn(f"ip netns exec {namespace} bash", kept.stdout)
            client = next(name for name in made if name.endswith("client"))
            c.run("ip", "netns", "exec", client, "ping", "-c", "1", "-W", "2", c.WEB)
        finally:
            down = demo("--down")
        self.assertEqual(down.returncode, 0, down.stdout + down.stderr)
        self.assertEqual(namespaces(), before)


if __name__ == "__main__":
    support.main()
