"""An endpoint made of bytes: WebSocket (RFC 6455) over the server's UNIX socket and JSON-RPC in it
(docs/wire/endpoint-link.md). Says what a test says, keeps what comes."""

import base64
import json
import os
import socket
import struct


class FakeEndpoint:
    def __init__(self, path, name="tep9", types=("v4v6", "v6udpv4"), **hello):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.settimeout(10)
        self.connection.connect(path)
        self.buffer = b""
        self.shake_hands()
        self.ask("hello", {"protocol": 1, "name": name, "group": "fake", "types": list(types),
                           "outer-ipv6": "2001:db8:9::1", "outer-ipv4": "198.51.100.1",
                           "inner-ipv4": "192.0.3.1", "pools": [], "data-plane": "tun",
                           "tunnels": 0, **hello})
        answer = self.receive()
        assert "result" in answer, answer

    def close(self):
        self.connection.close()

    def shake_hands(self):
        key = base64.b64encode(os.urandom(16)).decode()
        self.connection.sendall((
            "GET /dstm/endpoint HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: dstm-endpoint.1\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def more(self):
        part = self.connection.recv(65536)
        if not part:
            raise ConnectionError("the server closed the link")
        self.buffer += part

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def send(self, message):
        data = json.dumps(message).encode()
        size = (bytes([0x80 | len(data)]) if len(data) < 126
                else b"\xfe" + struct.pack("!H", len(data)))
        # A mask of zeros leaves the data as it is.
        self.connection.sendall(b"\x81" + size + bytes(4) + data)

    def ask(self, method, parameters, number=1):
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters})

    def receive(self):
        """The next text frame as JSON; pings are passed over."""
        while True:
            head = self.take(2)
            size = head[1] & 0x7f
            if size >= 126:
                size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
            data = self.take(size)
            if head[0] & 0x0f == 1:
                return json.loads(data)

    def serve(self, message):
        """Says yes to what the server asks."""
        result = {"results": [{"ok": True} for _ in message["params"].get("tunnels", ())]}
        if message["method"] == "sync":
            result = {"installed": 0, "unchanged": 0, "removed": 0}
        self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def relay(self, peer, port, data):
        self.send({"jsonrpc": "2.0", "method": "datagram",
                   "params": {"peer": peer, "port": port,
                              "data": base64.b64encode(data).decode()}})

    def reply(self):
        """(peer, port, data) of the next datagram; what else the server asks is answered."""
        while True:
            message = self.receive()
            if message.get("method") == "datagram":
                parameters = message["params"]
                return (parameters["peer"], parameters["port"],
                        base64.b64decode(parameters["data"], validate=True))
            if "id" in message and "method" in message:
                self.serve(message)
