#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A relay between a tap device and QEMU's `-netdev dgram` that loses, doubles, reorders and corrupts
frames at given rates, in both directions, by a seed. Prints `ready`, and on SIGTERM what it did."""
import argparse
import fcntl
import os
import random
import select
import signal
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tap", required=True)
    parser.add_argument("--listen", type=int, required=True, help="UDP port QEMU sends frames to")
    parser.add_argument("--send", type=int, required=True, help="UDP port QEMU takes frames from")
    parser.add_argument("--seed", type=int, default=1)
    for name in ("drop", "double", "reorder", "corrupt"):
        parser.add_argument("--" + name, type=float, default=0.0)
    return parser.parse_args()


class Lane:
    """One direction. A reordered frame waits until the next one has passed it, or 20 ms."""

    def __init__(self, send, rates, rng, counts, corrupted):
        self.send, self.rates, self.rng, self.counts, self.waiting = send, rates, rng, counts, None
        self.corrupted = corrupted

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def pass_on(self, frame):
        self.count("frames")
        if self.rng.random() < self.rates.drop:
            self.count("dropped")
            return
        # Behind the IP header, where a checksum covers every byte; ARP has none.
        if self.rng.random() < self.rates.corrupt and len(frame) >= 54 and frame[12:14] != b"\x08\x06":
            spoilt = bytearray(frame)
            spoilt[self.rng.randrange(34, len(frame))] ^= 1 << self.rng.randrange(8)
            frame = bytes(spoilt)
            self.count(self.corrupted)
        if self.waiting is None and self.rng.random() < self.rates.reorder:
            self.waiting = frame
            self.count("reordered")
            return
        self.send(frame)
        if self.rng.random() < self.rates.double:
            self.send(frame)
            self.count("doubled")
        self.flush()

    def flush(self):
        if self.waiting is not None:
            frame, self.waiting = self.waiting, None
            self.send(frame)


def main():
    options = arguments()
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", options.tap.encode(), IFF_TAP | IFF_NO_PI))
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind(("127.0.0.1", options.listen))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    rng, counts = random.Random(options.seed), {}

    def to_guest(frame):
        try:
            wire.sendto(frame, ("127.0.0.1", options.send))
        except OSError:
            counts["unsent"] = counts.get("unsent", 0) + 1

    def to_host(frame):
        try:
            os.write(tap, frame)
        except OSError:
            counts["unsent"] = counts.get("unsent", 0) + 1

    down = Lane(to_guest, options, rng, counts, "corrupted_to_guest")
    up = Lane(to_host, options, rng, counts, "corrupted_to_host")

    def finish(*_):
        names = ("frames", "dropped", "doubled", "reordered", "corrupted_to_guest", "corrupted_to_host",
                 "unsent")
        print(" ".join(f"{n}={counts.get(n, 0)}" for n in names), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, finish)
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([tap, wire], [], [], 0.02)
        if not readable:
            down.flush()
            up.flush()
        try:
            if tap in readable:
                down.pass_on(os.read(tap, 65536))
            if wire in readable:
                up.pass_on(wire.recv(65536))
        except OSError:
            continue


main()
