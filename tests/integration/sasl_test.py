"""Each SASL mechanism against Cyrus's own client library and against bytes that are written down
here, on the clear port and on the one with TLS; GSSAPI with a KDC of MIT Kerberos."""

import base64
import hashlib
import hmac
import json
import os
import ssl
import sys

import campus as c
import support
import tsp
from sasl_campus import HOST, PASSWORD, TLS_PORT, SaslCampus

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cyrus.py")
PASSWORDS = ("SCRAM-SHA-256", "DIGEST-MD5", "PLAIN")


class Sasl(SaslCampus):
    def cyrus(self, mechanism, environment=None, **wanted):
        wanted = {"host": c.BROKER, "port": TLS_PORT if "tls" in wanted else 3653,
                  "mechanism": mechanism, **wanted}
        done = self.campus.client.run(sys.executable, PROGRAM, json.dumps(wanted),
                                      env={**os.environ, **(environment or {})})
        return json.loads(done.stdout)

    def connect_tls(self, name=None, place="pki"):
        files = self.tls(name, place)
        context = ssl.create_default_context(cafile=files["ca"])
        if name is not None:
            context.load_cert_chain(files["certificate"], files["key"])
        connection = context.wrap_socket(self.campus.client.connect(c.BROKER, TLS_PORT),
                                         server_hostname=c.BROKER)
        self.addCleanup(connection.close)
        return tsp.Dialogue(connection)

    # --- Cyrus's client library -----------------------------------------------------------------

    def test_cyrus_logs_in_with_each_password_mechanism(self):
        for mechanism in PASSWORDS:
            with self.subTest(mechanism):
                outcome = self.cyrus(mechanism, user="alice", password=PASSWORD, realm=c.REALM,
                                     tls=self.tls())
                self.assertEqual(outcome["status"], 200, outcome)
                self.assertTrue(outcome["verified"], "the server has proved itself")
                self.assertEqual(self.user_of_last_login(), "alice")
        for mechanism in ("SCRAM-SHA-256", "DIGEST-MD5"):
            outcome = self.cyrus(mechanism, user="alice", password=PASSWORD, realm=c.REALM)
            self.assertEqual(outcome["status"], 200, mechanism + " in clear")

    def test_cyrus_with_a_wrong_password_gets_300(self):
        for mechanism in PASSWORDS:
            with self.subTest(mechanism):
                outcome = self.cyrus(mechanism, user="alice", password="wrong", realm=c.REALM,
                                     tls=self.tls())
                self.assertEqual(outcome["status"], 300, outcome)

    def test_cyrus_anonymous(self):
        self.assertEqual(self.cyrus("ANONYMOUS", user="someone")["status"], 200)

    def test_cyrus_gssapi_with_tickets_of_the_kdc(self):
        cache = self.kdc.path("carol.cache")
        self.kdc.log_in(self.campus.client, "carol", self.user_keytab, cache)
        environment = {"KRB5CCNAME": cache}
        outcome = self.cyrus("GSSAPI", environment, user="carol", **{"service-host": HOST})
        self.assertEqual(outcome["status"], 200, outcome)
        self.assertGreaterEqual(outcome["rounds"], 2, "the token, and the offer of layers")
        self.assertEqual(outcome["layer"], 0, "TSP has no place for a security layer")
        self.assertEqual(self.user_of_last_login(), "carol")
        self.assertTrue(self.cyrus("GSSAPI", environment, user="carol", layer=56,
                                   **{"service-host": HOST}).get("client-refused"))
        self.assertEqual(self.cyrus("GSSAPI", environment, user="alice",
                                    **{"service-host": HOST})["status"], 300, "not her name")

    def test_cyrus_gssapi_without_tickets_does_not_begin(self):
        outcome = self.cyrus("GSSAPI", {"KRB5CCNAME": self.kdc.path("none")}, user="carol",
                             **{"service-host": HOST})
        self.assertTrue(outcome.get("client-refused"))

    def test_gssapi_tokens_that_are_none_get_300(self):
        for token in (b"", b"nonsense", bytes(1000)):
            with self.subTest(token=token[:8]):
                peer = self.dialogue()
                peer.send(b"AUTHENTICATE GSSAPI\r\n" + base64.b64encode(token) + b"\r\n")
                line = peer.line()
                # An empty one may be taken for a request to begin.
                if not line[:3].isdigit():
                    peer.send(base64.b64encode(b"nonsense") + b"\r\n")
                    line = peer.line()
                self.assertTrue(line.startswith("300 "), line)

    # --- bytes ----------------------------------------------------------------------------------

    def dialogue(self):
        peer = tsp.Dialogue(self.campus.client.connect(c.BROKER, 3653))
        self.addCleanup(peer.close)
        peer.send("VERSION=2.0.0\r\n")
        self.assertEqual(peer.line(), "CAPABILITY TUNNEL=V4V6 AUTH=SCRAM-SHA-256 AUTH=GSSAPI "
                                      "AUTH=DIGEST-MD5 AUTH=ANONYMOUS")
        return peer

    def test_scram_by_the_arithmetic_of_rfc_5802(self):
        peer = self.dialogue()
        bare = "n=alice,r=fyko+d2lbbFgONRv9qkxdawL"
        peer.send(b"AUTHENTICATE SCRAM-SHA-256\r\n" + base64.b64encode(b"n,," + bare.encode())
                  + b"\r\n")
        challenge = base64.b64decode(peer.line()).decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        self.assertTrue(fields["r"].startswith("fyko+d2lbbFgONRv9qkxdawL"))
        self.assertGreaterEqual(int(fields["i"]), 4096)
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(fields["s"]),
                                     int(fields["i"]))

        def keyed(key, text):
            return hmac.digest(key, text.encode(), "sha256")

        final = f"c=biws,r={fields['r']}"
        signed = f"{bare},{challenge},{final}"
        client_key = keyed(salted, "Client Key")
        signature = keyed(hashlib.sha256(client_key).digest(), signed)
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
        peer.send(base64.b64encode(f"{final},p={proof}".encode()) + b"\r\n")
        server = base64.b64encode(keyed(keyed(salted, "Server Key"), signed)).decode()
        self.assertEqual(base64.b64decode(peer.line()).decode(), f"v={server}")
        self.assertEqual(peer.line(), "200 Success")

    def test_anonymous_with_and_without_trace_and_old_nul(self):
        for line in (b"AUTHENTICATE ANONYMOUS\r\n", b"AUTHENTICATE ANONYMOUS\r\n\0",
                     b"AUTHENTICATE ANONYMOUS " + base64.b64encode(b"me@example") + b"\r\n"):
            peer = self.dialogue()
            peer.send(line)
            self.assertEqual(peer.line(), "200 Success", line)

    def test_plain_is_offered_on_tls_only(self):
        peer = self.dialogue()
        peer.send(b"AUTHENTICATE PLAIN\r\n\0alice\0" + PASSWORD.encode() + b"\r\n")
        self.assertTrue(peer.line().startswith("300 "))
        peer = self.connect_tls()
        peer.send("VERSION=2.0.0\r\n")
        self.assertEqual(peer.line(), "CAPABILITY TUNNEL=V4V6 AUTH=SCRAM-SHA-256 AUTH=GSSAPI "
                                      "AUTH=DIGEST-MD5 AUTH=PLAIN AUTH=ANONYMOUS")
        peer.send(b"AUTHENTICATE PLAIN\r\n\0alice\0" + PASSWORD.encode() + b"\r\n")
        self.assertEqual(peer.line(), "200 Success")

    def test_external_is_offered_to_who_shows_a_certificate_and_takes_its_name(self):
        # One line, two lines, and the authorization identity that is one's own.
        for lines in (b"AUTHENTICATE EXTERNAL =\r\n", b"AUTHENTICATE EXTERNAL\r\n\r\n",
                      b"AUTHENTICATE EXTERNAL\r\n" + base64.b64encode(b"dave") + b"\r\n"):
            with self.subTest(lines):
                peer = self.connect_tls("dave")
                peer.send("VERSION=2.0.0\r\n")
                self.assertIn("TUNNEL=V4V6 AUTH=EXTERNAL AUTH=SCRAM-SHA-256", peer.line())
                peer.send(lines)
                self.assertEqual(peer.line(), "200 Success")
                self.assertEqual(self.user_of_last_login(), "dave")
        peer = self.connect_tls("dave")
        peer.send("VERSION=2.0.0\r\nAUTHENTICATE EXTERNAL\r\n"
                  + base64.b64encode(b"alice").decode() + "\r\n")
        peer.line()
        self.assertTrue(peer.line().startswith("300 "), "nobody acts for another")
        peer = self.connect_tls()
        peer.send("VERSION=2.0.0\r\nAUTHENTICATE EXTERNAL =\r\n")
        self.assertNotIn("EXTERNAL", peer.line())
        self.assertTrue(peer.line().startswith("300 "), "without a certificate there is none")

    def test_a_certificate_of_another_ca_is_refused_in_the_handshake(self):
        with self.assertRaises((ssl.SSLError, ConnectionError, tsp.Closed)):
            peer = self.connect_tls("mallory", "foreign")
            peer.send("VERSION=2.0.0\r\n")
            peer.line()

    def test_a_tunnel_over_tls_is_the_certificates_users(self):
        peer = self.connect_tls("dave")
        peer.send("VERSION=2.0.0\r\nAUTHENTICATE EXTERNAL =\r\n")
        peer.line()
        self.assertEqual(peer.line(), "200 Success")
        peer.create(c.CLIENT)
        self.assertEqual(peer.framed()[0], 200)
        peer.accept()
        c.wait_for("it is dave's", lambda: self.campus.audit()
                   and self.campus.audit()[-1]["user"] == "dave")
        peer.delete()
        self.assertEqual(peer.framed()[0], 200)

    # --- the TLS port's own bad input ------------------------------------------------------------

    def test_who_speaks_no_tls_there_is_closed_in_time(self):
        for name, data in (("TSP", b"VERSION=2.0.0\r\n"), ("nothing", b""),
                           ("half a hello", b"\x16\x03\x01\x02\x00\x01\x00"),
                           ("noise", os.urandom(2000))):
            with self.subTest(name):
                connection = self.campus.client.connect(c.BROKER, TLS_PORT, timeout=8)
                self.addCleanup(connection.close)
                connection.sendall(data)
                try:
                    while connection.recv(4096):
                        pass
                except ConnectionResetError:
                    pass
        self.connect_tls().send("VERSION=2.0.0\r\n")
        self.assertTrue(self.campus.server.alive())

    def test_older_tls_is_refused(self):
        context = ssl.create_default_context(cafile=self.campus.path("pki/ca.crt"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(self.campus.client.connect(c.BROKER, TLS_PORT),
                                server_hostname=c.BROKER)

    def test_the_end_over_tls_is_in_good_order(self):
        peer = self.connect_tls()
        peer.send("VERSION=1.0\r\n")
        self.assertTrue(peer.line().startswith("302 "))
        self.assertTrue(peer.at_end(), "close_notify, not a cut")


if __name__ == "__main__":
    support.main()
