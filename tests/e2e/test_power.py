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
