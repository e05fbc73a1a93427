#!/usr/bin/env python3
"""dstm-tep with the BPF data plane: what rights it needs, what is in its way, and the way back."""

import json
import os
import signal
import unittest

import campus as c
import support

UNIT = os.path.join(c.ROOT, "docs", "examples", "systemd", "dstm-tep.service")
PINS = "/sys/fs/bpf/dstm"


def capabilities_of_the_unit():
    with open(UNIT) as lines:
        names = next(line.split("=", 1)[1].split() for line in lines
                     if line.startswith("CapabilityBoundingSet="))
    return [name.removeprefix("CAP_").lower() for name in names]


class BpfEndpoint(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(data_plane="bpf")
        cls.addClassCleanup(cls.campus.close)
        cls.host = cls.campus.endpoint

    def setUp(self):
        self.links = self.names_of_links()
        self.routes = self.host.ip("route").stdout
        self.campus.write_tep_configuration()
        self.addCleanup(self.must_leave_nothing)

    # --- the host ------------------------------------------------------------------------------

    def names_of_links(self):
        return {link["ifname"] for link in json.loads(self.host.ip("-j", "link").stdout)}

    def inside(self, *command):
        """With the host's own BPF file system, which `ip netns exec` hides."""
        return ["nsenter", f"--net=/run/netns/{self.host.namespace}", *command]

    def tc(self, *words):
        return c.run(*self.inside("tc", *words)).stdout

    def pins(self):
        """Of the device in this network namespace: the only one named so here."""
        mine = c.run(*self.inside("python3", "-c", (
            "import socket; print(int.from_bytes(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
            ".getsockopt(socket.SOL_SOCKET, 71, 8), 'little'))"))).stdout.strip()
        path = f"{PINS}/dstm0@{mine}"
        return path if os.path.isdir(path) else None

    # --- the daemon ----------------------------------------------------------------------------

    def program(self, capabilities=None):
        limits = [] if capabilities is None else [
            "setpriv", "--no-new-privs",
            "--bounding-set=-all," + ",".join("+" + name for name in capabilities)]
        return self.inside(*limits, self.campus.binary("dstm-tep"), "-c",
                           self.campus.path("dstm-tep.conf"))

    def start(self, capabilities=None, **changes):
        self.campus.write_tep_configuration(**changes)
        log = self.campus.path("dstm-tep.log")
        daemon = c.Process("dstm-tep", self.program(capabilities), log)
        self.campus.processes.append(daemon)
        return daemon

    def started(self, capabilities=None, **changes):
        daemon = self.start(capabilities, **changes)
        daemon.wait_for_log("TEP_STARTED")
        return daemon

    def fails(self, capabilities=None, **changes):
        daemon = self.start(capabilities, **changes)
        self.assertNotEqual(daemon.popen.wait(15), 0)
        return daemon.output()

    def detach(self):
        return c.run(*self.program(), "--detach").stdout

    def must_leave_nothing(self):
        for daemon in self.campus.processes:
            daemon.kill()
        self.campus.write_tep_configuration()
        self.detach()
        self.assertIsNone(self.pins())
        self.assertEqual(self.names_of_links(), self.links)
        self.assertEqual(self.host.ip("route").stdout, self.routes)
        for name in self.links:
            for direction in ("ingress", "egress"):
                self.assertNotIn("dstm", self.tc("filter", "show", "dev", name, direction))
        self.assertNotIn("xdp", self.host.ip("link").stdout)

    @staticmethod
    def line_with(output, text):
        return next(line for line in output.splitlines() if text in line)

    # --- rights --------------------------------------------------------------------------------

    def test_capabilities_of_the_unit_are_enough_also_to_take_over(self):
        rights = capabilities_of_the_unit()
        programs = set()
        for _ in range(2):
            daemon = self.started(rights, shortcut="xdp")
            self.assertIn("data-plane=bpf", self.line_with(daemon.output(), "TEP_STARTED"))
            for trouble in ("BPF_NOT_PINNED", "BPF_NO_XDP", "BPF_NOT_ATTACHED"):
                self.assertNotIn(trouble, daemon.output())
            link = json.loads(self.host.ip("-j", "link", "show", "dev", "dmz").stdout)[0]
            programs.add(link["xdp"]["prog"]["id"])
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.popen.wait()
        self.assertEqual(len(programs), 2, "the second one put its own program there")
        removed = c.run(*self.program(rights), "--detach").stdout
        self.assertIn("programs on dmz", removed)
        self.assertNotIn("xdp", self.host.ip("link").stdout)

    def test_program_that_the_verifier_refuses_is_told_in_one_line(self):
        rights = [name for name in capabilities_of_the_unit() if name != "perfmon"]
        reason = "the kernel refused a BPF program: "
        line = self.line_with(self.fails(rights), "TEP_DATA_PLANE_FAILED")
        self.assertIn(reason, line)
        self.assertIn("libbpf: prog 'dstm_", line)
        self.assertLess(len(line), 600)
        daemon = self.started(rights, **{"data-plane": "auto"})
        line = self.line_with(daemon.output(), "TEP_STARTED")
        self.assertIn("data-plane=tun", line)
        self.assertIn("not bpf: " + reason, line)
        self.assertEqual(daemon.stop(), 0)

    def test_without_the_right_to_load_programs_it_says_which_is_missing(self):
        rights = ["net_admin", "net_raw"]
        line = self.line_with(self.fails(rights), "TEP_DATA_PLANE_FAILED")
        self.assertIn("needs CAP_BPF", line)
        daemon = self.started(rights, **{"data-plane": "auto"})
        line = self.line_with(daemon.output(), "TEP_STARTED")
        self.assertIn("data-plane=tun", line)
        self.assertIn("not bpf: ", line)
        self.assertIn("needs CAP_BPF", line)
        self.assertEqual(daemon.stop(), 0)

    # --- what is in the way --------------------------------------------------------------------

    def test_pools_that_overlap_are_named(self):
        said = self.fails(pools=["192.0.2.0/24", "192.0.2.128/25"])
        self.assertIn("192.0.2.128/25 overlaps another pool", said)

    def test_map_that_is_pinned_by_something_else_is_named_and_detach_removes_it(self):
        os.kill(self.started().pid, signal.SIGKILL)
        place = os.path.join(self.pins(), "pool_0")
        os.unlink(place)
        c.run("bpftool", "map", "create", place, "type", "array", "key", "4", "value", "8",
              "entries", "1", "name", "others")
        said = self.fails()
        self.assertIn(f"{place} is pinned by something else", said)
        self.assertIn("filter", self.tc("filter", "show", "dev", "dmz", "ingress"))
        self.assertIn("removed: ", self.detach())

    def killed(self, **changes):
        """The pins of a daemon that ran and was killed."""
        daemon = self.started(**changes)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.popen.wait()
        return self.pins()

    @staticmethod
    def make_map(place, name, value):
        c.run("bpftool", "map", "create", place, "type", "array", "key", "4", "value", str(value),
              "entries", "1", "name", name)

    def ingress_of_dmz(self):
        return self.tc("filter", "show", "dev", "dmz", "ingress")

    def test_what_a_daemon_left_that_was_killed_while_it_pinned_is_no_hindrance(self):
        pins = self.killed()
        self.make_map(os.path.join(pins, "fresh"), "pool_0", 8)
        os.mkdir(pins + ",new")
        self.make_map(os.path.join(pins + ",new", "pool_0"), "pool_0", 8)
        self.killed()
        self.assertFalse(os.path.exists(pins + ",new"))
        self.assertNotIn("fresh", os.listdir(pins))

    def test_maps_that_were_never_finished_are_made_anew_but_what_was_changed_is_known(self):
        self.host.run("sysctl", "-w", "net.ipv4.conf.dmz.rp_filter=2")
        self.addCleanup(self.host.run, "sysctl", "-w", "net.ipv4.conf.dmz.rp_filter=0")
        os.unlink(os.path.join(self.killed(), "meta"))
        self.killed()
        self.detach()
        self.assertEqual(self.host.run("sysctl", "-n", "net.ipv4.conf.dmz.rp_filter").stdout, "2\n")
        self.assertNotIn("clsact", self.tc("qdisc", "show", "dev", "dmz"))

    def test_foreign_map_in_the_place_of_the_meta_is_refused_and_not_read(self):
        place = os.path.join(self.killed(), "meta")
        os.unlink(place)
        self.make_map(place, "meta", 4096)
        self.assertIn("do not say whose they are", self.fails())
        self.assertIn("programs on dmz", self.detach())
        self.assertNotIn("clsact", self.tc("qdisc", "show", "dev", "dmz"))

    def test_foreign_pin_and_no_device_keep_detach_from_nothing(self):
        place = os.path.join(self.killed(), "pool_0")
        os.unlink(place)
        self.make_map(place, "others", 8)
        self.host.ip("link", "del", "dstm0")
        self.assertIn("programs on dmz", self.detach())
        self.assertEqual(self.ingress_of_dmz(), "")

    def test_programs_whose_records_are_lost_are_known_by_their_handles(self):
        os.unlink(os.path.join(self.killed(), "hooks"))
        self.host.ip("link", "del", "dstm0")
        self.addCleanup(self.tc, "qdisc", "del", "dev", "dmz", "clsact")
        self.assertIn("program on dmz", self.detach())
        self.assertEqual(self.ingress_of_dmz(), "")

    # --- another plane ---------------------------------------------------------------------------

    def test_auto_takes_no_other_plane_while_something_is_in_the_way(self):
        place = os.path.join(self.killed(), "pool_0")
        os.unlink(place)
        self.make_map(place, "others", 8)
        self.host.ip("link", "del", "dstm0")
        self.assertIn(f"{place} is pinned by something else", self.fails(**{"data-plane": "auto"}))
        self.assertIn("dstm_up", self.ingress_of_dmz())

    def test_another_plane_takes_the_programs_away_first(self):
        for rights, plane in ((["net_admin", "net_raw"], "auto"), (None, "tun")):
            self.killed()
            self.assertIn("dstm_up", self.ingress_of_dmz())
            daemon = self.started(rights, **{"data-plane": plane})
            self.assertIn("data-plane=tun", self.line_with(daemon.output(), "TEP_STARTED"))
            self.line_with(daemon.output(), "TEP_DETACHED")
            self.assertEqual(self.ingress_of_dmz(), "")
            self.assertEqual(daemon.stop(), 0)
        self.assertNotIn("clsact", self.tc("qdisc", "show", "dev", "dmz"))

    def test_place_of_our_filter_that_another_has_is_named(self):
        self.tc("qdisc", "add", "dev", "dmz", "clsact")
        self.addCleanup(self.tc, "qdisc", "del", "dev", "dmz", "clsact")
        self.tc("filter", "add", "dev", "dmz", "ingress", "prio", "3415", "handle", "0xd5", "bpf",
                "bytecode", "1,6 0 0 0,")
        self.assertIn("on dmz the tc filter of priority 3415", self.fails())
        self.assertIn("bytecode", self.tc("filter", "show", "dev", "dmz", "ingress"))

    def test_interface_that_vanishes_and_comes_back_is_carried_from_again(self):
        daemon = self.started(shortcut="tc")
        daemon.wait_for_log("BPF_ATTACHED interface=v4")
        self.host.ip("link", "del", "v4")
        c.wait_for("gone", lambda: "v4" not in self.names_of_links())
        self.campus.wire("web", "v4", f"{c.WEB}/24", "endpoint", "v4", "203.0.113.1/24")
        self.campus.web.ip("route", "add", "default", "via", "203.0.113.1")
        daemon.wait_for_log("BPF_ATTACHED interface=v4", count=2)
        self.assertIn("dstm_up", self.tc("filter", "show", "dev", "v4", "ingress"))
        self.assertTrue(daemon.alive())
        self.assertEqual(daemon.stop(), 0)

    def test_interface_without_ethernet_is_told_once_whatever_changes_beside_it(self):
        self.host.ip("tuntap", "add", "dev", "t0", "mode", "tun")
        self.addCleanup(self.host.ip, "link", "del", "t0")
        self.host.ip("link", "set", "t0", "up")
        self.host.ip("route", "add", "198.51.100.0/24", "dev", "t0")
        daemon = self.started(shortcut="tc")
        daemon.wait_for_log("BPF_NO_ETHERNET interface=t0")
        for third in range(5):
            self.host.ip("route", "add", f"198.51.{third}.0/24", "dev", "t0")
            self.host.ip("addr", "add", f"10.77.{third}.1/32", "dev", "lo")
            self.addCleanup(self.host.ip, "addr", "del", f"10.77.{third}.1/32", "dev", "lo")
            self.tc("filter", "del", "dev", "dmz", "ingress")
            daemon.wait_for_log("BPF_ATTACHED interface=dmz", count=third + 2)
        self.assertEqual(daemon.output().count("BPF_NO_ETHERNET"), 1)
        self.assertEqual(daemon.stop(), 0)

    def test_deleted_tunnel_device_ends_the_daemon_and_the_next_one_makes_it_anew(self):
        daemon = self.started()
        self.host.ip("link", "del", "dstm0")
        self.assertEqual(daemon.popen.wait(15), 1, "so that systemd starts it again")
        self.assertIn("TUN_DEVICE_GONE", daemon.output())
        self.started()
        self.assertIn("dstm0", self.names_of_links())

    # --- the way back --------------------------------------------------------------------------

    def test_detach_leaves_what_others_added_meanwhile(self):
        daemon = self.started()
        self.tc("filter", "add", "dev", "dmz", "egress", "prio", "9", "bpf", "bytecode",
                "1,6 0 0 0,")
        self.addCleanup(self.tc, "qdisc", "del", "dev", "dmz", "clsact")
        refused = c.run(*self.program(), "--detach", check=False)
        self.assertEqual(refused.returncode, 1, "while it runs")
        self.assertEqual(daemon.stop(), 0)
        self.assertIn("dstm_up", self.tc("filter", "show", "dev", "dmz", "ingress"))
        self.assertIn("programs on dmz", self.detach())
        self.assertIn("pref 9", self.tc("filter", "show", "dev", "dmz", "egress"))
        self.assertEqual(self.detach(), "nothing was there\n")

    def test_settings_of_interfaces_are_put_back_also_when_the_pools_have_changed(self):
        def rp_filter(*value):
            return self.host.run("sysctl", "-n", *value, "net.ipv4.conf.dmz.rp_filter").stdout

        self.host.run("sysctl", "-w", "net.ipv4.conf.dmz.rp_filter=2")
        self.addCleanup(self.host.run, "sysctl", "-w", "net.ipv4.conf.dmz.rp_filter=0")
        for pools in ([c.POOL], [c.POOL, "198.51.100.0/24"]):
            daemon = self.started(pools=pools)
            self.assertEqual(rp_filter(), "0\n")
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.popen.wait()
        self.detach()
        self.assertEqual(rp_filter(), "2\n")
        self.assertNotIn("clsact", self.tc("qdisc", "show", "dev", "dmz"))


if __name__ == "__main__":
    support.main()
