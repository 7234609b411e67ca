#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A relay for Ethernet frames between two ends: it loses, doubles, reorders, delays and corrupts them at
given rates, in both directions, by a seed. An end is a pair of UDP ports as QEMU's `-netdev dgram` has
them (ours, which takes frames from it, and its own), or the name of a tap device.

    relay.py --a 4001:4002 --b 4003:4004 --seed 1 --drop 0.01 --delay 0.1:0.005
    relay.py --a 4001:4002 --b tap0 --seed 1 --corrupt 0.02

Each kind of harm that is asked for happens to one of the first EARLY frames of each direction that it can
happen to, whatever its rate: a test that sends more than that need not hope for luck.

Prints `ready`; on SIGTERM, what it did: `frames=900 drop=3 ...` of both directions together, then
`a.corrupt=2` of those that came from end a. As a module: `Wire` is one QEMU end with its `-netdev` words,
`tap_relay()` the whole arrangement between a guest and the host's own stack, `Peer` a raw-frame host of a test's own."""
import argparse
import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from vm import PATIENCE, free_port

HARMS = ("drop", "double", "reorder", "corrupt")
SO_RCVBUFFORCE = 33  # socket(7)
REORDER_WAIT = 0.02  # a frame to be overtaken waits no longer than this
EARLY = 24
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def udp(port=0):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", port))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    with contextlib.suppress(PermissionError):  # a card sends bursts of 64 KB; what does not fit would be lost
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    return s


class UdpEnd:
    """A QEMU behind a pair of UDP ports."""

    def __init__(self, ours, theirs):
        self.socket, self.theirs = udp(ours), theirs

    def fileno(self):
        return self.socket.fileno()

    def take(self):
        return self.socket.recv(65536)

    def give(self, frame):
        with contextlib.suppress(OSError):  # nobody there yet, or not any more
            self.socket.sendto(frame, ("127.0.0.1", self.theirs))


class TapEnd:
    """The host's own stack behind a tap device."""

    def __init__(self, name):
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))

    def fileno(self):
        return self.fd

    def take(self):
        return os.read(self.fd, 65536)

    def give(self, frame):
        with contextlib.suppress(OSError):
            os.write(self.fd, frame)


class Lane:
    """One direction: frame in, what is left of it out, now or later."""

    def __init__(self, name, give, rates, rng, counts):
        self.name, self.give, self.rates, self.rng, self.counts = name, give, rates, rng, counts
        self.later = []  # heap of (when, number, frame)
        self.number = 0
        self.early = {what: rng.randrange(EARLY) for what in (*HARMS, "delay")} if rates.early else {}

    def count(self, what):
        for name in (what, f"{self.name}.{what}"):
            self.counts[name] = self.counts.get(name, 0) + 1

    def happens(self, what, rate):
        if not rate:
            return False
        self.early[what] = self.early.get(what, 0) - 1
        if (self.early[what] != -1 or not self.rates.early) and self.rng.random() >= rate:
            return False
        self.count(what)
        return True

    def spoil(self, frame):
        """A bit behind the IP header, where a checksum covers every one, and not in Ethernet's padding."""
        spoilt = bytearray(frame)
        end = min(len(frame), 14 + struct.unpack("!H", frame[16:18])[0])
        spoilt[self.rng.randrange(34, end)] ^= 1 << self.rng.randrange(8)
        return bytes(spoilt)

    def pass_on(self, frame, now):
        self.count("frames")
        if self.happens("drop", self.rates.drop):
            return
        if len(frame) >= 54 and frame[12:14] == b"\x08\0" and self.happens("corrupt", self.rates.corrupt):
            frame = self.spoil(frame)
        wait = self.rates.latency
        rate, longest = self.rates.delay
        if self.happens("delay", rate):
            wait += self.rng.uniform(0, longest)
        elif self.happens("reorder", self.rates.reorder):
            wait += REORDER_WAIT
        self.put(frame, now + wait)
        if self.happens("double", self.rates.double):
            self.put(frame, now + wait)

    def put(self, frame, when):
        self.number += 1
        heapq.heappush(self.later, (when, self.number, frame))

    def flush(self, now):
        while self.later and self.later[0][0] <= now:
            self.give(heapq.heappop(self.later)[2])


def run(options):
    ends = [options.a, options.b]
    rng, counts = random.Random(options.seed), {}
    lanes = [Lane("a", ends[1].give, options, rng, counts), Lane("b", ends[0].give, options, rng, counts)]

    def finish(*_):
        names = ("frames", *HARMS, "delay")
        print(" ".join(f"{n}={counts.get(n, 0)}" for n in (*names, *(f"{e}.{n}" for e in "ab" for n in names))),
              flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, finish)
    print("ready", flush=True)
    while True:
        due = min((lane.later[0][0] for lane in lanes if lane.later), default=None)
        readable = select.select(ends, [], [], None if due is None else max(0, due - time.monotonic()))[0]
        now = time.monotonic()
        for end, lane in zip(ends, lanes):
            if end in readable:
                with contextlib.suppress(OSError):
                    lane.pass_on(end.take(), now)
            lane.flush(now)


