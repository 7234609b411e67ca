# SPDX-License-Identifier: BSD-2-Clause
"""Power cuts of a whole machine: it is killed while four threads change names or clients upload, or its disk is cut off
in its write log (QEMU's blklogwrites); every step and every file that was promised must be there, whole."""
import hashlib
import http.client
import os
import random
import re
import shutil
import subprocess
import threading
import time

import pytest

import power
import writelog
from conftest import SEED
from vm import PATIENCE, VM, make_volume


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
        assert vm.wait_exit() == 1, vm.serial()[-3000:]
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
    for n in range(3):
        shutil.copyfile(fresh, image)
        vm = boot(image)
        try:
            vm.wait_for(r"power: begins")
            steps = dice.randrange(200)
            vm.wait_for(rf"kept \d {steps}\r?\n")
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
        vm.wait_for(r"kept \d 120\r?\n")
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
            assert vm.wait_exit() == 3  # the work could not be done
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
        vm.wait_for(r"kept \d 60\r?\n")
        vm.process.kill()
        vm.process.wait()
        promised = power.kept(vm.serial())
    finally:
        vm.kill()
    assert "needs_recovery" in power.run("/usr/sbin/dumpe2fs", "-h", image)
    vm = VM(disks=[image], append="write=on", snapshot=False, name="down").spawn()
    try:
        vm.wait_for(r"pagewire: ready")
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


