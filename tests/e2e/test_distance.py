# SPDX-License-Identifier: BSD-2-Clause
"""Uploads from far away: the window that the machine announces grows with what is taken in a round trip, never goes back,
and everything is given back; many at once leave receive buffers for everybody else. The path is bench/relay between QEMU
and the tap device, which loses nothing; tshark says what was announced. Round trips are long, so that the window is what
limits on a slow host, too."""
import contextlib
import http.client
import os
import random
import subprocess
import sys
import threading
import time

from conftest import Tap
from test_write import Site
from vm import PATIENCE, ROOT

sys.path.append(os.path.join(ROOT, "bench"))
from path import Relay, Wire  # noqa: E402

WINDOW = 262800  # TCP_WND
SCALE = 7
WORD = f"ip={Tap.GUEST}::{Tap.HOST}:255.255.255.0:pagewire:eth0:off"


@contextlib.contextmanager
def far_away(tap, folder, seed, round_trip, **options):
    """A Site behind the path; the tap's end of it is this host."""
    subprocess.run(["make", "-s", "build/relay"], cwd=ROOT, check=True)
    wire, relays = Wire(), []
    try:
        site = Site(folder, "600M", WORD, net=wire.netdev, address=Tap.GUEST, **options)
        # QEMU waits with its start until the relay has come.
        threading.Thread(target=lambda: relays.append(Relay(wire.end, tap.name, seed, 0, round_trip))).start()
        with site:
            yield site
    finally:
        for relay in relays:
            relay.close()
        wire.close()


def put(client, name, body):
    client.request("PUT", "/" + name, body)
    answer = client.getresponse()
    answer.read()
    assert answer.status in (201, 204), answer.status


def announced(capture):
    """Of each connection the windows in the machine's segments behind the handshake: {port: [(right edge, size)]}."""
    out = subprocess.run(["tshark", "-r", str(capture), "-Y", f"ip.src == {Tap.GUEST} and tcp.srcport == 80 and tcp.flags.syn == 0",
                          "-T", "fields", "-e", "tcp.dstport", "-e", "tcp.ack", "-e", "tcp.window_size"],
                         capture_output=True, text=True, check=True).stdout
    windows = {}
    for line in out.splitlines():
        port, ack, size = map(int, line.split())
        windows.setdefault(port, []).append((ack + size, size))
    return windows


def test_a_window_grows_with_the_distance_and_never_goes_back(tap, tmp_path, seed):
    """262,800 bytes in a round trip are all that a client could upload; here it gets more than thrice that."""
    body = random.Random(seed).randbytes(8_000_000)
    capture = tmp_path / "capture.pcap"
    with far_away(tap, tmp_path, seed, 0.4, mem=512) as site:
        site.vm.qmp("object-add", **{"qom-type": "filter-dump", "id": "dump", "netdev": "net", "file": str(capture), "maxlen": 96})
        client = http.client.HTTPConnection(*site.vm.peer, timeout=PATIENCE)
        end = time.monotonic() + PATIENCE
        while True:  # a host that stands still makes a round trip seem longer, and what came in it little
            put(client, "far", body)
            site.written += len(body)
            values = site.vm.metrics()
            if values["pagewire_tcp_receive_room_bytes"] > 2 * WINDOW:
                break
            assert time.monotonic() < end, values["pagewire_tcp_receive_room_bytes"]
        client.close()
        site.vm.qmp("object-del", id="dump")
        site.judge({"far": body})
    (windows,) = [w for w in announced(capture).values() if len(w) > 500]
    assert max(size for _, size in windows) > 3 * WINDOW
    edge = 0
    for right, size in windows:
        assert right > edge - (1 << SCALE), (right, edge, size)  # it is said in units of so many bytes
        edge = max(edge, right)


def test_many_uploads_from_far_away_leave_buffers_for_others(tap, tmp_path, seed):
    """A small machine: 2,048 receive buffers, and forty clients that each may send 180 ahead of it, or more."""
    rng = random.Random(seed)
    bodies, errors = {f"f{n}": rng.randbytes(600_000) for n in range(40)}, []

    def upload(name):
        try:
            client = http.client.HTTPConnection(*site.vm.peer, timeout=PATIENCE)
            for _ in range(2):
                put(client, name, bodies[name])
            client.close()
        except Exception as e:  # told by the test
            errors.append((name, repr(e)))

    with far_away(tap, tmp_path, seed, 0.2, mem=128) as site:
        threads = [threading.Thread(target=upload, args=(name,)) for name in bodies]
        for thread in threads:
            thread.start()
        reads = 0
        while any(thread.is_alive() for thread in threads):
            assert site.vm.get("/old") and site.vm.metrics()["pagewire_rx_starved_total"] == 0
            reads += 1
        for thread in threads:
            thread.join()
        assert not errors and reads > 0, (errors, reads)
        values = site.vm.metrics()
        assert values["pagewire_tcp_receive_room_bytes"] == 0
        assert values["pagewire_rx_buffers_held_high"] <= 2048
        site.written += 2 * sum(map(len, bodies.values()))
        site.judge(bodies)
