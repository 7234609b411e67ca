# SPDX-License-Identifier: BSD-2-Clause
"""Clients that change files: curl's uploads of every shape, many clients on one name, full disks, broken bodies. The
judges are the clients themselves, e2fsck and debugfs after DOWN, and the copy counters."""
import hashlib
import http.client
import random
import re
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest

from conftest import Tap, curl, namespace_is_private
from relay import tap_relay
from vm import PATIENCE, VM, make_volume

ANYBODY = "trustee / * ALL\n"
COPY = 'pagewire_copy_bytes_total{site="cache_write"}'
OLD = b"what was there before\n" * 1000


class Site:
    """A volume of its own that clients may change, and the machine on it. written: bytes that the server took."""

    def __init__(self, folder, size, append="", **options):
        top = folder / "top"
        (top / ".pagewire").mkdir(parents=True)
        (top / ".pagewire/users").write_text(ANYBODY)
        (top / "old").write_bytes(OLD)
        self.image = make_volume(top, folder / "sys.img", size=size)
        self.written = 0
        self.vm = VM(disks=[self.image], append=("write=on cache=unmapped " + append).strip(), snapshot=False,
                     name="write", **options)

    def __enter__(self):
        self.vm.__enter__()
        self.before = self.vm.lent()
        return self

    def __exit__(self, kind, value, trace):
        self.vm.__exit__(kind, value, trace)

    def judge(self, files=()):
        """Everything is given back, copied once, and after DOWN e2fsck finds nothing; each of `files` (name: bytes)
        is what debugfs reads."""
        self.vm.assert_returned(self.before, written=self.written)
        assert self.vm.down() == 0, self.vm.serial()[-2000:]
        found = subprocess.run(["/usr/sbin/e2fsck", "-fn", self.image], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout
        for name, want in dict(files).items():
            got = subprocess.run(["/usr/sbin/debugfs", "-R", f'cat "/{name}"', self.image], capture_output=True)
            assert hashlib.sha256(got.stdout).digest() == hashlib.sha256(want).digest(), name


def status(vm, path, *options):
    out = curl("-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", *options, vm.url + path, check=False)
    return int(out.stdout or 0)


def put(site, name, data, *options, folder):
    """curl -T from a file; the status."""
    source = folder / "upload"
    source.write_bytes(data)
    code = status(site.vm, "/" + name, "-T", str(source), *options)
    if code in (201, 204):
        site.written += len(data)
    return code


def put_many(site, files):
    """Each of {name: bytes} on one kept connection."""
    client = http.client.HTTPConnection(*site.vm.peer, timeout=PATIENCE)
    for name, body in files.items():
        client.request("PUT", urllib.parse.quote("/" + name, safe="/%"), body)
        answer = client.getresponse()
        answer.read()
        assert answer.status == 201, (name, answer.status)
        site.written += len(body)
    client.close()


def say(vm, data, piece=None, pause=0.0, timeout=PATIENCE):
    """Bytes on a connection of their own; what came until the server closed."""
    with socket.create_connection(vm.peer, timeout=timeout) as s:
        for at in range(0, len(data), piece or len(data)):
            s.sendall(data[at:at + (piece or len(data))])
            time.sleep(pause)
        out = b""
        while part := s.recv(65536):
            out += part
        return out


def head(method, path, *fields):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *fields, "", ""]).encode()


class OwnTap(Tap):
    """Beside the one of the tap fixture."""

    GUEST, HOST = "10.79.0.2", "10.79.0.1"


@pytest.fixture(scope="module", params=["", "nic=late"], ids=["plain", "late"])
def shared(request, tmp_path_factory):
    """One machine for what needs no volume of its own; judged at the end. On a tap: QEMU's user network now and then
    resets a connection, or stops, when there are hundreds of new ones a second."""
    if not namespace_is_private():
        pytest.skip("wants a network namespace of its own: run it through tools/test e2e")
    wire = OwnTap("tap1")
    word = f"ip={wire.GUEST}::{wire.HOST}:255.255.255.0:pagewire:eth0:off {request.param}"
    net = ["-netdev", f"tap,id=net,ifname={wire.name},script=no,downscript=no"]
    try:
        with Site(tmp_path_factory.mktemp("write"), "1500M", word, mem=256, net=net, address=wire.GUEST) as site:
            site.files = {"old": OLD}
            yield site
            site.judge(site.files)
    finally:
        wire.close()


