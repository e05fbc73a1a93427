"""What deployed clients put on the wire, byte for byte, against the real server: NULs, raw PLAIN,
DIGEST-MD5 with the receives of gogoCLIENT, keepalive wishes, and IPv4 signalling."""

import base64
import hashlib
import re
import time
import unittest

import campus as c
import support
import tsp

PASSWORD = "wonder land"


def md5(data):
    return hashlib.md5(data.encode() if isinstance(data, str) else data)


def digest_responses(user, realm, password, nonce, uri, cnonce="1113923311", nc="00000001"):
    """RFC 2831 s2.1.2.1, md5-sess, qop auth: (response, rspauth)."""
    a1 = md5(f"{user}:{realm}:{password}").digest() + f":{nonce}:{cnonce}".encode()
    start = f"{md5(a1).hexdigest()}:{nonce}:{nc}:{cnonce}:auth:"
    return tuple(md5(start + md5(verb + ":" + uri).hexdigest()).hexdigest()
                 for verb in ("AUTHENTICATE", ""))


class DeployedClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.campus = c.Campus(plain=True, mechanisms=("DIGEST-MD5", "PLAIN", "ANONYMOUS"))
        cls.addClassCleanup(cls.campus.close)
        for user in ("alice", "al\"ice\\"):
            cls.campus.add_user(user, PASSWORD)
        cls.campus.start_daemons()

    def dialogue(self):
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        self.addCleanup(peer.close)
        peer.send("VERSION=2.0.2\r\n")
        self.assertEqual(peer.line(),
                         "CAPABILITY TUNNEL=V4V6 AUTH=DIGEST-MD5 AUTH=PLAIN AUTH=ANONYMOUS")
        return peer

    def test_the_figures_of_the_rfc_come_out_of_our_own_arithmetic(self):
        self.assertEqual(digest_responses("username1", "hexos", "password", "1113908968",
                                          "tsp/hexos"),
                         ("f8e42b3c50c59771853f6274fcffd1ca", "70d5cabc9235568be380ba2c907381fe"))

    def test_digest_md5_in_two_receives_with_the_configured_server_name_verbatim(self):
        for user, delay in (("alice", 0), ("al\"ice\\", 0.05)):
            with self.subTest(user=user, reader_comes_after=delay):
                peer = self.dialogue()
                peer.send(b"AUTHENTICATE DIGEST-MD5\r\n\0")
                challenge = base64.b64decode(peer.line()).decode()
                nonce = re.search(r'nonce="([^"]+)"', challenge).group(1)
                realm = re.search(r'realm="([^"]+)"', challenge).group(1)
                self.assertEqual(realm, c.REALM)
                self.assertRegex(challenge, r'qop="?auth')
                self.assertIn("charset=utf-8", challenge)
                self.assertNotIn(", ", challenge)
                uri = f"tsp/[{c.BROKER}]:3653"
                response, proof = digest_responses(user, realm, PASSWORD, nonce, uri)
                quoted = user.replace("\\", "\\\\").replace('"', '\\"')
                answer = (f'charset=utf-8,username="{quoted}",realm="{realm}",nonce="{nonce}",'
                          f'nc=00000001,cnonce="1113923311",digest-uri="{uri}",'
                          f"response={response},qop=auth")
                peer.send(base64.b64encode(answer.encode()) + b"\r\n")
                late = time.monotonic() + delay
                c.wait_for("the reader comes late", lambda: time.monotonic() >= late)
                # One receive each: together they would leave the old client waiting for ever.
                first = peer.connection.recv(4096)
                second = peer.connection.recv(4096)
                self.assertEqual(base64.b64decode(first).decode(), f"rspauth={proof}")
                self.assertTrue(first.endswith(b"\r\n"))
                self.assertEqual(second, b"200 Success\r\n")

    def test_plain_is_raw_and_may_share_the_segment_of_its_mechanism(self):
        for name, before in (("same segment", b""), ("with the NUL", b"\0")):
            with self.subTest(name):
                peer = self.dialogue()
                credentials = b"\0alice\0" + PASSWORD.encode()
                peer.send(b"AUTHENTICATE PLAIN\r\n" + before + credentials + b"\r\n")
                self.assertEqual(peer.line(), "200 Success")

    def test_the_reply_to_v4v6_is_what_the_old_parser_reads(self):
        peer = self.dialogue()
        peer.send(b"AUTHENTICATE ANONYMOUS\r\n\0")
        self.assertEqual(peer.line(), "200 Success")
        peer.create(c.CLIENT, keepalive=30)
        status, _, xml = peer.framed()
        self.assertEqual(status, 200)
        self.assertNotIn("<?xml", xml)
        self.assertNotIn("'", xml)
        self.assertNotIn("<!--", xml)
        self.assertNotRegex(xml, r"<lease[^>]*/>")
        for party in ("server", "client"):
            element = re.search(f"<{party}>(.*)</{party}>", xml, re.S).group(1)
            self.assertRegex(element, r'<address type="ipv4"[^>]*>\d+\.\d+\.\d+\.\d+</address>')
            self.assertRegex(element, r'<address type="ipv6">[0-9a-f:]+</address>')
        self.assertIn('lifetime="60"', xml)
        keepalive = re.search(r'<keepalive interval="30">(.*?)</keepalive>', xml, re.S).group(1)
        self.assertIn(f'<address type="ipv4">{c.INNER}</address>', keepalive)
        self.assertNotIn("127.0.0.1", xml)
        peer.accept()
        peer.delete()
        self.assertEqual(peer.framed()[0], 200)

    def test_ipv4_peers_are_heard_too(self):
        with self.campus.broker.connect("127.0.0.1", 3653) as connection:
            peer = tsp.Dialogue(connection)
            peer.login_anonymous()
            peer.create(c.CLIENT)
            self.assertEqual(peer.framed()[0], 502)  # its packets do not come from there


if __name__ == "__main__":
    support.main()
