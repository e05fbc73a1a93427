"""A small campus on one machine: network namespaces as hosts, real daemons in them.

  client ----- lan ----- router ----- dmz ----- endpoint ----- v4 ----- web
  2001:db8:1::100        2001:db8:1::1          2001:db8:2::1           203.0.113.80
  (IPv6 only)            2001:db8:2::fe         203.0.113.1             (IPv4 only)
                         2001:db8:3::1          192.0.2.1 (inner)
                           |
                          srv
                           |
                         broker: dstm-server, kea-dhcp4 with libdhcp_dstm.so
                         2001:db8:3::53
  The pool 192.0.2.0/24 is routed to the endpoint by `web` (its default route).

A Campus owns everything it makes: namespaces carry its process id in their names, every process is
stopped by its id, and close() leaves the machine as it was. Waits are for a state, with a bound.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("DSTM_BUILD", os.path.join(ROOT, "build", "release"))
LEASE_COMMANDS = "/usr/lib/x86_64-linux-gnu/kea/hooks/libdhcp_lease_cmds.so"

CLIENT = "2001:db8:1::100"
CLIENT_LAN = "2001:db8:1::/64"
ENDPOINT = "2001:db8:2::1"
BROKER = "2001:db8:3::53"
WEB = "203.0.113.80"
INNER = "192.0.2.1"
POOL = "192.0.2.0/24"
REALM = "campus.example"

# Every bound is as many times longer on the emulated processors of tests/kernel/guest.py.
SLOWNESS = 5 if os.environ.get("DSTM_GUEST") else 1


def why_not():
    """Why this machine cannot hold a campus, or None."""
    if os.geteuid() != 0:
        return "needs root (network namespaces)"
    for program in ("ip", "ping", "curl", "kea-dhcp4", "saslpasswd2"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    return None


def wait_for(what, predicate, timeout=15.0, interval=0.02):
    """The first true value of predicate(); AssertionError naming `what` after `timeout` seconds."""
    timeout *= SLOWNESS
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(interval)


class Process:
    """A daemon of the campus, its log in a file."""

    def __init__(self, name, argv, log_path, **popen):
        self.name = name
        self.argv = argv
        self.log_path = log_path
        self.log_start = os.path.getsize(log_path) if os.path.exists(log_path) else 0
        self.log = open(log_path, "ab")
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log,
                                      stderr=self.log, **popen)

    @property
    def pid(self):
        return self.popen.pid

    def output(self):
        with open(self.log_path, errors="replace") as log:
            log.seek(self.log_start)
            return log.read()

    def wait_for_log(self, text, timeout=15.0, count=1):
        def seen():
            if self.output().count(text) >= count:
                return True
            if self.popen.poll() is not None and self.output().count(text) < count:
                raise AssertionError(f"{self.name} ended ({self.popen.returncode}) before it said "
                                     f"{text!r}:\n{self.output()[-3000:]}")
            return False

        try:
            return wait_for(f"{self.name} says {text!r}", seen, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()[-3000:]}") from None

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait()
        self.log.close()

    def stop(self, timeout=10.0):
        """SIGTERM and wait; the exit code. SIGKILL (and an error) if it does not end."""
        if self.alive():
            self.popen.send_signal(signal.SIGTERM)
        try:
            code = self.popen.wait(timeout * SLOWNESS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {timeout} s") from None
        self.log.close()
        return code

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Host:
    def __init__(self, campus, name):
        self.campus = campus
        self.name = name
        self.namespace = f"dstm{os.getpid()}-{name}"
        run("ip", "netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")
        # Duplicate address detection would only make each test a second longer.
        self.sysctl("net/ipv6/conf/all/accept_dad", "0")
        self.sysctl("net/ipv6/conf/default/accept_dad", "0")

    def argv(self, *command):
        return ["ip", "netns", "exec", self.namespace, *command]

    def ip(self, *arguments):
        return run("ip", "-n", self.namespace, *arguments)

    def run(self, *command, check=True, timeout=30, **options):
        return run(*self.argv(*command), check=check, timeout=timeout, **options)

    def sysctl(self, name, value):
        self.run("sh", "-c", f"echo {value} > /proc/sys/{name}")

    def start(self, name, *command, env=None):
        process = Process(name, self.argv(*command),
                          os.path.join(self.campus.directory, f"{name}.log"),
                          env={**os.environ, **(env or {})})
        self.campus.processes.append(process)
        return process

    def socket(self, family, kind):
        """A socket that lives in this host's network, usable from this process."""
        made = []

        def make():
            with open(f"/run/netns/{self.namespace}") as namespace:
                os_setns(namespace.fileno())
            made.append(socket.socket(family, kind))

        # A thread of its own, so that this process's other threads stay where they are.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def connect(self, address, port, source=None, timeout=10):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = self.socket(family, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        if source is not None:
            connection.bind((source, 0))
        connection.connect((address, port))
        return connection


