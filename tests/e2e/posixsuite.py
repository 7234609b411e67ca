# SPDX-License-Identifier: BSD-2-Clause
"""The Open POSIX Test Suite (conformance tests of 190 interfaces: threads, signals, semaphores, message queues, timers, memory,
asynchronous I/O; the Linux Test Project carries it on), static with musl, as a judge: run on Pagewire and, to know what
is the suite's or musl's own, on the Linux of this machine. tests/programs/trial.c runs them on both. What came of it stands in
docs/linux-abi.md between two markers; `make abi-list` writes it anew, tests/e2e/test_posix.py holds the kernel to it.

On Pagewire QEMU's clock goes by instructions (-icount), and when nothing is to be done on to the next timer (sleep=off), so
that a host that stands still does not make a test late. A test that does not pass is tried again, with little beside
it: it passes if it passes once."""
import os
import re
import subprocess
import sys
import tempfile
import time

from suite import between, write_between
from vm import BUILD, ROOT, VM, make_volume

BEGIN, END = "<!-- posix-list: made by `make abi-list` -->", "<!-- posix-list end -->"
BESIDE, SECONDS = 16, 30
# One makes eight million calls; one wants the overruns of a timer of 2 ns to the hundredth, which is chance; one cancels a
# thread that never looks for as long as a second has calls: musl's signals for it wait, and are refused when RLIMIT_SIGPENDING
# is reached, here and on Linux.
NOT_RUN = {"clock.1-1", "timer_getoverrun.2-3", "pthread_cancel.5-2"}
# They say themselves that they tested nothing.
UNTESTED = ("4", "5")
TRIES = 3
# Who did not pass is tried again, with little beside it.
SCRIPT = f"""cd /posix
beside={BESIDE}
for try in $(seq {TRIES}); do
	test -s list && trial /posix $beside {SECONDS} > /result.$try
	sed -n '/ 0$/!s/^\\([^ ]*\\.[^ ]*\\) .*/\\1/p' /result.$try > list
	beside=4
done
echo; echo trials done
"""


