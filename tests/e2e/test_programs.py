# SPDX-License-Identifier: BSD-2-Clause
"""Programs in ring 3: Debian's static busybox, unchanged, and programs of tests/programs built with musl. A program
may do anything but harm: whatever happens to it, the machine goes on and everything it had comes back."""
import hashlib
import os
import re
import subprocess
import time

import pytest

from vm import PATIENCE, ROOT, VM, make_volume

SCRIPTS = {
    "pipes": """echo one; for n in 3 1 2; do echo $n; done | sort -r; echo $((6 * 7)) | cat | cat""",
    "sum": """md5sum /bin/busybox; cat /bin/busybox | md5sum; head -c 100000 /bin/busybox | tail -c 1000 | md5sum""",
    "jobs": """sleep 100 & kill $!; wait $!; echo status $?; (exit 3); echo status $?; sh -c 'kill -9 $$'; echo status $?""",
    "names": """ls / | grep -c bin; cd /bin; pwd; test -x busybox && echo there; test -e nothing || echo absent
cat /nothing; echo status $?; echo x > /y; echo status $?""",
    "write": """set -e
mkdir /d /d/sub; cp /bin/busybox /d/copy; md5sum /d/copy; seq 2000 > /d/lines; cp /bin/busybox /d/cut; truncate -s 5000 /d/cut
echo first > /d/there; echo second >> /d/there; mv /d/there /d/moved; echo x > /d/gone; rm /d/gone; mkdir /d/away; rmdir /d/away
ln /d/moved /d/sub/hard; ln -s moved /d/soft; test "$(cat /d/soft)" = "$(cat /d/sub/hard)"; sync /d/lines
test "$(busybox readlink /d/soft)" = moved; busybox chmod 640 /d/lines; busybox touch -d 2020-02-02 /d/lines
busybox stat -c %a /d/lines; busybox ls -l /d/soft; busybox ls -1a /d/sub; mkdir /files; files /files; limits /files
echo all written""",
    "proc": """for f in cpuinfo filesystems loadavg meminfo mounts stat uptime version self/stat self/statm self/status \\
self/cmdline self/comm self/maps self/limits; do cat /proc/$f > /dev/null || echo bad $f; done
busybox readlink /proc/self/exe; busybox readlink /proc/self/cwd; test -d /proc/self/fd && test -e /proc/self/fd/0 && echo fds
test -e /proc/99999 || echo nobody; grep -c vdso /proc/self/maps
sleep 1000 & sleep 1000 & busybox pidof sleep | wc -w; busybox ps | grep -c '[s]leep 1000'; busybox killall sleep; wait
busybox pidof sleep | wc -w; busybox mount | head -1; busybox df / | tail -1; busybox free | grep -c Mem; busybox uptime
busybox top -b -n 1 | grep -c '^Load average'; echo proc done""",
    "long": """x=$(head -c 100000 /dev/zero | busybox tr '\\0' a); /bin/busybox echo $x | wc -c
/bin/busybox echo $x $x | wc -c; /bin/busybox echo $x $x $x | wc -c""",
    "devices": """head -c 4096 /dev/zero | md5sum; echo gone > /dev/null; ls /dev; head -c 32 /dev/urandom | wc -c""",
    "thousand": """n=0; while [ $n -lt 1000 ]; do /bin/busybox true; n=$((n + 1)); done; echo ran $n""",
    "harm": "for what in null read direct write jump noncanonical text data stack hlt cli port cr3 divide ud gs memory; "
            "do harm $what 2>/dev/null; echo $what $?; done; harm forks; echo forks $?",
}
APPLETS = ["sh", "sort", "cat", "md5sum", "head", "tail", "sleep", "ls", "grep", "wc", "test", "true", "seq", "cp", "mkdir", "rmdir", "mv", "rm", "ln", "truncate", "sync"]


MUSL = "/usr/lib/x86_64-linux-musl/"
KINDS = {"musl": "executable", "glibc": "executable", "glibc-pie": "pie", "musl-pie": "pie"}


