# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's own tests, in the guest, on each kind of machine and firmware we promise to run on."""
import re
import socket
import subprocess
import time

import pytest

import power
from vm import PATIENCE, VM, make_volume


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """SYS on a whole disk, DATA and MORE on a GPT disk, LAST on an MBR disk."""
    top = tmp_path_factory.mktemp("guest")
    folder = top / "files"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello from the volume\n")
    (folder / "pages.bin").write_bytes(b"".join(i.to_bytes(8, "little") for i in range(65536)))
    images = [make_volume(folder, top / "sys.img")]
    for kind, labels in (("gpt", ["DATA", "MORE"]), ("mbr", ["LAST"])):
        disk = top / f"{kind}.img"
        with open(disk, "wb") as f:
            f.truncate((len(labels) * 40 + 8) << 20)
        layout = f"label: {'gpt' if kind == 'gpt' else 'dos'}\n" + "".join(
            f"start={2048 + n * 81920}, size=81920, type={'linux' if kind == 'gpt' else '83'}\n"
            for n in range(len(labels)))
        subprocess.run(["/usr/sbin/sfdisk", "-q", str(disk)], input=layout.encode(), check=True,
                       capture_output=True)
        for n, label in enumerate(labels):
            part = make_volume(folder, top / f"{label}.img", label, size="40M")
            with open(part, "rb") as source, open(disk, "r+b") as target:
                target.seek((2048 + n * 81920) * 512)
                target.write(source.read())
        images.append(str(disk))
    return images


def why(vm):
    """The lines of the serial log that say what went wrong, and its end."""
    text = vm.serial().replace("\r", "")
    return "\n".join(re.findall(r".*tests/guest/.*|not ok .*", text)) + "\n...\n" + text[-2500:]


def verdict(text):
    failed = re.findall(r"^\s*not ok .*", text.replace("\r", ""), re.M)
    passed = [line for line in re.findall(r"^\s*ok \d+.*", text.replace("\r", ""), re.M)]
    return passed, failed


