# SPDX-License-Identifier: BSD-2-Clause
"""A tap device for a machine that thousands of connections are made to."""
import errno
import socket
import subprocess
import time

from vm import PATIENCE, VM


class Tap:
    """A tap device in this process's own network namespace (tools/test makes one), and a machine on it."""

    GUEST, HOST = "10.77.0.2", "10.77.0.1"
    GUEST6 = "fe80::5054:ff:fe12:3456"  # that the machine makes of its MAC address

    def __init__(self, name="tap0"):
        self.name = name
        run = lambda *c: subprocess.run(c, check=True, capture_output=True)
        run("ip", "tuntap", "add", name, "mode", "tap")
        run("ip", "link", "set", name, "txqueuelen", "100000")  # a flood waits there for QEMU; none of it is lost
        run("ip", "addr", "add", self.HOST + "/24", "dev", name)
        run("ip", "link", "set", name, "up")
        for table in ("arp_cache", "ndisc_cache"):  # Linux asks thrice, a second apart: a machine may stand still for longer
            run("ip", "ntable", "change", "name", table, "dev", name, "mcast_probes", str(PATIENCE), "ucast_probes", str(PATIENCE))

    def vm(self, disks, append="cache=unmapped", **options):
        return VM(disks=disks, address=self.GUEST,
                  append=f"ip={self.GUEST}::{self.HOST}:255.255.255.0:pagewire:eth0:off {append}",
                  net=["-netdev", f"tap,id=net,ifname={self.name},script=no,downscript=no"],
                  **options)

    def connect6(self):
        """A connection over IPv6. The host makes sure that its own address is nobody else's before it uses it, for a second
        after the tap came up."""
        end = time.monotonic() + PATIENCE
        while True:
            s = socket.socket(socket.AF_INET6)
            s.settimeout(PATIENCE)
            try:
                s.connect((self.GUEST6, 80, 0, socket.if_nametoindex(self.name)))
                return s
            except OSError as error:
                s.close()
                if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def close(self):
        subprocess.run(["ip", "link", "del", self.name], check=False, capture_output=True)
