# SPDX-License-Identifier: BSD-2-Clause
"""Files that are read from the disk for the first time: what that asks of the disk, and how often somebody had to wait for
a page that had not even been asked for. Counts only: how long anything takes decides nothing."""
import hashlib
import os
import random
import re
import subprocess

import pytest

from conftest import curl, digest, fill
from vm import VM, make_volume

PAGE, COMMAND, LARGE = 4096, 128 << 10, 64 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory, seed):
    top = tmp_path_factory.mktemp("cold")
    rng = random.Random(seed)
    fill(top / "large.bin", LARGE, rng)
    fill(top / "ranges.bin", 16 << 20, rng)
    return top


@pytest.fixture(scope="module")
def image(folder, tmp_path_factory):
    return make_volume(folder, tmp_path_factory.mktemp("image") / "cold.img")


@pytest.fixture(params=["", "cache=unmapped"], ids=["plain", "unmapped"])
def cold(request, image):
    with VM(disks=[image], append=request.param, name="cold") as machine:
        machine.get("/")
        yield machine
        machine.assert_alive()


def extents(image, name):
    out = subprocess.run(["/usr/sbin/debugfs", "-R", f"ex {name}", image], check=True, capture_output=True, text=True).stdout
    return len(re.findall(r"^\s*(\d+)/\s*\1\s", out, re.M))  # those of the deepest level


class Done:
    """What was done since the last look."""

    NAMES = {"commands": 'pagewire_disk_reads_total{disk="ahci0.0"}', "bytes": 'pagewire_disk_read_bytes_total{disk="ahci0.0"}',
             "misses": "pagewire_cache_misses_total", "underway": "pagewire_cache_misses_underway_total",
             "ahead": "pagewire_cache_readahead_pages_total", "used": "pagewire_cache_readahead_used_total",
             "lost": "pagewire_cache_readahead_lost_total"}

    def __init__(self, vm):
        self.vm, self.before = vm, vm.metrics()

    def look(self):
        now = self.vm.metrics()
        done = {word: int(now[name] - self.before[name]) for word, name in self.NAMES.items()}
        self.before, self.unread = now, now["pagewire_cache_readahead_unread_pages"]
        done["unasked"] = done.pop("misses") - done.pop("underway")
        return done


def test_a_large_file_is_asked_for_in_large_commands_and_ahead_of_its_reader(cold, folder, image):
    done = Done(cold)
    assert cold.get("/large.bin", Range="bytes=0-0") == (folder / "large.bin").read_bytes()[:1]
    first = done.look()  # the first page, and how the file lies
    assert first["ahead"] == 0 and first["bytes"] <= PAGE + 16 * PAGE
    body = cold.get("/large.bin")
    whole = done.look()
    assert hashlib.sha256(body).hexdigest() == digest(folder / "large.bin")
    assert whole["bytes"] == LARGE - PAGE
    # A command for each 128 KB; another where an extent ends; some windows before they are as large as they get.
    assert LARGE // COMMAND <= whole["commands"] <= LARGE // COMMAND + extents(image, "/large.bin") + 16, whole
    assert whole["unasked"] == 1, whole  # the second page
    assert whole["ahead"] == whole["used"] == LARGE // PAGE - 2 and whole["lost"] == 0 and done.unread == 0
    cold.get("/large.bin")
    again = done.look()
    assert not any(again.values()), again


def test_a_range_is_read_with_its_first_page_and_nothing_beside_it(cold, folder, seed):
    content = (folder / "ranges.bin").read_bytes()
    rng, done = random.Random(seed), Done(cold)
    cold.get("/ranges.bin", Range="bytes=0-0")
    done.look()
    for place in range(1, 60):
        first = place * (256 << 10) + rng.randrange(PAGE)  # ranges that do not touch each other
        length = rng.randrange(1, 200 << 10)
        assert cold.get("/ranges.bin", Range=f"bytes={first}-{first + length - 1}") == content[first:first + length]
        got = done.look()
        pages = (first + length - 1) // PAGE - first // PAGE + 1
        assert got["bytes"] == pages * PAGE and got["unasked"] == 1 and got["ahead"] == got["used"] == pages - 1, got
        assert got["commands"] <= pages * PAGE // COMMAND + 3, got
    assert done.unread == 0


def test_many_ranges_in_one_answer_wait_once_each(cold, folder):
    done = Done(cold)
    cold.get("/ranges.bin", Range="bytes=0-0")
    done.look()
    wanted = [(n << 20, (n << 20) + 50000) for n in range(1, 9)]
    body = curl("-sS", "-H", "Range: bytes=" + ",".join(f"{a}-{b}" for a, b in wanted), cold.url + "/ranges.bin").stdout
    content = (folder / "ranges.bin").read_bytes()
    assert all(content[a:b + 1] in body for a, b in wanted)
    got = done.look()
    assert got["unasked"] == len(wanted) and got["bytes"] == sum((b // PAGE - a // PAGE + 1) * PAGE for a, b in wanted), got
    assert os.path.getsize(folder / "ranges.bin") > wanted[-1][1]
