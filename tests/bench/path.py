"""./dev bench path: packets and TCP through an endpoint, as ratio to plain IPv4 routing.

  clients (c0) ------------- (e0) endpoint (e1) ------------- (s0) server
  2001:db8:2::fe, clients    2001:db8:2::1  203.0.113.1     203.0.113.80
  behind it; 192.168.1.2     192.168.1.1

Packets: frames from a generator at one end, each from or to another of the tunnels, counted where
they arrive at the other. All of it works on one CPU, one batch of frames after the other, so that
the rate is that of generator, endpoint and end together. Plain routing takes turns with each plane,
over the same links, and the ratio is of medians.
TCP: one stream of iperf3; the client's side of its tunnel is the kernel's SRv6 (encap.red,
End.DX4), which on the wire is plain IPv4 in IPv6. One stream on few CPUs goes as the scheduler
happens to place its two ends: many short turns, each beside one of plain routing, and the median
of the ratios.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time

from common import BUILD, Namespace, say

TUNNELS = int(os.environ.get("DSTM_BENCH_TUNNELS", "1000000"))
ROUNDS = int(os.environ.get("DSTM_BENCH_ROUNDS", "3"))
SECONDS = 1.5
TCP_ROUNDS = 2 * ROUNDS + 1
TCP_SECONDS = 1
PLAIN_RATE_MIN = 200000  # less than this is not the endpoint's limit but the generator's
PLANES = ("auto", "xdp", "tc", "stack", "tun", "srv6")


def emit(metric, value, tunnels, detail):
    print(json.dumps({"bench": "path", "metric": metric, "value": round(value, 3),
                      "unit": "ratio", "tunnels": tunnels, "detail": detail}), flush=True)


class Helper:
    """A program in a namespace that says "ready" and works until its stdin ends."""

    def __init__(self, namespace, *argv):
        self.popen = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name, os.path.join(BUILD, "bin", argv[0]), *argv[1:]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.popen.stdout.readline().strip() != "ready":
            self.popen.wait()
            raise RuntimeError(f"{' '.join(argv)} did not start")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.popen.stdin.close()
        self.popen.wait()


class Course:
    def __init__(self, clients, endpoint, server):
        self.clients, self.endpoint, self.server = clients, endpoint, server
        for namespace in (clients, endpoint, server):
            for path in ("net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad"):
                namespace.write(path, 0)
        self.wire(clients, "c0", endpoint, "e0")
        self.wire(server, "s0", endpoint, "e1")
        clients.ip("addr", "add", "2001:db8:2::fe/64", "dev", "c0")
        clients.ip("addr", "add", "192.168.1.2/24", "dev", "c0")
        endpoint.ip("addr", "add", "2001:db8:2::1/64", "dev", "e0")
        endpoint.ip("addr", "add", "192.168.1.1/24", "dev", "e0")
        endpoint.ip("addr", "add", "203.0.113.1/24", "dev", "e1")
        server.ip("addr", "add", "203.0.113.80/24", "dev", "s0")
        endpoint.write("net/ipv4/ip_forward", 1)
        endpoint.write("net/ipv6/conf/all/forwarding", 1)
        endpoint.ip("-6", "route", "add", "default", "via", "2001:db8:2::fe")
        server.ip("route", "add", "default", "via", "203.0.113.1")
        clients.ip("route", "add", "203.0.113.0/24", "via", "192.168.1.1")
        for near, far, addresses in (
                ((endpoint, "e0"), (clients, "c0"), ("2001:db8:2::fe", "192.168.1.2")),
                ((endpoint, "e1"), (server, "s0"), ("203.0.113.80",)),
                ((clients, "c0"), (endpoint, "e0"), ("2001:db8:2::1", "192.168.1.1")),
                ((server, "s0"), (endpoint, "e1"), ("203.0.113.1",))):
            for address in addresses:
                near[0].ip("neigh", "replace", address, "lladdr", self.link_address(*far), "dev",
                           near[1], "nud", "permanent")

    def wire(self, left, left_name, right, right_name):
        left.ip("link", "add", left_name, "type", "veth", "peer", "name", right_name,
                "netns", right.name)
        ends = ((left, left_name), (right, right_name))
        for namespace, name in ends:
            namespace.ip("link", "set", name, "up")
        # Only on a link that is up does this make the other end take frames.
        for namespace, name in ends:
            namespace.run("ethtool", "-K", name, "gro", "on")

    @staticmethod
    def link_address(namespace, name):
        return namespace.read("cat", f"/sys/class/net/{name}/address").strip()

    # --- packets -------------------------------------------------------------------------------

    def packet_rate(self, kind):
        """Packets a second that arrive."""
        up = kind.endswith("up")
        source, target = (self.clients, self.server) if up else (self.server, self.clients)
        out, entry, end = ("c0", "e0", "s0") if up else ("s0", "e1", "c0")
        if kind.startswith("plain"):
            self.endpoint.ip("route", "replace", "198.18.0.0/15", "via",
                             "203.0.113.80" if up else "192.168.1.2")
        counter = f"/sys/class/net/{end}/statistics/rx_packets"
        with Helper(target, "dstm_bench_generate", "discard", end):
            generator = subprocess.Popen(
                ["ip", "netns", "exec", source.name,
                 os.path.join(BUILD, "bin", "dstm_bench_generate"), kind, out,
                 self.link_address(self.endpoint, entry),
                 str(min(TUNNELS, 100000)) if kind.startswith("plain") else str(TUNNELS),
                 str(SECONDS + 1)])
            time.sleep(0.6)
            start, before = time.monotonic(), int(target.read("cat", counter))
            time.sleep(SECONDS)
            after, stop = int(target.read("cat", counter)), time.monotonic()
            generator.wait()
        return (after - before) / (stop - start)

    # --- TCP -----------------------------------------------------------------------------------

    def tcp_rate(self, down):
        """Gbit/s of goodput of one stream."""
        listener = subprocess.Popen(
            ["ip", "netns", "exec", self.server.name, "iperf3", "-s", "-1"],
            stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if ":5201" in self.server.read("ss", "-ltn"):
                    break
                time.sleep(0.02)
            said = subprocess.run(
                ["ip", "netns", "exec", self.clients.name, "timeout", str(TCP_SECONDS + 10),
                 "iperf3", "-J", "-c", "203.0.113.80", "-t", str(TCP_SECONDS),
                 *(["-R"] if down else [])], capture_output=True, text=True)
            try:
                return json.loads(said.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
            except (ValueError, KeyError):
                return 0.0
        finally:
            listener.terminate()
            listener.wait()

    def tunnel_at_client(self):
        self.clients.ip("addr", "replace", "10.0.0.16/32", "dev", "lo")
        self.clients.run("ip", "sr", "tunsrc", "set", "2001:db8:1::1")
        self.clients.write("net/ipv6/conf/all/forwarding", 1)
        self.clients.write("net/ipv4/ip_forward", 1)
        self.clients.ip("route", "replace", "203.0.113.0/24", "encap", "seg6", "mode", "encap.red",
                        "segs", "2001:db8:2::1", "dev", "c0", "src", "10.0.0.16", "mtu", "1460",
                        "advmss", "1420")
        self.clients.ip("-6", "route", "replace", "2001:db8:1::1/128", "encap", "seg6local",
                        "action", "End.DX4", "nh4", "10.0.0.16", "dev", "c0")

    def no_tunnel_at_client(self):
        self.clients.ip("route", "replace", "203.0.113.0/24", "via", "192.168.1.1")

    # --- planes --------------------------------------------------------------------------------

    def plane(self, name):
        if name == "srv6":
            return Srv6(self)
        return Helper(self.endpoint, "dstm_bench_endpoint", name, str(TUNNELS))

    def checksums_by_senders(self, on):
        """XDP loses the note that a checksum is still to be filled in."""
        for namespace, name in ((self.clients, "c0"), (self.server, "s0")):
            namespace.run("ethtool", "-K", name, "tx", "off" if on else "on")


class Srv6:
    """The kernel's own: one route for all clients, so their number costs nothing."""

    def __init__(self, course):
        self.endpoint = course.endpoint

    def __enter__(self):
        ip = self.endpoint.ip
        ip("addr", "del", "2001:db8:2::1/64", "dev", "e0")
        ip("addr", "add", "2001:db8:2::2/64", "dev", "e0")
        ip("-6", "route", "replace", "default", "via", "2001:db8:2::fe", "dev", "e0")
        ip("-6", "route", "add", "2001:db8:2::1/128", "encap", "seg6local", "action", "End.DX4",
           "nh4", "203.0.113.80", "dev", "e0")
        self.endpoint.run("ip", "sr", "tunsrc", "set", "2001:db8:2::1")
        ip("route", "add", "10.0.0.0/12", "encap", "seg6", "mode", "encap.red", "segs",
           "2001:db8:1::1", "dev", "e0")
        return self

    def __exit__(self, kind, error, trace):
        ip = self.endpoint.ip
        ip("route", "del", "10.0.0.0/12")
        ip("-6", "route", "del", "2001:db8:2::1/128")
        ip("addr", "del", "2001:db8:2::2/64", "dev", "e0")
        ip("addr", "add", "2001:db8:2::1/64", "dev", "e0")
        ip("-6", "route", "replace", "default", "via", "2001:db8:2::fe", "dev", "e0")


