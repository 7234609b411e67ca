#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bench/far_uploads.py [--round-trip 50] [--megabytes 64]: how fast this host uploads to Pagewire from far away
(bench/relay), one file on one connection and one on each of four; answers promise that the bytes are on the disk
(sync=relaxed: in memory). A network namespace of its own; the table goes to the standard output. Needs `make all build/relay`."""
import argparse
import contextlib
import http.client
import os
import tempfile
import threading
import time

import machines  # and with it tests/e2e
import path
from machines import GUEST, HOST

ROUNDS = 3


@contextlib.contextmanager
def machine(round_trip, volume, words):
    from vm import VM
    wire, relays = path.Wire(), []
    vm = VM(disks=[volume], address=GUEST, mem=1024, name="far", snapshot=False, net=wire.netdev,
            append=f"write=on log=off {words} ip={GUEST}::{HOST}:255.255.255.0:pagewire:eth0:off")
    # QEMU waits with its start until the relay has come.
    threading.Thread(target=lambda: relays.append(path.Relay(wire.end, "tap0", 1, 0, round_trip))).start()
    try:
        with vm:
            yield vm
    finally:
        for relay in relays:
            relay.close()
        wire.close()


def put(name, body):
    client = http.client.HTTPConnection(GUEST, 80, timeout=300)
    client.request("PUT", "/" + name, body)
    status = client.getresponse().status
    client.close()
    assert status in (201, 204), status


def rate(clients, body):
    threads = [threading.Thread(target=put, args=(f"f{n}", body)) for n in range(clients)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * len(body) / (time.monotonic() - start) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round-trip", type=float, default=50, help="milliseconds")
    parser.add_argument("--megabytes", type=int, default=64)
    options = parser.parse_args()
    machines.in_namespace()
    machines.make_tap()
    body = os.urandom(options.megabytes << 20)
    with tempfile.TemporaryDirectory() as top:
        os.makedirs(f"{top}/files/.pagewire")
        with open(f"{top}/files/.pagewire/users", "w") as f:
            f.write("trustee / * ALL\n")
        volume = f"{top}/volume.img"
        for words in ("", "sync=relaxed"):
            machines.run("/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "SYS", "-d", f"{top}/files", volume, "3G")
            with machine(options.round_trip / 1000, volume, words) as vm:
                put("first", b"x")
                for clients in (1, 4):
                    rates = sorted(rate(clients, body) for _ in range(ROUNDS))
                    room = vm.metrics().get("pagewire_tcp_receive_room_refused_total", 0)
                    print(f"{words or 'durable'}, {clients} of {options.megabytes} MB, {options.round_trip:g} ms: "
                          f"{rates[ROUNDS // 2]:.1f} MB/s ({rates[0]:.1f} to {rates[-1]:.1f}; {room:.0f} refused)", flush=True)
            os.unlink(volume)


if __name__ == "__main__":
    main()
