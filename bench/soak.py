#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What takes too long for `make test`: thousands of clients held, slow or hostile, a million connections and ten million
requests. After each of them every page, pbuf and pool entry must be back, and at the end a request must cost as many
instructions as at the start (counted by bench/count). Root, for a network namespace of its own.

    make soak                                 all of it, at full size: about a quarter of an hour on two processors
    make soak SOAK="--scale 20"               a twentieth of each
    make soak SOAK="--scale 20 held flood"    some of it: held, active, flood, slow, short, many

What it found goes to build/bench/soak.json (tables.py), for the report of `make bench`."""
import argparse
import os
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

import machines  # and with it tests/e2e
import tables
import waiting
from machines import OUT

FRAME = 4096
WAITING, SPARE = 128, 1 << 20  # bytes: of a connection that waits (server/http_park.c), and what pools keep in reserve
PARTS = ["held", "active", "flood", "slow", "short", "many"]
DEARER = 1.05  # more than this many times the instructions of the start: the path grew
DEARER_NEW = 1.10  # the same for a connection of one request, whose frames come less evenly


class Cost:
    """Instructions a 4 KB request of 16 connections costs, without those of waiting: the least of several tries, because a
    host that stalls makes frames come one by one."""

    WORDS = f",profile={OUT}/profile,memory=off"

    def __init__(self, machine, counter):
        self.machine, self.counter = machine, counter
        self.wait = waiting.Idle(machine, f"{OUT}/profile")

    def spent(self):
        total = self.counter.read()["instructions"]
        return total - self.wait.now()["instructions"]

    def once(self, sockets, rounds):
        request = b"GET /size-4096.bin HTTP/1.1\r\nHost: pagewire\r\n\r\n"
        for _ in range(rounds):
            for s in sockets:
                s.sendall(request)
            for s in sockets:
                got = b""
                while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + 4096:
                    piece = s.recv(65536)
                    if not piece:
                        raise RuntimeError("the server closed")
                    got += piece

    def measure(self, tries=15, rounds=150):
        sockets = [socket.create_connection(self.machine.peer, timeout=60) for _ in range(16)]
        self.once(sockets, 5)
        costs = []
        for _ in range(tries):
            before = self.spent()
            self.once(sockets, rounds)
            costs.append((self.spent() - before) / (rounds * len(sockets)))
        for s in sockets:
            s.close()
        return min(costs)

    def measure_new(self, tries=8, count=400):
        """The same for a connection of one request."""
        from crowd import short_connections
        costs = []
        for _ in range(tries):
            before = self.spent()
            short_connections(self.machine.peer, count=count)
            costs.append((self.spent() - before) / count)
        return min(costs)


def lent_text(lent):
    """Totals of VM.lent()."""
    def total(name):
        return sum(v for k, v in lent.items() if k.startswith(name))

    return (f"{total('pagewire_cache_pinned_pages'):.0f} pages pinned, {total('pagewire_pool_used'):.0f} pool entries, "
            f"{total('pagewire_rx_buffers'):.0f} receive buffers and {total('pagewire_e1000_tx'):.0f} descriptors lent")


class Soak:
    def __init__(self, machine, tap, scale):
        self.machine, self.tap, self.scale, self.rng = machine, tap, scale, random.Random(1)
        self.rows, self.start = [], time.monotonic()

    def say(self, name, good, bar, text):
        verdict = "ok" if good else "FAIL"
        print(f"{verdict:4} {name}: {text}", flush=True)
        self.rows.append([name, bar, text, verdict])

    @property
    def failed(self):
        return [row[0] for row in self.rows if row[3] != "ok"]

    def part(self, name, before):
        """One part, and that everything it was lent is back."""
        try:
            getattr(self, name)()
            self.machine.assert_returned(before, seconds=120)
            print(f"     afterwards: {lent_text(self.machine.lent())}", flush=True)
        except Exception as error:
            self.say(name, False, "", f"{type(error).__name__}: {str(error)[:200]}")

    def save(self, around):
        os.makedirs(OUT, exist_ok=True)
        minutes = (time.monotonic() - self.start) / 60
        table = {"title": "Thousands of clients, a million connections, ten million requests",
                 "machine": f"`bench/soak.py`, at 1/{self.scale} of its size, {minutes:.0f} minutes." if self.scale > 1 else
                 f"`bench/soak.py`, {minutes:.0f} minutes.",
                 "columns": ["what", "bar", "found", ""], "rows": self.rows, "notes": around}
        tables.keep("soak", table)

    def curl(self):
        out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "--max-time", "20", "-w", "%{http_code} %{time_total}",
                              self.machine.url + "/size-4096.bin"], capture_output=True, text=True)
        code, seconds = out.stdout.split()
        return float(seconds) if code == "200" else 20.0

    def free(self):
        return self.machine.metrics()["pagewire_pmm_frames_free"] * FRAME

    def wrk(self, connections, seconds, path="/size-4096.bin"):
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "30", self.machine.url + path],
                             capture_output=True, text=True, timeout=seconds + 200).stdout
        bad = re.search(r"Socket errors.*|Non-2xx.*", out)
        return int(re.search(r"(\d+) requests in", out).group(1)), bad.group(0) if bad else ""

    def held(self):
        from crowd import Crowd
        count, before = 20000 // self.scale, self.free()
        with Crowd(self.machine.peer, count):
            taken, seconds = before - self.free(), self.curl()
            open_ = self.machine.metrics()["pagewire_tcp_connections"]
            self.say("held", open_ >= count and taken <= 64 << 20 and seconds < 1, "64 MB, a request within 1 s",
                     f"{open_:.0f} connections in {taken / (1 << 20):.1f} MB over the idle system, "
                     f"{taken / count:.0f} bytes each; a request takes {seconds * 1000:.0f} ms")
            end = time.monotonic() + 60
            while (later := before - self.free()) > count * WAITING and time.monotonic() < end:
                time.sleep(1)
            parked = self.machine.metrics()["pagewire_tcp_connections_parked"]
            self.say("held for a while", parked >= count and later <= count * WAITING + SPARE, "128 bytes each, and 1 MB",
                     f"{parked:.0f} connections in {later / (1 << 20):.1f} MB over the idle system, {later / count:.0f} bytes each")

    def active(self):
        requests, bad = self.wrk(5000 // self.scale, 10)
        self.say("active", not bad and requests > 5000 // self.scale, "no error",
                 f"{requests} requests on {5000 // self.scale} connections in 10 s {bad}")

    def flood(self):
        from crowd import flood
        count = 100000 // self.scale
        thread = threading.Thread(target=flood, args=(self.tap, self.rng, count), kwargs=dict(addresses=10000))
        start, times = time.monotonic(), []
        thread.start()
        while thread.is_alive():
            times.append(self.curl())
        seconds = time.monotonic() - start
        self.say("flood", max(times) < 1, "a request within 1 s", f"{count} SYNs from 10,000 addresses in {seconds:.0f} s; {len(times)} requests "
                 f"meanwhile, the slowest {max(times) * 1000:.0f} ms")

    def slow(self):
        from crowd import Crowd
        count = 4000 // self.scale
        with Crowd(self.machine.peer, count, slow=True):
            open_ = self.machine.metrics()["pagewire_tcp_connections"]
            times = [self.curl() for _ in range(20)]
        self.say("slow", max(times) < 1 and open_ >= count, "a request within 1 s",
                 f"{open_:.0f} clients in the middle of a request; the slowest of 20 others {max(times) * 1000:.0f} ms")

    def short(self):
        from crowd import short_connections
        count, start = 1000000 // self.scale, time.monotonic()
        done = short_connections(self.machine.peer, count=count)
        seconds = time.monotonic() - start
        self.say("short", done == count, "all answered", f"{done} connections of one request each, {done / seconds:.0f} a second")

    def many(self):
        goal, done, rates, bad = 10000000 // self.scale, 0, [], ""
        while done < goal and not bad:
            requests, bad = self.wrk(64, 20, "/size-511.bin")
            if not requests:
                bad = bad or "no request in 20 s"
            done += requests
            rates.append(requests / 20)
        self.say("many", not bad and done >= goal, "all answered", f"{done} requests on kept-alive connections; {rates[0]:.0f} a second at "
                 f"first, {rates[-1]:.0f} at last {bad}")


def run(machine, tap, counter, options):
    machine.get("/size-4096.bin")
    cost, soak = Cost(machine, counter), Soak(machine, tap, options.scale)
    at_first, new_at_first = cost.measure(), cost.measure_new()
    before, free = machine.lent(), soak.free()
    print(f"     at the start: {lent_text(before)}; {at_first:,.0f} instructions a 4 KB request", flush=True)
    for name in options.parts or PARTS:
        soak.part(name, before)
    after, at_last, new_at_last = machine.lent(), cost.measure(), cost.measure_new()
    soak.say("cost", at_last <= at_first * DEARER, "the same cost a request",
             f"{at_first:,.0f} instructions a 4 KB request at first, {at_last:,.0f} at last")
    soak.say("cost of a connection", new_at_last <= new_at_first * DEARER_NEW, "the same",
             f"{new_at_first:,.0f} instructions a connection of one request at first, {new_at_last:,.0f} at last")
    soak.say("lent", all(value <= before.get(name, 0) for name, value in after.items()), "nothing is missing",
             f"at first {lent_text(before)}; at last {lent_text(after)}")
    soak.save([f"Memory free before and after: {free / (1 << 20):.1f} and {soak.free() / (1 << 20):.1f} MB: pools give back what they do "
               "not need, seconds later.",
               f"It ran under the counting plugin, which makes everything slower; {os.cpu_count()} processors."])
    return soak.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("parts", nargs="*", default=[])
    options = parser.parse_args()
    machines.in_namespace()
    os.makedirs(OUT, exist_ok=True)
    from tap import Tap
    from vm import make_volume
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    subprocess.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000", "net.ipv4.tcp_tw_reuse=1"], check=False)
    with tempfile.TemporaryDirectory(prefix="pagewire-soak-") as top:
        files = os.path.join(top, "files")
        os.mkdir(files)
        for size in (1, 511, 4096):
            with open(os.path.join(files, f"size-{size}.bin"), "wb") as f:
                f.write(os.urandom(size))
        image, tap = make_volume(files, os.path.join(top, "sys.img")), Tap()
        counter = machines.Counter(top, Cost.WORDS)
        with tap.vm([image], append="cache=unmapped log=off http_per_address=0 http_connections=30000", mem=512,
                    extra=counter.arguments()) as machine:
            failed = run(machine, tap, counter, options)
        tap.close()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
