"""Random calls between phones, as a capture, encrypted by libsrtp.

A `Scene` has frames and what each of them has to be when the capture is decrypted. Phones
call each other again and again from the same ports; offers, answers, refusals, forks, holds
and new keys come at random, packets are lost, repeated and reordered, and other traffic goes
on beside.
"""

from __future__ import annotations

import random
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pylibsrtp import Policy, Session

from tests.capture.carriers import lines
from tests.capture.network import Ends, udp

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": (30, Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
    "AES_CM_128_HMAC_SHA1_32": (30, Policy.SRTP_PROFILE_AES128_CM_SHA1_32),
    "AEAD_AES_128_GCM": (28, Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
    "AEAD_AES_256_GCM": (44, Policy.SRTP_PROFILE_AEAD_AES_256_GCM),
}
SIP_PORT = 5060
COOKIE = b"\x21\x12\xa4\x42"


class Frame(NamedTuple):
    """A packet, and what it has to be afterwards; `keyed` if it has a key in the signalling."""

    packet: bytes
    clear: bytes
    keyed: bool = False


class Line(NamedTuple):
    """A crypto line."""

    tag: int
    suite: str
    key: bytes

    @property
    def text(self) -> str:
        return f"a=crypto:{self.tag} {self.suite} inline:{b64encode(self.key).decode()}"


@dataclass
class Phone:
    """Where a phone says that it is, and where its packets come from, which a NAT may change."""

    address: str
    port: int
    seen: str = ""
    seen_port: int = 0

    def __post_init__(self) -> None:
        self.seen = self.seen or self.address
        self.seen_port = self.seen_port or self.port


@dataclass
class Stream:
    """What one phone sends in a call: its SSRC, its next sequence number, its key."""

    ssrc: int
    sequence: int
    line: Line | None = None
    known: bool = True
    session: Session | None = field(default=None, repr=False)

    def take(self, line: Line | None, *, known: bool = True) -> None:
        """Send with another key, or with none; `known` says that the capture tells it."""
        self.known = known
        before, self.line = self.line, line
        if line is not None and (before is None or line.key != before.key):
            policy = Policy(key=line.key, ssrc_type=Policy.SSRC_ANY_OUTBOUND,
                            srtp_profile=SUITES[line.suite][1])  # fmt: skip
            self.session = Session(policy)


