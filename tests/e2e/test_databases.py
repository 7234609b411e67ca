# SPDX-License-Identifier: BSD-2-Clause
"""SQLite and Lua, unchanged: a database on a volume, written in transactions with fsync, by one process and by several at once
under record locks or through a write-ahead log whose index they share as mapped memory, with crashes in between (SQLite's
own tester of that, mptest), and read again by this machine's SQLite from the volume; a language that lives on its allocator, files and the clock."""
import os
import re
import sqlite3
import subprocess

import pytest

from held import Held
from vm import BUILD, PATIENCE, ROOT, VM, make_volume

POOLS = ("process", "task", "address space", "region", "pipe", "file lock", "program file", "program mapping", "shared memory")
ROWS = 2000
FILL = f"""create table t(n integer primary key, word text, noise blob);
create index words on t(word);
begin;
with recursive c(n) as (select 1 union all select n + 1 from c where n < {ROWS})
insert into t select n, 'word ' || (n * 7919 % 1000), randomblob(n % 300) from c;
commit;
update t set word = 'even' where n % 2 = 0;
delete from t where n % 5 = 0;
begin; delete from t; rollback;
pragma integrity_check;
select count(*), sum(n), count(distinct word) from t;
"""
# One transaction each, so that several of them really wait for each other.
COUNT = "pragma busy_timeout=600000;\n" + "update counter set n = n + 1;\n" * 20
# What a reader must never see half of.
STEP = "begin immediate; update pair set a = a + 1; insert into log values(randomblob(700)); update pair set b = b - 1; commit;"
SCRIPTS = {
    "fill": "sqlite3 /db/$1.db < /fill.sql",
    "together": """sqlite3 /db/many.db 'create table counter(n); insert into counter values(0)'
for n in 1 2 3; do sqlite3 /db/many.db < /count.sql > /dev/null & done; wait
sqlite3 /db/many.db 'select n from counter; pragma integrity_check'""",
    "several": "cd /db; mptester $1.db /mptest/$1.test --journalmode $2 > /db/$1.out 2>&1; tail -n 2 /db/$1.out",
    "wal": """cd /db
reach() { while [ $n -lt $1 ]; do
set -- $1 $(sqlite3 -separator ' ' -cmd '.timeout 600000' wal.db 'select a, a + b from pair'); n=$2; [ $3 = 0 ] || echo torn $3
done; }
write() { yes "$STEP" | sqlite3 -cmd '.timeout 600000' -cmd 'pragma wal_autocheckpoint=20' wal.db > /dev/null & }
sqlite3 wal.db 'pragma journal_mode=wal; create table log(noise); create table pair(a, b); insert into pair values(0, 0)'
n=0; write; first=$!; write; second=$!
reach 60; kill -9 $first; wait $first; reach $((n + 40)); kill -9 $second; wait; echo stopped""",
    "recover": """cd /db; sqlite3 wal.db 'pragma journal_mode; pragma integrity_check; select a + b, a from pair; select count(*) from log;
pragma wal_checkpoint(truncate)'""",
}
SCRIPTS["wal"] = "STEP='" + STEP + "'\n" + SCRIPTS["wal"]
LUA = """local f <close> = assert(io.open("/db/lines", "w"))
local sum = 0
for n = 1, 20000 do f:write(n, "\\n") sum = sum + n end
f:close()
local t, co = {}, coroutine.wrap(function() for l in io.lines("/db/lines") do coroutine.yield(tonumber(l)) end end)
for n in co do t[#t + 1] = n; sum = sum - n end
table.sort(t, function(a, b) return a > b end)
collectgarbage()
local p <close> = assert(io.popen("echo from a shell"))
print(sum, #t, t[1], p:read("l"), os.rename("/db/lines", "/db/moved"), os.remove("/db/moved"), io.open("/db/lines"))
print(string.format("%.3f %s", math.pi, ("x"):rep(3)), os.time{year=2026, month=1, day=1, hour=12} > 1e9, pcall(error, "caught"))
"""


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    subprocess.run(["make", "-s", "build/programs/sqlite/.ready", "build/programs/lua"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    root = tmp_path_factory.mktemp("databases")
    for name in ("bin", "db", "mptest", "tmp"):
        (root / name).mkdir()
    sqlite = os.path.join(BUILD, "programs", "sqlite")
    subprocess.run(["cp", "/bin/busybox", f"{sqlite}/sqlite3", f"{sqlite}/mptester", f"{BUILD}/programs/lua", root / "bin"], check=True)
    subprocess.run(["cp", *(f"{sqlite}/{n}" for n in os.listdir(sqlite) if n.endswith("test")), root / "mptest"], check=True)
    for name in ("sh", "tail", "echo", "yes"):
        os.symlink("busybox", root / "bin" / name)
    for name, text in SCRIPTS.items():
        (root / f"{name}.sh").write_text(text + "\n")
    (root / "fill.sql").write_text(FILL)
    (root / "count.sql").write_text(COUNT)
    (root / "try.lua").write_text(LUA)
    return make_volume(root, str(root) + ".img", size="96M")


@pytest.fixture
def machine(volume, tmp_path):
    """Its clock goes by instructions, and no flush of its disk waits for the host's: who waits for a lock waits for those,
    whatever the host does. Afterwards e2fsck finds the volume sound."""
    image = tmp_path / "databases.img"
    subprocess.run(["cp", "--sparse=always", volume, image], check=True)
    with VM(disks=[f"file={image},format=raw,cache=unsafe"], name="databases", append="write=on cache=unmapped", snapshot=False, extra=["-icount", "shift=3"]) as vm:
        vm.image = image
        held = Held(vm, POOLS)
        yield vm
        held.back()
        assert vm.down() == 0
    subprocess.run(["/usr/sbin/e2fsck", "-fn", image], check=True, capture_output=True)


def said(vm, line):
    return vm.command("LOAD " + line, 4 * PATIENCE).replace("\x1b[K", "").split("\n", 1)[1]


def rows(vm, name, tmp_path):
    """The database as this machine's SQLite finds it."""
    path = tmp_path / name
    path.write_bytes(vm.get(f"/db/{name}"))
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        return db.execute("select count(*), sum(n), count(distinct word) from t").fetchone()


def expected():
    with sqlite3.connect(":memory:") as db:
        db.executescript(FILL.split("begin; delete")[0])
        return db.execute("select count(*), sum(n), count(distinct word) from t").fetchone()


def test_sqlite_keeps_a_database(machine, tmp_path):
    out = said(machine, "sh /fill.sh one")
    assert "ok" in out.split() and "|".join(map(str, expected())) in out, out
    assert rows(machine, "one.db", tmp_path) == expected()


def test_sqlite_processes_at_once_count_every_transaction(machine):
    out = said(machine, "sh /together.sh")
    assert out.split()[:2] == ["60", "ok"], out


@pytest.mark.parametrize("script, journal", [("multiwrite01", "DELETE"), ("crash01", "DELETE"), ("multiwrite01", "TRUNCATE"),
                                             ("multiwrite01", "WAL"), ("crash01", "WAL")])
def test_sqlite_s_own_tester_of_several_processes(machine, script, journal):
    out = said(machine, f"sh /several.sh {script} {journal}")
    assert re.search(r"Summary: 0 errors out of \d+ tests", out), out + machine.get(f"/db/{script}.out").decode(errors="replace")[-3000:]


def test_sqlite_s_write_ahead_log_outlives_writers_that_are_killed(machine, tmp_path):
    out = said(machine, "sh /wal.sh")
    assert out.split()[0] == "wal" and "stopped" in out.split() and "torn" not in out and "rror" not in out, out
    # The index is there, and as the writers left it in their mappings: its version (the WAL format's 3007000), twice.
    index = machine.get("/db/wal.db-shm")
    assert len(index) % 32768 == 0 and [int.from_bytes(index[at:at + 4], "little") for at in (0, 48)] == [3007000, 3007000]
    for name in ("wal.db", "wal.db-wal"):
        (tmp_path / name).write_bytes(machine.get(f"/db/{name}"))
    with sqlite3.connect(tmp_path / "wal.db") as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        a, b, count = db.execute("select a, b, (select count(*) from log) from pair").fetchone()
    assert a == -b == count >= 100
    assert said(machine, "sh /recover.sh").split()[:5] == ["wal", "ok", f"0|{a}", str(a), "0|0|0"]


def test_lua_runs(machine):
    out = said(machine, "lua /try.lua").split("\n")
    assert out[0].split("\t")[:6] == ["0", "20000", "20000", "from a shell", "true", "true"] and "No such file" in out[0], out
    assert out[1].split("\t") == ["3.142 xxx", "true", "false", "caught"], out
