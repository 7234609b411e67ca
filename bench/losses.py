# SPDX-License-Identifier: BSD-2-Clause
"""What was aimed at and whether this run reached it, and what is lost to Linux, with the reason where it is known. All
from the figures: a bar that is met by the next run goes from the list by itself."""
import json

LINUX, FLOOR = "Linux + nginx", "floor"
# Why a bar or a row (by its id) is not what it should be: said only while it is so.
WHY = {
    "1KBx1": "with one connection at a time each answer costs the host a wake-up of QEMU and one of the client, whatever the "
             "guest does; the floor shows what is left.",
    "4KB-instructions": "about 280 of them are for the client's bare acknowledgement.",
    "steps": "an answer of more than one segment brings an acknowledgement of its own.",
}


class Limit:
    """What a value is to reach: `text` is how that is said, met(value) whether it is so."""

    def __init__(self, text, met):
        self.text, self.met = text, met


def least(limit, text=""):
    return Limit(text or f"{limit:g}x", lambda value: value >= limit)


def most(limit, text=""):
    return Limit(text or f"{limit:,g}", lambda value: value <= limit)


def parts(limit):
    return least(limit, f"{limit:.0%}")


class Bar:
    """A figure, what it has to reach, and what it would like to."""

    def __init__(self, what, bar, goal, value, form="{:.1f}x", why=""):
        self.what, self.bar, self.goal, self.value, self.why = what, bar, goal, value, WHY.get(why, "")
        self.text = "not measured" if value is None else form.format(value)

    def line(self):
        met = "" if self.value is None else "the goal" if self.reached() else "**no**" if self.missed() else "the bar" if self.bar \
            else "no"
        return f"| {self.what} | {self.bar.text if self.bar else ''} | {self.goal.text if self.goal else ''} | {self.text} | {met} |"

    def reached(self):
        return bool(self.goal) and self.goal.met(self.value)

    def missed(self):
        return self.value is not None and bool(self.bar) and not self.bar.met(self.value)


def part(counts, ident, key, per):
    done = counts.get("Pagewire", {}).get(ident)
    if not done or "failed" in done or not done[per]:
        return None
    return done[key] / done[per]


def rate_bars(figures):
    ratio = figures.ratio_of
    for ident in ("1KBx16", "4KBx16"):
        yield Bar(f"{figures.title(ident)}, to Linux", least(10), least(20), ratio(ident, LINUX), why=ident)
        yield Bar(f"{figures.title(ident)}, to the floor", parts(0.5), parts(0.85), ratio(ident, FLOOR), "{:.0%}", ident)
    yield Bar("1 KB, 1 connection: Linux's median time to ours", least(5), least(10), ratio("1KBx1", LINUX, "p50"), why="1KBx1")
    for ident in ("1MBx16", "100MBx1"):
        bar = Bar(f"{figures.title(ident)}, to Linux", least(2), least(2.8), ratio(ident, LINUX), why=ident)
        if ratio(ident, LINUX) and ratio(ident, FLOOR):
            bar.why += f"the floor itself reaches {ratio(ident, LINUX) / ratio(ident, FLOOR):.2f}x."
        yield bar
    for ident in ("64KBx16", "1MBx16", "10MBx4", "100MBx1"):
        yield Bar(f"{figures.title(ident)}, to the floor", parts(0.75), parts(0.95), ratio(ident, FLOOR), "{:.0%}", ident)


