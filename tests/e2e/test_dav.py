# SPDX-License-Identifier: BSD-2-Clause
"""WebDAV clients that others wrote, against a machine that keeps file pages out of the processor's reach: litmus
whole, cadaver, rclone, davfs2 mounted and worked on. Afterwards e2fsck looks at the volume."""
import contextlib
import hashlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import time

import pytest

from test_rights import argon2
from vm import PATIENCE, VM, make_volume

USER, PASSWORD = "anna", "correct horse"
PATH = os.environ["PATH"] + ":/sbin:/usr/sbin"


def users_file(digest):
    secret = hashlib.sha256(f"{USER}:Pagewire:{PASSWORD}".encode()).hexdigest()
    return (f"user {USER} {argon2(PASSWORD)}{' digest-sha256=' + secret if digest else ''}\n"
            f"trustee / * RL\ntrustee / + ALL\ntrustee /closed + RL\n")


def volume(tmp_path_factory, digest):
    top = tmp_path_factory.mktemp("dav")
    (top / ".pagewire").mkdir()
    (top / ".pagewire/users").write_text(users_file(digest))
    (top / "closed").mkdir()
    (top / "closed/a").write_text("a\n")
    (top / "hello.txt").write_text("hello\n")
    return make_volume(top, tmp_path_factory.mktemp("image") / "sys.img", size="400M")


@contextlib.contextmanager
def writable(image):
    """A machine that clients may write to; afterwards all is given back, and e2fsck finds the volume sound."""
    with VM(disks=[image], append="write=on cache=unmapped", name="dav", snapshot=False) as machine:
        before = machine.lent()
        yield machine
        machine.wait_returned(before, machine.lent)
        assert machine.metrics()['pagewire_copy_bytes_total{site="other"}'] == 0
        assert machine.down() == 0
    fsck = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, env={"PATH": PATH})
    assert fsck.returncode == 0, fsck.stdout + fsck.stderr


@pytest.fixture(scope="module")
def vm(tmp_path_factory):
    with writable(volume(tmp_path_factory, False)) as machine:
        yield machine


def litmus(machine, folder):
    done = subprocess.run(["litmus", "-k", machine.url + "/", USER, PASSWORD], cwd=folder, capture_output=True, text=True,
                          timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stdout
    summaries = re.findall(r"summary for `(\w+)': of (\d+) tests run: (\d+) passed, 0 failed", done.stdout)
    assert [s[0] for s in summaries] == ["basic", "copymove", "props", "locks", "http"], done.stdout
    assert all(s[1] == s[2] for s in summaries), done.stdout
    for word in "FAIL", "WARNING", "SKIPPED":
        assert word not in done.stdout, done.stdout


def test_litmus_passes_whole(vm, tmp_path):
    litmus(vm, tmp_path)


def test_litmus_passes_whole_with_digest(tmp_path_factory, tmp_path):
    with writable(volume(tmp_path_factory, True)) as machine:
        litmus(machine, tmp_path)
        assert machine.metrics()["pagewire_auth_verified_total"] == 0


def sample_tree(top, seed):
    rng = random.Random(seed)
    for n in range(60):
        path = top / f"dir {n % 7}" / "ünder" / f"file-{n} (1)+&%.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.choice([0, 1, 4095, 4096, 70001, 300000])))
    return top


def rclone(vm, *arguments):
    obscured = subprocess.run(["rclone", "obscure", PASSWORD], capture_output=True, text=True, check=True).stdout.strip()
    return subprocess.run(["rclone", "--config", "/dev/null", "--webdav-url", vm.url, "--webdav-vendor", "other",
                           "--webdav-user", USER, "--webdav-pass", obscured, "--retries", "1", *arguments],
                          capture_output=True, text=True, timeout=3 * PATIENCE)


def test_rclone_syncs_and_finds_no_difference(vm, tmp_path, seed):
    tree = sample_tree(tmp_path / "tree", seed)
    done = rclone(vm, "sync", str(tree), ":webdav:rclone")
    assert done.returncode == 0, done.stderr
    done = rclone(vm, "check", "--download", str(tree), ":webdav:rclone")
    assert done.returncode == 0 and "0 differences" in done.stderr, done.stderr
    shutil.rmtree(tree / "dir 3")
    (tree / "dir 4/ünder/new").write_text("new\n")
    done = rclone(vm, "sync", str(tree), ":webdav:rclone")
    assert done.returncode == 0, done.stderr
    done = rclone(vm, "check", "--download", str(tree), ":webdav:rclone")
    assert done.returncode == 0, done.stderr
    listed = set(rclone(vm, "lsf", "-R", "--files-only", ":webdav:rclone").stdout.splitlines())
    assert listed == {str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()}
    assert rclone(vm, "purge", ":webdav:rclone").returncode == 0


def test_cadaver_does_a_users_day(vm, tmp_path):
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1\nlogin {USER}\npassword \"{PASSWORD}\"\n")
    (tmp_path / "one").write_text("one\n")
    script = ("mkcol /cadaver\ncd /cadaver\nput one two\nls\ncopy two three\nmove three four\nlock four\ndiscover four\n"
              "unlock four\npropset four color blue\npropget four color\nget four back\ndelete two\nls\ncd /\n"
              "rmcol cadaver\nquit\n")
    done = subprocess.run(["cadaver", vm.url + "/"], input=script, capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "HOME": str(tmp_path)}, timeout=PATIENCE)
    assert "failed" not in done.stdout.lower(), done.stdout
    assert "Value of color is: blue" in done.stdout, done.stdout
    assert (tmp_path / "back").read_text() == "one\n"


