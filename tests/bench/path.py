"""./dev bench path: packets and TCP through an endpoint, as ratio to plain IPv4 routing.

  2001:db8:2::fe (c0) --- 2001:db8:2::1 (e0) endpoint (e1) 203.0.113.1  --- (s0) 203.0.113.80
  clients                                                                        server
  192.0.2.2      (c1) --- 192.0.2.1     (p0)  plain   (p1) 198.51.100.1 --- (s1) 198.51.100.80

Plain routing has hops of its own between the same ends, of the same form but without our programs
and with senders' offloads always on. It takes turns with each plane.

Packets: frames from a generator at one end, each from or to another of the tunnels, counted where
they arrive at the other. All of it works on one CPU, one batch of frames after the other, so that
the rate is that of generator, endpoint and end together.
TCP: one stream of iperf3; the client's side of its tunnel is the kernel's SRv6 (encap.red,
End.DX4), which on the wire is plain IPv4 in IPv6.

One stream on few CPUs goes as the scheduler happens to place its two ends, and other work on the
machine takes what it takes: many short turns, each beside one of plain routing, and the median of
the ratios.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import BUILD, Namespace, say

TUNNELS = int(os.environ.get("DSTM_BENCH_TUNNELS", "1000000"))
ROUNDS = int(os.environ.get("DSTM_BENCH_ROUNDS", "7"))
SECONDS = 0.5
FRAMES_BEFORE = 50000  # until caches hold what they will hold
TCP_SECONDS = 1
PLAIN_RATE_MIN = 200000  # less than this is not the endpoint's limit but the generator's
PLANES = ("auto", "xdp", "tc", "stack", "tun", "srv6")
WAYS = ("up", "down")

PLAIN_CLIENT, PLAIN_SERVER = "192.0.2.2", "198.51.100.80"
TUNNEL_SERVER = "203.0.113.80"


class Failed(RuntimeError):
    """Nothing can be measured, and this is why."""


def emit(metric, value, tunnels, detail):
    print(json.dumps({"bench": "path", "metric": metric, "value": round(value, 3),
                      "unit": "ratio", "tunnels": tunnels, "detail": detail}), flush=True)


class Helper:
    """A program in a namespace that says one line and works until its stdin ends."""

    def __init__(self, namespace, *argv):
        self.name = " ".join(argv)
        self.log = tempfile.TemporaryFile("w+")
        self.popen = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name, os.path.join(BUILD, "bin", argv[0]), *argv[1:]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.said = self.popen.stdout.readline().strip()
        if not self.said:
            self.popen.wait()
            raise Failed(f"{self.name} did not start: {' '.join(self.logged()[-1:])}")

    def ask(self):
        """The numbers of its next line."""
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        return [int(word) for word in self.popen.stdout.readline().split()]

    def logged(self):
        self.log.seek(0)
        return self.log.read().splitlines()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.popen.stdin.close()
        code = self.popen.wait()
        for line in self.logged():
            if code != 0 or line.startswith("dropped"):
                say(f"    {line}")
        self.log.close()


class Endpoint(Helper):
    """The daemon's data plane (endpoint.cpp)."""

    def __init__(self, namespace, kind):
        super().__init__(namespace, "dstm_bench_endpoint", kind, str(TUNNELS))
        self.chosen = json.loads(self.said)
        self.tunnels = self.chosen.pop("tunnels")
        # As in docs/events.md, after time and level.
        for _, _, event, *text in (line.split() for line in self.logged() if line[:1].isdigit()):
            if event == "BPF_ATTACHED":
                interface, by = (word.split("=")[1] for word in text)
                self.chosen[interface] = by
            elif event == "BPF_PATH" and text[0] == "IPv4":
                self.chosen["path"] = " ".join(text[3:])


class Srv6:
    """The kernel's own: one route for all clients, so their number costs nothing."""

    chosen = {"data_plane": "kernel's SRv6, no source check"}
    tunnels = 1

    def __init__(self, namespace):
        self.namespace = namespace

    def __enter__(self):
        ip = self.namespace.ip
        ip("addr", "del", "2001:db8:2::1/64", "dev", "e0")
        ip("addr", "add", "2001:db8:2::2/64", "dev", "e0")
        ip("-6", "route", "replace", "default", "via", "2001:db8:2::fe", "dev", "e0")
        ip("-6", "route", "add", "2001:db8:2::1/128", "encap", "seg6local", "action", "End.DX4",
           "nh4", TUNNEL_SERVER, "dev", "e0")
        self.namespace.run("ip", "sr", "tunsrc", "set", "2001:db8:2::1")
        ip("route", "add", "10.0.0.0/12", "encap", "seg6", "mode", "encap.red", "segs",
           "2001:db8:1::1", "dev", "e0")
        return self

    def __exit__(self, kind, error, trace):
        ip = self.namespace.ip
        ip("route", "del", "10.0.0.0/12")
        ip("-6", "route", "del", "2001:db8:2::1/128")
        ip("addr", "del", "2001:db8:2::2/64", "dev", "e0")
        ip("addr", "add", "2001:db8:2::1/64", "dev", "e0")
        ip("-6", "route", "replace", "default", "via", "2001:db8:2::fe", "dev", "e0")


