# SPDX-License-Identifier: BSD-2-Clause
"""A TCP peer made by hand on relay.Peer's wire: every segment says what the test says, and what comes back is
compared. Silence is proved without waiting: an echo request goes behind the segment, and its answer came first."""
import contextlib
import itertools
import struct

from vm import PATIENCE

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ports = itertools.count(21000)
echoes = itertools.count(20000)


def mod(number):
    return number & 0xffffffff


class Segment:
    """One that the guest sent."""

    def __init__(self, frame):
        ip = frame[14:]
        tcp = ip[20:struct.unpack("!H", ip[2:4])[0]]
        self.source, self.dest, self.seq, self.ack, offset, self.flags, self.window = struct.unpack("!HHIIBBH", tcp[:16])
        head = (offset >> 4) * 4
        self.data, self.options = tcp[head:], {}
        rest = tcp[20:head]
        while rest and rest[0]:
            length = 1 if rest[0] == 1 else rest[1]
            if length > 1:
                self.options[rest[0]] = rest[2:length]
            rest = rest[length:]

    @property
    def end(self):
        return mod(self.seq + len(self.data) + bool(self.flags & FIN) + bool(self.flags & SYN))

    @property
    def sacks(self):
        raw = self.options.get(5, b"")
        return [struct.unpack("!II", raw[i:i + 8]) for i in range(0, len(raw), 8)]

    def __repr__(self):
        names = "".join(n for n, b in zip("FSRPAU", (FIN, SYN, RST, PSH, ACK, URG)) if self.flags & b)
        return f"<{names} seq={self.seq} ack={self.ack} len={len(self.data)} win={self.window} {self.options}>"


MSS_SACK_SCALE = bytes.fromhex("020405b4" "0402" "0101" "01030307")
MSS_SACK = bytes.fromhex("020405b4" "0402" "0101")


class Connection:
    """seq: what we send next; ack: what we expect next."""

    def __init__(self, peer, seq=1000, dest=80):
        self.peer, self.port, self.seq, self.ack, self.window, self.dest = peer, next(ports), seq, 0, 65535, dest

    def send(self, flags, data=b"", seq=None, ack=None, options=b"", window=None):
        """seq and ack given: the segment does not count as one of ours."""
        self.peer.tcp(self.port, self.seq if seq is None else seq, self.ack if ack is None else ack, flags, data,
                      self.window if window is None else window, options, dest=self.dest)
        if seq is None:
            self.seq = mod(self.seq + len(data) + bool(flags & (SYN | FIN)))

    def hear(self, seconds=PATIENCE, want=lambda s: True):
        """The next segment for this connection that `want` accepts."""
        def mine(frame):
            if frame[12:14] != b"\x08\0" or frame[23] != 6 or struct.unpack("!H", frame[36:38])[0] != self.port:
                return False
            return want(Segment(frame))
        frame = self.peer.hear(seconds, mine)
        assert frame, "no answer"
        return Segment(frame)

    def until_quiet(self):
        """All that is sent before an echo request is answered."""
        number, seen = next(echoes), []

        def mark(frame):
            if frame[12:14] == b"\x08\0" and frame[23] == 6 and struct.unpack("!H", frame[36:38])[0] == self.port:
                seen.append(Segment(frame))
            return frame[12:14] == b"\x08\0" and frame[23] == 1 and frame[34] == 0 and \
                struct.unpack("!H", frame[40:42])[0] == number
        self.peer.echo(number)
        assert self.peer.hear(PATIENCE, mark), "the guest is dead"
        return seen

    def open(self, options=MSS_SACK, window=65535):
        self.window = window
        self.send(SYN, options=options)
        answer = self.hear(want=lambda s: s.flags & (SYN | RST))
        assert answer.flags == SYN | ACK and answer.ack == self.seq, answer
        self.ack = mod(answer.seq + 1)
        self.send(ACK)
        self.until_quiet()
        return answer

    def ask(self, path="/size-511.bin", close=False):
        end = "Connection: close\r\n" if close else ""
        self.send(ACK | PSH, f"GET {path} HTTP/1.1\r\nHost: x\r\n{end}\r\n".encode())

    def collect(self, seconds=PATIENCE, until=None, acknowledge=True):
        """The answer's bytes in order, until `until(bytes)` or a FIN; each segment is acknowledged."""
        data = b""
        while not (until and until(data)):
            s = self.hear(seconds, lambda s: s.seq == self.ack and (s.data or s.flags & FIN))
            data += s.data
            self.ack = s.end
            if acknowledge:
                self.send(ACK)
            if s.flags & FIN:
                break
        return data

    def alive(self):
        """The connection still answers a request."""
        self.until_quiet()
        self.ask("/size-1.bin")
        got = self.collect(until=lambda d: b"\r\n\r\n" in d and not d.endswith(b"\r\n\r\n"))
        assert b" 200 " in got, got

    def gone(self):
        """The guest knows nothing of the connection any more: an ACK is answered with a RST."""
        self.until_quiet()
        self.send(ACK)
        answer = self.hear()
        assert answer.flags & RST and answer.seq == self.ack, answer

    def reset(self):
        self.send(RST | ACK)
        self.until_quiet()


@contextlib.contextmanager
def connections(lone, kind=Connection):
    """Makes connections of that kind, which are reset at the end."""
    vm, peer = lone
    made = []

    def one(**options):
        made.append(kind(peer, **options))
        return made[-1]
    yield one
    for connection in made:
        connection.reset()
    vm.assert_alive()
