"""Each daemon dies in the middle of a transfer; the state afterwards is as docs/architecture.md
("When things die") says."""

import signal
import time
import unittest

import campus as c
import support
import tsp
from transfer import Transfer


class Faults(unittest.TestCase):
    def setUp(self):
        self.campus = c.Campus(lifetime=120)
        self.addCleanup(self.campus.close)
        self.campus.add_user("alice", "secret")
        self.campus.start_daemons()

    def client_with_transfer(self):
        client = self.campus.start_client(self.campus.client_configuration("alice-1", "alice",
                                                                           "secret"))
        client.wait_for_log("CLIENT_UP")
        address = next(iter(self.campus.leases()))
        transfer = Transfer(self.campus)
        self.addCleanup(transfer.close)
        transfer.must_progress("at the start")
        return client, address, transfer

    def bindings(self):
        answer = c.unix_request(self.campus.path("server.sock"), {"command": "bindings"})
        return {binding["address"]: binding for binding in answer["arguments"]["bindings"]}

    def request(self):
        """One anonymous create; the status."""
        with self.campus.client.connect(c.BROKER, 3653) as connection:
            peer = tsp.Dialogue(connection)
            peer.login_anonymous()
            peer.create(c.CLIENT)
            return peer.framed()

    def stop_client_and_check(self, client, address):
        self.assertEqual(client.stop(), 0)
        c.wait_for("the lease is free", lambda: address not in self.campus.lease_file())
        c.wait_for("the tunnel is gone", lambda: not self.campus.tunnels())

    def test_server_killed(self):
        client, address, transfer = self.client_with_transfer()
        self.campus.server.kill()
        transfer.must_progress("without the server")
        self.campus.start_server()
        self.campus.wait_ready()
        c.wait_for("the server knows the binding again", lambda: address in self.bindings())
        self.assertEqual(self.bindings()[address]["user"], "alice")
        self.assertEqual(set(self.campus.tunnels()), {address})
        transfer.must_progress("after the server's return")
        self.stop_client_and_check(client, address)

    def test_kea_killed(self):
        client, address, transfer = self.client_with_transfer()
        self.campus.kea.kill()
        transfer.must_progress("without Kea")
        status, text, _ = self.request()
        self.assertEqual(status, 530, text)
        self.campus.start_kea()
        self.campus.wait_ready()
        self.assertEqual(set(self.campus.leases()), {address})
        self.assertIn(address, self.bindings())
        transfer.must_progress("after Kea's return")
        status, text, xml = self.request()
        self.assertEqual(status, 200, text)
        self.assertNotEqual(tsp.leased_address(xml), address)
        self.stop_client_and_check(client, address)

    def test_kea_reloaded(self):
        client, address, transfer = self.client_with_transfer()
        for _ in range(3):
            answer = c.unix_request(self.campus.path("kea4.sock"), {"command": "config-reload"})
            self.assertEqual(answer["result"], 0, answer)
        self.campus.wait_ready()
        transfer.must_progress("after reloads of Kea")
        self.assertIn(address, self.bindings())
        c.wait_for("requests are served again", lambda: self.request()[0] == 200)
        self.stop_client_and_check(client, address)

    def test_endpoint_killed(self):
        client, address, transfer = self.client_with_transfer()
        self.campus.tep.kill()
        c.wait_for("the server noticed",
                   lambda: c.unix_request(self.campus.path("server.sock"),
                                          {"command": "status"})["arguments"]["endpoints"] == 0)
        status, text, _ = self.request()
        self.assertEqual(status, 530, text)
        routes = self.campus.endpoint.ip("-4", "route").stdout
        self.assertIn(f"blackhole {c.POOL}", routes)
        started = time.monotonic()
        self.campus.start_tep()
        c.wait_for("the tunnel is back", lambda: address in self.campus.tunnels(), 5)
        back = time.monotonic() - started
        self.assertLess(back, 1.0, "back within a second of restart")
        transfer.must_progress("after the endpoint's return", 20)
        self.stop_client_and_check(client, address)

    def test_client_killed(self):
        client, address, transfer = self.client_with_transfer()
        client.kill()
        transfer.close()
        self.assertIn(address, self.campus.leases())
        client = self.campus.start_client(self.campus.path("alice-1.conf"))
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(set(self.campus.leases()), {address})
        again = Transfer(self.campus)
        self.addCleanup(again.close)
        again.must_progress("after the client's return")
        again.close()
        self.stop_client_and_check(client, address)

    def test_operator_deletes_the_lease(self):
        client, address, transfer = self.client_with_transfer()
        transfer.close()
        answer = c.unix_request(self.campus.path("kea4.sock"),
                                {"command": "lease4-del", "arguments": {"ip-address": address}})
        self.assertEqual(answer["result"], 0, answer)
        c.wait_for("the tunnel is gone", lambda: not self.campus.tunnels())
        c.wait_for("the audit log has the end",
                   lambda: self.campus.audit()[-1]["event"] == "ended")

    def test_no_endpoint_and_no_kea_are_530(self):
        self.campus.tep.stop()
        c.wait_for("the server noticed",
                   lambda: c.unix_request(self.campus.path("server.sock"),
                                          {"command": "status"})["arguments"]["endpoints"] == 0)
        self.assertEqual(self.request()[0], 530)
        self.campus.start_tep()
        self.campus.wait_ready()
        self.campus.kea.stop()
        self.assertEqual(self.request()[0], 530)

    def test_kea_hangs_and_a_late_answer_leaks_nothing(self):
        self.campus.kea.popen.send_signal(signal.SIGSTOP)
        try:
            status, text, _ = self.request()
            self.assertEqual(status, 530, text)
        finally:
            self.campus.kea.popen.send_signal(signal.SIGCONT)
        c.wait_for("the server is ready", self.campus.ready)
        c.wait_for("the late lease was given back", lambda: not self.campus.leases())
        self.assertEqual(self.campus.tunnels(), {})


class Expiry(unittest.TestCase):
    def test_a_dead_client_loses_its_address_and_a_living_one_renews(self):
        with c.Campus(lifetime=6) as campus:
            campus.add_user("alice", "secret")
            campus.add_user("bob", "secret")
            campus.start_daemons()
            alice = campus.start_client(campus.client_configuration("alice-1", "alice", "secret"))
            alice.wait_for_log("CLIENT_UP")
            kept = next(iter(campus.leases()))
            with campus.client.connect(c.BROKER, 3653) as connection:
                peer = tsp.Dialogue(connection)
                peer.login_anonymous()
                peer.create(c.CLIENT, host="dead")
                status, _, xml = peer.framed()
                self.assertEqual(status, 200)
                peer.accept()
                peer.delete("nobody")
                peer.framed()
            lost = tsp.leased_address(xml)
            self.assertEqual(set(campus.tunnels()), {kept, lost})
            alice.wait_for_log("CLIENT_RENEWED", timeout=20, count=2)
            c.wait_for("the dead client's tunnel is gone", lambda: lost not in campus.tunnels())
            c.wait_for("the dead client's lease is free", lambda: lost not in campus.lease_file())
            self.assertIn(kept, campus.tunnels())
            campus.client.run("ping", "-c", "1", "-W", "2", c.WEB)
            ended = [line for line in campus.audit() if line["event"] == "ended"]
            self.assertEqual([line["address"] for line in ended], [lost])


if __name__ == "__main__":
    support.main()
