# SPDX-License-Identifier: BSD-2-Clause
"""Time stamps (RFC 7323) on the wire, a peer made by hand against one machine. Its own clock is a number that a test
moves; what the machine echoes of it is compared. The names say the condition."""
import struct
import subprocess
import time

import pytest

from tcp_peer import ACK, FIN, PSH, RST, SYN, Connection, connections, mod
from vm import PATIENCE

START = 1_000_000


def stamp(value, echo):
    return struct.pack("!BBBBII", 1, 1, 8, 10, mod(value), mod(echo))


class Timed(Connection):
    """Each segment carries `value` and the newest time stamp heard; without=True leaves them out."""

    SYN_OPTIONS = bytes.fromhex("020405b4" "0402" "0101")

    def __init__(self, peer, value=START):
        super().__init__(peer)
        self.value, self.echo, self.agreed = value, 0, True

    def send(self, flags, data=b"", seq=None, ack=None, options=b"", window=None, without=False, value=None):
        if self.agreed and not without:
            options += stamp(self.value if value is None else value, self.echo if flags & ACK else 0)
        super().send(flags, data, seq, ack, options, window)

    def hear(self, seconds=PATIENCE, want=lambda s: True):
        s = super().hear(seconds, want)
        if 8 in s.options:
            self.echo = times(s)[0]
        return s

    def open(self, options=SYN_OPTIONS, window=65535):
        return super().open(options, window)

    def alive(self):
        super().alive()
        self.until_quiet()  # and nothing is on its way


def times(segment):
    """TSval and TSecr."""
    return struct.unpack("!II", segment.options[8])


@pytest.fixture
def make(lone):
    with connections(lone, Timed) as one:
        yield one


@pytest.fixture
def c(make):
    connection = make()
    connection.open()
    return connection


def request(path="/size-1.bin"):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


# ---- agreement: 3.2 -----------------------------------------------------------------------------------

def test_a_syn_that_offers_them_is_answered_with_its_own(make):
    c = make()
    answer = c.open()
    assert times(answer)[1] == START
    c.ask("/size-8192.bin")
    data = 0
    while data < 8192:
        s = c.hear(want=lambda s: s.seq == c.ack and s.data)
        assert 8 in s.options and len(s.data) <= 1460 - 12  # RFC 6691: the segment is no longer for it
        data += len(s.data)
        c.ack = s.end
        c.send(ACK)


def test_a_syn_that_does_not_offer_them_gets_none(make):
    c = make()
    c.agreed = False
    assert 8 not in c.open().options
    c.ask("/size-4097.bin")
    first = c.hear(want=lambda s: s.data)
    assert 8 not in first.options and len(first.data) == 1460


def test_where_none_were_agreed_upon_they_say_nothing(make):
    c = make()
    c.agreed = False
    c.open()
    c.agreed = True
    c.send(ACK | PSH, request(), value=5)
    got = c.hear(want=lambda s: s.data)
    assert b" 200 " in got.data and 8 not in got.options
    c.ack = got.end
    c.value = 4  # would be old
    c.alive()


def test_each_connection_has_a_clock_of_its_own_that_runs_on(make):
    values = []
    for _ in range(3):
        c = make()
        values.append(times(c.open())[0])
    assert len({value >> 20 for value in values}) > 1
    c.ask()
    assert mod(times(c.hear(want=lambda s: s.data))[0] - values[-1]) < 60_000  # milliseconds


def test_a_segment_without_one_is_dropped_in_silence(c):
    c.send(ACK | PSH, request(), seq=c.seq, without=True)
    assert c.until_quiet() == []
    c.alive()


def test_the_third_segment_needs_one_as_well(make):
    c = make()
    c.send(SYN, options=c.SYN_OPTIONS)
    c.ack = mod(c.hear().seq + 1)
    for data in (b"", request()):
        c.send(ACK | PSH, data, seq=c.seq, without=True)
        assert [s for s in c.until_quiet() if not s.flags & SYN] == []
    c.send(ACK)
    c.alive()


def test_a_repeated_syn_is_answered_with_its_newest(make):
    c = make()
    c.send(SYN, options=c.SYN_OPTIONS)
    assert times(c.hear())[1] == START
    c.value += 1000
    c.send(SYN, options=c.SYN_OPTIONS, seq=mod(c.seq - 1))
    answer = c.hear(want=lambda s: times(s)[1] == START + 1000)  # a slow host makes it repeat the first one
    assert answer.flags == SYN | ACK
    c.ack = mod(answer.seq + 1)
    c.send(ACK)
    c.alive()


