#!/usr/bin/env python3
"""A client whose addresses and routes are what routers advertise (radvd): SLAAC with duplicate
address detection, nothing static. The network as in roaming_test.py.

Prefixes are renumbered, routers reboot, go away and come: the IPv4 address stays, and so does a TCP
connection over the tunnel.
"""

import ipaddress
import json
import os
import shutil
import signal
import unittest

import campus as c
import support
from roaming_test import LAN2, RoamingCampus
from transfer import Transfer

PATH = os.environ.get("PATH", "") + ":/usr/sbin"
RENUMBERED = "2001:db8:1:1::/64"
# The client's link to who is on it, by its own `lan`.
ROUTERS = {"lan": "router", "lan2": "router2"}
PREFIXES = {"lan": c.CLIENT_LAN, "lan2": LAN2}


def first_of(prefix):
    return f"{ipaddress.ip_network(prefix)[1]}/64"


class AdvertisedCampus(RoamingCampus):
    def build_network(self):
        super().build_network()
        self.advertisers = {}
        for link in ROUTERS:
            self.client.sysctl(f"net/ipv6/conf/{link}/accept_dad", 1)
            self.client.sysctl(f"net/ipv6/conf/{link}/accept_ra", 1)
            self.detach(link)  # and away are the static address and route

    def advertise(self, link, prefixes=None, preference="medium"):
        """What the router on `link` says from now on: prefix to preferred lifetime."""
        prefixes = prefixes or {PREFIXES[link]: 600}
        lines = "".join(f"  prefix {prefix} {{ AdvValidLifetime 7200; "
                        f"AdvPreferredLifetime {preferred}; }};\n"
                        for prefix, preferred in prefixes.items())
        configuration = self.write(f"radvd-{link}.conf", "interface lan {\n"
                                   "  AdvSendAdvert on; MinRtrAdvInterval 3; "
                                   "MaxRtrAdvInterval 4;\n"
                                   f"  AdvDefaultPreference {preference};\n{lines}}};\n")
        if link in self.advertisers:
            os.kill(self.advertisers[link].pid, signal.SIGHUP)
            return
        self.advertisers[link] = self.hosts[ROUTERS[link]].start(
            f"radvd-{link}", shutil.which("radvd", path=PATH), "-n", "-m", "stderr",
            "-C", configuration, "-p", self.path(f"radvd-{link}.pid"))

    def addresses(self, prefix, **wanted):
        """The client's in this prefix that have passed duplicate address detection."""
        links = json.loads(self.client.ip("-j", "-6", "addr", "show").stdout)
        held = [address for link in links for address in link.get("addr_info", [])]
        return [address["local"] for address in held
                if ipaddress.ip_address(address["local"]) in ipaddress.ip_network(prefix)
                and not address.get("tentative")
                and all(address.get(key, False) == value for key, value in wanted.items())]

    def attach(self, link):
        self.client.ip("link", "set", link, "up")
        c.wait_for(f"an address on {link}", lambda: self.addresses(PREFIXES[link]))


class Advertised(unittest.TestCase):
    def setUp(self):
        self.campus = AdvertisedCampus()
        self.addCleanup(self.campus.close)
        self.campus.start_daemons()
        self.campus.advertise("lan", preference="high")
        self.campus.attach("lan")
        self.client = self.campus.start_client(self.campus.client_configuration())
        self.client.wait_for_log("CLIENT_UP")
        self.address = next(iter(self.campus.leases()))
        self.transfer = Transfer(self.campus)
        self.addCleanup(self.transfer.close)
        self.must_be_in(c.CLIENT_LAN, "at the start")

    def must_be_in(self, prefix, what):
        def outer():
            address = self.campus.outer(self.address)
            return address and ipaddress.ip_address(address) in ipaddress.ip_network(prefix)

        c.wait_for(f"the endpoint sends to {prefix} {what}", outer, 30)
        self.transfer.must_progress(what, 40)
        self.assertEqual(set(self.campus.leases()), {self.address})
        self.assertEqual(set(self.campus.tunnels()), {self.address})
        self.assertTrue(self.client.alive())

    def test_a_renumbered_prefix(self):
        self.campus.router.ip("addr", "add", first_of(RENUMBERED), "dev", "lan")
        self.campus.advertise("lan", {c.CLIENT_LAN: 0, RENUMBERED: 600})
        self.must_be_in(RENUMBERED, "when the old prefix is deprecated")
        self.assertTrue(self.campus.addresses(c.CLIENT_LAN, deprecated=True))
        self.assertNotIn("CLIENT_RETRY", self.client.output())
        self.campus.client.ip("-6", "addr", "flush", "dev", "lan", "to", c.CLIENT_LAN)
        self.transfer.must_progress("without the old prefix")

    def test_beside_the_old_prefix_a_new_one_is_used_if_the_kernel_does(self):
        self.campus.router.ip("addr", "add", first_of(RENUMBERED), "dev", "lan")
        self.campus.advertise("lan", {c.CLIENT_LAN: 600, RENUMBERED: 600})
        c.wait_for("a second address", lambda: self.campus.addresses(RENUMBERED))
        chosen = self.campus.client.ip("-j", "-6", "route", "get", c.BROKER).stdout
        self.must_be_in(c.CLIENT_LAN if json.loads(chosen)[0]["prefsrc"] in
                        self.campus.addresses(c.CLIENT_LAN) else RENUMBERED, "as the kernel does")

    def test_a_router_that_reboots(self):
        self.campus.advertisers.pop("lan").kill()
        self.campus.router.ip("link", "set", "lan", "down")
        # As a network manager does when the carrier goes.
        self.campus.client.ip("-6", "addr", "flush", "dev", "lan", "scope", "global")
        self.transfer.must_stand("while the router is down")
        self.campus.router.ip("link", "set", "lan", "up")
        self.campus.router.ip("addr", "replace", first_of(c.CLIENT_LAN), "dev", "lan")
        self.campus.advertise("lan")
        self.must_be_in(c.CLIENT_LAN, "when the router is back")

    def test_from_router_to_router(self):
        self.campus.advertise("lan2")
        self.campus.detach("lan")
        self.transfer.must_stand("without a network")
        self.campus.attach("lan2")
        self.must_be_in(LAN2, "after the move")
        self.campus.detach("lan2")
        self.campus.attach("lan")
        self.must_be_in(c.CLIENT_LAN, "back again")

    def test_one_of_two_default_routers_goes(self):
        self.campus.advertise("lan2")
        self.campus.attach("lan2")
        self.must_be_in(c.CLIENT_LAN, "as long as the preferred router is there")
        # Its last words are a router lifetime of 0 (RFC 4861 s6.2.5); its addresses stay.
        self.campus.advertisers.pop("lan").stop()
        self.must_be_in(LAN2, "by the other router")
        self.assertTrue(self.campus.addresses(c.CLIENT_LAN, deprecated=False))
        self.campus.advertise("lan", preference="high")
        self.must_be_in(c.CLIENT_LAN, "by the preferred router again")


if __name__ == "__main__":
    if shutil.which("radvd", path=PATH) is None:
        print("skipped: radvd is not installed")
        raise SystemExit(77)
    support.main()
