# SPDX-License-Identifier: BSD-2-Clause
import hashlib
import os
import random
import subprocess

import pytest

from relay import Peer
from tap import Tap
from vm import PATIENCE, VM, make_volume

SEED = int(os.environ.get("SEED", "20260722"))


def pytest_report_header(config):
    return f"seed {SEED} (SEED=n makes another)"


@pytest.fixture(scope="session")
def seed():
    return SEED


def fill(path, size, rng):
    with open(path, "wb") as f:
        f.write(rng.randbytes(size))


SIZES = [0, 1, 2, 511, 512, 1023, 1024, 1395, 1448, 1460, 2920, 4095, 4096, 4097, 8191, 8192, 8193, 65535,
         65536, 65537, 262143, 1048576, 1048577, 5000001]


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """Thousands of files with odd names and sizes; {path as bytes: sha256}."""
    rng = random.Random(SEED)
    top = tmp_path_factory.mktemp("tree")
    for size in SIZES:
        fill(top / f"size-{size}.bin", size, rng)
    odd = os.path.join(os.fsencode(top), b"odd names")
    os.mkdir(odd)
    names = [bytes([c]) + b"x" for c in range(1, 256) if bytes([c]) not in (b"/",)]
    names += [b" lead", b"trail ", b"a%20b", b"a+b", b"100%", b"<b>&amp;\"'", b"\xff\xfe", b"..a", b"...",
              "ünïcödé".encode(), "日本語".encode(), b"x" * 255, b"?q=1", b"#frag", b"a;b=c", b"a\nb", b"\\"]
    for name in sorted(set(names)):
        with open(os.path.join(odd, name), "wb") as f:
            f.write(rng.randbytes(rng.randrange(300)))
    for d in range(20):
        (top / f"d{d}" / "sub").mkdir(parents=True)
        for n in range(100):
            fill(top / f"d{d}" / "sub" / f"f{n:03}.dat", int(rng.paretovariate(0.7) * 100) % 200000, rng)
    (top / "empty dir").mkdir()
    (top / "withindex").mkdir()
    (top / "withindex" / "index.html").write_text("<p>the index</p>\n")
    os.symlink("size-4097.bin", top / "link.bin")
    os.symlink("/d0/sub/f000.dat", top / "absolute-link")
    os.symlink("loop-b", top / "loop-a")
    os.symlink("loop-a", top / "loop-b")
    os.symlink("nowhere", top / "dangling")
    with open(top / "sparse.bin", "wb") as f:
        f.seek(1100 * 1024 * 1024)
        f.write(b"end of a sparse file")
        f.seek(700 * 1024 * 1024 + 5)
        f.write(b"middle")
    return top


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@pytest.fixture(scope="session")
def tree_image(tree, tmp_path_factory):
    return make_volume(tree, tmp_path_factory.mktemp("image") / "tree.img")


@pytest.fixture(scope="session", params=["", "nic=late"], ids=["plain", "late"])
def shared_vm(request, tree_image):
    """One machine for all the functional tests, in the strict mode: file bytes are not even mapped."""
    with VM(disks=[tree_image], append=("cache=unmapped " + request.param).strip(), mem=512,
            name="shared") as machine:
        machine.get("/")
        yield machine


@pytest.fixture
def vm(shared_vm):
    """The shared machine; after the test everything it lent out must be back."""
    before = shared_vm.lent()
    yield shared_vm
    shared_vm.assert_returned(before)


def curl(*arguments, check=True):
    return subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE), *arguments], check=check,
                          capture_output=True)


def namespace_is_private():
    """tools/test runs the end-to-end tests in a namespace it made, and says so."""
    return os.environ.get("PAGEWIRE_NETNS") == "1"


@pytest.fixture
def tap():
    if not namespace_is_private():
        pytest.skip("wants a network namespace of its own: run it through tools/test e2e")
    device = Tap()
    yield device
    device.close()


@pytest.fixture(scope="module")
def lone(tree_image):
    """A machine whose only neighbour is the test, and that neighbour."""
    peer = Peer()
    machine = VM(disks=[tree_image], net=peer.wire.netdev, append=f"{Peer.KERNEL_WORD} cache=unmapped", name="lone")
    with machine as vm:
        peer.wait()
        yield vm, peer
    peer.close()
