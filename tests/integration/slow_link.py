"""A campus whose client is far away: `slow`, between its link and the router, holds each frame.

  client ----- lan ----- slow ----- lan ----- router

A bridge in user space, for not every kernel has netem.
"""

import collections
import os
import select
import socket
import threading
import time

import campus as c

DELAY = 0.025  # seconds, each way
ETH_P_ALL = 3


class Delay(threading.Thread):
    def __init__(self, host, names):
        super().__init__(daemon=True)
        self.ends = [host.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in names]
        for end, name in zip(self.ends, names):
            end.bind((name, ETH_P_ALL))
        self.waiting = collections.deque()  # (when, to where, frame)
        self.wakes, self.stops = os.pipe()
        self.start()

    def run(self):
        while True:
            wait = max(0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready = select.select([*self.ends, self.wakes], [], [], wait)[0]
            if self.wakes in ready:
                return
            for end in ready:
                frame, source = end.recvfrom(65535)
                if source[2] != socket.PACKET_OUTGOING:
                    other = self.ends[1 - self.ends.index(end)]
                    self.waiting.append((time.monotonic() + DELAY, other, frame))
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                _, end, frame = self.waiting.popleft()
                end.send(frame)

    def close(self):
        os.write(self.stops, b".")
        self.join()
        for end in self.ends:
            end.close()
        os.close(self.wakes)
        os.close(self.stops)


class SlowCampus(c.Campus):
    delay = None

    def wire(self, left, left_name, left_address, right, right_name, right_address):
        if (left, right) != ("client", "router"):
            super().wire(left, left_name, left_address, right, right_name, right_address)
            return
        self.hosts["slow"] = c.Host(self, "slow")
        self.slow.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
        for near, host, name, address in (("left", left, left_name, left_address),
                                          ("right", right, right_name, right_address)):
            c.run("ip", "link", "add", near, "netns", self.slow.namespace, "type", "veth", "peer",
                  "name", name, "netns", self.hosts[host].namespace)
            # The bridge takes frames as they are: whole, with checksums.
            self.hosts[host].run("ethtool", "-K", name, "tx", "off")
            self.hosts[host].ip("addr", "add", address, "dev", name)
            self.hosts[host].ip("link", "set", name, "up")
            self.slow.ip("link", "set", near, "up")
        self.delay = Delay(self.slow, ("left", "right"))

    def close(self, keep_directory=False):
        if self.delay is not None:
            self.delay.close()
            self.delay = None
        super().close(keep_directory)
