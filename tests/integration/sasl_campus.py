"""A campus whose server takes every SASL mechanism, in clear and over TLS, with a KDC of MIT
Kerberos: alice has a password, carol a ticket, dave a certificate, mallory one of a foreign CA."""

import json
import os
import shutil
import unittest

import campus as c
import kdc

PASSWORD = "wonder land"
HOST = "tsp.campus.example"
TLS_PORT = 3655


class SaslCampus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if shutil.which("krb5kdc") is None:
            raise unittest.SkipTest("krb5kdc is not installed")
        cls.campus = c.Campus(
            mechanisms=("SCRAM-SHA-256", "GSSAPI", "DIGEST-MD5", "PLAIN", "ANONYMOUS"),
            server_limits={"phase-timeout": 2})
        cls.addClassCleanup(cls.campus.close)
        cls.campus.add_user("alice", PASSWORD)
        cls.kdc = kdc.Kdc(cls.campus, cls.campus.broker, c.BROKER)
        keytab = cls.kdc.add(f"tsp/{HOST}")
        cls.user_keytab = cls.kdc.add("carol")
        cls.kdc.start()
        cls.make_certificates()
        cls.change_server(keytab)
        cls.campus.start_kea()
        os.environ["KRB5_CONFIG"] = cls.kdc.path("krb5.conf")
        cls.addClassCleanup(os.environ.pop, "KRB5_CONFIG")
        cls.campus.start_server()
        cls.campus.start_tep()
        cls.campus.wait_ready()

    @classmethod
    def make_certificates(cls):
        for name in ("pki", "foreign"):
            c.run(cls.campus.binary("dstmctl"), "pki", "init", "--directory", cls.campus.path(name))
        for name, address, place in (("dstm1", c.BROKER, "pki"), ("dave", "dave.example", "pki"),
                                     ("mallory", "mallory.example", "foreign")):
            c.run(cls.campus.binary("dstmctl"), "pki", "issue", name, address, "--directory",
                  cls.campus.path(place))

    @classmethod
    def change_server(cls, keytab):
        with open(cls.campus.path("dstm-server.conf")) as file:
            configuration = json.load(file)
        server = configuration["dstm-server"]
        server["sasl"].update({"hostname": HOST, "keytab": keytab, "plain-without-tls": False})
        pki = cls.campus.path("pki")
        server["tsp"]["tls"] = {"address": "::", "port": TLS_PORT,
                                "certificate": f"{pki}/dstm1.crt", "key": f"{pki}/dstm1.key",
                                "client-ca": f"{pki}/ca.crt"}
        cls.campus.write("dstm-server.conf", configuration)

    def tls(self, name=None, place="pki"):
        files = {"ca": self.campus.path("pki/ca.crt")}
        if name is not None:
            files |= {"certificate": self.campus.path(f"{place}/{name}.crt"),
                      "key": self.campus.path(f"{place}/{name}.key")}
        return files

    def user_of_last_login(self):
        lines = [line for line in self.campus.server.output().split("\n")
                 if "AUTH_SUCCEEDED" in line]
        return lines[-1].rsplit("user=", 1)[1].strip().strip('"')
