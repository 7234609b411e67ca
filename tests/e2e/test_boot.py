# SPDX-License-Identifier: BSD-2-Clause
"""How the machine starts and how it ends: the ISO is the same wherever it is built, boots as a USB stick,
and a panic says where it was."""
import filecmp
import os
import re
import shutil
import subprocess

import pytest

from vm import BUILD, ROOT, VM


def test_the_iso_is_the_same_when_built_elsewhere(tmp_path):
    there = tmp_path / "another place" / "deeper"
    files = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, files):
        if os.path.isfile(os.path.join(ROOT, name)):
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), there / name, follow_symlinks=False)
    done = subprocess.run(["nice", "make", "-j2", "build/pagewire.iso"], cwd=there, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert filecmp.cmp(there / "build/pagewire.iso", os.path.join(BUILD, "pagewire.iso"), shallow=False)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_iso_boots_as_a_usb_stick(firmware):
    extra = ["-device", "qemu-xhci", "-drive", f"file={BUILD}/pagewire.iso,format=raw,readonly=on,if=none,id=stick",
             "-device", "usb-storage,drive=stick,bootindex=0"]
    vm = VM(boot="stick", name="stick", extra=extra)
    arguments = vm.arguments()
    # The drive that VM makes for the ISO is replaced by the stick.
    at = next(i for i, a in enumerate(arguments) if a.startswith("ide-cd,"))
    del arguments[at - 3:at + 1]
    if firmware == "uefi":
        from vm import OVMF
        arguments += ["-drive", "if=pflash,format=raw,readonly=on,file="
                      + next(f for f in OVMF if os.path.exists(f))]
    vm.arguments = lambda: arguments
    with vm:
        pass


def test_a_machine_check_says_which_bank_and_stops():
    """The processor would reset, and nobody knew why, where the kernel did not ask for it."""
    with VM(name="mce", cpu="max") as vm:
        vm.qmp("human-monitor-command", **{"command-line": "mce 0 3 0xbe00000000000136 0x4 0x12345000 0x8c"})
        vm.wait_for(r"stopped\.")
        vm.stopped = True
        assert "machine check: bank 3, status 0xbe00000000000136, address 0x12345000" in vm.serial()


def test_a_panic_in_a_panic_says_what_the_first_was_about():
    with VM(name="twice", cpu="max") as vm:
        vm.qmp("inject-nmi")
        vm.wait_for(r"stopped\.")
        vm.stopped = True
        vm.qmp("human-monitor-command", **{"command-line": "mce 0 3 0xbe00000000000136 0x4 0x12345000 0x8c"})
        vm.wait_for(r"PANIC in [^\n]*: machine check[^\n]*\s+The panic before it: non-maskable interrupt")


def test_a_panic_names_function_file_and_line():
    with VM(name="panic") as vm:
        vm.qmp("inject-nmi")
        vm.wait_for(r"stopped\.")
        vm.stopped = True
        text = vm.serial().replace("\r", "")
        assert re.search(r"PANIC in \w+\+0x[0-9a-f]+ \(\w+\.(c|h|asm):\d+\): non-maskable interrupt", text)
        assert re.search(r"^rip [0-9a-f]{16}  cs 0008", text, re.M)
        frames = re.findall(r"^  [0-9a-f]{16} (\w+)\+0x[0-9a-f]+ \(\w+\.(?:c|h|asm):\d+\)$", text, re.M)
        assert len(frames) >= 2 and frames[-1] in ("boot_high", "thread_begin"), text
        assert "last events:" in text
