#!/usr/bin/env python3
"""How a client finds its server: a real BIND, names with dead addresses, and servers that move.

BIND answers at 2001:db8:3::35 on the broker's host for campus.example, which is the client's search
domain. The rest is campus.py's.
"""

import json
import os
import shutil
import signal
import time
import unittest

import campus as c
import support

DNS = "2001:db8:3::35"
MOVED = "2001:db8:3::54"
# On the client's own link, where nobody has it: first by RFC 6724 (rule 9), and silent.
SILENT = ("2001:db8:1::dead", "2001:db8:1::beef")
SRV = "_tsp._tcp SRV {} 0 {} {}\n"


class Finding(unittest.TestCase):
    def setUp(self):
        self.campus = c.Campus()
        self.addCleanup(self.campus.close)
        self.campus.broker.ip("address", "add", f"{DNS}/64", "dev", "srv")
        self.campus.broker.ip("address", "add", f"{MOVED}/64", "dev", "srv")
        self.campus.start_daemons()
        self.serial = 0
        self.named = None
        # What `ip netns exec` lays over /etc.
        etc = f"/etc/netns/{self.campus.client.namespace}"
        os.makedirs(etc)
        self.addCleanup(shutil.rmtree, etc)
        with open(f"{etc}/resolv.conf", "w") as resolver:
            resolver.write(f"nameserver {DNS}\nsearch home.example campus.example\n")

    @staticmethod
    def zone(serial, records):
        return f"$TTL 0\n@ SOA ns admin {serial} 60 60 600 0\n@ NS ns\nns AAAA {DNS}\n{records}"

    def publish(self, records):
        self.serial += 1
        self.campus.write("zone", self.zone(self.serial, records))
        if self.named is None:
            configuration = self.campus.write("named.conf", f"""
options {{ directory "{self.campus.directory}"; listen-on {{ none; }};
           listen-on-v6 {{ {DNS}; }}; pid-file none; session-keyfile none; recursion no;
           dnssec-validation no; querylog yes; }};
controls {{}};
zone "campus.example" {{ type primary; file "{self.campus.path('zone')}"; }};
zone "home.example" {{ type primary; file "{self.campus.path('home')}"; }};
""")
            self.campus.write("home", self.zone(1, ""))
            self.named = self.campus.broker.start("named", shutil.which("named", path=PATH), "-f",
                                                  "-g", "-c", configuration)
        else:
            os.kill(self.named.pid, signal.SIGHUP)
        self.named.wait_for_log(f"zone campus.example/IN: loaded serial {self.serial}")
        self.named.wait_for_log("running")

    def start(self, **changes):
        path = self.campus.client_configuration(**changes)
        client = self.campus.start_client(path)
        self.addCleanup(client.kill)
        return client

    def start_without_server(self):
        path = self.campus.client_configuration()
        with open(path) as file:
            configuration = json.load(file)
        del configuration["dstm-client"]["server"], configuration["dstm-client"]["port"]
        self.campus.write("dstm-client.conf", configuration)
        client = self.campus.start_client(path)
        self.addCleanup(client.kill)
        return client

    def asked_for(self, name):
        return self.named.output().count(f"query: {name}.campus.example IN AAAA")

    def restart_server(self):
        """With it every signalling connection ends."""
        self.assertEqual(self.campus.server.stop(), 0)
        self.campus.start_server()
        self.campus.wait_ready()

    def test_srv_record_of_a_search_domain_names_the_server(self):
        self.publish(SRV.format(10, 3653, "dstm") + f"dstm AAAA {c.BROKER}\n")
        client = self.start_without_server()
        client.wait_for_log("CLIENT_UP")
        self.assertIn("_tsp._tcp.home.example", self.named.output(), "the first search domain")
        self.campus.client.run("ping", "-c", "1", "-W", "5", c.WEB)
        self.assertEqual(client.stop(), 0)

    def test_no_record_is_said_and_one_that_comes_is_found(self):
        self.publish("")
        client = self.start_without_server()
        client.wait_for_log("CLIENT_RETRY")
        self.assertIn("_tsp._tcp.campus.example", client.output())
        self.publish(SRV.format(10, 3653, "dstm") + f"dstm AAAA {c.BROKER}\n")
        client.wait_for_log("CLIENT_UP")

    def test_every_address_of_a_name_is_tried_and_a_silent_one_keeps_nobody_waiting(self):
        self.publish("".join(f"dstm AAAA {one}\n" for one in (*SILENT, c.BROKER)))
        began = time.monotonic()
        client = self.start(server="dstm.campus.example")
        client.wait_for_log("CLIENT_UP")
        self.assertGreater(time.monotonic() - began, 0.25, "the silent one came first")
        self.assertLess(time.monotonic() - began, 2.5, "before it was given up")

    def test_server_that_moves_is_found_by_its_name(self):
        self.publish(f"dstm AAAA {c.BROKER}\n")
        client = self.start(server="dstm.campus.example")
        client.wait_for_log("CLIENT_UP")
        address = set(self.campus.leases())
        self.publish(f"dstm AAAA {MOVED}\n")
        self.assertEqual(self.campus.server.stop(), 0)
        self.campus.broker.ip("address", "del", f"{c.BROKER}/64", "dev", "srv")
        self.campus.start_server()
        self.campus.wait_ready()
        self.campus.run_client_command("dstm-client", "renew", "--timeout", "15")
        self.assertEqual(set(self.campus.leases()), address)
        connected = self.campus.client.run("ss", "-Htn6").stdout
        self.assertIn(f"[{MOVED}]:3653", connected)
        self.assertEqual(client.stop(), 0)

    def test_last_good_server_is_asked_first(self):
        self.publish(SRV.format(10, 3999, "away") + SRV.format(20, 3653, "dstm")
                     + f"away AAAA {c.BROKER}\ndstm AAAA {c.BROKER}\n")
        client = self.start_without_server()
        client.wait_for_log("CLIENT_UP")
        away, dstm = self.asked_for("away"), self.asked_for("dstm")
        self.assertGreaterEqual(away, 1, "the better priority was tried first")
        self.restart_server()
        self.campus.run_client_command("dstm-client", "renew", "--timeout", "15")
        self.assertEqual(self.asked_for("away"), away)
        self.assertGreater(self.asked_for("dstm"), dstm)
        self.assertEqual(client.stop(), 0)


PATH = os.environ.get("PATH", "") + ":/usr/sbin"

if __name__ == "__main__":
    if shutil.which("named", path=PATH) is None:
        print("skipped: named is not installed (package bind9)")
        raise SystemExit(77)
    support.main()