@pytest.fixture
def mounted(vm):
    if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
        pytest.skip("davfs2 needs root and /dev/fuse")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pagewire-davfs2-"))  # pytest's own are closed to davfs2's user
    folder.chmod(0o777)
    point, conf, secrets, cache = (folder / name for name in ("mnt", "conf", "secrets", "cache"))
    point.mkdir()
    cache.mkdir()
    cache.chmod(0o777)
    secrets.write_text(f'{vm.url}/ {USER} "{PASSWORD}"\n')
    secrets.chmod(0o600)
    conf.write_text(f"secrets {secrets}\ncache_dir {cache}\ndelay_upload 0\nif_match_bug 0\nask_auth 0\n"
                    "gui_optimize 0\n")
    done = subprocess.run(["mount.davfs", "-o", f"conf={conf}", vm.url + "/", str(point)], capture_output=True, text=True,
                          env={**os.environ, "PATH": PATH}, timeout=PATIENCE)
    if done.returncode != 0 and "fuse" in (done.stderr + done.stdout).lower():
        pytest.skip("davfs2 cannot mount here: " + done.stderr.strip())
    assert done.returncode == 0, done.stderr
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], timeout=PATIENCE, capture_output=True, env={**os.environ, "PATH": PATH})
        shutil.rmtree(folder, ignore_errors=True)


def fetched(vm, path, seconds=PATIENCE, status="200"):
    """What the server has, once davfs2 has uploaded it (delay_upload is 0: when the file is closed)."""
    end = time.monotonic() + seconds
    while True:
        out = subprocess.run(["curl", "-s", "-w", "%{http_code}", "-u", f"{USER}:{PASSWORD}", vm.url + path],
                             capture_output=True).stdout
        if out.endswith(status.encode()) or time.monotonic() > end:
            return out[:-3], out[-3:].decode()
        time.sleep(0.2)


def test_davfs2_carries_a_days_work_on_files(vm, mounted, seed):
    rng = random.Random(seed)
    assert (mounted / "hello.txt").read_text() == "hello\n"
    desk = mounted / "desk"
    (desk / "deep/er").mkdir(parents=True)
    large = rng.randbytes(3_000_001)
    (desk / "deep/er/large").write_bytes(large)
    for n in range(20):
        (desk / f"f{n} ü").write_text(f"{n}\n" * 100)
    with open(desk / "f1 ü", "a") as f:
        f.write("more\n")
    os.rename(desk / "f2 ü", desk / "deep/moved")
    os.remove(desk / "f3 ü")
    os.rename(desk / "deep", desk / "Deep")
    assert subprocess.run(["cmp", desk / "Deep/er/large", "-"], input=large).returncode == 0
    os.utime(desk / "f4 ü")
    assert fetched(vm, "/desk/Deep/er/large")[0] == large
    assert fetched(vm, "/desk/f1%20%C3%BC")[0] == b"1\n" * 100 + b"more\n"
    assert fetched(vm, "/desk/Deep/moved")[0] == b"2\n" * 100
    for gone in "/desk/f2%20%C3%BC", "/desk/f3%20%C3%BC", "/desk/deep/moved":
        assert fetched(vm, gone, status="404")[1] == "404"


