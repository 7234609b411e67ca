# SPDX-License-Identifier: BSD-2-Clause
"""The client of the bench, the same for every machine: wrk with one thread (and bench/wrk/*.lua), a probe that asks one
thing at a time, uploaders, and 20,000 connections that are only held. Each measurement is a dictionary:

    rate   requests a second       p50, p99   seconds      errors   what wrk complained of, or ""
    bytes  bytes a second          client     the part of one processor that the client used"""
import os
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

from machines import GUEST, ROOT

WAIT = 60  # seconds a request may take before wrk calls it a time-out


def seconds(text):
    value, unit = re.match(r"([\d.]+)(us|ms|s|m|h)", text).groups()
    return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit]


def size_of(text):
    value, unit = re.match(r"([\d.]+)([KMGT]?)B", text).groups()
    return float(value) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[unit]


class Load:
    """A wrk that runs; result() waits for its end."""

    def __init__(self, path, connections, duration, script=None, close=False, host=GUEST):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}", "--timeout", str(WAIT), "--latency"]
        if script:
            name, *arguments = script
            command += ["-s", f"{ROOT}/bench/wrk/{name}.lua"]
        if "%" in host:  # a zone is the client's affair (RFC 6874)
            command += ["-H", "Host: " + host.split("%")[0] + "]"]
        if close:
            command += ["-H", "Connection: close"]
        command += [f"http://{host}/{path}"] + (["--", *map(str, arguments)] if script else [])
        self.duration, self.start = duration, time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self):
        killer = threading.Timer(self.duration + 2 * WAIT, self.process.kill)
        killer.start()
        out = ""
        for line in self.process.stdout:
            out += line
            if line == "once: done\n":
                self.process.send_signal(signal.SIGINT)
        _, status, used = os.wait4(self.process.pid, 0)
        killer.cancel()
        self.process.returncode = status
        wall = time.monotonic() - self.start
        if status or "Requests/sec" not in out:
            raise RuntimeError(f"wrk: {out.strip()[-200:] or status}")
        took = max(seconds(re.search(r"requests in (\S+),", out).group(1)), 0.01)
        errors = re.search(r"Socket errors: (.*)", out)
        other = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        if errors and other:
            errors = f"{errors.group(1)}, {other.group(1)} refused"
        else:
            errors = errors.group(1) if errors else f"{other.group(1)} refused" if other else ""
        return {
            "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "requests": int(re.search(r"(\d+) requests in", out).group(1)),
            "bytes": size_of(re.search(r"requests in .*, (\S+) read", out).group(1)) / took,
            "p50": seconds(re.search(r"^\s+50%\s+(\S+)", out, re.M).group(1)),
            "p99": seconds(re.search(r"^\s+99%\s+(\S+)", out, re.M).group(1)),
            "errors": errors, "client": (used.ru_utime + used.ru_stime) / wall,
        }


def wrk(*arguments, **options):
    return Load(*arguments, **options).result()


def fetch(path):
    """One download by curl: seconds and bytes a second."""
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "--max-time", "120", "-w",
                           "%{http_code} %{time_total} %{speed_download}", f"http://{GUEST}/{path}"],
                          capture_output=True, text=True)
    if done.returncode or not done.stdout.startswith("200 "):
        raise RuntimeError(f"curl {path}: {done.stdout} {done.stderr.strip()[-200:]}")
    _, took, speed = done.stdout.split()
    return {"p50": float(took), "bytes": float(speed), "errors": ""}


class Probe:
    """One connection that asks for one thing after the other; times are the client's own."""

    def __init__(self, timeout=60):
        self.socket = socket.create_connection((GUEST, 80), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path):
        """(seconds, bytes of the whole answer)"""
        request = f"GET /{path} HTTP/1.1\r\nHost: pagewire\r\n\r\n".encode()
        start, got, length = time.perf_counter(), b"", None
        self.socket.sendall(request)
        while length is None or len(got) < length:
            piece = self.socket.recv(65536)
            if not piece:
                raise RuntimeError(f"{path}: closed after {len(got)} bytes")
            got += piece
            if length is None and (end := got.find(b"\r\n\r\n")) >= 0:
                if not got.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"{path}: {got[:40]!r}")
                body = re.search(rb"content-length: *(\d+)", got[:end].lower())
                length = end + 4 + int(body.group(1))
        return time.perf_counter() - start, len(got)

    def times(self, path, count):
        """(median seconds, bytes of the answer)"""
        asked = [self.ask(path) for _ in range(count)]
        return statistics.median(t for t, _ in asked), asked[0][1]

    def close(self):
        self.socket.close()


class Uploads:
    """`with Uploads(2, 1 << 20) as u:` that many clients, each putting one file after the other; u.done bytes by now."""

    def __init__(self, clients, size):
        self.body, self.done, self.stop, self.failed = os.urandom(size), 0, threading.Event(), None
        self.threads = [threading.Thread(target=self.put, args=(n,), daemon=True) for n in range(clients)]

    def put(self, number):
        import http.client
        try:
            connection, count = http.client.HTTPConnection(GUEST, timeout=WAIT), 0
            while not self.stop.is_set():
                connection.request("PUT", f"/up/{number}-{count % 8}.bin", self.body)
                answer = connection.getresponse()
                answer.read()
                if answer.status not in (200, 201, 204):
                    raise RuntimeError(f"PUT: {answer.status}")
                self.done += len(self.body)
                count += 1
            connection.close()
        except Exception as error:  # told by __exit__; reading goes on
            self.failed = error

    def __enter__(self):
        self.start = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(2 * WAIT)
        self.rate = self.done / (time.monotonic() - self.start)
        if self.failed and not kind:
            raise self.failed
