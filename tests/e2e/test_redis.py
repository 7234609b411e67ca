# SPDX-License-Identifier: BSD-2-Clause
"""Redis, unchanged: a server that lives on its allocator, epoll, threads, and forks that share its memory while it goes on
changing it. What it said was kept is there when it was killed and starts again, and what it wrote e2fsck finds sound."""
import random
import re
import socket
import subprocess
import time

import pytest

from conftest import SEED, Tap
from held import Held
from vm import BUILD, PATIENCE, ROOT, make_volume

POOLS = ("process", "task", "address space", "region", "pipe", "program file", "program mapping", "tcp socket", "epoll", "epoll item")
# Told of a change when it is on the disk; a new file of all data and a log of what came after, made by a fork.
CONFIG = """dir /db
bind 0.0.0.0
protected-mode no
appendonly yes
appendfsync always
save ""
"""


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    subprocess.run(["make", "-s", "build/programs/redis-server"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    root = tmp_path_factory.mktemp("redis")
    for name in ("bin", "db"):
        (root / name).mkdir()
    subprocess.run(["cp", "/bin/busybox", f"{BUILD}/programs/redis-server", root / "bin"], check=True)
    (root / "redis.conf").write_text(CONFIG)
    return make_volume(root, str(root) + ".img", size="64M")


@pytest.fixture
def machine(tap, volume):
    with tap.vm([volume], append="write=on cache=unmapped", name="redis", snapshot=False) as vm:
        held = Held(vm, POOLS)
        yield vm
        held.stop()
        assert vm.down() == 0
    subprocess.run(["/usr/sbin/e2fsck", "-fn", volume], check=True, capture_output=True)


class Client:
    """Its protocol: an array of strings there, one answer back."""

    def __init__(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.socket = socket.create_connection((Tap.GUEST, 6379), timeout=PATIENCE)
                break
            except ConnectionRefusedError:  # it is still starting
                assert time.monotonic() < end
                time.sleep(0.1)
        self.file = self.socket.makefile("rb")
        while self.ask("PING") != b"PONG":  # still loading what it has
            assert time.monotonic() < end
            time.sleep(0.1)

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def answer(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        assert kind in (b"+", b":", b"-"), line
        return int(rest) if kind == b":" else rest

    def ask(self, *words):
        self.send(*words)
        return self.answer()

    def info(self, name):
        return re.search(rf"^{name}:(.*?)\r?$", self.ask("INFO").decode(), re.M).group(1)

    def close(self):
        self.file.close()
        self.socket.close()


def start(vm):
    vm.command("LOAD redis-server /redis.conf &")
    return Client()


def fill(client, dice, model, count):
    """Changes, many under way at a time; each is answered when it is on the disk."""
    for _ in range(count):
        key, value = f"key{dice.randrange(500)}", dice.randbytes(dice.choice((3, 100, 3000)))
        model[key] = value
        client.send("SET", key, value)
        client.send("INCR", "count")
        client.send("RPUSH", "list", len(model))
    for _ in range(count):
        assert client.answer() == b"OK"
        assert isinstance(client.answer(), int) and isinstance(client.answer(), int)


def same(client, model, changes):
    assert client.ask("DBSIZE") == len(model) + 2
    keys = sorted(model)
    assert client.ask("MGET", *keys) == [model[key] for key in keys]
    assert client.ask("GET", "count") == b"%d" % changes and client.ask("LLEN", "list") == changes


def test_redis_keeps_what_it_said_was_kept(machine):
    dice, model = random.Random(SEED), {}
    client = start(machine)
    fill(client, dice, model, 300)
    same(client, model, 300)
    assert client.ask("BGREWRITEAOF").startswith(b"Background")  # a fork writes what there was when it began
    fill(client, dice, model, 300)
    assert client.ask("EVAL", "return redis.call('GET', KEYS[1])", 1, "count") == b"600"
    end = time.monotonic() + PATIENCE
    while client.info("aof_rewrite_in_progress") != "0":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert client.info("aof_last_bgrewrite_status") == "ok" and client.info("aof_last_write_status") == "ok"
    machine.command("LOAD busybox killall -9 redis-server")
    assert client.file.read() == b""  # it is gone
    client.close()
    client = start(machine)
    same(client, model, 600)
    assert client.ask("BGSAVE").startswith(b"Background")
    fill(client, dice, model, 100)
    end = time.monotonic() + PATIENCE
    while client.info("rdb_bgsave_in_progress") != "0":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert client.info("rdb_last_bgsave_status") == "ok"
    same(client, model, 700)
    client.close()
