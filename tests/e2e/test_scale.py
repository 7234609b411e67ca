# SPDX-License-Identifier: BSD-2-Clause
"""Thousands of clients: idle connections and what each holds, load on all of them, and floods of SYNs that
must keep nobody out. On a tap device in a network namespace of the test's own."""
import random
import re
import resource
import socket
import subprocess
import threading
import time

import pytest

from crowd import Crowd, flood, short_connections
from test_network import read_response, request, wrk

MANY = 5000
FRAME = 4096
HELD_BYTES = (64 << 20) // 20000  # of memory, a connection: 20,000 in 64 MB


@pytest.fixture
def machine(tap, tree_image):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * MANY), hard))
    with tap.vm([tree_image], append="cache=unmapped http_per_address=0", mem=512) as vm:
        vm.get("/")
        before = vm.lent()
        yield vm
        vm.assert_returned(before, seconds=90)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def curl_seconds(machine):
    out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "--max-time", "10", "-w", "%{http_code} %{time_total}",
                          machine.url + "/size-4096.bin"], capture_output=True, text=True)
    code, seconds = out.stdout.split()
    assert code == "200", out
    return float(seconds)


def pools(machine):
    return {k: v for k, v in machine.metrics().items() if k.startswith("pagewire_pool_used")}


def test_5000_idle_connections(machine):
    before = pools(machine)
    free = machine.metrics()["pagewire_pmm_frames_free"]
    clients = []
    for _ in range(MANY):
        s = socket.create_connection(machine.peer, timeout=20)
        s.sendall(request("/size-1.bin"))
        read_response(s)
        clients.append(s)
    after = pools(machine)
    assert machine.metrics()["pagewire_tcp_connections"] >= MANY
    held = {re.search('"(.*)"', k).group(1): round((v - before.get(k, 0)) / MANY, 2) for k, v in after.items()}
    print("objects an idle connection holds:", {k: v for k, v in held.items() if v >= 0.01})
    taken = (free - machine.metrics()["pagewire_pmm_frames_free"]) * FRAME / MANY
    print(f"bytes an idle connection holds: {taken:.0f}")
    assert taken <= HELD_BYTES
    assert held["lwip_TCP_PCB"] <= 1.01 and held["lwip_TCP_SEG"] <= 0.01, held
    assert curl_seconds(machine) < 1
    steps, segments = "pagewire_tcp_lookup_steps_total", "pagewire_tcp_segments_in_total"
    start = machine.metrics()
    rng = random.Random(1)
    for _ in range(500):
        s = rng.choice(clients)
        s.sendall(request("/size-1.bin"))
        read_response(s)
    end = machine.metrics()
    assert (end[steps] - start[steps]) / (end[segments] - start[segments]) < 3
    for s in clients:
        s.close()


def test_5000_keepalive_connections_under_load(machine):
    out, requests = wrk(machine, MANY, "/size-4096.bin", seconds=10)
    assert requests > MANY and "Non-2xx" not in out, out
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    assert not errors or [int(e) for e in errors.groups()] == [0, 0, 0, 0], out


def test_half_open_connections_keep_nobody_out(machine, tap, seed):
    rng = random.Random(seed)
    pcbs = pools(machine)['pagewire_pool_used{pool="lwip_TCP_PCB"}']
    flood(tap, rng, 4000)
    assert curl_seconds(machine) < 1
    values = machine.metrics()
    assert values["pagewire_tcp_connections_half_open"] == 4000
    assert values['pagewire_pool_used{pool="lwip_TCP_PCB"}'] <= pcbs + 2
    flood(tap, rng, 4000)  # more than there are entries: cookies
    assert curl_seconds(machine) < 1
    values = machine.metrics()
    assert values["pagewire_tcp_syn_cookies_sent_total"] > 0
    assert values["pagewire_tcp_syn_cookies_accepted_total"] > 0
    end = time.monotonic() + 60
    while machine.metrics()["pagewire_tcp_connections_half_open"]:
        assert time.monotonic() < end
        time.sleep(1)


def times_while(machine, work):
    """How long requests take while `work` runs in a thread."""
    thread, times = threading.Thread(target=work), []
    thread.start()
    while thread.is_alive() or not times:
        times.append(curl_seconds(machine))
    thread.join()
    return sorted(times)


def test_a_flood_of_syns_while_somebody_asks(machine, tap, seed):
    times = times_while(machine, lambda: flood(tap, random.Random(seed), 10000, addresses=10000))
    print(f"{len(times)} requests, median {times[len(times) // 2]:.3f} s, slowest {times[-1]:.3f} s")
    assert times[len(times) // 2] < 1  # bench/soak.py has all 100,000, and the slowest


def test_slow_clients_while_somebody_asks(machine):
    with Crowd(machine.peer, 500, slow=True):
        times = sorted(curl_seconds(machine) for _ in range(5))
        assert machine.metrics()["pagewire_tcp_connections"] >= 500
    assert times[2] < 1


def test_short_connections_leave_nothing(machine):
    assert short_connections(machine.peer, count=3000) == 3000
