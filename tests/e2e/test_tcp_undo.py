# SPDX-License-Identifier: BSD-2-Clause
"""RFC 8985's reordering window, and what was sent again for nothing (RFC 3708, 5682), on the wire with a peer made by
hand. A dialogue is held again where the host stood still and a timer of the guest came in between."""
import pytest

from tcp_peer import ACK, MSS_SACK, mod
from test_tcp import NO_SACK, flight, metrics, undisturbed

UNDONE, OVERDUE = b"pagewire_tcp_recoveries_undone_total", b"pagewire_tcp_overdue_total"


def block(*ranges):
    raw = b"".join(left.to_bytes(4, "big") + right.to_bytes(4, "big") for left, right in ranges)
    return b"\1\1\5" + bytes([2 + len(raw)]) + raw


def is_old(segment, segments):
    return mod(segment.seq - segments[0].seq) < mod(segments[-1].end - segments[0].seq)


def test_a_hole_before_the_tail_needs_no_probe(lone):
    def dialogue(c):
        c.ask("/size-8192.bin")
        got = []
        while sum(len(s.data) for s in got) < 8192:
            got.append(c.hear(want=lambda s: s.data))
        hole, tail = got[-2], got[-1]
        c.ack = hole.seq
        c.send(ACK, options=block((tail.seq, tail.end)))
        again = c.hear(want=lambda s: s.data)
        assert (again.seq, again.end) == (hole.seq, hole.end)  # RFC 8985, 6.2: its own answer is overdue
        c.ack = tail.end
        c.send(ACK)
        assert not [s for s in c.until_quiet() if s.data]
    undisturbed(lone, dialogue)


@pytest.mark.parametrize("options", [MSS_SACK, NO_SACK], ids=["sack", "no-sack"])
def test_after_a_time_out_new_segments_tell_whether_it_was_for_nothing(lone, options):
    def dialogue(c):
        before = metrics(lone[1])[UNDONE]
        segments = flight(c)
        c.hear(want=lambda s: s.data and s.seq == segments[0].seq)  # the time-out; a probe is of the last
        c.until_quiet()
        c.ack = segments[1].end
        c.send(ACK)
        seen = [s for s in c.until_quiet() if s.data]
        assert 1 <= len(seen) <= 2 and not any(is_old(s, segments) for s in seen)  # RFC 5682, 2.1, step 2b
        c.ack = segments[4].end
        c.send(ACK)
        seen = [s for s in c.until_quiet() if s.data]
        assert not any(is_old(s, segments) for s in seen)  # 3b
        c.ack = segments[-1].end
        c.send(ACK)
        c.until_quiet()
        assert metrics(lone[1])[UNDONE] == before + 1
    undisturbed(lone, dialogue, probes=1, options=options)


def test_after_a_time_out_for_loss_a_duplicate_brings_the_rest(lone):
    def dialogue(c):
        segments = flight(c)
        c.hear(want=lambda s: s.data and s.seq == segments[0].seq)
        c.until_quiet()
        c.ack = segments[0].end
        c.send(ACK)
        new = [s for s in c.until_quiet() if s.data]
        assert new and not any(is_old(s, segments) for s in new)
        c.send(ACK, options=block((new[0].seq, new[0].end)))  # they arrive, and what is before them has not: 3a
        seen = {s.seq for s in c.until_quiet() if s.data}
        assert segments[1].seq in seen
        c.ack = new[-1].end
    undisturbed(lone, dialogue, probes=1)


def test_what_came_twice_had_not_been_lost(lone):
    def dialogue(c):
        before = metrics(lone[1])[UNDONE]
        segments = flight(c)
        for _ in range(3):  # the first is late
            c.send(ACK, options=block((segments[1].seq, segments[3].end)))
        again = [s for s in c.until_quiet() if s.data and is_old(s, segments)]
        assert [(s.seq, s.end) for s in again] == [(segments[0].seq, segments[0].end)]
        c.ack = segments[-1].end
        c.send(ACK)
        c.until_quiet()
        c.send(ACK, options=block((segments[0].seq, segments[0].end)))  # and now its copy: RFC 2883, 3708
        c.until_quiet()
        assert metrics(lone[1])[UNDONE] == before + 1
    undisturbed(lone, dialogue)
