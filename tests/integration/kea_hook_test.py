"""The DSTM hook in a real kea-dhcp4.

Run as root: kea_hook_test.py path/to/libdhcp_dstm.so. Exit code 77: cannot run here.
"""

import os
import signal
import unittest

from kea_process import LEASE_CMDS, Kea, context, main, wait_until


class KeaHookTest(unittest.TestCase):
    def setUp(self):
        self.kea = Kea()
        self.addCleanup(self.kea.remove)

    def stream(self):
        stream = self.kea.stream()
        self.addCleanup(stream.close)
        return stream

    def assigned(self):
        return self.kea.statistic("assigned-addresses")

    def test_both_ways_in_reach_the_lease_file(self):
        self.kea.start_and_wait()
        stream = self.stream()
        self.assertEqual(stream.hello["event"], "hello")
        self.assertEqual(stream.hello["arguments"], {"protocol": 1, "family": 4})
        first = stream.call("dstm4-lease-allocate", {"client-id": "00:aa:01",
                                                     "user-context": context(7, "zoë")})
        second = self.kea.control("dstm4-lease-allocate", {"client-id": "00:aa:02",
                                                           "user-context": context(8)})
        self.assertEqual((first["result"], second["result"]), (0, 0), (first, second))
        self.assertEqual(first["arguments"]["user-context"], context(7, "zoë"))
        rows = self.kea.lease_file()
        for answer, client in ((first, "00:aa:01"), (second, "00:aa:02")):
            row = rows[answer["arguments"]["ip-address"]]
            self.assertEqual((row["client_id"], row["state"]), (client, "0"))
            self.assertEqual(int(row["expire"]), answer["arguments"]["expires-at"])
            self.assertIn('"generation"', row["user_context"].replace("&#x2c", ","))
        self.assertEqual(self.assigned(), 2)
        address = first["arguments"]["ip-address"]
        answer = stream.call("dstm4-lease-release", {"client-id": "00:aa:01",
                                                     "ip-address": address})
        self.assertEqual(answer["result"], 0)
        self.assertEqual(self.kea.lease_file()[address]["valid_lifetime"], "0")
        self.assertEqual(self.assigned(), 1)
        listed = stream.call("dstm4-lease-list")["arguments"]["leases"]
        self.assertEqual([lease["client-id"] for lease in listed], ["00:aa:02"])
        self.assertEqual(stream.events, [])

    def test_an_expiry_is_told(self):
        self.kea.start_and_wait()
        stream = self.stream()
        lease = stream.call("dstm4-lease-allocate",
                            {"client-id": "00:aa:01", "valid-lifetime": 1,
                             "user-context": context(7)})["arguments"]
        event = stream.event()
        self.assertEqual(event["event"], "lease-expired")
        self.assertEqual(event["sequence"], stream.hello["sequence"] + 1)
        self.assertEqual(event["arguments"]["ip-address"], lease["ip-address"])
        self.assertEqual(event["arguments"]["user-context"], context(7))
        wait_until(lambda: self.assigned() == 0, "the statistic is back")

    @unittest.skipUnless(LEASE_CMDS, "libdhcp_lease_cmds.so is not installed")
    def test_an_operators_commands_are_told(self):
        self.kea.start_and_wait()
        stream = self.stream()
        lease = stream.call("dstm4-lease-allocate", {"client-id": "00:aa:01",
                                                     "user-context": context(7)})["arguments"]
        self.kea.control("lease4-del", {"ip-address": lease["ip-address"]})
        event = stream.event()
        self.assertEqual((event["event"], event["arguments"]), ("lease-deleted", lease))
        lease = stream.call("dstm4-lease-allocate", {"client-id": "00:aa:01",
                                                     "user-context": context(8)})["arguments"]
        self.kea.control("lease4-del", {"subnet-id": 1, "identifier-type": "client-id",
                                        "identifier": "00:aa:01"})
        event = stream.event()
        self.assertEqual((event["event"], event["arguments"]), ("lease-deleted", lease))
        stream.call("dstm4-lease-allocate", {"client-id": "00:aa:02"})
        self.kea.control("lease4-wipe", {"subnet-id": 1})
        self.assertEqual(stream.event()["event"], "resync")
        self.assertEqual(stream.call("dstm4-lease-list")["result"], 3)
        self.assertEqual(stream.call("dstm4-status")["arguments"]["leases"], 0)

    def test_a_reload_closes_and_opens_again(self):
        self.kea.start_and_wait()
        for generation in range(1, 6):
            stream = self.stream()
            answer = stream.call("dstm4-lease-allocate",
                                 {"client-id": "00:aa:01", "user-context": context(generation)})
            self.assertEqual(answer["result"], 0, answer)
            self.assertEqual(self.kea.control("config-reload")["result"], 0)
            with self.assertRaises(ConnectionError):
                while True:
                    stream.line()
        stream = self.stream()
        listed = stream.call("dstm4-lease-list")["arguments"]["leases"]
        self.assertEqual([lease["user-context"] for lease in listed], [context(5)])
        self.assertEqual(self.assigned(), 1)
        self.assertFalse(self.kea.died())

    def test_a_killed_server_knows_its_leases_again(self):
        self.kea.start_and_wait()
        stream = self.stream()
        leases = [stream.call("dstm4-lease-allocate",
                              {"client-id": "00:aa:%02x" % number,
                               "user-context": context(number)})["arguments"]
                  for number in range(1, 51)]
        self.kea.stop(signal.SIGKILL)
        self.assertTrue(os.path.exists(self.kea.path("dstm.sock")), "left behind")
        self.kea.start_and_wait()
        again = self.stream()
        self.assertEqual(again.call("dstm4-lease-list")["arguments"]["leases"], leases)
        answer = again.call("dstm4-lease-allocate", {"client-id": "00:aa:07",
                                                     "user-context": context(100)})
        self.assertTrue(answer["arguments"]["reused"])
        self.assertEqual(answer["arguments"]["ip-address"], leases[6]["ip-address"])
        self.assertEqual(self.assigned(), 50)

    def test_a_client_that_leaves_in_the_middle_of_an_answer(self):
        self.kea.start_and_wait()
        for number in range(150):
            self.kea.control("dstm4-lease-allocate", {"client-id": "00:aa:%02x" % number,
                                                      "user-context": context(number + 1)})
        # A long answer is cut while it is made, a short one when it is written.
        for command in ("dstm4-lease-list", "dstm4-status") * 20:
            stream = self.kea.stream()
            for number in range(50):
                stream.send(number, command, {})
            stream.file.flush()
            stream.close()
        wait_until(lambda: self.kea.control("dstm4-status")["arguments"]["connections"] == 0,
                   "the hook lets dead connections go")
        self.assertFalse(self.kea.died())

    def test_pipelined_requests_with_packet_threads(self):
        self.kea.multi_threading = True
        self.kea.start_and_wait()
        stream = self.stream()
        for number in range(500):
            stream.send(number, "dstm4-lease-allocate", {"client-id": "00:aa:%02x" % (number % 100),
                                                         "user-context": context(number + 1)})
        stream.file.flush()
        for number in range(500):
            answer = stream.line()
            self.assertEqual((answer["id"], answer["result"]), (number, 0), answer)
        self.assertEqual(self.assigned(), 100)

    def test_a_disabled_service_does_not_serve(self):
        self.kea.start_and_wait()
        stream = self.stream()
        self.kea.control("dhcp-disable")
        answer = stream.call("dstm4-lease-allocate", {"client-id": "00:aa:01"})
        self.assertEqual(answer["arguments"]["reason"], "not-serving")
        self.kea.control("dhcp-enable")
        answer = stream.call("dstm4-lease-allocate", {"client-id": "00:aa:01"})
        self.assertEqual(answer["result"], 0)

    def test_bad_parameters_keep_kea_from_starting_and_say_which(self):
        cases = [({}, "parameter 'socket-name': is missing"),
                 ({"socket-name": "dstm.sock"},
                  "parameter 'socket-name': must be an absolute path"),
                 ({"socket-name": "/no/such/folder/s"}, "parameter 'socket-name': no such folder"),
                 ({"socket-name": self.kea.path("s"), "socket-mode": "9"},
                  "parameter 'socket-mode': must be three octal digits"),
                 ({"socket-name": self.kea.path("s"), "sokcet-mode": "0660"},
                  "parameter 'sokcet-mode': is unknown")]
        for parameters, message in cases:
            with self.subTest(parameters=parameters):
                self.kea.parameters = parameters
                self.kea.start()
                wait_until(self.kea.died, "kea-dhcp4 refuses")
                self.assertNotEqual(self.kea.process.returncode, 0)
                self.assertIn("DSTM_LOAD_FAILED", self.kea.log())
                self.assertIn(message, self.kea.log())


if __name__ == "__main__":
    main(["kea-dhcp4"])
