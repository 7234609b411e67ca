#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""make bench: Pagewire beside Linux + nginx and beside the floor (bench/floor: the cheapest thing that this card
can carry), on the same machine model, the same card, the same client. First what each costs in time, then, with
bench/count's QEMU plugin, what it does: counts do not depend on how busy the measuring machine is.

Each round starts one machine after the other (so that two never share the processor), runs wrk against each
size, and the medians of the rounds and their spread are printed as a table. Runs in a network namespace of its
own with a tap device; needs root, or a kernel that lets users make namespaces. QEMU's TCG: the ratios mean
something, the absolute figures are those of this machine on this day.
"""
import argparse
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
OUT = os.path.join(ROOT, "build", "bench")
GUEST, HOST = "10.77.0.2", "10.77.0.1"

# name, file, connections
WORK = [
    ("100 B, 16 connections", "100.bin", 16),
    ("1 KB, 16 connections", "1024.bin", 16),
    ("1 KB, 1 connection", "1024.bin", 1),
    ("4 KB, 16 connections", "4096.bin", 16),
    ("4 KB, 500 connections", "4096.bin", 500),
    ("16 KB, 16 connections", "16384.bin", 16),
    ("64 KB, 16 connections", "65536.bin", 16),
    ("1 MB, 16 connections", "1048576.bin", 16),
    ("100 MB, 1 connection", "104857600.bin", 1),
]


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def in_namespace():
    if os.environ.get("PAGEWIRE_NETNS") == "1":
        return
    flags = ["-n"] if os.geteuid() == 0 else ["-rn"]
    if subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode != 0:
        sys.exit("make bench needs a network namespace of its own: run it as root")
    os.execvp("unshare", ["unshare", *flags, "--kill-child", "--fork", "sh", "-c",
                          'ip link set lo up && PAGEWIRE_NETNS=1 exec "$@"', "sh", sys.executable, *sys.argv])


def seconds(text):
    value, unit = re.match(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


def size_of(text):
    value, unit = re.match(r"([\d.]+)([KMG]?)B", text).groups()
    return float(value) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[unit]


def wrk(path, connections, duration):
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{duration}", "--timeout", "60", "--latency",
                          f"http://{GUEST}/{path}"], capture_output=True, text=True).stdout
    errors = re.search(r"Socket errors: (.*)", out)
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
        "requests": int(re.search(r"(\d+) requests in", out).group(1)),
        "bytes": size_of(re.search(r"requests in .*, (\S+) read", out).group(1)),
        "p50": seconds(re.search(r"^\s+50%\s+(\S+)", out, re.M).group(1)),
        "p99": seconds(re.search(r"^\s+99%\s+(\S+)", out, re.M).group(1)),
        "errors": errors.group(1) if errors else "Non-2xx" if "Non-2xx" in out else "",
    }


# name, file, connections, seconds: what is counted. Bytes served come from the client.
COUNTED = [
    ("1 KB, 8 connections", "1024.bin", 8, 3),
    ("4 KB, 8 connections", "4096.bin", 8, 3),
    ("4 KB, 64 connections", "4096.bin", 64, 3),
    ("100 MB, 1 connection", "104857600.bin", 1, 8),
]
COUNTERS = f"{OUT}/count.sock"
plugin_words = ""  # more of them for the plugin


def plugin(counted):
    """QEMU's words for the counting plugin."""
    if counted and os.path.exists(COUNTERS):
        os.remove(COUNTERS)
    return ["-plugin", f"{ROOT}/build/libcount.so,socket={COUNTERS}{plugin_words}"] if counted else []


def counters():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(COUNTERS)
        return [int(n) for n in s.makefile().readline().split()]


class Bare:
    """A QEMU that says `peer: ready` on its serial port."""

    def __init__(self, counted=False):
        self.counted = counted

    def __enter__(self):
        log = os.path.join(OUT, "peer.log")
        if os.path.exists(log):
            os.remove(log)
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", "1024", "-display", "none",
             *self.arguments, *plugin(self.counted), "-serial", f"file:{log}",
             "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no", "-device", "e1000,netdev=net"])
        for _ in range(1200):
            if os.path.exists(log) and "peer: ready" in open(log, errors="replace").read():
                return self
            time.sleep(0.1)
        raise RuntimeError("the peer did not start: " + log)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Linux(Bare):
    name = "Linux + nginx"
    arguments = ["-kernel", f"{OUT}/linux/vmlinuz", "-initrd", f"{OUT}/linux/initrd", "-append",
                 "console=ttyS0 mitigations=off quiet"]


