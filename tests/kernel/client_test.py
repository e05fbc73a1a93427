"""dstm-client on a host whose kernel has tunnel devices (guest.py), against the other daemons.

The campus is that of tests/integration/campus.py; the endpoint carries in user space.
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "integration"))

import campus  # noqa: E402
import support  # noqa: E402


class KernelClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = campus.Campus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()
        cls.campus.start_web()

    def fetch(self):
        return self.campus.client.run("curl", "-sS", "--max-time", "20", f"http://{campus.WEB}/")

    def device(self):
        return self.campus.client.run("ip", "-d", "link", "show", "dev", "dstm0",
                                      check=False).stdout

    def up(self, **settings):
        client = self.campus.start_client(self.campus.client_configuration(**settings))
        client.wait_for_log("CLIENT_UP", timeout=60)
        return client

    def test_auto_takes_the_kernels_device_and_says_so(self):
        client = self.up()
        self.assertIn("CLIENT_DATA_PLANE data-plane=kernel device=dstm0 why=\"auto\"\n",
                      client.output())
        self.assertIn("ip6tnl ipip6", self.device())
        self.assertIn("encaplimit none", self.device())
        self.assertIn("hello", self.fetch().stdout)
        self.assertEqual(client.stop(timeout=30), 0)
        self.assertEqual(self.device(), "")

    def test_what_a_killed_client_left_is_taken_back(self):
        client = self.up(**{"data-plane": "kernel"})
        client.kill()
        self.assertIn("ip6tnl", self.device())
        client = self.up(**{"data-plane": "tun"})
        self.assertIn("CLIENT_RECOVERING", client.output())
        self.assertIn("CLIENT_DATA_PLANE data-plane=tun device=dstm0 why=\"configured\"",
                      client.output())
        self.assertNotIn("ip6tnl", self.device())
        self.assertIn("hello", self.fetch().stdout)
        self.assertEqual(client.stop(timeout=30), 0)


if __name__ == "__main__":
    support.main()
