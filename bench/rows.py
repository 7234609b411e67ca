# SPDX-License-Identifier: BSD-2-Clause
"""The rows of the bench: what is asked of each machine, in which order, and what of the answer counts.

A row's measure(machine, seconds) returns a measurement (bench/client.py), or raises. Rows of group `tap` run with the
client on the tap device; those of group `path` behind a relay (bench/relay) that holds every frame back for half
a round trip and, where the row says so, loses some; client, relay and machine run ahead of what else the host does. Cold
rows come first, while nothing has been read, and before any other crowd the one that is only held, for its memory."""
import dataclasses
import statistics
import time
from typing import Callable

import path
from client import Load, Probe, Uploads, fetch, wrk
from machines import CROWD, GUEST, processor_time

COLD_FILES, COLD_SIZE, COLD_LARGE = 1500, 16384, 64 << 20
HELD, REST = CROWD, 10
MANY = CROWD - 10  # that ask, all of them: wrk has files of its own, and 20,000 often are all that may be open
LATE = 0.01  # seconds by which the relay may be late without its being said
# Bodies; with their heads of 200 to 300 bytes the answers are of one, two and three segments.
STEPS = (1000, 1150, 1200, 1250, 1300, 1500, 2000, 2500, 2600, 2700, 2800)
FILES = {f"{size}.bin": size for size in (100, 1024, 4096, 16384, 20000, 65536, 1 << 20, 10 << 20, 100 << 20, *STEPS)}
FILES |= {"size-1.bin": 1, "cold/large.bin": COLD_LARGE}
FILES |= {f"cold/{n}.bin": COLD_SIZE for n in range(1, COLD_FILES + 1)}


@dataclasses.dataclass
class Row:
    id: str
    title: str
    measure: Callable
    size: int = 0  # of the largest file
    main: str = "rate"  # what the ratio is made of: rate, bytes, p50 or memory
    group: str = "tap"
    floor: bool = False  # whether the floor does it
    rounds: int = 1 << 10  # the most rounds it is measured in
    note: str = ""


def small(size):
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB" if size >= 1024 else f"{size} B"


def steady(size, connections, main="rate", least=0, **options):
    """Kept-alive connections that ask for one file that is in memory."""
    path = f"{size}.bin"

    def measure(machine, seconds):
        fetch(path)
        return wrk(path, connections, max(least, seconds), **options)

    count = f"{connections:,} connection" + ("s" if connections > 1 else "")
    return Row(f"{small(size).replace(' ', '')}x{connections}", f"{small(size)}, {count}", measure, size, main,
               floor=True)


def variant(row, ident, title, **changes):
    return dataclasses.replace(row, id=ident, title=title, **changes)


def cold_large(machine, seconds):
    return fetch("cold/large.bin")


def cold_small(machine, seconds):
    got = wrk("cold/", 16, 60, script=("once", COLD_FILES))
    if got["requests"] < COLD_FILES:
        raise RuntimeError(f"only {got['requests']} of {COLD_FILES} files in a minute")
    return got


def while_uploading(machine, seconds):
    fetch("4096.bin")
    with Uploads(2, 1 << 20) as uploads:
        got = wrk("4096.bin", 16, seconds)
    return got | {"also": f"{uploads.rate / 1e6:.1f} MB/s taken"}


def beside_bulk(machine, seconds):
    """One client's 1 KB requests while four others load 100 MB files."""
    fetch("104857600.bin")
    bulk = Load("104857600.bin", 4, seconds + 2)
    time.sleep(1)
    got = wrk("1024.bin", 1, seconds)
    return got | {"also": f"{bulk.result()['bytes'] / 1e6:.0f} MB/s beside it"}


