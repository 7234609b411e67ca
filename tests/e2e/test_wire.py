# SPDX-License-Identifier: BSD-2-Clause
"""A hostile or broken host is on the wire: no root and no tap needed (see relay.py). Wires that do harm to frames are in
test_network.py."""
import random
import re
import signal
import struct

import pytest

from relay import is_echo
from tcp_peer import connections
from vm import PATIENCE


def is_tcp_to(frame, port):
    return frame[12:14] == b"\x08\0" and frame[23] == 6 and struct.unpack("!H", frame[36:38])[0] == port


@pytest.mark.parametrize("place", [8, 10, 12, 24, 28, 47], ids=["ttl", "ip-checksum", "ip-source", "icmp-id",
                                                               "first-data", "last-data"])
def test_an_echo_request_with_a_flipped_bit_is_dropped(lone, place):
    vm, peer = lone
    peer.until_quiet()
    peer.echo(7000 + place, b"x" * 20, spoil=place)
    assert not [f for f in peer.until_quiet() if f[23] == 1 and f[34] == 0]
    peer.echo(8000 + place, b"x" * 20)
    assert peer.hear(PATIENCE, lambda f: is_echo(f, 8000 + place))
    vm.assert_alive()


@pytest.mark.parametrize("place", [8, 20, 24, 33, 36], ids=["ttl", "port", "sequence", "flags", "checksum"])
def test_a_syn_with_a_flipped_bit_is_dropped(lone, place):
    vm, peer = lone
    port = 20000 + place
    peer.until_quiet()
    peer.tcp(port, 1000, 0, 2, spoil=place)
    assert not [f for f in peer.until_quiet() if f[23] == 6]
    peer.tcp(port + 1, 1000, 0, 2)
    answer = peer.hear(PATIENCE, lambda f: is_tcp_to(f, port + 1))
    assert answer and answer[47] & 0x12 == 0x12
    peer.tcp(port + 1, 1001, 0, 4)  # RST, so that nothing is left half open
    vm.assert_alive()


def test_a_request_with_a_flipped_bit_is_not_served_and_its_repetition_is(lone):
    vm, peer = lone
    port, ask = 30001, b"GET /size-511.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    peer.tcp(port, 500, 0, 2)
    answer = peer.hear(PATIENCE, lambda f: is_tcp_to(f, port))
    theirs = struct.unpack("!I", answer[38:42])[0] + 1
    peer.tcp(port, 501, theirs, 0x18, ask, spoil=45)
    data = lambda f: is_tcp_to(f, port) and len(f) > 200
    assert not [f for f in peer.until_quiet() if data(f)]
    peer.tcp(port, 501, theirs, 0x18, ask)
    assert b"HTTP/1.1 200" in peer.hear(PATIENCE, data)
    peer.tcp(port, 501 + len(ask), theirs, 4)
    vm.assert_alive()


def test_frames_of_every_length_and_kind_do_no_harm(lone, seed):
    vm, peer = lone
    rng = random.Random(seed)
    kinds = [b"\x08\0", b"\x08\x06", b"\x86\xdd", b"\x81\0", b"\x88\xcc", b"\0\x10"]
    for n, length in enumerate(list(range(14, 80)) + [rng.randrange(80, 1515) for _ in range(300)]):
        head = peer.GUEST_MAC if rng.random() < 0.7 else b"\xff" * 6
        frame = bytearray(head + peer.MAC + rng.choice(kinds) + rng.randbytes(length - 14))
        if rng.random() < 0.5 and length > 34 and frame[12:14] == b"\x08\0":
            frame[14] = 0x45
            frame[30:34] = peer.GUEST
        peer.send(bytes(frame))
        if n % 16 == 0:  # and the socket between us is not flooded
            peer.echo(10000 + n)
            assert peer.hear(PATIENCE, lambda f: is_echo(f, 10000 + n)), f"dead after frame {n}"
    vm.assert_alive()


def test_icmp_errors_are_limited_and_echoes_are_not(lone):
    """All come at once, though the host may be slow: they wait in the wire. A machine that stands still in the middle is
    given some more, and asked again."""
    vm, peer = lone
    count = 150

    def held():
        with connections(lone) as connection:
            asker = connection()
            asker.open()
            asker.ask("/.pagewire/metrics", close=True)
            return int(re.search(rb"\npagewire_icmp_errors_held_total (\d+)", asker.collect()).group(1))

    for _ in range(10):
        before = held()
        peer.until_quiet()
        vm.process.send_signal(signal.SIGSTOP)
        for _ in range(count):
            peer.ip(17, struct.pack("!HHHH", 30000, 9, 12, 0) + b"what")
        vm.process.send_signal(signal.SIGCONT)
        errors = len([f for f in peer.until_quiet() if f[23] == 1 and f[34] == 3])
        assert held() - before == count - errors
        if errors < count:
            break
    assert 0 < errors < count
    seen = set()
    vm.process.send_signal(signal.SIGSTOP)
    for number in range(10000, 10000 + count):
        peer.echo(number)
    vm.process.send_signal(signal.SIGCONT)
    while len(seen) < count:
        answer = peer.hear(PATIENCE, lambda f: f[12:14] == b"\x08\0" and f[23] == 1 and f[34] == 0)
        assert answer, f"{count - len(seen)} echoes were not answered"
        seen.add(answer[40:42])
    vm.assert_alive()