class Call:
    """A call from one phone to another, as the frames that it makes, one after the other."""

    def __init__(self, rng: random.Random, caller: Phone, callee: Phone, name: str) -> None:
        self._rng = rng
        self._caller, self._callee = caller, callee
        self._name = name
        self._number = 0
        self._there = self._stream()
        self._back = self._stream()
        self.lost_answers = 0

    def frames(self) -> Iterator[Frame]:
        """The call from its beginning to its end."""
        rng = self._rng
        yield from self._begin()
        for _ in range(rng.randint(1, 4)):
            yield from self._talk(rng.randint(2, 12))
            yield from rng.choice(
                (self._rekey, self._refused, self._hold, self._move, self._new_ssrc,
                 self._refresh, self._in_the_clear, self._callee_offers)
            )()  # fmt: skip
        yield from self._talk(rng.randint(2, 12))
        if rng.random() < 0.7:
            yield self._sip("BYE", "", method="BYE")

    # --- signalling -------------------------------------------------------------------------

    def _begin(self) -> Iterator[Frame]:
        rng = self._rng
        offer = self._lines()
        if rng.random() < 0.3:
            yield self._sip("INVITE", self._sdp(self._caller, offer), first=True)
            yield self._sip(rng.choice(("401", "407")), "")
        if rng.random() < 0.15:
            yield from self._offered_late(offer[0])
            return
        invite = self._sip("INVITE", self._sdp(self._caller, offer), first=True)
        yield from self._repeated(invite)
        chosen = rng.choice(offer)
        if rng.random() < 0.25:
            # Another fork answers early, and is not the one that answers in the end.
            carol = Phone("192.0.2.77", 30000 + rng.randrange(1000) * 2)
            line = self._answer_to(rng.choice(offer))
            yield self._sip("183", self._sdp(carol, [line]), tag="c")
        answer = self._answer_to(chosen)
        ok = self._sip("200", self._sdp(self._callee, [answer]))
        self._there.take(chosen)
        self._back.take(answer)
        # Where the answer is lost, a packet from behind a NAT has no end that is known.
        is_lost = self._caller.seen == self._caller.address and rng.random() < 0.1
        if not is_lost and rng.random() < 0.3:
            yield self._sip("183", self._sdp(self._callee, [answer]))
        if is_lost:
            self._lose_answer()
        else:
            if rng.random() < 0.3:
                yield from self._talk(3, of=self._back)  # media runs ahead of the answer
            yield from self._repeated(ok)
        yield self._sip("ACK", "", method="ACK")

    def _offered_late(self, line: Line) -> Iterator[Frame]:
        """The callee offers in its answer, and the caller answers in ACK."""
        yield self._sip("INVITE", "", first=True)
        answer = self._answer_to(line)
        yield self._sip("200", self._sdp(self._callee, [line]))
        yield self._sip("ACK", self._sdp(self._caller, [answer]), method="ACK")
        self._there.take(answer)
        self._back.take(line)

    def _rekey(self, moved: Phone | None = None) -> Iterator[Frame]:
        offer = self._lines()
        chosen = self._rng.choice(offer)
        yield self._sip("INVITE", self._sdp(self._caller, offer))
        yield from self._talk(self._rng.randint(0, 4))
        answer = self._answer_to(chosen)
        if moved is None and self._rng.random() < 0.15:
            self._there.take(chosen)
            self._back.take(answer, known=False)
            self.lost_answers += 1
        else:
            self._callee = moved or self._callee
            yield self._sip("200", self._sdp(self._callee, [answer]))
            self._there.take(chosen)
            self._back.take(answer)
        yield self._sip("ACK", "", method="ACK")

    def _refused(self) -> Iterator[Frame]:
        yield self._sip("INVITE", self._sdp(self._caller, self._lines()))
        yield from self._talk(self._rng.randint(0, 4))
        yield self._sip(self._rng.choice(("488", "491", "500")), "")
        yield self._sip("ACK", "", method="ACK")

    def _hold(self) -> Iterator[Frame]:
        """Nothing goes to the caller while it is on hold; then the call goes on."""
        there, back = self._agreed()
        nowhere = Phone("0.0.0.0", self._caller.port)
        yield self._sip("INVITE", self._sdp(nowhere, [there]))
        yield self._sip("200", self._sdp(self._callee, [back]))
        yield self._sip("ACK", "", method="ACK")
        self._there.take(there)
        self._back.take(back)
        yield from self._talk(3, of=self._there)
        yield from self._rekey()

    def _refresh(self) -> Iterator[Frame]:
        """The same offer and answer again."""
        there, back = self._agreed()
        yield self._sip("UPDATE", self._sdp(self._caller, [there]), method="UPDATE")
        yield self._sip("200", self._sdp(self._callee, [back]), method="UPDATE")
        self._there.take(there)
        self._back.take(back)

    def _in_the_clear(self) -> Iterator[Frame]:
        """The answer takes no key: media goes on without (RFC 8643), until the next offer."""
        plain = self._sdp(self._callee, [])
        yield self._sip("INVITE", self._sdp(self._caller, self._lines()))
        yield self._sip("200", plain.replace("RTP/SAVP", "RTP/AVP"))
        self._there.take(None)
        self._back.take(None)
        yield from self._talk(self._rng.randint(2, 6))
        yield from self._rekey()

    def _callee_offers(self) -> Iterator[Frame]:
        method = self._rng.choice(("INVITE", "UPDATE"))
        offer = self._lines()
        chosen = self._rng.choice(offer)
        answer = self._answer_to(chosen)
        yield self._sip(method, self._sdp(self._callee, offer), method=method, by_callee=True)
        yield from self._talk(self._rng.randint(0, 4))
        if self._rng.random() < 0.2:
            yield self._sip("491", "", method=method, by_callee=True)
            return
        yield self._sip("200", self._sdp(self._caller, [answer]), method=method, by_callee=True)
        self._there.take(answer)
        self._back.take(chosen)

    def _agreed(self) -> tuple[Line, Line]:
        there, back = self._there.line, self._back.line
        if there is None or back is None or there.suite != back.suite or not self._back.known:
            there = self._lines()[0]
            back = self._answer_to(there)
        return there._replace(tag=1), back._replace(tag=1)

    def _move(self) -> Iterator[Frame]:
        """The callee takes media at another port from now on."""
        yield from self._rekey(Phone(self._callee.address, self._callee.port + 500))

    def _new_ssrc(self) -> Iterator[Frame]:
        for stream in (self._there, self._back):
            stream.ssrc, stream.sequence = self._rng.getrandbits(32), self._rng.getrandbits(15)
        yield from self._talk(2)

    def _lose_answer(self) -> None:
        self.lost_answers += 1
        self._back.known = False

    def _lines(self) -> list[Line]:
        rng = self._rng
        suites = rng.sample(list(SUITES), rng.randint(1, 3))
        return [
            Line(n + 1, suite, rng.randbytes(SUITES[suite][0])) for n, suite in enumerate(suites)
        ]

    def _answer_to(self, line: Line) -> Line:
        return line._replace(key=self._rng.randbytes(len(line.key)))

    def _sdp(self, phone: Phone, crypto: list[Line]) -> str:
        body = lines("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", f"c=IN IP4 {phone.address}",
                     "t=0 0", f"m=audio {phone.port} RTP/SAVP 0",
                     *(line.text for line in crypto))  # fmt: skip
        return body.decode()

    def _sip(
        self,
        start: str,
        body: str,
        *,
        method: str = "INVITE",
        tag: str = "b",
        first: bool = False,
        by_callee: bool = False,
    ) -> Frame:
        """A SIP message; afterwards it says that the media is clear.

        `by_callee` says that the callee has asked.
        """
        is_response = start.isdigit()
        if not is_response and start not in ("ACK",):
            self._number += 1
        ends = Ends(self._caller.address, SIP_PORT, self._callee.address, SIP_PORT)
        ends = ends.back if is_response is not by_callee else ends
        tags = (tag, "a") if by_callee else ("a", tag)
        bodies = body, body.replace("RTP/SAVP", "RTP/AVP")
        packet, clear = (
            udp(self._message(start, each, method, tags, first=first), ends) for each in bodies
        )
        return Frame(packet, clear)

    def _message(
        self, start: str, body: str, method: str, tags: tuple[str, str], *, first: bool
    ) -> bytes:
        head = lines(
            f"SIP/2.0 {start} Reason" if start.isdigit() else f"{start} sip:b@example.com SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{self._name}{method}{self._number}",
            f"From: <sip:one@example.com>;tag={tags[0]}",
            "To: <sip:other@example.com>" + f";tag={tags[1]}" * (not first),
            f"Call-ID: {self._name}",
            f"CSeq: {self._number} {method}",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
            "",
        )
        return head + body.encode()

    def _repeated(self, frame: Frame) -> Iterator[Frame]:
        yield frame
        if self._rng.random() < 0.2:
            yield frame

    # --- media ------------------------------------------------------------------------------

    def _stream(self) -> Stream:
        return Stream(self._rng.getrandbits(32), self._rng.choice((7, 65_530, 30_000)))

    def _talk(self, count: int, of: Stream | None = None) -> Iterator[Frame]:
        """Packets of both, or of one: some again (a SPAN port), some out of order, some RTCP."""
        rng = self._rng
        caller, callee = self._caller, self._callee
        there = Ends(caller.seen, caller.seen_port, callee.seen, callee.seen_port)
        sent: list[Frame] = []
        for _ in range(count):
            stream = of or rng.choice((self._there, self._back))
            sent.append(self._packet(stream, there if stream is self._there else there.back))
            if rng.random() < 0.1:
                sent.append(sent[-1])
            if rng.random() < 0.1:
                stun = udp(b"\0\1\0\0" + COOKIE + rng.randbytes(12), there)
                sent.append(Frame(stun, stun))
        if len(sent) > 2 and rng.random() < 0.2:
            at = rng.randrange(len(sent) - 1)
            sent[at], sent[at + 1] = sent[at + 1], sent[at]
        yield from sent

    def _packet(self, stream: Stream, ends: Ends) -> Frame:
        rng = self._rng
        if rng.random() < 0.1:
            head = struct.pack("!BBHI", 0x80, 200, 6, stream.ssrc)
            clear, protect = head + rng.randbytes(20), "protect_rtcp"
        else:
            head = struct.pack("!BBHII", 0x80, 0, stream.sequence, rng.getrandbits(32), stream.ssrc)
            clear, protect = head + rng.randbytes(rng.randint(1, 160)), "protect"
            stream.sequence = (stream.sequence + 1 + (rng.random() < 0.05)) % 65536
        if stream.session is None or stream.line is None:
            return Frame(udp(clear, ends), udp(clear, ends))
        packet = udp(getattr(stream.session, protect)(clear), ends)
        return Frame(packet, udp(clear, ends) if stream.known else packet, stream.known)


