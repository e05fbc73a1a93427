#!/usr/bin/env python3
"""The Debian packages: what is in them, and a host that installs, uses, removes and purges them.

The host is this one with a layer above it that is thrown away (overlayfs in a mount namespace of
its own), so that dpkg finds the packages that ours depend on, and nothing that it does stays.
"""

import os
import shutil
import tempfile
import unittest

import campus as c

CONFIGURATION = "/etc/dstm/dstm-client.conf"
ENABLED = "/etc/systemd/system/multi-user.target.wants/dstm-{}.service"


def why_not():
    if os.geteuid() != 0:
        return "needs root (an overlay to install into)"
    for program in ("cpack", "dpkg-shlibdeps", "unshare", "deb-systemd-helper"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if c.run("unshare", "-m", "sh", "-ec", MAKE_LAYER + "true", check=False).returncode != 0:
        return "no overlayfs in a mount namespace here"
    return None


# Everything that is written goes to /mnt/upper.
MAKE_LAYER = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mount -t proc proc /mnt/root/proc
mount --bind /dev /mnt/root/dev
mount -t tmpfs tmpfs /mnt/root/run
"""


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="dstm-package-", dir="/var/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        c.run("cpack", "-G", "DEB", "-B", cls.directory, "--config",
              os.path.join(c.BUILD, "CPackConfig.cmake"), timeout=120, cwd=cls.directory)

    def package(self, name):
        return next(os.path.join(self.directory, file) for file in os.listdir(self.directory)
                    if file.startswith(f"dstm-{name}_") and file.endswith(".deb"))

    def field(self, name, field):
        return c.run("dpkg-deb", "-f", self.package(name), field).stdout.strip()

    def files(self, name):
        """Path to mode, of what is no directory."""
        lines = c.run("dpkg-deb", "-c", self.package(name)).stdout.splitlines()
        return {line.split()[5][1:]: line.split()[0] for line in lines if line[0] != "d"}

    def on_a_host(self, script, *packages):
        """Runs the script in the layer, the packages in /packages; what it said, and behind "left:"
        what the layer has of ours."""
        run = ('mkdir /mnt/root/packages && cp "$@" /mnt/root/packages && '
               'chroot /mnt/root sh -exc "$SCRIPT" && '
               'echo left: && find /mnt/upper -name "*dstm*" ! -path "*/packages/*"')
        done = c.run("unshare", "-m", "sh", "-ec", MAKE_LAYER + run, "sh",
                     *map(self.package, packages), check=False, timeout=120,
                     env={**os.environ, "SCRIPT": script, "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_the_client_brings_all_that_a_laptop_needs(self):
        files = self.files("client")
        self.assertEqual(files[CONFIGURATION], "-rw-r--r--")
        self.assertEqual(files["/usr/sbin/dstm-client"], "-rwxr-xr-x")
        for path in ("/usr/lib/systemd/system/dstm-client.service",
                     "/usr/share/man/man8/dstm-client.8", "/usr/share/man/man5/dstm-client.conf.5",
                     "/usr/share/bash-completion/completions/dstm-client",
                     "/usr/share/zsh/vendor-completions/_dstm-client",
                     "/usr/share/fish/vendor_completions.d/dstm-client.fish"):
            self.assertEqual(files.get(path), "-rw-r--r--", path)
        self.assertEqual(c.run("dpkg-deb", "-I", self.package("client"), "conffiles").stdout,
                         CONFIGURATION + "\n")

    def test_each_package_depends_on_what_it_is_linked_with(self):
        for name, library in (("client", "libnl-route-3-200"), ("server", "libxerces-c3.2"),
                              ("tep", "libbpf1"), ("hook", "kea-common")):
            self.assertIn(library, self.field(name, "Depends"))
            self.assertNotIn("-dev", self.field(name, "Depends"))
        self.assertIn("/usr/lib/x86_64-linux-gnu/kea/hooks/libdhcp_dstm.so", self.files("hook"))

    def test_one_package_and_one_line_are_enough(self):
        said = self.on_a_host(f"""
            dpkg -i /packages/dstm-client_*.deb
            test -e {ENABLED.format('client')}
            dstm-client --version
            dstm-client run --check-config
            sed -i 's|// \\("server": "[^"]*"\\)$|\\1|' {CONFIGURATION}
            grep -q '^ *"server"' {CONFIGURATION}
            dstm-client run --check-config
            status=0; dstm-client status || status=$?; test $status = 3
        """, "client")
        self.assertIn(self.field("client", "Version"), said.split("\n"))

    def test_every_line_that_the_configuration_offers_is_good(self):
        with open(os.path.join(c.ROOT, "docs/packages/dstm-client.conf")) as file:
            lines = file.read().split("\n")
        offered = [number for number, line in enumerate(lines) if line.startswith('    // "')]
        self.assertGreaterEqual(len(offered), 3)
        for number in offered:
            tried = list(lines)
            tried[number] = tried[number].replace("// ", "", 1)
            path = os.path.join(self.directory, "tried.conf")
            password = os.path.join(self.directory, "password")
            with open(path, "w") as out:
                out.write("\n".join(tried).replace("/etc/dstm/client.password", password))
            with open(password, "w") as out:
                out.write("secret")
            os.chmod(password, 0o600)
            c.run(os.path.join(c.BUILD, "bin", "dstm-client"), "run", "--check-config", "-c", path)

    def test_an_upgrade_keeps_what_was_written_and_what_was_disabled(self):
        self.on_a_host(f"""
            dpkg -i /packages/dstm-client_*.deb
            echo '{{ "dstm-client": {{ "server": "mine.example" }} }}' > {CONFIGURATION}
            rm {ENABLED.format('client')}
            dpkg -i /packages/dstm-client_*.deb
            grep -q mine.example {CONFIGURATION}
            test ! -e {ENABLED.format('client')}
        """, "client")

    def test_nothing_is_left_after_a_purge(self):
        said = self.on_a_host(f"""
            dpkg -i /packages/dstm-*.deb
            mkdir -p /var/lib/dstm-client /var/log/dstm
            touch /var/lib/dstm-client/host-id /var/log/dstm/audit.jsonl
            for name in client tep server; do test -e /etc/systemd/system/*/dstm-$name.service; done
            dpkg -r dstm-client dstm-tep dstm-server dstm-hook
            test -e {CONFIGURATION}
            test -e /var/lib/dstm-client/host-id
            dpkg -P dstm-client dstm-tep dstm-server dstm-hook
        """, "client", "tep", "server", "hook")
        self.assertEqual(said.split("left:\n")[1].split(), [])

    def test_the_server_has_its_user(self):
        said = self.on_a_host("""
            dpkg -i /packages/dstm-server_*.deb
            getent passwd dstm
            getent group _kea
            dstm-server --help
        """, "server")
        self.assertIn("dstm:x:", said)


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        print(f"skipped: {reason}")
        raise SystemExit(77)
    unittest.main(verbosity=2)
