"""Reverse zones of delegated prefixes, in a real BIND 9 by nsupdate and TSIG.

Run as root: reverse_delegation_test.py path/to/delegate_once. Exit code 77: cannot run here.
"""

import os
import subprocess
import sys
import unittest

from kea_process import SKIPPED, reason_to_skip
from name_server import NameServer

PROGRAM = None
ZONE = "8.b.d.0.1.0.0.2.ip6.arpa"


class ReverseDelegationTest(unittest.TestCase):
    def setUp(self):
        self.dns = NameServer(["example.org", ZONE])
        self.addCleanup(self.dns.remove)
        self.dns.start()
        self.key = self.dns.key_file()

    def call(self, *arguments, port="53"):
        """"ok", or why not."""
        return subprocess.run([*self.dns.run, PROGRAM, "127.0.0.1", port, self.key, ZONE,
                               *arguments], capture_output=True, text=True, check=True,
                              timeout=60).stdout.strip()

    def test_names_come_are_replaced_and_go(self):
        zone = "b.a.0.0.2.0." + ZONE
        prefix = "2001:db8:200:ab00::/56"
        self.assertEqual(self.call(prefix, "ns.example.org", "ns2.example.net"), "ok")
        self.assertEqual(self.dns.ask(zone, "NS"), ["ns.example.org.", "ns2.example.net."])
        self.assertEqual(self.call(prefix, "ns3.example.net"), "ok")
        self.assertEqual(self.dns.ask(zone, "NS"), ["ns3.example.net."])
        self.assertEqual(self.call(prefix), "ok")
        self.assertEqual(self.dns.ask(zone, "NS"), [])
        self.assertEqual(self.call(prefix), "ok", "nothing to withdraw is no error")

    def test_addresses_become_names_with_glue(self):
        zone = "0.0.2.0." + ZONE
        prefix = "2001:db8:200::/48"
        self.assertEqual(self.call(prefix, "192.0.2.53", "2001:db8:200::53"), "ok")
        self.assertEqual(self.dns.ask(zone, "NS"), ["ns1.%s." % zone, "ns2.%s." % zone])
        self.assertEqual(self.dns.glue(zone, "A"), ["192.0.2.53"])
        self.assertEqual(self.dns.glue(zone, "AAAA"), ["2001:db8:200::53"])
        self.assertEqual(self.call(prefix, "192.0.2.54"), "ok")
        self.assertEqual(self.dns.ask(zone, "NS"), ["ns1.%s." % zone])
        self.assertEqual(self.dns.glue(zone, "A"), ["192.0.2.54"])
        self.assertEqual(self.call(prefix), "ok")
        self.assertEqual(self.dns.ask("ns1." + zone, "A"), [])

    def test_a_length_between_two_digits_delegates_each_zone(self):
        self.assertEqual(self.call("2001:db8:200:4000::/50", "ns.example.org"), "ok")
        for digit in "34578":
            expected = ["ns.example.org."] if digit in "4567" else []
            self.assertEqual(self.dns.ask("%s.0.0.2.0.%s" % (digit, ZONE), "NS"), expected)
        self.assertEqual(self.call("2001:db8:200:4000::/50"), "ok")
        self.assertEqual(self.dns.ask("5.0.0.2.0." + ZONE, "NS"), [])

    def test_a_wrong_key_is_refused_and_changes_nothing(self):
        self.key = self.dns.key_file("d3JvbmcgZm9yIHN1cmUgd3JvbmcgZm9yIHN1cmU=")
        answer = self.call("2001:db8:200::/48", "ns.example.org")
        self.assertTrue(answer.startswith("refused"), answer)
        self.assertEqual(self.dns.ask("0.0.2.0." + ZONE, "NS"), [])

    def test_a_server_that_is_not_there_is_unavailable(self):
        answer = self.call("2001:db8:200::/48", "ns.example.org", port="5354")
        self.assertTrue(answer.startswith("unavailable"), answer)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    why = reason_to_skip(["named", "dig", "nsupdate"])
    if why:
        print("skipped: " + why)
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
