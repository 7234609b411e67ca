# SPDX-License-Identifier: BSD-2-Clause
"""Where calls, signals and the ends of threads and processes meet (tests/programs/edges.c): each case says the same on the
host's Linux and here, the machine goes on, and what the program had comes back."""
import os
import re
import subprocess
import time

import pytest

from held import Held
from vm import PATIENCE, ROOT, VM, make_volume

POOLS = ("process", "task", "signal", "signal actions", "address space", "region", "descriptor table", "shared memory", "shm object")


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    root = tmp_path_factory.mktemp("edges")
    (root / "bin").mkdir()
    subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / "edges", os.path.join(ROOT, "tests", "programs", "edges.c"),
                    "-lpthread"], check=True)
    return root, make_volume(root, str(root) + ".img")


@pytest.fixture(scope="module")
def machine(volume):
    with VM(disks=[volume[1]], name="edges", mem=128) as vm:
        yield vm
        assert vm.down() == 0


def says_ok(machine, case):
    held = Held(machine, POOLS)
    assert "ok" in machine.command("LOAD edges " + case, 30).split()
    held.back()


def says_what_linux_says(machine, volume, case):
    says_ok(machine, case)
    assert subprocess.run([volume[0] / "bin" / "edges", case], check=True, capture_output=True).stdout == b"ok\n"


def test_an_interrupt_between_a_jump_into_the_kernel_and_its_fault(machine, volume):
    says_what_linux_says(machine, volume, "jumps")


def test_a_signal_that_is_waited_for_comes_although_nobody_handles_it(machine, volume):
    says_what_linux_says(machine, volume, "waits")


def test_the_end_of_a_process_takes_threads_along_that_are_being_made(machine, volume):
    says_what_linux_says(machine, volume, "latecomers")


def test_a_mapping_that_grows_shows_more_of_the_same(machine, volume):
    says_what_linux_says(machine, volume, "grows")


def test_a_short_getrandom_is_whole_whatever_signals_do(machine, volume):
    says_what_linux_says(machine, volume, "random")


def test_the_end_of_a_child_is_told_to_who_asks_for_ends(machine, volume):
    says_what_linux_says(machine, volume, "news")


def test_a_poll_that_has_something_to_tell_leaves_no_end_behind(machine, volume):
    says_what_linux_says(machine, volume, "polls")


def test_what_calls_hold_of_the_kernel_counts_as_programs_memory(machine):
    held, name = Held(machine, POOLS), "pagewire_user_memory_frames"
    before = machine.metrics()[name]
    machine.command("LOAD edges hoard &")
    end = time.monotonic() + PATIENCE
    while machine.metrics()[name] - before < 8 * 255 + 24 * 255 + 2000:  # a megabyte each but for its first page; a page each
        assert time.monotonic() < end, machine.metrics()[name] - before
        time.sleep(0.2)
    held.stop()


def test_no_signal_waits_for_the_handler_of_another(machine, volume):
    says_what_linux_says(machine, volume, "nested")


def test_a_handler_begins_with_fresh_floating_point_registers(machine, volume):
    says_what_linux_says(machine, volume, "floats")


def test_a_pending_signal_that_is_ignored_for_a_while_is_gone(machine, volume):
    says_what_linux_says(machine, volume, "ignored")


def test_a_signal_to_a_group_reaches_those_being_made(machine):
    says_ok(machine, "groups")  # on Linux orphans' zombies stay in the group until init looks


def test_no_bytes_in_a_local_stream_are_not_its_end(machine, volume):
    says_what_linux_says(machine, volume, "empty")


def test_a_directory_that_is_opened_again_through_proc_stays_what_it_was(machine, volume):
    says_what_linux_says(machine, volume, "reopened")


def test_an_nmi_stops_the_machine_while_a_program_runs_too(volume):
    with VM(disks=[volume[1]], name="edges", mem=128) as vm:
        vm.command("LOAD edges spin &")
        vm.qmp("inject-nmi")
        vm.wait_for(r"stopped\.")
        vm.stopped = True
        assert re.search(r"PANIC in .*: non-maskable interrupt", vm.serial())


def test_whichever_thread_execs_is_the_first_one_afterwards(machine, volume):
    says_what_linux_says(machine, volume, "leader")
