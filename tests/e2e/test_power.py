# SPDX-License-Identifier: BSD-2-Clause
"""Power cuts of a whole machine: it is killed while four threads change names, or its disk is cut off at every flush
(QEMU's blklogwrites); every step that was promised must be there, whole."""
import os
import random
import re
import shutil
import time

import pytest

import power
import writelog
from vm import VM

SEED = int(os.environ.get("SEED", "0") or 0) or int(time.time())


@pytest.fixture(scope="module")
def dice():
    print(f"SEED={SEED}")
    return random.Random(SEED)


def boot(disk, words="selftest=power write=on", **options):
    return VM(disks=[disk], append=words, net=None, snapshot=False, name="power", **options).spawn()


def test_steps_to_the_end_and_down_cleanly(tmp_path):
    image = power.make(tmp_path / "scratch.img")
    vm = boot(image)
    try:
        assert vm.wait_exit(120) == 1, vm.serial()[-3000:]
        promised = power.kept(vm.serial())
        assert promised == {n: 399 for n in range(power.THREADS)}
        power.check(image, promised)
    finally:
        vm.kill()


@pytest.mark.parametrize("options", [(), ("-b", "1024", "-J", "size=1", "-O", "orphan_file"),
                                     ("-O", "^metadata_csum,^64bit", "-b", "2048")],
                         ids=["default", "small", "old"])
def test_killed_at_random_moments(tmp_path, dice, options):
    image = power.make(tmp_path / "scratch.img", "24m", *options)
    fresh = str(tmp_path / "fresh.img")
    shutil.copyfile(image, fresh)
    for n in range(5):
        shutil.copyfile(fresh, image)
        vm = boot(image)
        try:
            vm.wait_for(r"power: begins", 60)
            steps = dice.randrange(200)
            vm.wait_for(rf"kept \d {steps}\r?\n", 60)
            time.sleep(dice.random() * 0.1)
            vm.process.kill()
            vm.process.wait()
            promised = power.kept(vm.serial())
            power.check(image, promised, f"SEED={SEED} round {n}")
        finally:
            vm.kill()


def state_of(image, thread, least):
    """How many steps of a thread are there; they must be there whole, and no fewer than before."""
    found = power.listing(image, thread)
    if found is None:
        assert least == 0, f"thread {thread} had {least} steps"
        return 0
    for steps in range(least, 400):
        if found == power.after(steps):
            return steps
    raise AssertionError(f"thread {thread}: from {least} on no step leaves {sorted(found)[-12:]}")


@pytest.mark.parametrize("options", [(), ("-b", "1024", "-J", "size=1", "-O", "orphan_file")],
                         ids=["default", "small"])
def test_cut_at_any_point_of_the_write_log(tmp_path, dice, options):
    image, log = power.make(tmp_path / "scratch.img", "16m", *options), str(tmp_path / "log")
    before, left = str(tmp_path / "before.img"), str(tmp_path / "left.img")
    shutil.copyfile(image, before)
    vm = boot(writelog.drive(image, log))
    try:
        vm.wait_for(r"kept \d 120\r?\n", 100)
        vm.process.terminate()
        vm.process.wait()
    finally:
        vm.kill()
    entries = writelog.read(log)
    disk = writelog.Disk(before, entries)
    cuts = sorted(dice.sample(range(1, len(entries) + 1), 25))
    least = [0] * power.THREADS
    for cut in cuts:
        disk.forward(cut)
        for how in ("none", "torn"):
            with open(left, "wb") as f:
                f.write(disk.after_cut(dice, how))
            what = f"SEED={SEED}: cut {cut} of {len(entries)}, {how}"
            power.judge(left, what)
            now = [state_of(left, thread, least[thread]) for thread in range(power.THREADS)]
            if how == "none":
                least = now
    assert sum(least) > 100
    print(f"{len(entries)} writes and flushes, cut at {cuts}, steps {least}")


def failing(image, folder, event, k):
    """The disk, every request of that kind from the k-th on failing."""
    rules = [f'[set-state]\nevent = "{event}"\nstate = "{n}"\nnew_state = "{n + 1}"\n' for n in range(1, k + 1)]
    rules.append(f'[inject-error]\nevent = "{event}"\nstate = "{k + 1}"\nerrno = "5"\nonce = "off"\n')
    config = folder / "blkdebug.conf"
    config.write_text("\n".join(rules))
    return f"file=blkdebug:{config}:{image},format=raw"


@pytest.mark.parametrize("event", ["write_aio", "flush_to_disk"])
def test_a_disk_that_stops_writing_turns_the_volume_read_only(tmp_path, dice, event):
    image = power.make(tmp_path / "scratch.img", "16m")
    fresh = str(tmp_path / "fresh.img")
    shutil.copyfile(image, fresh)
    for k in (dice.randrange(4, 20), dice.randrange(20, 150)):
        shutil.copyfile(fresh, image)
        vm = boot(failing(image, tmp_path, event, k))
        try:
            assert vm.wait_exit(120) == 3  # the work could not be done
            serial = vm.serial()
            assert "panic" not in serial.lower(), serial[-3000:]
            assert re.search(r"volume SCRATCH: read-only from now on", serial), serial[-3000:]
            power.check(image, power.kept(serial), f"SEED={SEED} {event} {k}")
        finally:
            vm.kill()


def test_down_leaves_a_clean_volume_and_a_dirty_one_is_taken_over(tmp_path):
    """Killed, mounted again by us (the log goes home, orphans go), and brought down: nothing is left to do."""
    image = power.make(tmp_path / "scratch.img", "24m", "-O", "orphan_file")
    vm = boot(image)
    try:
        vm.wait_for(r"kept \d 60\r?\n", 60)
        vm.process.kill()
        vm.process.wait()
        promised = power.kept(vm.serial())
    finally:
        vm.kill()
    assert "needs_recovery" in power.run("/usr/sbin/dumpe2fs", "-h", image)
    vm = VM(disks=[image], append="write=on", snapshot=False, name="down").spawn()
    try:
        vm.wait_for(r"pagewire: ready", 60)
        assert re.search(r"volume SCRATCH: .*, writable", vm.serial())
        assert vm.get("/.pagewire/health") == b"ok\n"
        assert "writable" in vm.command("VOLUMES")
        assert vm.down() == 0, vm.serial()[-2000:]
    finally:
        vm.kill()
    about = power.run("/usr/sbin/dumpe2fs", "-h", image)
    assert "needs_recovery" not in about and "orphan_present" not in about
    assert re.search(r"Filesystem state:\s+clean\n", about) and re.search(r"Mount count:\s+2\n", about)
    power.run("/usr/sbin/e2fsck", "-fn", image)  # nothing to replay, nothing to repair
    power.check(image, promised)
