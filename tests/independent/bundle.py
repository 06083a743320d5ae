"""A crypto session bundle of the second implementation, and its updates (RFC 6043 5.2).

It does what its caller says, right or wrong: the checks that the tool is asked for are not here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.independent.rfc6043 import (
    ERR,
    I_ROLE,
    KEMAC,
    KMS_ROLE,
    R_ROLE,
    TICKET,
    TRANSFER_INIT,
    TRANSFER_RESP,
    Chain,
    CryptoSession,
    Key,
    Parsed,
    Protection,
    Suite,
    T,
    V,
    chain,
    check,
    header,
    idr,
    kemac,
    message_protection,
    now,
    open_kemac,
    randr,
    read,
    sign,
    ts64,
)
from tests.independent.roles import Held, Initiator, Media, Responder, Ticket, all_media

ERROR = 6


def ntp(kind: int = 0, seconds: float = 0, bit: int | None = None) -> bytes:
    """A T of type NTP-UTC (0) or NTP (1), so far from now, with a lowest bit."""
    value = int.from_bytes(now()) + int(seconds * (1 << 32))
    if bit is not None:
        value = value & ~1 | bit
    return bytes([kind]) + struct.pack("!Q", value)


def ntp32(seconds: float = 0) -> bytes:
    """A T of type NTP-UTC-32."""
    return b"\3" + ntp(seconds=seconds)[1:5]


def counter(value: int) -> bytes:
    """A T of type COUNTER."""
    return b"\2" + struct.pack("!I", value)


@dataclass
class Bundle:
    """What one end knows once the initial exchange is over. `role` is that of this end."""

    role: int
    init: Parsed
    resp: Parsed | None
    mpk: bytes
    keys: list[Key]
    flags: str
    parties: tuple[bytes, bytes]
    sessions: dict[int, CryptoSession]
    sent: Parsed | None = None

    @classmethod
    def of_initiator(cls, alice: Initiator, resp: bytes | None) -> Bundle:
        """After `alice.transfer_resp(resp)`, which forks what is to be forked."""
        init, flags = alice.init, alice.held.ticket.flags
        answer = None if resp is None else read(resp)
        held = alice.answered if answer is not None else alice.held
        called = init.identity(R_ROLE)
        names = init.identity(I_ROLE), called if answer is None else answer.identity(R_ROLE)
        mpk = held.mpkr if "I" in flags and answer is not None else held.mpki
        return cls(I_ROLE, init, answer, mpk, held.keys, flags, names, _sessions(init, answer))

    @classmethod
    def of_responder(cls, bob: Responder, resp: bytes | None) -> Bundle:
        init, flags = bob.init, bob.held.ticket.flags
        answer = None if resp is None else read(resp)
        held, called = bob.held, init.identity(R_ROLE)
        names = init.identity(I_ROLE), called if answer is None else answer.identity(R_ROLE)
        mpk = held.mpkr if "I" in flags and answer is not None else held.mpki
        return cls(R_ROLE, init, answer, mpk, held.keys, flags, names, _sessions(init, answer))

    @property
    def suite(self) -> Suite:
        return self.init.suite

    @property
    def protection(self) -> Protection:
        """The keys of the last message of the initial exchange."""
        rand_r = b"" if self.resp is None else self.resp.rand(R_ROLE)
        response = self.resp is not None
        return message_protection(
            self.suite, self.mpk, self.csb_id, response, self.init.rand(I_ROLE), rand_r
        )

    @property
    def csb_id(self) -> int:
        return self.init.header.csb_id

    @property
    def media(self) -> Media:
        """SPI, TEK and salt of each crypto session; a key of a KEMAC is not forked."""
        rand_r = b"" if self.resp is None else self.resp.rand(R_ROLE)
        held = Held(Ticket(self.suite.prf, self.flags, b"", b""), self.mpk, b"", self.keys)
        return all_media(self.init, list(self.sessions.values()), held, rand_r)

    def static(self, *, ticket: bool = True) -> Chain:
        """What the initial exchange had and an update should not repeat."""
        found = [randr(I_ROLE, self.init.rand(I_ROLE))]
        if self.resp is not None and self.resp.rand(R_ROLE):
            found.append(randr(R_ROLE, self.resp.rand(R_ROLE)))
        if self.resp is not None and self.resp.rand(KMS_ROLE):
            found.append(randr(KMS_ROLE, self.resp.rand(KMS_ROLE)))
        return [*found, (TICKET, self.init.get(TICKET))] if ticket else found

    def names(self, roles: tuple[int, ...]) -> Chain:
        return [idr(role, self.parties[role - 1]) for role in roles]

    def update(
        self,
        t: bytes,
        sessions: list[CryptoSession],
        keys: list[Key] | None = None,
        payloads: Chain | None = None,
        *,
        roles: tuple[int, ...] = (I_ROLE, R_ROLE),
        v: int = 1,
        behind: bytes | None = None,
    ) -> bytes:
        """TRANSFER_INIT of an update, from whichever end this is.

        `payloads` follow the identities of `roles`.
        """
        middle = [*self.names(roles), *(payloads or [])]
        raw = self._message(TRANSFER_INIT, t, sessions, middle, keys, v, behind)
        self.sent, self.keys = read(raw), [*(keys or []), *self.keys]
        return raw

    def answer(
        self,
        raw: bytes,
        t: bytes,
        sessions: list[CryptoSession],
        keys: list[Key] | None = None,
        payloads: Chain | None = None,
    ) -> bytes:
        """TRANSFER_RESP to an update of the other end, once that verifies."""
        init = read(raw)
        check(self.suite, self.protection.auth, raw, b"".join(self.parties))
        self.keys = [*self._opened(init), *(keys or []), *self.keys]
        middle = [*self.names((self.role,)), *(payloads or [])]
        answer = self._message(TRANSFER_RESP, t, sessions, middle, keys, 0, raw)
        self.take(read(answer).header.sessions)
        return answer

    def finish(self, raw: bytes) -> Parsed:
        """Take TRANSFER_RESP to one's own update."""
        answer = read(raw)
        assert self.sent is not None
        assert answer.header.data_type == TRANSFER_RESP
        check(self.suite, self.protection.auth, raw, self.sent.raw)
        self.keys = [*self._opened(answer), *self.keys]
        self.take(answer.header.sessions)
        return answer

    def error(self, raw: bytes) -> int:
        """The number in an Error message, which must verify (5.4)."""
        error = read(raw)
        assert error.header.data_type == ERROR
        assert error.header.csb_id == self.csb_id
        check(self.suite, self.protection.auth, raw)
        return error.get(ERR)[0]

    def take(self, sessions: list[CryptoSession]) -> None:
        self.sessions |= {one.cs_id: one for one in sessions}

    def _opened(self, message: Parsed) -> list[Key]:
        return [
            key
            for kind, content in message.payloads
            if kind == KEMAC
            for key in open_kemac(content, self.protection, self.csb_id, message.ts)
        ]

    def _message(
        self,
        kind: int,
        t: bytes,
        sessions: list[CryptoSession],
        middle: Chain,
        keys: list[Key] | None,
        v: int,
        behind: bytes | None,
    ) -> bytes:
        payloads: Chain = [(T, t), *middle]
        if keys:
            payloads.append(kemac(self.suite, self.protection, self.csb_id, ts64(t), keys))
        payloads.append((V, bytes([self.suite.mac_alg])))
        # The MAC of a TRANSFER_INIT leaves out the Initiator Data of a ticket (5.5).
        covered = [
            (number, Ticket.of(content).covered if number == TICKET else content)
            for number, content in payloads
        ]
        head = header(kind, payloads, self.suite, self.csb_id, v, sessions)
        tail = b"".join(self.parties) if behind is None else behind
        auth = self.protection.auth
        return sign(self.suite, auth, head + chain(payloads), tail, head + chain(covered))


def _sessions(init: Parsed, answer: Parsed | None) -> dict[int, CryptoSession]:
    return {one.cs_id: one for one in (answer or init).header.sessions}
