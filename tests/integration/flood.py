"""Clients that ask thousands of times a second, and a well-behaved one beside them (RFC 5572 s8).

As a program it is such a client, until SIGTERM; then it prints how often it has asked:
    flood.py tcp|udp|echo SOURCE SERVER PORT"""

import json
import os
import signal
import socket
import sys
import time

SOURCE = "2001:db8:1::666"  # in the well-behaved client's own /64
CREATE = ('<tunnel action="create" type="v4v6"><client><address type="ipv6">%s</address></client>'
          "</tunnel>\r\n" % SOURCE)
DIALOGUE = ("VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n"
            f"Content-length: {len(CREATE)}\r\n{CREATE}").encode()


class Flooder:
    """A process on the campus's client host, for as long as a `with` block."""

    def __init__(self, campus, transport, server):
        self.campus, self.transport, self.server = campus, transport, server

    def __enter__(self):
        host = self.campus.client
        if SOURCE not in host.ip("-6", "addr").stdout:
            host.ip("addr", "add", f"{SOURCE}/64", "dev", "lan")
        self.began = time.monotonic()
        self.process = host.start(f"flood-{self.transport}", sys.executable, "-u",
                                  os.path.abspath(__file__), self.transport, SOURCE, self.server,
                                  "3653")
        self.process.wait_for_log("flooding")
        return self

    def __exit__(self, kind, error, trace):
        self.process.stop()
        self.asked = json.loads(self.process.output().strip().split("\n")[-1])["asked"]
        self.per_second = self.asked / (time.monotonic() - self.began)


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def creates(campus, server, count):
    """Seconds from the connection to the address, for each of `count` whole dialogues."""
    import tsp

    taken = []
    for _ in range(count):
        began = time.monotonic()
        peer = tsp.Dialogue(campus.client.connect(server, 3653, source=campus_client()))
        peer.login_anonymous()
        peer.create(campus_client(), host="well-behaved")
        status, text, _ = peer.framed()
        assert status == 200, (status, text)
        peer.accept()
        taken.append(time.monotonic() - began)
        peer.delete(host="well-behaved")
        assert peer.framed()[0] == 200
        peer.close()
    return taken


def campus_client():
    import campus

    return campus.CLIENT


def flood_tcp(source, server, port, is_over):
    asked = 0
    while not is_over():
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as connection:
            connection.bind((source, 0))
            connection.settimeout(1)
            try:
                connection.connect((server, port))
                connection.sendall(DIALOGUE)
                connection.recv(4096)
            except OSError:
                pass
        asked += 1
    return asked


DIALOGUE_BY_UDP = (b"VERSION=2.0.0\r\n", b"AUTHENTICATE ANONYMOUS\r\n")


def flood_udp(source, server, port, is_over, messages=DIALOGUE_BY_UDP):
    from tsp_udp import packet

    sockets = []
    for _ in range(64):
        sockets.append(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        sockets[-1].bind((source, 0))
        sockets[-1].setblocking(False)
    asked = 0
    while not is_over():
        for connection in sockets:
            sequence = asked * 16 & 0xfffffff
            for number, data in enumerate(messages):
                try:
                    connection.sendto(packet(sequence + number, 0, data), (server, port))
                except BlockingIOError:
                    pass
            asked += 1
    return asked


def flood_echo(source, server, port, is_over):
    return flood_udp(source, server, port, is_over, (b"ECHO REQUEST",))


def main(transport, source, server, port):
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    print("flooding")
    flood = {"tcp": flood_tcp, "udp": flood_udp, "echo": flood_echo}[transport]
    print(json.dumps({"asked": flood(source, server, int(port), lambda: bool(over))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