def content(name, version):
    """What version `version` of a file is: its size and its bytes follow from the name."""
    key = hashlib.sha256(f"{name} {version}".encode()).digest()
    size = [0, 100, 4096, 30000, 200000][key[0] % 5] + key[1]
    return (key * (size // 32 + 1))[:size]


class Client(threading.Thread):
    """Uploads and deletes files of its own, one request after the other. may_be[name]: the versions that may be found
    (None: no such file): the last one answered, and what was asked for since."""

    def __init__(self, number, peer, seed):
        super().__init__(daemon=True)
        self.number, self.peer, self.dice = number, peer, random.Random(seed)
        self.may_be, self.tried, self.answered, self.bad = {}, {}, 0, []

    def ask(self, connection, version):
        name = f"c{self.number}-{self.dice.randrange(6)}"
        known = self.may_be.setdefault(name, [None])
        delete = known != [None] and self.dice.random() < 0.2
        known.append(None if delete else version)
        self.tried.setdefault(name, [None]).append(version)
        if delete:
            connection.request("DELETE", "/" + name)
        else:
            connection.request("PUT", "/" + name, content(name, version))
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (201, 204):
            self.bad.append((name, answer.status))
        self.may_be[name] = known[-1:]
        self.answered += 1

    def run(self):
        try:
            connection = http.client.HTTPConnection(*self.peer, timeout=PATIENCE)
            for version in range(100000):
                self.ask(connection, version)
        except (OSError, http.client.HTTPException):
            pass  # the machine is gone


def upload_for_a_while(disk, clients, answers, dice):
    """Boots, lets so many clients work until there were so many answers, kills the machine; the clients."""
    vm = VM(disks=[disk], append="write=on cache=unmapped", snapshot=False, name="put")
    with vm:
        vm.stopped = True
        work = [Client(c, vm.peer, dice.random()) for c in range(clients)]
        for client in work:
            client.start()
        end = time.monotonic() + PATIENCE
        while (answered := sum(client.answered for client in work)) < answers:
            assert time.monotonic() < end, f"{answered} answers"
            time.sleep(0.01)
        vm.process.terminate()
        vm.process.wait()
    for client in work:
        client.join(PATIENCE)
        assert not client.bad, client.bad
    return work


def upload_volume(tmp_path):
    folder = tmp_path / "top"
    (folder / ".pagewire").mkdir(parents=True)
    (folder / ".pagewire/users").write_text("trustee / * ALL\n")
    return make_volume(folder, tmp_path / "fresh.img", size="32M")


def look(image, clients, versions_of, what):
    """Every file is one of the versions that it may be, whole."""
    for client in clients:
        for name, versions in versions_of(client).items():
            out = subprocess.run(["/usr/sbin/debugfs", "-R", f"cat /{name}", image], capture_output=True)
            found = None if b"File not found" in out.stderr else out.stdout
            good = [None if v is None else content(name, v) for v in versions]
            assert found in good, (f"{what}: {name}: {None if found is None else len(found)} bytes, may be "
                                   f"{[(v, g and len(g)) for v, g in zip(versions, good)]}")


def test_answered_uploads_survive_a_kill(tmp_path, dice):
    fresh, image = upload_volume(tmp_path), str(tmp_path / "sys.img")
    for n in range(3):
        shutil.copyfile(fresh, image)
        clients = upload_for_a_while(image, 6, dice.randrange(21, 600), dice)
        power.judge(image, f"SEED={SEED} round {n}")
        look(image, clients, lambda c: c.may_be, f"SEED={SEED} round {n}")


def test_uploads_cut_at_any_point_of_the_write_log(tmp_path, dice):
    fresh, image, log = upload_volume(tmp_path), str(tmp_path / "sys.img"), str(tmp_path / "log")
    left = str(tmp_path / "left.img")
    shutil.copyfile(fresh, image)
    clients = upload_for_a_while(writelog.drive(image, log), 3, 200, dice)
    entries = writelog.read(log)
    disk = writelog.Disk(fresh, entries)
    for cut in sorted(dice.sample(range(1, len(entries) + 1), 25)):
        disk.forward(cut)
        with open(left, "wb") as f:
            f.write(disk.after_cut(dice, dice.choice(["none", "whole", "torn"])))
        power.judge(left, f"SEED={SEED}: cut {cut} of {len(entries)}")
        look(left, clients, lambda c: c.tried, f"SEED={SEED}: cut {cut} of {len(entries)}")


def files_on(image, folder):
    """{name: bytes} of the files in the root directory."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    power.run("/usr/sbin/debugfs", "-R", f"rdump / {folder}", image)
    return {name: open(f"{folder}/{name}", "rb").read() for name in os.listdir(folder)
            if os.path.isfile(f"{folder}/{name}")}


def test_relaxed_answers_lose_the_newest_changes_only(tmp_path, dice):
    """sync=relaxed: no answer waits for a commit, all of it is on the disk some seconds later though nobody asks, and a cut
    anywhere leaves what was changed up to some moment: files whole, nothing without what was changed before it."""
    fresh, image, log = upload_volume(tmp_path), str(tmp_path / "sys.img"), str(tmp_path / "log")
    left, folder, steps = str(tmp_path / "left.img"), str(tmp_path / "out"), 80
    shutil.copyfile(fresh, image)
    with VM(disks=[writelog.drive(image, log)], append="write=on sync=relaxed", snapshot=False, name="relaxed") as vm:
        vm.stopped = True
        connection = http.client.HTTPConnection(*vm.peer, timeout=PATIENCE)
        for n in range(steps):  # one file is replaced again and again; a new one follows each time
            for name in "replaced", f"new{n}":
                connection.request("PUT", "/" + name, content(name, n))
                answer = connection.getresponse()
                answer.read()
                assert answer.status in (201, 204)
            if n % 16 == 7:
                time.sleep(2)  # some commits in between
        assert vm.metrics()["pagewire_journal_durable_waits_total"] == 0
        end = time.monotonic() + PATIENCE  # ten seconds are promised of a machine that has a processor of its own
        while True:
            disk = writelog.Disk(fresh, writelog.read(log))
            disk.forward(len(disk.entries))
            with open(left, "wb") as f:
                f.write(disk.after_cut(dice, "none"))
            power.judge(left, f"SEED={SEED}: at the end")
            if len(files_on(left, folder)) == steps + 1 or time.monotonic() > end:
                break
            time.sleep(1)
        vm.process.terminate()
        vm.process.wait()
    entries, counts = writelog.read(log), []
    disk = writelog.Disk(fresh, entries)
    for cut in [*sorted(dice.sample(range(1, len(entries)), 15)), len(entries)]:
        disk.forward(cut)
        with open(left, "wb") as f:
            f.write(disk.after_cut(dice, dice.choice(["none", "whole", "torn"])))
        what = f"SEED={SEED}: cut {cut} of {len(entries)}"
        power.judge(left, what)
        found = files_on(left, folder)
        replaced = found.pop("replaced", None)
        n = len(found)
        assert found == {f"new{k}": content(f"new{k}", k) for k in range(n)}, f"{what}: {sorted(found)}"
        assert replaced in [content("replaced", k) if k >= 0 else None for k in (n - 1, n)], what
        counts.append(n)
    assert counts[-1] == steps, counts