class Wire:
    """One end: `netdev` is what QEMU is to be told, `ports` what the other side uses."""

    def __init__(self, ident="net"):
        self.ours, self.theirs = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        self.ports = f"{self.ours}:{self.theirs}"
        self.netdev = ["-netdev", f"dgram,id={ident},local.type=inet,local.host=127.0.0.1,"
                       f"local.port={self.theirs},remote.type=inet,remote.host=127.0.0.1,"
                       f"remote.port={self.ours}"]


class Relay:
    """This file as a process; done() ends it and says what it did, {name: count}."""

    def __init__(self, a, b, seed, rates):
        command = [sys.executable, os.path.abspath(__file__), "--a", a, "--b", b, "--seed", str(seed)]
        for name, value in rates.items():
            command += [f"--{name}", str(value)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().startswith("ready")

    def done(self):
        self.process.send_signal(signal.SIGTERM)
        words = self.process.communicate(timeout=PATIENCE)[0].split()
        return {name: int(count) for name, count in (word.split("=") for word in words)}

    def close(self):
        if self.process.poll() is None:
            self.done()


@contextlib.contextmanager
def tap_relay(tap, seed, **rates):
    """Yields (QEMU netdev words for the guest, the Relay): guest - relay - `tap`. End a is the guest."""
    guest = Wire()
    between = Relay(guest.ports, tap, seed, rates)
    try:
        yield guest.netdev, between
    finally:
        between.close()


def checksum(data, start=0):
    data += b"\0" * (len(data) % 2)
    total = start + sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def is_echo(frame, number):
    """An answer to the echo request of that number."""
    return frame[12:14] == b"\x08\0" and frame[23] == 1 and frame[34] == 0 and \
        struct.unpack("!H", frame[40:42])[0] == number


class Peer:
    """A host of one wire: builds frames, right or wrong, and collects what the guest sends. The guest is
    to have the address GUEST; ARP is answered by hear(). Silence is proved without waiting: an echo request goes
    behind what must not be answered, and its answer comes first (until_quiet)."""

    MAC, GUEST_MAC = bytes.fromhex("020000000001"), bytes.fromhex("525400123456")
    IP, GUEST = bytes([10, 88, 0, 1]), bytes([10, 88, 0, 2])
    KERNEL_WORD = "ip=10.88.0.2::10.88.0.1:255.255.255.0:pagewire:eth0:off"

    def __init__(self):
        self.wire = Wire()
        self.socket = udp(self.wire.ours)
        self.marks = itertools.count(40000)

    def send(self, frame):
        self.socket.sendto(frame, ("127.0.0.1", self.wire.theirs))

    def ip(self, protocol, payload, spoil=None):
        """An IPv4 packet; spoil is the offset of a byte of the IP packet that is flipped afterwards."""
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, self.IP,
                           self.GUEST)
        packet = bytearray(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload)
        if spoil is not None:
            packet[spoil] ^= 0x10
        self.send(self.GUEST_MAC + self.MAC + b"\x08\x00" + bytes(packet))

    def echo(self, number, data=b"", spoil=None):
        body = struct.pack("!BBHHH", 8, 0, 0, 0x5057, number) + data
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        self.ip(1, body, spoil)

    def tcp(self, source, sequence, ack, flags, data=b"", window=65535, options=b"", spoil=None, dest=80):
        head = struct.pack("!HHIIBBHHH", source, dest, sequence & 0xffffffff, ack & 0xffffffff,
                           (5 + len(options) // 4) << 4, flags, window, 0, 0) + options
        pseudo = self.IP + self.GUEST + struct.pack("!BBH", 0, 6, len(head) + len(data))
        total = checksum(pseudo + head + data)
        self.ip(6, head[:16] + struct.pack("!H", total) + head[18:] + data, spoil)

    def hear(self, seconds, want=lambda frame: True):
        """The first frame that `want` accepts, or None; answers ARP meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                break
            frame = self.socket.recv(65536)
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == self.IP:
                self.send(frame[6:12] + self.MAC + frame[12:20] + b"\0\2" + self.MAC + self.IP +
                          frame[22:32])
            if want(frame):
                return frame
        return None

    def until_quiet(self):
        """IPv4 frames that the guest sends before it answers an echo request."""
        number, seen = next(self.marks), []

        def mark(frame):
            if is_echo(frame, number):
                return True
            if frame[12:14] == b"\x08\0":
                seen.append(frame)
            return False
        self.echo(number)
        assert self.hear(PATIENCE, mark), "the guest is dead"
        return seen

    def wait(self):
        """Until the guest answers; its card is deaf for the first second. Late answers are taken away."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            number = next(self.marks)
            self.echo(number)
            if self.hear(0.1, lambda frame: is_echo(frame, number)):
                break
        self.until_quiet()

    def close(self):
        self.socket.close()


def arguments():
    def end(text):
        return UdpEnd(*(int(p) for p in text.split(":"))) if ":" in text else TapEnd(text)

    def delay(text):
        rate, _, longest = text.partition(":")
        return float(rate), float(longest or 0.01)

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--a", type=end, required=True, metavar="OURS:THEIRS|TAP")
    parser.add_argument("--b", type=end, required=True, metavar="OURS:THEIRS|TAP")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--delay", type=delay, default=(0.0, 0.0), metavar="RATE:SECONDS")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="of every frame")
    parser.add_argument("--early", type=int, default=1, help="0: harm by the rates alone")
    for name in HARMS:
        parser.add_argument("--" + name, type=float, default=0.0)
    return parser.parse_args()


if __name__ == "__main__":
    run(arguments())
