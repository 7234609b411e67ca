# SPDX-License-Identifier: BSD-2-Clause
# What the makers of ext4 images share. Random bytes come from one fixed seed.
import random
import subprocess
import sys

MB = 1 << 20
rng = random.Random(4)


def run(*args, ok=(0,), **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    if done.returncode not in ok:
        sys.exit(f"{args}: {done.returncode}\n{done.stdout.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def write(path, data, times=None):
    with open(path, "wb") as f:
        f.write(data)
    if times:
        import os
        os.utime(path, times)


def crc32c(crc, data):
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc
