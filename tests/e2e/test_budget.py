# SPDX-License-Identifier: BSD-2-Clause
"""Budgets: how many instructions an answer may take, and how many bytes the processor may load for each byte it
serves. Counted by a QEMU plugin (bench/count), so a busy host changes nothing but the number of frames that come at
a time; what an idle processor does while it waits is left out. When a path gets longer than its budget this fails:
make it shorter again, or say in the commit why it is worth more."""
import bisect
import os
import signal
import socket
import subprocess

import pytest

from relay import Peer
from tcp_peer import ACK, FIN, MSS_SACK_SCALE, PSH, SYN, Connection, Segment, mod
from vm import PATIENCE, ROOT, VM, make_volume

# Measured 1,430; and for each byte of the large file, to a client that acknowledges 64 KB at a time, 0.034 to 0.039 instructions
# and 0.045 to 0.051 bytes loaded, or 0.067 and 0.101 where each acknowledgement finds the processor halted, which no host can
# make worse.
SMALL_ANSWER = 1670
# Of 4 KB over IPv6, where the driver cuts the answer into four packets; measured 2,250.
SMALL_ANSWER6 = 2600
LARGE_INSTRUCTIONS, LARGE_LOADS = 0.08, 0.115
NEW_CONNECTION = 8500  # for one request; measured 7,700, with a client without time stamps
# From kernel entry to the ready line with 1 GB, an address given and a small volume; measured 190,000. On a host that is so
# slow that a second goes by meanwhile, the screen is painted in it, for 85,000.
BOOT = 300_000
STEP = 1.35  # dearest to cheapest answer of one to three segments; two bring a bare acknowledgement, a fifth of all
# What an idle processor calls over and over until something comes, and hardly anything else does.
WAITING = {"sched_switch", "e1000_look", "wtd_pending", "clock_ns"}
SO_RCVBUFFORCE = 33  # socket(7)
SIZES = (900, 1150, 1170, 1200, 1458, 1460, 1462, 2630, 2920, 2922, 4096)
LARGE = 64 << 20


