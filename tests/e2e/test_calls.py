# SPDX-License-Identifier: BSD-2-Clause
"""What servers and databases ask of files and memory: each test program says the same on the host's Linux and here, what
it had comes back, and e2fsck finds the volume sound."""
import os
import platform
import re
import subprocess

import pytest

from held import Held
from vm import ROOT, VM, make_volume

PROGRAMS = ("space", "maps", "pipes", "ifaces", "links", "shm", "append", "locks", "exact", "news", "busy")
LETTERS = 100 * 4096
MODES = {"unmapped": dict(append="write=on cache=unmapped", mem=128), "late": dict(append="write=on nic=late", cpu="max")}
POOLS = ("process", "task", "address space", "region", "pipe", "program file", "program mapping", "shared memory",
         "shm object", "shm name", "shm file", "netlink socket", "netlink packet", "signal", "tcp socket", "signalfd", "pidfd", "epoll",
         "epoll item")


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("calls")
    (root / "bin").mkdir()
    (root / "d").mkdir()
    subprocess.run(["cp", "/bin/busybox", root / "bin"], check=True)
    (root / "index.html").write_text("hello\n")
    (root / "letters").write_bytes(b"a" * LETTERS)
    for name in PROGRAMS:
        subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / name,
                        os.path.join(ROOT, "tests", "programs", name + ".c")], check=True)
    return root, make_volume(root, str(root) + ".img")


@pytest.fixture(params=MODES, ids=list(MODES))
def machine(request, volume, tmp_path):
    image = tmp_path / "calls.img"
    subprocess.run(["cp", "--sparse=always", volume[1], image], check=True)
    with VM(disks=[str(image)], name="calls", snapshot=False, **MODES[request.param]) as vm:
        vm.image = image
        yield vm
        assert vm.stopped or vm.down() == 0
    subprocess.run(["/usr/sbin/e2fsck", "-fn", image], check=True, capture_output=True)


def says_what_linux_says(machine, volume, tmp_path, name, *words):
    held = Held(machine, POOLS)
    out = machine.command(" ".join(("LOAD", name, "/d", *words)))
    here = tmp_path / "linux"
    here.mkdir()
    there = subprocess.run([volume[0] / "bin" / name, here, *words], check=True, capture_output=True, text=True).stdout
    assert there.split() == ["ok"], there
    assert "ok" in out.split(), out
    held.back()


def debugfs(image, line):
    return subprocess.run(["/usr/sbin/debugfs", "-R", line, image], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("seed", ("1", "2"))
def test_room_that_is_asked_for_is_there_and_reads_as_zeros(machine, volume, tmp_path, seed):
    says_what_linux_says(machine, volume, tmp_path, "space", seed)
    assert machine.down() == 0
    assert "[u]" in debugfs(machine.image, "stat /d/kept")
    blocks = re.search(r"Blockcount: (\d+)", debugfs(machine.image, "stat /d/holes"))
    assert int(blocks.group(1)) == 4096 // 512  # one page is left of a megabyte
    assert debugfs(machine.image, "cat /d/holes").startswith("\0" * 70000 + "again\0")


@pytest.mark.parametrize("seed", ("1", "2"))
def test_what_programs_write_into_a_shared_file_everybody_sees(machine, volume, tmp_path, seed):
    says_what_linux_says(machine, volume, tmp_path, "maps", seed)
    model = (tmp_path / "linux" / "model").read_bytes()
    assert machine.get("/d/model") == model
    assert machine.down() == 0
    subprocess.run(["/usr/sbin/debugfs", "-R", f"dump /d/model {tmp_path}/model", machine.image], check=True, capture_output=True)
    assert (tmp_path / "model").read_bytes() == model


def test_who_append_to_one_file_lose_nothing_and_who_reads_a_shrinking_one_meets_its_end(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "append")


def test_a_lock_whose_descriptor_is_closed_while_it_is_waited_for_is_nobodys(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "locks")


def test_memory_with_a_name_is_shared_and_goes_with_it(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "shm")


def test_calls_that_fail_take_nothing_and_those_that_wait_keep_nobody_out(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "exact")


def test_who_runs_a_file_and_who_writes_to_it_keep_each_other_out(machine, volume, tmp_path):
    there = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
    if there in ((6, 11), (6, 12)):  # they let them
        held = Held(machine, POOLS)
        assert "ok" in machine.command("LOAD busy /d").split()
        held.back()
    else:
        says_what_linux_says(machine, volume, tmp_path, "busy")


def test_signals_and_the_ends_of_processes_can_be_read(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "news")


def test_a_shared_file_is_served_while_a_program_changes_it(machine, volume):
    held = Held(machine, POOLS)
    machine.command("LOAD maps churn /letters &")
    seen = set()
    while len(seen) < 20:  # the program's work goes on meanwhile
        data = machine.get("/letters")
        assert len(data) == LETTERS and data.islower() and data.isalpha()
        seen.add(data)
    held.stop()
    last = machine.get("/letters")
    assert machine.get("/letters") == last and machine.metrics()['pagewire_copy_bytes_total{site="other"}'] == 0
    assert machine.down() == 0
    assert debugfs(machine.image, "cat /letters").encode() == last


def test_pipes_pass_on_what_they_hold(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "pipes")


def test_sockets_tell_of_interfaces_and_of_datagrams(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "ifaces")
    addresses = machine.command("LOAD busybox ifconfig")
    assert "inet addr:127.0.0.1" in addresses and "52:54:00:12:34:56" in addresses, addresses


def test_ip_shows_what_the_machine_has(machine, volume, tmp_path):
    says_what_linux_says(machine, volume, tmp_path, "links")
    links = machine.command("LOAD busybox ip link")
    assert "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536" in links and "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500" in links, links
    assert "link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff" in links, links
    addresses = machine.command("LOAD busybox ip addr")
    assert "inet 127.0.0.1/8 scope host lo" in addresses and "inet 10.0.2.15/24 brd 10.0.2.255 scope global" in addresses, addresses
    assert "inet6 ::1/128 scope host" in addresses and "inet6 fe80::5054:ff:fe12:3456/64 scope link" in addresses, addresses
    routes = machine.command("LOAD busybox ip route")
    assert "default via 10.0.2.2 dev eth0" in routes and "10.0.2.0/24 dev eth0 scope link  src 10.0.2.15" in routes, routes
    assert "Operation not supported" in machine.command("LOAD busybox ip neigh")