@pytest.fixture(scope="module")
def small_pieces(tmp_path_factory):
    """An environment in which programs can list a directory of davfs2 on recent Linux (smalldir.c says why)."""
    library = tmp_path_factory.mktemp("smalldir") / "smalldir.so"
    source = os.path.join(os.path.dirname(__file__), "smalldir.c")
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(library), source], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def test_davfs2_lists_directories(vm, mounted, small_pieces, seed):
    """Names that a mount shows, before and after they change, in a directory whose listing takes many pieces."""
    def listed(folder):
        done = subprocess.run(["/usr/bin/python3", "-c", "import os, sys; print('\\0'.join(os.listdir(sys.argv[1])))", str(folder)],
                              env=small_pieces, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return sorted(name for name in done.stdout[:-1].split("\0") if name)

    folder = mounted / "many"
    folder.mkdir()
    assert listed(folder) == []
    names = sorted(f"a rather long name, so that few have room in a piece: {n} ü" for n in range(150))
    for name in names:
        (folder / name).touch()
    assert listed(folder) == names
    for name in names[::2]:
        (folder / name).unlink()
    (folder / names[1]).rename(folder / "renamed")
    assert listed(folder) == sorted(["renamed", *names[3::2]])


def test_davfs2_carries_a_version_control_system(vm, mounted, small_pieces):
    repo = mounted / "repo"
    repo.mkdir()
    done = subprocess.run("git init -q . && git config user.email a@b && git config user.name a && "
                          "for i in 1 2 3 4 5 6 7 8; do seq $i 400 > f$i; done && git add . && git commit -qm one && "
                          "git status --porcelain && git log --oneline | wc -l && mv f1 g1 && rm f2 && git status --porcelain",
                          shell=True, cwd=repo, capture_output=True, text=True, timeout=PATIENCE, env=small_pieces)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "D", "f1", "D", "f2", "??", "g1"], done.stdout


def test_a_closed_directory_stays_closed(vm):
    for method, path in [("PUT", "/closed/b"), ("DELETE", "/closed/a"), ("MKCOL", "/closed/c"), ("PROPPATCH", "/closed/a"),
                         ("LOCK", "/closed/a"), ("LOCK", "/closed/new"), ("PATCH", "/closed/a")]:
        code = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "-d", "x", "-u",
                               f"{USER}:{PASSWORD}", vm.url + path], capture_output=True, text=True).stdout
        assert code == "403", (method, path, code)
    for method in "MOVE", "COPY":
        code = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "-u",
                               f"{USER}:{PASSWORD}", "-H", f"Destination: {vm.url}/closed/x", vm.url + "/hello.txt"],
                              capture_output=True, text=True).stdout
        assert code == "403", (method, code)


def test_the_console_adds_users_and_gives_rights(vm):
    def code(user, *arguments):
        return subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", user, *arguments],
                              capture_output=True, text=True).stdout

    password = re.search(r"The password is (\w+)", vm.command("USER ADD bob")).group(1)
    vm.command("USER ADD eve sesame")
    assert code("bob:" + password, vm.url + "/closed/a") == "200"
    assert code("bob:" + password, "-T", "/etc/hostname", vm.url + "/closed/b") == "403"
    assert "bob has RLWCE" in vm.command("GRANT RLWCE FOR /closed TO bob")
    assert code("bob:" + password, "-T", "/etc/hostname", vm.url + "/closed/b") == "201"
    assert code("eve:sesame", "-X", "DELETE", vm.url + "/closed/b") == "403"
    assert re.search(r"RLWCE +bob +/closed", vm.command("RIGHTS"))
    assert "no such user" in vm.command("GRANT R FOR / TO nobody")
    vm.command("REVOKE FOR /closed FROM bob")
    assert code("bob:" + password, "-X", "DELETE", vm.url + "/closed/b") == "403"
    assert "eve is removed" in vm.command("USER REMOVE eve")
    assert code("eve:sesame", "-X", "MKCOL", vm.url + "/eves") == "401"
    assert re.search(r"\bbob\b", vm.command("USERS")) and "eve" not in vm.command("USERS").replace("USERS", "")
