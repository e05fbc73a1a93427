#!/usr/bin/env python3
"""How a client finds its server: a real BIND, names with dead addresses, servers that move, and a
DNS that says nothing.

BIND answers at 2001:db8:3::35 on the broker's host for campus.example, which is the client's search
domain; where it must be slow or silent, slow_dns.py does. The rest is campus.py's.
"""

import json
import os
import shutil
import signal
import socket
import threading
import time
import unittest

import campus as c
import support
from slow_dns import SlowDns

DNS = "2001:db8:3::35"
MOVED = "2001:db8:3::54"
# On the client's own link, where nobody has it: first by RFC 6724 (rule 9), and silent.
SILENT = ("2001:db8:1::dead", "2001:db8:1::beef")
# There too, but somebody answers.
BAD = "2001:db8:1::bad"
SRV = "_tsp._tcp SRV {} 0 {} {}\n"
NAME = "dstm.campus.example"


class BadServer:
    """Takes connections on the client's own link, and serves nobody."""

    def __init__(self, campus, reply):
        campus.router.ip("address", "add", f"{BAD}/128", "dev", "lan")
        self.reply = reply
        self.listener = campus.router.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self.listener.bind((BAD, 3653))
        self.listener.listen()
        self.held = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.held.append(connection)
            if self.reply is None:
                continue  # says nothing for ever
            connection.sendall(self.reply)
            connection.shutdown(socket.SHUT_WR)

    def close(self):
        for one in (self.listener, *self.held):
            one.close()


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

    def slow_dns(self, records):
        dns = SlowDns(self.campus.broker, DNS, records)
        self.addCleanup(dns.close)
        return dns

    def timed(self, action):
        began = time.monotonic()
        action()
        return time.monotonic() - began

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

    def try_past(self, reply):
        bad = BadServer(self.campus, reply)
        self.addCleanup(bad.close)
        self.publish("".join(f"dstm AAAA {one}\n" for one in (BAD, c.BROKER)))
        client = self.start(server=NAME, transport="tcp")
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(len(bad.held), 1, "it came first")
        self.assertNotIn("CLIENT_RETRY", client.output(), "in one attempt")
        self.assertIn("CLIENT_OTHER_ADDRESS", client.output())

    def test_address_that_accepts_and_says_nothing_is_left_for_the_next(self):
        self.try_past(None)

    def test_address_that_closes_is_left_for_the_next(self):
        self.try_past(b"")

    def test_address_that_is_busy_is_left_for_the_next(self):
        self.try_past(b"530 Server too busy\r\n")

    def test_name_of_both_families_is_asked_by_that_of_the_tunnel(self):
        self.publish(f"dstm AAAA {c.BROKER}\ndstm A 192.0.2.99\n")
        client = self.start(server=NAME)
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(self.campus.client.run("ss", "-Htn4").stdout, "")
        self.assertNotIn("dstm.campus.example IN A ", self.named.output())
        self.assertEqual(client.stop(), 0)
        self.publish("dstm A 192.0.2.99\n")
        os.unlink(self.campus.path("dstm-client.state/last-good.json"))
        client = self.start(server=NAME)
        client.wait_for_log("dstm.campus.example has no IPv6 address")

    # --- a DNS that is slow or away --------------------------------------------------------------

    def test_client_ends_at_once_while_the_dns_is_silent(self):
        dns = self.slow_dns({})
        dns.is_silent = True
        for start in (lambda: self.start(server=NAME), self.start_without_server):
            asked = len(dns.asked)
            client = start()
            c.wait_for("the DNS is asked", lambda: len(dns.asked) > asked)
            down = ("dstm-client", "down")
            self.assertLess(self.timed(lambda: self.campus.run_client_command(*down)), 1)
            self.assertLess(self.timed(lambda: client.popen.wait(5)), 1)

    def test_tunnel_is_renewed_and_given_back_without_the_dns(self):
        dns = self.slow_dns({(NAME, "AAAA"): [c.BROKER]})
        client = self.start(server=NAME)
        client.wait_for_log("CLIENT_UP")
        dns.is_silent = True
        self.restart_server()
        renew = ("dstm-client", "renew", "--timeout", "10")
        self.assertLess(self.timed(lambda: self.campus.run_client_command(*renew)), 2)
        self.restart_server()
        self.assertLess(self.timed(lambda: self.assertEqual(client.stop(), 0)), 1)
        self.assertEqual(self.campus.leases(), {})

    def test_renewal_by_srv_does_not_wait_for_the_dns_either(self):
        dns = self.slow_dns({("_tsp._tcp.campus.example", "SRV"): [f"1 0 3653 {NAME}"],
                             (NAME, "AAAA"): [c.BROKER]})
        client = self.start_without_server()
        client.wait_for_log("CLIENT_UP")
        dns.is_silent = True
        self.restart_server()
        renew = ("dstm-client", "renew", "--timeout", "10")
        self.assertLess(self.timed(lambda: self.campus.run_client_command(*renew)), 2)
        self.assertEqual(client.stop(), 0)

    def test_last_good_address_is_kept_over_a_restart(self):
        dns = self.slow_dns({(NAME, "AAAA"): [c.BROKER]})
        client = self.start(server=NAME)
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(client.stop(), 0)
        dns.is_silent = True
        client = self.start(server=NAME)
        client.wait_for_log("CLIENT_UP", timeout=3)
        self.assertEqual(client.stop(), 0)
        # A server that has moved while the client was away, and one record that is no record.
        dns.is_silent = False
        dns.records[(NAME, "AAAA")] = [MOVED]
        self.campus.server.stop()
        self.campus.broker.ip("address", "del", f"{c.BROKER}/64", "dev", "srv")
        self.campus.start_server()
        self.campus.wait_ready()
        client = self.start(server=NAME)
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(client.stop(), 0)
        self.campus.write("dstm-client.state/last-good.json", '{"server": "')
        client = self.start(server=NAME)
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(client.output().count("CLIENT_RECORD_IGNORED"), 1)

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
