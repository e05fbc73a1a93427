"""A Kerberos realm of MIT Kerberos 5 on one host of a campus, with all of its files in a directory
of the test's."""

import os

import campus as c

REALM = "CAMPUS.EXAMPLE"
PORT = 88


class Kdc:
    def __init__(self, campus, host, address):
        self.campus, self.host = campus, host
        self.directory = campus.path("krb5")
        os.makedirs(self.directory)
        self.environment = {"KRB5_CONFIG": self.path("krb5.conf"),
                            "KRB5_KDC_PROFILE": self.path("kdc.conf")}
        self.write("krb5.conf", f"""[libdefaults]
 default_realm = {REALM}
 dns_lookup_realm = false
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 {REALM} = {{
  kdc = [{address}]:{PORT}
 }}
""")
        self.write("kdc.conf", f"""[realms]
 {REALM} = {{
  database_name = {self.path("principal")}
  key_stash_file = {self.path("stash")}
  kdc_listen = {PORT}
  kdc_tcp_listen = {PORT}
 }}
""")
        self.run("kdb5_util", "create", "-r", REALM, "-s", "-P", "master")

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w") as out:
            out.write(text)

    def run(self, *command, host=None, **options):
        return (host or self.host).run(*command, env={**os.environ, **self.environment}, **options)

    def add(self, principal):
        """Its keytab's path."""
        keytab = self.path(principal.replace("/", "-") + ".keytab")
        self.run("kadmin.local", "-r", REALM, "addprinc", "-randkey", principal)
        self.run("kadmin.local", "-r", REALM, "ktadd", "-k", keytab, principal)
        return keytab

    def start(self):
        # What it says before it is a daemon goes to its own log.
        kdc = self.host.start("krb5kdc", "krb5kdc", "-n", "-r", REALM, "-P", self.path("kdc.pid"),
                              env=self.environment)
        c.wait_for("the KDC listens", lambda: self.host.run(
            "ss", "-Htln", f"sport = :{PORT}").stdout)
        return kdc

    def log_in(self, host, principal, keytab, cache):
        """Tickets for host's programs that get `cache` as KRB5CCNAME."""
        self.run("kinit", "-c", cache, "-k", "-t", keytab, principal, host=host)
