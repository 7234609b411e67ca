# SPDX-License-Identifier: BSD-2-Clause
"""TCP as RFC 9293 has it, on the wire, a peer made by hand against one machine: what is unacceptable in each state,
resets, windows, closing in every order, retransmission, SACK. The names say the condition."""
import random
import struct
import time

import pytest

from relay import checksum
from tcp_peer import ACK, FIN, MSS_SACK, MSS_SACK_SCALE, PSH, RST, SYN, URG, Connection, connections, mod
from vm import PATIENCE


@pytest.fixture
def make(lone):
    with connections(lone) as one:
        yield one


@pytest.fixture
def c(make):
    connection = make()
    connection.open()
    return connection


TIMEOUTS = (b"pagewire_tcp_timeouts_total", b"pagewire_tcp_syn_ack_retransmits_total")
NO_SACK = bytes.fromhex("020405b4")
PROBES = b"pagewire_tcp_tail_loss_probes_total"


def metrics(peer):
    c = Connection(peer)
    c.open()
    c.ask("/.pagewire/metrics", close=True)
    values = dict(line.rsplit(b" ", 1) for line in c.collect().splitlines() if line.startswith(b"pagewire_"))
    c.reset()
    return {name: float(value) for name, value in values.items()}


def timed_out(peer):
    values = metrics(peer)
    return [values[name] for name in TIMEOUTS], values[PROBES]


def undisturbed(lone, dialogue, probes=0, options=MSS_SACK):
    """A dialogue in which no timer of the guest comes in between: where the host stood still and one did, which the
    guest has counted, it is held again. probes: the tail loss probes that belong to it."""
    peer = lone[1]
    end = time.monotonic() + PATIENCE
    while True:
        outs, sent = timed_out(peer)
        c = Connection(peer)
        try:
            c.open(options)
            return dialogue(c)
        except AssertionError:
            if timed_out(peer) in ((outs, sent), (outs, sent + probes)) or time.monotonic() > end:
                raise
        finally:
            c.reset()


# ---- LISTEN and SYN-RECEIVED: 3.10.7.2, 3.10.7.4 ------------------------------------------------------

@pytest.mark.parametrize("flags", [ACK, SYN | ACK, FIN | ACK], ids=["ack", "syn-ack", "fin-ack"])
def test_listen_answers_an_ack_with_a_reset(make, flags):
    c = make()
    c.ack = 777
    c.send(flags)
    answer = c.hear()
    assert answer.flags & RST and answer.seq == 777


@pytest.mark.parametrize("flags", [RST, RST | ACK, FIN, 0, PSH], ids=["rst", "rst-ack", "fin", "none", "psh"])
def test_listen_ignores(make, flags):
    c = make()
    c.send(flags, b"")
    assert all(s.flags & RST for s in c.until_quiet())
    if flags & RST:
        c.send(flags, b"")
        assert c.until_quiet() == []


def test_a_closed_port_answers_with_a_reset(lone):
    _, peer = lone
    c = Connection(peer)
    head = struct.pack("!HHIIBBHHH", c.port, 4242, 5, 0, 5 << 4, SYN, 1000, 0, 0)
    pseudo = peer.IP + peer.GUEST + struct.pack("!BBH", 0, 6, len(head))
    peer.ip(6, head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:])
    answer = c.hear()
    assert answer.flags == RST | ACK and answer.ack == 6 and answer.seq == 0


def test_a_repeated_syn_gets_the_same_answer(make):
    c = make()
    c.send(SYN, options=MSS_SACK)
    first = c.hear()
    c.send(SYN, options=MSS_SACK, seq=mod(c.seq - 1))
    again = c.hear()
    assert (again.flags, again.seq, again.ack) == (SYN | ACK, first.seq, first.ack)


def test_a_syn_ack_is_repeated_when_nobody_answers(make):
    c = make()
    c.send(SYN, options=MSS_SACK)
    first, again = c.hear(), c.hear()
    assert (again.flags, again.seq) == (SYN | ACK, first.seq)


def test_half_open_is_ended_by_the_exact_reset_only(make):
    c = make()
    c.send(SYN, options=MSS_SACK)
    c.ack = mod(c.hear().seq + 1)
    c.send(RST, seq=mod(c.seq + 1))
    assert [s for s in c.until_quiet() if s.flags != SYN | ACK] == []  # which a slow host makes it repeat
    c.send(ACK)
    c.until_quiet()
    c.alive()
    d = make()
    d.send(SYN, options=MSS_SACK)
    d.ack = mod(d.hear().seq + 1)
    d.send(RST, seq=d.seq)
    d.gone()