def test_curl_uploads_of_every_size(shared, seed, tmp_path):
    rng = random.Random(seed)
    for size in [0, 1, 4095, 4096, 4097, 65536, 1 << 20]:
        for way in (["plain"], ["chunked", "-H", "Transfer-Encoding: chunked"], ["no-expect", "-H", "Expect:"]):
            if way[0] == "chunked" and size == 0:
                continue  # curl 7.88 never sends the last chunk of an empty file
            data, name = rng.randbytes(size), f"{way[0]}-{size}"
            assert put(shared, name, data, *way[1:], folder=tmp_path) == 201
            assert shared.vm.get("/" + name) == data
            data = rng.randbytes(size)
            assert put(shared, name, data, *way[1:], folder=tmp_path) == 204
            assert shared.vm.get("/" + name) == data
            shared.files[name] = data


def test_a_large_upload_through_a_small_cache(shared, seed, tmp_path):
    """More bytes than the machine has memory."""
    if "nic=late" in shared.vm.append:
        pytest.skip("once is enough")
    data = random.Random(seed).randbytes(75 << 20) * 4
    assert put(shared, "large", data, folder=tmp_path) == 201
    got = curl(shared.vm.url + "/large").stdout
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    shared.files["large"] = data


def test_an_upload_is_continued_where_it_stopped(shared, seed, tmp_path):
    data = random.Random(seed).randbytes(3_000_000)
    assert put(shared, "resumed", data[:1_234_567], folder=tmp_path) == 201
    (tmp_path / "whole").write_bytes(data)
    assert status(shared.vm, "/resumed", "--continue-at", "1234567", "-T", str(tmp_path / "whole")) == 204
    shared.written += len(data) - 1_234_567
    assert shared.vm.get("/resumed") == data
    assert status(shared.vm, "/resumed", "--continue-at", "1234567", "-T", str(tmp_path / "whole")) == 416
    answer = say(shared.vm, head("PATCH", "/resumed", "Content-Type: application/x-sabredav-partialupdate",
                                 "X-Update-Range: bytes=5-9", "Content-Length: 5") + b"HELLO")
    assert answer.startswith(b"HTTP/1.1 204 "), answer
    shared.written += 5
    shared.files["resumed"] = data[:5] + b"HELLO" + data[10:]
    assert shared.vm.get("/resumed") == shared.files["resumed"]


def test_a_broken_upload_leaves_the_old_file(shared, seed):
    rng = random.Random(seed)
    for n in range(20):
        s = socket.create_connection(shared.vm.peer, timeout=PATIENCE)
        s.sendall(head("PUT", "/old", "Content-Length: 1000000"))
        count = rng.randrange(300000)
        s.sendall(rng.randbytes(count))
        if n % 2:
            time.sleep(0.05)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    deadline = time.monotonic() + PATIENCE
    while (values := shared.vm.metrics())["pagewire_http_uploads"] or values["pagewire_http_held_buffers"]:
        assert time.monotonic() < deadline, "uploads of clients that are gone"
        time.sleep(0.1)
    assert shared.vm.get("/old") == OLD
    shared.written = int(shared.vm.metrics()[COPY])  # as many as had come