# ---- PAWS: 5.3 ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("back", [1, 1000, 0x7fffffff])
def test_an_old_segment_is_acknowledged_and_dropped(c, back):
    c.value += 10
    c.alive()
    c.send(ACK | PSH, request(), seq=c.seq, value=c.value - back)
    answers = c.until_quiet()
    assert [(s.flags, s.seq, s.ack, s.data) for s in answers] == [(ACK, c.ack, c.seq, b"")]
    assert times(answers[0])[1] == c.value
    c.alive()


@pytest.mark.parametrize("forth", [0, 1, 0x7fffffff])
def test_the_same_or_a_newer_one_is_taken(c, forth):
    c.value = mod(c.value + forth)
    c.alive()


def test_the_clock_may_come_round(make):
    c = make(value=0xfffffff0)
    c.open()
    for step in (14, 1, 1, 20):  # ...ff, then 0
        c.value = mod(c.value + step)
        c.alive()
    c.send(ACK | PSH, request(), seq=c.seq, value=0xfffffff0)
    assert [(s.flags, s.data) for s in c.until_quiet()] == [(ACK, b"")]
    c.alive()


def test_an_old_acknowledgement_changes_nothing(c):
    c.value += 10
    c.ask("/size-511.bin")
    s = c.hear(want=lambda s: s.data)
    c.send(ACK, ack=s.end, value=START)
    c.until_quiet()
    assert c.hear(want=lambda again: again.data).seq == s.seq  # still waited for
    c.ack = s.end
    c.send(ACK)
    c.alive()


def test_old_segments_without_data_are_not_answered_one_by_one(c):
    c.value += 10
    c.alive()
    start = time.monotonic()
    for _ in range(50):
        c.send(ACK, value=START)
    assert 1 <= len(c.until_quiet()) <= 2 + (time.monotonic() - start) / 0.5  # else two such ends would never stop
    c.alive()


@pytest.mark.parametrize("how", [{"without": True}, {"value": START - 1000}], ids=["none", "old"])
def test_a_reset_needs_no_time_stamp(c, how):
    c.send(RST, seq=c.seq, **how)
    c.gone()


def test_what_came_twice_from_before_is_reported_as_repeated(c):
    start = c.seq
    c.value += 5
    c.ask("/size-1.bin")
    c.collect(until=lambda d: b"\r\n\r\n" in d)
    c.until_quiet()
    c.send(ACK | PSH, b"GET /size-1.bin ", seq=start, value=START)
    answer = c.until_quiet()[-1]
    assert answer.sacks == [(start, start + 16)]  # RFC 2883
    c.alive()


# ---- what is echoed: 4.3 ------------------------------------------------------------------------------

def test_a_late_acknowledgement_echoes_the_first_that_it_covers(c):
    text = request()
    c.value += 100
    c.send(ACK, text[:10])
    c.value += 100
    c.send(ACK, text[10:20])
    late = c.hear(want=lambda s: s.ack == c.seq)
    assert times(late)[1] in (START + 100, START + 200)  # it was one for both, or one for each
    c.value += 100
    c.send(ACK | PSH, text[20:])
    assert times(c.hear(want=lambda s: s.data))[1] == START + 300


def test_out_of_order_echoes_the_last_in_order(c):
    text = request()
    start = c.seq
    c.value += 100
    c.send(ACK, text[:10])
    echoed = START + 100
    c.hear(want=lambda s: s.ack == start + 10)
    c.value += 100
    c.send(ACK, text[20:], seq=start + 20)
    assert times(c.hear(want=lambda s: s.sacks))[1] == echoed
    c.value += 100
    c.send(ACK, text[10:20], seq=start + 10)  # fills the hole
    c.seq = start + len(text)
    s = c.hear(want=lambda s: s.ack == c.seq)
    assert times(s)[1] == START + 300


def test_beyond_the_window_nothing_is_remembered(c):
    c.send(ACK, b"x" * 10, seq=mod(c.seq + 300000), value=START + 5000)
    assert [times(s)[1] for s in c.until_quiet()] == [START]
    c.alive()


def test_a_wrong_acknowledgement_makes_nothing_remembered(c):
    c.send(ACK, b"x" * 10, seq=c.seq, ack=mod(c.ack + 1000), value=START + 5000)
    assert [times(s)[1] for s in c.until_quiet()] == [START]
    c.alive()


