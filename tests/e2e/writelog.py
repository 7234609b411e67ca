# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's blklogwrites: every write and flush of a disk in order, in the format of Linux's dm-log-writes (a superblock
in the first sector; then for each entry a sector that tells it, and its data). From it the disk can be had as a power
cut at any moment would have left it."""
import struct

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512


def drive(image, log):
    """The disk argument of vm.VM for an image whose writes are logged."""
    with open(log, "wb"):
        pass
    return (f"driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename={image},"
            f"log.driver=file,log.filename={log},log-sector-size={SECTOR},log-super-update-interval=1")


class Entry:
    def __init__(self, sector, count, flags, data):
        self.sector, self.count, self.flags, self.data = sector, count, flags, data

    @property
    def barrier(self):
        return self.flags & FLUSH and not self.count


def read(log):
    with open(log, "rb") as f:
        magic, version, count, size = struct.unpack("<QQQI", f.read(28))
        assert magic == MAGIC and version == 1 and size == SECTOR, "not a write log"
        entries = []
        f.seek(size)
        for _ in range(count):
            head = f.read(size)
            if len(head) < size:
                break
            sector, sectors, flags, _ = struct.unpack("<QQQQ", head[:32])
            data = b"" if flags & DISCARD else f.read(sectors * size)
            entries.append(Entry(sector, sectors, flags, data))
    return entries


class Disk:
    """Goes forward through the log; `durable` is what a flush, or FUA, has made certain."""

    def __init__(self, image, entries):
        with open(image, "rb") as f:
            self.durable = bytearray(f.read())
        self.entries, self.at, self.pending = entries, 0, []

    def put(self, to, entry, sectors=None):
        if entry.flags & DISCARD:
            return
        for n in range(entry.count) if sectors is None else sectors:
            at = (entry.sector + n) * SECTOR
            to[at:at + SECTOR] = entry.data[n * SECTOR:(n + 1) * SECTOR]

    def forward(self, at):
        """What was asked for before entry `at` has happened."""
        for entry in self.entries[self.at:at]:
            if entry.flags & FLUSH:  # of what came before; a write may carry it
                for earlier in self.pending:
                    self.put(self.durable, earlier)
                self.pending = []
            if entry.count and entry.flags & FUA:
                # Older writes of the same sectors cannot come back over it.
                for earlier in self.pending:
                    self.put(self.durable, earlier, [n for n in range(earlier.count) if
                             entry.sector <= earlier.sector + n < entry.sector + entry.count])
                self.put(self.durable, entry)
            elif entry.count:
                self.pending.append(entry)
        self.at = max(self.at, at)

    def after_cut(self, dice, how):
        """How: "none", "all", "whole" or "torn" of what is not certain survives."""
        disk = bytearray(self.durable)
        pending = list(self.pending)
        if how == "torn":
            dice.shuffle(pending)
        for entry in pending:
            if how == "none" or (how == "whole" and dice.random() < 0.5):
                continue
            if how != "torn":
                self.put(disk, entry)
                continue
            kept = [n for n in range(entry.count) if dice.random() < 0.5]
            if entry.sector <= 2 < entry.sector + entry.count:  # an ext4 superblock is never torn
                first = 2 - entry.sector
                kept = [n for n in kept if n not in (first, first + 1)]
                kept += [first, first + 1] if dice.random() < 0.5 else []
            self.put(disk, entry, kept)
        return disk