def steps(machine, seconds):
    """Median time of one connection's answers round one and two segments; the row's figure is dearest to cheapest."""
    probe, asked = Probe(), {size: [] for size in STEPS}
    for size in STEPS:
        probe.times(f"{size}.bin", 20)
    for _ in range(20):  # of each size some at a time, so that what the machine does meanwhile falls on all of them
        for size in STEPS:
            asked[size] += [probe.ask(f"{size}.bin") for _ in range(5 * seconds)]
    probe.close()
    curve = [(statistics.median(t for t, _ in got), got[0][1]) for got in asked.values()]
    medians = [t for t, _ in curve]
    return {"p50": sorted(medians)[len(medians) // 2], "errors": "", "curve": [(n, t) for t, n in curve],
            "also": f"{max(medians) / min(medians):.2f} between dearest and cheapest"}


def held(machine, seconds):
    """Connections that have had one answer and wait; memory over the machine without them, at once and when they have waited,
    and how it serves the while."""
    from crowd import Crowd
    fetch("4096.bin")
    before = machine.free()
    with Crowd((GUEST, 80), HELD):
        taken = before - machine.free()
        time.sleep(REST)
        later = before - machine.free()
        got = wrk("4096.bin", 16, seconds)
    return got | {"memory": taken / HELD,
                  "also": f"{taken / (1 << 20):.1f} MB over the idle system, {later / (1 << 20):.1f} MB {REST} s later"}


class Path:
    """The relay between a machine and the tap device; of(row) sets what it does to frames."""

    ROUND_TRIP = 0.050

    def __init__(self):
        self.wire, self.relay, self.drop = path.Wire(), None, None

    @property
    def netdev(self):
        return self.wire.netdev

    def of(self, drop, seed):
        if drop != self.drop:
            self.stop()
            self.relay, self.drop = path.Relay(self.wire.end, "tap0", seed, drop, self.ROUND_TRIP), drop

    def busy(self):
        """Seconds of processor time that the relay has used."""
        return processor_time(self.relay.process.pid)

    def stop(self):
        if self.relay:
            self.relay.close()
            self.relay = self.drop = None

    def close(self):
        self.stop()
        self.wire.close()


def far(ident, title, size, connections, main, least=0, drop=0.0):
    def measure(machine, seconds):
        machine.path.of(drop, machine.seed)
        fetch(f"{size}.bin")
        machine.path.relay.late()
        busy, start = machine.path.busy(), time.monotonic()
        got = wrk(f"{size}.bin", connections, max(least, seconds))
        late = machine.path.relay.late()
        if late > LATE:
            got["also"] = f"the path was up to {1000 * late:.0f} ms late"
        got["client"] = max(got["client"], (machine.path.busy() - busy) / (time.monotonic() - start))
        return got

    return Row(ident, title, measure, size, main, group="path", rounds=2)


def pipelined(machine, seconds):
    """wrk's times are of no use here: they begin anew with each answer of a bunch."""
    fetch("1024.bin")
    got = wrk("1024.bin", 16, seconds, script=("pipeline", 16))
    return {key: value for key, value in got.items() if key not in ("p50", "p99")}


def ranges(machine, seconds):
    fetch("104857600.bin")
    return wrk("104857600.bin", 16, seconds, script=("range", 4096, 100 << 20))


ROWS = [
    Row("cold-large", "64 MB read once from the disk, 1 connection", cold_large, COLD_LARGE, "bytes"),
    Row("cold-small", f"{COLD_FILES:,} files of 16 KB, each once from the disk, 16 connections", cold_small, COLD_SIZE),
    Row("held", f"4 KB, 16 connections, while {HELD:,} others are held", held, 4096, rounds=1),
    steady(100, 16), steady(1024, 1), steady(1024, 16), steady(4096, 1), steady(4096, 16),
    steady(4096, 256), steady(4096, 1000, least=5), steady(4096, 5000, least=12),
    dataclasses.replace(steady(4096, MANY, least=20), id="4KBxmany", rounds=1), steady(16384, 16),
    steady(65536, 16, "bytes"), steady(1 << 20, 16, "bytes"), steady(10 << 20, 4, "bytes", least=4),
    steady(100 << 20, 1, "bytes", least=5),
    variant(steady(4096, 16, close=True), "new", "4 KB, a new connection for each request, 16 at a time", floor=False),
    Row("pipelined", "1 KB, pipelined 16 deep, 16 connections", pipelined, 1024),
    Row("ranges", "4 KB ranges anywhere in 100 MB, 16 connections", ranges, 100 << 20),
    Row("uploading", "4 KB, 16 connections, while two clients upload 1 MB files", while_uploading, 4096),
    Row("beside-bulk", "1 KB, 1 connection, while four others load 100 MB files", beside_bulk, 100 << 20, "p50"),
    Row("steps", "1.2 to 3 KB answers, 1 connection", steps, 4096, "p50"),
    far("far-small", "4 KB, 64 connections, 50 ms away", 4096, 64, "rate"),
    far("far-large", "1 MB, 4 connections, 50 ms away", 1 << 20, 4, "bytes", 5),
    far("lossy-small", "20,000 B, 16 connections, 50 ms away, 1 % lost", 20000, 16, "rate", 5, drop=0.01),
    far("lossy-large", "1 MB, 8 connections, 50 ms away, 1 % lost", 1 << 20, 8, "bytes", 16, drop=0.01),
]

# What is counted under the plugin: id, title, file, connections, seconds (0: the file once, and no part of it more),
# options of wrk.
COUNTED = [
    ("1KBx16", "1 KB, 16 connections", "1024.bin", 16, 2, {}),
    ("4KBx1", "4 KB, 1 connection", "4096.bin", 1, 2, {}),
    ("4KBx16", "4 KB, 16 connections", "4096.bin", 16, 3, {}),
    ("4KBx64", "4 KB, 64 connections", "4096.bin", 64, 3, {}),
    ("64KBx16", "64 KB, 16 connections", "65536.bin", 16, 3, {}),
    ("100MBx1", "100 MB, 1 connection", "104857600.bin", 1, 0, {}),
    ("new", "4 KB, a new connection for each request", "4096.bin", 16, 3, {"close": True}),
]


def rows_named(names):
    """The rows of a comma-separated list of ids; an unknown one ends the program with the list of all."""
    if not names:
        return ROWS
    wanted = names.split(",")
    known = {row.id for row in ROWS}
    if unknown := [name for name in wanted if name not in known]:
        raise SystemExit(f"no row {unknown[0]!r}; there are: {', '.join(row.id for row in ROWS)}")
    return [row for row in ROWS if row.id in wanted]
