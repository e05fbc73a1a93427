"""A DNS server of the test's own, for what no real one does on demand: to answer late, or not at
all. It knows what it was told, answers that alone, and counts what it was asked."""

import socket
import struct
import threading

TYPES = {1: "A", 28: "AAAA", 33: "SRV"}
NO_ERROR, NO_NAME = 0x8180, 0x8183


def encode_name(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def encode_data(kind, value):
    if kind == "SRV":
        priority, weight, port, target = value.split()
        return struct.pack("!HHH", int(priority), int(weight), int(port)) + encode_name(target)
    return socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, value)


class SlowDns:
    def __init__(self, host, address, records, delay=0.0):
        """`records`: {(name, type): [value]}. `host` is a campus.Host that has the address."""
        self.records = records
        self.delay = delay
        self.is_silent = False
        self.asked = []
        self.socket = host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.socket.close()

    def serve(self):
        while True:
            try:
                question, peer = self.socket.recvfrom(512)
            except OSError:
                return
            parts, at = [], 12
            while question[at]:
                parts.append(question[at + 1:at + 1 + question[at]].decode())
                at += question[at] + 1
            name = ".".join(parts).lower()
            kind = TYPES.get(struct.unpack("!H", question[at + 1:at + 3])[0])
            self.asked.append((name, kind))
            if not self.is_silent:
                reply = self.reply(question[:2], question[12:at + 5], name, kind)
                threading.Timer(self.delay, self.send, (reply, peer)).start()

    def reply(self, number, question, name, kind):
        values = self.records.get((name, kind), [])
        is_known = any(known == name for known, _ in self.records)
        answers = b""
        for value in values:
            data = encode_data(kind, value)
            answers += struct.pack("!HHHIH", 0xc00c, {v: k for k, v in TYPES.items()}[kind], 1, 0,
                                   len(data)) + data
        header = struct.pack("!HHHHH", NO_ERROR if is_known else NO_NAME, 1, len(values), 0, 0)
        return number + header + question + answers

    def send(self, reply, peer):
        try:
            self.socket.sendto(reply, peer)
        except OSError:
            pass  # the test is over
