"""Measurements: ./dev bench [NAME...]

One JSON object a line on stdout: bench, metric, value, unit, tunnels, detail. Progress on stderr.
Everything runs in network namespaces that are made here and deleted again.
"""

import os
import sys

import flood_bench
import path
import reattach
from common import Namespace, say


def lone_endpoint(namespace):
    """An endpoint whose neighbours are known and do not exist."""
    for path in ("net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad"):
        namespace.write(path, 0)
    namespace.write("net/ipv4/ip_forward", 1)
    namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", "nobody")
    for name in ("eth0", "nobody"):
        namespace.ip("link", "set", name, "up")
    namespace.ip("addr", "add", "2001:db8:2::1/64", "dev", "eth0")
    namespace.ip("addr", "add", "203.0.113.1/24", "dev", "eth0")
    for neighbour in ("2001:db8:2::fe", "203.0.113.254"):
        namespace.ip("neigh", "add", neighbour, "lladdr", "02:00:00:00:00:fe", "dev", "eth0",
                     "nud", "permanent")
    namespace.ip("-6", "route", "add", "default", "via", "2001:db8:2::fe")
    namespace.ip("route", "add", "default", "via", "203.0.113.254")


def in_lone_endpoint(program):
    with Namespace("bench") as namespace:
        lone_endpoint(namespace)
        return namespace.program(program)


BENCHES = {
    "bpf": lambda: in_lone_endpoint("dstm_bench_bpf"),
    "table": lambda: in_lone_endpoint("dstm_bench_table"),
    "path": path.main,
    "reattach": reattach.main,
    "flood": flood_bench.main,
}


def main(names):
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        say(f"bench: no bench is called {', '.join(unknown)}; there are {', '.join(BENCHES)}")
        return 2
    if os.geteuid() != 0:
        say("bench: needs root (BPF, network namespaces)")
        return 1
    worst = 0
    for name in names or BENCHES:
        say(f"bench: {name}")
        worst = max(worst, BENCHES[name]())
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