def os_setns(descriptor):
    import ctypes

    clone_newnet = 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, clone_newnet) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def run(*command, check=True, timeout=30, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout * SLOWNESS, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def unix_request(path, request, timeout=10):
    """One JSON line (or Kea command) to a UNIX socket, one JSON answer back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while True:
            part = connection.recv(65536)
            data += part
            if not part:
                break
            try:
                return json.loads(data)
            except ValueError:
                continue
        return json.loads(data)


class Campus:
    def __init__(self, link="unix", pool=("192.0.2.2", "192.0.2.254"), lifetime=3600,
                 mechanisms=("SCRAM-SHA-256", "DIGEST-MD5", "ANONYMOUS"), server_limits=None,
                 plain=False, udp=True, data_plane="tun"):
        self.link = link
        self.pool = pool
        self.lifetime = lifetime
        self.mechanisms = list(mechanisms)
        self.server_limits = server_limits or {}
        self.plain = plain
        self.data_plane = data_plane
        self.udp = udp
        self.processes = []
        self.hosts = {}
        self.directory = tempfile.mkdtemp(prefix="dstm-")
        self.kea = self.server = self.tep = None
        try:
            self.build_network()
            self.write_configurations()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and os.environ.get("DSTM_KEEP_LOGS"):
            print(f"logs are kept in {self.directory}", file=sys.stderr)
            self.close(keep_directory=True)
        else:
            self.close()

    # --- network -------------------------------------------------------------------------------

    def build_network(self):
        for name in ("client", "router", "endpoint", "broker", "web"):
            self.hosts[name] = Host(self, name)
        for name in ("router", "endpoint"):
            self.hosts[name].sysctl("net/ipv6/conf/all/forwarding", "1")
        self.hosts["endpoint"].sysctl("net/ipv4/ip_forward", "1")
        self.wire("client", "lan", f"{CLIENT}/64", "router", "lan", "2001:db8:1::1/64")
        self.wire("endpoint", "dmz", f"{ENDPOINT}/64", "router", "dmz", "2001:db8:2::fe/64")
        self.wire("broker", "srv", f"{BROKER}/64", "router", "srv", "2001:db8:3::1/64")
        self.wire("web", "v4", f"{WEB}/24", "endpoint", "v4", "203.0.113.1/24")
        self.client.ip("-6", "route", "add", "default", "via", "2001:db8:1::1")
        self.endpoint.ip("-6", "route", "add", "default", "via", "2001:db8:2::fe")
        self.broker.ip("-6", "route", "add", "default", "via", "2001:db8:3::1")
        self.web.ip("route", "add", "default", "via", "203.0.113.1")
        # Fresh interfaces answer their first neighbour solicitation late.
        for host, target in ((self.client, BROKER), (self.client, ENDPOINT),
                             (self.endpoint, BROKER), (self.endpoint, WEB)):
            host.run("ping", "-c", "1", "-W", "5", target)

    def wire(self, left, left_name, left_address, right, right_name, right_address):
        a, b = self.hosts[left], self.hosts[right]
        run("ip", "link", "add", left_name, "netns", a.namespace, "type", "veth",
            "peer", "name", right_name, "netns", b.namespace)
        for host, name, address in ((a, left_name, left_address), (b, right_name, right_address)):
            host.ip("addr", "add", address, "dev", name)
            host.ip("link", "set", name, "up")

    def __getattr__(self, name):
        hosts = self.__dict__.get("hosts", {})
        if name in hosts:
            return hosts[name]
        raise AttributeError(name)

    # --- configuration -------------------------------------------------------------------------

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content):
        with open(self.path(name), "w") as out:
            out.write(content if isinstance(content, str) else json.dumps(content, indent=1))
        return self.path(name)

    def write_configurations(self):
        self.write_kea_configuration()
        self.write_server_configuration()
        self.write_tep_configuration()
        if self.link == "tls":
            run(self.binary("dstmctl"), "pki", "init", "--directory", self.path("pki"))
            for name, alternative in (("dstm1", BROKER), ("tep1", ENDPOINT)):
                run(self.binary("dstmctl"), "pki", "issue", name, alternative, "--directory",
                    self.path("pki"))

    def write_kea_configuration(self):
        hooks = [{"library": os.path.join(BUILD, "lib", "libdhcp_dstm.so"),
                  "parameters": {"socket-name": self.path("dstm4.sock")}}]
        if os.path.exists(LEASE_COMMANDS):
            hooks.append({"library": LEASE_COMMANDS})
        self.write("kea-dhcp4.conf", {"Dhcp4": {
            "interfaces-config": {"interfaces": []},
            "control-socket": {"socket-type": "unix", "socket-name": self.path("kea4.sock")},
            "lease-database": {"type": "memfile", "persist": True, "lfc-interval": 0,
                               "name": self.path("leases4.csv")},
            "expired-leases-processing": {
                "reclaim-timer-wait-time": 1, "hold-reclaimed-time": 0,
                "flush-reclaimed-timer-wait-time": 1, "max-reclaim-leases": 0,
                "max-reclaim-time": 0},
            "valid-lifetime": self.lifetime, "min-valid-lifetime": 1,
            "max-valid-lifetime": 86400,
            "subnet4": [{"id": 1, "subnet": POOL,
                         "pools": [{"pool": f"{self.pool[0]} - {self.pool[1]}"}]}],
            "hooks-libraries": hooks,
            "loggers": [{"name": "kea-dhcp4", "severity": "INFO",
                         "output_options": [{"output": "stderr"}]}]}})

    def write_server_configuration(self):
        endpoints = {"unix-socket": self.path("endpoints.sock")}
        if self.link == "tls":
            endpoints["tls"] = {"address": "::", "port": 3654, **self.certificate("dstm1")}
        self.write("dstm-server.conf", {"dstm-server": {
            "name": "dstm1",
            "tsp": {"listen": [{"address": "::", "port": 3653, "udp": self.udp}],
                    "tunnel-types": ["v4v6"],
                    "mechanisms": self.mechanisms,
                    # Shorter ones than TSP's minute can only come from the subnet.
                    "lifetime": self.lifetime if self.lifetime >= 60 else 0,
                    "limits": self.server_limits},
            "sasl": {"realm": REALM, "sasldb": self.path("sasldb2"),
                     "plain-without-tls": self.plain},
            "kea": {"socket": self.path("dstm4.sock")},
            "endpoints": endpoints,
            "admin-socket": self.path("server.sock"),
            "audit-log": self.path("audit.jsonl")}})

    def write_tep_configuration(self, **changes):
        server = {"unix-socket": self.path("endpoints.sock")}
        if self.link == "tls":
            server = {"host": BROKER, "port": 3654, **self.certificate("tep1")}
        self.write("dstm-tep.conf", {"dstm-tep": {
            "name": "tep1", "group": "campus", "servers": [server], "outer-ipv6": ENDPOINT,
            "inner-ipv4": INNER, "pools": [POOL], "device": "dstm0", "data-plane": self.data_plane,
            "admin-socket": self.path("tep.sock"), **changes}})

    def certificate(self, name):
        pki = self.path("pki")
        return {"certificate": f"{pki}/{name}.crt", "key": f"{pki}/{name}.key",
                "ca": f"{pki}/ca.crt"}

    def add_user(self, user, password):
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", self.path("sasldb2"), "-u", REALM, user],
                       input=password, text=True, check=True, capture_output=True)

    def client_configuration(self, name="dstm-client", user=None, password=None, **changes):
        configuration = {"server": BROKER, "port": 3653, "tunnel-type": "v4v6",
                         "device": "dstm0", "routes": ["0.0.0.0/0"],
                         "state-directory": self.path(f"{name}.state"),
                         "control-socket": self.path(f"{name}.sock"),
                         "mechanisms": ["ANONYMOUS"]}
        if user is not None:
            secret = self.write(f"{name}.password", password)
            os.chmod(secret, 0o600)
            configuration.update({"user": user, "password-file": secret,
                                  "mechanisms": ["SCRAM-SHA-256", "DIGEST-MD5"]})
        configuration.update(changes)
        return self.write(f"{name}.conf", {"dstm-client": configuration})

    # --- daemons -------------------------------------------------------------------------------

    def binary(self, name):
        return os.path.join(BUILD, "bin", name)

    def start_kea(self):
        self.kea = self.broker.start(
            "kea-dhcp4", "kea-dhcp4", "-c", self.path("kea-dhcp4.conf"),
            env={"KEA_PIDFILE_DIR": self.directory, "KEA_LOCKFILE_DIR": self.directory})
        self.kea.wait_for_log("DHCP4_STARTED")
        return self.kea

    def start_server(self):
        self.server = self.broker.start("dstm-server", self.binary("dstm-server"), "-c",
                                        self.path("dstm-server.conf"))
        self.server.wait_for_log("SERVER_STARTED")
        return self.server

    def start_tep(self):
        self.tep = self.endpoint.start("dstm-tep", self.binary("dstm-tep"), "-c",
                                       self.path("dstm-tep.conf"))
        self.tep.wait_for_log("TEP_STARTED")
        return self.tep

    def start_daemons(self):
        self.start_kea()
        self.start_server()
        self.start_tep()
        self.wait_ready()

    def wait_ready(self):
        """Kea known to the server, the endpoint connected and synchronised."""
        wait_for("the server is ready", self.ready)

    def ready(self):
        try:
            status = unix_request(self.path("server.sock"), {"command": "status"})["arguments"]
        except OSError:
            return False
        return status["kea"] == "ready" and status["endpoints"] >= 1

    def start_client(self, configuration, host="client", name=None):
        return self.hosts[host].start(name or os.path.basename(configuration)[:-5],
                                      self.binary("dstm-client"), "run", "-c", configuration)

    def run_client_command(self, name, *command, host="client"):
        """dstm-client renew, status, down ... to the running client of that configuration."""
        return self.hosts[host].run(self.binary("dstm-client"), *command, "-c",
                                    self.path(f"{name}.conf"))

    # --- what the operator sees ----------------------------------------------------------------

    def leases(self):
        """Kea's own view, through its control socket: address to lease."""
        answer = unix_request(self.path("kea4.sock"), {"command": "dstm4-lease-list"})
        leases = answer.get("arguments", {}).get("leases", [])
        return {lease["ip-address"]: lease for lease in leases}

    def lease_file(self):
        """Addresses that Kea's lease file says are leased: the last row of each counts."""
        held = {}
        with open(self.path("leases4.csv")) as rows:
            next(rows)
            for row in rows:
                fields = row.rstrip("\n").split(",")
                if int(fields[3]) > 0:
                    held[fields[0]] = fields
                else:
                    held.pop(fields[0], None)
        return held

    def tunnels(self):
        """The endpoint's table: inner address to tunnel."""
        answer = unix_request(self.path("tep.sock"), {"command": "tunnels"})
        return {tunnel["inner"]: tunnel for tunnel in answer["arguments"]["tunnels"]}

    def drops(self):
        answer = unix_request(self.path("tep.sock"), {"command": "counters"})
        return answer["arguments"]["drops"]

    def audit(self):
        if not os.path.exists(self.path("audit.jsonl")):
            return []
        with open(self.path("audit.jsonl")) as lines:
            return [json.loads(line) for line in lines]

    def start_web(self, page="hello from the IPv4-only web server\n"):
        os.makedirs(self.path("www"), exist_ok=True)
        with open(self.path("www/index.html"), "w") as out:
            out.write(page)
        web = self.web.start("web", sys.executable, "-u", "-m", "http.server", "80", "--bind", WEB,
                             "--directory", self.path("www"))
        web.wait_for_log("Serving HTTP")
        return web

    def close(self, keep_directory=False):
        for process in reversed(self.processes):
            process.kill()
        self.processes = []
        for host in self.hosts.values():
            run("ip", "netns", "del", host.namespace, check=False)
        self.hosts = {}
        if not keep_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
