# SPDX-License-Identifier: BSD-2-Clause
"""Uploads that are large in one of two ways: a file whose bytes lie beyond 4 GB (on a sparse volume, so that few bytes
move), and ten thousand small files on several connections, each answer durable. e2fsck and debugfs judge."""
import hashlib
import http.client
import random
import re
import subprocess
import threading

import pytest

from conftest import Tap
from test_write import Site, head, say, status
from vm import PATIENCE, make_volume

FOUR_GB = 1 << 32


@pytest.fixture
def site(tap, tmp_path):
    """A function: a Site on the tap whose volume has that size. mke2fs and the disk image keep holes."""
    def make(size, fill=lambda top: None, **options):
        net = ["-netdev", f"tap,id=net,ifname={tap.name},script=no,downscript=no"]
        made = Site(tmp_path, "24M", f"ip={Tap.GUEST}::{Tap.HOST}:255.255.255.0:pagewire:eth0:off", net=net,
                    address=Tap.GUEST, **options)
        fill(tmp_path / "top")
        make_volume(tmp_path / "top", made.image, size=size)
        return made
    return make


def send(vm, method, path, body, *fields):
    """The status of a request with that body."""
    answer = say(vm, head(method, path, *fields, f"Content-Length: {len(body)}") + body)
    return int(answer.split()[1])


def part(vm, path, first, length):
    client = http.client.HTTPConnection(*vm.peer, timeout=PATIENCE)
    client.request("GET", path, headers={"Range": f"bytes={first}-{first + length - 1}"})
    answer = client.getresponse()
    assert answer.status == 206, answer.status
    body = answer.read()
    client.close()
    return body


def on_disk(image, path, first, length):
    """The bytes of a file, block by block where debugfs says they lie; holes are zeros."""
    blocks = range(first // 4096, (first + length - 1) // 4096 + 1)
    commands = "".join(f"bmap {path} {block}\n" for block in blocks)
    out = subprocess.run(["/usr/sbin/debugfs", "-f", "-", image], input=commands, capture_output=True, text=True).stdout
    places = [int(line.split()[-1]) for line in out.splitlines() if re.fullmatch(r"\d+( \(uninit\))?", line)]
    assert len(places) == len(blocks), out
    data = b""
    with open(image, "rb") as f:
        for place in places:
            f.seek(place * 4096)
            data += f.read(4096) if place else bytes(4096)
    return data[first % 4096:][:length]


def test_a_file_grows_past_four_gigabytes(site, seed):
    """Its end comes to lie behind 2^32 by an append; then bytes on both sides of that are replaced, and read back."""
    rng, start = random.Random(seed), FOUR_GB - 1_000_003

    def fill(top):
        with open(top / "huge", "wb") as f:
            f.truncate(start)  # a hole

    with site("6G", fill) as s:
        vm, more, patch, last = s.vm, rng.randbytes(2_500_000), rng.randbytes(9000), rng.randbytes(777)
        end = start + len(more)
        assert send(vm, "PUT", "/huge", more, f"Content-Range: bytes {start}-{end - 1}/{end}") == 204
        sabre = "Content-Type: application/x-sabredav-partialupdate"
        at = FOUR_GB - 4321
        assert send(vm, "PATCH", "/huge", patch, sabre, f"X-Update-Range: bytes={at}-{at + len(patch) - 1}") == 204
        assert send(vm, "PATCH", "/huge", last, sabre, "X-Update-Range: append") == 204
        # From a place that only the low half of its number would find in the file.
        assert send(vm, "PUT", "/huge", b"x", f"Content-Range: bytes {end - FOUR_GB}-{end - FOUR_GB}/*") == 416
        s.written += len(more) + len(patch) + len(last)
        want = bytearray(b"\0" * 5000 + more + last)
        want[5000 + at - start:5000 + at - start + len(patch)] = patch
        answer = subprocess.run(["curl", "-sSI", vm.url + "/huge"], capture_output=True, text=True).stdout
        assert int(re.search(r"(?i)content-length: (\d+)", answer)[1]) == end + len(last)
        assert part(vm, "/huge", start - 5000, len(want)) == want
        assert part(vm, "/huge", FOUR_GB - 1, 2) == want[5000 + FOUR_GB - 1 - start:][:2]
        assert status(vm, "/huge", "-X", "MOVE", "-H", "Destination: /moved") == 201
        # What has no room is refused by its length, which is more than 32 bits, before any of it comes.
        answer = say(vm, head("PUT", "/new", f"Content-Length: {8 * FOUR_GB + 5}", "Expect: 100-continue"))
        assert answer.startswith(b"HTTP/1.1 507 "), answer
        s.judge()
        assert on_disk(s.image, "/moved", start - 5000, len(want)) == want
        stat = subprocess.run(["/usr/sbin/debugfs", "-R", "stat /moved", s.image], capture_output=True, text=True).stdout
        assert int(re.search(r"Size: (\d+)", stat)[1]) == end + len(last)
        assert int(re.search(r"Blockcount: (\d+)", stat)[1]) * 512 < 8 << 20, "the hole was filled"


def test_ten_thousand_small_files(site, tmp_path, seed):
    """Half of them in one directory, half spread over fifty, on eight connections that are kept."""
    rng, connections = random.Random(seed), 8
    files = {f"/all/{n:04} f": rng.randbytes(rng.randrange(2000)) for n in range(5000)}
    files |= {f"/spread/{n % 50}/{n:04}": rng.randbytes(rng.randrange(9000)) for n in range(5000)}
    names, wrong = sorted(files, key=lambda name: hashlib.sha256(name.encode()).digest()), []

    def upload(mine):
        client = http.client.HTTPConnection(*s.vm.peer, timeout=PATIENCE)
        for name in mine:
            client.request("PUT", name.replace(" ", "%20"), files[name])
            answer = client.getresponse()
            answer.read()
            if answer.status != 201:
                wrong.append((name, answer.status))
        client.close()

    with site("1G") as s:
        for path in ["/all", "/spread", *(f"/spread/{n}" for n in range(50))]:
            assert status(s.vm, path, "-X", "MKCOL") == 201
        threads = [threading.Thread(target=upload, args=(names[n::connections],)) for n in range(connections)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong, wrong[:5]
        s.written += sum(map(len, files.values()))
        assert s.vm.metrics()["pagewire_cache_dirty_pages"] == 0  # all of it was durable before it was answered
        s.judge()
        out = tmp_path / "out"
        out.mkdir()
        for top in "all", "spread":
            subprocess.run(["/usr/sbin/debugfs", "-R", f"rdump /{top} {out}", s.image], check=True, capture_output=True)
        found = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
        assert found == {name[1:] for name in files}
        assert all((out / name[1:]).read_bytes() == data for name, data in files.items())


def test_a_crowd_of_copies_leaves_workers_for_what_they_wait_for(site):
    """More copies at once than there are workers: the journal and write-behind need some of those themselves."""
    with site("400M", lambda top: (top / "f").write_bytes(bytes(1 << 18))) as s:
        clients = []
        for _ in range(200):
            client = http.client.HTTPConnection(*s.vm.peer, timeout=PATIENCE)
            client.request("HEAD", "/f")
            client.getresponse().read()
            clients.append(client)
        for n, client in enumerate(clients):
            client.request("COPY", "/f", headers={"Destination": f"/c{n}"})
        for client in clients:
            answer = client.getresponse()
            answer.read()
            assert answer.status == 201, answer.status
            client.close()
        s.written += len(clients) << 18
        s.judge()
