# SPDX-License-Identifier: BSD-2-Clause
"""ext4 volumes as they are met in life: with a journal to replay, damaged, with very many names. The
images are those of the host tests (tests/host/ext4_images.py); here they are read through the cache,
with its pages unmapped, and over HTTP."""
import hashlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse

import pytest

from vm import VM

MAKER = os.path.join(os.path.dirname(__file__), "..", "host", "ext4_images.py")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    made = {}

    def make(group):
        if group not in made:
            made[group] = tmp_path_factory.mktemp(group) / "images"
            subprocess.run([sys.executable, MAKER, group, made[group]], check=True)
        return made[group]
    return make


def boot(image, name):
    return VM(disks=[str(image)], append="cache=unmapped", snapshot=False, name=name)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_tree(vm, tree):
    files = 0
    for folder, _, names in os.walk(os.fsencode(tree)):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            url = "/" + urllib.parse.quote(os.path.relpath(path, os.fsencode(tree)))
            with open(path, "rb") as f:
                assert vm.get(url) == f.read(), url
            files += 1
    return files


@pytest.mark.parametrize("name", ["busy-4096", "busy-1024-nocsum", "wrapped-old", "escaped-4096"])
def test_a_journal_is_replayed_in_memory_and_the_disk_stays_as_it_is(images, name):
    top = images("journals")
    before = sha256(top / f"{name}.img")
    with boot(top / f"{name}.img", "journal") as vm:
        assert same_tree(vm, top / ("tree-escaped" if "escaped" in name else "tree-after")) > 100
        assert "journal replayed in memory" in vm.command("volumes")
        assert vm.metrics()["pagewire_ext4_corruptions_total"] == 0
    assert sha256(top / f"{name}.img") == before


def test_a_damaged_inode_costs_that_file_only(images, tmp_path):
    top = images("damage")
    image = tmp_path / "damaged.img"
    image.write_bytes((top / "csum.img").read_bytes())
    text = subprocess.run(["/usr/sbin/debugfs", "-R", "imap a/size-5000", image], check=True,
                          capture_output=True, text=True).stdout
    inode = int(re.search(r"Inode (\d+)", text)[1])
    block, offset = re.search(r"block (\d+), offset (0x[0-9a-f]+)", text).groups()
    with open(image, "r+b") as f:
        f.seek(int(block) * 1024 + int(offset, 16) + 0x20)
        f.write(b"\x55")
    with boot(image, "damaged") as vm:
        with pytest.raises(urllib.error.HTTPError) as answer:
            vm.get("/a/size-5000")
        assert answer.value.code == 500
        assert f"corrupt: inode {inode}, block {block}" in vm.serial()
        assert vm.metrics()["pagewire_ext4_corruptions_total"] > 0
        assert vm.get("/a/size-70000") == (top / "tree/a/size-70000").read_bytes()
        assert vm.get("/fragmented") == (top / "tree/fragmented").read_bytes()


def test_a_hundred_thousand_names_in_one_directory(images):
    top = images("large")
    with boot(top / "large-4096.img", "large") as vm:
        for i in range(0, 100000, 997):
            name = urllib.parse.quote(b"n%d-\xe4%s" % (i, b"\xff" * (i % 7)))
            assert vm.get(f"/dir/{name}") == b"%d" % (i % 4)
        with pytest.raises(urllib.error.HTTPError) as answer:
            vm.get("/dir/n100000")
        assert answer.value.code == 404
