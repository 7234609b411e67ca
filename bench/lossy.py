#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Pagewire and this host's Linux as senders over a path that loses and delays (bench/relay, the same seeds), to the
same receiver: goodput of large files, time of short answers, what was sent again, time-outs. Root, for network
namespaces of its own. The table goes to the standard output and, for the report of `make bench`, to
build/bench/lossy.json.

    bench/lossy.py            about five minutes
    bench/lossy.py --quick    one seed, shorter files"""
import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests/e2e"))
sys.dont_write_bytecode = True

import path
import tables

PATHS = [(0.0, 50), (0.01, 50), (0.01, 10), (0.03, 20)]  # loss of each direction, round trip in ms
SHORT = 20000

# In the second namespace: HTTP/1.1 with sendfile; a line on stdin asks for the kernel's counters.
SERVER = r'''
import http.server, os, socket, socketserver, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        path = sys.argv[1] + self.path
        size = os.path.getsize(path)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.flush()
        with open(path, "rb") as f:
            done = 0
            while done < size:
                done += os.sendfile(self.connection.fileno(), f.fileno(), done, size - done)
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
server = Server(("10.77.0.2", 80), Handler)
for name in (b"cubic", b"reno"):  # as the system lets us
    try:
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        break
    except OSError:
        pass
control = server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", control, flush=True)
def counters():
    found = {}
    for name in ("snmp", "netstat"):
        lines = open("/proc/self/net/" + name).read().splitlines()
        for keys, values in zip(lines[::2], lines[1::2]):
            found.update(zip(keys.split(), values.split()))
    return found
for _ in sys.stdin:
    c = counters()
    print(c["RetransSegs"], c["TCPTimeouts"], flush=True)
'''


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


def tap(name):
    run("ip", "tuntap", "add", name, "mode", "tap")
    run("ip", "link", "set", name, "txqueuelen", "30000")


class Linux:
    """The host's own stack in a namespace of its own, behind the relay."""

    @property
    def name(self):
        return f"Linux ({self.control})"

    def __init__(self, files, image, rates, seed):
        tap("tap1")
        self.relay = path.Relay("tap1", "tap0", seed, *rates)
        self.server = subprocess.Popen(["unshare", "-n", "sh", "-c", "read go; ip addr add 10.77.0.2/24 dev tap1; "
                                        f"ip link set tap1 up; exec {sys.executable} -c \"$0\" {files}", SERVER],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(0.3)
        run("ip", "link", "set", "tap1", "netns", str(self.server.pid))
        self.server.stdin.write("go\n")
        self.server.stdin.flush()
        ready, self.control = self.server.stdout.readline().split()
        assert ready == "ready"

    def counters(self):
        self.server.stdin.write("\n")
        self.server.stdin.flush()
        return tuple(int(n) for n in self.server.stdout.readline().split())

    def close(self):
        self.server.stdin.close()
        self.server.kill()
        self.server.wait()
        self.relay.close()


class Pagewire:
    name = "Pagewire"

    def __init__(self, files, image, rates, seed):
        from vm import VM
        self.wire = path.Wire()
        self.machine = VM(disks=[image], net=self.wire.netdev, address="10.77.0.2", name="lossy",
                          append="ip=10.77.0.2::10.77.0.1:255.255.255.0:pagewire:eth0:off log=off").__enter__()
        self.relay = path.Relay(self.wire.end, "tap0", seed, *rates)

    def counters(self):
        values = self.machine.metrics()
        return (int(values["pagewire_tcp_resent_bytes_total"] / 1460 + 0.5), int(values["pagewire_tcp_timeouts_total"]))

    def close(self):
        self.machine.kill()
        self.relay.close()
        self.wire.close()


def get(connection, path):
    start = time.monotonic()
    connection.request("GET", path)
    length = len(connection.getresponse().read())
    return length, time.monotonic() - start


def measure(kind, top, rates, seed, shorts):
    sender = kind(os.path.join(top, "files"), os.path.join(top, "sys.img"), rates, seed)
    try:
        connection = http.client.HTTPConnection("10.77.0.2", timeout=300)
        get(connection, "/short.bin")
        connection.close()
        before = sender.counters()
        connection = http.client.HTTPConnection("10.77.0.2", timeout=300)
        length, seconds = get(connection, "/large.bin")
        connection.close()
        after, times = sender.counters(), []
        connection = http.client.HTTPConnection("10.77.0.2", timeout=300)
        for _ in range(shorts):
            times.append(get(connection, "/short.bin")[1] * 1000)
        end = sender.counters()
    finally:
        sender.close()
    times.sort()
    return sender.name, (length / seconds / 1000, after[0] - before[0], after[1] - before[1], statistics.median(times),
            times[len(times) * 95 // 100], end[1] - after[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if os.environ.get("PAGEWIRE_NETNS") != "1":
        if os.geteuid():
            sys.exit("bench/lossy.py makes network namespaces of its own: run it as root")
        os.environ["PAGEWIRE_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "--kill-child", "--fork", "sh", "-c", "ip link set lo up && exec \"$@\"",
                              "sh", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    from vm import make_volume
    seeds, shorts, large = ([1], 40, 2 << 20) if options.quick else ([1, 2, 3], 100, 5 << 20)
    with tempfile.TemporaryDirectory(prefix="pagewire-lossy-") as top:
        files = os.path.join(top, "files")
        os.mkdir(files)
        for name, size in (("large.bin", large), ("short.bin", SHORT)):
            with open(os.path.join(files, name), "wb") as f:
                f.write(os.urandom(size))
        make_volume(files, os.path.join(top, "sys.img"))
        tap("tap0")
        run("ip", "addr", "add", "10.77.0.1/24", "dev", "tap0")
        run("ip", "link", "set", "tap0", "up")
        table = []
        for loss, rtt in PATHS:
            rates = loss, rtt / 1000
            for kind in (Linux, Pagewire):
                rows = [measure(kind, top, rates, seed, shorts) for seed in seeds]
                figures = [f"{statistics.median(c):.0f}" for c in zip(*(row for _, row in rows))]
                table.append([f"{loss * 100:g} %, {rtt} ms", rows[0][0], *figures])
                print(*table[-1], file=sys.stderr, flush=True)
    os.makedirs(tables.OUT, exist_ok=True)
    tables.keep("lossy", {
        "title": "Loss, one connection at a time", "machine": f"{time.strftime('%Y-%m-%d')}, {len(seeds)} runs of each, medians",
        "columns": ["loss, round trip", "sender", f"{large >> 20} MB, KB/s", "sent again", "time-outs",
                    f"{SHORT // 1000} KB, median ms", "95 %", "time-outs"],
        "rows": table, "notes": [f"Linux is the measuring machine's own, {os.uname().release.split('-')[0]}, without QEMU. The same part of "
                                 "the frames is lost, each way, but not the same frames: senders differ in what they send."]})


if __name__ == "__main__":
    main()
