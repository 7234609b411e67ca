# SPDX-License-Identifier: BSD-2-Clause
# What the makers of ext4 images share. Random bytes come from one fixed seed.
import os
import random
import subprocess
import sys

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where e2fsprogs are
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
        os.utime(path, times)


def crc32c(crc, data):
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc
