# SPDX-License-Identifier: BSD-2-Clause
"""Programs that send without a copy: MSG_ZEROCOPY and splice. What is on the wire does not change, whatever the program
does to it, and comes back to it when it is acknowledged."""
import os
import random
import socket
import subprocess
import threading
import time

import pytest

from conftest import Tap
from held import Held
from relay import Peer
from tcp_peer import ACK, FIN, MSS_SACK, PSH, SYN, Connection
from vm import PATIENCE, ROOT, VM, make_volume

FILE = random.Random(9).randbytes(2_000_003)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("zerocopy")
    (root / "bin").mkdir()
    subprocess.run(["cp", "/bin/busybox", root / "bin"], check=True)
    for name in ("zero", "pipes"):
        subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / name,
                        os.path.join(ROOT, "tests", "programs", name + ".c")], check=True)
    (root / "big.bin").write_bytes(FILE)
    (root / "index.html").write_text("hello\n")
    return make_volume(root, str(root) + ".img")


@pytest.fixture(params=["", "nic=late"], ids=["plain", "late"])
def machine(request, tap, volume):
    with tap.vm([volume], append=f"cache=unmapped {request.param}", name="zerocopy") as vm:
        vm.get("/")
        yield vm


def pattern(bytes_):
    return bytes((n * 7 + n // 4096) % 251 for n in range(bytes_))


POOLS = ("tcp socket", "zerocopy socket", "zerocopy send", "zerocopy page", "pagebuf", "pipe", "process",
        "program file")


def receive(s, count):
    data = bytearray()
    while len(data) < count and (piece := s.recv(1 << 20)):
        data += piece
    return bytes(data)


def at_the_console(vm, line):
    """Types a line whose program runs on; its output comes when it is joined."""
    out = []
    thread = threading.Thread(target=lambda: out.append(vm.command(line)))
    thread.start()
    return thread, out


def copied(vm, site="stream_head"):
    return vm.metrics()[f'pagewire_copy_bytes_total{{site="{site}"}}']


def sends_without_a_copy(machine, verb, what, wanted):
    """The program connects, sends when it is told to, and waits for another word; the two are copied, nothing else."""
    held = Held(machine, POOLS)
    with socket.create_server((Tap.HOST, 0)) as server:
        thread, out = at_the_console(machine, f"LOAD zero {verb} {Tap.HOST} {server.getsockname()[1]} {what}")
        s, _ = server.accept()
        with s:
            start = copied(machine)
            s.sendall(b"g")
            assert receive(s, len(wanted)) == wanted
            assert copied(machine) - start == 1 and copied(machine, "other") == 0
            s.sendall(b"e")
            thread.join()
    assert "ok" in out[0].split(), out
    held.back()


def test_what_is_sent_by_reference_is_copied_nowhere_and_does_not_change(machine):
    sends_without_a_copy(machine, "send", 3_000_000, pattern(3_000_000))


def test_a_program_that_ends_leaves_what_is_on_the_wire(machine):
    held = Held(machine, POOLS)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that most of it stays with the guest
        server.bind((Tap.HOST, 0))
        server.listen()
        out = machine.command(f"LOAD zero leave {Tap.HOST} {server.getsockname()[1]}")
        size = next(int(w) for w, b in zip(out.split(), out.split()[1:]) if b == "bytes")
        s, _ = server.accept()
        with s:
            assert held.now()["pagewire_user_frames"] > held.before["pagewire_user_frames"]
            assert receive(s, size + 1) == pattern(size)
    held.back()


def test_a_file_by_splice_is_copied_nowhere(machine):
    sends_without_a_copy(machine, "splice", "/big.bin", FILE)


def test_what_one_connection_brought_goes_to_another_through_a_pipe_and_is_copied_nowhere(machine):
    held = Held(machine, POOLS)
    with socket.create_server((Tap.HOST, 0)) as server:
        thread, out = at_the_console(machine, f"LOAD pipes relay 7100 {Tap.HOST} {server.getsockname()[1]}")
        end = time.monotonic() + PATIENCE
        while True:
            try:
                s = socket.create_connection((Tap.GUEST, 7100), timeout=PATIENCE)
                break
            except ConnectionRefusedError:  # the program is still starting
                assert time.monotonic() < end
                time.sleep(0.1)
        to, _ = server.accept()
        with s, to:
            start = copied(machine)
            sender = threading.Thread(target=lambda: s.sendall(FILE))
            sender.start()
            assert receive(to, len(FILE)) == FILE
            sender.join()
            assert copied(machine) - start == 0 and copied(machine, "other") == 0
            s.shutdown(socket.SHUT_WR)
            assert not to.recv(1)
        thread.join()
    assert f"{len(FILE)} bytes" in out[0], out
    held.back()


def test_pages_and_bytes_leave_a_pipe_in_order(machine):
    held = Held(machine, POOLS)
    out = machine.command("LOAD zero pipe /big.bin")
    assert "ok" in out.split(), out
    held.back()


def test_what_was_lost_is_sent_again_as_it_was(volume):
    """The peer acknowledges nothing until the data has come again; the program has long written over it."""
    peer = Peer()
    with VM(disks=[volume], net=peer.wire.netdev, append=f"{Peer.KERNEL_WORD} cache=unmapped", name="zerolost") as vm:
        peer.wait()
        vm.command("LOAD zero serve 7000 &")
        end = time.monotonic() + PATIENCE
        while True:  # until the program listens
            c = Connection(peer, dest=7000)
            c.send(SYN, options=MSS_SACK)
            answer = c.hear()
            if answer.flags == SYN | ACK:
                break
            assert time.monotonic() < end
            time.sleep(0.1)
        c.ack = answer.seq + 1
        c.send(ACK)
        c.send(ACK | PSH, b"please\n")
        first = c.hear(want=lambda s: s.data)
        again = c.hear(want=lambda s: s.data and s.seq == first.seq)
        assert first.data == again.data == pattern(1000)
        c.ack = first.end
        c.send(ACK | FIN)
        c.hear(want=lambda s: s.flags & FIN)
        c.reset()
    peer.close()
