#!/usr/bin/env python3
"""How a client says who it is, against the real server: a password from three places, a
certificate, a Kerberos ticket. And that no password is to be seen."""

import base64
import glob
import json
import os
import signal
import time

import campus as c
import support
from sasl_campus import HOST, PASSWORD, TLS_PORT, SaslCampus


class ClientIdentity(SaslCampus):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # What `ip netns exec` lays over /etc.
        cls.etc = f"/etc/netns/{cls.campus.client.namespace}"
        os.makedirs(cls.etc)
        cls.addClassCleanup(os.rmdir, cls.etc)
        with open(f"{cls.etc}/hosts", "w") as hosts:
            hosts.write(f"{c.BROKER} {HOST}\n")
        cls.addClassCleanup(os.unlink, f"{cls.etc}/hosts")

    def start(self, environment=None, **changes):
        user = changes.pop("user", None)
        # At this level whatever could say too much says it.
        path = self.campus.client_configuration(**{"log-level": "debug", **changes})
        if user is not None:
            with open(path) as file:
                configuration = json.load(file)
            configuration["dstm-client"]["user"] = user
            self.campus.write("dstm-client.conf", configuration)
        client = self.campus.client.start("dstm-client", self.campus.binary("dstm-client"), "run",
                                          "-c", path, env=environment)
        self.addCleanup(client.kill)
        return client

    def must_be(self, user, client):
        client.wait_for_log("CLIENT_UP")
        self.assertEqual(self.user_of_last_login(), user)
        self.campus.client.run("ping", "-c", "1", "-W", "5", c.WEB)
        self.assertEqual([lease["user"] for lease in self.users()], [user])
        self.must_hide(PASSWORD, client)
        self.assertEqual(client.stop(), 0)
        self.must_hide(PASSWORD)

    def must_hide(self, password, client=None):
        """Neither readable nor as SASL sends it: in no log, in no record, on no command line."""
        spellings = (password.encode(), base64.b64encode(password.encode()),
                     base64.b64encode(f"\0alice\0{password}".encode()))
        kept = glob.glob(self.campus.path("*.log")) + glob.glob(self.campus.path("*.jsonl")) + \
            glob.glob(self.campus.path("*.state/*"))
        self.assertGreater(len(kept), 5)
        for path in kept + ([f"/proc/{client.pid}/cmdline"] if client else []):
            with open(path, "rb") as file:
                text = file.read()
            for spelling in spellings:
                self.assertNotIn(spelling, text, path)

    def users(self):
        return [line for line in self.campus.audit() if line["event"] == "started"][-1:]

    def secret(self, name, mode, password=PASSWORD):
        path = self.campus.path(name)
        if os.path.exists(path):
            os.unlink(path)
        self.campus.write(name, password)
        os.chmod(path, mode)
        return path

    # --- passwords -------------------------------------------------------------------------------

    def test_password_of_a_file(self):
        for mechanism in ("SCRAM-SHA-256", "DIGEST-MD5"):
            with self.subTest(mechanism):
                self.must_be("alice", self.start(
                    user="alice", mechanisms=[mechanism],
                    **{"password-file": self.secret("password", 0o600)}))

    def test_password_that_is_refused_is_not_shown_either(self):
        wrong = "looking glass"
        for mechanism in ("SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"):
            with self.subTest(mechanism):
                tls = {"port": TLS_PORT, "tls": self.tls()} if mechanism == "PLAIN" else {}
                client = self.start(
                    user="alice", mechanisms=[mechanism], **tls,
                    **{"password-file": self.secret("wrong-password", 0o600, wrong)})
                client.wait_for_log("CLIENT_RETRY")
                self.must_hide(wrong, client)
                self.assertEqual(client.stop(), 0)

    def test_password_file_that_others_can_read_is_refused(self):
        client = self.start(user="alice", mechanisms=["SCRAM-SHA-256"],
                            **{"password-file": self.secret("open-password", 0o644)})
        self.assertEqual(client.popen.wait(10), 2)
        self.assertIn("chmod 0600", client.output())

    def test_password_of_a_systemd_credential(self):
        os.makedirs(self.campus.path("credentials"), exist_ok=True)
        self.secret("credentials/dstm-password", 0o400)
        environment = {"CREDENTIALS_DIRECTORY": self.campus.path("credentials"),
                       "DSTM_PASSWORD": "another"}
        self.must_be("alice", self.start(environment, user="alice", mechanisms=["SCRAM-SHA-256"]))

    def test_password_of_the_environment(self):
        self.must_be("alice", self.start({"DSTM_PASSWORD": PASSWORD}, user="alice",
                                         mechanisms=["SCRAM-SHA-256"]))

    def test_no_password_anywhere_is_said_at_once(self):
        client = self.start(user="alice", mechanisms=["SCRAM-SHA-256"])
        self.assertEqual(client.popen.wait(10), 2)
        self.assertIn("no password", client.output())

    # --- certificate and ticket ------------------------------------------------------------------

    def test_certificate_over_tls(self):
        self.must_be("dave", self.start(port=TLS_PORT, tls=self.tls("dave"),
                                        mechanisms=["EXTERNAL"]))

    def test_certificate_of_a_foreign_ca_gets_no_lease(self):
        client = self.start(port=TLS_PORT, tls=self.tls("mallory", "foreign"),
                            mechanisms=["EXTERNAL"])
        client.wait_for_log("CLIENT_RETRY")
        self.assertNotIn("CLIENT_UP", client.output())

    def test_server_of_another_name_is_not_believed(self):
        tls = {**self.tls("dave"), "server-name": "other.campus.example"}
        logins = self.campus.server.output().count("AUTH_SUCCEEDED")
        client = self.start(port=TLS_PORT, tls=tls, mechanisms=["EXTERNAL"])
        client.wait_for_log("CLIENT_RETRY")
        self.assertEqual(self.campus.server.output().count("AUTH_SUCCEEDED"), logins)

    def test_kerberos_ticket(self):
        cache = self.kdc.path("client.cache")
        self.kdc.log_in(self.campus.client, "carol", self.user_keytab, cache)
        self.must_be("carol", self.start({"KRB5CCNAME": cache}, server=HOST,
                                         mechanisms=["GSSAPI"]))

    def test_ticket_that_a_keytab_is_good_for(self):
        # A host without a user: nobody runs kinit, the library fetches the ticket itself.
        cache = self.kdc.path("of-keytab.cache")
        self.must_be("carol", self.start({"KRB5_CLIENT_KTNAME": self.user_keytab,
                                          "KRB5CCNAME": f"FILE:{cache}"}, server=HOST,
                                         mechanisms=["GSSAPI"]))
        self.assertTrue(os.path.exists(cache))

    def test_client_ends_at_once_while_the_kerberos_server_is_silent(self):
        environment = {"KRB5_CLIENT_KTNAME": self.user_keytab,
                       "KRB5CCNAME": f"FILE:{self.kdc.path('never.cache')}"}
        kdc = next(one for one in self.campus.processes if one.name == "krb5kdc")
        os.kill(kdc.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, kdc.pid, signal.SIGCONT)
        client = self.start(environment, server=HOST, mechanisms=["GSSAPI"])
        c.wait_for("it asks the Kerberos server", lambda: self.campus.client.run(
            "ss", "-Htun", "dport", "=", ":88").stdout)
        began = time.monotonic()
        self.assertEqual(client.stop(), 0)
        self.assertLess(time.monotonic() - began, 1)

    def test_no_ticket_no_lease(self):
        client = self.start({"KRB5CCNAME": self.kdc.path("none")}, server=HOST,
                            mechanisms=["GSSAPI"])
        client.wait_for_log("CLIENT_RETRY")
        self.assertNotIn("CLIENT_UP", client.output())


if __name__ == "__main__":
    support.main()
