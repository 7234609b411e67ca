# SPDX-License-Identifier: BSD-2-Clause
"""A hostile or broken host is on the wire, over IPv6: what is no plain TCP segment must come to the same as over the
straight way, or to nothing. See test_wire.py."""
import socket
import struct
import time

import pytest

from relay import checksum, is_echo
from tcp_peer import ACK, PSH, RST, SYN
from vm import PATIENCE

OURS = socket.inet_pton(socket.AF_INET6, "fe80::2")
GUEST = socket.inet_pton(socket.AF_INET6, "fe80::5054:ff:fe12:3456")
HOP_BY_HOP, FRAGMENT, OPTIONS = 0, 44, 60
PADDING = bytes([1, 4, 0, 0, 0, 0])  # PadN


def sealed(protocol, packet, at, source=OURS):
    total = checksum(source + GUEST + struct.pack("!II", len(packet), protocol) + packet)
    return packet[:at] + struct.pack("!H", total) + packet[at + 2:]


class Wire6:
    """Frames over IPv6 on relay.Peer's wire; neighbour solicitations are answered."""

    def __init__(self, peer):
        self.peer = peer

    def send(self, protocol, payload, hops=64, spoil=None, source=OURS):
        packet = bytearray(struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + source + GUEST + payload)
        if spoil is not None:
            packet[spoil] ^= 0x10
        self.peer.send(self.peer.GUEST_MAC + self.peer.MAC + b"\x86\xdd" + bytes(packet))

    @staticmethod
    def segment(port, seq, ack, flags, data=b"", source=OURS):
        head = struct.pack("!HHIIBBHHH", port, 80, seq & 0xffffffff, ack & 0xffffffff, 5 << 4, flags, 65535, 0, 0)
        return sealed(6, head + data, 16, source)

    def tcp(self, *arguments, **options):
        self.send(6, self.segment(*arguments), **options)

    def answers(self, frame):
        """Answers a solicitation of our address (RFC 4861, 4.4)."""
        if frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 135 and frame[62:78] == OURS:
            self.send(58, sealed(58, b"\x88\0\0\0\x60\0\0\0" + OURS + b"\2\1" + self.peer.MAC, 2), hops=255)

    def hear(self, want, seconds=PATIENCE):
        def heard(frame):
            self.answers(frame)
            return frame[12:14] == b"\x86\xdd" and frame[20] == 6 and want(frame)
        return self.peer.hear(seconds, heard)

    def until_quiet(self):
        """TCP frames that the guest sends before it answers an echo request."""
        number, seen = next(self.peer.marks), []

        def mark(frame):
            self.answers(frame)
            if frame[12:14] == b"\x86\xdd" and frame[20] == 6:
                seen.append(frame)
            return is_echo(frame, number)
        self.peer.echo(number)
        assert self.peer.hear(PATIENCE, mark), "the guest is dead"
        return seen

    def is_syn_ack(self, port):
        return lambda f: f[56:58] == struct.pack("!H", port) and f[67] & 0x12 == 0x12

    def open(self, port, **options):
        """The server's next sequence number."""
        self.tcp(port, 500, 0, SYN, **options)
        answer = self.hear(self.is_syn_ack(port))
        assert answer, "no SYN-ACK"
        return struct.unpack("!I", answer[58:62])[0] + 1


@pytest.fixture
def wire(lone):
    vm, peer = lone
    wire = Wire6(peer)
    end = time.monotonic() + PATIENCE
    while not wire.hear(wire.is_syn_ack(30999), 0.5):  # the guest makes sure of its address first, and learns where we are
        assert time.monotonic() < end, "no answer over IPv6"
        wire.tcp(30999, 1, 0, SYN)
    wire.tcp(30999, 2, 0, RST)
    wire.until_quiet()
    yield wire
    vm.assert_alive()


def test_a_syn_with_a_flipped_bit_is_dropped(wire):
    for port, place in enumerate([5, 20, 37, 40, 44, 53, 56], 31000):  # length, addresses, port, sequence, flags, checksum
        wire.tcp(port, 500, 0, SYN, spoil=place)
        assert not wire.until_quiet(), place
    wire.open(31100)
    wire.tcp(31100, 501, 0, RST)


ASK = b"GET /size-511.bin HTTP/1.1\r\nHost: x\r\n\r\n"


def is_answer(port):
    return lambda f: f[56:58] == struct.pack("!H", port) and b"HTTP/1.1 200" in f


def served(wire, port, send):
    """A request on a connection of its own, that `send` sends, is answered."""
    theirs = wire.open(port)
    wire.tcp(port, 501, theirs, ACK)
    send(wire.segment(port, 501, theirs, ACK | PSH, ASK))
    assert wire.hear(is_answer(port)), "no answer"
    wire.tcp(port, 501 + len(ASK), theirs, RST)


def test_a_request_with_a_flipped_bit_is_not_served_and_its_repetition_is(wire):
    def send(segment):
        for place in (5, 20, 37, 40, 44, 48, 53, 56, 65):  # of the packet; all but the last are of the headers
            wire.send(6, segment, spoil=place)
            assert not [f for f in wire.until_quiet() if is_answer(31201)(f)], place
        wire.send(6, segment)

    served(wire, 31201, send)


def test_any_hop_limit_will_do_for_the_last(wire):
    for hops in (1, 64, 255):
        served(wire, 31300 + hops, lambda segment: wire.send(6, segment, hops=hops))


def test_extension_headers_are_passed(wire):
    for kind in (HOP_BY_HOP, OPTIONS):
        served(wire, 31600 + kind, lambda segment: wire.send(kind, bytes([6, 0]) + PADDING + segment))


def test_fragments_are_put_together(wire):
    def send(segment):
        head = lambda at, more: struct.pack("!BBHI", 6, 0, at | more, 77)
        wire.send(FRAGMENT, head(40, 0) + segment[40:])
        wire.send(FRAGMENT, head(0, 1) + segment[:40])

    served(wire, 31701, send)


def test_from_where_nobody_can_be_there_is_no_answer(wire):
    for source in ("::", "::1", "ff02::1", "::ffff:10.88.0.1", "fe80::5054:ff:fe12:3456"):
        packed = socket.inet_pton(socket.AF_INET6, source)
        wire.send(6, wire.segment(31800, 500, 0, SYN, source=packed), source=packed)
        assert not wire.until_quiet(), source