def build_starts(folder):
    """tests/programs/start.c in every static way. musl-gcc has no way to say static-pie: its linker line is spelled out."""
    source, out = os.path.join(ROOT, "tests", "programs", "start.c"), {k: f"{folder}/start-{k}" for k in KINDS}
    runtime = subprocess.run(["gcc", "-print-libgcc-file-name"], check=True, capture_output=True, text=True).stdout.strip()
    for command in (["musl-gcc", "-static", "-O1", "-o", out["musl"], source],
                    ["gcc", "-static", "-O1", "-o", out["glibc"], source],
                    ["gcc", "-static-pie", "-O1", "-o", out["glibc-pie"], source],
                    ["musl-gcc", "-fPIE", "-O1", "-c", "-o", out["musl-pie"] + ".o", source],
                    ["ld", "-static", "-pie", "--no-dynamic-linker", "-z", "text", "-o", out["musl-pie"], MUSL + "rcrt1.o",
                     MUSL + "crti.o", out["musl-pie"] + ".o", MUSL + "libc.a", runtime, MUSL + "crtn.o"]):
        subprocess.run(command, check=True)
    os.unlink(out["musl-pie"] + ".o")
    for kind, word in KINDS.items():
        said = subprocess.run(["readelf", "-hl", out[kind]], check=True, capture_output=True, text=True).stdout
        assert ("DYN" in said) == (word == "pie") and "INTERP" not in said, (kind, said)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    root = tmp_path_factory.mktemp("programs")
    (root / "bin").mkdir()
    subprocess.run(["cp", "/bin/busybox", root / "bin"], check=True)
    for name in APPLETS:
        os.symlink("busybox", root / "bin" / name)
    for name in ("harm", "threads", "files", "clocks", "limits", "calls", "again"):
        subprocess.run(["musl-gcc", "-static", "-O1", "-o", root / "bin" / name,
                        os.path.join(ROOT, "tests", "programs", name + ".c"), "-lpthread"], check=True)
    build_starts(root / "bin")
    for name, text in SCRIPTS.items():
        script = root / "bin" / f"{name}.sh"
        script.write_text("#!/bin/sh\n" + text + "\n")
        script.chmod(0o755)
    return root, make_volume(root, str(root) + ".img")


MODES = {"small": dict(append="cache=unmapped", mem=96), "max": dict(cpu="max")}


@pytest.fixture(scope="module", params=MODES, ids=list(MODES))
def machine(request, programs):
    with VM(disks=[programs[1]], name="programs", **MODES[request.param]) as vm:
        yield vm


HELD = ("pagewire_user_frames", "pagewire_file_locks", "pagewire_processes", "pagewire_tasks", "pagewire_cache_pinned_pages")
POOLS = ("process", "task", "signal", "signal actions", "address space", "region", "descriptor table", "pipe",
         "device stream", "tty", "proc file", "timerfd", "program timer", "file lock", "program file", "program mapping", "shared memory")


def held(vm):
    values = vm.metrics()
    names = HELD + tuple(f'pagewire_pool_used{{pool="{p}"}}' for p in POOLS)
    return {n: values.get(n, 0) for n in names}


def run(vm, line, seconds=PATIENCE):
    before = held(vm)
    out = vm.command("LOAD " + line, seconds=seconds)
    end = time.monotonic() + PATIENCE
    while held(vm) != before:  # children that outlive their parents
        assert time.monotonic() < end, (before, held(vm))
        time.sleep(0.2)
    return out.split("\n", 1)[1].rsplit("\n", 1)[0]


def test_a_shell_with_pipes(machine):
    assert run(machine, "pipes.sh").splitlines()[:5] == ["one", "3", "2", "1", "42"]


def test_bytes_of_files_are_right_by_every_way(machine, programs):
    data = (programs[0] / "bin" / "busybox").read_bytes()
    whole, part = hashlib.md5(data).hexdigest(), hashlib.md5(data[99000:100000]).hexdigest()
    lines = run(machine, "sum.sh").split()
    assert [word for word in lines if len(word) == 32] == [whole, whole, part]


def test_children_end_as_their_parents_are_told(machine):
    text = run(machine, "jobs.sh")
    assert [line for line in text.splitlines() if line.startswith("status")] == ["status 143", "status 3", "status 137"]


