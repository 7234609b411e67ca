# SPDX-License-Identifier: BSD-2-Clause
"""The wire: many connections, peers that vanish, stall or lie, frames that are lost or broken. On a tap
device in a network namespace of the test's own."""
import contextlib
import hashlib
import random
import re
import socket
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Tap, digest
from relay import tap_relay
from vm import PATIENCE


@pytest.fixture(params=["", "nic=late"], ids=["plain", "late"])
def machine(request, tap, tree_image):
    with tap.vm([tree_image], append=f"cache=unmapped http_stall=3600 {request.param}", mem=512) as vm:
        vm.get("/")
        before = vm.lent()
        yield vm
        vm.assert_returned(before)


def request(path, **headers):
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()


def read_response(s):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < length:
        piece = s.recv(1 << 20)
        assert piece, f"closed after {len(body)} of {length}"
        body += piece
    return head, body


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def half_close(s):
    try:
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    s.close()


def wrk(machine, connections, path):
    """More requests than connections, each answered with 2xx; a slow machine is given more time for them."""
    for seconds in (5, 20, 80):
        out = subprocess.run(["wrk", "-t2", f"-c{connections}", f"-d{seconds}", "--timeout", str(PATIENCE),
                              machine.url + path], capture_output=True, text=True, timeout=seconds + PATIENCE).stdout
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        assert not errors or [int(e) for e in errors.groups()] == [0, 0, 0, 0], out
        assert "Non-2xx" not in out, out
        if int(re.search(r"(\d+) requests in", out).group(1)) > connections:
            return
    raise AssertionError(out)


def test_500_keepalive_connections(machine):
    wrk(machine, 500, "/size-4096.bin")


@pytest.mark.parametrize("stage", [0, 1, 1460, 65536, 300000, 900000])
def test_reset_at_a_stage_of_a_download(machine, tree, stage):
    for _ in range(10):
        s = socket.create_connection(machine.peer, timeout=PATIENCE)
        s.sendall(request("/size-1048577.bin"))
        got = 0
        while got < stage:
            piece = s.recv(min(65536, stage - got))
            assert piece, f"closed after {got}"
            got += len(piece)
        reset(s)
    with socket.create_connection(machine.peer, timeout=PATIENCE) as s:
        s.sendall(request("/size-1048577.bin"))
        assert hashlib.sha256(read_response(s)[1]).hexdigest() == digest(tree / "size-1048577.bin")


def test_reset_in_the_middle_of_a_request(machine):
    for cut in (1, 5, 20, 30):
        s = socket.create_connection(machine.peer, timeout=PATIENCE)
        s.sendall(request("/size-1.bin")[:cut])
        reset(s)


def test_closing_one_half_still_gets_the_answer(machine, tree):
    with socket.create_connection(machine.peer, timeout=PATIENCE) as s:
        s.sendall(request("/size-262143.bin", Connection="close"))
        s.shutdown(socket.SHUT_WR)
        assert read_response(s)[1] == (tree / "size-262143.bin").read_bytes()


def test_stalled_readers_do_not_stop_others(machine, tree):
    stalled = []
    for _ in range(40):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.settimeout(PATIENCE)
        s.connect(machine.peer)
        s.sendall(request("/size-5000001.bin"))
        stalled.append(s)
    end = time.monotonic() + PATIENCE
    while machine.metrics()["pagewire_cache_pinned_pages"] < len(stalled):  # each holds pages
        assert time.monotonic() < end
        time.sleep(0.1)
    for n in range(5):
        with socket.create_connection(machine.peer, timeout=PATIENCE) as s:
            s.sendall(request("/size-1048577.bin"))
            assert hashlib.sha256(read_response(s)[1]).hexdigest() == digest(tree / "size-1048577.bin")
    # A reader that wakes up late still gets every byte.
    assert read_response(stalled[0])[1] == (tree / "size-5000001.bin").read_bytes()
    for s in stalled:
        reset(s)