class Course:
    """Two ends, and two ways between them."""

    def __init__(self, clients, server, endpoint, plain):
        self.clients, self.server, self.endpoint, self.plain = clients, server, endpoint, plain
        for namespace in (clients, server, endpoint, plain):
            for path in ("net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad"):
                namespace.write(path, 0)
            namespace.write("net/ipv4/ip_forward", 1)
            namespace.write("net/ipv6/conf/all/forwarding", 1)
        self.wire(clients, "c0", "2001:db8:2::fe", endpoint, "e0", "2001:db8:2::1", 64)
        self.wire(server, "s0", TUNNEL_SERVER, endpoint, "e1", "203.0.113.1", 24)
        self.wire(clients, "c1", PLAIN_CLIENT, plain, "p0", "192.0.2.1", 24)
        self.wire(server, "s1", PLAIN_SERVER, plain, "p1", "198.51.100.1", 24)
        endpoint.ip("-6", "route", "add", "default", "via", "2001:db8:2::fe")
        server.ip("route", "add", "default", "via", "203.0.113.1")
        server.ip("route", "add", "192.0.2.0/24", "via", "198.51.100.1")
        clients.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.1")
        self.tunnel_at_client()

    @classmethod
    def wire(cls, left, left_name, left_address, right, right_name, right_address, length):
        left.ip("link", "add", left_name, "type", "veth", "peer", "name", right_name,
                "netns", right.name)
        ends = ((left, left_name, left_address), (right, right_name, right_address))
        for namespace, name, address in ends:
            namespace.ip("link", "set", name, "up")
            namespace.ip("addr", "add", f"{address}/{length}", "dev", name)
        # Only on a link that is up does this make the other end take frames.
        for namespace, name, _ in ends:
            namespace.run("ethtool", "-K", name, "gro", "on")
        for near, far in (ends, ends[::-1]):
            near[0].ip("neigh", "replace", far[2], "lladdr", cls.link_address(far[0], far[1]),
                       "dev", near[1], "nud", "permanent")

    @staticmethod
    def link_address(namespace, name):
        return namespace.read("cat", f"/sys/class/net/{name}/address").strip()

    def tunnel_at_client(self):
        self.clients.ip("addr", "add", "10.0.0.16/32", "dev", "lo")
        self.clients.run("ip", "sr", "tunsrc", "set", "2001:db8:1::1")
        self.clients.ip("route", "add", "203.0.113.0/24", "encap", "seg6", "mode", "encap.red",
                        "segs", "2001:db8:2::1", "dev", "c0", "src", "10.0.0.16", "mtu", "1460",
                        "advmss", "1420")
        self.clients.ip("-6", "route", "add", "2001:db8:1::1/128", "encap", "seg6local", "action",
                        "End.DX4", "nh4", "10.0.0.16", "dev", "c0")

    def packet_rate(self, kind, tunnels):
        """Packets a second that arrive."""
        is_up, is_plain = kind.endswith("up"), kind.startswith("plain")
        source, target = (self.clients, self.server) if is_up else (self.server, self.clients)
        way = "1" if is_plain else "0"
        out, end = ("c" + way, "s" + way) if is_up else ("s" + way, "c" + way)
        router = self.plain if is_plain else self.endpoint
        entry = ("p" if is_plain else "e") + ("0" if is_up else "1")
        if is_plain:
            router.ip("route", "replace", "198.18.0.0/15", "via",
                      PLAIN_SERVER if is_up else PLAIN_CLIENT)
        with Helper(target, "dstm_bench_generate", "discard", end) as arrived:
            # All the work of a packet is done in this process, and other processes are none of it.
            generator = subprocess.Popen(
                ["ip", "netns", "exec", source.name, "nice", "-n", "-10",
                 os.path.join(BUILD, "bin", "dstm_bench_generate"), kind, out,
                 self.link_address(router, entry),
                 str(min(TUNNELS, 100000) if is_plain else tunnels), str(SECONDS + 2)])
            try:
                return self.rate_of(arrived)
            finally:
                generator.terminate()
                generator.wait()

    @staticmethod
    def rate_of(arrived):
        first = arrived.ask()[0]
        for _ in range(100):
            if arrived.ask()[0] > first + FRAMES_BEFORE:
                break
            time.sleep(0.01)
        packets, time_ns = arrived.ask()
        time.sleep(SECONDS)
        packets_then, time_ns_then = arrived.ask()
        return (packets_then - packets) / (time_ns_then - time_ns) * 1e9

    def tcp_rate(self, kind):
        """Gbit/s of goodput of one stream."""
        address = PLAIN_SERVER if kind.startswith("plain") else TUNNEL_SERVER
        listener = subprocess.Popen(
            ["ip", "netns", "exec", self.server.name, "iperf3", "-s", "-1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if ":5201" in self.server.read("ss", "-ltn"):
                    break
                time.sleep(0.02)
            said = subprocess.run(
                ["ip", "netns", "exec", self.clients.name, "timeout", str(TCP_SECONDS + 10),
                 "iperf3", "-J", "-c", address, "-t", str(TCP_SECONDS),
                 *(["-R"] if kind.endswith("down") else [])], capture_output=True, text=True)
            try:
                return json.loads(said.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
            except (ValueError, KeyError):
                return 0.0
        finally:
            listener.terminate()
            listener.wait()

    def checksums_by_senders(self, on):
        """XDP loses the note that a checksum is still to be filled in."""
        for namespace, name in ((self.clients, "c0"), (self.server, "s0")):
            namespace.run("ethtool", "-K", name, "tx", "off" if on else "on")


def compare(rates, way):
    """The median through the endpoint, that of plain routing, and the ratio of each turn."""
    through, plain = rates[way], rates[f"plain-{way}"]
    ratios = [a / b if b else 0.0 for a, b in zip(through, plain)]
    return statistics.median(through), statistics.median(plain), ratios


def spread(ratios):
    return {"least": round(min(ratios), 2), "most": round(max(ratios), 2), "rounds": len(ratios)}


def measure_packets(course, plane, suffix):
    rates = {kind: [] for kind in ("plain-up", "up", "plain-down", "down")}
    for turn in range(ROUNDS):
        say(f"  packets, round {turn + 1}")
        for kind, found in rates.items():
            found.append(course.packet_rate(kind, plane.tunnels))
    for way in WAYS:
        carried, plain, ratios = compare(rates, way)
        if not plain:
            raise Failed("no frame of the generator arrived by plain routing")
        detail = {"pps": round(carried), "plain_pps": round(plain), **spread(ratios),
                  **plane.chosen}
        if plain < PLAIN_RATE_MIN:
            detail["note"] = "the generator was too slow for this to say much of the endpoint"
        emit(f"pps_{way}_ratio{suffix}", statistics.median(ratios), plane.tunnels, detail)


def measure_tcp(course, plane, suffix):
    control = course.server.read("cat", "/proc/sys/net/ipv4/tcp_congestion_control").strip()
    rates = {kind: [] for kind in ("plain-up", "up", "plain-down", "down")}
    for turn in range(ROUNDS):
        say(f"  TCP, round {turn + 1}")
        for kind, found in rates.items():
            found.append(course.tcp_rate(kind))
    for way in WAYS:
        carried, plain, ratios = compare(rates, way)
        if not plain or not carried:
            raise Failed(f"no tcp_{way}_ratio{suffix}: in most rounds iperf3 moved nothing")
        emit(f"tcp_{way}_ratio{suffix}", statistics.median(ratios), plane.tunnels,
             {"gbit_s": round(carried, 2), "plain_gbit_s": round(plain, 2), **spread(ratios),
              "congestion_control": control, **plane.chosen})


def measure(course, name):
    suffix = "" if name == "auto" else f"_{name}"
    say(f"  {name}: tunnels")
    with (Srv6(course.endpoint) if name == "srv6" else Endpoint(course.endpoint, name)) as plane:
        say(f"  {name}: {plane.chosen}")
        measure_packets(course, plane, suffix)
        if not shutil.which("iperf3"):
            raise Failed("no TCP ratios: iperf3 is not installed")
        course.checksums_by_senders(name == "xdp")
        try:
            measure_tcp(course, plane, suffix)
        finally:
            course.checksums_by_senders(False)


def main():
    """0 when each ratio was measured; else stderr has a line for each plane that was not."""
    names = os.environ.get("DSTM_BENCH_PLANES", ",".join(PLANES)).split(",")
    failed = 0
    with Namespace("c") as clients, Namespace("s") as server, Namespace("e") as endpoint, \
            Namespace("p") as plain:
        course = Course(clients, server, endpoint, plain)
        for name in names:
            try:
                measure(course, name)
            except (Failed, subprocess.CalledProcessError) as error:
                say(f"  path: {name}: {error}")
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