def build(root, but=()):
    """The tree that both see as their root; its tests, but for some."""
    subprocess.run(["make", "-s", "build/programs/posix/.ready"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    for name in ("bin", "tmp"):
        os.mkdir(os.path.join(root, name))
    subprocess.run(["cp", "-r", os.path.join(BUILD, "programs", "posix"), root], check=True)
    os.rename(os.path.join(root, "posix", "trial"), os.path.join(root, "bin", "trial"))
    subprocess.run(["cp", "/bin/busybox", os.path.join(root, "bin")], check=True)
    for name in ("sh", "sed", "seq"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    with open(os.path.join(root, "run.sh"), "w") as f:
        f.write(SCRIPT)
    names = sorted(n for n in os.listdir(os.path.join(root, "posix")) if re.fullmatch(r"[a-z]\S*\.\S+", n) and not n.endswith(".log") and n not in NOT_RUN.union(but))
    with open(os.path.join(root, "posix", "list"), "w") as f:
        f.write("\n".join(names) + "\n")
    return names


def results(text):
    """{test: "0" (passed), another exit status, "signal 11", "late"}"""
    return dict(re.findall(r"^(\S+\.\S+) (.+)$", text, re.M))


def passing(found):
    return {name for name, result in found.items() if result == "0"}


def run_on_pagewire(root, image):
    """What each test comes to, and a function that says what a test said."""
    vm = VM(disks=[make_volume(root, image, size="128M")], name="posix", append="write=on", mem=512, snapshot=False,
            extra=["-icount", "shift=3,sleep=off"])
    with vm:
        vm.command("LOAD sh /run.sh &")
        end = time.monotonic() + 1800
        while "\ntrials done" not in vm.serial().replace("\r", ""):
            assert vm.process.poll() is None and time.monotonic() < end, vm.serial()[-3000:]
            time.sleep(0.5)
        found = {}
        for n in range(TRIES):
            found.update(results(fetch(vm, f"/result.{n + 1}")))
        said = {name: fetch(vm, f"/posix/{name}.out") for name in set(found) - passing(found)}
        vm.assert_alive()
    return found, said


def fetch(vm, path):
    """A file's text; nothing if it is not there."""
    out = subprocess.run(["curl", "-sS", "--max-time", "300", "-w", "%{stderr}%{http_code}", vm.url + path], check=True, capture_output=True)
    return out.stdout.decode(errors="replace") if out.stderr == b"200" else ""


def run_on_linux(root):
    for name, kind in (("dev", None), ("dev/shm", None), ("dev/null", "3"), ("dev/zero", "5"), ("dev/urandom", "9")):
        path = os.path.join(root, name)
        if kind:
            subprocess.run(["mknod", "-m", "666", path, "c", "1", kind], check=True)
        else:
            os.mkdir(path)
            os.chmod(path, 0o1777)
    # A test that sets the clock would set the host's.
    subprocess.run(["unshare", "-n", "setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time", "/usr/sbin/chroot", root, "/bin/sh", "/run.sh"], check=True,
                   env={"PATH": "/bin"}, stdin=subprocess.DEVNULL, capture_output=True)
    found = {}
    for n in range(TRIES):
        path = os.path.join(root, f"result.{n + 1}")
        if os.path.exists(path):
            with open(path) as f:
                found.update(results(f.read()))
    return found


def split(name):
    return name.split(".", 1) if not name.startswith("functional.") else name.rsplit(".", 1)


def listing(here, linux):
    both = {n: (here[n], linux.get(n, "not there")) for n in here}
    kinds = {"pass": [n for n, (a, _) in both.items() if a == "0"],
             "untested": [n for n, (a, b) in both.items() if a in UNTESTED and (b in UNTESTED or b == "0") and not (a != "0" and b == "0")],
             }
    kinds["both"] = [n for n, (a, b) in both.items() if a != "0" and b != "0" and n not in kinds["untested"]]
    kinds["here"] = [n for n, (a, b) in both.items() if a != "0" and b == "0"]
    lines = [BEGIN, "", f"Of {len(both)} tests {len(kinds['pass'])} pass; {len(kinds['untested'])} say themselves that they cannot test anything, "
             f"here and on Linux; {len(kinds['both'])} fail as they do on Linux (musl's doing, or the suite's), {len(kinds['here'])} fail here only.", "",
             "| interface | pass | cannot test | fail on Linux, too | fail here only |", "|---|---|---|---|---|"]
    whole = {}
    for interface in sorted({split(n)[0] for n in both}):
        mine = {kind: sorted(split(n)[1] for n in names if split(n)[0] == interface) for kind, names in kinds.items()}
        if any(mine[kind] for kind in ("untested", "both", "here")):
            lines.append(f"| {interface} | {len(mine['pass'])} | " + " | ".join(", ".join(mine[kind]) for kind in ("untested", "both", "here")) + " |")
        else:
            whole[interface] = len(mine["pass"])
    everything = ", ".join(f"{name} {count}" for name, count in whole.items())
    return "\n".join(lines + ["", f"All tests pass of these (and how many): {everything}.", "", END])


def recorded():
    """By the document: which tests do not pass, and how many do of each interface."""
    text = between(BEGIN, END)
    failing, counts = set(), {}
    for interface, count, *cells in re.findall(r"^\| (\S+) \| (\d+) \| (.*?) ?\| (.*?) ?\| (.*?) ?\|$", text, re.M):
        counts[interface] = int(count)
        failing |= {f"{interface}.{test}" for cell in cells for test in re.findall(r"[^, ]+", cell)}
    for interface, count in re.findall(r"(\S+) (\d+)[,.]", text.split("All tests pass of these")[1]):
        counts[interface] = int(count)
    return failing, counts


def main():
    with tempfile.TemporaryDirectory() as folder:
        roots = [os.path.join(folder, name) for name in ("here", "linux")]
        for root in roots:
            os.mkdir(root)
            build(root)
        here, said = run_on_pagewire(roots[0], os.path.join(folder, "image"))
        with open(os.path.join(BUILD, "posix-suite.log"), "w") as f:
            f.writelines(f"== {name} {here[name]}\n{text}\n" for name, text in sorted(said.items()))
        linux = run_on_linux(roots[1])
    write_between(BEGIN, END, listing(here, linux))
    print(f"{len(passing(here))} of {len(here)} pass; {len(passing(linux) - passing(here))} fail here only")


if __name__ == "__main__":
    sys.exit(main())