def others(rng: random.Random) -> Iterator[Frame]:
    """Traffic that is no call, or one without keys; some of it looks like RTP."""
    source, other = f"192.0.2.{rng.randint(100, 120)}", "192.0.2.200"
    name = bytes(10) + b"\5phone\0\0\1\0\1"
    made: tuple[Callable[[], bytes], ...] = (
        lambda: udp(b"\x80" + rng.randbytes(1) + name, Ends(source, 5355, "224.0.0.252", 5355)),
        lambda: udp(b"\x81" + rng.randbytes(1) + name, Ends(source, 4000, other, 53)),
        lambda: udp(rng.randbytes(rng.randint(1, 80)), Ends(source, 4000, other, 6881)),
        lambda: udp(b"\0\1\0\0" + COOKIE + rng.randbytes(12), Ends(source, 4000, other, 3478)),
    )  # fmt: skip
    for _ in range(rng.randint(1, 10)):
        packet = rng.choice(made)()
        yield Frame(packet, packet)
    ssrc, sequence = rng.getrandbits(32), rng.getrandbits(16)
    for n in range(rng.randint(1, 10)):
        rtp = struct.pack("!BBHII", 0x80, 8, (sequence + n) & 0xFFFF, n, ssrc) + rng.randbytes(60)
        packet = udp(rtp, Ends(source, 4000, other, 5000))
        yield Frame(packet, packet)