def test_a_full_ring_loses_nothing(machine, tree):
    """Large downloads while hundreds of clients are answered in many small parts: a pass of 64 such requests wants
    more than the 1,023 descriptors that the card's ring has. The requests come together, however slow the clients are:
    they wait in the tap while the machine is stopped."""
    wanted = digest(tree / "size-1048577.bin")
    large = ["curl", "-sS", "--max-time", str(PATIENCE), machine.url + "/size-1048577.bin"]
    small = request("/size-4096.bin", Range="bytes=" + ",".join(f"{n * 100}-{n * 100 + 9}" for n in range(12)))
    # QEMU's card empties its ring within the doorbell's store; only late completions let it fill.
    late = "nic=late" in machine.append
    end = time.monotonic() + PATIENCE
    with ThreadPoolExecutor(10) as pool, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(machine.peer, timeout=PATIENCE)) for _ in range(300)]
        downloads = [pool.submit(subprocess.run, large, capture_output=True) for _ in range(30)]
        bursts = 0
        while bursts < 5 or (late and not machine.metrics()['pagewire_e1000_tx_refused_total{reason="ring_full"}']):
            assert time.monotonic() < end, f"the ring was never full in {bursts} bursts"
            machine.qmp("stop")
            for s in clients:
                s.sendall(small)
            machine.qmp("cont")
            assert all(read_response(s)[0].startswith(b"HTTP/1.1 206 ") for s in clients)
            bursts += 1
        for done in (d.result() for d in downloads):
            assert done.returncode == 0 and hashlib.sha256(done.stdout).hexdigest() == wanted
    print(f"{bursts} bursts")


def test_ping_and_ipv6(machine, tap):
    done = subprocess.run(["ping", "-c", "3", "-w", str(PATIENCE), "-s", "1400", Tap.GUEST], capture_output=True)
    assert done.returncode == 0, done.stdout
    done = subprocess.run(["ping", "-6", "-c", "1", "-w", str(PATIENCE), f"{Tap.GUEST6}%{tap.name}"], capture_output=True)
    assert done.returncode == 0, done.stdout
    with tap.connect6() as s:
        s.sendall(request("/size-4097.bin"))
        assert len(read_response(s)[1]) == 4097


def test_downloads_over_ipv6_are_whole(machine, tap, tree):
    names = ["size-0.bin", "size-1.bin", "size-4097.bin", "size-65537.bin", "size-262143.bin", "size-1048577.bin"]
    tap.connect6().close()
    before = machine.lent()

    def load(name):
        return subprocess.run(["curl", "-gsS", "--max-time", str(PATIENCE),
                               f"http://[{Tap.GUEST6}%25{tap.name}]/{name}"], capture_output=True)

    with ThreadPoolExecutor(4) as pool:
        for name, done in zip(names * 4, pool.map(load, names * 4)):
            assert done.returncode == 0, done.stderr
            assert hashlib.sha256(done.stdout).hexdigest() == digest(tree / name), name
    machine.assert_returned(before)
    assert machine.metrics()["pagewire_e1000_tx_cut_total"] > 0


def retransmits(machine):
    values = machine.metrics()
    return values["pagewire_tcp_retransmits_total"] + values["pagewire_tcp_syn_ack_retransmits_total"]