def test_framing_that_two_servers_might_read_differently(shared):
    """Each ends in one answer and a closed connection, and what is smuggled behind is not served."""
    smuggled = b"DELETE /old HTTP/1.1\r\nHost: x\r\n\r\n"
    for fields, body in [
            (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
            (["Content-Length: 5", "Content-Length: 6"], b"hello"),
            (["Content-Length: +5"], b"hello"),
            (["Content-Length: 5, 5"], b"hello"),
            (["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], b"0\r\n\r\n"),
            (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"5\nhello\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"5 \r\nhello\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"0x5\r\nhello\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"5\r\nhello!\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"ffffffffffffffff0\r\nhello"),
            (["Transfer-Encoding : chunked"], b"0\r\n\r\n")]:
        request = "\r\n".join(["PUT /smuggle HTTP/1.1", "Host: x", *fields, "", ""]).encode()
        answer = say(shared.vm, request + body + smuggled)
        assert re.match(rb"HTTP/1\.1 (400|501) ", answer), (fields, body, answer)
        assert answer.count(b"HTTP/1.1 ") == 1, (fields, body, answer)
        assert status(shared.vm, "/smuggle") == 404
    assert shared.vm.get("/old") == OLD
    shared.written = int(shared.vm.metrics()[COPY])  # a part of a broken chunk may have come


def test_continue_and_final_answers(shared):
    """100 when the body will be taken; the final answer at once when it will not."""
    for path, want in [("/expected", b"HTTP/1.1 100 Continue\r\n\r\n"), ("/none/x", b"HTTP/1.1 409 "),
                       ("/.pagewire/users", b"HTTP/1.1 405 ")]:
        with socket.create_connection(shared.vm.peer, timeout=PATIENCE) as s:
            s.sendall(head("PUT", path, "Content-Length: 5", "Expect: 100-continue"))
            assert s.recv(65536).startswith(want)
            if want[9:12] == b"100":
                s.sendall(b"hello")
                assert s.recv(65536).startswith(b"HTTP/1.1 201 ")
    shared.written += 5
    shared.files["expected"] = b"hello"


def test_collections_copies_and_moves(shared, seed, tmp_path):
    vm, data = shared.vm, random.Random(seed).randbytes(100_000)
    for path in ["/t", "/t/a", "/t/a/ü%20b", "/t/c"]:
        assert status(vm, path, "-X", "MKCOL") == 201
    names = [f"t/a/f{n}" for n in range(200)] + ["t/a/ü%20b/deep"]
    files = {name: data[:n * 25] for n, name in enumerate(names)}
    put_many(shared, files)
    assert status(vm, "/t/a", "-X", "COPY", "-H", "Destination: /t/b") == 201
    shared.written += sum(map(len, files.values()))
    for name in names[::10] + names[-1:]:
        quoted = urllib.parse.quote("/" + name.replace("t/a", "t/b", 1), safe="/%")
        assert vm.get(quoted) == files[name]
    assert status(vm, "/t/a", "-X", "MOVE", "-H", f"Destination: {vm.url}/t/c", "-H", f"Host: {vm.url[7:]}") == 204
    assert status(vm, "/t/a") == 404
    assert status(vm, "/t/c/f1") == 200
    assert status(vm, "/t/b", "-X", "DELETE") == 204
    assert status(vm, "/t/c", "-X", "MOVE", "-H", "Destination: /t/c/x") == 403
    assert status(vm, "/t", "-X", "DELETE") == 204
    assert status(vm, "/t/") == 404


def test_conditions_let_one_of_many_writers_through(shared, tmp_path):
    """Optimistic locking: of clients that all saw the same version exactly one may replace it."""
    vm, results = shared.vm, []
    assert put(shared, "contended", b"0", folder=tmp_path) == 201
    for round_ in range(5):
        etag = re.search(rb"(?i)etag: (\S+)", curl("-I", vm.url + "/contended").stdout)[1].decode()

        def writer(n):
            body = f"{round_} {n}".encode()
            answer = say(vm, head("PUT", "/contended", f"If-Match: {etag}", f"Content-Length: {len(body)}") + body)
            results.append((int(answer.split()[1]), body))

        threads = [threading.Thread(target=writer, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        won = [body for code, body in results if code == 204]
        assert len(won) == 1 and sorted({code for code, _ in results}) == [204, 412], results
        assert vm.get("/contended") == won[0]
        shared.files["contended"] = won[0]
        results.clear()
    shared.written = int(vm.metrics()[COPY])  # those that were refused late had been taken


def version(n, rng_seed):
    """One version of the file that all write: its number, and bytes that only this version has."""
    rng = random.Random(rng_seed * 1_000_003 + n)
    return n.to_bytes(8, "big") + rng.randbytes(rng.randrange(200_000))


def hammer(vm, seed, seconds, writers=4, readers=6):
    """Many clients write, read and delete one name for so long, and on a slow machine until there were some of each.
    Every answer is one version whole, or 404."""
    start, wrong, counts = time.monotonic(), [], {"reads": 0, "writes": 0, "bytes": 0}
    lock = threading.Lock()

    def enough():
        lasted = time.monotonic() - start
        return lasted > PATIENCE or (lasted > seconds and counts["reads"] > 5 and counts["writes"] > 5)

    def guarded(fn, *args):
        try:
            while not enough() and not wrong:
                fn(*args)
        except Exception as e:  # noqa: BLE001: told by the test
            wrong.append(repr(e))

    def write(rng):
        n = rng.getrandbits(40)
        body = version(n, seed)
        if rng.random() < 0.1:
            answer = say(vm, head("DELETE", "/v"))
            assert answer[9:12] in (b"204", b"404"), answer
            return
        answer = say(vm, head("PUT", "/v", f"Content-Length: {len(body)}") + body)
        assert answer[9:12] in (b"201", b"204"), answer
        with lock:
            counts["writes"] += 1
            counts["bytes"] += len(body)

    def read():
        answer = say(vm, head("GET", "/v"))
        top, _, body = answer.partition(b"\r\n\r\n")
        if answer[9:12] != b"404":
            assert answer[9:12] == b"200", answer[:200]
            assert int(re.search(rb"(?i)content-length: (\d+)", top)[1]) == len(body)
            assert body == version(int.from_bytes(body[:8], "big"), seed), "a mixture of versions"
        with lock:
            counts["reads"] += 1

    threads = [threading.Thread(target=guarded, args=(write, random.Random(seed + n))) for n in range(writers)]
    threads += [threading.Thread(target=guarded, args=(read,)) for _ in range(readers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong
    assert counts["reads"] > 5 and counts["writes"] > 5, counts
    return counts["bytes"]


@pytest.mark.parametrize("mode", ["", "nic=late"], ids=["plain", "late"])
def test_readers_and_writers_of_one_name(tap, tmp_path, seed, mode):
    """Past QEMU's user network, which resets connections of its own when they come and go this fast."""
    word = f"ip={Tap.GUEST}::{Tap.HOST}:255.255.255.0:pagewire:eth0:off {mode}"
    net = ["-netdev", f"tap,id=net,ifname={tap.name},script=no,downscript=no"]
    with Site(tmp_path, "300M", word, net=net, address=Tap.GUEST) as site:
        site.written += hammer(site.vm, seed, 6)
        site.judge({"old": OLD})


def test_readers_and_writers_behind_a_lossy_wire(tap, tmp_path, seed):
    """The host's own TCP is the client: QEMU's user network may stop sending for good after a lost ACK."""
    with tap_relay(tap.name, seed, drop=0.01, double=0.01, reorder=0.02, corrupt=0.005) as (net, between):
        word = f"ip={Tap.GUEST}::{Tap.HOST}:255.255.255.0:pagewire:eth0:off nic=late"
        with Site(tmp_path, "300M", word, net=net, address=Tap.GUEST) as site:
            site.written += hammer(site.vm, seed, 10, writers=3, readers=4)
            site.judge({"old": OLD})
        assert between.done()["drop"] > 0


def test_a_full_volume_says_507_and_stays_whole(tmp_path, seed):
    rng = random.Random(seed)
    with Site(tmp_path, "24M", mem=128) as site:
        files, codes = {"old": OLD}, []
        for n in range(60):
            data = rng.randbytes(rng.randrange(3_000_000))
            way = ["-H", "Transfer-Encoding: chunked"] if n % 2 else []
            code = put(site, f"f{n}", data, *way, folder=tmp_path)
            codes.append(code)
            if code == 201:
                files[f"f{n}"] = data
            if len([c for c in codes if c != 201]) > 6:
                break
        assert set(codes) == {201, 507}, codes
        for name, data in files.items():
            assert site.vm.get("/" + name) == data
        # Room again, and it can be used.
        gone = [name for name in files if name != "old"][:3]
        for name in gone:
            assert status(site.vm, "/" + name, "-X", "DELETE") == 204
            del files[name]
        assert put(site, "after", b"room", folder=tmp_path) == 201
        files["after"] = b"room"
        site.written = int(site.vm.metrics()[COPY])
        site.judge(files)


def throttle(vm, rate):
    """Bytes a second that its disk can be written; 0: any."""
    vm.qmp("block_set_io_throttle", device="d0", bps=0, bps_rd=0, bps_wr=rate, iops=0, iops_rd=0, iops_wr=0)


def upload_to_a_slow_disk(site, name, data, rate, folder):
    """Reads beside an upload to a disk of that rate, until it was held back or is done: the slowest read, how many
    there were, and the most receive buffers held."""
    done, slow, slowest, reads, held = [], True, 0.0, 0, 0
    throttle(site.vm, rate)
    upload = threading.Thread(target=lambda: done.append(put(site, name, data, folder=folder)))
    upload.start()
    while upload.is_alive():
        begun = time.monotonic()
        assert site.vm.get("/old") == OLD
        slowest = max(slowest, time.monotonic() - begun)
        reads += 1
        values = site.vm.metrics()
        held = max(held, values["pagewire_http_held_buffers"])
        if slow and reads > 20 and values["pagewire_http_uploads_held_back_total"]:
            throttle(site.vm, 0)
            slow = False
        time.sleep(0.02)
    upload.join()
    assert done == [201]
    return slowest, reads, held


def test_a_big_upload_does_not_starve_readers(tmp_path, seed):
    """A disk slower than the client: the upload waits, its window closes, others are served from memory at once. What
    is slow depends on the host: where the upload was never held back, the next disk is slower."""
    data, files = random.Random(seed).randbytes(40_000_000), {"old": OLD}
    with Site(tmp_path, "300M", mem=64) as site:
        site.vm.get("/old")
        for rate in (2_000_000, 500_000, 125_000):
            files[f"big{rate}"] = data
            slowest, reads, held = upload_to_a_slow_disk(site, f"big{rate}", data, rate, tmp_path)
            assert held <= 256, held
            if site.vm.metrics()["pagewire_http_uploads_held_back_total"]:
                break
        else:
            raise AssertionError("the disk was not slow enough")
        assert reads > 20, reads
        print(f"slowest read beside the upload {slowest:.3f} s of {reads}, {held} buffers held, {rate} bytes a second")
        throttle(site.vm, 0)
        site.judge(files)


def test_going_down_in_the_middle_of_uploads(tmp_path, seed):
    """What is whole stays, what is not is gone, and the volume is clean."""
    with Site(tmp_path, "200M", mem=128) as site:
        data = random.Random(seed).randbytes(500_000)
        assert put(site, "whole", data, folder=tmp_path) == 201
        clients = []
        for n in range(8):
            s = socket.create_connection(site.vm.peer, timeout=PATIENCE)
            s.sendall(head("PUT", "/old" if n % 2 else f"/new{n}", "Content-Length: 9000000") + data)
            clients.append(s)
        end = time.monotonic() + PATIENCE
        while site.vm.metrics()["pagewire_http_received_bytes_total"] < 9 * len(data):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert site.vm.down() == 0
        for s in clients:
            s.close()
        found = subprocess.run(["/usr/sbin/e2fsck", "-fn", site.image], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout
        names = subprocess.run(["/usr/sbin/debugfs", "-R", "ls -p /", site.image], capture_output=True, text=True)
        assert "/whole/" in names.stdout and "/new" not in names.stdout
        got = subprocess.run(["/usr/sbin/debugfs", "-R", "cat /old", site.image], capture_output=True)
        assert got.stdout == OLD


def test_a_client_of_tiny_segments_holds_few_buffers(tap, tmp_path):
    """Behind an answer that it does not take it may hold 256 receive buffers; TCP keeps the rest with the client."""
    top = tmp_path / "top"
    top.mkdir()
    (top / "big").write_bytes(bytes(1_500_000))
    (top / "one").write_bytes(b"1")
    with tap.vm([make_volume(top, tmp_path / "sys.img")]) as vm:
        before = vm.lent()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)  # the least that Linux allows
            s.settimeout(PATIENCE)
            s.connect(vm.peer)
            s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            s.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)  # about 370 segments
            end = time.monotonic() + PATIENCE
            while not (values := vm.metrics())["pagewire_http_held_refused_total"]:
                assert time.monotonic() < end, values["pagewire_http_held_buffers"]
            assert 200 < values["pagewire_http_held_buffers"] <= 256
            s.sendall(head("GET", "/one"))
            out = bytearray()
            while part := s.recv(1 << 20):
                out += part
        assert out.count(b"HTTP/1.1 200 OK") == 1002 and out.endswith(b"\r\n1"), len(out)
        vm.assert_returned(before)


def test_without_write_on_nothing_can_be_changed(tmp_path):
    (tmp_path / "top").mkdir()
    (tmp_path / "top/old").write_bytes(OLD)
    image = make_volume(tmp_path / "top", tmp_path / "sys.img")
    digest = hashlib.sha256(open(image, "rb").read()).digest()
    with VM(disks=[image], append="cache=unmapped", snapshot=False, name="read-only") as vm:
        for method in ["PUT", "DELETE", "MKCOL", "PATCH", "COPY", "MOVE"]:
            answer = say(vm, head(method, "/old", "Content-Length: 0", "Destination: /x"))
            assert answer.startswith(b"HTTP/1.1 405 "), answer
            assert b"\r\nAllow: GET, HEAD, OPTIONS" in answer and b"PUT" not in answer
        assert vm.get("/old") == OLD
        assert vm.down() == 0
    assert hashlib.sha256(open(image, "rb").read()).digest() == digest
