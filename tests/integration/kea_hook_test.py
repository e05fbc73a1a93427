"""The DSTM hook in a real kea-dhcp4.

    this test --- control socket ---------.
        |                                  kea-dhcp4 (own network namespace, no interface)
        `------- the hook's own socket ---'    |  libdhcp_dstm.so, libdhcp_lease_cmds.so
                                            leases.csv

Run as root: kea_hook_test.py path/to/libdhcp_dstm.so. Exit code 77: cannot run here.
"""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SKIPPED = 77
PATIENCE = 20  # seconds for any state to come
KEA = shutil.which("kea-dhcp4", path="/usr/sbin:/usr/local/sbin:/usr/bin")
LEASE_CMDS = next(iter(glob.glob("/usr/lib/*/kea/hooks/libdhcp_lease_cmds.so")), None)
HOOK = None


def wait_until(condition, what):
    """Polls for a state; the pause only spares the processor."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError("not within %d seconds: %s" % (PATIENCE, what))


class Stream:
    """One connection to the hook's own socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw", encoding="utf-8", newline="\n")
        self.events = []
        self.hello = self.line()

    def line(self):
        text = self.file.readline()
        if not text:
            raise ConnectionError("closed by the hook")
        return json.loads(text)

    def send(self, identifier, command, arguments):
        message = {"id": identifier, "command": command, "arguments": arguments}
        self.file.write(json.dumps(message, ensure_ascii=False) + "\n")

    def call(self, command, arguments=None):
        self.send(1, command, arguments or {})
        self.file.flush()
        while True:
            message = self.line()
            if "id" in message:
                return message
            self.events.append(message)

    def event(self):
        return self.events.pop(0) if self.events else self.line()

    def close(self):
        self.file.close()
        self.socket.close()


class Kea:
    """kea-dhcp4 with a configuration and a folder of its own."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="dstm-kea-")
        self.process = None
        self.parameters = {"socket-name": self.path("dstm4.sock")}
        self.valid_lifetime = 3600
        self.multi_threading = False

    def path(self, name):
        return os.path.join(self.folder, name)

    def configuration(self):
        libraries = [{"library": HOOK, "parameters": self.parameters}]
        if LEASE_CMDS:
            libraries.append({"library": LEASE_CMDS})
        return {"Dhcp4": {
            "interfaces-config": {"interfaces": []},
            "control-socket": {"socket-type": "unix", "socket-name": self.path("control.sock")},
            "lease-database": {"type": "memfile", "persist": True,
                               "name": self.path("leases.csv")},
            "expired-leases-processing": {"reclaim-timer-wait-time": 1, "max-reclaim-leases": 0},
            "multi-threading": {"enable-multi-threading": self.multi_threading,
                                "thread-pool-size": 2},
            "valid-lifetime": self.valid_lifetime, "min-valid-lifetime": 1,
            "max-valid-lifetime": 7200,
            "subnet4": [{"id": 1, "subnet": "192.0.2.0/24",
                         "pools": [{"pool": "192.0.2.10 - 192.0.2.200"}]}],
            "hooks-libraries": libraries,
            "loggers": [{"name": "kea-dhcp4", "severity": "INFO",
                         "output_options": [{"output": self.path("kea.log"), "flush": True}]}]}}

    def write_configuration(self):
        with open(self.path("kea.conf"), "w", encoding="utf-8") as file:
            json.dump(self.configuration(), file)

    def start(self):
        self.write_configuration()
        environment = dict(os.environ, KEA_PIDFILE_DIR=self.folder, KEA_LOCKFILE_DIR=self.folder)
        with open(self.path("output"), "ab") as output:
            self.process = subprocess.Popen(
                ["unshare", "--net", "--", KEA, "-c", self.path("kea.conf")],
                env=environment, stdout=output, stderr=output)

    def start_and_wait(self):
        before = self.log().count("DHCP4_STARTED")
        self.start()
        wait_until(lambda: self.log().count("DHCP4_STARTED") > before or self.died(),
                   "kea-dhcp4 started")
        if self.died():
            raise AssertionError("kea-dhcp4 died:\n" + self.log())

    def died(self):
        return self.process.poll() is not None

    def log(self):
        try:
            with open(self.path("kea.log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def control(self, command, arguments=None):
        message = {"command": command}
        if arguments is not None:
            message["arguments"] = arguments
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(PATIENCE)
            control.connect(self.path("control.sock"))
            control.sendall(json.dumps(message).encode())
            parts = []
            while part := control.recv(65536):
                parts.append(part)
        return json.loads(b"".join(parts))

    def stream(self):
        return Stream(self.path("dstm4.sock"))

    def lease_file(self):
        """address -> last row of the lease file."""
        rows = {}
        for name in sorted(glob.glob(self.path("leases.csv*")), reverse=True):
            with open(name, encoding="utf-8") as file:
                header = file.readline().strip().split(",")
                for line in file:
                    row = dict(zip(header, line.rstrip("\n").split(",")))
                    rows[row["address"]] = row
        return rows

    def stop(self, how=signal.SIGTERM):
        if self.process and not self.died():
            self.process.send_signal(how)
            self.process.wait(PATIENCE)

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder)


def context(generation, user="alice"):
    return {"dstm": {"user": user, "host": "h", "tunnel-type": "v4v6",
                     "outer-address": "2001:db8:1::5", "outer-port": 0, "endpoint": "tep1",
                     "generation": generation}}


class KeaHookTest(unittest.TestCase):
    def setUp(self):
        self.kea = Kea()
        self.addCleanup(self.kea.remove)

    def stream(self):
        stream = self.kea.stream()
        self.addCleanup(stream.close)
        return stream

    def assigned(self):
        name = "subnet[1].assigned-addresses"
        answer = self.kea.control("statistic-get", {"name": name})
        return answer["arguments"][name][0][0]

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
        self.assertTrue(os.path.exists(self.kea.path("dstm4.sock")), "left behind")
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


def reason_to_skip():
    if os.geteuid() != 0:
        return "needs root for a network namespace"
    if not KEA:
        return "kea-dhcp4 is not installed"
    if subprocess.run(["unshare", "--net", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        return "no network namespace can be made here"
    return None


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.path.exists(sys.argv[1]):
        sys.exit("usage: kea_hook_test.py path/to/libdhcp_dstm.so [unittest arguments]")
    HOOK = os.path.abspath(sys.argv.pop(1))
    why = reason_to_skip()
    if why:
        print("skipped: " + why)
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
