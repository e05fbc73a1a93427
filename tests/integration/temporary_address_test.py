#!/usr/bin/env python3
"""A client on a network whose router (radvd) lets it make temporary addresses (RFC 8981), which
change every few seconds: each change is a move, and what runs over the tunnel lives on."""

import ipaddress
import json
import os
import shutil
import unittest

import campus as c
import support
from transfer import Transfer

# Seconds that one is preferred; a new one is made five seconds before (RFC 8981 s3.8).
PREFERRED = 9
RADVD = """interface lan {
  AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 0;
  prefix %s { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 600; AdvPreferredLifetime 600; };
};
"""


class TemporaryAddress(unittest.TestCase):
    def setUp(self):
        self.campus = c.Campus()
        self.addCleanup(self.campus.close)
        host = self.campus.client
        for name, value in (("use_tempaddr", 2), ("temp_prefered_lft", PREFERRED),
                            ("temp_valid_lft", 600), ("max_desync_factor", 0)):
            host.sysctl(f"net/ipv6/conf/lan/{name}", value)
        self.campus.start_daemons()
        self.campus.router.start("radvd", shutil.which("radvd", path=PATH), "-n", "-m", "stderr",
                                 "-C", self.campus.write("radvd.conf", RADVD % c.CLIENT_LAN),
                                 "-p", self.campus.path("radvd.pid"))
        c.wait_for("a temporary address", self.temporary)

    def temporary(self):
        """Temporary addresses that are preferred."""
        link = json.loads(self.campus.client.ip("-j", "-6", "addr", "show", "dev", "lan").stdout)
        return {address["local"] for each in link for address in each.get("addr_info", [])
                if address.get("temporary") and not address.get("deprecated")}

    def outer(self):
        return next((str(ipaddress.ip_address(tunnel["outer-client"]))
                     for tunnel in self.campus.tunnels().values()), None)

    def test_change_of_the_temporary_address_is_a_move(self):
        client = self.campus.start_client(self.campus.client_configuration())
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_UP")
        first = self.outer()
        self.assertIn(first, self.temporary(), "chosen as the kernel would")
        inner = set(self.campus.leases())
        transfer = Transfer(self.campus)
        self.addCleanup(transfer.close)
        transfer.must_progress("at the start")
        c.wait_for("the endpoint sends to another address",
                   lambda: self.outer() not in (first, None), 2 * PREFERRED)
        self.assertIn(self.outer(), self.temporary())
        client.wait_for_log("CLIENT_MOVED")
        transfer.must_progress("after the change")
        self.assertEqual(set(self.campus.leases()), inner)
        self.assertEqual(client.output().count("CLIENT_UP"), 1)
        self.assertEqual(client.stop(), 0)


PATH = os.environ.get("PATH", "") + ":/usr/sbin"

if __name__ == "__main__":
    if shutil.which("radvd", path=PATH) is None:
        print("skipped: radvd is not installed")
        raise SystemExit(77)
    support.main()
