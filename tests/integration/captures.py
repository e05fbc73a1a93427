"""What goes over the wire as independent tools see it: tcpdump takes it in a namespace, tshark
dissects the packets, xmllint reads the XML bodies, and the rules of deployed clients' naive parsers
are applied to them."""

import json
import os
import re
import subprocess

import campus as c

PROGRAMS = ("tcpdump", "tshark", "xmllint")


class Capture:
    """tcpdump on one interface of a host for as long as a `with` block."""

    def __init__(self, host, interface, name="capture"):
        self.host, self.interface = host, interface
        self.path = host.campus.path(f"{name}.pcap")
        self.decode_as = ()  # tshark's -d, for what no port number tells it

    def __enter__(self):
        # Into the campus's own directory, so not as another user; each packet at once.
        self.tcpdump = self.host.start(os.path.basename(self.path), "tcpdump", "-Z", "root", "-U",
                                       "--immediate-mode", "-i", self.interface, "-w", self.path)
        self.tcpdump.wait_for_log("listening on")
        return self

    def __exit__(self, kind, error, trace):
        self.tcpdump.stop()

    def packets(self, display_filter):
        """tshark's dissection: the layers of each packet by name, the fields of each by theirs. A
        layer that comes twice (IPv6 in IPv6) is a list."""
        done = subprocess.run(["tshark", "-r", self.path, "-n", "-T", "json", "--no-duplicate-keys",
                               "-o", "ip.check_checksum:TRUE", "-Y", display_filter,
                               *(word for rule in self.decode_as for word in ("-d", rule))],
                              capture_output=True, text=True, check=True, timeout=60)
        return [packet["_source"]["layers"] for packet in json.loads(done.stdout or "[]")]

    def wait_for(self, display_filter, count=1):
        return c.wait_for(f"{count} of {display_filter} in {self.path}", lambda: (
            lambda found: found if len(found) >= count else None)(self.packets(display_filter)))

    def streams(self, port=3653):
        """The TSP bytes of each TCP connection: (of the client, of the server)."""
        found = {}
        for packet in self.packets(f"tcp.port == {port} && tcp.len > 0 && "
                                   "!tcp.analysis.retransmission"):
            tcp = packet["tcp"]
            both = found.setdefault(tcp["tcp.stream"], [b"", b""])
            data = bytes.fromhex(tcp["tcp.payload"].replace(":", ""))
            both[0 if tcp["tcp.dstport"] == str(port) else 1] += data
        return list(found.values())

    def datagrams(self, port=3653):
        """The UDP payloads to and from the port: (to the server?, bytes)."""
        return [(packet["udp"]["udp.dstport"] == str(port),
                 bytes.fromhex(packet["udp"]["udp.payload"].replace(":", "")))
                for packet in self.packets(f"udp.port == {port} && udp.length > 8")]


def bodies(stream):
    """The XML of each framed message in one side's bytes; statuses and what is bare left out."""
    found = []
    while (match := re.search(rb"Content-length: (\d+)\r\n", stream)) is not None:
        size = int(match.group(1))
        body, stream = stream[match.end():][:size], stream[match.end() + size:]
        assert len(body) == size, "a message that was not captured whole"
        if b"<tunnel" in body:
            found.append(body[body.index(b"<"):].decode())
    return found


def check_xml(text):
    """Well-formed as xmllint sees it."""
    done = subprocess.run(["xmllint", "--noout", "--nonet", "-"], input=text, text=True,
                          capture_output=True, timeout=30)
    if done.returncode != 0:
        raise AssertionError(f"xmllint: {done.stderr}\n{text}")


def xpath(text, expression):
    """What xmllint finds, as text; empty when there is nothing."""
    done = subprocess.run(["xmllint", "--nonet", "--xpath", f"string({expression})", "-"],
                          input=text, text=True, capture_output=True, timeout=30, check=True)
    return done.stdout.strip()


KNOWN = {"tunnel", "server", "client", "broker", "address", "router", "prefix", "dns_server",
         "keepalive"}


def check_naive(text):
    """What deployed clients' own parsers need of a reply (they are no XML parsers)."""
    for name, pattern in (("a prolog", r"<\?"), ("a comment or a DOCTYPE", r"<!"),
                          ("single quotes", "'"), ("a tab behind a name", r"<\w+\t"),
                          ("a space beside =", r'\s=|=\s'), ("an entity", r"&(?!lt;|gt;|amp;)"),
                          ("a hyphen in a name", r"</?[a-z0-9_]*-")):
        assert not re.search(pattern, text), f"{name} in\n{text}"
    unknown = [match for match in re.finditer(r"<(\w+)[^>]*?(/?)>", text)
               if match.group(1) not in KNOWN]
    for match in unknown:
        assert match.group(2) != "/", f"an unknown element that closes itself in\n{text}"
        rest = re.findall(r"<(\w+)", text[match.start():])
        assert not set(rest) & KNOWN, f"a known element behind an unknown one in\n{text}"


def check_addresses(text):
    """server and client each have an IPv4 and an IPv6 address, bare."""
    import ipaddress

    for party in ("server", "client"):
        for family, version in (("ipv4", 4), ("ipv6", 6)):
            address = xpath(text, f"/tunnel/{party}/address[@type='{family}']/text()")
            assert ipaddress.ip_address(address).version == version, f"{party} {family}: {text}"
            assert f">{address}</address>" in text, "white space around an address"
