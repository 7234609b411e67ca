# SPDX-License-Identifier: BSD-2-Clause
"""What must be on a SCRATCH volume that tests/guest/power.c worked on, and the judges: e2fsck replays, debugfs looks."""
import re
import subprocess

THREADS = 4
E2FSPROGS = "/usr/sbin/"


def run(*args, ok=(0,), **options):
    done = subprocess.run(args, capture_output=True, text=True, errors="replace", **options)
    assert done.returncode in ok, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make(image, size="64m", *options):
    run(E2FSPROGS + "mke2fs", "-q", "-F", "-t", "ext4", "-L", "SCRATCH", *options, str(image), size)
    return str(image)


def kept(serial):
    """thread: the last step that it said was kept."""
    last = {}
    for thread, step in re.findall(r"kept (\d+) (\d+)\r?\n", serial):
        last[int(thread)] = int(step)
    return last


def after(steps):
    """The names in a thread's directory after so many steps; a link's value is its target."""
    names = {}
    for n in range(steps):
        kind = n % 8
        if kind == 0:
            names[f"dir{n}"] = "dir"
        elif kind in (4, 7):
            names[f"file{n}"] = "file"
        elif kind == 5:
            names[f"moved{n}"] = names.pop(f"link{n - 4}")
        elif kind == 6:
            del names[f"link{n - 4}"]
        else:
            names[f"link{n}"] = f"target{n}" + ("x" * 150 if n % 3 == 1 else "")
    return names


def listing(image, thread):
    """The same, as debugfs sees it; None: there is no such directory."""
    out = run(E2FSPROGS + "debugfs", "-R", f"ls -p /thread{thread}", image)
    entries = [line.split("/") for line in out.splitlines() if line.startswith("/")]
    if not entries:
        return None
    names, links = {}, []
    for _, inode, mode, _, _, name, *_ in entries:
        if name in (".", "..") or inode == "0":  # 0: room for an entry
            continue
        kind = int(mode, 8) & 0o170000
        names[name] = {0o040000: "dir", 0o100000: "file", 0o120000: "link"}[kind]
        if names[name] == "link":
            links.append(name)
    commands = "".join(f"stat /thread{thread}/{name}\n" for name in links)
    text = run(E2FSPROGS + "debugfs", "-f", "-", image, input=commands) if links else ""
    fast = re.split(r"debugfs: stat ", text)[1:]
    for name, part in zip(links, fast):
        target = re.search(r'Fast link dest: "(.*)"', part)
        names[name] = target.group(1) if target else None
    slow = [name for name in links if names[name] is None]
    commands = "".join(f"cat /thread{thread}/{name}\n" for name in slow)
    text = run(E2FSPROGS + "debugfs", "-f", "-", image, input=commands) if slow else ""
    for name, part in zip(slow, re.split(r"debugfs: cat .*\n", text)[1:]):
        names[name] = part.rstrip("\n")
    return names


def judge(image, what=""):
    """Replays with e2fsck, which must find nothing else to do."""
    first = run(E2FSPROGS + "e2fsck", "-fy", image, ok=(0, 1))
    repairs = re.findall(r"(.*\n?.*)\? yes", first)
    # What Linux leaves in the same way: the mark of the orphan file, and the inodes in it.
    allowed = r"orphan file .*is not clean|orphan_present is set but orphan file is clean|rphaned inode"
    assert not [text for text in repairs if not re.search(allowed, text, re.I)], f"{what}\n{first}"
    run(E2FSPROGS + "e2fsck", "-fn", image)


def check(image, promised, what=""):
    """Replays, and looks at every thread's names."""
    judge(image, what)
    for thread in range(THREADS):
        found, last = listing(image, thread), promised.get(thread, -1)
        if found is None:
            assert last < 0, f"{what}: thread {thread} has no directory, and kept {last}"
            continue
        # One step may be on the disk that nobody was told of.
        assert found in (after(last + 1), after(last + 2)), (
            f"{what}: thread {thread} kept {last}; there is {sorted(found)[-12:]}, "
            f"expected {sorted(after(last + 1))[-12:]}")
