# SPDX-License-Identifier: BSD-2-Clause
"""What a client sees: bytes, names, ranges, listings. Judged by curl, wget, a browser and by reading the tree."""
import email
import email.policy
import hashlib
import itertools
import json
import os
import random
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from conftest import SIZES, curl, digest
from vm import PATIENCE


def quoted(path):
    return urllib.parse.quote_from_bytes(os.fsencode(path))


def all_files(tree):
    for folder, _, names in os.walk(os.fsencode(tree)):
        for name in names:
            full = os.path.join(folder, name)
            if not os.path.islink(full) and os.path.getsize(full) < 100 << 20:
                yield full, os.path.relpath(full, os.fsencode(tree))


def raw(vm, data, timeout=PATIENCE):
    """Sends bytes, reads until the server closes."""
    with socket.create_connection(vm.peer, timeout=timeout) as s:
        s.sendall(data)
        out = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                return out
            out += piece


def responses(data):
    """Splits a stream of responses with Content-Length into (status, headers, body)."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        found.append((int(lines[0].split()[1]), headers, rest[:length]))
        data = rest[length:]
    return found


def test_every_file_byte_for_byte_by_curl(vm, tree, tmp_path):
    """Thousands of files on kept-alive connections, each compared with its source."""
    config, expected = tmp_path / "curl.conf", []
    with open(config, "w") as f:
        for n, (full, relative) in enumerate(all_files(tree)):
            f.write(f'url = "{vm.url}/{quoted(relative)}"\noutput = "{tmp_path}/{n}"\n')
            expected.append((full, n))
    assert len(expected) > 2000
    done = curl("-f", "--path-as-is", "-K", str(config), "--max-time", str(4 * PATIENCE), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for full, n in expected:
        assert digest(tmp_path / str(n)) == digest(full), full


def test_the_listings_lead_to_every_file_by_wget(vm, tree, tmp_path):
    subprocess.run(["wget", "-q", "-r", "-np", "-nH", "-e", "robots=off", "--reject-regex", r"\?|sparse", "-P",
                    str(tmp_path), f"{vm.url}/d0/", f"{vm.url}/d1/"], check=True, timeout=PATIENCE)
    for d in ("d0", "d1"):
        for name in os.listdir(tree / d / "sub"):
            assert digest(tmp_path / d / "sub" / name) == digest(tree / d / "sub" / name)


@pytest.mark.parametrize("size", SIZES)
def test_content_length_and_head_agree_with_the_file(vm, size):
    head = curl("-I", f"{vm.url}/size-{size}.bin").stdout.decode()
    assert re.search(rf"(?i)content-length: {size}\r", head) and "200" in head.split("\r")[0]


def test_a_sparse_file_of_more_than_a_gigabyte(vm, tree):
    with urllib.request.urlopen(f"{vm.url}/sparse.bin", timeout=PATIENCE) as answer:
        mine = hashlib.sha256()
        while piece := answer.read(1 << 20):
            mine.update(piece)
    assert mine.hexdigest() == digest(tree / "sparse.bin")


def test_random_ranges_against_an_oracle(vm, tree, seed):
    rng = random.Random(seed)
    data = (tree / "size-1048577.bin").read_bytes()
    with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
        for _ in range(150):
            a, b = sorted(rng.randrange(len(data)) for _ in range(2))
            kind = rng.randrange(3)
            spec, want = [(f"{a}-{b}", data[a:b + 1]), (f"{a}-", data[a:]),
                          (f"-{b - a + 1}", data[-(b - a + 1):])][kind]
            s.sendall(f"GET /size-1048577.bin HTTP/1.1\r\nHost: x\r\nRange: bytes={spec}\r\n\r\n".encode())
            buffer = b""
            while b"\r\n\r\n" not in buffer:
                buffer += s.recv(65536)
            head, _, body = buffer.partition(b"\r\n\r\n")
            assert b" 206 " in head.split(b"\r\n")[0]
            while len(body) < len(want):
                body += s.recv(1 << 20)
            assert body == want
            first = data.index(want[:64]) if len(want) >= 64 else None
            if first is not None:
                assert f"bytes {first}-{first + len(want) - 1}/{len(data)}".encode() in head


def test_multipart_ranges_are_read_by_a_mime_parser(vm, tree):
    data = (tree / "size-65537.bin").read_bytes()
    request = urllib.request.Request(f"{vm.url}/size-65537.bin", headers={"Range": "bytes=0-9,5000-14999,-7"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 206
        body = answer.read()
        kind = answer.headers["Content-Type"]
        assert int(answer.headers["Content-Length"]) == len(body)
    message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body,
                                       policy=email.policy.HTTP)
    parts = [p.get_payload(decode=True) for p in message.get_payload()]
    assert parts == [data[0:10], data[5000:15000], data[-7:]]


def test_a_range_outside_the_file_is_416(vm):
    with pytest.raises(urllib.error.HTTPError) as error:
        vm.get("/size-4096.bin", Range="bytes=4096-")
    assert error.value.code == 416 and error.value.headers["Content-Range"] == "bytes */4096"
    error.value.close()


def test_conditional_requests(vm):
    with urllib.request.urlopen(vm.url + "/size-4097.bin", timeout=PATIENCE) as answer:
        tag, date = answer.headers["ETag"], answer.headers["Last-Modified"]
    assert tag.startswith('"')
    for header, value, status in [("If-None-Match", tag, 304), ("If-None-Match", '"other"', 200),
                                  ("If-None-Match", "*", 304), ("If-Modified-Since", date, 304),
                                  ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
                                  ("If-Match", '"other"', 412), ("If-Match", tag, 200),
                                  ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 412)]:
        got = curl("-o", "/dev/null", "-w", "%{http_code}", "-H", f"{header}: {value}",
                   vm.url + "/size-4097.bin").stdout
        assert int(got) == status, (header, value)
    for value, status in [(tag, 206), ('"other"', 200)]:
        got = curl("-o", "/dev/null", "-w", "%{http_code}", "-H", f"If-Range: {value}", "-H", "Range: bytes=0-1",
                   vm.url + "/size-4097.bin").stdout
        assert int(got) == status


def test_pipelined_requests_are_answered_in_order(vm, tree):
    names = [f"size-{s}.bin" for s in SIZES if s < 100000] * 4
    data = b"".join(f"GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in names)
    data += b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    got = responses(raw(vm, data))
    assert len(got) == len(names) + 1
    for name, (status, _, body) in zip(names, got):
        assert status == 200 and body == (tree / name).read_bytes(), name


def test_a_request_in_single_bytes(vm, tree):
    with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /size-511.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            s.sendall(bytes([byte]))
        out = b""
        while piece := s.recv(4096):
            out += piece
    assert responses(out)[0][2] == (tree / "size-511.bin").read_bytes()


@pytest.mark.parametrize("request_bytes,status", [
    (b"GET /nothing-here HTTP/1.1\r\nHost: x\r\n", 404),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", 405),
    (b"BREW / HTTP/1.1\r\nHost: x\r\n", 501),
    (b"GET / HTTP/1.1\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
    (b"GET / HTTP/2.7\r\nHost: x\r\n", 505),
    (b"GET /%zz HTTP/1.1\r\nHost: x\r\n", 400),
    (b"GET /a%00b HTTP/1.1\r\nHost: x\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : x\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\n folded: yes\r\n", 400),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"b" * 60000 + b"\r\n", 431),
    (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n", (400, 404)),
    (b"GET /%2e%2e/%2e%2e/x HTTP/1.1\r\nHost: x\r\n", (400, 404)),
    (b"GET /loop-a HTTP/1.1\r\nHost: x\r\n", 404),
    (b"GET /dangling HTTP/1.1\r\nHost: x\r\n", 404),
    (b"GET /size-1.bin/ HTTP/1.1\r\nHost: x\r\n", 404),
    (b"GET /link.bin HTTP/1.1\r\nHost: x\r\n", 200),
    (b"GET /absolute-link HTTP/1.1\r\nHost: x\r\n", 200),
    (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n", (200, 204)),
    (b"GET http://x/size-1.bin HTTP/1.1\r\nHost: x\r\n", 200),
    (b"GET /withindex HTTP/1.1\r\nHost: x\r\n", 301),
    (b"GET /withindex/ HTTP/1.1\r\nHost: x\r\n", 200),
], ids=lambda v: None)
def test_status_codes(vm, request_bytes, status):
    answer = raw(vm, request_bytes + b"Connection: close\r\n\r\n")
    code = int(answer.split(b" ")[1])
    assert code == status if isinstance(status, int) else code in status, answer[:300]
    if code >= 400:
        assert len(answer.partition(b"\r\n\r\n")[2]) > 5, "an error says in a body what was wrong"


def test_http_1_0_clients(vm, tree):
    answer = raw(vm, b"GET /size-4097.bin HTTP/1.0\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2] == (tree / "size-4097.bin").read_bytes()


def test_listing_as_json_names_every_entry(vm, tree):
    entries = json.loads(vm.get("/d3/sub/", Accept="application/json"))
    if isinstance(entries, dict):
        entries = entries["entries"]
    assert sorted(e["name"] for e in entries) == sorted(os.listdir(tree / "d3" / "sub"))
    for e in entries:
        assert e["size"] == os.path.getsize(tree / "d3" / "sub" / e["name"])


def test_listing_of_odd_names_links_to_each(vm, tree):
    page = vm.get("/odd%20names/").decode("utf-8")
    links = {urllib.parse.unquote_to_bytes(h.replace("&amp;", "&")) for h in re.findall(r'href="([^"]*)"', page)}
    links = {l[2:] if l.startswith(b"./") else l for l in links}
    for name in os.listdir(os.path.join(os.fsencode(tree), b"odd names")):
        assert name in links, name
    assert "<b>" not in page


def test_a_slow_header_is_cut_off(vm):
    with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        answer = s.recv(4096)
        assert answer == b"" or b" 408 " in answer.split(b"\r\n")[0]


def test_a_listing_in_a_browser(vm, tmp_path):
    done = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                           "--no-first-run", "--disable-background-networking", "--disable-component-update",
                           "--disable-sync", f"--user-data-dir={tmp_path}", "--dump-dom",
                           vm.url + "/d0/sub/"], capture_output=True, timeout=PATIENCE)
    dom = done.stdout.decode()
    assert dom.count("f0") >= 90 and "<table" in dom, dom[:500]


def test_metrics_are_what_prometheus_reads(vm):
    text = vm.get("/.pagewire/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"pagewire_http_requests_total" in text and b"pagewire_wtd_" in text and b"pagewire_tcp_" in text


def test_health(vm):
    assert vm.get("/.pagewire/health").startswith(b"ok")


def test_the_access_log_has_a_line_for_each_request(vm):
    mark = "/size-1.bin?mark=%22quoted"
    end, lines = time.monotonic() + PATIENCE, []
    for n in itertools.count():
        if n % 50 == 0:  # again: what comes while the port is busy with many lines may be lost, and is counted
            vm.get(mark)
        with open(vm.access_log, errors="replace") as f:
            lines = [l for l in f if "mark=" in l and l.endswith("\n")]
        if lines or time.monotonic() > end:
            break
        time.sleep(0.1)
    pattern = r'^\S+ - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET (\S+) HTTP/1.1" 200 1 "[^"]*" "[^"]*"'
    assert re.match(pattern, lines[-1]), lines[-1]
