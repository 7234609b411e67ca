# SPDX-License-Identifier: BSD-2-Clause
"""The other end closes or resets a program's connection, in each state and while the program is in each call. The peer is made
by hand; what the call comes to is what Linux says, and nothing is held afterwards."""
import errno
import os
import struct
import subprocess
import threading
import time

import pytest

from relay import Peer, checksum
from tcp_peer import ACK, FIN, MSS_SACK, PSH, RST, SYN, Connection, Segment, mod
from test_tcp import metrics
from vm import PATIENCE, ROOT, VM, make_volume

IN, ERR, HUP, RDHUP = 1, 8, 16, 0x2000


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    root = tmp_path_factory.mktemp("ends")
    (root / "bin").mkdir()
    subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / "ends", os.path.join(ROOT, "tests", "programs", "ends.c")],
                   check=True)
    (root / "index.html").write_text("hello\n")
    peer = Peer()
    with VM(disks=[make_volume(root, str(root) + ".img")], net=peer.wire.netdev,
            append=f"{Peer.KERNEL_WORD} cache=unmapped", name="ends") as vm:
        peer.wait()
        yield vm, peer
    peer.close()


HELD = [b"pagewire_user_frames", b"pagewire_cache_pinned_pages", b"pagewire_processes"] + [
    b'pagewire_pool_used{pool="%s"}' % name for name in
    (b"tcp socket", b"epoll", b"epoll item", b"pipe", b"process", b"task", b"program file", b"pagebuf", b"address space")]


def held(peer):
    values = metrics(peer)
    return {name: values.get(name, 0) for name in HELD}


class Program:
    """At the console; `said()` waits for its end."""

    def __init__(self, vm, line):
        self.out = []
        self.thread = threading.Thread(target=lambda: self.out.append(vm.command("LOAD ends " + line)))
        self.thread.start()

    def said(self):
        self.thread.join()
        return [line for line in self.out[0].replace("\r", "").splitlines() if ": " in line]


def opened(peer, dest=7000, window=65535):
    """A connection; the program may not listen yet."""
    end = time.monotonic() + PATIENCE
    while True:
        c = Connection(peer, dest=dest)
        c.window = window
        c.send(SYN, options=MSS_SACK)
        answer = c.hear(want=lambda s: s.flags & (SYN | RST))
        if answer.flags & SYN:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    c.ack = mod(answer.seq + 1)
    c.send(ACK)
    return c


def finish(lone, before, program, wanted):
    assert program.said() == [wanted]
    end = time.monotonic() + PATIENCE
    while held(lone[1]) != before:
        assert time.monotonic() < end, (before, held(lone[1]))
        time.sleep(0.1)


def failed(number):
    return f"-1 {number}"


BY_RESET = {"recv": failed(errno.ECONNRESET), "waitall": failed(errno.ECONNRESET), "send": failed(errno.ECONNRESET),
            "sendfile": failed(errno.ECONNRESET), "splice-out": failed(errno.ECONNRESET), "zerocopy": failed(errno.ECONNRESET),
            "splice-in": failed(errno.ECONNRESET), "poll": f"{IN | ERR | HUP | RDHUP} 0", "epoll": f"{IN | ERR | HUP | RDHUP} 0",
            "half-closed": failed(errno.ECONNRESET), "send-after": failed(errno.ECONNRESET)}
BY_FIN = {"recv": "0 0", "waitall": "0 0", "splice-in": "0 0", "poll": f"{IN | RDHUP} 0", "epoll": f"{IN | RDHUP} 0",
          "half-closed": "0 0", "send-after": "1 0"}


def fragments(peer, dest, number, pieces):
    """A datagram of UDP, eight bytes of it in each fragment."""
    data = struct.pack("!HHHH", 9999, dest, 8 * pieces, 0) + bytes(8 * (pieces - 1))
    for n in range(pieces):
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, number, n | (0x2000 if n < pieces - 1 else 0), 64, 17, 0, peer.IP,
                           peer.GUEST)
        peer.send(peer.GUEST_MAC + peer.MAC + b"\x08\0" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] +
                  data[8 * n:8 * n + 8])


