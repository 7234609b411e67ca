# SPDX-License-Identifier: BSD-2-Clause
"""Disks that fail: QEMU's blkdebug injects read errors under the AHCI driver."""
import hashlib
import http.client
import subprocess
import urllib.error

import pytest

from vm import VM, make_volume

DATA = b"".join(hashlib.sha256(n.to_bytes(4, "little")).digest() for n in range(32768))  # 1 MB


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    top = tmp_path_factory.mktemp("disk")
    folder = top / "files"
    folder.mkdir()
    (folder / "data.bin").write_bytes(DATA)
    (folder / "small.txt").write_text("still here\n")
    return make_volume(folder, top / "sys.img", "SYS", "-b", "4096")


def sector_of(volume, path, block):
    """The disk sector where that block of that file is."""
    out = subprocess.run(["/usr/sbin/debugfs", "-R", f"bmap {path} {block}", volume], check=True,
                         capture_output=True, text=True).stdout
    return int(out.strip()) * 8


def failing(volume, tmp_path, sector, once):
    config = tmp_path / "blkdebug.conf"
    config.write_text(f'[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "{sector}"\n'
                      f'once = "{"on" if once else "off"}"\n')
    return f"file=blkdebug:{config}:{volume},format=raw"


def disk_figure(vm, name, prefix="pagewire_disk_"):
    return sum(v for k, v in vm.metrics().items() if k.startswith(prefix + name))


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_a_read_that_fails_once_is_repeated(volume, tmp_path, machine):
    disk = failing(volume, tmp_path, sector_of(volume, "/data.bin", 100), once=True)
    with VM(disks=[disk], machine=machine, append="cache=unmapped", name="retry") as vm:
        assert vm.get("/data.bin") == DATA
        # Which of the queued commands failed is not always known: then all of them are sent again.
        assert disk_figure(vm, "recoveries_total", "pagewire_ahci_") >= 1
        assert disk_figure(vm, "errors_total") == 0


def test_a_sector_that_cannot_be_read_costs_that_file_only(volume, tmp_path):
    disk = failing(volume, tmp_path, sector_of(volume, "/data.bin", 100), once=False)
    with VM(disks=[disk], append="cache=unmapped", name="bad") as vm:
        assert vm.get("/small.txt") == b"still here\n"
        with pytest.raises((http.client.IncompleteRead, urllib.error.HTTPError, OSError)):
            vm.get("/data.bin")
        assert disk_figure(vm, "errors_total") >= 1
        assert vm.get("/small.txt") == b"still here\n"
        assert vm.get("/data.bin", Range="bytes=0-4095") == DATA[:4096]
        assert vm.metrics()["pagewire_cache_pinned_pages"] == 0
