#!/usr/bin/env python3
"""Runs a command under Debian's stock kernel, in QEMU, on the files of this machine.

  guest.py [--timeout SECONDS] [--with MODULES] [--without MODULES] COMMAND...
  guest.py --prepare

The guest sees the host's root directory read-only over 9p; what it writes goes to its memory and
ends with it. The exit code is that of the command; 77 where there can be no guest, with the reason.
To prepare is to fetch the kernel, so that a guest can start at once, or to say why none can.
No /dev/kvm is needed: a boot takes about five seconds without.
"""

import argparse
import gzip
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "kernel-image")
QEMU = "qemu-system-x86_64"
BUSYBOX = "/bin/busybox"
MEMORY_MIB = 1536
SKIPPED = 77
ENDED = "guest: the command ended with "

# What the guest's root needs, and then what the tests do. Dependencies come by themselves.
MODULES_OF_ROOT = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
MODULES_OF_TESTS = ["veth", "dummy", "tun", "ip6_tunnel", "sit", "sch_ingress", "cls_u32",
                    "act_gact", "cls_bpf", "crc32c_generic", "nf_tables", "nft_objref"]

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /sys /dev /host /memory /root
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
for module in {modules_of_root}; do insmod /modules/$module.ko; done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host &&
mount -t tmpfs none /memory && mkdir /memory/upper /memory/work &&
cd /memory && mount -t overlay -o lowerdir=/host,upperdir=upper,workdir=work none /root ||
    poweroff -f
for module in {modules_of_tests}; do insmod /modules/$module.ko; done
cd /root
mount -t proc none proc
mount -t sysfs none sys
mount -t bpf none sys/fs/bpf
mount -t cgroup2 none sys/fs/cgroup
mount --move /dev dev
mkdir -p dev/pts dev/shm dev/net
mount -t devpts none dev/pts
mount -t tmpfs none dev/shm
mount -t tmpfs none run
[ -e dev/net/tun ] || mknod dev/net/tun c 10 200
ln -sf /proc/self/fd dev/fd
chroot . /bin/sh -c 'ip link set lo up
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DSTM_GUEST=1
cd {directory} && {command}' </root/dev/null
echo "{ended}$?"
poweroff -f
"""


class NoGuest(Exception):
    """Why this machine cannot run one."""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode != 0:
        raise NoGuest(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def kernel_package():
    """The name of the package that Debian's kernel is in, such as linux-image-6.1.0-44-amd64."""
    def known():
        shown = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True)
        found = re.search(rb"Depends: (linux-image-\S+-amd64)", shown.stdout)
        return found and found[1].decode()

    name = known()
    if not name:
        run("apt-get", "update", "-q")
        name = known()
    if not name:
        raise NoGuest("apt knows no linux-image-amd64")
    return name


def fetch_kernel():
    """The directory of the unpacked package: kept in build/, so that it is fetched once."""
    for name in os.listdir(CACHE) if os.path.isdir(CACHE) else ():
        if os.path.isdir(os.path.join(CACHE, name, "boot")):
            return os.path.join(CACHE, name)
    package = kernel_package()
    os.makedirs(CACHE, exist_ok=True)
    run("apt-get", "download", package, cwd=CACHE)
    archive = next(name for name in os.listdir(CACHE) if name.startswith(package + "_"))
    unpacked = os.path.join(CACHE, package)
    partial = unpacked + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    run("dpkg-deb", "--extract", os.path.join(CACHE, archive), partial)
    os.rename(partial, unpacked)
    os.unlink(os.path.join(CACHE, archive))
    return unpacked


def modules_in_order(directory, names):
    """Paths of these modules and all that they need, each after what it needs."""
    there = {}
    for folder, _, files in os.walk(directory):
        for file in files:
            if file.endswith(".ko"):
                there[file[:-3].replace("-", "_")] = os.path.join(folder, file)
    ordered = {}

    def add(name):
        if name in ordered or name not in there:
            return  # taken already, or part of the kernel itself
        with open(there[name], "rb") as file:
            depends = re.search(rb"\0depends=([^\0]*)\0", file.read())
        for needed in depends[1].decode().split(",") if depends and depends[1] else ():
            add(needed.replace("-", "_"))
        ordered[name] = there[name]

    for name in names:
        add(name)
    return ordered


