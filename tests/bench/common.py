"""What the benches share: namespaces of their own, and where the programs are."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("DSTM_BUILD", os.path.join(ROOT, "build", "release"))


def say(text):
    print(text, file=sys.stderr, flush=True)


class Namespace:
    """A network namespace for as long as a `with` block."""

    def __init__(self, role):
        self.name = f"dstm{os.getpid()}{role}"

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link", "set", "lo", "up")
        return self

    def __exit__(self, kind, error, trace):
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def ip(self, *arguments):
        subprocess.run(["ip", "-n", self.name, *arguments], check=True, stdout=subprocess.DEVNULL)

    def run(self, *argv):
        subprocess.run(["ip", "netns", "exec", self.name, *argv], check=True,
                       stdout=subprocess.DEVNULL)

    def read(self, *argv):
        return subprocess.run(["ip", "netns", "exec", self.name, *argv], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def write(self, path, value):
        self.run("sh", "-c", f"echo {value} > /proc/sys/{path}")

    def program(self, name, *arguments):
        path = os.path.join(BUILD, "bin", name)
        return subprocess.run(["ip", "netns", "exec", self.name, path, *arguments]).returncode