class Counter:
    """What the guest has executed so far."""

    def __init__(self, folder):
        self.socket, self.profile = f"{folder}/count.sock", f"{folder}/profile"
        out = subprocess.run(["nm", "-n", f"{ROOT}/build/pagewire.elf"], check=True, capture_output=True, text=True)
        table = [line.split() for line in out.stdout.splitlines()]
        table = [(int(row[0], 16), row[2]) for row in table if len(row) == 3 and row[1] in "tT"]
        self.starts, self.names = [start for start, _ in table], [name for _, name in table]

    def words(self):
        return ["-plugin", f"{ROOT}/build/libcount.so,socket={self.socket},profile={self.profile}"]

    def read(self):
        """Instructions and bytes loaded so far, both outside WAITING."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
            s.makefile().readline()
        instructions = loaded = 0
        with open(self.profile) as lines:
            for line in lines:
                address, length, executions, load_bytes = line.split()
                at = bisect.bisect_right(self.starts, int(address, 16)) - 1
                if at < 0 or self.names[at] not in WAITING:
                    instructions += int(length) * int(executions)
                    loaded += int(load_bytes)
        return instructions, loaded


def prepare(tmp_path):
    subprocess.run(["make", "-s", "build/libcount.so"], cwd=ROOT, check=True)
    folder = tmp_path / "files"
    folder.mkdir()
    for size in (*SIZES, LARGE):
        (folder / f"{size}.bin").write_bytes(os.urandom(size))
    return make_volume(folder, tmp_path / "sys.img"), Counter(tmp_path)


@pytest.fixture
def counted(tap, tmp_path):
    volume, counter = prepare(tmp_path)
    with tap.vm([volume], append="log=off", mem=512, name="budget",
                extra=counter.words()) as vm:
        yield vm, counter


def read_reply(s, body):
    got = b""
    while b"\r\n\r\n" not in got:
        got += s.recv(65536)
    assert got.startswith(b"HTTP/1.1 200 ")
    left = got.index(b"\r\n\r\n") + 4 + body - len(got)
    while left:
        left -= len(s.recv(min(left, 1 << 20)))


def instructions_a_request(vm, counter, sockets, size, rounds=25):
    """The requests wait in the tap while the machine stands still, so that they come together on a slow host, too. A
    signal stops it at once: after 40 ms without a request the client would acknowledge by a segment of its own."""
    request = f"GET /{size}.bin HTTP/1.1\r\nHost: pagewire\r\n\r\n".encode()

    def all_at_once(times):
        for _ in range(times):
            vm.process.send_signal(signal.SIGSTOP)
            for s in sockets:
                s.sendall(request)
            vm.process.send_signal(signal.SIGCONT)
            for s in sockets:
                read_reply(s, size)

    all_at_once(5)  # in the cache, and remembered
    before = counter.read()[0]
    all_at_once(rounds)
    return (counter.read()[0] - before) / (rounds * len(sockets))


def test_small_answers_stay_within_their_budget_and_make_no_steps(counted):
    """The path's length is the least that is seen: a client's host that stalls acknowledges more often."""
    vm, counter = counted
    sockets = [socket.create_connection(vm.peer, timeout=PATIENCE) for _ in range(16)]
    cost = {}
    for _ in range(20):
        now = {size: instructions_a_request(vm, counter, sockets, size) for size in SIZES}
        cost = {size: min(now[size], cost.get(size, now[size])) for size in SIZES}
        print(cost)
        if cost[4096] <= SMALL_ANSWER and max(cost.values()) <= STEP * min(cost.values()):
            break
    assert cost[4096] <= SMALL_ANSWER, cost
    assert max(cost.values()) <= STEP * min(cost.values()), cost


def test_a_small_answer_over_ipv6_stays_within_its_budget(counted, tap):
    vm, counter = counted
    sockets = [tap.connect6() for _ in range(16)]
    costs = []
    for _ in range(20):
        costs.append(instructions_a_request(vm, counter, sockets, 4096))
        print(costs)
        if costs[-1] <= SMALL_ANSWER6:
            return
    raise AssertionError(costs)


class Steady(Connection):
    """A client whose acknowledgements depend on bytes alone: one for each EVERY that have come in order, whatever the
    speed of this host. What a host's own stack would send depends on how many frames it finds at a time."""

    FIRST, FIRST_EVERY = 1 << 20, 8 * 1460  # until the server's window is open; then what a host that gathers frames does,
    EVERY = 44 * 1460  # so that it matters little how many acknowledgements the server finds at a time

    def download(self, path, size):
        """The answer's length after its head, all of it acknowledged."""
        self.ask(path)
        head = self.hear(want=lambda s: s.seq == self.ack and s.data)
        assert head.data.startswith(b"HTTP/1.1 200 "), head.data[:80]
        end = mod(self.ack + head.data.index(b"\r\n\r\n") + 4 + size)
        self.ack, unacknowledged, first = head.end, len(head.data), self.FIRST
        while self.ack != end:
            frame = self.peer.socket.recv(2048)
            if frame[12:14] != b"\x08\0" or frame[23] != 6 or frame[36:38] != self.port.to_bytes(2, "big"):
                continue
            behind = mod(self.ack - int.from_bytes(frame[38:42], "big"))
            if behind:  # sent again because this host stood still
                assert behind < 1 << 31, "a frame was lost on a wire that loses none"
                self.send(ACK)
                first = self.FIRST
                continue
            length = int.from_bytes(frame[16:18], "big") - 20 - (frame[46] >> 4) * 4
            self.ack = mod(self.ack + length)
            unacknowledged += length
            first -= length
            if unacknowledged >= (self.EVERY if first < 0 else self.FIRST_EVERY) or self.ack == end:
                self.send(ACK)
                unacknowledged = 0
        self.until_quiet()