def test_datagrams_in_small_fragments_hold_no_more_than_the_socket_s_bound(lone):
    vm, peer = lone
    before = held(peer)
    program = Program(vm, "unread")
    c = opened(peer)
    c.ack = c.hear(want=lambda s: s.data).end
    c.send(ACK)
    for number in range(1, 31):
        fragments(peer, 7002, number, 64)
        peer.until_quiet()
    buffers = metrics(peer)[b'pagewire_rx_buffers{place="held"}']
    c.send(FIN | ACK)
    finish(lone, before, program, "unread: 1 0")
    assert buffers <= 208 * 1024 / 2048 + 64 + 8, buffers  # 64: fragments that wait for one that was lost


@pytest.mark.parametrize("call", BY_RESET)
def test_a_reset_ends_what_the_program_is_in(lone, call):
    before = held(lone[1])
    program = Program(lone[0], call)
    c = opened(lone[1], window=2000)
    first = c.hear(want=lambda s: s.data)
    c.ack = mod(first.seq + 1)
    c.send(ACK)
    if call == "half-closed":
        c.ack = c.hear(want=lambda s: s.flags & FIN).end
        c.send(ACK)
    c.until_quiet()
    c.send(RST | ACK)
    finish(lone, before, program, f"{call}: {BY_RESET[call]}")


@pytest.mark.parametrize("call", BY_FIN)
def test_a_fin_ends_what_the_program_is_in(lone, call):
    before = held(lone[1])
    program = Program(lone[0], call)
    c = opened(lone[1])
    c.ack = mod(c.hear(want=lambda s: s.data).seq + 1)
    c.send(ACK)
    c.until_quiet()
    c.send(FIN | ACK)
    c.until_quiet()
    assert program.said() == [f"{call}: {BY_FIN[call]}"]
    c.send(RST | ACK, seq=c.seq)  # whatever was still to come
    finish(lone, before, program, f"{call}: {BY_FIN[call]}")


def test_what_was_sent_before_the_end_is_read_first(lone):
    before = held(lone[1])
    program = Program(lone[0], "waitall")
    c = opened(lone[1])
    c.hear(want=lambda s: s.data)
    c.send(ACK | PSH, b"twelve bytes")
    c.send(FIN | ACK)
    c.until_quiet()
    assert program.said() == ["waitall: 12 0"]
    c.send(RST | ACK, seq=c.seq)
    finish(lone, before, program, "waitall: 12 0")


@pytest.mark.parametrize("end", [RST, RST | ACK, FIN | ACK], ids=["rst", "rst-ack", "fin"])
@pytest.mark.parametrize("state", ["syn-received", "established"])
def test_who_ends_before_it_is_taken_keeps_nobody_out(lone, state, end):
    before = held(lone[1])
    program = Program(lone[0], "accept")
    dead = opened(lone[1])
    dead.send(RST | ACK)
    for _ in range(3):
        dead = Connection(lone[1], dest=7000)
        dead.send(SYN, options=MSS_SACK)
        dead.ack = mod(dead.hear(want=lambda s: s.flags & SYN).seq + 1)
        if state == "established":
            dead.send(ACK)
        dead.until_quiet()
        dead.send(end)
        if end & FIN:
            dead.until_quiet()
            dead.send(RST | ACK)
    living = opened(lone[1])
    living.send(ACK | PSH, b"x")
    gate = opened(lone[1], dest=7001)
    living.ack = living.hear(want=lambda s: s.data == b"r").end
    for c in (living, gate):
        c.send(RST | ACK)
    finish(lone, before, program, "accept: 0 0")


def heard_syn(peer):
    def syn(frame):
        return frame[12:14] == b"\x08\0" and frame[23] == 6 and struct.unpack("!H", frame[36:38])[0] == 7000 and frame[47] == SYN
    frame = peer.hear(PATIENCE, syn)
    assert frame
    return Segment(frame)


@pytest.mark.parametrize("taken", [False, True], ids=["refused", "reset-when-established"])
def test_a_connect_that_is_reset(lone, taken):
    before = held(lone[1])
    program = Program(lone[0], "connect 10.88.0.1")
    syn = heard_syn(lone[1])
    c = Connection(lone[1], dest=syn.source)
    c.port, c.ack, c.window = 7000, mod(syn.seq + 1), 65535
    if taken:
        c.send(SYN | ACK, options=MSS_SACK)
        c.hear(want=lambda s: s.flags & ACK and not s.flags & SYN)
    c.send(RST | ACK)
    finish(lone, before, program, "connect: " + failed(errno.ECONNRESET if taken else errno.ECONNREFUSED))
