# SPDX-License-Identifier: BSD-2-Clause
"""The rules of the house that a machine can check: who may include whom, sizes, style, documents."""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Code is kept to 100 columns by clang-format; comments may be a little wider.
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_COLUMNS = 500, 70, 120

MAY_INCLUDE = {
    "kernel": {"kernel"},
    "drivers": {"kernel", "drivers"},
    "fs": {"kernel", "fs"},
    "net": {"kernel", "net", "lwip", "netif", "arch"},
    "server": {"kernel", "fs", "net", "lwip", "server"},
}
# The one file that may name every layer.
EXEMPT = {"kernel/main.c"}
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "stdarg.h", "stdatomic.h", "limits.h"}
# Headers of the password hashes that are fetched (server/crypto/crypto.mk).
FETCHED = {"argon2.h", "encoding.h", "blake2.h", "bearssl_hash.h"}
# Where file bytes pass: no function here may copy memory.
DATA_PATH = ["drivers/e1000_rx.c", "drivers/e1000_tx.c", "drivers/e1000_straight.c", "drivers/e1000_put.h",
             "drivers/e1000_done.c", "net/netdev.c", "net/flow.c", "net/answer_now.c",
             "net/lwip/tcp_straight_send.c", "fs/pagecache.c", "fs/pagecache_run.c", "server/http_send.c", "server/http_upload.c", "server/http_held.c",
             "server/http_copy.c", "drivers/ahci_queue.c", "kernel/block.c", "net/straight.c",
             "net/lwip/tcp_straight.c", "kernel/page.c",
             "fs/pagecache_get.c", "fs/pagecache_read.c", "fs/pagecache_frame.c", "fs/pagecache_ahead.c",
             "fs/pagecache_write.c", "fs/pagecache_refill.c", "fs/pagecache_truncate.c", "fs/pagecache_dirty.c",
             "fs/pagecache_writeback.c", "fs/pagecache_command.c"]


