# SPDX-License-Identifier: BSD-2-Clause
"""Links that take less than 1500 bytes: the machine's own, and ones on the way: tunnels, PPPoE, VPNs. This namespace is the router, and Linux's own
router says what is too big; the client is curl in a namespace of its own. Where the router is to be silent, the client's
end of the link drops what is longer than its MTU, as a router does whose messages are filtered."""
import contextlib
import hashlib
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import Tap, digest
from relay import checksum
from tcp_peer import MSS_SACK_SCALE, connections
from vm import PATIENCE, VM

PREFIX = "fd77::"
GUEST6 = "fd77::5054:ff:fe12:3456"  # RFC 4291, appendix A, of QEMU's default address
LARGE = "size-1048577.bin"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def advertise(tap, mtu=None):
    """A router advertisement (RFC 4861, 4.2) with our prefix; the kernel makes the checksum."""
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    message += struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, PREFIX)
    if mtu:
        message += struct.pack("!BBHI", 5, 1, 0, mtu)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(tap.name))
        s.sendto(message, ("ff02::1", 0))


class Client:
    """A namespace behind this one. mtu: of the link in between; silent: nobody says so; most: what both ends take to be its MTU."""

    def __init__(self, tap, mtu, silent, most=1500):
        for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            with open("/proc/sys/" + path, "w") as f:
                f.write("1")
        run("ip", "addr", "add", PREFIX + "1/64", "dev", tap.name, "nodad")
        self.process = subprocess.Popen(["unshare", "-n", "--kill-child", "sh", "-c", "echo up; exec sleep infinity"],
                                        stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"up\n"
        run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self.process.pid))
        for inside, name, last, own in ((False, "near", 1, most if silent else mtu), (True, "far", 2, mtu if silent else most)):
            do = self.run if inside else run
            do("ip", "link", "set", name, "mtu", str(own), "up")
            do("ip", "addr", "add", f"10.78.0.{last}/24", "dev", name)
            do("ip", "addr", "add", f"fd78::{last}/64", "dev", name, "nodad")
        # As far as the client knows.
        self.run("ip", "route", "add", "default", "via", "10.78.0.1", "advmss", str(most - 40))
        self.run("ip", "route", "add", "default", "via", "fd78::1", "advmss", str(most - 60))

    def run(self, *command):
        return run("nsenter", "-t", str(self.process.pid), "-n", *command)

    def download(self, host, name):
        """Returns what the file's SHA-256 is."""
        with subprocess.Popen(["nsenter", "-t", str(self.process.pid), "-n", "curl", "-sS", "-f", "--max-time", str(PATIENCE),
                               f"http://{host}/{name}"], stdout=subprocess.PIPE) as curl:
            found = hashlib.file_digest(curl.stdout, "sha256").hexdigest()
        assert curl.returncode == 0
        return found

    def fragments(self):
        """How many came, of both kinds of IP."""
        names, values = [line.split() for line in self.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Ip:")]
        six = dict(line.split() for line in self.run("cat", "/proc/net/snmp6").splitlines())
        return int(values[names.index("ReasmReqds")]) + int(six["Ip6ReasmReqds"])

    def close(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def client(*arguments, **options):
    made = Client(*arguments, **options)
    try:
        yield made
    finally:
        made.close()


def wait_for_address(tap, **options):
    """The guest has got its address from the prefix, and answers."""
    end = time.monotonic() + PATIENCE
    while True:
        advertise(tap, **options)
        try:
            socket.create_connection((GUEST6, 80), timeout=2).close()
            return
        except OSError:
            assert time.monotonic() < end, "no address from the prefix"


def counts(vm):
    values = vm.metrics()
    return {why: values[f'pagewire_tcp_path_mtu_lowered_total{{why="{why}"}}'] for why in ("message", "silence", "memory")} | {
        "entries": values["pagewire_tcp_path_mtu_entries"],
        "heard": sum(v for k, v in values.items() if k.startswith("pagewire_tcp_path_mtu_messages_total"))}


@pytest.mark.parametrize("silent", [False, True], ids=["told", "silent"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_client_behind_a_smaller_link(tap, tree, tree_image, family, silent):
    with tap.vm([tree_image], mem=512) as vm, client(tap, 1300, silent) as far:
        if family == 6:
            wait_for_address(tap)
        host = Tap.GUEST if family == 4 else f"[{GUEST6}]"
        before, first = vm.lent(), counts(vm)
        assert far.download(host, LARGE) == digest(tree / LARGE)
        then = counts(vm)
        # A host that stands still may let time-outs come before the message.
        assert then["message"] + then["silence"] > 0 and then["entries"] == 1, then
        assert then["heard"] == first["heard"] if silent else then["heard"] > 0, then
        assert far.download(host, LARGE) == digest(tree / LARGE)
        last = counts(vm)
        assert last["memory"] >= 1 and last["heard"] == then["heard"], last
        assert far.fragments() == 0
        assert "are at most" in vm.command("CONFIG")
        vm.assert_returned(before)


def too_big(peer, frame, mtu, **changes):
    """ICMP's "fragmentation needed" that quotes a frame of the guest's; changes: what is forged, by its place in the packet."""
    quoted = bytearray(frame[14:14 + 28])
    for place, byte in changes.values():
        quoted[place] ^= byte
    body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
    peer.ip(1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])


def test_forged_messages_change_nothing(lone):
    """What is not acknowledged stays in flight. Each forgery differs from the right message in one bit, and is followed by
    an echo request, so that silence is proved."""
    _, peer = lone
    with connections(lone) as connect:
        c = connect()
        c.open(MSS_SACK_SCALE)
        c.ask("/size-65536.bin")
        frame = peer.hear(PATIENCE, lambda f: f[12:14] == b"\x08\0" and f[23] == 6 and len(f) == 1514)
        assert frame[20] & 0x40, "DF"
        c.until_quiet()
        for place, byte in ((12, 1), (16, 1), (20, 1), (22, 1), (23, 1), (24, 0x80), (24, 0x40), (9, 1), (7, 1)):
            too_big(peer, frame, 1400, forged=(place, byte))
        too_big(peer, frame, 1500)
        for again in c.until_quiet():  # a time-out may send the same once more
            assert len(again.data) in (0, 1460) or again.seq != c.ack, again
        too_big(peer, frame, 1400)
        smaller = c.hear(want=lambda s: s.seq == c.ack and s.data and len(s.data) != 1460)
        assert len(smaller.data) == 1360
        c.collect(until=lambda data: len(data) > 65536)


def test_a_router_that_tells_of_a_smaller_link(tap, tree, tree_image):
    """RFC 4861, 4.6.4: of a connection that is open already, and of new ones."""
    with tap.vm([tree_image], mem=512) as vm:
        run("ip", "addr", "add", PREFIX + "1/64", "dev", tap.name, "nodad")
        wait_for_address(tap)
        with socket.create_connection((GUEST6, 80), timeout=PATIENCE) as s:
            assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 1400
            advertise(tap, 1300)
            end = time.monotonic() + PATIENCE
            while not vm.metrics()['pagewire_tcp_path_mtu_lowered_total{why="link"}']:
                assert time.monotonic() < end
        with socket.create_connection((GUEST6, 80), timeout=PATIENCE) as s:
            assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1240


def longest_packet(capture):
    """Of the machine's own, in a capture of whole frames' beginnings (pcap, written on this machine)."""
    with open(capture, "rb") as f:
        data, at, longest = f.read(), 24, 0
    while at + 16 <= len(data):
        _, _, kept, length = struct.unpack_from("=IIII", data, at)
        frame = data[at + 16:at + 16 + kept]
        at += 16 + kept
        if frame[6:9] == b"\x52\x54\0":
            longest = max(longest, length - 14)
    return longest


def test_a_link_that_takes_less_says_the_command_line(tap, tree, tree_image, tmp_path):
    capture = tmp_path / "capture.pcap"
    with tap.vm([tree_image], append="cache=unmapped mtu=1000", mem=512) as vm:
        vm.qmp("object-add", **{"qom-type": "filter-dump", "id": "dump", "netdev": "net", "file": str(capture), "maxlen": 64})
        before = vm.lent()
        assert hashlib.sha256(vm.get("/" + LARGE)).hexdigest() == digest(tree / LARGE)
        with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
            assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 960
        subprocess.run(["ping", "-c", "1", "-w", str(PATIENCE), "-s", "1400", Tap.GUEST], check=True, capture_output=True)
        assert "MTU 1000" in vm.command("CONFIG")
        vm.assert_returned(before)
        vm.qmp("object-del", id="dump")
    assert longest_packet(capture) == 1000


class Dhcp(threading.Thread):
    """A server that has one address, and says how long packets may be (RFC 2131; option 26 of RFC 2132)."""

    def __init__(self, tap, mtu):
        super().__init__(daemon=True)
        self.mtu, self.asked = mtu, False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, tap.name.encode())
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.socket.bind(("", 67))
        self.start()

    def run(self):
        own, mask = socket.inet_aton(Tap.HOST), socket.inet_aton("255.255.255.0")
        while True:
            request = self.socket.recv(2048)
            options, rest = {}, request[240:]
            while rest and rest[0] != 255:
                length = 0 if rest[0] == 0 else rest[1]
                options[rest[0]], rest = rest[2:2 + length], rest[1 if rest[0] == 0 else 2 + length:]
            kind = {1: 2, 3: 5}.get(options[53][0])
            if not kind:
                continue
            self.asked |= 26 in options.get(55, b"")
            answer = b"\2" + request[1:16] + socket.inet_aton(Tap.GUEST) + own + bytes(4) + request[28:44] + bytes(192)
            answer += b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + b"\x36\4" + own + b"\x33\4" + struct.pack("!I", 3600)
            answer += b"\1\4" + mask + b"\3\4" + own + b"\x1a\2" + struct.pack("!H", self.mtu) + b"\xff"
            self.socket.sendto(answer, ("255.255.255.255", 68))


def test_a_link_that_takes_less_says_dhcp(tap, tree, tree_image):
    """What no card takes is refused with a word about it, and DHCP's word counts."""
    dhcp = Dhcp(tap, 1200)
    with VM(disks=[tree_image], address=Tap.GUEST, append="cache=unmapped mtu=16111", mem=512,
            net=["-netdev", f"tap,id=net,ifname={tap.name},script=no,downscript=no"]) as vm:
        assert "mtu=576 to 16110" in vm.serial()
        assert dhcp.asked and "MTU 1200" in vm.command("CONFIG")
        with socket.create_connection(vm.peer, timeout=PATIENCE) as s:
            assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1160
        assert hashlib.sha256(vm.get("/" + LARGE)).hexdigest() == digest(tree / LARGE)