class Floor(Bare):
    """Answers with at most 60,000 bytes and keeps no state: above that there is nothing to compare."""
    name = "floor"
    arguments = ["-kernel", os.path.join(ROOT, "build", "floor.elf")]
    biggest = 65536


class Pagewire:
    name = "Pagewire"

    def __init__(self, counted=False):
        self.counted = counted

    def __enter__(self):
        from vm import VM
        self.vm = VM(disks=[f"{OUT}/files.img"], address=GUEST, mem=1024, name="bench",
                     append=f"log=off ip={GUEST}::{HOST}:255.255.255.0:pagewire:eth0:off",
                     net=["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"], extra=plugin(self.counted))
        self.vm.__enter__()
        return self

    def __exit__(self, *arguments):
        self.vm.__exit__(*arguments)


def prepare_files():
    os.makedirs(os.path.join(OUT, "files"), exist_ok=True)
    for name in {w[1] for w in WORK}:
        path = os.path.join(OUT, "files", name)
        if not os.path.exists(path):
            with open(path, "wb") as f:
                f.write(os.urandom(int(name.split(".")[0])))
    run(os.path.join(ROOT, "tools", "volume"), f"{OUT}/files", f"{OUT}/files.img")


def prepare():
    prepare_files()
    run(os.path.join(ROOT, "bench", "linux-peer"), f"{OUT}/linux")


def make_tap():
    run("ip", "tuntap", "add", "tap0", "mode", "tap")
    run("ip", "addr", "add", HOST + "/24", "dev", "tap0")
    run("ip", "link", "set", "tap0", "up")


def table(results, systems):
    yield "| work | " + " | ".join(f"{s.name} req/s | p50 | p99" for s in systems) + " | to Linux | to the floor |"
    yield "|---|" + "---|" * (3 * len(systems) + 2)
    for name, _, _ in WORK:
        cells, rates = [], {}
        for system in systems:
            got = results[system.name].get(name)
            if not got:
                cells.append("| | ")
                continue
            every = [g["rate"] for g in got]
            rates[system] = statistics.median(every)
            width = (max(every) - min(every)) / 2 / rates[system] if rates[system] else 0
            p50, p99 = (statistics.median(g[p] for g in got) * 1e3 for p in ("p50", "p99"))
            errors = {g["errors"] for g in got} - {""}
            cells.append(f"{rates[system]:,.0f} ±{width * 100:.0f} %{' (' + '; '.join(errors) + ')' if errors else ''}"
                         f" | {p50:.2f} ms | {p99:.2f} ms")
        floor = f"{rates[Pagewire] / rates[Floor]:.0%}" if Floor in rates else ""
        yield f"| {name} | " + " | ".join(cells) + f" | {rates[Pagewire] / rates[Linux]:.1f}x | {floor} |"


def count(system):
    """Rows of what the system does for each piece of COUNTED work."""
    with system(counted=True):
        for name, path, connections, duration in COUNTED:
            if int(path.split(".")[0]) > getattr(system, "biggest", 1 << 40):
                continue
            wrk(path, 1, 1)
            before = counters()
            got = wrk(path, connections, duration)
            time.sleep(0.2)
            done = [b - a for a, b in zip(before, counters())]
            n = max(got["requests"], 1)
            yield (f"| {name} | {system.name} | {done[0] / n:,.0f} | {done[0] / got['bytes']:.3f} | "
                   f"{done[2] / got['bytes']:.3f} | {done[5] / n:.2f} + {done[6] / n:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    in_namespace()
    prepare()
    make_tap()
    results = {}
    for _ in range(options.rounds):
        for system in (Pagewire, Linux, Floor):
            with system():
                for name, path, connections in WORK:
                    if int(path.split(".")[0]) > getattr(system, "biggest", 1 << 40):
                        continue
                    wrk(path, 1, 1)  # the file is in memory before it is measured, on both sides
                    got = wrk(path, connections, options.seconds)
                    results.setdefault(system.name, {}).setdefault(name, []).append(got)
                    print(f"{system.name}: {name}: {got['rate']:.0f} req/s", file=sys.stderr, flush=True)
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} processors, "
          + run("qemu-system-x86_64", "--version").splitlines()[0] + f", {options.rounds} rounds\n")
    for line in table(results, [Pagewire, Linux, Floor]):
        print(line)
    print("\n| counted | system | instructions a request | instructions a byte | bytes loaded a byte | "
          "device loads + stores a request |\n|---|---|---|---|---|---|")
    for system in (Pagewire, Linux, Floor):
        for line in count(system):
            print(line, flush=True)


if __name__ == "__main__":
    main()
