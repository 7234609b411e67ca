# SPDX-License-Identifier: BSD-2-Clause
"""Budgets: how many instructions an answer may take, and how many bytes the processor may load for each byte it
serves. Counted by a QEMU plugin (bench/count), so a busy host changes nothing but the number of frames that come at
a time; what an idle processor does while it waits is left out. When a path gets longer than its budget this fails:
make it shorter again, or say in the commit why it is worth more."""
import bisect
import os
import socket
import subprocess

import pytest

from vm import ROOT, make_volume

# Measured 3,320, and 0.10 instructions and 0.17 bytes loaded for each byte of the large file.
SMALL_ANSWER = 3600
LARGE_INSTRUCTIONS, LARGE_LOADS = 0.20, 0.25
STEP = 1.30  # dearest to cheapest answer of one to three segments
WAITING = {"sched_switch", "e1000_look"}
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
        """Instructions outside WAITING, bytes loaded."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
            loaded = int(s.makefile().readline().split()[2])
        instructions = 0
        with open(self.profile) as lines:
            for line in lines:
                address, length, executions = line.split()
                at = bisect.bisect_right(self.starts, int(address, 16)) - 1
                if at < 0 or self.names[at] not in WAITING:
                    instructions += int(length) * int(executions)
        return instructions, loaded


@pytest.fixture
def counted(tap, tmp_path):
    subprocess.run(["make", "-s", "build/libcount.so"], cwd=ROOT, check=True)
    folder = tmp_path / "files"
    folder.mkdir()
    for size in (*SIZES, LARGE):
        (folder / f"{size}.bin").write_bytes(os.urandom(size))
    counter = Counter(tmp_path)
    with tap.vm([make_volume(folder, tmp_path / "sys.img")], append="log=off", mem=512, name="budget",
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


def instructions_a_request(counter, sockets, size, rounds=150):
    request = f"GET /{size}.bin HTTP/1.1\r\nHost: pagewire\r\n\r\n".encode()

    def all_at_once(times):
        for _ in range(times):
            for s in sockets:
                s.sendall(request)
            for s in sockets:
                read_reply(s, size)

    all_at_once(5)  # in the cache, and remembered
    before = counter.read()[0]
    all_at_once(rounds)
    return (counter.read()[0] - before) / (rounds * len(sockets))


def test_small_answers_stay_within_their_budget_and_make_no_steps(counted):
    """The path's length is the least that is seen: a host that stalls makes frames come one by one."""
    vm, counter = counted
    sockets = [socket.create_connection(vm.peer, timeout=60) for _ in range(16)]
    cost = {}
    for _ in range(5):
        now = {size: instructions_a_request(counter, sockets, size) for size in SIZES}
        cost = {size: min(now[size], cost.get(size, now[size])) for size in SIZES}
        print(cost)
        if cost[4096] <= SMALL_ANSWER and max(cost.values()) <= STEP * min(cost.values()):
            break
    assert cost[4096] <= SMALL_ANSWER, cost
    assert max(cost.values()) <= STEP * min(cost.values()), cost


def test_a_large_file_stays_within_its_budget(counted):
    vm, counter = counted
    request = f"GET /{LARGE}.bin HTTP/1.1\r\nHost: pagewire\r\n\r\n".encode()
    costs = []
    with socket.create_connection(vm.peer, timeout=300) as s:
        for _ in range(6):  # the first one reads the disk
            before = counter.read()
            s.sendall(request)
            read_reply(s, LARGE)
            costs.append([(b - a) / LARGE for a, b in zip(before, counter.read())])
    print(costs)
    instructions, loaded = (min(column) for column in zip(*costs[1:]))
    assert instructions <= LARGE_INSTRUCTIONS and loaded <= LARGE_LOADS, costs
