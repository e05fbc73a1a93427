"""IPv6 over IPv4 from end to end: v6v4, v6udpv4 behind a real NAT, v6anyv4, prefixes, moves."""

import json
import os
import unittest

import campus as c
import dual as d
import support


class V6Types(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = d.DualCampus()
        cls.addClassCleanup(cls.campus.close)
        cls.campus.add_user("alice", "secret")
        cls.campus.start_daemons()

    def up(self, host="client", name="alice-1", **changes):
        configuration = self.campus.client_configuration(name, "alice", "secret", **changes)
        client = self.campus.start_client(configuration, host=host)
        self.addCleanup(client.kill)
        client.wait_for_log("CLIENT_UP", timeout=30)
        return client

    def down(self, client):
        self.assertEqual(client.stop(), 0)
        c.wait_for("the tunnel is gone", lambda: not self.campus.tunnels())
        c.wait_for("the lease is free", lambda: not self.campus.leases6())

    def binding(self):
        """The one binding there is: the endpoint's tunnel and Kea's lease of it."""
        (inner, tunnel), = self.campus.tunnels().items()
        self.assertEqual(set(self.campus.leases6()), {inner})
        return inner, tunnel

    def must_reach_web(self, host="client"):
        self.campus.hosts[host].run("ping", "-c", "1", "-W", "5", d.WEB6)

    def must_be_reached(self, inner):
        self.campus.web6.run("ping", "-c", "1", "-W", "5", inner)

    def test_v6v4(self):
        client = self.up()
        inner, tunnel = self.binding()
        self.assertEqual(tunnel["type"], "v6v4")
        self.assertEqual(tunnel["outer-client"], d.CLIENT4)
        self.must_reach_web()
        self.must_be_reached(inner)
        self.down(client)

    def test_v6anyv4_without_a_nat_is_v6v4(self):
        client = self.up(**{"tunnel-type": "v6anyv4", "server": d.ENDPOINT4})
        inner, tunnel = self.binding()
        self.assertEqual(tunnel["type"], "v6v4")
        self.must_reach_web()
        self.must_be_reached(inner)
        self.down(client)

    def test_v6anyv4_behind_a_nat_is_v6udpv4(self):
        client = self.up("home", **{"tunnel-type": "v6anyv4", "server": d.ENDPOINT4})
        inner, tunnel = self.binding()
        self.assertEqual(tunnel["type"], "v6udpv4")
        self.assertEqual(tunnel["outer-client"], d.NAT)
        self.must_reach_web("home")
        self.must_be_reached(inner)
        self.down(client)

    def test_behind_a_nat_the_broker_sends_the_client_to_an_endpoint(self):
        client = self.up("home", **{"tunnel-type": "v6anyv4"})
        self.assertIn("CLIENT_REDIRECTED", client.output())
        self.assertEqual(self.binding()[1]["type"], "v6udpv4")
        self.must_reach_web("home")
        self.down(client)

    def test_v6udpv4_without_a_nat(self):
        client = self.up(**{"tunnel-type": "v6udpv4", "server": d.ENDPOINT4})
        self.assertEqual(self.binding()[1]["type"], "v6udpv4")
        self.must_reach_web()
        self.down(client)

    def test_a_renewal_of_v6udpv4_goes_through_the_same_mapping(self):
        client = self.up("home", **{"tunnel-type": "v6udpv4", "server": d.ENDPOINT4})
        inner, before = self.binding()
        self.campus.run_client_command("alice-1", "renew", host="home")
        client.wait_for_log("CLIENT_RENEWED")
        _, after = self.binding()
        self.assertEqual(after["outer-port"], before["outer-port"])
        self.assertEqual(self.binding()[0], inner)
        self.must_reach_web("home")
        self.down(client)

    def test_address_and_prefix_stay_over_moves_encapsulations_and_restarts(self):
        router = {"prefix-length": 56, "inside-interface": "inside"}
        identity = {"tunnel-type": "v6anyv4", "server": d.ENDPOINT4, "router": router}
        for host in ("client", "home"):
            self.campus.hosts[host].ip("link", "add", "inside", "type", "veth", "peer", "name",
                                       "beyond")
            self.addCleanup(self.campus.hosts[host].ip, "link", "del", "inside")
            for name in ("inside", "beyond"):
                self.campus.hosts[host].ip("link", "set", name, "up")
        client = self.up(**identity)
        inner, tunnel = self.binding()
        prefix = self.campus.leases6()[inner]["prefix"]
        self.assertTrue(prefix.endswith("/56"))
        self.assertEqual(tunnel["inner-prefix"], prefix)
        first = prefix.replace("::/56", "::1")
        self.must_be_reached(first)  # on the inside interface
        client.kill()
        # The same host, waking up behind a NAT: another outer address, another encapsulation.
        os.rename(self.campus.path("alice-1.state"), self.campus.path("moved.state"))
        identity["state-directory"] = self.campus.path("moved.state")
        client = self.up("home", **identity)
        self.assertEqual(self.binding()[0], inner)
        self.assertEqual(self.binding()[1]["type"], "v6udpv4")
        self.assertEqual(self.campus.leases6()[inner]["prefix"], prefix)
        self.must_reach_web("home")
        self.must_be_reached(first)
        self.down(client)

    def test_a_length_that_cannot_be_had_is_507(self):
        configuration = self.campus.client_configuration(
            "alice-1", "alice", "secret", router={"prefix-length": 60, "inside-interface": "lan4"})
        client = self.campus.start_client(configuration)
        self.addCleanup(client.kill)
        client.wait_for_log("507")
        self.assertEqual(self.campus.leases6(), {})

    def test_v4v6_and_a_v6_type_at_the_same_server(self):
        self.campus.client.ip("link", "set", "lan", "up")
        self.campus.client.ip("-6", "addr", "replace", f"{c.CLIENT}/64", "dev", "lan")
        self.campus.client.ip("-6", "route", "replace", f"{c.BROKER}/128", "via", "2001:db8:1::1")
        self.campus.client.ip("-6", "route", "replace", f"{c.ENDPOINT}/128", "via", "2001:db8:1::1")
        v6 = self.up()
        v4 = self.up(name="alice-2", **{"tunnel-type": "v4v6", "server": c.BROKER,
                                        "device": "dstm1", "routes": ["0.0.0.0/0"]})
        self.assertEqual({t["type"] for t in self.campus.tunnels().values()}, {"v4v6", "v6v4"})
        self.campus.client.run("ping", "-c", "1", "-W", "5", c.WEB)
        self.must_reach_web()
        self.assertEqual(v4.stop(), 0)
        self.must_reach_web()
        self.down(v6)
        self.campus.client.ip("link", "set", "lan", "down")

    def test_status_names_address_prefix_and_type(self):
        client = self.up()
        inner, _ = self.binding()
        status = json.loads(self.campus.run_client_command("alice-1", "status", "--json").stdout)
        self.assertEqual(status["address"], inner)
        self.assertEqual(status["type"], "v6v4")
        self.down(client)


if __name__ == "__main__":
    support.main()
