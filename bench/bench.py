#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""make bench: Pagewire beside Linux + nginx and beside the floor (bench/floor: the cheapest thing that this card
can carry), on the same machine model, the same card, the same client. First what each costs in time (bench/rows.py),
then, with bench/count's QEMU plugin, what it does: counts do not depend on how busy the measuring machine is.

Each round starts one machine after the other, so that two never share the processor. A whole run (20 minutes on two
processors) writes docs/benchmarks.md and docs/*.svg; a run of some rows or few rounds writes them to build/bench. A row
that fails is noted as failed and the rest goes on. Root, or a kernel that lets users make network namespaces.

    make bench
    make bench BENCH="--rounds 1 --seconds 1 --rows 4KBx16,new --no-counts"
    make bench BENCH=--report          writes the report of the last run again
"""
import argparse
import json
import os
import subprocess
import sys
import time

import machines
import report
import waiting
from client import fetch, wrk
from machines import OUT, ROOT, SYSTEMS, Pagewire
from rows import COUNTED, FILES, ROWS, Path, rows_named

USERS = "trustee / * RL\ntrustee /up * ALL\n"
LOADS = (("1 KB, 1 connection", "1024.bin", 1), ("4 KB, 64 connections", "4096.bin", 64),
         ("100 MB, 4 connections", "104857600.bin", 4))  # under which interrupts are followed


def say(text):
    print(time.strftime("%H:%M:%S ") + text, file=sys.stderr, flush=True)


def prepare_files():
    """The files that are served, as a folder and as a volume with room for uploads."""
    folder = os.path.join(OUT, "files")
    os.makedirs(os.path.join(folder, "cold"), exist_ok=True)
    os.makedirs(os.path.join(folder, "up"), exist_ok=True)
    os.makedirs(os.path.join(folder, ".pagewire"), exist_ok=True)
    with open(os.path.join(folder, ".pagewire", "users"), "a+") as f:
        f.seek(0)
        if f.read() != USERS:  # untouched if right: a newer file would make a new volume
            f.truncate(0)
            f.write(USERS)
    for name, size in FILES.items():
        path = os.path.join(folder, name)
        if not os.path.exists(path) or os.path.getsize(path) != size:
            with open(path, "wb") as f:
                f.write(os.urandom(size))
    machines.run(os.path.join(ROOT, "tools", "volume"), folder, f"{OUT}/files.img", env=os.environ | {"ROOM_MB": "128"})


def prepare():
    """Before the namespace, in which there is no way to the packages of the Linux peer."""
    if os.environ.get("PAGEWIRE_NETNS") != "1":
        say("preparing files and the Linux peer")
    os.makedirs(OUT, exist_ok=True)
    prepare_files()
    machines.run(os.path.join(ROOT, "bench", "linux-peer"), f"{OUT}/linux")


class Run:
    """One run: its results, kept in build/bench/results.json as they come."""

    def __init__(self, options):
        self.options, self.start = options, time.monotonic()
        self.systems = [s for s in SYSTEMS if s.__name__ in options.systems.split(",")]
        self.results = {"date": time.strftime("%Y-%m-%d"), "machine": machines.described(), "rounds": 0,
                        "seconds": options.seconds, "rows": {s.name: {} for s in SYSTEMS},
                        "boot": {s.name: [] for s in SYSTEMS}, "counts": {}, "wtd": None}

    def elapsed(self):
        return time.monotonic() - self.start

    def late(self):
        """Long past the time that was given: what is left is left out."""
        return self.elapsed() > self.options.minutes * 60 * 1.5

    def save(self):
        with open(f"{OUT}/results.json", "w") as f:
            json.dump(self.results, f, indent=1)

    def note(self, system, row, got):
        self.results["rows"][system.name].setdefault(row.id, []).append(got)
        figure = f"failed: {got['failed']}" if "failed" in got else "  ".join(
            f"{key} {got[key]:.6g}" for key in ("rate", "bytes", "p50", "p99", "memory") if key in got)
        say(f"{system.name}: {row.title}: {figure} {got.get('errors', '')} {got.get('also', '')}")
        self.save()

    def one(self, machine, row):
        """Measures a row; whether the machine can go on."""
        if self.late():
            self.note(machine, row, {"failed": "no time was left"})
            return True
        try:
            start, busy = time.monotonic(), machine.busy()
            got = row.measure(machine, self.options.seconds)
            got["machine"] = (machine.busy() - busy) / (time.monotonic() - start)
        except Exception as error:
            self.note(machine, row, {"failed": str(error)[:120] or type(error).__name__})
            return machine.alive()
        self.note(machine, row, got)
        return True

    def group(self, system, rows, path=None):
        """All rows on one machine, or on a fresh one where it did not survive a row."""
        rows = list(rows)
        while rows:
            try:
                with system(wire=path) as machine:
                    machine.path, machine.seed = path, self.results["rounds"] + 1
                    if path:
                        path.of(0, machine.seed)
                        machine.reached()
                    else:
                        self.results["boot"][system.name].append(machine.boot)
                    while rows and self.one(machine, rows.pop(0)):
                        pass
            except Exception as error:  # it did not start, or died at the end
                for row in rows:
                    self.note(system, row, {"failed": str(error)[:120]})
                return

    def round(self, rows):
        number = self.results["rounds"]
        rows = [row for row in rows if number < row.rounds]
        for system in self.systems:
            able = [row for row in rows if system.name != "floor" or row.floor]
            self.group(system, [row for row in able if row.group == "tap"])
            if far := [row for row in able if row.group == "path"]:
                path = Path()
                try:
                    with machines.ahead():
                        self.group(system, far, path)
                finally:
                    path.close()
        self.results["rounds"] += 1
        self.save()

    def rounds(self, rows):
        """As many rounds as were asked for and as fit."""
        longest, reserve = 0, 0 if self.options.no_counts else 200
        for number in range(self.options.rounds):
            if number and self.elapsed() + longest + reserve > self.options.minutes * 60:
                say(f"{number} rounds are what the time allows")
                break
            start = time.monotonic()
            self.round(rows)
            longest = max(longest, time.monotonic() - start)

    # ---- counts ----

    def counted(self, system):
        """What the system does for each piece of COUNTED work: totals of the plugin, and what the client got."""
        rows = self.results["counts"].setdefault(system.name, {})
        with system(counted=True, words=waiting.words(system)) as machine:
            wait = waiting.wait_of(machine)
            for ident, title, path, connections, duration, options in COUNTED:
                if options and system.name == "floor":
                    continue
                if self.late():
                    return
                try:
                    fetch(path)
                    before, idle = machine.counter.read(), wait.now()
                    got = wrk(path, connections, duration, **options) if duration else fetch(path) | {"requests": 1}
                    time.sleep(0.2)
                    done = {key: value - before[key] for key, value in machine.counter.read().items()}
                    waited = {key: value - idle[key] for key, value in wait.now().items()}
                    done = {key: value - waited.get(key, 0) for key, value in done.items()}
                    rows[ident] = done | {"waiting": waited.get("instructions", 0), "requests": got["requests"],
                                          "served": got["requests"] * FILES[path], "errors": got["errors"]}
                    say(f"{system.name}: {title}: {done['instructions'] / got['requests']:,.0f} instructions a request")
                except Exception as error:
                    rows[ident] = {"failed": str(error)[:120]}
                    say(f"{system.name}: {title}: failed: {error}")
                    if not machine.alive():
                        return
                self.save()

    def spans(self):
        """From the entry of the card's interrupt to the first instruction of its WTD, under full load."""
        at = waiting.symbols()
        words = (f",entry={at['irq_stubs']:x}:{at['irq_stubs'] + 224 * 16:x},handler={at['e1000_interrupt']:x},"
                 f"other={at['e1000_look']:x},post={at['wtd_post_interrupt']:x},"
                 f"run={at['wtd_run_fast']:x},work={at['e1000_poll']:x}")
        with Pagewire(counted=True, words=words) as machine:
            rows = []
            for title, path, connections in LOADS:
                wrk(path, connections, 1)
                before = machine.counter.line()
                wrk(path, connections, max(3, self.options.seconds))
                after = machine.counter.line()
                count, total = (after[n] - before[n] for n in (7, 8))
                rows.append({"title": title, "interrupts": count, "mean": total / count if count else None,
                             "least": after[9] or None, "worst": after[10] if count else None})
                say(f"interrupt to WTD: {rows[-1]}")
            self.results["wtd"] = rows
        self.save()

    def counts(self):
        for step in (*(lambda system=system: self.counted(system) for system in self.systems), self.spans):
            try:
                step()
            except Exception as error:
                say(f"counting failed: {error}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="for each row; some take longer")
    parser.add_argument("--rows", default="", help="some of: " + ", ".join(row.id for row in ROWS))
    parser.add_argument("--systems", default="Pagewire,Linux,Floor")
    parser.add_argument("--no-counts", action="store_true", help="without the plugin")
    parser.add_argument("--minutes", type=float, default=20, help="no round is begun that would end later")
    parser.add_argument("--into", help="folder of the report")
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured last")
    return parser.parse_args()


def main():
    options = arguments()
    rows = rows_named(options.rows)
    whole = not options.rows and options.rounds >= 3 and not options.no_counts and "Linux,Floor" in options.systems
    into = options.into or (os.path.join(ROOT, "docs") if whole or options.report else OUT)
    if not options.report:
        prepare()
        machines.in_namespace()
        machines.make_tap()
        run = Run(options)
        run.rounds(rows)
        if not options.no_counts:
            run.counts()
        run.results["minutes"] = run.elapsed() / 60
        run.save()
    print(report.write(into))


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {' '.join(map(str, error.cmd))}: {(error.stderr or '').strip()}")
