#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# Makes the ext4 images that tests/host/test_ext4*.c read, and the trees they were made from, with
# mke2fs, debugfs and e2fsck. Use: ext4_images.py GROUP DIRECTORY. Everything is made anew when this
# script is newer than what is there. Contents come from a fixed seed.
import fcntl
import os
import shutil
import subprocess
import sys

from ext4_tools import MB, crc32c, rng, run, write
import ext4_journals


def journals(out):
    ext4_journals.journals(out)


def sparse(path, size, pieces):
    with open(path, "wb") as f:
        f.truncate(size)
        for offset, data in pieces:
            f.seek(offset)
            f.write(data)


def make_tree(top, longest_link, small=False):
    os.makedirs(top + "/sizes")
    for size in [0, 1, 59, 60, 61, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097,
                 12 * 1024, 12 * 1024 + 1, 12 * 4096, 12 * 4096 + 1, 268 * 1024 + 3,
                 (1 if small else 3) * MB + 17]:
        write(f"{top}/sizes/{size}", rng.randbytes(size))
    names = os.fsencode(top) + b"/names/"
    os.makedirs(names)
    for byte in range(1, 256):
        if small:
            break
        if byte not in (ord("/"), ord(".")):
            write(names + bytes([byte]), bytes([byte]))
        if byte != ord("/"):
            write(names + b"x" + bytes([byte]) * 254, bytes([byte]) * 2)
    for name in [b"..a", b"...", b".hidden", "grüße".encode(), "日本".encode()]:
        write(names + name, name)
    os.makedirs(top + "/many/empty")
    for i in range(20 if small else 1200):
        write(f"{top}/many/file-{i}", b"%d" % i)
    deep = top
    for i in range(30):
        deep += f"/d{i}"
        os.mkdir(deep)
    write(deep + "/bottom", b"here")
    os.makedirs(top + "/sparse")
    sparse(top + "/sparse/all-hole", 5 * MB, [])
    sparse(top + "/sparse/tail", 300 * 1024 + 5, [(300 * 1024, b"tail!")])
    sparse(top + "/sparse/over-4gb", (5 << 30) + 4242,
           [(0, b"start"), ((4 << 30) - 3, b"across 4 GB"), ((5 << 30) + 4000, rng.randbytes(242))])
    # More extents than two levels hold: every other block.
    sparse(top + "/sparse/fragmented", 2200 * 8192,
           [(i * 8192, rng.randbytes(4096)) for i in range(100 if small else 2200)])
    os.makedirs(top + "/links")
    for length in list(range(1, 70)) + [127, 128, 255, 256, 511, 512, 1000, 1022, 1023, 2000,
                                        2047, 3000, 4000, 4094]:
        if length <= longest_link:
            os.symlink(("t" * length)[:length - 1] + "e", f"{top}/links/{length}")
    os.link(top + "/sizes/4097", top + "/links/hard")
    os.mkfifo(top + "/links/fifo")
    write(top + "/old", b"old", (-86400, -86400))
    write(top + "/late", b"late", (2**31 - 1, 2**31 - 1))
    os.chmod(top + "/old", 0o4711)


def mke2fs(image, top, megabytes, *options):
    run("mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", top, image, f"{megabytes}m")


