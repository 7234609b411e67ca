# SPDX-License-Identifier: BSD-2-Clause
# Volumes whose journal must be replayed. Two images of the same geometry are made, `before` and
# `after`; every block in which they differ goes into before's journal (debugfs jo, jw), in one
# transaction or more, with wrong contents that later transactions overwrite or revoke. What is then read must be
# after's tree. e2fsprogs has to agree: a copy that it recovered must have after's blocks.
import os
import re
import shutil

from ext4_tools import crc32c, rng, run, write

ESCAPED = b"\xc0\x3b\x39\x98"  # jbd2's magic


def make_trees(out):
    for name in ("before", "after"):
        top = f"{out}/tree-{name}"
        os.makedirs(f"{top}/dir/deeper")
        write(f"{top}/same", b"never changes")
        write(f"{top}/file", rng.randbytes(70001))
        for i in range(20):
            write(f"{top}/dir/{name}-{i}", rng.randbytes(1500 * i))
    top = f"{out}/tree-after"
    for i in range(150):
        write(f"{top}/dir/deeper/new-{i}", b"%d" % i)
    os.symlink(b"x" * 300, f"{top}/long-link")
    os.symlink(ESCAPED + b"y" * 300, os.fsencode(f"{top}/escaped-link"))
    shutil.copytree(top, f"{out}/tree-escaped", symlinks=True)
    write(f"{out}/tree-escaped/escaped", ESCAPED + rng.randbytes(9000))