def test_packets_are_well_formed_in_wiresharks_eyes(machine, tap, tmp_path):
    capture = tmp_path / "capture.pcap"
    sent_again = retransmits(machine)
    machine.qmp("object-add", **{"qom-type": "filter-dump", "id": "dump", "netdev": "net", "file": str(capture)})
    for s in (socket.create_connection(machine.peer, timeout=PATIENCE), tap.connect6()):
        with s:
            for name in ("size-1.bin", "size-4096.bin", "size-65537.bin"):
                s.sendall(request("/" + name))
                read_response(s)
    machine.get("/d0/")
    machine.qmp("object-del", id="dump")
    # A host that stops for a moment is sent things again, rightly: then the machine has counted it.
    quiet = retransmits(machine) == sent_again
    repeated = " or tcp.analysis.retransmission" if quiet else ""
    bad = subprocess.run(["tshark", "-r", str(capture), "-o", "tcp.check_checksum:TRUE", "-o",
                          "ip.check_checksum:TRUE", "-Y",
                          f"(ip.src == {Tap.GUEST} or ipv6.src == {Tap.GUEST6}) and (tcp.checksum.status == 0 or ip.checksum.status == 0 or "
                          f"_ws.malformed or tcp.analysis.lost_segment or icmpv6.checksum.status == 0{repeated})"],
                         capture_output=True, text=True)
    assert bad.returncode == 0 and bad.stdout == "", bad.stdout[:2000] + bad.stderr
    for source in (f"ip.src == {Tap.GUEST}", f"ipv6.src == {Tap.GUEST6}"):
        seen = subprocess.run(["tshark", "-r", str(capture), "-Y", f"{source} and tcp.len > 0"],
                              capture_output=True, text=True).stdout
        assert len(seen.splitlines()) > 40, source


# Frames pass through a relay between QEMU and the tap device, which harms some of them.
HARM = {
    "loss": dict(drop=0.02),
    "doubling": dict(double=0.05),
    "reordering": dict(reorder=0.05),
    "corruption": dict(corrupt=0.02),
    "delay": dict(delay="0.2:0.01"),
    "everything": dict(drop=0.01, double=0.01, reorder=0.02, corrupt=0.01, delay="0.05:0.005"),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
@pytest.mark.parametrize("mode", ["", "nic=late"], ids=["plain", "late"])
def test_harmed_frames_never_become_wrong_bytes(harm, mode, tap, tree, tree_image, seed):
    with tap_relay(tap.name, seed, **harm) as (net, between):
        machine = tap.vm([tree_image], append=("cache=unmapped " + mode).strip())
        machine.net = net
        with machine as vm:
            vm.get("/")
            before = vm.lent()
            for name in ("size-1048577.bin", "size-262143.bin", "size-4097.bin") * 2:
                out = subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE), f"{vm.url}/{name}"], capture_output=True)
                assert out.returncode == 0, out.stderr
                assert hashlib.sha256(out.stdout).hexdigest() == digest(tree / name)
            vm.assert_returned(before)
            values = vm.metrics()
            done = between.done()
            assert all(done[f"{end}.{name}"] > 0 for name in harm for end in "ab"), done
            if "corrupt" in harm:
                dropped = sum(v for k, v in values.items()
                              if re.match(r"pagewire_(tcp|ip|arp|rx)\w*(chk|checksum|err|drop)", k))
                assert dropped > 0, "a corrupt frame is dropped and counted"


def test_a_client_from_random_states_never_hurts_the_next(machine, tree, seed):
    """Random walks: open, send part of a request, read part of an answer, half-close, close, reset."""
    rng = random.Random(seed)
    names = ["/size-0.bin", "/size-4097.bin", "/size-1048577.bin", "/d1/sub/", "/nothing"]
    for _ in range(150):
        s = socket.create_connection(machine.peer, timeout=PATIENCE)
        for _ in range(rng.randrange(4)):
            data = request(rng.choice(names)) * rng.randrange(1, 4)
            try:
                s.sendall(data[:rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data)
                if rng.random() < 0.5:
                    s.settimeout(0.2)
                    s.recv(rng.randrange(1, 100000))
            except OSError:
                break
        rng.choice([reset, socket.socket.close, half_close])(s)
    with socket.create_connection(machine.peer, timeout=PATIENCE) as s:
        s.sendall(request("/size-65536.bin"))
        assert read_response(s)[1] == (tree / "size-65536.bin").read_bytes()