def trees(out):
    for block, longest in ((1024, 1023), (2048, 2047), (4096, 4094)):
        make_tree(f"{out}/tree-{block}", longest)
    make_tree(f"{out}/tree-small", 1023, small=True)
    # Debian leaves two features out that e2fsprogs 1.47 itself has by default.
    upstream = "metadata_csum_seed,orphan_file"
    nocsum = "^metadata_csum,^metadata_csum_seed"
    ext3 = "^extent,^metadata_csum,^64bit,^flex_bg,^huge_file"
    variants = {
        "default-4096": (4096, ["-O", upstream]),
        "default-2048": (2048, ["-O", upstream]),
        "default-1024": (1024, ["-O", upstream]),
        "nocsum": (4096, ["-O", nocsum]),
        "ext3-1024": (1024, ["-O", ext3]),
        "ext3-4096": (4096, ["-O", ext3]),
        "extent-less-csum": (2048, ["-O", "^extent,^64bit"]),
    }
    small = {
        "inode128": (4096, ["-I", "128"]),
        "inode1024": (4096, ["-I", "1024"]),
        "gdt_csum": (1024, ["-O", f"{nocsum},uninit_bg"]),
        "gdt_csum-32bit": (4096, ["-O", f"{nocsum},uninit_bg,^64bit"]),
        "no64bit": (1024, ["-O", "^64bit"]),
        "meta_bg": (1024, ["-O", "meta_bg,^resize_inode"]),
        "sparse_super2": (1024, ["-O", "sparse_super2,^resize_inode"]),
        "bigalloc": (4096, ["-O", "bigalloc", "-C", "16384"]),
        "bigalloc-1024": (1024, ["-O", "bigalloc", "-C", "8192"]),
        "nofiletype": (4096, ["-O", "^filetype"]),
        "no-index": (4096, ["-O", "^dir_index"]),
        "ea_inode-largedir": (4096, ["-O", "ea_inode,large_dir,project,quota"]),
        "mmp-verity": (4096, ["-O", "mmp,verity,stable_inodes"]),
        "small-groups": (4096, ["-g", "2048"]),
    }
    for name, (block, options) in variants.items():
        mke2fs(f"{out}/{name}.img", f"{out}/tree-{block}", 128, "-b", str(block), "-N", "8192",
               *options)
    for name, (block, options) in small.items():
        mke2fs(f"{out}/{name}.img", f"{out}/tree-small", 48, "-b", str(block), *options)
    for name in ("default-4096", "default-1024", "nocsum", "ext3-1024"):
        indexed = f"{out}/indexed-{name}.img"
        run("cp", "--sparse=always", f"{out}/{name}.img", indexed)
        run("e2fsck", "-fyD", indexed, ok=(0, 1))
    # Revision 0: no features at all.
    os.makedirs(f"{out}/tree-rev0")
    write(f"{out}/tree-rev0/file", rng.randbytes(70000))
    run("mke2fs", "-q", "-F", "-r", "0", "-t", "ext2", "-b", "1024", "-d", f"{out}/tree-rev0",
        f"{out}/rev0.img", "8m")


def refused(out):
    empty = f"{out}/empty"
    os.makedirs(empty)
    for name, options in {
        "inline_data": ["-O", "inline_data"],
        "encrypt": ["-O", "encrypt"],
        "casefold": ["-O", "casefold"],
        "journal_dev": ["-O", "journal_dev"],
    }.items():
        extra = [] if name == "journal_dev" else ["-d", empty]
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", *options, *extra,
            f"{out}/{name}.img", "16m")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "65536", f"{out}/block65536.img", "64m",
        stdin=subprocess.DEVNULL)
    run("mke2fs", "-q", "-F", "-t", "ext4", f"{out}/unknown.img", "16m")
    with open(f"{out}/unknown.img", "r+b") as f:  # an incompat bit of the future
        f.seek(1024)
        sb = bytearray(f.read(1024))
        sb[0x63] |= 0x40
        sb[1020:] = crc32c(0xffffffff, sb[:1020]).to_bytes(4, "little")
        f.seek(1024)
        f.write(sb)
    write(f"{out}/not-ext4.img", rng.randbytes(MB))


# The entries of a directory file, packed into blocks that leave room for a tail.
def directory_blocks(entries, block_bytes):
    blocks, block = [], b""
    limit = block_bytes - 12

    def finish():
        nonlocal block
        at, last = 0, 0
        while at < len(block):
            last, at = at, at + int.from_bytes(block[at + 4:at + 6], "little")
        size = limit - last
        block = block[:last + 4] + size.to_bytes(2, "little") + block[last + 6:]
        block = block.ljust(limit, b"\0") + (0).to_bytes(4, "little") + b"\x0c\0\0\xde" + bytes(4)
        blocks.append(block)
        block = b""

    for inode, name, kind in entries:
        size = (8 + len(name) + 3) // 4 * 4
        if len(block) + size > limit:
            finish()
        block += (inode.to_bytes(4, "little") + size.to_bytes(2, "little") +
                  bytes([len(name), kind]) + name).ljust(size, b"\0")
    finish()
    return b"".join(blocks)


