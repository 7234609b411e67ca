# SPDX-License-Identifier: BSD-2-Clause
"""Programs that talk to each other on the machine, and to its own server: loopback."""
import hashlib
import os
import random
import socket
import subprocess
import time

import pytest

from conftest import Tap
from held import Held
from vm import PATIENCE, ROOT, make_volume

FILE = random.Random(8).randbytes(3_000_001)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("local")
    (root / "bin").mkdir()
    (root / ".pagewire").mkdir()
    (root / ".pagewire/users").write_text("trustee / * ALL\n")
    subprocess.run(["cp", "/bin/busybox", root / "bin"], check=True)
    for name in ("local", "unix", "reuse"):
        subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / name,
                        os.path.join(ROOT, "tests", "programs", name + ".c")], check=True)
    for name, url in (("program", "http://127.0.0.1:8080/big.bin"), ("kernel", "http://127.0.0.1/big.bin"),
                      ("six", "http://[::1]/big.bin"), ("own", f"http://{Tap.GUEST}:8080/big.bin")):
        (root / f"{name}.sh").write_text(f"busybox wget -qO- {url} | busybox md5sum\n")
    (root / "big.bin").write_bytes(FILE)
    (root / "index.html").write_text("hello\n")
    return make_volume(root, str(root) + ".img")


@pytest.fixture(params=["", "cache=unmapped"], ids=["plain", "unmapped"])
def machine(request, tap, volume):
    with tap.vm([volume], append=f"write=on {request.param}", name="local") as vm:
        vm.get("/")
        yield vm


POOLS = ("tcp socket", "udp socket", "datagram", "process", "task", "program file", "pagebuf", "PBUF_SLICE",
         "local socket", "local message", "descriptors under way", "pipe")
NAMES = ("pagewire_descriptors_under_way", "pagewire_local_socket_bytes")


def says_ok(machine, *command):
    """The program does, and leaves nothing behind."""
    held = Held(machine, POOLS, NAMES)
    out = machine.command(*command)
    assert "ok" in out.split(), out
    held.stop()


def test_programs_talk_over_every_address_of_the_machine(machine):
    says_ok(machine, f"LOAD local talk {Tap.GUEST}")


def test_a_file_comes_from_a_program_and_from_the_kernel(machine):
    held = Held(machine, POOLS, NAMES)
    machine.command("LOAD busybox httpd -f -p 8080 -h / &")
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((Tap.GUEST, 8080), timeout=PATIENCE).close()
            break
        except ConnectionRefusedError:  # the program is still starting
            assert time.monotonic() < end
            time.sleep(0.1)
    for name in ("program", "kernel", "six", "own"):
        out = machine.command(f"LOAD busybox sh /{name}.sh")
        assert hashlib.md5(FILE).hexdigest() in out, (name, out)
    assert machine.metrics()['pagewire_copy_bytes_total{site="other"}'] == 0
    held.stop()


def test_who_listens_on_loopback_is_not_reached_from_outside(machine):
    held = Held(machine, POOLS, NAMES)
    machine.command("LOAD busybox httpd -f -p 127.0.0.1:8081 -h / &")
    end = time.monotonic() + PATIENCE
    while "hello" not in machine.command("LOAD busybox wget -qO- http://127.0.0.1:8081/index.html"):
        assert time.monotonic() < end
        time.sleep(0.2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((Tap.GUEST, 8081), timeout=PATIENCE)
    held.stop()


def test_a_file_goes_to_the_kernels_own_server_by_reference(machine):
    held = Held(machine, POOLS, NAMES)
    out = machine.command("LOAD local put /big.bin /copy.bin")
    assert "201" in out, out
    assert machine.get("/copy.bin") == FILE
    held.stop()


def test_options_are_the_sockets_and_a_listeners_its_connections(machine):
    says_ok(machine, "LOAD local options")


def test_a_program_bounds_what_may_wait_unread(machine):
    says_ok(machine, "LOAD local window")


def test_a_user_s_time_out_ends_a_connection_whose_peer_does_not_read(machine):
    says_ok(machine, "LOAD local stuck")


@pytest.mark.parametrize("what", ["cork", "peek", "lengths", "again"])
def test_what_is_held_back_looked_at_or_asked_for_again_or_too_long_is_as_on_linux(machine, what):
    says_ok(machine, f"LOAD local {what}")


def test_local_sockets_carry_bytes_descriptors_and_names(machine):
    held = Held(machine, POOLS, NAMES)
    for _ in range(3):
        out = machine.command("LOAD unix /")
        assert "ok" in out.split(), out
    held.stop()  # also what lay in each other's queues
    assert machine.metrics()["pagewire_local_sockets_collected_total"] > 0


def test_listeners_that_share_a_port_share_its_connections(machine):
    held = Held(machine, POOLS, NAMES)
    orphaned = machine.metrics()["pagewire_socket_orphaned_total"]
    out = machine.command("LOAD reuse")
    assert "ok" in out.split(), out
    held.stop()
    assert machine.metrics()["pagewire_socket_orphaned_total"] > orphaned