def measure(course, plane):
    """Whether all of it could be measured."""
    measured = True
    suffix = "" if plane == "auto" else f"_{plane}"
    tunnels = 1 if plane == "srv6" else TUNNELS
    rates = {kind: [] for kind in ("up", "down", "plain-up", "plain-down")}
    tcp = {kind: [] for kind in ("up", "down", "plain-up", "plain-down")}
    with course.plane(plane):
        for turn in range(ROUNDS):
            say(f"  {plane}: packets, round {turn + 1}")
            for kind in rates:
                rates[kind].append(course.packet_rate(kind))
        for way in ("up", "down"):
            carried, plain = (statistics.median(rates[k]) for k in (way, f"plain-{way}"))
            if plain < PLAIN_RATE_MIN:
                say(f"  {plane}: no pps_{way}_ratio: the generator fed the endpoint only "
                    f"{round(plain)} packets a second, which says nothing of the endpoint")
                measured = False
                continue
            emit(f"pps_{way}_ratio{suffix}", carried / plain, tunnels,
                 {"pps": round(carried), "plain_pps": round(plain), "rounds": ROUNDS})
        if shutil.which("iperf3"):
            say(f"  {plane}: TCP")
            course.checksums_by_senders(plane == "xdp")
            for turn in range(TCP_ROUNDS):
                for way in ("up", "down"):
                    course.no_tunnel_at_client()
                    tcp[f"plain-{way}"].append(course.tcp_rate(way == "down"))
                    course.tunnel_at_client()
                    tcp[way].append(course.tcp_rate(way == "down"))
            course.no_tunnel_at_client()
            course.checksums_by_senders(False)
        else:
            say(f"  {plane}: no tcp_up_ratio and no tcp_down_ratio: there is no iperf3")
            measured = False
    for way in ("up", "down"):
        if tcp[way]:
            carried, plain = (statistics.median(tcp[k]) for k in (way, f"plain-{way}"))
            if not plain or not carried:
                say(f"  {plane}: no tcp_{way}_ratio: in most rounds iperf3 moved nothing")
                measured = False
                continue
            ratios = sorted(a / max(b, 0.001) for a, b in zip(tcp[way], tcp[f"plain-{way}"]))
            emit(f"tcp_{way}_ratio{suffix}", statistics.median(ratios), tunnels,
                 {"gbit_s": round(carried, 2), "plain_gbit_s": round(plain, 2),
                  "least": round(ratios[0], 2), "most": round(ratios[-1], 2),
                  "rounds": TCP_ROUNDS})
    return measured


def main():
    planes = os.environ.get("DSTM_BENCH_PLANES", ",".join(PLANES)).split(",")
    failed = 0
    with Namespace("c") as clients, Namespace("e") as endpoint, Namespace("s") as server:
        course = Course(clients, endpoint, server)
        for plane in planes:
            try:
                if not measure(course, plane):
                    failed = 1
            except (RuntimeError, subprocess.CalledProcessError) as error:
                say(f"  {plane}: {error}")
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