# A directory too large for mke2fs to fill in reasonable time: its blocks are written as a file,
# which debugfs then calls a directory and e2fsck indexes.
def large(out):
    for name, block, count, options in (
            ("large-4096", 4096, 100000, []),
            ("large-1024", 1024, 30000, []),
            ("large-tea", 1024, 5000, []),
            ("large-legacy", 4096, 5000, []),
            ("large-unsigned", 1024, 5000, []),
            ("large-tea-unsigned", 4096, 5000, []),
            ("large-legacy-unsigned", 4096, 5000, []),
            ("large-nocsum", 4096, 5000, ["-O", "^metadata_csum"])):
        top = f"{out}/tree-{name}"
        os.makedirs(top)
        for i in range(4):
            write(f"{top}/target{i}", b"%d" % i)
        write(f"{top}/dir", b"")
        image = f"{out}/{name}.img"
        mke2fs(image, top, 64, "-b", str(block), *options)
        listing = run("debugfs", "-R", "ls -l", image)
        inodes = {line.split()[-1]: int(line.split()[0]) for line in listing.splitlines()
                  if line.split() and line.split()[-1].startswith(("target", "dir"))}
        entries = [(inodes["dir"], b".", 2), (2, b"..", 2)]
        for i in range(count):
            entries.append((inodes[f"target{i % 4}"],
                            b"n%d-\xe4%s" % (i, b"\xff" * (i % 7)), 1))
        blob = f"{out}/{name}.dir"
        write(blob, directory_blocks(entries, block))
        commands = ["rm dir", f"write {blob} dir", "sif dir mode 040755", "sif dir links_count 2"]
        words = name.split("-")
        if "unsigned" in words:
            commands.append("ssv flags 2")
        commands += [f"ssv def_hash_version {word}" for word in words if word in ("tea", "legacy")]
        run("debugfs", "-w", "-f", "-", image, input="\n".join(commands).encode())
        run("e2fsck", "-fyD", image, ok=(0, 1))
        run("e2fsck", "-fn", image)


# Small volumes with one of everything, to be damaged.
def damage(out):
    top = f"{out}/tree"
    os.makedirs(f"{top}/indexed")
    os.makedirs(f"{top}/a/b/c")
    for i in range(150):
        write(f"{top}/indexed/{'name' * 12}-{i}", b"%d" % i if i < 50 else b"")
    for size in (0, 1, 1024, 5000, 70000):
        write(f"{top}/a/size-{size}", rng.randbytes(size))
    write(f"{top}/a/b/c/deep", b"deep")
    sparse(f"{top}/fragmented", 450 * 8192, [(i * 8192, rng.randbytes(40)) for i in range(450)])
    sparse(f"{top}/sparse", 5 << 30, [((5 << 30) - 9, b"the end")])
    os.symlink("a/b/c/deep", f"{top}/short-link")
    os.symlink("./" * 60 + "a", f"{top}/long-link")
    for name, options in {
        "csum": ["-O", "metadata_csum_seed,orphan_file"],
        "nocsum": ["-O", "^metadata_csum"],
        "ext3": ["-O", "^extent,^metadata_csum,^64bit,^flex_bg,^huge_file"],
    }.items():
        image = f"{out}/{name}.img"
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "1024", "-J", "size=1",
            *options, "-d", top, image, "12m")
        run("e2fsck", "-fyD", image, ok=(0, 1))


def main():
    group, out = sys.argv[1], sys.argv[2]
    os.makedirs(os.path.dirname(out), exist_ok=True)
    lock = open(out + ".lock", "w")  # tests may run at the same time
    fcntl.flock(lock, fcntl.LOCK_EX)
    stamp = f"{out}/stamp"
    here = os.path.dirname(__file__)
    newest = max(os.path.getmtime(os.path.join(here, name)) for name in os.listdir(here)
                 if name.startswith("ext4_") and name.endswith(".py"))
    if os.path.exists(stamp) and os.path.getmtime(stamp) > newest:
        return
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    globals()[group](out)
    write(stamp, b"")


main()
