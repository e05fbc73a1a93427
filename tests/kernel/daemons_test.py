"""The daemons on hosts whose kernel has tunnel devices (guest.py), with real Kea.

The campus is that of tests/integration/campus.py; endpoint and client carry by the kernel, unless a
test says otherwise.
"""

import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "integration"))

import campus  # noqa: E402
import mtu_test  # noqa: E402
import support  # noqa: E402

MOVED = "2001:db8:1::200"


class Pings:
    """Fifty a second from a host, until finish()."""

    def __init__(self, host, target):
        self.process = host.start("ping", "ping", "-n", "-i", "0.02", target)
        self.process.wait_for_log("icmp_seq=1 ")

    def came(self):
        return [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", self.process.output())]

    def finish(self):
        """Numbers of the answers; the last may have been on its way."""
        self.process.popen.send_signal(signal.SIGINT)
        self.process.popen.wait(30)
        return self.came()


class Daemons(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = campus.Campus(data_plane="kernel")
        cls.addClassCleanup(cls.campus.close)
        cls.campus.add_user("alice", "secret")
        cls.clean = cls.state_of_endpoint()
        cls.campus.start_kea()
        cls.campus.start_server()
        cls.campus.start_web()

    def setUp(self):
        self.campus.write_tep_configuration()
        self.start_tep()

    def tearDown(self):
        self.campus.tep.kill()
        self.detach()

    @classmethod
    def state_of_endpoint(cls):
        shown = [cls.campus.endpoint.run(*command.split()).stdout for command in (
            "ip -br link", "ip -br addr", "ip route show table all", "ip -6 route show table all",
            "nft list ruleset", "sysctl net.ipv4.conf.all.rp_filter")]
        return "".join(shown)

    def start_tep(self):
        self.campus.start_tep()
        self.campus.wait_ready()

    def detach(self):
        done = self.campus.endpoint.run(self.campus.binary("dstm-tep"), "--detach", "-c",
                                        self.campus.path("dstm-tep.conf"), check=False)
        return done.returncode, done.stdout + done.stderr

    def fetch(self):
        return self.campus.client.run("curl", "-sS", "--max-time", "20",
                                      f"http://{campus.WEB}/").stdout

    def device(self):
        return self.campus.client.run("ip", "-d", "link", "show", "dev", "dstm0",
                                      check=False).stdout

    def up(self, *who, **settings):
        configuration = self.campus.client_configuration("dstm-client", *who, **settings)
        client = self.campus.start_client(configuration)
        client.wait_for_log("CLIENT_UP")
        return client

    def down(self, client):
        self.assertEqual(client.stop(), 0)
        self.assertEqual(self.device(), "")

    # --- client --------------------------------------------------------------------------------

    def test_auto_of_a_client_takes_the_kernels_device_and_says_so(self):
        client = self.up()
        self.assertIn("CLIENT_DATA_PLANE data-plane=kernel device=dstm0 why=\"auto\"\n",
                      client.output())
        self.assertIn("ip6tnl ipip6", self.device())
        self.assertIn("encaplimit none", self.device())
        self.assertIn("hello", self.fetch())
        self.down(client)

    def test_what_a_killed_client_left_is_taken_back(self):
        client = self.up(**{"data-plane": "kernel"})
        client.kill()
        self.assertIn("ip6tnl", self.device())
        client = self.up(**{"data-plane": "tun"})
        self.assertIn("CLIENT_RECOVERING", client.output())
        self.assertIn("CLIENT_DATA_PLANE data-plane=tun device=dstm0 why=\"configured\"",
                      client.output())
        self.assertNotIn("ip6tnl", self.device())
        self.assertIn("hello", self.fetch())
        self.down(client)

    def test_a_client_moves_and_its_device_stays(self):
        client = self.up("alice", "secret")
        inner = next(iter(self.campus.tunnels()))
        before = self.device()
        self.assertIn(f"local {campus.CLIENT} ", before)
        pings = Pings(self.campus.client, campus.WEB)
        self.campus.client.ip("addr", "add", f"{MOVED}/64", "dev", "lan")
        self.campus.client.ip("addr", "change", f"{campus.CLIENT}/64", "dev", "lan",
                              "preferred_lft", "0", "valid_lft", "forever")
        campus.wait_for("the endpoint sends to the new address",
                        lambda: self.campus.tunnels()[inner]["outer-client"] == MOVED)
        campus.wait_for("the device sends from the new address",
                        lambda: f"local {MOVED} " in self.device())
        self.assertEqual(self.device().split(":")[0], before.split(":")[0], "the same device")
        moved_at = len(pings.came())
        campus.wait_for("the answers go on", lambda: len(pings.came()) > moved_at + 50)
        pings.finish()
        self.assertIn("hello", self.fetch())
        self.assertNotIn("CLIENT_RETRY", client.output())
        self.down(client)
        self.campus.client.ip("addr", "change", f"{campus.CLIENT}/64", "dev", "lan",
                              "preferred_lft", "forever", "valid_lft", "forever")
        self.campus.client.ip("addr", "del", f"{MOVED}/64", "dev", "lan")

    # --- endpoint ------------------------------------------------------------------------------

    def test_a_killed_endpoint_daemon_is_followed_by_another_and_no_packet_is_lost(self):
        client = self.up()
        inner, installed = next(iter(self.campus.tunnels().items()))
        pings = Pings(self.campus.client, campus.WEB)
        for _ in range(3):
            self.campus.tep.kill()
            without = len(pings.came())
            campus.wait_for("answers while there is no daemon",
                            lambda: len(pings.came()) > without + 10)
            self.start_tep()
            self.assertIn("KERNEL_ADOPTED tunnels=1 devices=1", self.campus.tep.output())
            self.assertEqual(self.campus.tunnels()[inner]["generation"], installed["generation"])
        came = pings.finish()
        self.assertEqual(came, list(range(1, len(came) + 1)))
        self.down(client)

    def test_detach_leaves_nothing_and_the_next_daemon_starts_afresh(self):
        client = self.up()
        self.assertEqual(self.detach()[0], 1, "a daemon that lives is not pulled from under")
        self.assertIn("hello", self.fetch())
        self.assertEqual(self.campus.tep.stop(), 0)
        self.assertIn("hello", self.fetch())
        code, said = self.detach()
        self.assertEqual(code, 0, said)
        self.assertEqual(sorted(said.splitlines()),
                         ["removed: device dstm0", "removed: device dstm0-1"])
        self.assertEqual(self.state_of_endpoint(), self.clean)
        self.assertEqual(self.detach(), (0, "nothing was there\n"))
        self.start_tep()
        self.assertNotIn("KERNEL_ADOPTED", self.campus.tep.output())
        campus.wait_for("the tunnel is installed again", self.campus.tunnels)
        self.assertIn("hello", self.fetch())
        self.down(client)

    def test_an_open_connection_goes_on_when_the_path_shrinks_and_nobody_says_so(self):
        client = self.up()
        inner = next(iter(self.campus.tunnels()))
        flow = mtu_test.Flow(self.campus.web, self.campus.client, campus.WEB, inner)
        self.addCleanup(flow.close)
        flow.must_progress("at first")
        self.campus.router.run("nft", "table ip6 silent { chain out { type filter hook output"
                               " priority 0; icmpv6 type packet-too-big drop; }; }")
        self.campus.router.ip("link", "set", "lan", "mtu", "1280")
        try:
            flow.must_progress("over the path that has shrunk")
            self.assertIn("KERNEL_PATH_MTU device=dstm0-1 mtu=1240", self.campus.tep.output())
        finally:
            self.campus.router.ip("link", "set", "lan", "mtu", "1500")
            self.campus.router.run("nft", "delete", "table", "ip6", "silent")
        self.down(client)

    def test_each_data_plane_takes_over_from_the_one_before(self):
        client = self.up()
        for plane in ("tun", "kernel", "bpf", "kernel"):
            with self.subTest(plane=plane):
                self.assertEqual(self.campus.tep.stop(), 0)
                self.campus.write_tep_configuration(**{"data-plane": plane})
                self.start_tep()
                self.assertIn(f"data-plane={plane} ", self.campus.tep.output())
                campus.wait_for("the tunnel is installed", self.campus.tunnels)
                self.assertIn("hello", self.fetch())
                links = self.campus.endpoint.run("ip", "-br", "link").stdout
                self.assertEqual("dstm0-1" in links, plane == "kernel", links)
        self.down(client)

    def test_auto_of_an_endpoint_without_the_right_to_bpf_takes_the_kernel_and_says_so(self):
        probed = self.campus.endpoint.run(self.campus.binary("dstm-tep"), "--probe",
                                          ).stdout
        self.assertIn("bpf: yes, ", probed)
        self.assertIn("kernel: yes, v4v6 by ip6tnl devices; v6v4 by sit devices; no v6udpv4\n",
                      probed)
        self.assertIn("tun: yes, ", probed)
        self.campus.tep.stop()
        self.campus.write_tep_configuration(**{"data-plane": "auto"})
        tep = self.campus.endpoint.start(
            "dstm-tep", "setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin",
            self.campus.binary("dstm-tep"), "-c", self.campus.path("dstm-tep.conf"))
        self.campus.tep = tep
        tep.wait_for_log("TEP_STARTED")
        self.assertRegex(tep.output(),
                         r"TEP_STARTED .*data-plane=kernel why=\"auto; not bpf: [^\n]+\" device")


if __name__ == "__main__":
    support.main()
