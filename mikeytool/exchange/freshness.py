"""The T of a session's messages: the next one to send, and whether one that comes is new.

RFC 3830 5.4, RFC 6043 5.2, interpretations 1, 30, 31, 41 and 42.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo, IdRole, TsType
from mikeytool.wire.timestamp import Timestamp

MAX_KEPT = 64
"""How many messages of each direction are remembered. Older ones are refused by their T."""

_TOP = 1 << 63
_SIZES = {kind.value: kind.length for kind in TsType}


@dataclass(frozen=True, slots=True)
class Freshness:
    """What one end of a session remembers of T.

    The session goes on in the type of its initial message, `ts_type`. `last_t` is at least the
    largest T of this type, as 64 bits, that was sent or received. It grows with every message, and
    the next T to send is above it. `peer_counter` is the last COUNTER of the other end. `heard` is
    the latest times of the other end, and `sent` this end's latest updates, each as T and MAC. A
    time up to `floor` is too old to be told from those that were forgotten.
    """

    ts_type: int = TsType.NTP_UTC.value
    last_t: int = 0
    peer_counter: int = -1
    heard: tuple[int, ...] = ()
    sent: tuple[bytes, ...] = ()
    floor: int = 0

    @classmethod
    def after(cls, init: Incoming, resp: Incoming | None, role: IdRole | None) -> Freshness:
        """Return what the end with a role remembers after the initial exchange."""
        fresh = cls(ts_type=int(init.t.ts_type))
        if role == IdRole.INITIATOR:
            fresh = fresh.after_sending(init)
            return fresh if resp is None else fresh.after_receiving(resp, init)
        fresh = fresh.after_receiving(init)
        return fresh if resp is None else fresh.after_sending(resp)

    def next_t(self, env: Environment, role: IdRole) -> Timestamp:
        """Return a T above all earlier ones. Its lowest bit tells which role sends it.

        Raises Refused if a COUNTER cannot grow any more.
        """
        size, shift = _SIZES[self.ts_type], 32 if self.ts_type == TsType.NTP_UTC_32 else 0
        now = env.timestamp(Timestamp(self.ts_type, bytes(size)))
        least = (self.last_t >> shift) + 1
        value = max(least, int.from_bytes(now.value), key=lambda one: _in_order(one << shift))
        value += (value ^ int(role == IdRole.RESPONDER)) & 1
        if value >> 8 * size:
            raise Refused("the COUNTER of this session is used up; set up another session")
        return Timestamp(self.ts_type, value.to_bytes(size))

    def refuse_own(self, message: Incoming) -> None:
        """Refuse an update that this end sent itself."""
        if message.t.ntp64 + message.proof in self.sent:
            raise Refused("this update is one's own; it is for the other end", ErrorNo.AUTH_FAILURE)

    def check(self, env: Environment, message: Incoming) -> None:
        """Refuse an update of the other end that is old, or was seen before."""
        t = message.t
        if t.counter is not None:
            if t.counter <= self.peer_counter:
                raise Refused(
                    f"its COUNTER {t.counter} is not above the last one of the other end: it was"
                    " seen already",
                    ErrorNo.INVALID_TS,
                )
            return
        env.check_fresh(t)
        if as_number(t) in self.heard:
            raise Refused("it has the T of an earlier message: it was seen already",
                          ErrorNo.INVALID_TS)  # fmt: skip
        if self.floor and not _in_order(self.floor) < _in_order(as_number(t)):
            raise Refused(
                "it is older than what is remembered of earlier updates", ErrorNo.INVALID_TS
            )

    def after_sending(self, message: Incoming) -> Freshness:
        """Return what is remembered after a message of this end."""
        sent = (*self.sent, message.t.ntp64 + message.proof)
        gone = [int.from_bytes(one[:8]) for one in sent[:-MAX_KEPT]]
        fresh = replace(self, sent=sent[-MAX_KEPT:], last_t=self._advanced(message.t))
        if not gone:
            return fresh
        if message.t.counter is not None:
            return replace(fresh, peer_counter=max(self.peer_counter, *gone))
        return fresh._without(gone)

    def after_receiving(self, message: Incoming, asked: Incoming | None = None) -> Freshness:
        """Return what is remembered after a message of the other end, which may answer `asked`.

        An answer may repeat the COUNTER of the message that it answers (4.2.2.3).
        """
        t, fresh = message.t, replace(self, last_t=self._advanced(message.t))
        if t.counter is not None:
            own = asked is not None and asked.t == t
            return fresh if own else replace(fresh, peer_counter=max(self.peer_counter, t.counter))
        heard = sorted({*self.heard, as_number(t)}, key=_in_order)
        return replace(fresh, heard=tuple(heard[-MAX_KEPT:]))._without(heard[:-MAX_KEPT])

    def _advanced(self, t: Timestamp) -> int:
        if (t.counter is None) != (self.ts_type != TsType.COUNTER):
            return self.last_t + 1
        return max(self.last_t + 1, as_number(t), key=_in_order) if self.last_t else as_number(t)

    def _without(self, gone: Iterable[int]) -> Freshness:
        """Return this with the floor above times that are not remembered any more."""
        floor = max((self.floor, *gone), key=lambda t: _in_order(t) if t else 0)
        return replace(self, floor=floor)


def as_number(t: Timestamp) -> int:
    """Return a timestamp as 64 bits."""
    return int.from_bytes(t.ntp64)


def _in_order(t: int) -> int:
    """Return a number that orders times: without the top bit they are after 2036 (RFC 4330 3)."""
    return t if t & _TOP else t + 2 * _TOP
