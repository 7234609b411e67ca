# SPDX-License-Identifier: BSD-2-Clause
"""A Pagewire machine in QEMU, for tests: start it, wait for its ready line, talk to its console, read its
metrics, and check at the end that everything it lent out has come back."""
import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
# Seconds that a test waits for what must come. No machine is so slow; nothing is proved by waiting for less.
PATIENCE = 300
OVMF = ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/ovmf/OVMF.fd"]


ports = itertools.count(20000 + os.getpid() % 9000)


def free_port(kind=socket.SOCK_STREAM):
    """A port of loopback that nobody has, and that no client's socket is given meanwhile: below the ephemeral ones."""
    while True:
        with socket.socket(type=kind) as s, contextlib.suppress(OSError):
            port = next(ports)
            s.bind(("127.0.0.1", port))
            return port


def make_volume(folder, image, label="SYS", *options, size=None):
    """An ext4 image of `folder` by mke2fs itself; `options` go to mke2fs."""
    if size is None:
        out = subprocess.run(["find", str(folder), "-printf", "%b\n"], check=True, capture_output=True,
                             text=True).stdout.split()
        size = f"{sum(map(int, out)) // 2 * 11 // 10 + len(out) * 5 + 24576}k"
    with open(image, "w"):
        pass
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", str(folder), "-m", "0",
                    *options, str(image), size], check=True, stdin=subprocess.DEVNULL,
                   capture_output=True)
    return str(image)


class GuestDied(AssertionError):
    pass


