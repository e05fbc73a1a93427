"""./dev demo: one host's way to IPv4, on real parts, as it happens.

An IPv6-only client asks the broker for an address with user name and password, Kea leases it, the
endpoint builds the tunnel; then ping, a web page, and a connection from outside. At the end all of
it is taken down. With --keep it stays up until ./dev demo --down.
"""

import argparse
import json
import os
import signal
import shutil
import socket
import sys
import threading
import time

import campus as c

RECORD = "/run/dstm-demo.json"
COLOURS = sys.stdout.isatty()


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


def say(text):
    print(f"\n{paint('1', text)}", flush=True)


def show(title, output):
    print(f"  {paint('36', title)}")
    for line in output.rstrip().splitlines():
        print(f"    {line}")
    sys.stdout.flush()


class LogFollower:
    """Prints what the daemons log, while they log it; catch_up() keeps it ahead of the story."""

    def __init__(self, campus):
        self.campus = campus
        self.offsets = {}
        self.stopping = threading.Event()
        self.printing = threading.Lock()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while not self.stopping.wait(0.05):
            self.catch_up()
        self.catch_up()

    def catch_up(self):
        with self.printing:
            self.print_new()

    def print_new(self):
        for process in list(self.campus.processes):
            if not process.name.startswith("dstm-"):
                continue
            with open(process.log_path, errors="replace") as log:
                log.seek(self.offsets.get(process.log_path, 0))
                while True:
                    line = log.readline()
                    if not line.endswith("\n"):
                        break
                    self.offsets[process.log_path] = log.tell()
                    print(f"  {paint('2', process.name.rjust(11) + ' | ' + line.rstrip())}",
                          flush=True)

    def stop(self):
        self.stopping.set()
        self.thread.join()


def echo_once(listener):
    connection, peer = listener.accept()
    connection.sendall(b"hello from the IPv6-only client\n")
    connection.close()
    listener.close()
    return peer


def tour(campus, follower):
    say("1. Kea, the DSTM server and the tunnel endpoint start")
    campus.add_user("alice", "correct horse battery staple")
    campus.start_daemons()
    campus.start_web()
    follower.catch_up()

    say("2. The client has IPv6 only: no way to the web server")
    done = campus.client.run("curl", "-sS", "-m", "3", f"http://{c.WEB}/", check=False)
    show(f"client$ curl http://{c.WEB}/", done.stdout + done.stderr)

    say("3. dstm-client asks as alice (SCRAM-SHA-256), Kea leases, the endpoint builds the tunnel")
    started = time.monotonic()
    client = campus.start_client(campus.client_configuration(
        user="alice", password="correct horse battery staple"))
    client.wait_for_log("CLIENT_UP")
    follower.catch_up()
    print(f"  up after {1000 * (time.monotonic() - started):.0f} ms, program start included")

    say("4. The host has IPv4")
    show("client$ ip -4 address show dev dstm0",
         campus.client.run("ip", "-4", "address", "show", "dev", "dstm0").stdout)
    show(f"client$ ping -c 3 {c.WEB}",
         campus.client.run("ping", "-c", "3", "-i", "0.2", c.WEB).stdout)
    show(f"client$ curl http://{c.WEB}/",
         campus.client.run("curl", "-sS", f"http://{c.WEB}/").stdout)

    say("5. And IPv4 reaches the host: a connection from the web server to the client")
    address = next(iter(campus.leases()))
    listener = campus.client.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((address, 8080))
    listener.listen()
    server = threading.Thread(target=echo_once, args=(listener,))
    server.start()
    with campus.web.connect(address, 8080) as connection:
        show(f"a TCP connection from {c.WEB} to {address} port 8080", connection.recv(200).decode())
    server.join()

    say("6. What the operator sees")
    show("the lease in Kea", json.dumps(campus.leases()[address], indent=1))
    show("the tunnel at the endpoint", json.dumps(campus.tunnels()[address], indent=1))
    show("the audit log", "\n".join(json.dumps(line) for line in campus.audit()))
    return client, address


def take_down(campus, follower, client, address):
    say("7. The client stops: the tunnel goes, the address is free")
    client.stop()
    c.wait_for("the lease is free", lambda: address not in campus.lease_file())
    c.wait_for("the tunnel is gone", lambda: address not in campus.tunnels())
    follower.catch_up()
    show("leases in Kea's lease file", f"{len(campus.lease_file())}")
    show("tunnels at the endpoint", f"{len(campus.tunnels())}")


def keep(campus):
    with open(RECORD, "w") as record:
        json.dump({"namespaces": {name: host.namespace for name, host in campus.hosts.items()},
                   "directory": campus.directory}, record)
    say("It stays up. Enter a host:")
    for name, host in campus.hosts.items():
        print(f"  {name:9} ip netns exec {host.namespace} bash")
    print(f"  logs, sockets and configurations: {campus.directory}\n"
          "  take it down: ./dev demo --down", flush=True)


def take_down_kept():
    if not os.path.exists(RECORD):
        sys.exit("no demo is up")
    with open(RECORD) as file:
        record = json.load(file)
    for namespace in record["namespaces"].values():
        # Whoever lives in a namespace of the demo was started by it, or by someone who entered it.
        for pid in c.run("ip", "netns", "pids", namespace, check=False).stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        c.run("ip", "netns", "del", namespace, check=False)
    shutil.rmtree(record["directory"], ignore_errors=True)
    os.unlink(RECORD)
    print("the demo is down")


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything up at the end")
    parser.add_argument("--down", action="store_true", help="take down what --keep left up")
    arguments = parser.parse_args()
    if arguments.down:
        return take_down_kept()
    if (reason := c.why_not()) is not None:
        sys.exit(f"./dev demo cannot run here: {reason}")
    if os.path.exists(RECORD):
        sys.exit("a demo is still up: ./dev demo --down")

    print(c.__doc__.split("\n\n")[1])
    campus = c.Campus(link="tls")
    follower = LogFollower(campus)
    kept = False
    try:
        client, address = tour(campus, follower)
        if arguments.keep:
            kept = True
        else:
            take_down(campus, follower, client, address)
    finally:
        follower.stop()
        if kept:
            keep(campus)
        else:
            campus.close()
    if not kept:
        say("Done: namespaces, daemons and files are gone.")


if __name__ == "__main__":
    main()
