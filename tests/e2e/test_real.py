# SPDX-License-Identifier: BSD-2-Clause
"""Programs of the distribution that nobody here wrote: nginx serving a volume by sendfile, iperf3, busybox over the
network. They run unchanged (tests/programs/programs.mk says how they are built)."""
import concurrent.futures
import hashlib
import json
import random
import socket
import subprocess
import threading
import time

import pytest

from conftest import Tap
from held import Held
from test_sockets import POOLS, connect, copied
from vm import BUILD, PATIENCE, ROOT, make_volume

FILE = random.Random(11).randbytes(5_000_003)
SMALL = random.Random(12).randbytes(777)
NGINX = """user root root; daemon off; master_process off; error_log stderr; pid /nginx/pid;
events { use epoll; worker_connections 256; }
http { sendfile on; tcp_nopush on; access_log off; server { listen 8081; root /www; autoindex on; } }
"""


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    subprocess.run(["make", "-s", "build/programs/nginx", "build/programs/iperf3"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    root = tmp_path_factory.mktemp("real")
    for name in ("bin", "etc", "tmp", "www", "nginx", "nginx/logs", "nginx/conf"):
        (root / name).mkdir()
    (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")  # nginx looks them up
    (root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\nnobody:x:65534:\n")
    subprocess.run(["cp", "/bin/busybox", f"{BUILD}/programs/nginx", f"{BUILD}/programs/iperf3", root / "bin"], check=True)
    (root / "nginx" / "conf" / "nginx.conf").write_text(NGINX)
    (root / "www" / "big.bin").write_bytes(FILE)
    (root / "www" / "small.bin").write_bytes(SMALL)
    (root / "www" / "empty").write_bytes(b"")
    (root / "nc.sh").write_text(f"busybox nc {Tap.HOST} 8897 < /www/big.bin | busybox md5sum\n")
    (root / "index.html").write_text("hello\n")
    return make_volume(root, str(root) + ".img", "SYS", size="96M")


@pytest.fixture
def machine(tap, volume):
    with tap.vm([volume], append="cache=unmapped write=on", name="real") as vm:
        vm.get("/")
        yield vm


def curl(path, *more):
    return subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE), *more, f"http://{Tap.GUEST}:8081{path}"], capture_output=True, check=True).stdout


def test_nginx_serves_a_volume_and_copies_nothing(machine):
    held = Held(machine, POOLS)
    machine.command("LOAD nginx &")
    connect(8081).close()
    assert curl("/big.bin") == FILE
    start, requests = copied(machine, "stream_head"), 60
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        for n, data in enumerate(pool.map(lambda n: curl("/small.bin" if n % 3 == 2 else "/big.bin"), range(requests))):
            assert data == (SMALL if n % 3 == 2 else FILE)
    # Requests and response headers come over the border, a few hundred bytes each; the files do not.
    assert copied(machine, "stream_head") - start < requests * 1024
    assert copied(machine, "other") == 0
    assert curl("/big.bin", "-r", "4095-9999") == FILE[4095:10000]
    assert curl("/big.bin", "-r", "-10") == FILE[-10:]
    assert curl("/empty") == b"" and b"big.bin" in curl("/")
    assert b"404" in curl("/nothing", "-I") and b"Content-Length: 5000003" in curl("/big.bin", "-I")
    held.stop()


def iperf(*more):
    """The bytes that the receiving side counted."""
    end = time.monotonic() + PATIENCE
    while True:
        out = subprocess.run(["iperf3", "-c", Tap.GUEST, "-J", *more], capture_output=True, timeout=PATIENCE)
        report = json.loads(out.stdout)
        if "error" not in report:
            return report["end"]
        assert time.monotonic() < end, report["error"]  # the server is still starting, or not yet done with the last one
        time.sleep(0.3)


def test_iperf3_counts_what_was_sent(machine):
    held = Held(machine, POOLS)
    machine.command("LOAD iperf3 -s &")
    for more in ((), ("-R", "-P", "3")):  # who receives stops counting when who sends says that it is done
        end = iperf("-n", "8M", *more)
        assert end["sum_sent"]["bytes"] >= 8 << 20 and end["sum_received"]["bytes"] >= 1 << 20, end
    held.stop()


def test_iperf3_receives_and_sends_datagrams_test_after_test(machine):
    held = Held(machine, POOLS)
    machine.command("LOAD iperf3 -s &")
    for more in (("-b", "10M"), ("-b", "10M", "-R", "-P", "2"), ("-b", "0"), ("-b", "10M", "-R")):  # unasked, a megabit a second
        for stream in iperf("-u", "-n", "1M", *more)["streams"]:
            assert stream["udp"]["packets"] > stream["udp"]["lost_packets"], (more, stream)
    assert iperf("-n", "1M")["sum_sent"]["bytes"] >= 1 << 20
    held.stop()


def test_busybox_nc_sends_a_file_and_prints_what_comes(machine):
    held = Held(machine, POOLS)
    got = []
    with socket.create_server((Tap.HOST, 8897)) as server:
        def answer():
            c, _ = server.accept()
            with c:
                while sum(map(len, got)) < len(FILE):
                    got.append(c.recv(1 << 20))
                c.sendall(SMALL)
        thread = threading.Thread(target=answer)
        thread.start()
        out = machine.command("LOAD busybox sh /nc.sh")
        thread.join()
    assert b"".join(got) == FILE and hashlib.md5(SMALL).hexdigest() in out
    held.stop()
