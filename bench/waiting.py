# SPDX-License-Identifier: BSD-2-Clause
"""What a counted machine executes while it only waits for the next frame, so that counts can leave it out. wait_of(machine)
takes the machine before any work; its now() says what was spent so far, in the fields of machines.Counter.

Pagewire waits in a few functions. The floor goes round a loop: the block that ran most often while nothing happened counts
the rounds, and what everything else came to for each of them is a round's cost. Linux halts."""
import bisect
import time

import machines

# What an idle processor calls over and over until something comes, and hardly anything else does.
FUNCTIONS = {"sched_switch", "e1000_look", "wtd_pending", "clock_ns"}


def symbols():
    """Address of each function of Pagewire."""
    lines = (line.split() for line in machines.run("nm", f"{machines.ROOT}/build/pagewire.elf").splitlines())
    return {row[2]: int(row[0], 16) for row in lines if len(row) == 3 and row[1] in "tT"}


def blocks(path):
    """[(address, instructions, executions, bytes loaded)] of the profile that the last reading of the counters wrote."""
    with open(path) as f:
        rows = [line.split() for line in f]
    return [(int(row[0], 16), *map(int, row[1:])) for row in rows]


class Nothing:
    def now(self):
        return {}


class Idle:
    """Pagewire."""

    def __init__(self, machine, path):
        self.path = path
        table = sorted((address, name) for name, address in symbols().items())
        self.starts, self.names = [address for address, _ in table], [name for _, name in table]

    def now(self):
        total = {"instructions": 0, "load_bytes": 0}
        for address, length, executions, loaded in blocks(self.path):
            at = bisect.bisect_right(self.starts, address) - 1
            if at >= 0 and self.names[at] in FUNCTIONS:
                total["instructions"] += length * executions
                total["load_bytes"] += loaded
        return total


class Round:
    """The floor."""

    def __init__(self, machine, path):
        self.path = path
        before = machine.counter.read()
        earlier = {row[0]: row[2] for row in blocks(path)}
        time.sleep(0.5)
        after = machine.counter.read()
        ran = {row[0]: row[2] - earlier.get(row[0], 0) for row in blocks(path)}
        self.head = max(ran, key=ran.get)
        self.each = {key: (after[key] - before[key]) / ran[self.head] for key in after}

    def now(self):
        rounds = sum(executions for address, _, executions, _ in blocks(self.path) if address == self.head)
        return {key: each * rounds for key, each in self.each.items()}


def words(system):
    """What the plugin is to be told."""
    return f",profile={machines.OUT}/profile" if system.name in ("Pagewire", "floor") else ""


def wait_of(machine):
    kind = {"Pagewire": Idle, "floor": Round}.get(machine.name)
    return kind(machine, f"{machines.OUT}/profile") if kind else Nothing()