def tracked():
    """Files of the project: tracked by git, or new and not ignored."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                         capture_output=True, text=True).stdout
    return sorted(f for f in out.splitlines() if os.path.isfile(os.path.join(ROOT, f)))


FILES = tracked()
C_FILES = [f for f in FILES if f.endswith((".c", ".h"))]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def layer(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "include" else parts[0]


@pytest.mark.parametrize("path", [f for f in C_FILES if layer(f) in MAY_INCLUDE and f not in EXEMPT])
def test_includes_follow_the_layers(path):
    here = os.path.dirname(os.path.join(ROOT, path))
    for kind, name in re.findall(r'^\s*#\s*include\s*(["<])([^">]+)[">]', read(path), re.M):
        if kind == "<" or "/" not in name:
            host_side = "PAGEWIRE_HOST" in read(path) or path.startswith("net/lwip/")
            beside = any(os.path.exists(os.path.join(d, name)) for d in (here, os.path.join(ROOT, "net/lwip")))
            assert name in FREESTANDING or beside or host_side or name in FETCHED, (
                f"{path} includes {name}")
            continue
        assert name.split("/")[0] in MAY_INCLUDE[layer(path)], f"{path} includes {name}"


def functions(text):
    """(name, number of lines) of each function: a '{' in column 0 up to the next '}' in column 0."""
    start, name, previous = None, None, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("{") and start is None:
            start, name = number, previous.strip()
        elif line.startswith("}") and start is not None:
            yield name, number - start + 1
            start = None
        if line.strip():
            previous = line


@pytest.mark.parametrize("path", C_FILES)
def test_sizes_stay_readable(path):
    lines = read(path).splitlines()
    assert len(lines) <= MAX_FILE_LINES, f"{path} has {len(lines)} lines"
    for number, line in enumerate(lines, 1):
        assert len(line.expandtabs(8)) <= MAX_COLUMNS, f"{path}:{number} is too wide"
    for name, length in functions(read(path)):
        assert length <= MAX_FUNCTION_LINES, f"{path}: {name} has {length} lines"


SOURCE = (".c", ".h", ".asm", ".py", ".mk", ".ld", ".sh", ".gdb", ".patch")


@pytest.mark.parametrize("path", [f for f in FILES if f.endswith(SOURCE) or f in ("Makefile",)])
def test_licence_line(path):
    head = "\n".join(read(path).splitlines()[:6])
    assert "SPDX-License-Identifier: BSD-2-Clause" in head or path.endswith(".patch")


@pytest.mark.parametrize("path", [f for f in FILES if f.endswith(SOURCE)])
def test_nothing_is_left_for_later_unsaid(path):
    if path.startswith("tests/tidy/"):
        return
    for match in re.finditer(r'(?<!")\b(TODO|FIXME|XXX)\b(?!")(.*)', read(path)):
        note = match.group(2).strip(" :")
        assert note and note in read("docs/caveats.md"), f"{path}: {match.group(0)}"


def test_format():
    ours = [f for f in C_FILES if not f.startswith("tests/fuzz/corpus")]
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *ours], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("path", DATA_PATH)
def test_no_copy_on_the_data_path(path):
    assert os.path.exists(os.path.join(ROOT, path)), f"{path} has gone: name its successor here"
    code = re.sub(r"//.*", "", read(path))
    code = re.sub(r".*->mac, .*", "", code)  # a card's own address is not a file's
    assert not re.search(r"\b(memcpy|memmove|__builtin_memcpy|__builtin_memmove|bcopy)\s*\(", code)


# Who may call what moves bytes between a program and the kernel: payload only through the stream head's copies.
CROSSES = {
    r"user_step_(in|out)|user_move": {"kernel/stream.c", "kernel/usercopy.c"},
    r"user_(read|write)_now": {"kernel/stream.c", "kernel/usercopy.c", "kernel/futex.c"},
    r"stream_copy_in_now": {"kernel/stream.c", "fs/userfile_write.c"},  # for copy_cache_write, which counts it
}
# What system calls are told and answer; makers of streams may ask for no more than a structure or a byte.
PAYLOAD = [f for f in FILES if f.endswith(".c") and (layer(f) in ("net", "fs", "server", "drivers") or f in (
    "kernel/pipe.c", "kernel/local_message.c", "kernel/local.c", "kernel/message.c", "kernel/device.c", "kernel/tty.c",
    "kernel/procfs.c", "kernel/syscall_splice.c"))]


@pytest.mark.parametrize("path", [f for f in C_FILES if layer(f) in MAY_INCLUDE])
def test_payload_crosses_at_the_stream_head_only(path):
    for calls, who in CROSSES.items():
        found = re.findall(rf"\b(?:{calls})\(", read(path)) if path.endswith(".c") else []
        assert path in who or not found, (path, calls)
    if path in PAYLOAD:
        for arguments in re.findall(r"\buser_(?:read|write|zero)\(([^;]*)\)", read(path)):
            assert re.search(r", 1$", arguments), (path, arguments)


def test_one_place_opens_smap():
    assert [f for f in FILES if f.endswith((".asm", ".c", ".inc")) and re.search(r"\bstac\b", read(f).split("*/")[0]
                                                                               if f.endswith(".c") else read(f))
            and not f.startswith("tests/")] == ["kernel/user.asm"]


def pairs(document):
    """(function, file) for each `function()` that stands after a `dir/file.c` in the same table cell or
    line, the nearest file before it."""
    for line in read(document).splitlines():
        path = None
        for token in re.findall(r"`([^`]+)`", line):
            if re.fullmatch(r"[\w./-]+\.(c|h|asm|patch)", token):
                path = token
            elif re.fullmatch(r"\w+\(\)", token):
                assert path, f"{document}: {token} stands without its file: {line}"
                yield token[:-2], path


@pytest.mark.parametrize("document", ["docs/read-path.md", "docs/write-path.md", "docs/journal.md"])
def test_documents_name_real_functions(document):
    found = list(pairs(document))
    assert len(found) >= 12, f"{document} names only {len(found)} functions"
    for function, path in found:
        assert os.path.exists(os.path.join(ROOT, path)), f"{document}: no file {path}"
        definition = rf"^[+\w].*\b{function}\s*\(" if not path.endswith(".asm") else rf"^{function}:"
        assert re.search(definition, read(path), re.M), f"{document}: {function} is not in {path}"


def test_no_merge_is_half_done():
    found = subprocess.run(["git", "grep", "-InE", "^(<{7}|>{7}) "], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1, found.stdout + found.stderr


def test_no_two_patches_of_lwip_have_one_number():
    numbers = [os.path.basename(f)[:2] for f in FILES if re.match(r"net/lwip/patches/.*\.patch$", f)]
    assert numbers and sorted(n for n in set(numbers) if numbers.count(n) > 1) == []


def test_documents_are_there():
    for name in ["ARCHITECTURE", "read-path", "write-path", "journal", "durability", "locks", "HACKING", "benchmarks", "caveats"]:
        assert f"docs/{name}.md" in FILES


def test_every_lock_rank_is_documented():
    ranks = re.findall(r"^\s*(RANK_\w+)\s*=", read("include/kernel/lock.h"), re.M)
    table = read("docs/locks.md")
    assert ranks and [r for r in ranks if f"`{r}`" not in table] == []


def test_every_system_call_is_in_the_document():
    out = subprocess.run(["tools/abi-table"], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr


def test_every_command_line_word_is_in_the_readme():
    words = []
    for path in [f for f in C_FILES if not f.startswith("tests/")]:
        words += re.findall(r'CMDLINE_OPTION\(\s*\w+,\s*"([\w.-]+)"', read(path))
    assert words
    text = read("README.md") + read("docs/HACKING.md")
    assert [w for w in sorted(set(words)) if not re.search(rf"`{w}[=`]", text)] == []


def test_the_project_contains_no_copy_of_its_dependencies():
    for path in C_FILES:
        text = read(path)
        assert "Swedish Institute of Computer Science" not in text, path
        assert "Permission is hereby granted" not in text, path
