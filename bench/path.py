# SPDX-License-Identifier: BSD-2-Clause
"""A path that delays, and loses by a seed, between a machine and the tap device, or between two tap devices: bench/relay,
built by `make build/relay`. It loses no frame of its own, so that a figure is that of the two stacks."""
import os
import signal
import subprocess
import tempfile

RELAY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "relay")


class Wire:
    """QEMU's end: `netdev` are its words, `end` is what the relay is told."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="pagewire-path-")
        self.end = f"{self.folder.name}/wire"
        self.netdev = ["-netdev", f"stream,id=net,server=on,addr.type=unix,addr.path={self.end}"]

    def close(self):
        self.folder.cleanup()


class Relay:
    """bench/relay as a process. done() ends it and says what it did, {name: count}."""

    def __init__(self, a, b, seed, drop, round_trip):
        self.process = subprocess.Popen([RELAY, a, b, str(round_trip / 2), str(drop), str(seed)], stdout=subprocess.PIPE,
                                        text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the relay did not start")

    @staticmethod
    def counts(line):
        return {name: int(count) for name, count in (word.split("=") for word in line.split())}

    def late(self):
        """Seconds by which a frame was given on later than it should have been, at most, since this was last asked."""
        self.process.send_signal(signal.SIGUSR1)
        return self.counts(self.process.stdout.readline())["late"] / 1e6

    def done(self):
        self.process.send_signal(signal.SIGTERM)
        return self.counts(self.process.communicate(timeout=60)[0])

    def close(self):
        if self.process.poll() is None:
            self.done()
