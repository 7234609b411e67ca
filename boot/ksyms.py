#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""ksyms.py KERNEL.ELF > ksyms.S: the kernel's function names and source lines as a compact table.

kernel/debug.c reads it for backtraces; struct ksyms there is the layout. All offsets are from the
table's start. A function's lines are a run of rows up to the next function's:
    varint    (address - last address) * 2 + (1 when a file number follows)
    varint    file number
    varint    zigzag(line - last line)
starting from the function's address, file 0, line 0.
"""
import bisect
import os
import re
import struct
import subprocess
import sys

TOOLS = os.environ.get("CROSS_COMPILE", "x86_64-linux-gnu-")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def functions(elf):
    """[(address, name)] sorted, one name an address; local labels of the assembler are left out."""
    found = {}
    for line in output(TOOLS + "nm", "-n", elf).splitlines():
        address, kind, name = line.split()[:3] if len(line.split()) == 3 else ("0", "U", "")
        if kind in "tT" and int(address, 16) >= 0xFFFFFFFF80000000 and not re.search(r"^\.|\.\.@|\.L", name):
            if "." in name and name.split(".")[0] in ("trap_common", "irq_common", "boot_high"):
                continue
            found.setdefault(int(address, 16), name)
    return sorted(found.items())


def lines(elf):
    """[(address, file, line)] sorted, the last row of an address kept."""
    found = {}
    for row in output(TOOLS + "objdump", "--dwarf=decodedline", elf).splitlines():
        match = re.match(r"(\S+)\s+(\d+)\s+0x([0-9a-f]+)", row)
        if match:
            found[int(match[3], 16)] = (os.path.basename(match[1]), int(match[2]))
    return [(a, f, n) for a, (f, n) in sorted(found.items())]


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Names:
    def __init__(self):
        self.blob, self.where = bytearray(), {}

    def add(self, text):
        if text not in self.where:
            self.where[text] = len(self.blob)
            self.blob += text.encode() + b"\0"
        return self.where[text]


def encode(rows, start, files):
    out, address, file, line = bytearray(), start, 0, 0
    for row_address, name, number in rows:
        index = files.setdefault(name, len(files))
        if (index, number) == (file, line):
            continue
        out += varint((row_address - address) * 2 + (index != file))
        if index != file:
            out += varint(index)
        delta = number - line
        out += varint(delta * 2 if delta >= 0 else -delta * 2 - 1)
        address, file, line = row_address, index, number
    return out


def table(elf):
    names, stream, entries, files = Names(), bytearray(), bytearray(), {"": 0}
    all_functions, all_lines = functions(elf), lines(elf)
    addresses = [row[0] for row in all_lines]
    for i, (start, name) in enumerate(all_functions):
        end = all_functions[i + 1][0] if i + 1 < len(all_functions) else start + 4096
        rows = all_lines[bisect.bisect_left(addresses, start):bisect.bisect_left(addresses, end)]
        entries += struct.pack("<III", start & 0xFFFFFFFF, names.add(name), len(stream))
        stream += encode(rows, start, files)
    file_table = b"".join(struct.pack("<I", names.add(name)) for name in files)
    head = 32
    names_at = head + len(entries) + len(file_table)
    lines_at = names_at + len(names.blob)
    header = struct.pack("<8I", 0x4D59534B, len(all_functions), head, len(files), head + len(entries),
                         names_at, lines_at, len(stream))
    return header + entries + file_table + names.blob + stream


def main():
    data = table(sys.argv[1])
    print('\t.section .ksyms, "a", @progbits\n\t.balign 8\n\t.globl ksyms\nksyms:')
    for at in range(0, len(data), 32):
        print("\t.byte " + ",".join(map(str, data[at:at + 32])))
    print('\t.section .note.GNU-stack, "", @progbits')


main()
