# SPDX-License-Identifier: BSD-2-Clause
"""What the rounds of a run amount to: medians, spreads, ratios. A figure that was not measured, or failed in every
round, is None."""
import statistics


class Figures:
    def __init__(self, results, rows):
        self.found = results["rows"]
        self.all_rows = rows

    def rows(self):
        """The rows that some machine was asked for."""
        return [row for row in self.all_rows if any(row.id in of for of in self.found.values())]

    def row(self, ident):
        return next((row for row in self.rows() if row.id == ident), None)

    def good(self, system, row):
        return [got for got in self.found.get(system, {}).get(row.id, []) if "failed" not in got] if row else []

    def failed(self, system, row):
        """Why there is no figure at all, or None."""
        every = self.found.get(system, {}).get(row.id, [])
        return every[-1]["failed"] if every and not self.good(system, row) else None

    def values(self, system, row, key):
        return [got[key] for got in self.good(system, row) if got.get(key) is not None]

    def median(self, system, row, key):
        values = self.values(system, row, key)
        return statistics.median(values) if values else None

    def spread(self, system, row, key):
        """Half of the distance between the rounds, as a part of the median; None for one round."""
        values = self.values(system, row, key)
        middle = self.median(system, row, key)
        return (max(values) - min(values)) / 2 / middle if len(values) > 1 and middle else None

    def errors(self, system, row):
        """What clients complained of, and rounds that failed."""
        every = self.found.get(system, {}).get(row.id, [])
        said = {got.get("errors", "") for got in every} - {""}
        lost = sum("failed" in got for got in every)
        return "; ".join(sorted(said) + ([f"{lost} of {len(every)} rounds failed"] if lost else []))

    def also(self, system, row):
        """What a row says beside its figure, of the middle round."""
        every = [got["also"] for got in self.good(system, row) if got.get("also")]
        return every[len(every) // 2:len(every) // 2 + 1]

    def curve(self, system, row):
        """[(bytes, median of the rounds)] of the row that has one."""
        every = self.values(system, row, "curve")
        return [(points[0][0], statistics.median(t for _, t in points)) for points in zip(*every)] if every else []

    def ratio(self, row, other, key=None):
        """How much better than `other` Pagewire is: more requests, more bytes, or less time."""
        key = key or row.main
        ours, theirs = self.median("Pagewire", row, key), self.median(other, row, key)
        if not ours or not theirs:
            return None
        return theirs / ours if key in ("p50", "p99", "memory") else ours / theirs

    def ratio_of(self, ident, other, key=None):
        row = self.row(ident)
        return self.ratio(row, other, key) if row else None

    def title(self, ident):
        return next(row.title for row in self.all_rows if row.id == ident)
