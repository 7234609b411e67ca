#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Turns a console font (PSF version 1 or 2, may be compressed) into C: the glyphs of ASCII, those of
Latin-1's upper half, and a box for everything else. Usage: font.py FONT.psfu.gz >font.c"""
import gzip
import struct
import sys

CODES = list(range(0x20, 0x7F)) + list(range(0xA0, 0x100))
WIDTH, HEIGHT = 8, 16


def read_font(data):
    """(glyphs, {code: glyph number})"""
    if data[:2] == b"\x36\x04":
        mode, size = data[2], data[3]
        width, height, count, at = 8, size, 512 if mode & 1 else 256, 4
        table = data[at + count * size:] if mode & 2 else b""
        words = struct.unpack(f"<{len(table) // 2}H", table[:len(table) // 2 * 2])
        codes, glyph, sequence = {}, 0, False
        for word in words:
            if word == 0xFFFF:
                glyph, sequence = glyph + 1, False
            elif word == 0xFFFE:
                sequence = True
            elif not sequence:
                codes.setdefault(word, glyph)
    elif data[:4] == b"\x72\xb5\x4a\x86":
        _, at, flags, count, size, height, width = struct.unpack("<7I", data[4:32])
        codes, glyph = {}, 0
        for entry in data[at + count * size:].split(b"\xff") if flags & 1 else []:
            for c in entry.split(b"\xfe")[0].decode("utf-8", "replace"):
                codes.setdefault(ord(c), glyph)
            glyph += 1
    else:
        sys.exit("font.py: not a PSF font")
    if (width, height) != (WIDTH, HEIGHT) or not codes:
        sys.exit(f"font.py: an {WIDTH}x{HEIGHT} font with a Unicode table is needed")
    return [data[at + n * size:at + (n + 1) * size] for n in range(count)], codes


def main():
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    glyphs, codes = read_font(data)
    box = bytes([0, 0] + [0x7E] + [0x42] * 10 + [0x7E] + [0, 0])
    print('#include "drivers/font.h"\n\nconst uint8_t font_bits[FONT_GLYPHS][FONT_HEIGHT] = {')
    for code in CODES + [None]:
        bits = glyphs[codes[code]] if code in codes else box
        print("\t{" + ", ".join(f"0x{b:02x}" for b in bits) + "},")
    print("};")


main()
