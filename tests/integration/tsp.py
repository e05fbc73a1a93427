"""A TSP peer made of bytes: sends what a test says, splits what comes back (RFC 5572 s4.4)."""

import re


class Closed(Exception):
    """The server closed the connection."""


class Dialogue:
    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""

    def close(self):
        self.connection.close()

    def send(self, data):
        self.connection.sendall(data if isinstance(data, bytes) else data.encode())

    def more(self):
        part = self.connection.recv(65536)
        if not part:
            raise Closed(self.buffer.decode(errors="replace"))
        self.buffer += part

    def line(self):
        """One bare line without its end."""
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode()

    def framed(self):
        """(code, text of the status line, XML) of one framed reply."""
        header = self.line()
        match = re.fullmatch(r"Content-length: (\d+)", header)
        if match is None:
            raise AssertionError(f"not a framed reply: {header!r}")
        size = int(match.group(1))
        while len(self.buffer) < size:
            self.more()
        body, self.buffer = self.buffer[:size].decode(), self.buffer[size:]
        status, _, xml = body.partition("\r\n")
        code, _, text = status.partition(" ")
        return int(code), text, xml

    def at_end(self):
        """True when the server closes without a further byte."""
        if self.buffer:
            return False
        return self.connection.recv(1) == b""

    def command(self, xml):
        body = xml + "\r\n"
        self.send(f"Content-length: {len(body.encode())}\r\n{body}")

    def login_anonymous(self):
        self.send("VERSION=2.0.0\r\n")
        capability = self.line()
        assert capability.startswith("CAPABILITY "), capability
        self.send("AUTHENTICATE ANONYMOUS\r\n")
        answer = self.line()
        assert answer.startswith("200"), answer

    def login_plain(self, user, password):
        self.send("VERSION=2.0.0\r\n")
        self.line()
        self.send(f"AUTHENTICATE PLAIN\r\n\0\0{user}\0{password}\r\n")
        return self.line()

    def create(self, address, kind="v4v6", host=None, keepalive=None):
        extension = f'<host id="{host}"></host>' if host else ""
        wish = ""
        if keepalive is not None:
            wish = (f'<keepalive interval="{keepalive}"><address type="ipv4">127.0.0.1</address>'
                    "</keepalive>")
        self.command(f'<tunnel action="create" type="{kind}" proxy="no"><client>'
                     f'<address type="ipv6">{address}</address>{wish}</client>{extension}</tunnel>')

    def accept(self):
        self.send("Content-length: 35\r\n<tunnel action=\"accept\"></tunnel>\r\n")

    def delete(self, host=None):
        extension = f'<host id="{host}"></host>' if host else ""
        self.command(f'<tunnel action="delete" type="v4v6">{extension}</tunnel>')


def leased_address(xml):
    """The IPv4 address in the client element of an info."""
    client = re.search(r"<client>(.*)</client>", xml, re.S).group(1)
    return re.search(r'<address type="ipv4"[^>]*>([^<]*)</address>', client).group(1)