def test_names_and_directories(machine):
    text = run(machine, "names.sh")
    assert text.splitlines()[:4] == ["1", "/bin", "there", "absent"]
    assert text.count("status 1") == 2 and "No such file" in text and "Read-only file system" in text


def test_files_that_programs_write(programs, tmp_path):
    """On a volume that is written: bytes, names and sizes are what they are on Linux, and the host's tools agree."""
    image = tmp_path / "written.img"
    subprocess.run(["cp", programs[1], image], check=True)
    with VM(disks=[str(image)], name="written", append="write=on cache=unmapped", snapshot=False) as vm:
        before = held(vm)
        text = vm.command("LOAD write.sh")
        assert "all written" in text and text.count("all ok") == 2 and "not ok" not in text, text
        assert re.search(r"^640\n\S+ .* /d/soft -> moved\n\.\n\.\.\nhard$", text.replace("\r", ""), re.M), text
        end = time.monotonic() + PATIENCE
        while held(vm) != before:
            assert time.monotonic() < end, (before, held(vm))
            time.sleep(0.2)
        assert vm.down() == 0
    subprocess.run(["/usr/sbin/e2fsck", "-fn", image], check=True, capture_output=True)
    busybox = (programs[0] / "bin" / "busybox").read_bytes()
    for name, data in {"/d/copy": busybox, "/d/lines": b"".join(b"%d\n" % n for n in range(1, 2001)), "/d/cut": busybox[:5000],
                       "/d/moved": b"first\nsecond\n"}.items():
        out = subprocess.run(["/usr/sbin/debugfs", "-R", f"cat {name}", image], check=True, capture_output=True).stdout
        assert out == data, name
    listing = subprocess.run(["/usr/sbin/debugfs", "-R", "ls -p /d", image], check=True, capture_output=True, text=True).stdout
    assert "gone" not in listing and "sub" in listing


@pytest.mark.parametrize("mode", MODES)
def test_every_call_answers_as_it_does_on_linux(mode, programs, tmp_path):
    image = tmp_path / "calls.img"
    subprocess.run(["cp", programs[1], image], check=True)
    options = dict(MODES[mode], append="write=on " + MODES[mode].get("append", ""))
    with VM(disks=[str(image)], name="calls", snapshot=False, **options) as vm:
        for folder in ("/", "/bin", "/volumes/SYS/bin"):
            text = run(vm, f"calls {folder}")
            assert "all calls answer as they should" in text and "not ok" not in text, text
        assert vm.down() == 0
    subprocess.run(["/usr/sbin/e2fsck", "-fn", image], check=True, capture_output=True)


@pytest.mark.parametrize("kind", KINDS)
def test_static_programs_of_every_kind_begin_and_nothing_lies_where_it_lay(machine, kind):
    runs = [run(machine, f"start-{kind} {kind} word").split() for _ in range(3)]
    for words in runs:
        assert words[0] == kind and words[1::2] == ["main", "heap", "stack", "random"], words
    for place in ["heap", "stack", "random"] + (["main"] if KINDS[kind] == "pie" else []):
        at = [words[words.index(place) + 1] for words in runs]
        assert len(set(at)) > 1, (place, at)


def test_clocks_are_read_without_a_call(machine):
    def calls(count):
        before = machine.metrics()["pagewire_syscalls_total"]
        assert "clocks agree" in run(machine, f"clocks {count}")
        return machine.metrics()["pagewire_syscalls_total"] - before
    assert calls(0) == calls(1000)


def test_a_stop_ends_no_sleep_and_signals_carry_values(machine, programs):
    assert subprocess.run([programs[0] / "bin" / "again"], check=True, capture_output=True).stdout == b"ok\n"
    assert run(machine, "again") == "ok"


def test_limits_processor_time_and_timers(machine):
    text = run(machine, "limits")
    assert "all ok" in text and "not ok" not in text, text


def test_a_program_that_spoils_its_clock_spoils_no_other(machine):
    run(machine, "clocks 0 spoil")
    assert "clocks agree" in run(machine, "clocks 0")


