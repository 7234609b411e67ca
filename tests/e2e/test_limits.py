# SPDX-License-Identifier: BSD-2-Clause
"""When something is full: connections, memory, the console's patience."""
import hashlib
import random
import re
import socket
import time

import pytest

from vm import PATIENCE, VM, make_volume


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    top = tmp_path_factory.mktemp("limits")
    folder = top / "files"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello\n")
    return make_volume(folder, top / "sys.img")


def ask(s, close=False):
    s.sendall(b"GET /hello.txt HTTP/1.1\r\nHost: x\r\n" + (b"Connection: close\r\n" if close else b"") + b"\r\n")
    return s.recv(4096)


def test_idle_connections_make_room_for_new_ones(small):
    with VM(disks=[small], append="http_connections=20", name="full") as vm:
        before = vm.lent()
        idle = [socket.create_connection(vm.peer, timeout=PATIENCE) for _ in range(20)]
        for s in idle:
            assert b" 200 " in ask(s)
        for _ in range(5):
            with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
                assert b" 200 " in ask(s, close=True)
        for s in idle:
            s.close()
        assert vm.metrics()["pagewire_http_evicted_total"] >= 1
        vm.assert_returned(before)


def until_console_says(vm, command, pattern):
    """The console needs no connection."""
    end = time.monotonic() + PATIENCE
    while not re.search(pattern, said := vm.command(command)):
        assert time.monotonic() < end, said
        time.sleep(0.1)


def test_busy_connections_do_not_and_the_newcomer_is_told(small):
    with VM(disks=[small], append="http_connections=8 http_head=3600", name="busy") as vm:
        busy = [socket.create_connection(vm.peer, timeout=PATIENCE) for _ in range(8)]
        for s in busy:
            s.sendall(b"GET /hello.txt HTTP/1.1\r\n")  # a request has begun: not idle
        until_console_says(vm, "STATS pagewire_http_conn", r'state="request"\}\s+8\b')
        with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
            assert b" 503 " in s.recv(4096).split(b"\r\n")[0]
        for s in busy:
            s.sendall(b"Host: x\r\n\r\n")
            assert b" 200 " in s.recv(4096)
            s.close()


@pytest.mark.parametrize("mode", ["cache=unmapped", "cache=unmapped nic=late"])
def test_files_larger_than_memory(tmp_path, mode):
    """A 64 MB machine serves 150 MB, twice, in an order that the cache cannot guess."""
    rng = random.Random(7)
    folder = tmp_path / "files"
    folder.mkdir()
    sums = {}
    for n in range(30):
        data = rng.randbytes(5 << 20)
        (folder / f"{n}.bin").write_bytes(data)
        sums[n] = hashlib.sha256(data).hexdigest()
    image = make_volume(folder, tmp_path / "sys.img")
    with VM(disks=[image], mem=64, append=mode, name="tight") as vm:
        vm.get("/0.bin")
        before = vm.lent()
        for n in [*range(30), *rng.sample(range(30), 30)]:
            assert hashlib.sha256(vm.get(f"/{n}.bin")).hexdigest() == sums[n], n
        assert vm.metrics()["pagewire_cache_evictions_total"] > 10000
        vm.assert_returned(before)


def test_restart_restarts(small):
    with VM(disks=[small], name="restart") as vm:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{vm.dir}/console")
            s.sendall(b"RESTART\r")
            s.settimeout(PATIENCE)
            while s.recv(65536):
                pass  # until QEMU, which was told not to reboot, leaves
        assert vm.wait_exit() == 0
        vm.stopped = True
