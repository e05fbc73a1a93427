"""A TSP peer over UDP as deployed clients are: eight bytes of header, one message a datagram, the
next when the reply to the last has come (RFC 5572 s4.4.1.2, and what gogoCLIENT does with it)."""

import base64
import hashlib
import re
import struct

FIRST_SEQUENCE = 0xf0


def packet(sequence, timestamp, data):
    data = data if isinstance(data, bytes) else data.encode()
    return struct.pack("!II", 0xf0000000 | sequence, timestamp) + data


def body_of(reply):
    """(code, XML) of one framed reply, whose length must be right."""
    header, _, rest = reply.partition(b"\r\n")
    assert re.fullmatch(rb"Content-length: \d+", header), header
    assert int(header.split()[1]) == len(rest), reply
    status, _, xml = rest.partition(b"\r\n")
    return int(status.split()[0]), xml.decode()


def framed(xml):
    body = xml.encode() + b"\r\n"
    return b"Content-length: %d\r\n" % len(body) + body


def digest_response(challenge, user, password, uri):
    """RFC 2831 md5-sess by hand, so that nothing of Cyrus's stands on both sides."""
    fields = {key: quoted or bare for key, quoted, bare in
              re.findall(r'([a-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^,"]*))', challenge)}
    realm, nonce, cnonce, count = fields["realm"], fields["nonce"], "1113923311", "00000001"

    def md5(data):
        return hashlib.md5(data if isinstance(data, bytes) else data.encode())

    secret = md5(f"{user}:{realm}:{password}").digest()
    a1 = md5(secret + f":{nonce}:{cnonce}".encode()).hexdigest()
    tail = f"{nonce}:{count}:{cnonce}:auth"
    response = md5(f"{a1}:{tail}:{md5('AUTHENTICATE:' + uri).hexdigest()}").hexdigest()
    proof = md5(f"{a1}:{tail}:{md5(':' + uri).hexdigest()}").hexdigest()
    line = (f'username="{user}",realm="{realm}",nonce="{nonce}",cnonce="{cnonce}",nc={count},'
            f'qop=auth,digest-uri="{uri}",response={response},charset=utf-8')
    return line, f"rspauth={proof}"


class Peer:
    """`socket` is connected. `copies`: how often each datagram goes out and is answered."""

    def __init__(self, socket, copies=1, first=FIRST_SEQUENCE):
        self.socket = socket
        self.copies = copies
        self.sequence = first
        self.clock = 1000

    def close(self):
        self.socket.close()

    def exchange(self, data):
        """The reply's data. Every copy must bring the same, with its own timestamp."""
        data = data if isinstance(data, bytes) else data.encode()
        sequence = self.sequence
        self.sequence = (self.sequence + 1) & 0x0fffffff
        replies = []
        for _ in range(self.copies):
            self.clock += 2000
            self.socket.send(packet(sequence, self.clock, data))
            replies.append(self.receive(sequence, self.clock))
        assert len(set(replies)) == 1, replies
        return replies[0]

    def receive(self, sequence, timestamp):
        reply = self.socket.recv(65536)
        assert reply[:8] == packet(sequence, timestamp, b""), reply[:8].hex()
        return reply[8:]

    def version(self):
        capability = self.exchange("VERSION=2.0.2\r\n")
        assert re.fullmatch(rb"CAPABILITY( TUNNEL=[A-Z0-9]+)+( AUTH=[A-Z0-9-]+)+\r\n", capability)
        return capability

    def login_anonymous(self):
        self.version()
        answer = self.exchange(b"AUTHENTICATE ANONYMOUS\r\n\0")
        assert answer.startswith(b"200"), answer

    def login_plain(self, user, password):
        self.version()
        assert self.exchange(b"AUTHENTICATE PLAIN\r\n\0") == b""
        return self.exchange(f"\0{user}\0{password}\r\n")

    def login_digest(self, user, password, uri):
        self.version()
        challenge = base64.b64decode(self.exchange(b"AUTHENTICATE DIGEST-MD5\r\n\0")).decode()
        response, proof = digest_response(challenge, user, password, uri)
        line = self.exchange(base64.b64encode(response.encode()) + b"\r\n")
        if line[:3].isdigit():
            return line
        assert base64.b64decode(line).decode() == proof
        return self.exchange(b"")

    def create(self, address, keepalive=30):
        return body_of(self.exchange(framed(
            '<tunnel action="create" type="v4v6" proxy="no">\n <client>\n'
            f'  <address type="ipv6">{address}</address>\n  <keepalive interval="{keepalive}">\n'
            '    <address type="ipv4">127.0.0.1</address>\n  </keepalive>\n </client>\n'
            '</tunnel>')))

    def accept(self):
        return self.exchange(b"Content-length: 35\r\n<tunnel action=\"accept\"></tunnel>\r\n")
