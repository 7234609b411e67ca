# SPDX-License-Identifier: BSD-2-Clause
"""Writes benchmarks.md and its charts from build/bench/results.json (bench/bench.py) and from the tables that other
programs left beside it. Nothing here measures; `bench/bench.py --report` writes again what was measured last."""
import json
import os
import statistics

import chart
import losses
import tables
from figures import Figures
from machines import OUT
from rows import COUNTED, ROWS

SYSTEMS = chart.NAMES
TABLES = ("uploads", "recv_latency", "soak", "lossy")  # build/bench/NAME.json: title, machine, columns, rows, notes

HEAD = """# Benchmarks

Pagewire beside Linux + nginx and beside the *floor*, on the same machine model, the same card and the same client, one
after the other, in rounds. `make bench` measures this and writes this page (root, or a kernel that lets users make network
namespaces; 20 minutes).

* **Linux + nginx** is the distribution's kernel and nginx from its packages (`bench/linux-peer`): sendfile, tcp_nopush,
  open_file_cache, no access log, mitigations off, files in memory.
* **The floor** (`bench/floor`) is a bare machine that polls the card, keeps no connection state and answers every data segment with
  canned bytes cut by the card. Nothing on this card model can be cheaper. Of an answer of more than 60,000 bytes it knows
  what comes next and where it ends, no more.
* Everything runs under QEMU's TCG with one virtual processor and an 82540EM. Ratios mean something; absolute figures are those of one
  machine on one day. The client is one wrk with one thread, on the same machine.
* A figure is the median of the rounds, ± half of the distance between the largest and the smallest.
"""
COUNTS = """
Counted by a QEMU plugin of our own (`bench/count`), everything included that the guest executes: these do not depend on how busy
the measuring machine is, but a little on how many frames come at a time. What an idle processor does while it waits for the next frame is
left out for Pagewire (100 microseconds of looking at the card, then it halts) and for the floor (which only looks);
Linux halts. Device accesses are memory-mapped ones. `bench/hot` shows where a request's instructions go, by function.
"""


def median_of(figures, system, row, key, scale=1.0, form="{:,.0f}"):
    """A cell: median, spread, what went wrong."""
    if problem := figures.failed(system, row):
        return f"failed ({problem})"
    value, spread = figures.median(system, row, key), figures.spread(system, row, key)
    if value is None:
        return ""
    text = form.format(value * scale)
    if spread is not None and key in ("rate", "bytes"):
        text += f" ±{spread * 100:.0f} %"
    errors = figures.errors(system, row)
    return f"{text} ({errors})" if errors else text


def ratio_text(value):
    return "" if value is None else f"{value:.1f}x" if value < 100 else f"{value:.0f}x"


def work_table(figures):
    yield "| work | | Pagewire | Linux + nginx | floor | to Linux | to the floor |"
    yield "|---|---|---|---|---|---|---|"
    forms = {"rate": ("req/s", 1, "{:,.0f}"), "bytes": ("MB/s", 1e-6, "{:,.1f}"), "p50": ("p50, ms", 1e3, "{:.3f}")}
    for row in figures.rows():
        unit, scale, form = forms[row.main]
        cells = [median_of(figures, system, row, row.main, scale, form) for system in SYSTEMS]
        cells[0] += "".join(f"; {also}" for also in figures.also("Pagewire", row))
        cells[1] += "".join(f"; {also}" for also in figures.also("Linux + nginx", row))
        share = figures.ratio(row, "floor")
        yield (f"| {row.title} | {unit} | " + " | ".join(cells) + f" | {ratio_text(figures.ratio(row, 'Linux + nginx'))} | "
               f"{'' if share is None else f'{share:.0%}'} |")


def latency_table(figures):
    yield "| work | " + " | ".join(f"{s}, p50 | p99" for s in SYSTEMS) + " | client | Pagewire's QEMU | Linux's |"
    yield "|---|" + "---|" * 9
    for row in figures.rows():
        cells = []
        for system in SYSTEMS:
            for key in ("p50", "p99"):
                value = figures.median(system, row, key)
                cells.append("" if value is None else f"{value * 1e3:,.2f} ms")
        if not any(cells):
            continue
        shares = [figures.median("Pagewire", row, "client"), figures.median("Pagewire", row, "machine"),
                  figures.median("Linux + nginx", row, "machine")]
        yield f"| {row.title} | " + " | ".join(cells + ["" if s is None else f"{s:.0%}" for s in shares]) + " |"


def counts_table(counts):
    yield ("| work | machine | instructions a request | a byte | bytes loaded a byte | bytes stored a byte | "
           "device loads + stores a request | waiting, left out |")
    yield "|---|---|---|---|---|---|---|---|"
    for ident, title, *_ in COUNTED:
        for system in SYSTEMS:
            done = counts.get(system, {}).get(ident)
            if not done:
                continue
            if "failed" in done:
                yield f"| {title} | {system} | failed ({done['failed']}) | | | | | |"
                continue
            n, served = max(done["requests"], 1), max(done["served"], 1)
            spent = done["instructions"]
            yield (f"| {title} | {system} | {spent / n:,.0f} | {spent / served:.3f} | {done['load_bytes'] / served:.3f} | "
                   f"{done['store_bytes'] / served:.3f} | {done['device_loads'] / n:.2f} + {done['device_stores'] / n:.2f} | "
                   f"{done['waiting'] / n:,.0f} |")


