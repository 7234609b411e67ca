#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What takes too long for `make test`: thousands of clients held, slow or hostile, and a million connections, after which
everything is back where it was. Root, for a network namespace of its own.

    bench/soak.py                    all of it, at full size: about half an hour
    bench/soak.py --scale 10         a tenth of each
    bench/soak.py held flood         some of it: held, active, flood, slow, short, many"""
import argparse
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests/e2e"))
sys.dont_write_bytecode = True
FRAME = 4096


class Soak:
    def __init__(self, machine, tap, scale):
        self.machine, self.tap, self.scale, self.rng = machine, tap, scale, random.Random(1)
        self.failed = []

    def say(self, name, good, text):
        print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)
        if not good:
            self.failed.append(name)

    def curl(self):
        out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "--max-time", "20", "-w", "%{http_code} %{time_total}",
                              self.machine.url + "/size-4096.bin"], capture_output=True, text=True)
        code, seconds = out.stdout.split()
        return float(seconds) if code == "200" else 20.0

    def free(self):
        return self.machine.metrics()["pagewire_pmm_frames_free"] * FRAME

    def wrk(self, connections, seconds, path="/size-4096.bin"):
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "30", self.machine.url + path],
                             capture_output=True, text=True, timeout=seconds + 200).stdout
        bad = re.search(r"Socket errors.*|Non-2xx.*", out)
        return int(re.search(r"(\d+) requests in", out).group(1)), bad.group(0) if bad else ""

    def held(self):
        from crowd import Crowd
        count, before = 20000 // self.scale, self.free()
        with Crowd(self.machine.peer, count):
            taken, seconds = before - self.free(), self.curl()
            open_ = self.machine.metrics()["pagewire_tcp_connections"]
            self.say("held", open_ >= count and taken <= 64 << 20 and seconds < 1,
                     f"{open_:.0f} connections in {taken / (1 << 20):.1f} MB over the idle system, "
                     f"{taken / count:.0f} bytes each; a request takes {seconds * 1000:.0f} ms")

    def active(self):
        requests, bad = self.wrk(5000 // self.scale, 10)
        self.say("active", not bad and requests > 5000 // self.scale,
                 f"{requests} requests on {5000 // self.scale} connections in 10 s {bad}")

    def flood(self):
        from crowd import flood
        count = 100000 // self.scale
        thread = threading.Thread(target=flood, args=(self.tap, self.rng, count), kwargs=dict(addresses=10000))
        start, times = time.monotonic(), []
        thread.start()
        while thread.is_alive():
            times.append(self.curl())
        seconds = time.monotonic() - start
        self.say("flood", max(times) < 1, f"{count} SYNs from 10,000 addresses in {seconds:.0f} s; {len(times)} requests "
                 f"meanwhile, the slowest {max(times) * 1000:.0f} ms")

    def slow(self):
        from crowd import Crowd
        count = 4000 // self.scale
        with Crowd(self.machine.peer, count, slow=True):
            open_ = self.machine.metrics()["pagewire_tcp_connections"]
            times = [self.curl() for _ in range(20)]
        self.say("slow", max(times) < 1 and open_ >= count,
                 f"{open_:.0f} clients in the middle of a request; the slowest of 20 others {max(times) * 1000:.0f} ms")

    def short(self):
        from crowd import short_connections
        count, start = 1000000 // self.scale, time.monotonic()
        done = short_connections(self.machine.peer, count=count)
        seconds = time.monotonic() - start
        self.say("short", done == count, f"{done} connections of one request each, {done / seconds:.0f} a second")

    def many(self):
        goal, done, rates = 10000000 // self.scale, 0, []
        while done < goal:
            requests, bad = self.wrk(64, 20, "/size-511.bin")
            if bad:
                self.say("many", False, bad)
            done += requests
            rates.append(requests / 20)
        self.say("many", True, f"{done} requests on kept-alive connections; {rates[0]:.0f} a second at first, "
                 f"{rates[-1]:.0f} at last")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("parts", nargs="*", default=[])
    options = parser.parse_args()
    if os.environ.get("PAGEWIRE_NETNS") != "1":
        if os.geteuid():
            sys.exit("bench/soak.py makes a network namespace of its own: run it as root")
        os.environ["PAGEWIRE_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "--kill-child", "--fork", "sh", "-c", "ip link set lo up && exec \"$@\"",
                              "sh", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    from tap import Tap
    from vm import make_volume
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    subprocess.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000", "net.ipv4.tcp_tw_reuse=1"], check=False)
    with tempfile.TemporaryDirectory(prefix="pagewire-soak-") as top:
        files = os.path.join(top, "files")
        os.mkdir(files)
        for size in (1, 511, 4096):
            with open(os.path.join(files, f"size-{size}.bin"), "wb") as f:
                f.write(os.urandom(size))
        image, tap = make_volume(files, os.path.join(top, "sys.img")), Tap()
        with tap.vm([image], append="cache=unmapped http_per_address=0 http_connections=30000", mem=512) as machine:
            machine.get("/size-4096.bin")
            before, soak = machine.lent(), Soak(machine, tap, options.scale)
            for part in options.parts or ["held", "active", "flood", "slow", "short", "many"]:
                getattr(soak, part)()
                machine.assert_returned(before, seconds=120)
                print("     and every page, pbuf and pool entry is back", flush=True)
        tap.close()
    sys.exit(1 if soak.failed else 0)


if __name__ == "__main__":
    main()
