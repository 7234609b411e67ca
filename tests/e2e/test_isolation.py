# SPDX-License-Identifier: BSD-2-Clause
"""Programs that try what they may not, judged from inside the kernel (tests/guest/isolation.c), with and without SMAP."""
import os
import re
import subprocess

import pytest

from test_guest import verdict, why
from vm import PATIENCE, ROOT, VM, make_volume

SOURCES = [os.path.join(ROOT, "tests", "programs", name + ".c") for name in ("isolate", "isolate_calls", "isolate_swarm")]


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("isolation")
    (root / "bin").mkdir()
    subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / "isolate", *SOURCES, "-lpthread"], check=True)
    return make_volume(root, str(root) + ".img")


MACHINES = {"without-smap": dict(cpu="qemu64,-smap,-smep", append="cache=unmapped"), "max": dict(cpu="max")}


@pytest.mark.parametrize("kind", MACHINES)
def test_programs_end_and_the_kernel_is_what_it_was(volume, kind):
    options = dict(MACHINES[kind])
    vm = VM(disks=[volume], name="isolation", mem=128, append=f"selftest=isolation {options.pop('append', '')}".strip(), **options)
    vm.spawn()
    try:
        status = vm.wait_exit(4 * PATIENCE)
        passed, failed = verdict(vm.serial())
        text = vm.serial().replace("\r", "")
        assert not failed and status == 1 and len(passed) == 12 and "SKIP" not in text, f"status {status}\n{why(vm)}"
        assert ("SMAP on, SMEP on" if kind == "max" else "SMAP not there, SMEP not there") in text
        # And each was told by name, with where it was and what it wanted.
        told = re.findall(r"program isolate \(\d+\): signal (\d+) at 0x[0-9a-f]+, address 0x[0-9a-f]+", text)
        assert told.count("11") > 100 and "4" in told, told
    finally:
        vm.kill()


@pytest.mark.parametrize("cpu,told", [("qemu64,vendor=GenuineIntel", 1), ("qemu64,vendor=AuthenticAMD", 0)])
def test_a_processor_that_leaks_is_named(volume, cpu, told):
    with VM(disks=[volume], cpu=cpu, name="leak") as vm:
        assert ("(Meltdown)" in vm.serial()) == bool(told)
        assert vm.metrics()["pagewire_cpu_meltdown"] == told