def cpio_member(name, data, mode):
    """One file of an initramfs (Documentation/driver-api/early-userspace/buffer-format)."""
    path = name.encode() + b"\0"
    numbers = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0]
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initramfs(kernel, command, more, fewer):
    of_tests = [name for name in MODULES_OF_TESTS if name not in fewer] + more
    modules = modules_in_order(os.path.join(kernel, "lib", "modules"), MODULES_OF_ROOT + of_tests)
    of_root = modules_in_order(os.path.join(kernel, "lib", "modules"), MODULES_OF_ROOT)
    init = INIT.format(modules_of_root=" ".join(of_root), ended=ENDED,
                       modules_of_tests=" ".join(name for name in modules if name not in of_root),
                       directory=shlex.quote(os.getcwd()).replace("'", "'\\''"),
                       command=shlex.join(command).replace("'", "'\\''"))
    out = io.BytesIO()
    for folder in ("bin", "modules"):
        out.write(cpio_member(folder, b"", 0o040755))
    out.write(cpio_member("init", init.encode(), 0o100755))
    for name, path in {"bin/busybox": BUSYBOX,
                       **{f"modules/{name}.ko": path for name, path in modules.items()}}.items():
        with open(path, "rb") as file:
            out.write(cpio_member(name, file.read(), 0o100755))
    out.write(cpio_member("TRAILER!!!", b"", 0))
    return gzip.compress(out.getvalue(), compresslevel=1)


def vmlinuz(kernel):
    boot = os.path.join(kernel, "boot")
    return os.path.join(boot, next(n for n in os.listdir(boot) if n.startswith("vmlinuz-")))


def check_host():
    if os.geteuid() != 0:
        raise NoGuest("needs root (the guest reads every file of the host)")
    for program in (QEMU, BUSYBOX, "dpkg-deb", "apt-get"):
        if shutil.which(program) is None:
            raise NoGuest(f"{program} is not installed")
    with open(BUSYBOX, "rb") as file:
        if b"/ld-linux" in file.read():
            raise NoGuest(f"{BUSYBOX} needs libraries: busybox-static is not installed")


def run_in_guest(command, timeout, out=sys.stdout, more=(), fewer=()):
    """Copies the command's output to `out`; returns its exit code. NoGuest where none can be.

    With `more` and `fewer` modules than MODULES_OF_TESTS.
    """
    check_host()
    kernel = fetch_kernel()
    image = os.path.join(CACHE, f"initramfs-{os.getpid()}.gz")
    with open(image, "wb") as file:
        file.write(initramfs(kernel, command, list(more), fewer))
    argv = [QEMU, "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-m", str(MEMORY_MIB), "-smp", "2", "-nodefaults", "-display", "none",
            "-no-reboot", "-serial", "stdio",
            "-kernel", vmlinuz(kernel), "-initrd", image,
            "-append", "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off "
                       "no_timer_check",
            "-device", "virtio-rng-pci",
            "-fsdev", "local,id=r,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=r,mount_tag=host"]
    try:
        guest = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        watchdog = threading.Timer(timeout, guest.kill)
        watchdog.start()
        code = None
        for line in guest.stdout:
            text = line.decode(errors="replace").replace("\r", "")
            if text.startswith(ENDED):
                code = int(text[len(ENDED):])
            else:
                out.write(text)
                out.flush()
        guest.wait()
        watchdog.cancel()
    finally:
        os.unlink(image)
    if code is None:
        out.write(f"guest: the command did not come to its end (the limit is {timeout} s)\n")
        return 1
    return code


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=float, default=300)
    for which in ("with", "without"):
        parser.add_argument("--" + which, type=lambda names: names.split(","), default=[],
                            metavar="MODULE,...")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    try:
        if arguments.prepare:
            check_host()
            fetch_kernel()
            return
        sys.exit(run_in_guest(arguments.command, arguments.timeout,
                              more=getattr(arguments, "with"), fewer=arguments.without))
    except NoGuest as reason:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
