# SPDX-License-Identifier: BSD-2-Clause
"""Many clients at once, in processes of their own because one may not have that many files open: idle ones, slow ones,
and frames by which thousands of addresses ask for connections that nobody wants."""
import contextlib
import multiprocessing
import re
import resource
import select
import socket
import struct
import time

from vm import PATIENCE

EACH = 4000  # connections a process
REQUEST = b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\n\r\n"
GUEST_MAC = bytes.fromhex("525400123456")


def connect_all(where, count, first):
    """Sockets that are connected and have sent `first`, a hundred at a time."""
    sockets = []
    while len(sockets) < count:
        batch = [socket.create_connection(where, timeout=PATIENCE) for _ in range(min(100, count - len(sockets)))]
        for s in batch:
            s.sendall(first)
        sockets += batch
    return sockets


def read_answer(s):
    data = b""
    while b"\r\n\r\n" not in data or data.endswith(b"\r\n\r\n"):
        piece = s.recv(4096)
        assert piece, data
        data += piece
    assert data.startswith(b"HTTP/1.1 200"), data


def hold(where, count, slow, pipe):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    sockets = connect_all(where, count, REQUEST[:8] if slow else REQUEST)
    if not slow:
        for s in sockets:
            read_answer(s)
    pipe.send("ready")
    at = 8
    while not pipe.poll(1.0 if slow else None):
        # Slow ones give another byte now and then, so that no patience ends.
        for s in sockets if slow and at < len(REQUEST) - 3 else []:
            with contextlib.suppress(OSError):
                s.send(REQUEST[at:at + 1])
        at += 1
    for s in sockets:
        s.close()


class Crowd:
    """with Crowd(machine.peer, 5000): that many connections with one request answered, or slow=True: begun."""

    def __init__(self, where, count, slow=False):
        self.parts = []
        context = multiprocessing.get_context("fork")
        for start in range(0, count, EACH):
            ours, theirs = context.Pipe()
            process = context.Process(target=hold, args=(where, min(EACH, count - start), slow, theirs), daemon=True)
            process.start()
            self.parts.append((process, ours))

    def __enter__(self):
        for process, pipe in self.parts:
            assert pipe.poll(PATIENCE) and pipe.recv() == "ready"
        return self

    def __exit__(self, *_):
        for process, pipe in self.parts:
            pipe.send("end")
        for process, pipe in self.parts:
            process.join(PATIENCE)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def syn(source_mac, source, target, port, sequence):
    """A frame with a SYN as Linux sends it: MSS, SACK permitted, window scale."""
    options = bytes.fromhex("020405b40402010103030701")
    tcp = struct.pack("!HHIIBBHHH", port, 80, sequence, 0, (20 + len(options)) // 4 << 4, 2, 64240, 0, 0) + options
    sum_ = checksum(source + target + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", sum_) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + source + target
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return GUEST_MAC + source_mac + b"\x08\x00" + ip + tcp


def flood(tap, rng, count, addresses=65024):
    """SYNs from so many addresses behind the gateway, whose answers go nowhere."""
    target = socket.inet_aton(tap.GUEST)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((tap.name, 0))
        mac = s.getsockname()[4]
        for n in range(count):
            number = rng.randrange(addresses)
            source = bytes([10, 99, number // 254, 1 + number % 254])
            s.send(syn(mac, source, target, rng.randrange(1024, 65536), rng.getrandbits(32)))
            if n % 50 == 49:
                time.sleep(0.005)


def short_connections(where, seconds=None, count=None):
    """A connection for each request, a hundred at a time, each closed by the server; returns how many there were."""
    request = b"GET /size-511.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    poll, open_, done, begun = select.epoll(), {}, 0, 0
    end = time.monotonic() + (seconds or 1 << 30)
    count = count or 1 << 40
    while open_ or (begun < count and time.monotonic() < end):
        while len(open_) < 100 and begun < count and time.monotonic() < end:
            s = socket.create_connection(where, timeout=PATIENCE)
            s.sendall(request)
            poll.register(s.fileno(), select.EPOLLIN)
            open_[s.fileno()] = [s, b""]
            begun += 1
        for fd, _ in poll.poll():
            entry = open_[fd]
            piece = entry[0].recv(65536)
            entry[1] += piece
            if not piece:
                assert re.match(rb"HTTP/1.1 200", entry[1]) and len(entry[1]) > 511, entry[1][:200]
                poll.unregister(fd)
                entry[0].close()
                del open_[fd]
                done += 1
    return done