def test_half_open_answers_a_wrong_ack_with_a_reset(make):
    c = make()
    c.send(SYN, options=MSS_SACK)
    right = mod(c.hear().seq + 1)
    c.ack = mod(right + 5)
    c.send(ACK)
    answer = c.hear(want=lambda s: not s.flags & SYN)
    assert answer.flags & RST and answer.seq == c.ack
    c.ack = right


def test_the_third_segment_may_bring_the_request(make):
    c = make()
    c.send(SYN, options=MSS_SACK)
    c.ack = mod(c.hear().seq + 1)
    c.ask("/size-1.bin", close=True)
    assert b" 200 " in c.collect()


# ---- sequence and acknowledgement numbers: 3.4, 3.10.7.4, RFC 5961 ------------------------------------

@pytest.mark.parametrize("how_far", [1, 1000, 0x40000000])
def test_an_ack_of_what_was_never_sent_is_refused_with_its_data(c, how_far):
    right = c.ack
    c.send(ACK | PSH, b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\n\r\n", seq=c.seq, ack=mod(c.ack + how_far))
    answers = c.until_quiet()
    assert [(s.flags, s.seq, s.ack, s.data) for s in answers] == [(ACK, right, c.seq, b"")]
    c.alive()


def test_an_ack_from_too_far_back_is_challenged(c):
    c.send(ACK | PSH, b"GET / HTTP/1.1\r\n", seq=c.seq, ack=mod(c.ack - 70000))
    answers = c.until_quiet()
    assert [(s.flags, s.ack, s.data) for s in answers] == [(ACK, c.seq, b"")]
    c.alive()


def test_an_old_ack_within_the_window_is_only_old(c):
    c.send(ACK, seq=c.seq, ack=mod(c.ack - 5))
    assert c.until_quiet() == []
    c.alive()


@pytest.mark.parametrize("where", [65536, 300000, -70000, 0x7fffffff], ids=lambda w: f"{w:+d}")
def test_data_outside_the_window_is_answered_with_an_ack_and_dropped(c, where):
    c.send(ACK, b"x" * 10, seq=mod(c.seq + where))
    answers = c.until_quiet()
    assert [(s.flags, s.seq, s.ack, s.data) for s in answers] == [(ACK, c.ack, c.seq, b"")]
    c.alive()


def test_a_segment_without_ack_is_dropped(c):
    c.send(PSH, b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\n\r\n", seq=c.seq)
    assert c.until_quiet() == []
    c.alive()


def test_an_empty_segment_outside_the_window_gets_an_ack(c):
    c.send(ACK, seq=mod(c.seq - 1))  # a keep-alive probe
    assert [(s.flags, s.ack) for s in c.until_quiet()] == [(ACK, c.seq)]
    c.alive()


def test_a_repeated_request_is_acknowledged_and_reported_as_repeated(c):
    start = c.seq
    c.ask("/size-1.bin")
    c.collect(until=lambda d: b"\r\n\r\n" in d)
    c.until_quiet()
    c.send(ACK | PSH, b"GET /size-1.bin ", seq=start)
    answers = c.until_quiet()
    assert [(s.flags, s.ack, s.sacks) for s in answers] == [(ACK, c.seq, [(start, start + 16)])]  # RFC 2883
    c.alive()


def test_a_request_that_overlaps_what_was_received_is_cut(c):
    request = b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    start = c.seq
    c.send(ACK, request[:20])
    c.until_quiet()
    c.send(ACK | PSH, request[10:], seq=start + 10)
    c.seq = start + len(request)
    assert b" 200 " in c.collect(until=lambda d: b"\r\n\r\n" in d)


# ---- reset and SYN in the window: RFC 5961 ------------------------------------------------------------

def test_a_reset_at_the_next_number_ends_the_connection(c):
    c.send(RST, seq=c.seq)
    c.gone()


@pytest.mark.parametrize("where", [1, 1000, 60000])
def test_a_reset_elsewhere_in_the_window_is_challenged(c, where):
    c.send(RST, seq=c.seq + where)
    assert [(s.flags, s.seq, s.ack) for s in c.until_quiet()] == [(ACK, c.ack, c.seq)]
    c.alive()


@pytest.mark.parametrize("where", [-1, -1000, 70000])
def test_a_reset_outside_the_window_is_ignored(c, where):
    c.send(RST, seq=mod(c.seq + where))
    assert c.until_quiet() == []
    c.alive()


@pytest.mark.parametrize("where", [0, 500, -500, 100000])
def test_a_syn_in_a_connection_is_challenged(c, where):
    c.send(SYN, seq=mod(c.seq + where), options=MSS_SACK)
    assert [(s.flags, s.seq, s.ack) for s in c.until_quiet()] == [(ACK, c.ack, c.seq)]
    c.alive()


def test_challenges_are_not_for_each_of_many(c):
    start = time.monotonic()
    for n in range(50):
        c.send(RST, seq=c.seq + 1 + n)
    assert 1 <= len(c.until_quiet()) <= 2 + (time.monotonic() - start) / 0.5
    c.alive()


# ---- what arrives out of order: RFC 2018 --------------------------------------------------------------

def test_a_hole_is_reported_by_sack_and_filled(c):
    request = b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    start = c.seq
    for left, right in ((20, 30), (10, 15), (30, len(request))):
        c.send(ACK, request[left:right], seq=start + left)
        answer = c.until_quiet()[-1]
        assert answer.ack == start and answer.sacks[0][0] <= start + left < start + right <= answer.sacks[0][1]
    assert sorted(answer.sacks) == [(start + 10, start + 15), (start + 20, start + len(request))]
    c.send(ACK, request[:10], seq=start)
    c.send(ACK, request[15:20], seq=start + 15)
    c.seq = start + len(request)
    assert b" 200 " in c.collect(until=lambda d: b"\r\n\r\n" in d)


def test_any_order_gives_the_same_request(make, seed):
    rng = random.Random(seed)
    request = b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"f" * 300 + b"\r\n\r\n"
    for _ in range(10):
        c = make()
        c.open()
        start, pieces = c.seq, []
        for at in range(0, len(request), 23):
            left, right = max(0, at - rng.randrange(20)), min(len(request), at + 23 + rng.randrange(40))
            pieces.append((left, right))
        rng.shuffle(pieces)
        for left, right in pieces:
            c.send(ACK, request[left:right], seq=start + left)
        c.seq = start + len(request)
        assert b" 200 " in c.collect(until=lambda d: b"\r\n\r\n" in d)
        c.reset()


def test_a_fin_that_comes_early_waits_for_what_is_before_it(c):
    request = b"GET /size-511.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    start = c.seq
    c.send(ACK | FIN, request[20:], seq=start + 20)
    c.until_quiet()
    c.send(ACK, request[:20], seq=start)
    c.seq = mod(start + len(request) + 1)
    assert len(c.collect()) > 511
    assert c.ack


def test_urgent_data_is_data(c):
    c.send(ACK | PSH | URG, b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 200 " in c.collect(until=lambda d: b"\r\n\r\n" in d)


# ---- options and sizes --------------------------------------------------------------------------------

@pytest.mark.parametrize("mss", [64, 200, 536, 1000, 1459])
def test_no_segment_is_larger_than_the_peers_mss(make, mss):
    c = make()
    c.open(options=bytes([2, 4, mss >> 8, mss & 255]))
    c.ask("/size-4097.bin")
    sizes, got = [], 0
    while got < 4097:
        s = c.hear(want=lambda s: s.seq == c.ack and s.data)
        sizes.append(len(s.data))
        got += len(s.data)
        c.ack = s.end
        c.send(ACK)
    assert max(sizes) == mss


def test_without_an_mss_option_segments_have_536_bytes(make):
    c = make()
    c.open(options=b"")
    c.ask("/size-4097.bin")
    assert len(c.hear(want=lambda s: s.data).data) == 536  # 3.7.1


@pytest.mark.parametrize("options", ["01010101", "fd0401020101", "0302", "00ffffff", "02", "0204", "05020101", "ff00"],
                         ids=lambda o: o)
def test_odd_options_do_no_harm(make, options):
    c = make()
    c.open()
    raw = bytes.fromhex(options)
    raw += b"\0" * (-len(raw) % 4)
    c.send(ACK | PSH, b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\n\r\n", options=raw)
    assert b" 200 " in c.collect(until=lambda d: b"\r\n\r\n" in d)


def test_a_scaled_window_is_used(make):
    c = make()
    answer = c.open(options=MSS_SACK_SCALE, window=65535)
    assert set(answer.options) >= {2, 3, 4}
    c.window = 20  # 2,560 bytes
    c.ask("/size-65536.bin")
    c.hear(want=lambda s: s.data)
    assert max((mod(s.end - c.ack) for s in c.until_quiet() if s.data), default=0) <= 2560


# ---- windows: 3.8.6 -----------------------------------------------------------------------------------

def test_a_small_window_is_never_overrun(make):
    c = make()
    c.open(window=1000)
    c.ask("/size-8192.bin")
    got, edge = 0, mod(c.ack + 1000)
    while got < 8192:
        s = c.hear(want=lambda s: s.data)
        assert mod(edge - s.end) < 0x80000000, (edge, s)
        if s.seq == c.ack:
            got += len(s.data)
            c.ack = s.end
            edge = mod(c.ack + 1000)
            c.send(ACK)


def test_a_closed_window_is_probed_and_opens(c):
    c.window = 0
    c.ask("/size-8192.bin")
    probe = c.hear(want=lambda s: s.data)
    assert len(probe.data) == 1 and probe.seq == c.ack
    c.send(ACK)  # still closed, and the byte is not taken
    again = c.hear(want=lambda s: s.data)
    assert len(again.data) == 1 and again.seq == c.ack
    c.window = 65535
    c.send(ACK)
    assert len(c.collect(until=lambda d: len(d) > 8192)) > 8192


def test_a_window_that_is_taken_back_loses_nothing(make):
    c = make()
    c.open(window=8000)
    c.ask("/size-65536.bin")
    first = c.hear(want=lambda s: s.data)
    c.ack = first.end
    c.send(ACK, window=0)
    c.until_quiet()
    data = first.data
    c.send(ACK, window=500)
    c.window = 30000
    c.send(ACK)
    data += c.collect(until=lambda d: len(d) + len(first.data) > 65536)
    assert len(data) > 65536


# ---- loss: RFC 6298, 5681, 6675, 8985 -----------------------------------------------------------------

def flight(c, path="/size-65536.bin"):
    """The first flight of an answer, none of it acknowledged, each segment once."""
    c.ask(path)
    segments = {}
    while len(segments) < 10:
        s = c.hear(want=lambda s: s.data)
        segments.setdefault(s.seq, s)
    for s in c.until_quiet():
        if s.data:
            segments.setdefault(s.seq, s)
    return sorted(segments.values(), key=lambda s: mod(s.seq - c.ack))


def test_what_nobody_acknowledges_comes_again_and_later_each_time(make):
    for _ in range(10):  # a host that stands still makes any of them late
        c = make()
        c.open()
        c.ask("/size-511.bin")
        first = c.hear(want=lambda s: s.data)
        times = []
        for _ in range(4):
            again = c.hear(want=lambda s: s.data)
            assert (again.seq, again.data) == (first.seq, first.data)
            times.append(time.monotonic())
        if times[3] - times[2] > 1.3 * (times[1] - times[0]):
            return
    raise AssertionError(times)


def test_three_duplicates_bring_the_first_segment_at_once(lone):
    def dialogue(c):
        segments = flight(c)
        for _ in range(3):
            c.send(ACK)
        again = [s for s in c.until_quiet() if s.data and s.seq == segments[0].seq]
        assert len(again) == 1 and again[0].data == segments[0].data
    undisturbed(lone, dialogue, options=NO_SACK)


def test_a_partial_ack_brings_the_next_hole_at_once(lone):
    def dialogue(c):
        segments = flight(c)
        for _ in range(3):
            c.send(ACK)
        c.until_quiet()
        c.ack = segments[3].seq  # 0 to 2 have arrived, 3 has not: RFC 6582
        c.send(ACK)
        again = [s for s in c.until_quiet() if s.data and s.seq == segments[3].seq]
        assert len(again) == 1
    undisturbed(lone, dialogue, options=NO_SACK)


def test_only_what_sack_does_not_name_comes_again(lone):
    def dialogue(c):
        segments = flight(c)
        lost, blocks = (0, 2, 5), b""
        for left, right in ((6, len(segments) - 1), (3, 4), (1, 1)):
            blocks += segments[left].seq.to_bytes(4, "big") + segments[right].end.to_bytes(4, "big")
        for _ in range(3):
            c.send(ACK, options=b"\1\1\5" + bytes([2 + len(blocks)]) + blocks)
        seen = [s for s in c.until_quiet() if s.data]
        old = {s.seq for s in seen if mod(s.seq - segments[0].seq) < mod(segments[-1].end - segments[0].seq)}
        assert old == {segments[n].seq for n in lost}
        c.ack = segments[-1].end
    undisturbed(lone, dialogue)


def test_a_lost_tail_is_probed_for(lone):
    def dialogue(c):
        c.ask("/size-8192.bin")
        got = []
        while sum(len(s.data) for s in got) < 8192:
            got.append(c.hear(want=lambda s: s.data))
        c.ack = got[2].end
        c.send(ACK)
        probe = c.hear(want=lambda s: s.data)
        assert (probe.seq, probe.end) == (got[-1].seq, got[-1].end)  # not the first that is missing: RFC 8985, 7.3
        c.send(ACK, options=b"\1\1\5\x0a" + probe.seq.to_bytes(4, "big") + probe.end.to_bytes(4, "big"))
        again = {s.seq for s in c.until_quiet() if s.data}
        assert again == {s.seq for s in got[3:-1]}  # the probe overtook them: no timer is waited for
        c.ack = got[-1].end
    undisturbed(lone, dialogue, probes=1)


# ---- closing: 3.6 -------------------------------------------------------------------------------------

def test_a_half_closed_peer_gets_the_whole_answer(c):
    c.ask("/size-65537.bin")
    c.send(FIN | ACK)
    data = c.collect()
    assert len(data) > 65537
    c.gone()


def closing(c):
    """The server has sent its FIN, which is not acknowledged; our ack is before it."""
    c.ask("/size-511.bin", close=True)
    data = b""
    while True:
        s = c.hear(want=lambda s: s.seq == c.ack and (s.data or s.flags & FIN))
        data += s.data
        c.ack = mod(c.ack + len(s.data))
        if s.flags & FIN:
            return mod(c.ack + 1)
        c.send(ACK)


def test_the_server_closes_first(c):
    c.ack = closing(c)
    c.send(ACK)
    c.until_quiet()
    c.send(FIN | ACK)
    answer = c.hear()
    assert (answer.flags, answer.ack) == (ACK, c.seq)


def test_both_close_at_once(c):
    behind = closing(c)
    c.send(FIN | ACK)  # does not acknowledge the server's
    answer = c.hear(want=lambda s: s.ack == c.seq)
    assert answer.flags & ACK
    c.ack = behind
    c.send(ACK)
    c.until_quiet()
    c.send(FIN | ACK, seq=mod(c.seq - 1))  # TIME-WAIT: again
    answer = c.hear()
    assert (answer.flags, answer.ack, answer.seq) == (ACK, c.seq, c.ack)


def test_a_fin_is_sent_again(c):
    closing(c)
    assert c.hear(want=lambda s: s.flags & FIN).flags & FIN


def test_a_fin_with_the_ack_of_the_servers_fin(c):
    c.ack = closing(c)
    c.send(FIN | ACK)
    answer = c.hear(want=lambda s: s.ack == c.seq)
    assert answer.flags == ACK


def time_wait(c):
    c.ack = closing(c)
    c.send(FIN | ACK)
    c.hear(want=lambda s: s.ack == c.seq)
    c.until_quiet()


def test_time_wait_acknowledges_a_repeated_fin(c):
    time_wait(c)
    c.send(FIN | ACK, seq=mod(c.seq - 1))
    answer = c.hear()
    assert (answer.flags, answer.ack) == (ACK, c.seq)


def test_time_wait_ignores_a_reset(c):
    time_wait(c)  # RFC 1337
    c.send(RST, seq=c.seq)
    assert c.until_quiet() == []
    c.send(FIN | ACK, seq=mod(c.seq - 1))
    assert c.hear().flags == ACK


def test_time_wait_gives_way_to_a_new_connection(c):
    time_wait(c)
    old = c.ack
    c.seq = mod(c.seq + 100000)
    c.send(SYN, options=MSS_SACK)
    answer = c.hear()
    assert answer.flags == SYN | ACK and mod(answer.seq - old) < 0x80000000  # RFC 9293, 3.4.3
    c.ack = mod(answer.seq + 1)
    c.send(ACK)
    c.alive()


@pytest.mark.parametrize("where", ["established", "fin-wait-1", "fin-wait-2", "close-wait"])
def test_a_reset_ends_every_state(c, where):
    if where.startswith("fin"):
        c.ack = closing(c) if where == "fin-wait-2" else mod(closing(c) - 1)
        c.send(ACK)
        c.until_quiet()
    elif where == "close-wait":
        c.window = 0
        c.ask("/size-8192.bin")
        c.send(FIN | ACK)
        c.until_quiet()
    c.send(RST, seq=c.seq)
    c.until_quiet()
    c.send(ACK)
    assert c.hear(want=lambda s: s.flags & RST)


def test_nothing_is_left_behind(lone):
    _, peer = lone
    end = time.monotonic() + PATIENCE
    while True:
        values = metrics(peer)
        if values[b"pagewire_cache_pinned_pages"] == 0 and values[b'pagewire_pool_used{pool="tcp_recovery"}'] == 0 \
                and values[b"pagewire_tcp_connections"] <= 1:
            return
        assert time.monotonic() < end, values
        time.sleep(0.5)
