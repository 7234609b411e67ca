# SPDX-License-Identifier: BSD-2-Clause
"""Programs on the network: their sockets, against clients of the host. What they send by sendfile is copied nowhere."""
import concurrent.futures
import hashlib
import os
import random
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import Tap
from held import Held
from vm import PATIENCE, ROOT, make_volume

FILE = random.Random(7).randbytes(3_000_001)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("sockets")
    (root / "bin").mkdir()
    subprocess.run(["cp", "/bin/busybox", root / "bin"], check=True)
    subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / "net", os.path.join(ROOT, "tests", "programs", "net.c")],
                   check=True)
    (root / "fetch.sh").write_text(f"busybox wget -qO- http://{Tap.HOST}:8899/x | busybox md5sum\n")
    (root / "big.bin").write_bytes(FILE)
    (root / "index.html").write_text("hello\n")
    return make_volume(root, str(root) + ".img")


@pytest.fixture(params=["", "nic=late"], ids=["plain", "late"])
def machine(request, tap, volume):
    with tap.vm([volume], append=f"cache=unmapped {request.param}", name="sockets") as vm:
        vm.get("/")
        yield vm


POOLS = ("tcp socket", "udp socket", "datagram", "epoll", "epoll item", "process", "task", "program file")


def connect(port):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((Tap.GUEST, port), timeout=PATIENCE)
        except ConnectionRefusedError:  # the program is still starting
            assert time.monotonic() < end
            time.sleep(0.1)


def receive_all(s):
    data = b""
    while piece := s.recv(1 << 20):
        data += piece
    return data


def copied(vm, site):
    return vm.metrics()[f'pagewire_copy_bytes_total{{site="{site}"}}']


def test_a_file_by_sendfile_is_copied_nowhere(machine):
    held = Held(machine, POOLS)
    machine.command("LOAD net serve 8000 /big.bin &")

    def fetch(_):
        with connect(8000) as s:
            s.sendall(b"please\n")
            return receive_all(s)
    assert fetch(0) == FILE
    start = copied(machine, "stream_head")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        for data in pool.map(fetch, range(40)):
            assert data == FILE
    assert copied(machine, "stream_head") - start == 40 * len(b"please\n") and copied(machine, "other") == 0
    held.stop()


def test_what_is_sent_comes_back(machine):
    held = Held(machine, POOLS)
    machine.command("LOAD net echo 9000 &")
    data = random.Random(1).randbytes(2_000_000)
    with connect(9000) as s:
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        assert receive_all(s) == data
        sender.join()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(PATIENCE)
        for size in (0, 1, 1472, 1473, 8000):
            u.sendto(data[:size], (Tap.GUEST, 9000))
            assert u.recv(65536) == data[:size]
    held.stop()


def test_clients_that_reset_or_vanish_leave_nothing(machine):
    held = Held(machine, POOLS)
    machine.command("LOAD net serve 8000 /big.bin &")
    for stage in (None, 0, 1, 1000, 100000, 1000000):
        for _ in range(5):
            s = connect(8000)
            if stage is not None:
                s.sendall(b"x\n")
                got = 0
                while got < stage:
                    got += len(s.recv(min(65536, stage - got)))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
    with connect(8000) as s:
        s.sendall(b"please\n")
        assert receive_all(s) == FILE
    held.stop()


def test_busybox_serves_and_fetches(machine):
    held = Held(machine, POOLS)
    machine.command("LOAD busybox httpd -f -p 8080 -h / &")
    connect(8080).close()
    out = subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE), f"http://{Tap.GUEST}:8080/big.bin"], capture_output=True)
    assert out.returncode == 0 and out.stdout == FILE, out.stderr
    with socket.create_server((Tap.HOST, 8899)) as server:
        def answer():
            c, _ = server.accept()
            with c:
                c.recv(65536)
                c.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(FILE) + FILE)
        thread = threading.Thread(target=answer)
        thread.start()
        out = machine.command("LOAD busybox sh /fetch.sh")
        thread.join()
    assert hashlib.md5(FILE).hexdigest() in out, out
    held.stop()


def test_a_connection_that_nobody_takes_is_told(machine):
    out = machine.command(f"LOAD net get {Tap.HOST} 7")
    assert "refused" in out
    with socket.create_server((Tap.HOST, 8898)) as server:
        def answer():
            c, _ = server.accept()
            with c:
                c.sendall(FILE)
        thread = threading.Thread(target=answer)
        thread.start()
        assert f"{len(FILE)} bytes, end" in machine.command(f"LOAD net get {Tap.HOST} 8898")
        thread.join()