class VM:
    """with VM(disks=[image]) as vm: urllib.request.urlopen(vm.url + "/index.html")

    boot: "kernel" (the ELF with `append`), "iso" (BIOS), "uefi" (the ISO under OVMF).
    net:  "user" (slirp, vm.url on loopback) or a list of QEMU arguments that define netdev id "net"."""

    def __init__(self, disks=(), machine="q35", boot="kernel", mem=256, cpu=None, append="", nic="e1000",
                 net="user", address=None, extra=(), snapshot=True, name="vm"):
        self.disks, self.machine, self.boot, self.mem, self.cpu = list(disks), machine, boot, mem, cpu
        self.append, self.nic, self.net, self.extra = append, nic, net, list(extra)
        self.snapshot, self.address = snapshot, address
        self.dir = tempfile.mkdtemp(prefix=f"pagewire-{name}-")
        self.log = os.path.join(self.dir, "serial.log")
        self.access_log = os.path.join(self.dir, "access.log")
        self.process = None
        self.port = None
        self.stopped = False  # set by a test that brought the machine down on purpose

    def arguments(self):
        args = ["qemu-system-x86_64", "-M", self.machine, "-accel", "tcg", "-m", str(self.mem),
                "-display", "none", "-no-reboot", "-nodefaults", "-vga", "std",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                "-chardev", f"socket,id=con,path={self.dir}/console,server=on,wait=off,logfile={self.log}",
                "-serial", "chardev:con", "-serial", f"file:{self.access_log}",
                "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off"]
        if self.cpu:
            args += ["-cpu", self.cpu]
        bus = "ide"
        if self.machine == "pc":
            args += ["-device", "ich9-ahci,id=ahci"]
            bus = "ahci"
        for n, disk in enumerate(self.disks):
            plain = "=" not in disk
            source = f"file={disk},format=raw" + (",snapshot=on" if self.snapshot else "") if plain else disk
            args += ["-drive", f"{source},if=none,id=d{n}", "-device", f"ide-hd,drive=d{n},bus={bus}.{n}"]
        if self.boot == "kernel":
            args += ["-kernel", f"{BUILD}/pagewire.elf", "-append", self.append]
        else:
            args += ["-drive", f"file={BUILD}/pagewire.iso,format=raw,media=cdrom,readonly=on,if=none,id=cd",
                     "-device", f"ide-cd,drive=cd,bus={bus}.5,bootindex=0"]
        if self.boot == "uefi":
            firmware = next(f for f in OVMF if os.path.exists(f))
            args += ["-drive", f"if=pflash,format=raw,readonly=on,file={firmware}"]
        if self.net == "user":
            self.port = free_port()
            args += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:80"]
        elif self.net:
            args += self.net
        if self.net:
            args += ["-device", f"{self.nic},netdev=net,mac=52:54:00:12:34:56"]
        return args + self.extra

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}" if self.address is None else f"http://{self.address}"

    @property
    def peer(self):
        """(address, port) for a raw socket."""
        return ("127.0.0.1", self.port) if self.address is None else (self.address, 80)

    def spawn(self):
        self.process = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL,
                                        stderr=open(os.path.join(self.dir, "qemu.err"), "w"))
        return self

    def __enter__(self):
        self.spawn()
        try:
            self.wait_for(r"pagewire: ready http://(\S+)")
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None and not self.stopped:
                self.assert_alive()
        finally:
            self.kill()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if os.environ.get("KEEP") is None:
            shutil.rmtree(self.dir, ignore_errors=True)

    def serial(self):
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def assert_alive(self):
        text = self.serial()
        if "panic" in text.lower() or self.process.poll() is not None:
            raise GuestDied(f"QEMU status {self.process.poll()}; serial:\n{text[-4000:]}")

    def wait_for(self, pattern, seconds=PATIENCE, after=0):
        """The match of `pattern` in the serial log from offset `after` on."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.serial()[after:])
            if match:
                return match
            if self.process.poll() is not None or time.monotonic() > end:
                with open(os.path.join(self.dir, "qemu.err")) as f:
                    raise GuestDied(f"no {pattern!r} in {seconds} s (QEMU status {self.process.poll()}): "
                                    f"{f.read()}\nserial:\n{self.serial()[-4000:]}")
            time.sleep(0.02)

    def down(self, seconds=PATIENCE):
        """Types DOWN and waits for QEMU to end: its status, 0 when everything was written home."""
        self.stopped = True
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{self.dir}/console")
            s.sendall(b"DOWN\r")
            return self.wait_exit(seconds)

    def wait_exit(self, seconds=PATIENCE):
        return self.process.wait(seconds)

    def command(self, text, seconds=PATIENCE):
        """Types a line on the console; what the machine printed up to the next prompt. The socket must be
        read: QEMU waits for a client that does not."""
        out, end = b"", time.monotonic() + seconds
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{self.dir}/console")
            s.settimeout(0.2)
            s.sendall(text.encode() + b"\r")
            while not re.search(rb"\n:[^\n]*$", out):
                if time.monotonic() > end:
                    raise GuestDied(f"no prompt after {text!r} in {seconds} s; it printed {out!r}")
                try:
                    out += s.recv(65536)
                except TimeoutError:
                    pass
        return out.decode(errors="replace").replace("\r", "")

    def qmp(self, command, **arguments):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{self.dir}/qmp")
            f = s.makefile("rw")
            f.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                f.write(json.dumps(request) + "\n")
                f.flush()
                while True:
                    answer = json.loads(f.readline())
                    if "return" in answer or "error" in answer:
                        break
            assert "return" in answer, answer
            return answer["return"]

    def keys(self, *names):
        for name in names:
            self.qmp("send-key", keys=[{"type": "qcode", "data": name}])
            time.sleep(0.1)

    def get(self, path, timeout=PATIENCE, **headers):
        request = urllib.request.Request(self.url + path, headers=headers)
        return urllib.request.urlopen(request, timeout=timeout).read()

    METRICS = "/.pagewire/metrics"

    @staticmethod
    def read_metrics(text):
        values = {}
        for line in text.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def metrics(self):
        return self.read_metrics(self.get(self.METRICS))

    def read_at_rest(self):
        client = http.client.HTTPConnection(*self.peer, timeout=PATIENCE / 5)
        with contextlib.closing(client):
            for pause in (0.05, 0):
                client.request("GET", self.METRICS)
                text = client.getresponse().read()
                time.sleep(pause)
        return self.read_metrics(text)

    def metrics_at_rest(self):
        """Read by the second request of a connection: the card is done with what opened the connection and with the
        first answer, which else may be there or not. QEMU's user network may reset a connection or forget it, when it
        stood still: then by another one, which finds what the server has of the first."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.read_at_rest()
            except (OSError, http.client.HTTPException):
                self.assert_alive()
                if time.monotonic() > end:
                    raise

    # What must be the same again when no client is there any more. The request that reads the metrics is
    # itself a connection, so the first reading and the last are made in the same way.
    LENT = re.compile(r"pagewire_(cache_pinned_pages$|pool_used\{.*|e1000_tx_outstanding.*|"
                      r'rx_buffers\{place="held"\})')
    # Caches by design: they keep what they have learnt, up to their bounds. (MLD6_GROUP: one for each
    # IPv6 address, which come some seconds after the start. rxbuf: free ones are kept; held ones are above.)
    CACHES = re.compile(r"inode|name|dentry|extent|http_file|http_remembered|meta|worker|thread|MLD6_GROUP|rxbuf")

    def lent(self):
        values = self.metrics_at_rest()
        # A connection that the server closed first stays for TIME_WAIT, which is nobody's leak. A page of metrics is not
        # of one moment: where some of them ended between its two lines the difference is no less than none.
        blocks = 'pagewire_pool_used{pool="tcp_tw"}'
        if blocks in values:
            values[blocks] = max(0, values[blocks] - values.get("pagewire_tcp_connections_time_wait", 0))
        return {k: v for k, v in values.items() if self.LENT.match(k) and not self.CACHES.search(k)}

    @staticmethod
    def wait_returned(before, look, seconds=PATIENCE):
        """Until nothing that look() tells is more than before."""
        end = time.monotonic() + seconds
        while held := {k: (before.get(k, 0), v) for k, v in look().items() if v > before.get(k, 0)}:
            assert time.monotonic() < end, f"not given back (before, now): {held}"
            time.sleep(0.25)

    def assert_returned(self, before, seconds=PATIENCE, written=0):
        """Pages, pbufs, descriptors and connections are back where they were; nothing was copied but `written`
        bytes into the cache."""
        self.wait_returned(before, self.lent, seconds)
        values = self.metrics()
        copied = {"other": 0, "stream_head": 0, "cache_write": written}
        for site, count in copied.items():
            got = values[f'pagewire_copy_bytes_total{{site="{site}"}}']
            assert got == count, f"copied at {site}: {got:.0f} bytes, not {count} ({got - count:+.0f})"
        self.assert_alive()