def steps_table(figures):
    row = figures.row("steps")
    curves = {s: figures.curve(s, row) for s in SYSTEMS[:2]} if row else {}
    curves = {s: curve for s, curve in curves.items() if curve}
    if not curves:
        return
    yield "\nOne connection, answers of one to three segments: bytes with the head, and the median time in microseconds.\n"
    for system, curve in curves.items():
        yield f"| {system}, bytes | " + " | ".join(f"{size:,}" for size, _ in curve) + " |"
        yield "|---|" + "---|" * len(curve)
        yield "| us | " + " | ".join(f"{t * 1e6:.0f}" for _, t in curve) + " |\n"


def wtd_table(rows):
    yield ("\n## From interrupt to WTD\n\nInstructions from the first one of the card's interrupt to the first one of the WTD that it "
           "posts, under full load. The least is the way itself; more than that is another fast WTD that was running and was let end. "
           "While the card is polled it does not interrupt.\n")
    yield "| load | interrupts | least | mean | worst |\n|---|---|---|---|---|"
    for row in rows:
        figures = (row["least"], row["mean"], row["worst"])
        yield f"| {row['title']} | {row['interrupts']:,} | " + " | ".join("" if f is None else f"{f:,.0f}" for f in figures) + " |"


def curve_of(figures, system, idents, key, scale=1.0):
    found = [figures.median(system, row, key) if (row := figures.row(ident)) else None for ident in idents]
    return [None if v is None else v * scale for v in found]


def charts(figures, counts):
    """(file name, SVG) of each chart that there are figures for."""
    sizes = {"100 B": "100Bx16", "1 KB": "1KBx16", "4 KB": "4KBx16", "16 KB": "16KBx16", "64 KB": "64KBx16",
             "1 MB": "1MBx16"}
    crowd = {n: f"4KBx{n.replace(',', '')}" for n in ("1", "16", "256", "1,000", "5,000")}

    def of(idents, key, dashed=False, systems=SYSTEMS, scale=1.0):
        every = ((s, curve_of(figures, s, idents, key, scale), dashed) for s in systems)
        return [one for one in every if any(one[1])]

    plans = [("size", "16 connections, by size of the file", "requests a second", sizes, of(sizes.values(), "rate")),
             ("connections", "4 KB, by number of connections", "requests a second", crowd, of(crowd.values(), "rate")),
             ("latency", "4 KB, by number of connections", "ms; solid: median, dashed: 99 %", crowd,
              of(crowd.values(), "p50", scale=1e3) + of(crowd.values(), "p99", True, SYSTEMS[:2], 1e3))]
    for name, title, unit, names, series in plans:
        if series:
            yield f"benchmarks-{name}.svg", chart.lines(title, unit, list(names), series)
    chosen = [(title, ident) for ident, title, *_ in COUNTED if ident in ("1KBx16", "4KBx16", "64KBx16", "new")]
    spent = [(s, [d["instructions"] / max(d["requests"], 1) if (d := counts.get(s, {}).get(i)) and
                  "failed" not in d else None for _, i in chosen]) for s in SYSTEMS]
    if any(any(values) for _, values in spent):
        short = [title.split(",")[0] + (", new connection" if ident == "new" else "") for title, ident in chosen]
        yield "benchmarks-counts.svg", chart.bars("Instructions of the guest", "a request", short, spent)


def run_text(results):
    m = results["machine"]
    yield (f"\n## This run\n\n{results['date']}, {results['rounds']} rounds, {results['seconds']} seconds a row (some take "
           f"longer), {results.get('minutes', 0):.0f} minutes in all. {m['processor']}, {m['number']} processors, {m['kernel']}; {m['qemu']}; "
           f"peer: {m['peer']}; client: {m['client']}.")
    boots = [f"{s} {statistics.median(t):.1f} s" for s in SYSTEMS if (t := results["boot"].get(s))]
    if boots:
        yield ("\nFrom the start of QEMU to the first answer (Linux copies its files into memory meanwhile; the floor and Pagewire "
               "are started as kernels, too; for a second after it was switched on QEMU's card receives nothing): "
               + ", ".join(boots) + ".")


def write(into):
    """Writes into/benchmarks.md and the charts; returns the text."""
    with open(f"{OUT}/results.json") as f:
        results = json.load(f)
    figures, counts = Figures(results, ROWS), results["counts"]
    os.makedirs(into, exist_ok=True)
    names = []
    for name, text in charts(figures, counts):
        names.append(name)
        with open(os.path.join(into, name), "w") as f:
            f.write(text)
    picture = {name.split("-")[1].split(".")[0]: f"\n![{name}]({name})" for name in names}
    lines = [HEAD, *run_text(results), "\n## What was aimed at\n", *losses.bars_table(figures, results, OUT),
             "\n## What we lose, and why\n", *losses.lost(figures, results), "\n## Requests and bytes\n",
             *work_table(figures), picture.get("size", ""), picture.get("connections", ""), "\n## Latency\n",
             "Shares of one processor: wrk's (or the relay's of the distant rows, where it is larger) while Pagewire served, "
             "and QEMU's for both; of all that the machine has, these and the system's own work for the tap device use. At 90 % and more, "
             "the client bounds what is measured.\n", *latency_table(figures), picture.get("latency", ""), *steps_table(figures)]
    if counts:
        lines += ["\n## Counts\n", COUNTS.strip() + "\n", *counts_table(counts), picture.get("counts", "")]
    if results.get("wtd"):
        lines += wtd_table(results["wtd"])
    for name in TABLES:
        lines += tables.kept(name)
    text = "\n".join(line for line in lines if line != "") + "\n"
    with open(os.path.join(into, "benchmarks.md"), "w") as f:
        f.write(text)
    return text
