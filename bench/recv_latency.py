#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bench/recv_latency.py [--messages 500] [--icount]: from the arrival of a frame to user mode, on Pagewire and on Linux: the instructions
from the first one of the card's interrupt to the first one that a program executes when its blocked recvfrom returns.

The program (bench/echo, one static executable for both) sits in recvfrom on a TCP connection or a UDP socket and sends back
what comes. Messages come one at a time, over a tap device, to a machine with nothing else to do: it has halted when the
frame arrives. The counting plugin (bench/count) is told where interrupts enter and where recvfrom returns, and is asked
after each message. The same q35, processor and e1000 under QEMU's TCG for both; Linux is the distribution's kernel (that of
bench/linux-peer) with mitigations=off and nokaslr. With --icount QEMU's clock goes by instructions, too; the counts are then a few
larger (presumably because QEMU begins a block of code that touches a device twice then) and the same otherwise.

The table goes to the standard output and, for the report of `make bench`, to build/bench/recv_latency.json.

    make recv-latency                      two minutes; root, or a kernel that lets users make network namespaces
    make recv-latency RECV=--icount"""
import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

import machines  # and with it tests/e2e
import tables
import waiting
from machines import GUEST, HOST, OUT, ROOT

FOLDER = f"{OUT}/recv"
SIZES = (16, 1024)
PAUSE = 0.01  # seconds: whoever looks for more work a while has halted by then
INIT = f"""#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
. /modules
until [ -d /sys/class/net/eth0 ]; do busybox usleep 100000; done
busybox ip addr add {GUEST}/24 dev eth0
busybox ip link set lo up
busybox ip link set eth0 up
busybox awk '$3 ~ /^(irq_entries_start|spurious_entries_start|common_interrupt)$/ {{ print "symbol", $1, $3 }}' /proc/kallsyms >/dev/ttyS0
/echo >/dev/ttyS0
"""


class Echo(machines.Machine):
    icount = []  # more for QEMU

    def disk(self):
        return ["-drive", f"file={FOLDER}/files.img,format=raw,snapshot=on,if=none,id=d0", "-device", "ide-hd,drive=d0,bus=ide.0"]

    def ready(self):
        return "echo: ready" in self.said()


class Pagewire(Echo):
    name = "Pagewire"

    def arguments(self):
        return ["-kernel", f"{ROOT}/build/pagewire.elf", "-append", f"ip={GUEST}::{HOST}:255.255.255.0:pagewire:eth0:off",
                *self.disk(), *self.icount, "-serial", f"file:{self.folder}/serial"]

    @staticmethod
    def words():
        at = waiting.symbols()
        return (f",entry={at['irq_stubs']:x}:{at['irq_stubs'] + 224 * 16:x},handler={at['e1000_interrupt']:x},"
                f"other={at['e1000_look']:x}")


class Linux(Echo):
    name = "Linux"

    def arguments(self):
        return ["-kernel", f"{OUT}/linux/vmlinuz", "-initrd", f"{FOLDER}/initrd", "-append",
                "console=ttyS0 mitigations=off nokaslr quiet", *self.disk(), *self.icount, "-serial", f"file:{self.folder}/serial"]

    @staticmethod
    def words():
        """The stubs of device interrupts lie from irq_entries_start to spurious_entries_start; timers have entries of their own."""
        with Linux() as machine:
            at = {name: int(address, 16) for address, name in re.findall(r"symbol (\w+) (\w+)", machine.said())}
        return f",entry={at['irq_entries_start']:x}:{at['spurious_entries_start']:x},handler={at['common_interrupt']:x}"


def prepare():
    """Before the namespace, in which there is no way to the packages of the Linux peer."""
    machines.run(f"{ROOT}/bench/linux-peer", f"{OUT}/linux")
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(f"{FOLDER}/volume/bin")
    os.makedirs(f"{FOLDER}/root")
    program = f"{FOLDER}/root/echo"
    machines.run("musl-gcc", "-static", "-no-pie", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,-Ttext-segment=0x5a000000",
                 "-o", program, f"{ROOT}/bench/echo/echo.c")
    shutil.copy(program, f"{FOLDER}/volume/bin/echo-server")
    with open(f"{FOLDER}/volume/autoexec", "w") as f:
        f.write("LOAD echo-server &\n")
    machines.run(f"{ROOT}/tools/volume", f"{FOLDER}/volume", f"{FOLDER}/files.img")
    with open(f"{FOLDER}/root/init", "w") as f:
        f.write(INIT)
    os.chmod(f"{FOLDER}/root/init", 0o755)
    archive = subprocess.run("printf 'echo\\ninit\\n' | cpio -o -H newc -R 0:0 --quiet | gzip -1", shell=True, check=True,
                             capture_output=True, cwd=f"{FOLDER}/root").stdout
    with open(f"{FOLDER}/initrd", "wb") as out, open(f"{OUT}/linux/initrd", "rb") as peer:
        out.write(peer.read() + archive)  # what comes later replaces the peer's init


def received():
    """Address of the first instruction after recvfrom."""
    for line in machines.run("nm", f"{FOLDER}/root/echo").splitlines():
        if line.endswith(" received"):
            return int(line.split()[0], 16)
    raise RuntimeError("the program has no `received`")


def connected(kind):
    s = socket.socket(socket.AF_INET, kind)
    s.settimeout(60)
    s.connect((GUEST, 7))
    if kind == socket.SOCK_STREAM:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def exchange(s, message):
    s.send(message)
    left = len(message)
    while left:
        part = len(s.recv(2048))
        assert part, "the program closed"
        left -= part


def spans(machine, kind, size, messages):
    """The span of each message that one interrupt brought to one recvfrom, and how many others there were."""
    lengths, others = [], 0
    with connected(kind) as s:
        for n in range(messages + 20):  # the first find cold caches and no route
            time.sleep(PAUSE)
            before = machine.counter.line()
            exchange(s, b"x" * size)
            after = machine.counter.line()
            if n < 20:
                continue
            if after[7] == before[7] + 1:
                lengths.append(after[8] - before[8])
            else:
                others += 1
    if len(lengths) < messages / 2:
        raise RuntimeError(f"{machine.name}: only {len(lengths)} of {messages} messages came by an interrupt of their own")
    return lengths, others


def measure(system, messages):
    """{(protocol, bytes): lengths}"""
    words = f",memory=off,work={received():x}{system.words()}"
    found = {}
    with system(words=words) as machine:
        for title, kind in ("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM):
            for size in SIZES:
                lengths, others = spans(machine, kind, size, messages)
                found[title, size] = lengths
                print(f"{system.name}: {title}, {size} bytes: least {min(lengths)}, median {statistics.median(lengths):.0f}, "
                      f"mean {statistics.mean(lengths):.0f}, worst {max(lengths)}; {others} not counted", file=sys.stderr, flush=True)
    return found


def report(ours, theirs, messages):
    """For `make bench`, as bench/uploads.py does."""
    rows = []
    for title, size in ours:
        both = [ours[title, size], theirs[title, size]]
        cells = [f"{figure(lengths):,.0f}" for lengths in both for figure in (min, statistics.median, statistics.mean)]
        share = statistics.median(both[0]) / statistics.median(both[1])
        rows.append([f"{title}, {size:,} bytes", *cells, f"{share:.2f}x"])
    about = machines.described()
    return {
        "title": "From a frame's arrival to user mode",
        "machine": f"{time.strftime('%Y-%m-%d')}, {about['qemu']}, {about['peer'].split(',')[0]}, {messages} messages each"
                   + (", -icount" if Echo.icount else ""),
        "columns": ["message", "Pagewire: least", "median", "mean", "Linux: least", "median", "mean", "medians, to Linux"],
        "rows": rows,
        "notes": ["Instructions from the first one of the card's interrupt to the first one in user mode after the blocked recvfrom; "
                  "the same static program on both, one message at a time, the machine halted before it. They hardly depend on how "
                  "busy the measuring machine is: what is more than the median are timers and work that was waiting; the least may be "
                  "that of a second interrupt in a row. A repeated string instruction counts once for each repetition."],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=500, help="of each kind")
    parser.add_argument("--icount", action="store_true", help="QEMU's clock goes by instructions")
    options = parser.parse_args()
    Echo.icount = ["-icount", "shift=1"] if options.icount else []
    os.makedirs(OUT, exist_ok=True)
    if os.environ.get("PAGEWIRE_NETNS") != "1":
        prepare()
    machines.in_namespace()
    machines.make_tap()
    tables.keep("recv_latency", report(measure(Pagewire, options.messages), measure(Linux, options.messages), options.messages))


if __name__ == "__main__":
    main()