class Maker:
    def __init__(self, out, name, block, options, after="after"):
        self.out, self.block, self.most = out, block, block // 20
        self.before, self.after = f"{out}/{name}.before", f"{out}/{name}.after"
        env = dict(os.environ, E2FSPROGS_FAKE_TIME="1700000000")
        uuid = "12345678-9abc-def0-1234-56789abcdef0"
        for image, tree in ((self.before, "before"), (self.after, after)):
            run("mke2fs", "-q", "-F", "-t", "ext4", "-b", str(block), "-U", uuid, "-N", "512",
                "-E", f"hash_seed={uuid}", *options, "-d", f"{out}/tree-{tree}", image, "12m",
                env=env)
        log = set(self.log_blocks(self.before))
        a, b = open(self.before, "rb").read(), open(self.after, "rb").read()
        self.a = [a[i:i + block] for i in range(0, len(a), block)]
        self.b = [b[i:i + block] for i in range(0, len(b), block)]
        self.changed = [i for i in range(len(self.a)) if self.a[i] != self.b[i] and i not in log]
        self.same = [i for i in range(len(self.a)) if self.a[i] == self.b[i] and i not in log]

    def log_blocks(self, image):
        text = run("debugfs", "-R", "stat <8>", image)
        text = text[text.index("EXTENTS:" if "EXTENTS:" in text else "BLOCKS:"):]
        blocks = []
        for first, last, disk in re.findall(r"\((\d+)(?:-(\d+))?\):(\d+)", text):
            blocks += range(int(disk), int(disk) + int(last or first) - int(first) + 1)
        return blocks

    # transactions: ({block: content}, [revoked blocks], committed)
    def image(self, name, transactions, jo, check=True, split=True):
        path, commands = f"{self.out}/{name}.img", [jo]
        shutil.copyfile(self.before, path)
        if split:  # debugfs sometimes forgets the commit block after several descriptors
            transactions = [
                (dict(part), revokes, committed) for writes, revokes, committed in transactions
                for part in [list(writes.items())[i:i + self.most]
                             for i in range(0, max(len(writes), 1), self.most)]]
        for n, (writes, revokes, committed) in enumerate(transactions):
            blob = f"{self.out}/blob{n}"
            write(blob, b"".join(writes.values()))
            words = ["jw"] + ([] if committed else ["-c"])
            if revokes:
                words += ["-r", ",".join(map(str, revokes))]
            if writes:
                words += ["-b", ",".join(map(str, writes)), blob]
            commands.append(" ".join(words))
        text = run("debugfs", "-w", "-f", "-", path, input="\n".join(commands + ["jc"]).encode())
        assert "rror" not in text and "annot" not in text, text
        if not check or self.judge(path):
            return path
        assert not split, path
        return self.image(name, transactions, jo)

    # Does e2fsck make of it what it should be?
    def judge(self, path):
        copy = path + ".judge"
        shutil.copyfile(path, copy)
        run("e2fsck", "-y", copy, ok=(0, 1))  # without -f it does no more than replay
        # What e2fsck writes itself: superblock, descriptors, bitmaps.
        own = 1024 // self.block
        bitmaps = {int(n) for n in re.findall(r"bitmap at (\d+)", run("dumpe2fs", path))}
        data = open(copy, "rb").read()
        os.unlink(copy)
        return all(data[i * self.block:(i + 1) * self.block] == self.b[i] for i in self.changed
                   if i > own + 1 and i not in bitmaps)

    def right(self, blocks):
        return {i: self.b[i] for i in blocks}

    def wrong(self, blocks):
        return {i: rng.randbytes(self.block) for i in blocks}

    def plain(self):
        return [(self.right(self.changed), [], True)]

    # Wrong contents first: some overwritten, some revoked, some both; then the end that never was.
    def busy(self):
        changed = self.changed[:]
        rng.shuffle(changed)
        half, third = changed[:len(changed) // 2], changed[len(changed) // 3:]
        strangers = rng.sample(self.same, 20)
        return [  # debugfs cannot write and revoke in one transaction
            (self.wrong(half + strangers[:10]), [], True),
            (self.wrong(strangers[10:]), [], True),
            ({}, strangers[:10], True),
            (self.right(third), [], True),
            ({}, strangers[5:] + half[:5], True),
            (self.right(changed), [], True),
            (self.wrong(changed[:3]), [], False),
        ]

    # Turns the log in its ring, so that it goes over the end.
    def rotate(self, path, by):
        log = self.log_blocks(path)
        with open(path, "r+b") as f:
            content = []
            for block in log:
                f.seek(block * self.block)
                content.append(f.read(self.block))
            ring = content[1:]
            for i, data in enumerate(ring):
                f.seek(log[1 + (i + by) % len(ring)] * self.block)
                f.write(data)
            sb = bytearray(content[0])
            assert int.from_bytes(sb[0x14:0x18], "big") == 1
            start = int.from_bytes(sb[0x1c:0x20], "big")
            sb[0x1c:0x20] = ((start - 1 + by) % len(ring) + 1).to_bytes(4, "big")
            if sb[0x50]:
                sb[0xfc:0x100] = bytes(4)
                sb[0xfc:0x100] = crc32c(0xffffffff, sb[:1024]).to_bytes(4, "big")
            f.seek(log[0] * self.block)
            f.write(sb)
        return len(log) - 1

    # Flips a bit in the first log block of that type (0: data), counted from the `skip`th.
    def damage(self, source, name, kind, skip=0, at=100):
        path = f"{self.out}/{name}.img"
        shutil.copyfile(source, path)
        with open(path, "r+b") as f:
            for block in self.log_blocks(path)[1:]:
                f.seek(block * self.block)
                head = f.read(12)
                found = int.from_bytes(head[4:8], "big") if head[:4] == ESCAPED else 0
                if found != kind:
                    continue
                if skip:
                    skip -= 1
                    continue
                f.seek(block * self.block + at)
                byte = f.read(1)[0]
                f.seek(block * self.block + at)
                f.write(bytes([byte ^ 4]))
                return
        raise SystemExit(f"{name}: nothing to damage")


def journals(out):
    make_trees(out)
    v4 = Maker(out, "v4", 4096, ["-O", "metadata_csum_seed,orphan_file"])
    v1 = Maker(out, "v1", 1024, ["-J", "size=2"])
    old = Maker(out, "old", 1024, ["-J", "size=2", "-O", "^64bit,^metadata_csum,^extent"])
    wide = Maker(out, "wide", 2048, ["-O", "^metadata_csum"])
    v4.image("plain-4096", v4.plain(), "jo -c")
    v1.image("plain-1024", v1.plain(), "jo -c -v 3", split=False)
    busy = v4.image("busy-4096", v4.busy(), "jo -c")
    v1.image("busy-1024-v2", v1.busy(), "jo -c -v 2", split=False)
    v1.image("busy-1024-nocsum", v1.busy(), "jo")
    old.image("busy-old", old.busy(), "jo")
    wide.image("busy-2048", wide.busy(), "jo")
    # Without metadata_csum that is version 1: one sum a transaction.
    wide.image("plain-2048-v1", wide.plain(), "jo -c")
    for maker, name in ((v4, "4096"), (v1, "1024"), (old, "old")):
        path = maker.image(f"wrapped-{name}", maker.busy(), "jo" if maker is old else "jo -c")
        length = maker.rotate(path, 0)
        maker.rotate(path, length - 40)
        assert maker.judge(path)
    v4.damage(busy, "bad-data", 0, skip=8)  # the first ones are revoked, and nobody looks
    v4.damage(busy, "bad-descriptor", 1)
    v4.damage(busy, "bad-commit", 2, at=50)
    v4.damage(busy, "commit-tail", 2)  # behind its fields: torn, but whole as far as it matters
    v4.damage(busy, "bad-revoke", 5)
    # The end of the log: the last commit block is not there yet.
    torn = v4.plain() + [(v4.wrong(v4.changed[:5]), [], True)]
    path = v4.image("torn-full", torn, "jo -c", check=False)
    v4.damage(path, "torn", 2, skip=-(-len(v4.changed) // v4.most), at=3)
    assert v4.judge(f"{out}/torn.img")
    escaped = Maker(out, "escaped", 4096, [], "escaped")
    escaped.image("escaped-4096", escaped.plain(), "jo -c")
    shutil.copyfile(f"{out}/plain-4096.img", f"{out}/external.img")
    run("debugfs", "-w", "-f", "-", f"{out}/external.img",
        input=b"ssv journal_inum 0\nssv journal_dev 0x701\n")
    shutil.copyfile(f"{out}/busy-1024-nocsum.img", f"{out}/fast-commit.img")
    with open(f"{out}/fast-commit.img", "r+b") as f:
        f.seek(v1.log_blocks(f"{out}/fast-commit.img")[0] * 1024 + 0x2b)
        word = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([word | 0x20]))
    shutil.copyfile(f"{out}/plain-4096.img", f"{out}/bad-super.img")
    with open(f"{out}/bad-super.img", "r+b") as f:
        f.seek(v4.log_blocks(f"{out}/bad-super.img")[0] * 4096 + 0x1b)
        f.write(b"\x77")
