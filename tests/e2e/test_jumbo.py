# SPDX-License-Identifier: BSD-2-Clause
"""Links that take more than 1500 bytes: files both ways, long echoes, clients and paths that take less, and DHCP. The host's
own TCP is the peer, tshark the judge of what the machine's card sent."""
import hashlib
import random
import re
import socket
import subprocess

import pytest

from conftest import Tap, curl, digest
from test_network import read_response, request
from test_path_mtu import GUEST6, LARGE, Dhcp, client, counts, run, wait_for_address
from test_write import Site
from vm import PATIENCE, VM

UPLOAD = 6_000_001


def widen(tap, mtu):
    run("ip", "link", "set", tap.name, "mtu", str(mtu))


def host(family, tap):
    return Tap.GUEST if family == 4 else f"[{Tap.GUEST6}%25{tap.name}]"


def tshark(capture, what, *fields):
    out = subprocess.run(["tshark", "-r", str(capture), "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", what,
                          "-T", "fields", *(w for f in fields for w in ("-e", f))], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout.split()


def judge_capture(capture, family, mtu):
    """Whole frames both ways, as long as they may be, and no wrong checksum among the machine's."""
    ours = f"eth.src == 52:54:00:12:34:56 and {'ip' if family == 4 else 'ipv6'}"
    bad = "tcp.checksum.status == 0 or ip.checksum.status == 0 or icmp.checksum.status == 0 or icmpv6.checksum.status == 0 or _ws.malformed"
    assert not tshark(capture, f"{ours} and ({bad})", "frame.number")
    # A whole segment of the card's is as long as its window allows; four bytes less where it is the last of a row.
    assert max(map(int, tshark(capture, ours, "frame.len"))) == mtu + 14
    assert max(map(int, tshark(capture, f"not {ours} and tcp", "frame.len"))) == mtu + 14


@pytest.mark.parametrize("words", ["", "nic=late"], ids=["plain", "late"])
@pytest.mark.parametrize("family,mtu", [(4, 9000), (6, 9000), (4, 16110)])
def test_a_file_both_ways_in_long_frames(tap, tmp_path, seed, family, mtu, words):
    widen(tap, mtu)
    data, capture = random.Random(seed).randbytes(UPLOAD), tmp_path / "capture.pcap"
    (tmp_path / "upload").write_bytes(data)
    net = ["-netdev", f"tap,id=net,ifname={tap.name},script=no,downscript=no"]
    with Site(tmp_path, "48M", f"ip={Tap.GUEST}::{Tap.HOST}:255.255.255.0:pagewire:eth0:off mtu={mtu} {words}", net=net,
              address=Tap.GUEST, mem=512) as site:
        tap.connect6().close()  # when the addresses are good
        vm, url = site.vm, f"http://{host(family, tap)}/up"
        vm.qmp("object-add", **{"qom-type": "filter-dump", "id": "dump", "netdev": "net", "file": str(capture)})
        curl("-f", "-T", str(tmp_path / "upload"), url)
        site.written += len(data)
        got = curl("-f", url).stdout
        vm.qmp("object-del", id="dump")
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        values = vm.metrics()
        assert values["pagewire_net_rx_long_frames_total"] > UPLOAD // mtu // 2
        assert f"MTU {mtu}" in vm.command("CONFIG")
        # A request that is longer than a receive buffer, in one segment.
        field = "x" * 3000
        assert curl("-f", "-H", f"X-Long: {field}", url).stdout == data
        site.judge({"up": data})
    judge_capture(capture, family, mtu)


def test_echoes_of_any_length(tap, tree_image, tmp_path):
    """As long as the link takes, not to be cut; longer ones, and ones whose last piece is little, in fragments."""
    widen(tap, 9000)
    capture = tmp_path / "capture.pcap"
    with tap.vm([tree_image], append="cache=unmapped mtu=9000", mem=512) as vm:
        tap.connect6().close()
        before = vm.lent()
        vm.qmp("object-add", **{"qom-type": "filter-dump", "id": "dump", "netdev": "net", "file": str(capture)})
        for size in (1472, 1473, 2006, 2007, 2034, 4054, 8972):
            run("ping", "-c", "1", "-w", str(PATIENCE), "-M", "do", "-s", str(size), Tap.GUEST)
        run("ping", "-c", "1", "-w", str(PATIENCE), "-M", "do", "-s", "8952", f"{Tap.GUEST6}%{tap.name}")
        for size in (8973, 20000, 60000):
            run("ping", "-c", "1", "-w", str(PATIENCE), "-M", "dont", "-s", str(size), Tap.GUEST)
            run("ping", "-c", "1", "-w", str(PATIENCE), "-M", "dont", "-s", str(size), f"{Tap.GUEST6}%{tap.name}")
        vm.qmp("object-del", id="dump")
        vm.assert_returned(before)
    assert max(map(int, tshark(capture, "eth.src == 52:54:00:12:34:56", "frame.len"))) == 9014


def test_long_frames_on_a_link_of_1500_are_dropped(tap, tree, tree_image):
    """The host's link takes more than ours: what it sends that is too long is counted, and nothing else suffers."""
    widen(tap, 9000)
    with tap.vm([tree_image], mem=512) as vm:
        before = vm.lent()
        lost = subprocess.run(["ping", "-c", "3", "-i", "0.2", "-W", "1", "-M", "do", "-s", "8972", Tap.GUEST], capture_output=True)
        assert lost.returncode == 1
        values = vm.metrics()
        assert values['pagewire_e1000_rx_dropped_total{reason="long"}'] >= 3 and not values["pagewire_net_rx_long_frames_total"]
        assert hashlib.sha256(vm.get("/" + LARGE)).hexdigest() == digest(tree / LARGE)
        vm.assert_returned(before)


@pytest.mark.parametrize("silent", [False, True], ids=["told", "silent"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_smaller_link_on_the_way(tap, tree, tree_image, family, silent):
    """A client that takes 9000 bytes behind a link of 1500; and clients on our own link that do not suffer from it."""
    widen(tap, 9000)
    with tap.vm([tree_image], append="cache=unmapped mtu=9000", mem=512) as vm, client(tap, 1500, silent, most=9000) as far:
        if family == 6:
            wait_for_address(tap)
        before, first = vm.lent(), counts(vm)
        assert far.download(Tap.GUEST if family == 4 else f"[{GUEST6}]", LARGE) == digest(tree / LARGE)
        then = counts(vm)
        assert then["message"] + then["silence"] > first["message"] + first["silence"], then
        assert then["entries"] == 1 and silent == (then["heard"] == first["heard"]), then
        assert far.fragments() == 0
        # 1500, or less where the host stood still for so long that the next smaller was tried as well.
        assert re.search(r"are at most (1500|1280|576) bytes", vm.command("CONFIG"))
        for says, least, most in ((None, 8900, 8960), (1460, 1400, 1460)):
            assert download(vm, says, least, most) == digest(tree / LARGE)
        vm.assert_returned(before)


def download(vm, says, least, most):
    """The digest of a file that was sent to a client whose SYN says so. Its connection's segments are between these."""
    with socket.socket() as s:
        s.settimeout(PATIENCE)
        if says:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, says)
        s.connect(vm.peer)
        assert least <= s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= most
        s.sendall(request("/" + LARGE))
        return hashlib.sha256(read_response(s)[1]).hexdigest()


def test_a_link_that_takes_more_says_dhcp(tap, tree, tree_image):
    widen(tap, 9000)
    dhcp = Dhcp(tap, 9000)
    with VM(disks=[tree_image], address=Tap.GUEST, append="cache=unmapped", mem=512,
            net=["-netdev", f"tap,id=net,ifname={tap.name},script=no,downscript=no"]) as vm:
        assert dhcp.asked and "MTU 9000" in vm.command("CONFIG")
        with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
            assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 8900
        run("ping", "-c", "1", "-w", str(PATIENCE), "-M", "do", "-s", "8972", Tap.GUEST)
        assert hashlib.sha256(vm.get("/" + LARGE)).hexdigest() == digest(tree / LARGE)
