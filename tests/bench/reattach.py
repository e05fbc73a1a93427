"""./dev bench reattach: how long a host that has moved is without IPv4.

From the first usable new IPv6 address (duplicate detection over) to the first IPv4 reply, with
everything between: the client hears of the address, signals from it, authenticates, the server
renews the lease in Kea and has the endpoint switch, and an echo goes to the IPv4 side and back.
The server is configured by a name, whose DNS server takes 300 ms for each answer. Real daemons,
real kea-dhcp4, the campus of tests/integration/roaming_test.py.
"""

import json
import os
import shutil
import socket
import statistics
import sys
import threading
import time

from common import ROOT, say

sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import campus as c  # noqa: E402
from roaming_test import CLIENT2, RoamingCampus  # noqa: E402
from slow_dns import SlowDns  # noqa: E402

MOVES = 40
DNS = "2001:db8:3::35"
DNS_DELAY = 0.3
NAME = "dstm.campus.example"
REPLY_TIMEOUT = 10.0


class Echo:
    """A UDP service on the IPv4 side, asked from the client every half millisecond."""

    def __init__(self, campus, inner):
        self.server = campus.web.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind((c.WEB, 7))
        self.client = campus.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.bind((inner, 0))
        self.client.settimeout(0.0005)
        threading.Thread(target=self.answer, daemon=True).start()

    def answer(self):
        while True:
            data, peer = self.server.recvfrom(64)
            self.server.sendto(data, peer)

    def first_reply(self):
        """Monotonic time of the first reply to what is asked from now on."""
        begin = time.monotonic()
        token = str(begin).encode()
        while time.monotonic() < begin + REPLY_TIMEOUT:
            try:
                self.client.sendto(token, (c.WEB, 7))
                if self.client.recv(64) == token:
                    return time.monotonic()
            except OSError:
                pass  # no route for a moment, or no reply yet
        raise AssertionError(f"no IPv4 within {REPLY_TIMEOUT:g} s of a move")


def measure(campus, client, echo, lan, other):
    # Both links stay up: the kernel takes up to a second to tell the router of a carrier that comes
    # back, and that is not the client's time.
    campus.client.ip("-6", "addr", "flush", "dev", other, "scope", "global")
    outer = {"lan": c.CLIENT, "lan2": CLIENT2}[lan]
    router = {"lan": "2001:db8:1::1", "lan2": "2001:db8:4::1"}[lan]
    moved = client.output().count("CLIENT_MOVED")
    # The address and its route in one go, as after a router advertisement.
    began = time.monotonic()
    campus.client.run("ip", "-6", "-batch", campus.write("attach", (
        f"addr replace {outer}/64 dev {lan}\n"
        f"route replace default via {router} dev {lan}\n")))
    taken = echo.first_reply() - began
    c.wait_for("the client says that it has moved",
               lambda: client.output().count("CLIENT_MOVED") > moved)
    return taken * 1000


def main():
    with RoamingCampus() as campus:
        # What `ip netns exec` lays over /etc.
        etc = f"/etc/netns/{campus.client.namespace}"
        os.makedirs(etc)
        try:
            with open(f"{etc}/resolv.conf", "w") as resolver:
                resolver.write(f"nameserver {DNS}\n")
            campus.broker.ip("address", "add", f"{DNS}/64", "dev", "srv")
            run(campus, SlowDns(campus.broker, DNS, {(NAME, "AAAA"): [c.BROKER]}, DNS_DELAY))
        finally:
            shutil.rmtree(etc)
    return 0


def run(campus, dns):
    campus.add_user("alice", "secret")
    campus.start_daemons()
    configuration = campus.client_configuration("alice-1", "alice", "secret", server=NAME)
    client = campus.start_client(configuration)
    client.wait_for_log("CLIENT_UP")
    echo = Echo(campus, next(iter(campus.leases())))
    echo.first_reply()
    campus.client.ip("link", "set", "lan2", "up")
    times = []
    for move in range(MOVES):
        lan, other = (("lan2", "lan"), ("lan", "lan2"))[move % 2]
        times.append(measure(campus, client, echo, lan, other))
        say(f"reattach: move {move + 1}: {times[-1]:.1f} ms")
        time.sleep(1.1)  # moves that follow each other faster are damped, which is not measured
    assert len(dns.asked) > MOVES, "each move looks the name up"
    times.sort()
    detail = {"moves": MOVES, "min": round(times[0], 1),
              "p90": round(times[MOVES * 9 // 10], 1),
              "max": round(times[-1], 1), "mechanism": "SCRAM-SHA-256",
              "dns_delay_ms": round(DNS_DELAY * 1000), "goal": 100}
    print(json.dumps({"bench": "reattach", "metric": "reattach_ms",
                      "value": round(statistics.median(times), 1), "unit": "ms", "tunnels": 1,
                      "detail": detail}), flush=True)
