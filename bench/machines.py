# SPDX-License-Identifier: BSD-2-Clause
"""The machines that the bench compares, one at a time: `with Pagewire() as m:`, `with Linux() as m:`, `with Floor() as m:`.

All three are q35 with one processor, 1 GB and an 82540EM in QEMU's TCG, on the tap device tap0 (make_tap) or behind a
relay that delays and loses (wire=...), under the counting plugin where counted=True. m.boot is what the start took in
seconds, to the first answer; behind a relay whoever starts that calls m.reached(). m.busy() is the processor time QEMU
has used, m.free() the machine's free memory. A process that uses them has a
network namespace of its own (in_namespace)."""
import contextlib
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.dont_write_bytecode = True
OUT = os.path.join(ROOT, "build", "bench")
GUEST, HOST = "10.77.0.2", "10.77.0.1"
GUEST6 = "[fe80::5054:ff:fe12:3456%tap0]"  # that every system makes of its MAC address
MEMORY = 1024
CROWD = 20000  # connections at most
SETTLE = 10  # seconds
START = 240  # seconds; a Linux under the plugin on a busy host takes long


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def in_namespace():
    """Starts this program again in a network namespace of its own, unless it is in one."""
    if os.environ.get("PAGEWIRE_NETNS") == "1":
        return
    flags = ["-n"] if os.geteuid() == 0 else ["-rn"]
    if subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode != 0:
        sys.exit("make bench needs a network namespace of its own: run it as root")
    os.environ["PAGEWIRE_NETNS"] = "1"
    os.execvp("unshare", ["unshare", *flags, "--kill-child", "--fork", "sh", "-c",
                          'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv])


def processor_time(pid):
    """Seconds, user and system."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def unsettled():
    """How many connections of this host there are, but for those that only wait for stragglers (TIME_WAIT) and listeners."""
    with open("/proc/net/tcp") as f:
        next(f)
        return sum(line.split()[3] not in ("06", "0A") for line in f)


def make_tap():
    """tap0 with room for a crowd: frames wait there for QEMU; ports and files for 20,000 connections."""
    run("ip", "tuntap", "add", "tap0", "mode", "tap")
    run("ip", "link", "set", "tap0", "txqueuelen", str(10 * CROWD))
    run("ip", "addr", "add", HOST + "/24", "dev", "tap0")
    # The host's IPv6 address is good at once.
    subprocess.run(["sysctl", "-qw", "net.ipv6.conf.tap0.accept_dad=0"], check=False, capture_output=True)
    run("ip", "link", "set", "tap0", "up")
    subprocess.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000", "net.ipv4.tcp_tw_reuse=1"], check=False,
                   capture_output=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def ahead():
    """What is started meanwhile runs ahead of everything else on the host, if that is allowed: for work that leaves most of the
    processor idle, and whose figure is times. Else another program's turn is in them."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Counter:
    """What a machine under bench/count has done so far, exactly. `words` are more of them for the plugin."""

    FIELDS = ("instructions", "loads", "load_bytes", "stores", "store_bytes", "device_loads", "device_stores")

    def __init__(self, folder, words=""):
        self.socket, self.words = f"{folder}/count.sock", words

    def arguments(self):
        return ["-plugin", f"{ROOT}/build/libcount.so,socket={self.socket}{self.words}"]

    def line(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(self.socket)
            return [int(n) for n in s.makefile().readline().split()]

    def read(self):
        return dict(zip(self.FIELDS, self.line()))


class Machine:
    """What the three have in common. A child sets name, arguments() and ready()."""

    counter = None

    def __init__(self, counted=False, wire=None, words=""):
        self.folder = tempfile.mkdtemp(prefix="pagewire-bench-")
        self.counter = Counter(self.folder, words) if counted or words else None
        self.wire = wire
        self.net = wire.netdev if wire else ["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]
        self.process = None

    def __enter__(self):
        start = time.monotonic()
        with open(f"{self.folder}/qemu.err", "w") as errors:
            self.process = subprocess.Popen(
                ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", str(MEMORY), "-display", "none", "-nodefaults",
                 "-vga", "std", "-no-reboot", *self.arguments(), *(self.counter.arguments() if self.counter else []),
                 *self.net, "-device", "e1000,netdev=net,mac=52:54:00:12:34:56"],
                stdin=subprocess.DEVNULL, stderr=errors)
        try:
            while not self.ready():
                if self.process.poll() is not None or time.monotonic() > start + START:
                    raise RuntimeError(f"{self.name} did not start: {self.said()[-300:]!r}")
                time.sleep(0.02)
            if not self.wire:
                self.reached()
        except BaseException:
            self.close()
            raise
        self.boot = time.monotonic() - start
        return self

    def reached(self):
        """Until the network leads to the machine: QEMU's card receives nothing for a second after a guest has switched it on,
        and whoever serves sooner than that would have that second in the time of its first answer."""
        end = time.monotonic() + START
        while True:
            try:
                return socket.create_connection((GUEST, 80), timeout=5).close()
            except ConnectionRefusedError:
                return None
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise

    def __exit__(self, *_):
        self.settle()
        self.close()

    def settle(self):
        """Until it has answered to the end of every connection that its clients closed, or does not answer. Else the host would
        go on telling that end to the machine that comes next: behind 20,000 connections that is a burst of so many frames,
        again after twice the time, in the middle of what is measured then."""
        end = time.monotonic() + SETTLE
        while unsettled() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self):
        text = ""
        for name in ("serial", "qemu.err"):
            if os.path.exists(f"{self.folder}/{name}"):
                with open(f"{self.folder}/{name}", errors="replace") as f:
                    text += f.read()
        return text

    def ready(self):
        return "peer: ready" in self.said()

    def alive(self):
        """Whether it still answers (the floor keeps no state and always does)."""
        if self.process.poll() is not None:
            return False
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", "--max-time", "20", f"http://{GUEST}/100.bin"])
        return done.returncode == 0

    def busy(self):
        """Seconds of processor time that QEMU has used."""
        return processor_time(self.process.pid)

    def disk(self):
        return ["-drive", f"file={OUT}/files.img,format=raw,snapshot=on,if=none,id=d0", "-device",
                "ide-hd,drive=d0,bus=ide.0"]


class Linux(Machine):
    """The distribution's kernel and nginx (bench/linux-peer)."""

    name = "Linux + nginx"

    def arguments(self):
        return ["-kernel", f"{OUT}/linux/vmlinuz", "-initrd", f"{OUT}/linux/initrd", "-append",
                "console=ttyS0 mitigations=off quiet", *self.disk(), "-serial", f"file:{self.folder}/serial",
                "-serial", f"unix:{self.folder}/words,server=on,wait=off"]

    def word(self, text):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(f"{self.folder}/words")
            s.sendall(text.encode() + b"\n")
            return s.makefile().readline().strip()

    def free(self):
        return int(self.word("free")) * 1024


class Floor(Machine):
    """bench/floor: answers with canned bytes; of what a connection is, it knows what comes next in a large answer."""

    name = "floor"

    def arguments(self):
        return ["-kernel", f"{ROOT}/build/floor.elf", "-serial", f"file:{self.folder}/serial"]


class Pagewire(Machine):
    """build/pagewire.elf, serving and taking files, without an access log."""

    name = "Pagewire"

    def arguments(self):
        words = f"write=on log=off http_per_address=0 http_connections=30000 " \
                f"ip={GUEST}::{HOST}:255.255.255.0:pagewire:eth0:off"
        return ["-kernel", f"{ROOT}/build/pagewire.elf", "-append", words, *self.disk(),
                "-serial", f"file:{self.folder}/serial"]

    def ready(self):
        return "pagewire: ready http" in self.said()

    def alive(self):
        return "panic" not in self.said().lower() and super().alive()

    def metrics(self):
        text = run("curl", "-sS", "--max-time", "20", f"http://{GUEST}/.pagewire/metrics")
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    def free(self):
        return int(self.metrics()["pagewire_pmm_frames_free"]) * 4096


SYSTEMS = (Pagewire, Linux, Floor)


def described():
    """The measuring machine, for the report: processor, number, kernel, versions. Nothing that names it."""
    with open("/proc/cpuinfo") as f:
        model = re.search(r"^model name\s*:\s*(.*)", f.read(), re.M)
    linux = os.uname()
    kernel = re.match(r"[\d.]*\d", linux.release)
    return {"processor": model.group(1) if model else linux.machine, "number": os.cpu_count(),
            "kernel": f"Linux {kernel.group(0) if kernel else linux.release}",
            "qemu": run("qemu-system-x86_64", "--version").splitlines()[0].replace("QEMU emulator version ", "QEMU "),
            "peer": peer_versions(), "client": client_version()}


def peer_versions():
    try:
        with open(f"{OUT}/linux/versions") as f:
            return f.read().strip()
    except OSError:
        return "Linux and nginx of the distribution"


def client_version():
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout
    version = re.search(r"wrk (\S+)", said)
    return "wrk " + version.group(1) if version else "wrk"
