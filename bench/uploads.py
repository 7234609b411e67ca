#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bench/uploads.py [--rounds 3] [--add] [--system NAME]...: uploads to Pagewire beside Linux + nginx (its WebDAV module) and
Linux + Apache (mod_dav), in the same machine, behind the same card, on the same disk (AHCI) with the same ext4 volume.

nginx and Apache answer when the bytes are in Linux's memory: they never call fsync. Pagewire's `sync=relaxed` promises as
much. Pagewire as it is answers when the file is on the disk for good; what compares with that is Linux with the volume
mounted `sync,dirsync`, where each write and each change of a name is on the disk before the call returns.

Each round starts one machine after the other, each with a fresh volume. Medians of the rounds, with half of their
spread. The table goes to the standard output and, for the report of `make bench`, to build/bench/uploads.json; single
results are kept in uploads-raw.json, and --add adds rounds to those. A network namespace of its own, like bench.py.

    make uploads                           three rounds: 15 minutes on two processors; `make bench` does this, too
    make uploads UPLOADS="--rounds 1"      one of them"""
import argparse
import contextlib
import json
import os
import platform
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time

import machines  # and with it tests/e2e
import tables
from machines import GUEST, HOST, OUT, ROOT
RAW, VOLUME = f"{OUT}/uploads-raw.json", f"{OUT}/uploads.img"
LARGE = 256 << 20
SMALL, SMALL_BYTES, SPREAD = 10000, 4096, 100
MIXED_BYTES, MIXED_NAMES = 16384, 500
LONGEST = 25  # seconds that a piece of work may take: who is slow does a part of it
NET = ["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]


class Pagewire:
    def __init__(self, words=""):
        self.words = words

    def __enter__(self):
        from vm import VM
        self.vm = VM(disks=[VOLUME], address=GUEST, mem=1024, name="uploads", snapshot=False, net=NET,
                     append=f"write=on log=off {self.words} ip={GUEST}::{HOST}:255.255.255.0:pagewire:eth0:off")
        self.vm.__enter__()
        socket.create_connection((GUEST, 80), timeout=60).close()  # the first second QEMU's card is deaf: as for Linux below
        return self

    def __exit__(self, *arguments):
        self.vm.__exit__(*arguments)


class Linux:
    def __init__(self, server, mount):
        self.words = f"console=ttyS0 mitigations=off quiet dav={server} mount={mount}"

    def __enter__(self):
        log = f"{OUT}/dav-peer.log"
        with open(log, "w"):
            pass
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", "1024", "-display", "none", "-nodefaults",
             "-drive", f"file={VOLUME},format=raw,if=none,id=d0", "-device", "ide-hd,drive=d0,bus=ide.0",
             "-kernel", f"{OUT}/dav/vmlinuz", "-initrd", f"{OUT}/dav/initrd", "-append", self.words,
             "-serial", f"file:{log}", *NET, "-device", "e1000,netdev=net"])
        for _ in range(1200):
            if "peer: ready" in open(log, errors="replace").read():
                with contextlib.suppress(OSError), socket.create_connection((GUEST, 80), timeout=1):
                    return self
            time.sleep(0.1)
        self.process.kill()
        raise RuntimeError("the peer did not start: " + log)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


DURABLE, RELAXED = "durable", "in memory"
SYSTEMS = {  # name: (what an answer promises, machine)
    "Pagewire": (DURABLE, lambda: Pagewire()),
    "nginx, mounted sync,dirsync": (DURABLE, lambda: Linux("nginx", "sync,dirsync")),
    "Apache, mounted sync,dirsync": (DURABLE, lambda: Linux("apache", "sync,dirsync")),
    "Pagewire, sync=relaxed": (RELAXED, lambda: Pagewire("sync=relaxed")),
    "nginx": (RELAXED, lambda: Linux("nginx", "defaults")),
    "Apache": (RELAXED, lambda: Linux("apache", "defaults")),
}


def fresh_volume():
    top = f"{OUT}/uploads"
    shutil.rmtree(top, ignore_errors=True)
    os.makedirs(f"{top}/.pagewire")
    with open(f"{top}/.pagewire/users", "w") as f:
        f.write("trustee / * ALL\n")
    for name in ["one", "mixed", *(f"d{n}" for n in range(SPREAD))]:
        os.mkdir(f"{top}/{name}")
    with open(f"{top}/mixed/read", "wb") as f:
        f.write(os.urandom(MIXED_BYTES))
    with open(VOLUME, "wb"):
        pass
    machines.run("/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYS", "-d", top, "-m", "0", VOLUME, "3G")


# ---- the client: one process, one request at a time on each connection ------------------------------------------------

class Connection:
    """requests: an iterator of bytes. times: how long each answer took."""

    def __init__(self, requests):
        self.socket = socket.create_connection((GUEST, 80), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests, self.times, self.left = requests, [], b""

    def ask(self):
        request = next(self.requests, None)
        if request is None:
            return False
        self.begun, self.left = time.monotonic(), b""
        self.socket.sendall(request)
        return True

    def hear(self):
        """True when the answer is whole."""
        part = self.socket.recv(1 << 18)
        assert part, "the server closed"
        self.left += part
        top, end, body = self.left.partition(b"\r\n\r\n")
        if not end:
            return False
        assert top[9:12] in (b"200", b"201", b"204"), top
        length = re.search(rb"(?i)content-length: *(\d+)", top)
        if len(body) < (int(length[1]) if length else 0):
            return False
        self.times.append(time.monotonic() - self.begun)
        return True


def drive(connections, seconds):
    """Until every connection has asked all that it had, or the time is over; how long that took."""
    poll, by_number = select.poll(), {}
    start = time.monotonic()
    for c in connections:
        if c.ask():
            by_number[c.socket.fileno()] = c
            poll.register(c.socket, select.POLLIN)
    while by_number:
        for number, _ in poll.poll():
            c = by_number[number]
            if c.hear() and (time.monotonic() - start > seconds or not c.ask()):
                poll.unregister(c.socket)
                del by_number[number]
    took = time.monotonic() - start
    for c in connections:
        c.socket.close()
    return took


def put(path, body):
    return (f"PUT {path} HTTP/1.1\r\nHost: {GUEST}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


def small_files(name, connections):
    body = os.urandom(SMALL_BYTES)
    work = [Connection(put(name(n), body) for n in range(c, SMALL, connections)) for c in range(connections)]
    took = drive(work, LONGEST)
    return sum(len(c.times) for c in work) / took


def mixed():
    """Replacing files and reading one; both rates."""
    body = os.urandom(MIXED_BYTES)
    read = f"GET /mixed/read HTTP/1.1\r\nHost: {GUEST}\r\n\r\n".encode()
    writers = [Connection(put(f"/mixed/w{n % MIXED_NAMES}", body) for n in range(c, 1 << 30, 8)) for c in range(8)]
    readers = [Connection(iter(lambda: read, None)) for _ in range(8)]
    took = drive(writers + readers, 6)
    return sum(len(c.times) for c in writers) / took, sum(len(c.times) for c in readers) / took


def large():
    source = f"{OUT}/uploads.bin"
    if not os.path.exists(source) or os.path.getsize(source) != LARGE:
        with open(source, "wb") as f:
            for _ in range(LARGE >> 20):
                f.write(os.urandom(1 << 20))
    # Status 28 is curl's when the time is over.
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{speed_upload}", "--max-time", str(LONGEST), "-T",
                           source, f"http://{GUEST}/large"], capture_output=True, text=True)
    code, speed = done.stdout.split()
    assert done.returncode == 28 or (done.returncode == 0 and code == "201"), (code, done.stderr)
    return float(speed) / 1e6


def work():
    """(name, unit, figure) of each piece of work."""
    yield "a file of 256 MB", "MB/s", large()
    yield "10,000 files of 4 KB in one directory, 8 connections", "files/s", small_files("/one/{:05}".format, 8)
    yield (f"10,000 files of 4 KB in {SPREAD} directories, 8 connections", "files/s",
           small_files(lambda n: f"/d{n % SPREAD}/{n:05}", 8))
    writes, reads = mixed()
    yield "files of 16 KB replaced, 8 connections, ...", "files/s", writes
    yield "... while 8 others read one of 16 KB", "reads/s", reads


# ---- the table --------------------------------------------------------------------------------------------------------

def best(raw, row, names):
    return max((statistics.median(raw[name][row]) for name in names if raw.get(name, {}).get(row)), default=None)


def report(raw, remark):
    """For `make bench`: columns, a row for each piece of work, a remark about the run among the notes."""
    names = [name for name in SYSTEMS if name in raw]
    rows = []
    for row in {row: None for name in names for row in raw[name]}:
        cells = [row]
        for name in names:
            got = raw[name].get(row)
            middle = statistics.median(got) if got else 0
            spread = f" ±{(max(got) - min(got)) / 2 / middle:.0%}" if got and len(got) > 1 and middle else ""
            cells.append(f"{middle:,.{0 if middle >= 10 else 1}f}{spread}" if got else "")
        for ours, promise in ("Pagewire", DURABLE), ("Pagewire, sync=relaxed", RELAXED):
            theirs = best(raw, row, [n for n in names if SYSTEMS[n][0] == promise and not n.startswith("Pagewire")])
            mine = best(raw, row, [ours])
            cells.append(f"{mine / theirs:.2f}x" if mine and theirs else "")
        rows.append(cells)
    counts = [len(got) for name in names for got in raw[name].values()]
    rounds = f"{min(counts)}" + (f" to {max(counts)}" if max(counts) > min(counts) else "")
    return {
        "title": "Uploads",
        "machine": f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} processors, "
                   + machines.run("qemu-system-x86_64", "--version").splitlines()[0] + f", {rounds} rounds",
        "columns": ["work", *names, "durable: to the better peer", "in memory: to the better peer"],
        "rows": rows,
        "notes": ["nginx and Apache answer when the bytes are in Linux's memory and never call fsync: their answers promise what "
                  "sync=relaxed does. Pagewire's own answers are durable, and so are Linux's where its volume is mounted "
                  "sync,dirsync.", f"Who does not finish a row in {LONGEST} s does a part of it; the rate counts.",
                  *([remark] if remark else [])],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--add", action="store_true", help="to the rounds that were measured before")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="only these")
    parser.add_argument("--note", help="what the report is to say about this run")
    options = parser.parse_args()
    os.makedirs(OUT, exist_ok=True)
    machines.run(f"{ROOT}/bench/dav-peer", f"{OUT}/dav")  # which may ask the package mirror: before the namespace
    machines.in_namespace()
    machines.make_tap()
    raw = json.load(open(RAW)) if options.add and os.path.exists(RAW) else {}
    for _ in range(options.rounds):
        for name in options.system or SYSTEMS:
            fresh_volume()
            with SYSTEMS[name][1]():
                for row, unit, figure in work():
                    raw.setdefault(name, {}).setdefault(f"{row} ({unit})", []).append(figure)
                    print(f"{name}: {row}: {figure:.0f} {unit}", file=sys.stderr, flush=True)
            with open(RAW, "w") as f:
                json.dump(raw, f, indent=1)
    with contextlib.suppress(FileNotFoundError):  # --rounds 0 --add: the report of what was measured before
        os.unlink(VOLUME)
    tables.keep("uploads", report(raw, options.note))


if __name__ == "__main__":
    main()