class Scene:
    """Several pairs of phones, each with one call after the other, and other traffic."""

    def __init__(self, seed: int, *, pairs: int = 4, calls: int = 3) -> None:
        rng = random.Random(seed)
        self._calls: list[Call] = []
        threads = [self._pair(rng, n, calls) for n in range(pairs)]
        threads += [others(rng) for _ in range(pairs)]
        self.frames: list[Frame] = []
        while threads:
            thread = rng.choice(threads)
            frame = next(thread, None)
            if frame is None:
                threads.remove(thread)
            else:
                self.frames.append(frame)

    def capture(self) -> bytes:
        """A pcap file of it, a packet every five milliseconds."""
        out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
        for number, (packet, _, _) in enumerate(self.frames):
            size = 14 + len(packet)
            out.append(struct.pack("<IIII", 10**9 + number // 200, number % 200 * 5000, size, size))
            out.append(bytes(12) + b"\x08\0" + packet)
        return b"".join(out)

    @property
    def lost_answers(self) -> int:
        """The answers that were not captured."""
        return sum(call.lost_answers for call in self._calls)

    def _pair(self, rng: random.Random, number: int, calls: int) -> Iterator[Frame]:
        caller = Phone(f"192.0.2.{number + 1}", 4000)
        callee = Phone("198.51.100.2", 10000 + 2 * number)
        if rng.random() < 0.3:
            caller = Phone(f"10.0.0.{number + 1}", 4000, "203.0.113.9", 40000 + 2 * number)
        for n in range(calls):
            call = Call(rng, caller, callee, f"call{number}.{n}")
            self._calls.append(call)
            yield from call.frames()