def test_blocks_and_time_stamps_fit_in_a_header(c):
    text = b"GET /size-1.bin HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"f" * 300 + b"\r\n\r\n"
    start = c.seq
    for left in (100, 140, 180, 220, 180):  # the last one twice
        c.send(ACK, text[left:left + 10], seq=start + left)
        answer = c.until_quiet()[-1]
    assert len(answer.sacks) == 3 and times(answer)[1] == START
    assert answer.sacks[0] == (start + 180, start + 190)
    for left in range(0, len(text), 50):
        c.send(ACK, text[left:left + 50], seq=start + left)
    c.seq = start + len(text)
    assert b" 200 " in c.collect(until=lambda d: b"\r\n\r\n" in d)


# ---- TIME-WAIT: RFC 6191 ------------------------------------------------------------------------------

def time_wait(c):
    """The server has closed, and so have we."""
    c.ask("/size-1.bin", close=True)
    c.collect()
    c.send(FIN | ACK)
    c.hear(want=lambda s: s.ack == c.seq)
    c.until_quiet()


def test_a_newer_clock_takes_a_time_waits_place_whatever_the_number(make):
    c = make()
    c.open()
    time_wait(c)
    old = c.ack
    c.value += 1
    c.seq = mod(c.seq - 100000)  # would be old by its number
    c.send(SYN, options=c.SYN_OPTIONS)
    answer = c.hear()
    assert answer.flags == SYN | ACK and answer.ack == c.seq and mod(answer.seq - old) < 0x80000000
    c.ack = mod(answer.seq + 1)
    c.send(ACK)
    c.alive()


@pytest.mark.parametrize("ahead, taken", [(0, True), (-200000, False)], ids=["higher-number", "lower-number"])
def test_the_same_clock_leaves_it_to_the_number(make, ahead, taken):
    c = make()
    c.open()
    time_wait(c)
    c.seq = mod(c.seq + 100000 + ahead)
    c.send(SYN, options=c.SYN_OPTIONS)
    assert (c.hear().flags == SYN | ACK) == taken


def test_an_older_clock_is_an_old_syn(make):
    c = make()
    c.open()
    time_wait(c)
    end, before = c.ack, c.seq
    c.send(SYN, options=c.SYN_OPTIONS, seq=mod(c.seq + 100000), value=START - 1)
    answer = c.hear()
    assert (answer.flags, answer.seq, answer.ack) == (ACK, end, before) and times(answer)[1] == START


def test_time_wait_answers_with_them_and_wants_them(make):
    c = make()
    c.open()
    time_wait(c)
    c.send(FIN | ACK, seq=mod(c.seq - 1), without=True)
    assert c.until_quiet() == []
    c.value += 7
    c.send(FIN | ACK, seq=mod(c.seq - 1))
    answer = c.hear()
    assert (answer.flags, answer.ack) == (ACK, c.seq) and times(answer) == (c.echo, c.value)


# ---- and the rest -------------------------------------------------------------------------------------

def test_what_is_sent_again_carries_the_time_of_now(c):
    c.ask("/size-511.bin")
    first = c.hear(want=lambda s: s.data)
    again = c.hear(want=lambda s: s.data)
    assert again.seq == first.seq and mod(times(again)[0] - times(first)[0] - 1) < 60_000


def test_wireshark_understands_all_of_it(lone, make, tmp_path):
    vm, _ = lone
    capture = tmp_path / "times.pcap"
    vm.qmp("object-add", **{"qom-type": "filter-dump", "id": "dump", "netdev": "net", "file": str(capture)})
    c = make()
    c.open()
    c.ask("/size-65536.bin")
    c.collect(until=lambda d: len(d) > 65536)
    start, text = c.seq, request()
    c.send(ACK, text[20:], seq=start + 20)
    c.until_quiet()
    c.send(ACK, text[:20], seq=start)
    c.seq = start + len(text)
    c.collect(until=lambda d: b"\r\n\r\n" in d)
    time_wait(c)
    vm.qmp("object-del", id="dump")
    fields = ["tcp.flags", "tcp.len", "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr", "tcp.option_kind",
              "_ws.malformed", "tcp.checksum.status"]
    out = subprocess.run(["tshark", "-r", str(capture), "-o", "tcp.check_checksum:TRUE", "-Y",
                          f"tcp.dstport == {c.port}", "-T", "fields"] + [w for f in fields for w in ("-e", f)],
                         check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in out.splitlines()]
    assert len(rows) > 40
    assert all(row[2] and row[3] == str(START) and not row[5] and row[6] == "1" for row in rows), rows
    assert any("5" in row[4].split(",") for row in rows)
    assert max(int(row[1]) for row in rows) == 1460 - 12
    values = [int(row[2]) for row in rows]
    assert all(mod(b - a) < 60_000 for a, b in zip(values, values[1:]))