def crowd_bars(figures):
    ratio, crowd, more = figures.ratio_of, "4KBx5000", "4KBxmany"
    yield Bar("4 KB, 5,000 connections, to Linux", least(10), None, ratio(crowd, LINUX), why=crowd)
    yield Bar("... Linux's p99 to ours", least(5), None, ratio(crowd, LINUX, "p99"), why=crowd)
    if figures.good("Pagewire", figures.row(crowd)):
        errors = figures.errors("Pagewire", figures.row(crowd))
        yield Bar("... errors", most(0, "none"), None, len(errors), errors or "none", crowd)
    rates = [figures.median("Pagewire", figures.row(ident), "rate") for ident in (more, crowd)]
    yield Bar(f"{figures.title(more)}, to the rate on 5,000", None, parts(1), rates[0] / rates[1] if all(rates) else None,
              "{:.0%}", more)
    held = figures.median("Pagewire", figures.row("held"), "memory")
    yield Bar("20,000 connections held: over the idle system", most(64, "64 MB"), most(20000 * 64 / (1 << 20), "1.2 MB"),
              None if held is None else held * 20000 / (1 << 20), "{:.1f} MB", "held")
    times = [t for _, t in figures.curve("Pagewire", figures.row("steps"))]
    if times:
        # Two frames cost more than one; what may not be there is a wait, for a timer or for an acknowledgement.
        step = 1e6 * (max(times) - min(times))
        limit = Limit("1.3, or 20 us", lambda ratio: ratio <= 1.3 or step <= 20)
        yield Bar("answers round the MSS, dearest to cheapest", limit, limit, max(times) / min(times), f"{{:.2f}}, {step:.0f} us",
                  "steps")


def count_bars(results):
    counts = results["counts"]
    yield Bar("instructions a 4 KB GET, 16 connections", most(3000), most(700), part(counts, "4KBx16", "instructions", "requests"),
              "{:,.0f}", "4KB-instructions")
    yield Bar("instructions a byte, 100 MB file", most(0.5), most(0.1), part(counts, "100MBx1", "instructions", "served"), "{:.2f}")
    yield Bar("bytes loaded a byte, 100 MB file", most(0.25), most(0.05), part(counts, "100MBx1", "load_bytes", "served"), "{:.2f}")
    loads, stores = (part(counts, "4KBx64", f"device_{kind}", "requests") for kind in ("loads", "stores"))
    yield Bar("device accesses a request, 64 connections", most(0.5), most(0.05), None if loads is None else loads + stores, "{:.2f}")
    least_ = [row["least"] for row in results.get("wtd") or [] if row["least"]]
    yield Bar("instructions from interrupt to WTD", most(200), most(80), min(least_, default=None), "{:.0f}")


def soak_bars(out):
    """Of bench/soak.py, where it has been run."""
    try:
        with open(f"{out}/soak.json") as f:
            table = json.load(f)
    except (OSError, ValueError):
        return
    for row in table["rows"]:
        yield f"| {row[0]} (`bench/soak.py`) | {row[1]} | | {row[2]} | {'the bar' if row[3] == 'ok' else '**no**'} |"


def all_bars(figures, results):
    return [*rate_bars(figures), *crowd_bars(figures), *count_bars(results)]


def bars_table(figures, results, out):
    yield "| figure | bar | goal | this run | reached |\n|---|---|---|---|---|"
    for bar in all_bars(figures, results):
        yield bar.line()
    yield from soak_bars(out)


def lost(figures, results):
    """Bars that were missed, rows where Linux is better, rows that failed."""
    said = False
    for bar in all_bars(figures, results):
        if bar.missed():
            said = True
            yield f"* {bar.what}: {bar.text}, where {bar.bar.text} was aimed at." + (f" Why: {bar.why}" if bar.why else "")
    for row in figures.rows():
        worse = [f"{figures.ratio(row, LINUX, key):.2f} times Linux's {name}" for key, name in
                 ((row.main, "figure"), ("p50", "median time"), ("p99", "p99")) if (figures.ratio(row, LINUX, key) or 1) < 1]
        if problem := figures.failed("Pagewire", row):
            worse = [f"failed ({problem})"]
        if worse:
            said = True
            yield f"* {row.title}: " + ", ".join(dict.fromkeys(worse)) + "." + (f" Why: {WHY[row.id]}" if row.id in WHY else "")
    if not said:
        yield "Nothing of what was measured."