@pytest.fixture
def steady(tmp_path):
    peer = Peer()
    peer.socket.settimeout(PATIENCE)
    peer.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)  # more than is ever under way
    volume, counter = prepare(tmp_path)
    machine = VM(disks=[volume], net=peer.wire.netdev, append=f"{Peer.KERNEL_WORD} log=off", mem=512, name="budget",
                 extra=counter.words())
    with machine:
        peer.wait()
        client = Steady(peer)
        client.vm = machine
        yield client, counter
    peer.close()


def test_a_large_file_stays_within_its_budget(steady):
    client, counter = steady
    client.open(options=MSS_SACK_SCALE, window=8192)  # of 128 bytes
    client.window = 8192
    costs = []
    client.download(f"/{LARGE}.bin", LARGE)  # from the disk
    for _ in range(6):  # more than once where something was sent again
        before = counter.read()
        client.download(f"/{LARGE}.bin", LARGE)
        costs.append([(b - a) / LARGE for a, b in zip(before, counter.read())])
        if costs[-1][0] <= LARGE_INSTRUCTIONS and costs[-1][1] <= LARGE_LOADS:
            return
    raise AssertionError(costs)


class Once(Connection):
    """A client that asks once, with a connection of its own."""

    opened = closed = over = False

    def take(self, segment):
        if segment.flags & SYN:
            self.ack, self.opened = segment.end, True
        elif segment.seq == self.ack:
            self.ack = segment.end
            self.closed |= bool(segment.flags & FIN)
        self.over |= self.closed and segment.ack == self.seq


def instructions_a_connection(vm, peer, counter, count=32):
    """What they send waits in the wire while the machine stands still, so that it comes together on a slow host, too."""
    clients = [Once(peer) for _ in range(count)]
    by_port = {client.port: client for client in clients}

    def together(say, until):
        def heard(frame):
            if frame[12:14] == b"\x08\0" and frame[23] == 6:
                segment = Segment(frame)
                if segment.dest in by_port:
                    by_port[segment.dest].take(segment)
            return all(map(until, clients))

        vm.process.send_signal(signal.SIGSTOP)
        for client in clients:
            say(client)
        vm.process.send_signal(signal.SIGCONT)
        assert peer.hear(PATIENCE, heard), "no answer"

    def ask(client):
        client.send(ACK)
        client.send(ACK | PSH, b"GET /4096.bin HTTP/1.1\r\nHost: pagewire\r\nConnection: close\r\n\r\n")

    def leave(client):
        client.send(ACK)
        client.send(ACK | FIN)

    before = counter.read()[0]
    together(lambda client: client.send(SYN, options=MSS_SACK_SCALE), lambda client: client.opened)
    together(ask, lambda client: client.closed)
    together(leave, lambda client: client.over)
    return (counter.read()[0] - before) / count


def test_a_connection_for_a_request_stays_within_its_budget(steady):
    client, counter = steady
    costs = []
    for _ in range(20):  # the first are from the disk and not remembered; more where something was sent again
        costs.append(instructions_a_connection(client.vm, client.peer, counter))
        if len(costs) > 3 and costs[-1] <= NEW_CONNECTION:
            break
    print(costs)
    assert costs[-1] <= NEW_CONNECTION, costs


def test_boot_stays_within_its_budget(tmp_path):
    """Its devices are waited for by looking at first: where the host stands still that takes longer, and it is done again."""
    subprocess.run(["make", "-s", "build/libcount.so"], cwd=ROOT, check=True)
    (tmp_path / "files").mkdir()
    volume, counter = make_volume(tmp_path / "files", tmp_path / "sys.img"), Counter(tmp_path)
    at = dict(zip(counter.names, counter.starts))
    costs = []
    for n in range(10):
        path = f"{tmp_path}/{n}.sock"
        words = f"socket={path},memory=off,from={at['boot_pvh']:x},until={at['say_ready']:x}"
        with VM([volume], mem=1024, append="ip=10.0.2.15::10.0.2.2:255.255.255.0:pagewire:eth0:off", name="budget",
                extra=["-plugin", f"{ROOT}/build/libcount.so,{words}"]):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                costs.append(int(s.makefile().readline().split()[0]))
        print(costs)
        if costs[-1] <= BOOT:
            return
    raise AssertionError(costs)