def test_proc_tells_busybox_what_it_asks(machine):
    lines = run(machine, "proc.sh").splitlines()
    assert lines[:2] == ["/bin/sh", "/"] or lines[:2] == ["/bin/busybox", "/"], lines
    assert lines[2:9] == ["fds", "nobody", "1", "2", "2", "0"] + lines[8:9], lines
    assert " on / type ext4 (ro" in lines[8] and lines[9].endswith(" /") and lines[10] == "1" and "load average" in lines[11]
    assert lines[12:] == ["1", "proc done"], lines


def test_arguments_up_to_their_limit(machine):
    lines = run(machine, "long.sh").splitlines()
    assert lines[:2] == ["100001", "200002"] and "too long" in "".join(lines[2:]) and lines[-1] == "0", lines


def test_autoexec_runs_at_start(programs, tmp_path):
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", programs[0], root], check=True)
    (root / "autoexec").write_text("# at start\n\n  LOAD busybox echo from autoexec\nLOAD harm spin &\nNOSUCH\n")
    with VM(disks=[make_volume(root, tmp_path / "a.img")], name="autoexec") as vm:
        vm.wait_for(r"\nfrom autoexec")
        vm.wait_for(r"NOSUCH: unknown command")
        assert " harm" in vm.command("PS")


def test_devices(machine):
    text = run(machine, "devices.sh").split()
    assert text[0] == hashlib.md5(bytes(4096)).hexdigest() and text[-1] == "32"
    assert {"console", "full", "null", "random", "tty", "urandom", "zero"} <= set(text)


def test_a_thousand_short_lived_processes_leave_nothing_behind(machine):
    assert "ran 1000" in run(machine, "thousand.sh", seconds=4 * PATIENCE)


def test_threads_locks_signals_and_floating_point(machine):
    text = run(machine, "threads", seconds=4 * PATIENCE)
    assert "all ok" in text and "not ok" not in text


def test_a_program_that_harms_ends_and_nothing_else_does(machine):
    ends = dict(line.rsplit(" ", 1) for line in run(machine, "harm.sh", seconds=4 * PATIENCE).splitlines()
                if line.count(" ") == 1 and line.rsplit(" ", 1)[1].isdigit())
    fatal = {name: "139" for name in ("null", "read", "direct", "write", "jump", "noncanonical", "text", "data", "stack",
                                      "hlt", "cli", "port", "cr3", "gs")}
    fatal.update(divide="136", ud="132", memory="137")
    assert ends.pop("forks") in ("11", "137")  # fork failed, or a page that it had promised could not be had
    assert ends == fatal
    assert "bad pointers were refused" in run(machine, "harm pointers")  # when all the children are gone
    machine.assert_alive()


def test_files_are_served_and_the_console_answers_while_programs_spin(machine, programs):
    for _ in range(3):
        machine.command("LOAD harm spin &")
    for _ in range(20):
        assert machine.get("/bin/harm.sh") == (programs[0] / "bin" / "harm.sh").read_bytes()
    pids = [line.split()[0] for line in machine.command("PS").splitlines() if line.endswith(" harm")]
    assert len(pids) == 3
    for pid in pids:
        machine.command(f"UNLOAD {pid}")
    end = time.monotonic() + PATIENCE
    while " harm" in machine.command("PS"):
        assert time.monotonic() < end
    machine.assert_alive()


def late_work(vm, bound):
    """Of all fast WTDs, how many began, and how many of them later than that after they were posted."""
    values, labels = vm.metrics(), '{class="fast",cpu="0"'
    began = values["pagewire_wtd_latency_seconds_count" + labels + "}"]
    return began, began - values["pagewire_wtd_latency_seconds_bucket" + labels + f',le="{bound}"}}']


def test_work_starts_within_its_bound_while_programs_spin(programs):
    """-icount: a nanosecond is an instruction, whatever the host does. A slice that threads get between rows of WTDs is at most
    1 ms, a program's turn is 10 ms: no WTD may wait for the latter."""
    with VM(disks=[programs[1]], name="spin", extra=["-icount", "shift=0"]) as vm:
        for _ in range(3):
            vm.command("LOAD harm spin &")
        began, late = late_work(vm, "0.004194304")
        for _ in range(30):
            assert vm.get("/bin/harm.sh") == (programs[0] / "bin" / "harm.sh").read_bytes()
        after, late_after = late_work(vm, "0.004194304")
        assert after > began + 30 and late_after == late
