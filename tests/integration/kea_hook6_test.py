"""The DSTM hook in a real kea-dhcp6: an address and a prefix are one lease.

Run as root: kea_hook6_test.py path/to/libdhcp_dstm.so. Exit code 77: cannot run here.
"""

import signal
import unittest

from kea_process import LEASE_CMDS, Kea, context, main, wait_until


class KeaHook6Test(unittest.TestCase):
    def setUp(self):
        self.kea = Kea(family=6)
        self.addCleanup(self.kea.remove)
        self.kea.start_and_wait()

    def stream(self):
        stream = self.kea.stream()
        self.addCleanup(stream.close)
        return stream

    def assigned(self):
        return self.kea.statistic("assigned-nas"), self.kea.statistic("assigned-pds")

    def allocate(self, stream, client="00:04:aa:01", generation=7, **more):
        answer = stream.call("dstm6-lease-allocate",
                             {"client-id": client, "user-context": context(generation), **more})
        self.assertEqual(answer["result"], 0, answer)
        return answer["arguments"]

    def test_both_ways_in_reach_the_lease_file(self):
        stream = self.stream()
        self.assertEqual(stream.hello["arguments"], {"protocol": 1, "family": 6})
        first = self.allocate(stream, **{"prefix-length": 56})
        second = self.kea.control("dstm6-lease-allocate",
                                  {"client-id": "00:04:aa:02", "user-context": context(8)})
        self.assertEqual(second["result"], 0, second)
        self.assertEqual((first["ip-address"], first["prefix"]),
                         ("2001:db8:100::1", "2001:db8:200::/56"))
        self.assertNotIn("prefix", second["arguments"])
        rows = self.kea.lease_file()
        for address, length in ((first["ip-address"], "128"), ("2001:db8:200::", "56")):
            row = rows[address]
            self.assertEqual((row["duid"], row["prefix_len"]), ("00:04:aa:01", length))
            self.assertEqual(int(row["expire"]), first["expires-at"])
            self.assertIn('"generation"', row["user_context"].replace("&#x2c", ","))
        self.assertEqual(self.assigned(), (2, 1))
        answer = stream.call("dstm6-lease-release", {"client-id": "00:04:aa:01",
                                                     "ip-address": first["ip-address"]})
        self.assertEqual(answer["result"], 0)
        rows = self.kea.lease_file()
        self.assertEqual(rows[first["ip-address"]]["valid_lifetime"], "0")
        self.assertEqual(rows["2001:db8:200::"]["valid_lifetime"], "0")
        self.assertEqual(self.assigned(), (1, 0))
        self.assertEqual(stream.events, [])

    def test_a_length_that_no_pool_has_leaves_nothing(self):
        stream = self.stream()
        answer = stream.call("dstm6-lease-allocate",
                             {"client-id": "00:04:aa:01", "prefix-length": 60})
        self.assertEqual((answer["result"], answer["arguments"]["reason"]),
                         (1, "prefix-unavailable"))
        self.assertEqual(self.assigned(), (0, 0))
        self.assertIn("DSTM_PREFIX_UNAVAILABLE", self.kea.log())

    def test_an_expiry_is_one_event(self):
        stream = self.stream()
        lease = self.allocate(stream, **{"prefix-length": 56, "valid-lifetime": 1})
        event = stream.event()
        self.assertEqual((event["event"], event["arguments"]), ("lease-expired", lease))
        wait_until(lambda: self.assigned() == (0, 0), "the statistics are back")
        status = stream.call("dstm6-status")["arguments"]
        self.assertEqual((status["leases"], stream.events), (0, []))

    @unittest.skipUnless(LEASE_CMDS, "libdhcp_lease_cmds.so is not installed")
    def test_an_operators_deletion_of_one_half_ends_the_other(self):
        stream = self.stream()
        for half in ("prefix", "ip-address", "client"):
            lease = self.allocate(stream, **{"prefix-length": 56})
            deleted = self.kea.control("lease6-del", {
                "prefix": {"ip-address": lease["prefix"].split("/")[0], "type": "IA_PD"},
                "ip-address": {"ip-address": lease["ip-address"]},
                "client": {"subnet-id": 1, "identifier-type": "duid", "type": "IA_PD",
                           "identifier": "00:04:aa:01", "iaid": 56}}[half])
            self.assertEqual(deleted["result"], 0, deleted)
            event = stream.event()
            self.assertEqual((event["event"], event["arguments"]), ("lease-deleted", lease))
            self.assertEqual(stream.call("dstm6-lease-list")["result"], 3)
            self.assertEqual(self.assigned(), (0, 0))
        self.allocate(stream, **{"prefix-length": 56})
        self.kea.control("lease6-wipe", {"subnet-id": 1})
        self.assertEqual(stream.event()["event"], "resync")

    def test_a_killed_server_knows_its_leases_again(self):
        stream = self.stream()
        leases = [self.allocate(stream, "00:04:aa:%02x" % number, number, **{"prefix-length": 56})
                  for number in range(1, 21)]
        self.kea.stop(signal.SIGKILL)
        self.kea.start_and_wait()
        again = self.stream()
        self.assertEqual(again.call("dstm6-lease-list")["arguments"]["leases"], leases)
        lease = self.allocate(again, "00:04:aa:07", 100, **{"prefix-length": 56})
        self.assertTrue(lease["reused"])
        self.assertEqual((lease["ip-address"], lease["prefix"]),
                         (leases[6]["ip-address"], leases[6]["prefix"]))
        self.assertEqual(self.assigned(), (20, 20))

    def test_pipelined_requests_with_packet_threads(self):
        self.kea.stop()
        self.kea.multi_threading = True
        self.kea.start_and_wait()
        stream = self.stream()
        for number in range(300):
            stream.send(number, "dstm6-lease-allocate",
                        {"client-id": "00:04:aa:%02x" % (number % 100), "prefix-length": 56,
                         "user-context": context(number + 1)})
        stream.file.flush()
        for number in range(300):
            answer = stream.line()
            self.assertEqual((answer["id"], answer["result"]), (number, 0), answer)
        self.assertEqual(self.assigned(), (100, 100))

    def test_a_reload_closes_and_opens_again(self):
        stream = self.stream()
        lease = self.allocate(stream, **{"prefix-length": 56})
        self.assertEqual(self.kea.control("config-reload")["result"], 0)
        with self.assertRaises(ConnectionError):
            while True:
                stream.line()
        again = self.stream()
        self.assertEqual(again.call("dstm6-lease-list")["arguments"]["leases"], [lease])


if __name__ == "__main__":
    main(["kea-dhcp6"])