MACHINES = {
    "pc": dict(machine="pc", mem=128),
    "q35": dict(machine="q35", mem=512),
    "q35-max": dict(machine="q35", mem=512, cpu="max"),
    "pc-64MB": dict(machine="pc", mem=64),
    "q35-4GB": dict(machine="q35", mem=4096),
    "pc-82545em": dict(machine="pc", nic="e1000-82545em"),
    "q35-late": dict(machine="q35", append="nic=late"),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_selftest_by_direct_boot(disks, kind):
    options = dict(MACHINES[kind])
    append = "selftest cache=unmapped " + options.pop("append", "")
    vm = VM(disks=disks, append=append.strip(), name=kind, **options)
    vm.spawn()
    try:
        status = vm.wait_exit(4 * PATIENCE)
        passed, failed = verdict(vm.serial())
        assert not failed and status == 1 and len(passed) > 20, f"status {status}\n{why(vm)}"
        assert "DATA" in vm.serial() and "LAST" in vm.serial()
    finally:
        vm.kill()


def test_interrupt_to_work_in_200_instructions(disks):
    """Under -icount shift=0 the clock counts instructions; the kernel's test holds the bound and prints it."""
    vm = VM(disks=disks[:1], append="selftest icount", name="icount", extra=["-icount", "shift=0"])
    vm.spawn()
    try:
        status = vm.wait_exit(4 * PATIENCE)
        note = re.search(r"interrupt to first instruction of its fast WTD: (\d+) instructions", vm.serial())
        assert status == 1 and note, vm.serial()[-3000:]
        assert int(note.group(1)) <= 200
        print(note.group(0))
    finally:
        vm.kill()


def choose_self_test(vm, boot):
    """Presses the entry's key until a kernel runs; whether it is the self-test."""
    end = time.monotonic() + PATIENCE
    while not (seen := re.search(r"KTAP|pagewire: ready", vm.serial())):
        assert time.monotonic() < end, vm.serial()[-2000:]
        try:
            vm.keys("s")  # firmware that sees it too does nothing with it
            if boot == "uefi":  # OVMF on `pc` listens to the serial line only
                with socket.socket(socket.AF_UNIX) as line:
                    line.connect(f"{vm.dir}/console")
                    line.sendall(b"s")
                    time.sleep(0.1)
        except OSError:
            time.sleep(0.1)  # QEMU is not up yet
    return seen.group() == "KTAP"


@pytest.mark.parametrize("boot,machine,cpu,mem", [
    ("iso", "pc", None, 128), ("iso", "q35", "max", 4096), ("uefi", "q35", None, 256), ("uefi", "pc", "max", 512)])
def test_selftest_from_the_boot_menu(disks, boot, machine, cpu, mem):
    """The Self-test entry of the ISO's menu, chosen with the keyboard as a person would. The menu waits for a second:
    where the host let that go by without a key, once more."""
    for _ in range(20):
        vm = VM(disks=disks, boot=boot, machine=machine, cpu=cpu, mem=mem, name="menu")
        vm.spawn()
        try:
            if choose_self_test(vm, boot):
                status = vm.wait_exit(4 * PATIENCE)
                passed, failed = verdict(vm.serial())
                assert not failed and status == 1 and len(passed) > 20, f"status {status}\n{why(vm)}"
                return
        finally:
            vm.kill()
    raise AssertionError("the key was never taken")


@pytest.mark.parametrize("boot,machine", [("iso", "pc"), ("iso", "q35"), ("uefi", "pc"), ("uefi", "q35")])
def test_the_iso_serves(disks, boot, machine):
    with VM(disks=disks, boot=boot, machine=machine, name="iso") as vm:
        assert vm.get("/hello.txt") == b"hello from the volume\n"
        before = vm.lent()
        assert len(vm.get("/pages.bin")) == 65536 * 8
        vm.assert_returned(before)


@pytest.mark.parametrize("mem", [64, 4096])
def test_memory_sizes(disks, mem):
    with VM(disks=disks, mem=mem, append="cache=unmapped", name="mem") as vm:
        vm.get("/hello.txt")
        before = vm.lent()
        for _ in range(3):
            data = vm.get("/pages.bin")
            assert data == b"".join(i.to_bytes(8, "little") for i in range(65536))
        vm.assert_returned(before)


def test_an_unknown_word_is_named_with_the_nearest_known_one(disks):
    with VM(disks=disks, append="cahce=unmapped", name="word") as vm:
        assert re.search(r"cahce.*cache", vm.serial())


def test_a_machine_without_disks_says_so():
    with VM(name="nodisk") as vm:
        got = subprocess.run(["curl", "-s", "-w", " %{http_code}", vm.url + "/"], capture_output=True,
                             text=True).stdout
        assert got.split()[-1] in ("404", "503") and "volume" in got, got
        assert re.search(r"(?i)no volume", vm.serial())


def test_console_commands(disks):
    with VM(disks=disks, name="console") as vm:
        for command, pattern in [("HELP", r"MONITOR"), ("volumes", r"SYS"), ("MEMORY", r"(?i)free"),
                                 ("CONFIG", r"52:54:00:12:34:56"), ("STATS pagewire_wtd", r"pagewire_wtd"),
                                 ("TRACE", r"."), ("NOSUCH", r"(?i)unknown|no command")]:
            assert re.search(pattern, vm.command(command)), command
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{vm.dir}/console")
            s.sendall(b"DOWN\r")
            s.settimeout(PATIENCE)
            while s.recv(65536):
                pass  # until QEMU closes it
            vm.wait_exit()
        vm.stopped = True


def test_writing_into_the_cache(tmp_path):
    """tests/guest/cachewrite.c on a volume of its own; afterwards e2fsck finds it whole."""
    image = power.make(tmp_path / "scratch.img", "24m")
    vm = VM(disks=[image], append="selftest=write write=on cache=unmapped", net=None, snapshot=False, name="write").spawn()
    try:
        status = vm.wait_exit(4 * PATIENCE)
        passed, failed = verdict(vm.serial())
        assert not failed and status == 1 and len(passed) == 5, f"status {status}\n{why(vm)}"
        assert "SKIP" not in vm.serial()
        power.judge(image)
    finally:
        vm.kill()
