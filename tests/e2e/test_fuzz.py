# SPDX-License-Identifier: BSD-2-Clause
"""Random system calls (tests/programs/fuzz*.c): whatever a program asks for, the kernel lives, serves, and has everything
back afterwards. FUZZ_CHILDREN=n makes it longer; the seed is the suite's (SEED=n)."""
import glob
import os
import re
import socket
import subprocess
import threading
import time

import pytest

from vm import PATIENCE, ROOT, VM, make_volume

CHILDREN = int(os.environ.get("FUZZ_CHILDREN", "96"))


def build(root):
    (root / "bin").mkdir(parents=True)
    subprocess.run(["musl-gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-o", root / "bin" / "fuzz",
                    *glob.glob(os.path.join(ROOT, "tests", "programs", "fuzz*.c"))], check=True)
    subprocess.run(["cp", root / "bin" / "fuzz", root / "bin" / "leaf"], check=True)  # which children may cut short
    subprocess.run(["cp", "/bin/busybox", root / "bin"], check=True)
    (root / "index.html").write_text("still here\n")


class Echo:
    """Sends back what comes, over TCP and UDP, on one port of this machine."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        for serve in (self.accept, self.reflect):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.datagrams.close()

    def accept(self):
        try:
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.echo, args=(connection,), daemon=True).start()
        except OSError:
            pass

    def echo(self, connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def reflect(self):
        try:
            while True:
                data, peer = self.datagrams.recvfrom(65536)
                self.datagrams.sendto(data, peer)
        except OSError:
            pass


LENT = re.compile(r"pagewire_(user_frames|user_memory_frames|processes|tasks|cache_pinned_pages)$")


def held(vm):
    """What programs can have of the kernel, and what a server lends out."""
    now = vm.lent()
    now.update({k: v for k, v in vm.metrics().items() if LENT.match(k)})
    return now


@pytest.mark.parametrize("mode", [dict(append="cache=unmapped", mem=256), dict(cpu="max")], ids=["unmapped", "max"])
def test_random_calls_harm_nobody(mode, seed, tmp_path):
    build(tmp_path / "root")
    image = make_volume(tmp_path / "root", tmp_path / "fuzz.img", size="64M")
    mode = dict(mode, append="write=on " + mode.get("append", ""))
    with VM(disks=[image], name="fuzz", snapshot=False, **mode) as vm, Echo() as echo:
        vm.get("/")
        before = held(vm)
        vm.command(f"LOAD fuzz {seed} {CHILDREN} 10.0.2.2 {echo.port} &")
        end = time.monotonic() + PATIENCE + CHILDREN * 10
        while "fuzz: all children done" not in vm.serial():
            assert vm.process.poll() is None and time.monotonic() < end, vm.serial()[-4000:]
            assert vm.get("/index.html") == b"still here\n"
            time.sleep(0.5)
        vm.wait_returned(before, lambda: held(vm))
        vm.assert_alive()
        assert vm.down() == 0
    check = subprocess.run(["/usr/sbin/e2fsck", "-fn", image], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
