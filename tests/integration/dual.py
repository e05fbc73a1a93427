"""The other direction: a campus with IPv4 outside and IPv6 to give, for v6v4, v6udpv4 and v6anyv4.

  home ---- lan ---- nat ---- isp ----.
  10.0.0.100     198.18.3.2           |
  client ---- lan4 ---------------- router ---- dmz ---- endpoint ---- v6 ---- web6
  198.18.2.100                        |      198.18.0.1            2001:db8:80::80
                                     srv
                                      |
                                    broker: dstm-server, kea-dhcp4, kea-dhcp6
                                    198.18.1.53

`home` reaches the world through `nat`, a real nftables masquerade. Addresses come from
2001:db8:100::/64, prefixes of /56 and /48 from the rest of 2001:db8:100::/40, which `web6` sends to
the endpoint. Everything of campus.py is there as well.
"""

import json
import os

import campus as c

CLIENT4 = "198.18.2.100"
HOME = "10.0.0.100"
NAT = "198.18.3.2"
ENDPOINT4 = "198.18.0.1"
BROKER4 = "198.18.1.53"
INNER6 = "2001:db8:100::1"
POOLS6 = "2001:db8:100::/40"
WEB6 = "2001:db8:80::80"


class DualCampus(c.Campus):
    def __init__(self, tunnel_types=("v4v6", "v6v4", "v6udpv4"), udp_port=3653, tsp=None,
                 server=None, **options):
        self.tunnel_types = list(tunnel_types)
        self.udp_port = udp_port
        self.tsp_changes = tsp or {}
        self.server_changes = server or {}
        self.kea6 = None
        super().__init__(**options)

    # --- network -------------------------------------------------------------------------------

    def build_network(self):
        super().build_network()
        for name in ("home", "nat", "web6"):
            self.hosts[name] = c.Host(self, name)
        for name in ("router", "nat"):
            self.hosts[name].sysctl("net/ipv4/ip_forward", "1")
        self.wire("web6", "v6", f"{WEB6}/64", "endpoint", "v6", "2001:db8:80::1/64")
        self.web6.ip("-6", "route", "add", "default", "via", "2001:db8:80::1")
        for host, interface, address in (
                (self.endpoint, "dmz", f"{ENDPOINT4}/24"), (self.router, "dmz", "198.18.0.254/24"),
                (self.broker, "srv", f"{BROKER4}/24"), (self.router, "srv", "198.18.1.1/24")):
            host.ip("addr", "add", address, "dev", interface)
        self.wire("client", "lan4", f"{CLIENT4}/24", "router", "lan4", "198.18.2.1/24")
        self.wire("nat", "isp", f"{NAT}/24", "router", "isp", "198.18.3.1/24")
        self.wire("home", "lan", f"{HOME}/24", "nat", "lan", "10.0.0.1/24")
        self.endpoint.ip("route", "add", "198.18.0.0/16", "via", "198.18.0.254")
        self.broker.ip("route", "add", "198.18.0.0/16", "via", "198.18.1.1")
        self.client.ip("route", "add", "198.18.0.0/16", "via", "198.18.2.1")
        self.nat.ip("route", "add", "198.18.0.0/16", "via", "198.18.3.1")
        self.home.ip("route", "add", "198.18.0.0/16", "via", "10.0.0.1")
        # The client has the IPv6 of its tunnel only.
        self.client.ip("link", "set", "lan", "down")
        self.nat.run("nft", "add", "table", "ip", "nat")
        self.nat.run("nft", "add", "chain", "ip", "nat", "post",
                     "{ type nat hook postrouting priority 100; }")
        self.nat.run("nft", "add", "rule", "ip", "nat", "post", "oifname", "isp", "masquerade")
        for host in (self.client, self.home):
            for target in (BROKER4, ENDPOINT4):
                host.run("ping", "-c", "1", "-W", "5", target)
        self.endpoint.run("ping", "-c", "1", "-W", "5", WEB6)

    # --- configuration -------------------------------------------------------------------------

    def change_configuration(self, name, change):
        with open(self.path(name)) as text:
            configuration = json.load(text)
        change(next(iter(configuration.values())))
        self.write(name, configuration)

    def write_server_configuration(self):
        super().write_server_configuration()

        def change(server):
            server["tsp"]["tunnel-types"] = self.tunnel_types
            server["tsp"].update(self.tsp_changes)
            server["kea6"] = {"socket": self.path("dstm6.sock")}
            server.update(self.server_changes)

        self.change_configuration("dstm-server.conf", change)

    def write_tep_configuration(self, **changes):
        super().write_tep_configuration(**{
            "outer-ipv4": ENDPOINT4, "inner-ipv6": INNER6, "pools-ipv6": [POOLS6],
            "udp-port": self.udp_port, **changes})

    def write_kea_configuration(self):
        super().write_kea_configuration()
        self.write("kea-dhcp6.conf", {"Dhcp6": {
            "interfaces-config": {"interfaces": []},
            "server-id": {"type": "EN", "enterprise-id": 32473, "identifier": "0000000000000001",
                          "persist": False},
            "control-socket": {"socket-type": "unix", "socket-name": self.path("kea6.sock")},
            "lease-database": {"type": "memfile", "persist": True, "lfc-interval": 0,
                               "name": self.path("leases6.csv")},
            "expired-leases-processing": {
                "reclaim-timer-wait-time": 1, "hold-reclaimed-time": 0,
                "flush-reclaimed-timer-wait-time": 1, "max-reclaim-leases": 0,
                "max-reclaim-time": 0},
            "valid-lifetime": self.lifetime, "preferred-lifetime": self.lifetime,
            "min-valid-lifetime": 1, "max-valid-lifetime": 86400,
            "min-preferred-lifetime": 1, "max-preferred-lifetime": 86400,
            "subnet6": [{"id": 1, "subnet": POOLS6,
                         "pools": [{"pool": "2001:db8:100::2 - 2001:db8:100::ffff"}],
                         "pd-pools": [
                             {"prefix": "2001:db8:180::", "prefix-len": 44, "delegated-len": 56},
                             {"prefix": "2001:db8:190::", "prefix-len": 44, "delegated-len": 48}]}],
            "hooks-libraries": [{"library": os.path.join(c.BUILD, "lib", "libdhcp_dstm.so"),
                                 "parameters": {"socket-name": self.path("dstm6.sock")}}],
            "loggers": [{"name": "kea-dhcp6", "severity": "INFO",
                         "output_options": [{"output": "stderr"}]}]}})

    def client_configuration(self, name="dstm-client", user=None, password=None, **changes):
        return super().client_configuration(name, user, password, **{
            "server": BROKER4, "tunnel-type": "v6v4", "routes": ["::/0"], **changes})

    # --- daemons -------------------------------------------------------------------------------

    def start_kea(self):
        super().start_kea()
        self.kea6 = self.broker.start(
            "kea-dhcp6", "kea-dhcp6", "-c", self.path("kea-dhcp6.conf"),
            env={"KEA_PIDFILE_DIR": self.directory, "KEA_LOCKFILE_DIR": self.directory})
        self.kea6.wait_for_log("DHCP6_STARTED")

    def ready(self):
        try:
            status = c.unix_request(self.path("server.sock"), {"command": "status"})["arguments"]
        except OSError:
            return False
        return status["kea"] == status["kea6"] == "ready" and status["endpoints"] >= 1

    # --- what the operator sees ----------------------------------------------------------------

    def leases6(self):
        """Kea's own view: address to lease."""
        answer = c.unix_request(self.path("kea6.sock"), {"command": "dstm6-lease-list"})
        leases = answer.get("arguments", {}).get("leases", [])
        return {lease["ip-address"]: lease for lease in leases}
