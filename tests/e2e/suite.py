# SPDX-License-Identifier: BSD-2-Clause
"""busybox's own test suite as a judge: the distribution's busybox, the tests of its source package, run on Pagewire and,
to know what is the suite's own fault, on the Linux of this machine. What came of it stands in docs/linux-abi.md between
two markers; `make abi-list` writes it anew, tests/e2e/test_suite.py holds the kernel to it."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter

from vm import BUILD, PATIENCE, ROOT, VM, make_volume

DOCUMENT = os.path.join(ROOT, "docs", "linux-abi.md")
BEGIN, END = "<!-- abi-list: made by `make abi-list` -->", "<!-- abi-list end -->"
APPLETS = """awk basename bunzip2 busybox bzcat cal cat cmp comm cp cpio cut date dc dd diff dirname du echo expand expr
factor false find fold grep gunzip gzip head hexdump hostid hostname id ln ls md5sum mkdir mv nl od paste patch pidof printf
pwd readlink realpath rev rm rmdir sed seq sha1sum sort strings sum tail tar tee test time touch tr tree true tsort
uncompress unexpand uniq unlzma unzip uptime uuencode wc which xargs xxd""".split()
SCRIPT = """#!/bin/sh
export bindir=/bin tsdir=/suite PATH=/bin
cd /suite
sh ./runtest %s > /result 2>&1 < /dev/null
echo; echo suite done
"""


def build(root):
    """The tree that both see as their root."""
    subprocess.run(["make", "-s", "build/programs/busybox-testsuite/.ready"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    suite = os.path.join(root, "suite")
    shutil.copytree(os.path.join(BUILD, "programs", "busybox-testsuite"), suite, symlinks=True)
    for name in ("bin", "tmp", "proc"):
        os.mkdir(os.path.join(root, name))
    subprocess.run(["cp", "/bin/busybox", os.path.join(root, "bin")], check=True)
    applets = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    for name in set(applets) - {"busybox"}:
        os.symlink("busybox", os.path.join(root, "bin", name))
    options = set()  # the suite asks for the configuration; whatever it asks for is said to be there
    for name in os.listdir(suite):
        if name.endswith(".tests"):
            with open(os.path.join(suite, name), errors="replace") as f:
                for line in re.findall(r"^\s*optional (.*)", f.read(), re.M):
                    options |= {word.lstrip("!") for word in line.split() if re.fullmatch(r"!?[A-Z0-9_]+", word)}
    with open(os.path.join(root, "bin", ".config"), "w") as f:
        f.writelines(f"CONFIG_{name}=y\n" for name in sorted(options))
    with open(os.path.join(root, "run.sh"), "w") as f:
        f.write(SCRIPT % " ".join(APPLETS))
    os.chmod(os.path.join(root, "run.sh"), 0o755)


def results(text):
    """(passed, failed): how often each test did."""
    passed, failed = Counter(), Counter()
    for word, name in re.findall(r"^(PASS|FAIL): (.*)$", text, re.M):
        (passed if word == "PASS" else failed)[re.sub(r"[|`]", "?", name.strip())] += 1
    return passed, failed


def on_pagewire(root, image):
    with VM(disks=[make_volume(root, image, size="128M")], name="suite", append="write=on", snapshot=False) as vm:
        vm.command("LOAD sh /run.sh &")
        end = time.monotonic() + 4 * PATIENCE
        while "suite done" not in vm.serial():
            assert vm.process.poll() is None and time.monotonic() < end, vm.serial()[-3000:]
            time.sleep(0.5)
        text = vm.get("/result").decode(errors="replace")
        vm.assert_alive()
    return results(text), text


def on_linux(root):
    os.mkdir(os.path.join(root, "dev"))
    for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
        subprocess.run(["mknod", os.path.join(root, "dev", name), "c", "1", str(minor)], check=True)
    subprocess.run(["unshare", "-n", "/usr/sbin/chroot", root, "/bin/sh", "/run.sh"], check=True, env={"PATH": "/bin"},
                   stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    with open(os.path.join(root, "result"), errors="replace") as f:
        return results(f.read())


def group(name):
    return re.match(r"\W*([A-Za-z0-9_]+)", name).group(1).lower() if re.search(r"\w", name) else "?"


def listing(here, linux):
    passed, failed = here
    lines = [BEGIN, "", f"{sum(passed.values())} pass, {sum((failed & linux[1]).values())} fail as they do on Linux with the same busybox "
             f"(the suite is of a later version), {sum((failed - linux[1]).values())} fail here only.", "",
             "| tests of | pass | fail on Linux, too | fail here only |", "|---|---|---|---|"]
    for key in sorted({group(n) for n in passed | failed}):
        mine = lambda c: [f"`{n}`" for n in sorted(c.elements()) if group(n) == key]
        lines.append(f"| {key} | {sum(v for n, v in passed.items() if group(n) == key)} | {', '.join(mine(failed & linux[1]))} | "
                     f"{', '.join(mine(failed - linux[1]))} |")
    return "\n".join(lines + ["", END])


def between(begin, end):
    """What stands in the document between two markers."""
    with open(DOCUMENT) as f:
        return f.read().split(begin)[1].split(end)[0]


def write_between(begin, end, text):
    """Puts `text`, which brings the markers along, in the place of what stands there."""
    with open(DOCUMENT) as f:
        before, rest = f.read().split(begin)
    with open(DOCUMENT, "w") as f:
        f.write(before + text + rest.split(end)[1])


def recorded():
    """What the document says: how many pass in each group, and which tests fail."""
    text = between(BEGIN, END)
    passing, failing = {}, Counter()
    for key, count, *cells in re.findall(r"^\| (\S+) \| (\d+) \| (.*?) ?\| (.*?) ?\|$", text, re.M):
        passing[key] = int(count)
        for cell in cells:
            failing.update(re.findall(r"`([^`]*)`", cell))
    return passing, failing


def main():
    with tempfile.TemporaryDirectory() as folder:
        roots = [os.path.join(folder, name) for name in ("here", "linux")]
        for root in roots:
            os.mkdir(root)
            build(root)
        here, text = on_pagewire(roots[0], os.path.join(folder, "image"))
        linux = on_linux(roots[1])
    with open(os.path.join(BUILD, "busybox-suite.log"), "w") as f:
        f.write(text)
    write_between(BEGIN, END, listing(here, linux))
    print(f"{sum(here[0].values())} pass, {sum(here[1].values())} fail; {sum((here[1] - linux[1]).values())} of them here only")


if __name__ == "__main__":
    sys.exit(main())
