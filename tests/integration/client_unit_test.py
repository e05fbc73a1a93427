#!/usr/bin/env python3
"""The client as docs/examples/systemd/dstm-client.service runs it: what the unit leaves to it is
enough, and systemd is told of its life."""

import os
import shutil
import signal
import socket
import tempfile
import unittest

import campus as c
import support

UNITS = os.path.join(c.ROOT, "docs", "examples", "systemd")
UNIT = os.path.join(UNITS, "dstm-client.service")
WATCHDOG_US = 400_000


def unit(key):
    with open(UNIT) as lines:
        return next(line.split("=", 1)[1].split() for line in lines if line.startswith(key + "="))


class ClientUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.start_daemons()
        cls.campus.start_web()

    def start(self, environment=None, **changes):
        """Root as systemd leaves it: with the capabilities of the unit and no others."""
        capabilities = ",".join("+" + name.removeprefix("CAP_").lower()
                                for name in unit("CapabilityBoundingSet"))
        client = self.campus.client.start(
            "dstm-client", "setpriv", "--no-new-privs", f"--bounding-set=-all,{capabilities}",
            self.campus.binary("dstm-client"), "run", "-c",
            self.campus.client_configuration(**changes), env=environment)
        self.addCleanup(client.kill)
        return client

    def must_reach_the_web(self):
        self.campus.client.run("curl", "-sS", "-m", "10", f"http://{c.WEB}/")

    def test_capabilities_of_the_unit_are_enough(self):
        client = self.start()
        client.wait_for_log("CLIENT_UP")
        self.must_reach_the_web()
        self.assertEqual(client.stop(), 0)

    def test_capabilities_of_the_unit_are_enough_on_demand(self):
        client = self.start(**{"on-demand": {"idle-timeout": 300}})
        client.wait_for_log("CLIENT_DORMANT")
        self.must_reach_the_web()
        self.assertEqual(client.stop(), 0)

    def test_systemd_is_told_of_readiness_and_life(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(self.campus.path("notify"))
            notify.settimeout(10)
            client = self.start({"NOTIFY_SOCKET": self.campus.path("notify"),
                                 "WATCHDOG_USEC": str(WATCHDOG_US)})
            said = []

            def hear(word):
                while not any(word in each for each in said):
                    said.append(notify.recv(4096).decode())
                said.clear()

            hear("READY=1")
            for _ in range(3):
                hear("WATCHDOG=1")
            os.kill(client.pid, signal.SIGSTOP)
            notify.settimeout(WATCHDOG_US / 1e6)
            with self.assertRaises(TimeoutError, msg="who hangs shows no life"):
                while True:
                    notify.recv(4096)
            os.kill(client.pid, signal.SIGCONT)
            notify.settimeout(10)
            hear("WATCHDOG=1")
            client.popen.send_signal(signal.SIGTERM)
            hear("STOPPING=1")
            self.assertEqual(client.stop(), 0)

    def test_ready_while_the_server_is_away(self):
        self.campus.server.stop()
        self.addCleanup(self.campus.wait_ready)
        self.addCleanup(self.campus.start_server)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(self.campus.path("notify-away"))
            notify.settimeout(10)
            client = self.start({"NOTIFY_SOCKET": self.campus.path("notify-away")})
            said = ""
            while "READY=1" not in said or "STATUS=waiting" not in said:
                said += notify.recv(4096).decode() + "\n"
            self.assertNotIn("CLIENT_UP", client.output())
            self.assertEqual(client.stop(), 0)

    def test_systemd_understands_the_units_and_finds_them_hardened(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        for name in ("dstm-client", "dstm-server", "dstm-tep"):
            with self.subTest(name), tempfile.TemporaryDirectory() as directory:
                copy = os.path.join(directory, f"{name}.service")
                with open(os.path.join(UNITS, f"{name}.service")) as text, open(copy, "w") as out:
                    out.write(text.read().replace(f"/usr/sbin/{name}", self.campus.binary(name)))
                said = c.run("systemd-analyze", "verify", copy, check=False)
                self.assertEqual((said.returncode, said.stderr.strip()), (0, ""))
                # Tenths of its "exposure"; 5.0 and more it calls medium.
                c.run("systemd-analyze", "security", "--offline=true", "--threshold=33", copy)


if __name__ == "__main__":
    support.main()
