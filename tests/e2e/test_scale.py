# SPDX-License-Identifier: BSD-2-Clause
"""Thousands of clients: idle connections and what each holds, load on all of them, and floods of SYNs that
must keep nobody out. On a tap device in a network namespace of the test's own."""
import random
import re
import resource
import socket
import struct
import subprocess
import time

import pytest

from conftest import Tap
from test_network import read_response, request, wrk

MANY = 5000
GUEST_MAC = bytes.fromhex("525400123456")


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


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def syn(source_mac, source, port, sequence):
    """A frame with a SYN as Linux sends it: MSS, SACK permitted, window scale."""
    target = socket.inet_aton(Tap.GUEST)
    options = bytes.fromhex("020405b40402010103030701")
    tcp = struct.pack("!HHIIBBHHH", port, 80, sequence, 0, (20 + len(options)) // 4 << 4, 2, 64240, 0, 0) + options
    sum_ = checksum(source + target + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", sum_) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + source + target
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return GUEST_MAC + source_mac + b"\x08\x00" + ip + tcp


def flood(tap, rng, count):
    """SYNs from addresses behind the gateway, whose answers go nowhere."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((tap.name, 0))
        mac = s.getsockname()[4]
        for n in range(count):
            source = bytes([10, 99, rng.randrange(256), rng.randrange(1, 255)])
            s.send(syn(mac, source, rng.randrange(1024, 65536), rng.getrandbits(32)))
            if n % 50 == 49:
                time.sleep(0.01)


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
