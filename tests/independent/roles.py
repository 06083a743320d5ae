"""Initiator, responder and KMS of the second implementation (RFC 6043 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.independent.rfc6043 import (
    FORK_MPKR,
    FORK_TGK,
    I_ROLE,
    IDR,
    KEMAC,
    KMS_ROLE,
    MPK,
    PSK_ROLE,
    R_ROLE,
    RAND,
    REQUEST_INIT,
    REQUEST_RESP,
    RESOLVE_INIT,
    RESOLVE_RESP,
    SP,
    SUITES,
    TGK,
    TGK_SALT,
    TICKET,
    TP,
    TR,
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
    fork,
    fresh,
    header,
    idr,
    initiator_protection,
    kemac,
    key_chain,
    leading,
    media_key,
    message_protection,
    mpk_pair,
    now,
    open_kemac,
    rand8,
    randr,
    read,
    sign,
    t_payload,
    ticket_protection,
    ts64,
    unchain,
)

FLAGS = "DEFGHIJKLMNO"
TICKET_CSB_ID = 0xFFFFFFFF


def policy_sp(number: int, key: int) -> tuple[int, bytes]:
    """AES-CM with a 112-bit salt, HMAC-SHA-1 with a tag of 80 bits (RFC 3830 6.10.1)."""
    params = bytes.fromhex(f"000101 0101{key:02x} 020101 030114 04010e 070101 080101 0a0101 0b010a")
    return SP, struct.pack("!BBH", number, 0, len(params)) + params


@dataclass(frozen=True)
class Ticket:
    """A TICKET payload's content in its parts."""

    prf: int
    flags: str
    tp_data: bytes
    data: bytes
    initiator_data: bytes = b""

    @classmethod
    def of(cls, content: bytes) -> Ticket:
        word = int.from_bytes(content[4:7])
        bits = word >> 5 & 0xFFF
        flags = "".join(letter for at, letter in enumerate(FLAGS) if bits >> (11 - at) & 1)
        parts, at = [], 7
        while at < len(content):
            (size,) = struct.unpack_from("!H", content, at)
            parts.append(content[at + 2 : at + 2 + size])
            at += 2 + size
        return cls(word >> 17, flags, *parts)

    @property
    def policy(self) -> bytes:
        """From Ticket Type to the end of TP Data."""
        bits = sum(0x800 >> FLAGS.index(letter) for letter in self.flags)
        word = (self.prf << 17 | bits << 5).to_bytes(3)
        return bytes([0, 1, 1, 1]) + word + struct.pack("!H", len(self.tp_data)) + self.tp_data

    @property
    def covered(self) -> bytes:
        """What the MACs of ticket and TRANSFER_INIT cover: up to the Initiator Data."""
        return self.policy + struct.pack("!H", len(self.data)) + self.data

    @property
    def content(self) -> bytes:
        return self.covered + struct.pack("!H", len(self.initiator_data)) + self.initiator_data

    def identities(self, role: int) -> list[bytes]:
        payloads = unchain(self.tp_data[0], self.tp_data[1:])
        return [content[4:] for kind, content in payloads if kind == IDR and content[0] == role]


@dataclass
class Held:
    """A ticket with its keys."""

    ticket: Ticket
    mpki: bytes
    mpkr: bytes
    keys: list[Key]


Media = dict[int, tuple[bytes, bytes, bytes]]
"""SPI, TEK and salt of each crypto session by its CS ID."""


def split_mpks(keys: list[Key], flags: str) -> tuple[bytes, bytes, list[Key]]:
    """MPKi, MPKr (empty without forking) and the session keys of a KEMAC."""
    count = 2 if "I" in flags else 1
    assert [key.type == MPK for key in keys[: count + 1]] == [True] * count + [False] * (
        len(keys) > count
    )
    return keys[0].key, keys[1].key if count == 2 else b"", keys[count:]


def all_media(init: Parsed, sessions: list[CryptoSession], held: Held, rand_r: bytes) -> Media:
    rand_i = init.rand(I_ROLE) if "H" in held.ticket.flags else b""
    by_spi = {key.spi: key for key in held.keys}
    lengths = (16 if init.header.prf == 0 else 32, 14)
    return {
        one.cs_id: (
            one.spi,
            *media_key(init.suite, by_spi[one.spi], one.cs_id, rand_i, rand_r, lengths),
        )
        for one in sessions
    }


def covered_of_init(init: Parsed) -> bytes:
    """TRANSFER_INIT without its MAC and without the Initiator Data (5.5)."""
    content = init.get(TICKET)
    unsigned = init.raw[: -len(init.get(V)) + 1]
    return unsigned.replace(content, Ticket.of(content).covered)


Edit = Callable[[Chain], Chain]


def unchanged(payloads: Chain) -> Chain:
    return payloads


@dataclass
class User:
    """What every user shares with the KMS."""

    identity: bytes
    kms: bytes
    psk: bytes
    psk_id: bytes
    suite: Suite = field(default_factory=lambda: SUITES[0])
    edit: Edit = unchanged
    """Changes the payloads of an initial message to the KMS before they are protected."""
    edit_tp: Edit = unchanged
    """The same for TP Data."""
    rand_size: int | None = None
    """The length of the RAND of an initial message to the KMS, if not that of the suite."""
    stamp: Callable[[], bytes] = lambda: b"\0" + now()
    """Makes the T of messages to another user: TS type and TS value."""

    sent: bytes = b""
    """The last initial message to the KMS, and its RAND."""
    sent_rand: bytes = b""

    @property
    def request(self) -> Parsed:
        return read(self.sent)

    def rand(self) -> bytes:
        self.sent_rand = fresh(self.suite.key if self.rand_size is None else self.rand_size)
        return self.sent_rand

    def protect(self, kind: int, payloads: Chain, role: int, rand: bytes, csb_id: int) -> bytes:
        """Put HDR before and V behind an initial message to the KMS."""
        payloads = self.edit([*payloads, idr(PSK_ROLE, self.psk_id, 2)])
        payloads = [*payloads, (V, bytes([self.suite.mac_alg]))]
        message = header(kind, payloads, self.suite, csb_id, 1, None) + chain(payloads)
        rand_i, rand_r = (rand, b"") if role == I_ROLE else (b"", rand)
        keys = message_protection(self.suite, self.psk, csb_id, False, rand_i, rand_r)
        self.sent = sign(self.suite, keys.auth, message, self.identity + self.kms)
        return self.sent


class Initiator(User):
    """Requests a ticket, sends it, takes the answer."""

    init: Parsed
    held: Held
    answered: Held
    """The ticket as the responder of the last answer has it."""

    def request_init(self, to: bytes, flags: str, key_type: int = TGK) -> bytes:
        """4.2.1.1 and 4.2.1.2."""
        start = int.from_bytes(now()[:4])
        wanted = Key(key_type, bytes(self.suite.key), bytes(14) if key_type % 2 else None, b"")
        asked = key_chain([wanted])
        policy = [
            idr(KMS_ROLE, self.kms),
            idr(I_ROLE, self.identity),
            (TR, struct.pack("!BBI", 2, 3, start)),
            (TR, struct.pack("!BBI", 3, 3, (start + 3600) & 0xFFFFFFFF)),
            (KEMAC, struct.pack("!BH", 0, len(asked)) + asked + b"\0"),
            idr(R_ROLE, to),
        ]
        tp_data = leading(self.edit_tp(policy))
        rand, csb_id = self.rand(), int.from_bytes(fresh(4))
        payloads = [
            t_payload(now()),
            randr(I_ROLE, rand),
            idr(I_ROLE, self.identity),
            idr(KMS_ROLE, self.kms),
            (TP, Ticket(self.suite.prf, flags, tp_data, b"").policy),
        ]
        return self.protect(REQUEST_INIT, payloads, I_ROLE, rand, csb_id)

    def request_resp(self, raw: bytes) -> Held:
        """4.2.1.6."""
        answer, first = read(raw), self.request
        assert (answer.header.data_type, answer.header.csb_id) == (
            REQUEST_RESP,
            first.header.csb_id,
        )
        keys = message_protection(
            self.suite, self.psk, first.header.csb_id, True, first.rand(I_ROLE), b""
        )
        check(self.suite, keys.auth, raw, first.raw)
        ticket = Ticket.of(answer.get(TICKET))
        inside = open_kemac(answer.get(KEMAC), keys, first.header.csb_id, answer.ts)
        self.held = Held(ticket, *split_mpks(inside, ticket.flags))
        return self.held

    def transfer_init(
        self,
        to: bytes,
        ssrcs: list[int | None],
        sent_keys: list[Key] | None = None,
        roles: tuple[int, ...] = (I_ROLE, R_ROLE),
        more: Chain | None = None,
    ) -> bytes:
        """4.2.2.1; an SSRC of None leaves the crypto session to the responder. It names the
        parties in these roles, and both in its MAC. `more` are payloads behind T.
        """
        ticket, suite = self.held.ticket, self.suite
        spi = (sent_keys or self.held.keys)[0].spi if sent_keys or self.held.keys else b""
        sessions = [
            CryptoSession(at, b"\0", b"" if ssrc is None else ssrc.to_bytes(4), spi)
            for at, ssrc in enumerate(ssrcs, 1)
        ]
        rand, csb_id, t = fresh(suite.key), int.from_bytes(fresh(4)), self.stamp()
        keys = message_protection(suite, self.held.mpki, csb_id, False, rand, b"")
        head: Chain = [
            (T, t),
            *(more or []),
            randr(I_ROLE, rand),
            *(idr(role, (self.identity, to)[role - 1]) for role in roles),
            policy_sp(0, suite.key),
        ]
        tail: Chain = [kemac(suite, keys, csb_id, ts64(t), sent_keys)] if sent_keys else []
        tail.append((V, bytes([suite.mac_alg])))

        def message(content: bytes) -> bytes:
            payloads = [*head, (TICKET, content), *tail]
            v = int("F" in ticket.flags)
            return header(TRANSFER_INIT, payloads, suite, csb_id, v, sessions) + chain(payloads)

        mac = sign(suite, keys.auth, b"", self.identity + to, covered=message(ticket.covered))
        if "I" in ticket.flags:
            ticket = replace(ticket, initiator_data=self.initiator_data(mac))
        raw = message(ticket.content) + mac
        self.init = read(raw)
        self.held.keys = [*self.held.keys, *(sent_keys or [])]
        return raw

    def initiator_data(self, mac: bytes) -> bytes:
        """6.10: Vi, which repeats V, and Vr over both."""
        alg = bytes([self.suite.mac_alg])
        unsigned = leading([(V, alg + mac), (V, alg)])
        return sign(self.suite, initiator_protection(self.suite, self.held.mpkr).auth, unsigned)

    def media_without_answer(self) -> Media:
        """With F = 0 there is no answer."""
        return all_media(self.init, self.init.header.sessions, self.held, b"")

    def transfer_resp(self, raw: bytes) -> Media:
        """4.2.2.4."""
        answer, init, ticket = read(raw), self.init, self.held.ticket
        assert (answer.header.data_type, answer.header.csb_id) == (
            TRANSFER_RESP,
            init.header.csb_id,
        )
        held = replace_forked(self.held, ticket, answer.identity(R_ROLE), answer.rand(KMS_ROLE))
        rand_r = answer.rand(R_ROLE)
        assert bool(rand_r) == ("G" in ticket.flags)
        mpk = held.mpkr if "I" in ticket.flags else held.mpki
        keys = message_protection(
            self.suite, mpk, init.header.csb_id, True, init.rand(I_ROLE), rand_r
        )
        check(self.suite, keys.auth, raw, init.raw)
        for kind, content in answer.payloads:
            if kind == KEMAC:
                held.keys += open_kemac(content, keys, init.header.csb_id, answer.ts)
        self.answered = held
        return all_media(init, answer.header.sessions, held, rand_r)


def replace_forked(held: Held, ticket: Ticket, identity: bytes, rand_kms: bytes) -> Held:
    """5.1.1, where the I flag is set: MPKr and the TGKs of the ticket change."""
    if "I" not in ticket.flags:
        return replace(held, keys=list(held.keys))
    suite = SUITES[ticket.prf]
    keys = [
        key._replace(key=fork(suite, key.key, FORK_TGK, identity, rand_kms))
        if key.type in (TGK, TGK_SALT)
        else key
        for key in held.keys
    ]
    return replace(held, mpkr=fork(suite, held.mpkr, FORK_MPKR, identity, rand_kms), keys=keys)


class Responder(User):
    """Takes a ticket, lets the KMS resolve it, answers."""

    init: Parsed
    held: Held
    named: bytes
    rand_kms: bytes

    def receive(self, raw: bytes) -> bytes:
        """Take TRANSFER_INIT; gives RESOLVE_INIT (4.2.3.1 and 4.2.3.2)."""
        self.init = read(raw)
        assert self.init.header.data_type == TRANSFER_INIT
        rand, csb_id = self.rand(), int.from_bytes(fresh(4))
        payloads = [
            t_payload(now()),
            randr(R_ROLE, rand),
            idr(R_ROLE, self.identity),
            idr(KMS_ROLE, self.kms),
            (TICKET, self.init.get(TICKET)),
        ]
        return self.protect(RESOLVE_INIT, payloads, R_ROLE, rand, csb_id)

    def resolve_resp(self, raw: bytes) -> None:
        """4.2.3.6."""
        answer, first = read(raw), self.request
        assert (answer.header.data_type, answer.header.csb_id) == (
            RESOLVE_RESP,
            first.header.csb_id,
        )
        keys = message_protection(
            self.suite, self.psk, first.header.csb_id, True, b"", first.rand(R_ROLE)
        )
        check(self.suite, keys.auth, raw, first.raw)
        ticket = Ticket.of(self.init.get(TICKET))
        inside = open_kemac(answer.get(KEMAC), keys, first.header.csb_id, answer.ts)
        self.held = Held(ticket, *split_mpks(inside, ticket.flags))
        self.named, self.rand_kms = answer.identity(R_ROLE), answer.rand(KMS_ROLE)
        self.verify()

    def verify(self) -> None:
        """The MAC of TRANSFER_INIT under MPKi; with forking Vi repeats it."""
        init, suite = self.init, self.init.suite
        keys = message_protection(
            suite, self.held.mpki, init.header.csb_id, False, init.rand(I_ROLE), b""
        )
        behind = init.identity(I_ROLE) + init.identity(R_ROLE)
        check(suite, keys.auth, init.raw, behind, covered=covered_of_init(init))
        if "I" in self.held.ticket.flags:
            vi, _vr = unchain(V, self.held.ticket.initiator_data[1:])
            assert vi[1] == init.get(V)
        for kind, content in init.payloads:
            if kind == KEMAC:
                self.held.keys += open_kemac(content, keys, init.header.csb_id, init.ts)

    def transfer_resp(
        self, ssrc: int, sent_keys: list[Key] | None = None, more: Chain | None = None
    ) -> tuple[bytes, Media]:
        """4.2.2.3; crypto sessions without SSRC get `ssrc`, the next one, and so on. `more` are
        payloads that need not be there.
        """
        init, flags, suite = self.init, self.held.ticket.flags, self.init.suite
        self.held.keys += sent_keys or []
        sessions = []
        for one in init.header.sessions:
            if not one.session_data:
                one = one._replace(session_data=ssrc.to_bytes(4))
                ssrc += 1
            spi = sent_keys[0].spi if sent_keys else one.spi or self.held.keys[0].spi
            sessions.append(one._replace(spi=spi, policies=one.policies[:1]))
        rand_r = fresh(suite.key) if "G" in flags else b""
        csb_id, t = init.header.csb_id, self.stamp()
        mpk = self.held.mpkr if "I" in flags else self.held.mpki
        keys = message_protection(suite, mpk, csb_id, True, init.rand(I_ROLE), rand_r)
        payloads: Chain = [(T, t)]
        payloads += [randr(R_ROLE, rand_r)] if rand_r else []
        payloads.append(idr(R_ROLE, self.named or self.identity))
        payloads += [randr(KMS_ROLE, self.rand_kms)] if self.rand_kms else []
        payloads += [kemac(suite, keys, csb_id, ts64(t), sent_keys)] if sent_keys else []
        payloads += more or []
        payloads.append((V, bytes([suite.mac_alg])))
        message = header(TRANSFER_RESP, payloads, suite, csb_id, 0, sessions) + chain(payloads)
        raw = sign(suite, keys.auth, message, init.raw)
        return raw, all_media(init, sessions, self.held, rand_r)

    def media_without_answer(self) -> Media:
        """With F = 0 there is no answer."""
        return all_media(self.init, self.init.header.sessions, self.held, b"")


@dataclass
class Kms:
    """Issues and resolves tickets for users that it finds by IDRpsk."""

    identity: bytes
    tpk: bytes
    users: dict[bytes, tuple[bytes, bytes]]
    """Identity and pre-shared key by the key's name."""
    rand_size: int = 0
    """The length of the RAND in tickets, if not that of the suite."""
    kv: int = 1
    """The key validity of session keys."""
    tpk_id: bytes | None = None
    """The name of the TPK for tickets."""

    def handle(self, raw: bytes) -> bytes:
        """The answer to REQUEST_INIT_PSK or RESOLVE_INIT_PSK."""
        message = read(raw)
        identity, psk = self.users[message.identity(PSK_ROLE)]
        request = message.header.data_type == REQUEST_INIT
        role = I_ROLE if request else R_ROLE
        rand = message.rand(role)
        rands = (rand, b"") if request else (b"", rand)
        suite, csb_id = message.suite, message.header.csb_id
        auth = message_protection(suite, psk, csb_id, False, *rands).auth
        check(suite, auth, raw, identity + self.identity)
        assert message.identity(role) == identity
        keys, ts = message_protection(suite, psk, csb_id, True, *rands), now()
        if request:
            kind, payloads = REQUEST_RESP, self.granted(message, keys, ts)
        else:
            kind, payloads = RESOLVE_RESP, self.resolved(message, identity, keys, ts)
        payloads = [t_payload(ts), idr(KMS_ROLE, self.identity), *payloads]
        payloads.append((V, bytes([suite.mac_alg])))
        answer = header(kind, payloads, suite, csb_id, 0, None) + chain(payloads)
        return sign(suite, keys.auth, answer, raw)

    def granted(self, message: Parsed, keys: Protection, ts: bytes) -> Chain:
        """A ticket as it was asked for, and its keys (4.2.1.5)."""
        wanted = Ticket.of(message.get(TP) + bytes(4))
        suite = SUITES[wanted.prf]
        asked = unchain(wanted.tp_data[0], wanted.tp_data[1:])
        inside: list[Key] = []
        for kind, content in asked:
            if kind == KEMAC:
                (size,) = struct.unpack_from("!H", content, 1)
                for at, key in enumerate(unchain(20, content[3 : 3 + size]), 1):
                    inside.append(made_key(key[1], at)._replace(kv=self.kv))
        policy = leading([one for one in asked if one[0] != KEMAC])
        mpk = fresh(suite.key)
        ticket, rand = self.make_ticket(suite, wanted.flags, policy, mpk, inside)
        mpki, mpkr = mpk_pair(suite, mpk, rand)
        mpks = [Key(MPK, mpki, None, b"\0\0\1\1")]
        mpks += [Key(MPK, mpkr, None, b"\0\0\1\2")] if "I" in wanted.flags else []
        box = kemac(message.suite, keys, message.header.csb_id, ts, mpks + inside)
        return [(TICKET, ticket.content), box]

    def make_ticket(
        self, suite: Suite, flags: str, policy: bytes, mpk: bytes, inside: list[Key]
    ) -> tuple[Ticket, bytes]:
        """Appendix A: the ticket and its RAND."""
        rand, ts = fresh(self.rand_size or suite.key), now()
        keys = ticket_protection(suite, self.tpk, rand)
        payloads: Chain = [
            t_payload(ts),
            (RAND, rand8(rand)),
            kemac(suite, keys, TICKET_CSB_ID, ts, [Key(MPK, mpk, None, b"\0\0\1\0"), *inside]),
            *([] if self.tpk_id is None else [idr(PSK_ROLE, self.tpk_id, 2)]),
            (V, bytes([suite.mac_alg])),
        ]
        data = bytes([T, 0, 0]) + chain(payloads)
        size = len(data) + (20 if suite.mac_alg == 1 else 32)
        unsigned = Ticket(suite.prf, flags, policy, b"").policy + struct.pack("!H", size) + data
        return Ticket(suite.prf, flags, policy, sign(suite, keys.auth, unsigned)[-size:]), rand

    def resolved(self, message: Parsed, who: bytes, keys: Protection, ts: bytes) -> Chain:
        """The keys of a ticket, forked for the one who asks (4.2.3.5)."""
        ticket = Ticket.of(message.get(TICKET))
        suite = SUITES[ticket.prf]
        assert who in ticket.identities(R_ROLE)
        payloads = dict(unchain(ticket.data[0], ticket.data[3:]))
        rand = payloads[RAND][1:]
        protection = ticket_protection(suite, self.tpk, rand)
        check(suite, protection.auth, ticket.covered)
        t64 = ts64(payloads[T])
        first, *inside = open_kemac(payloads[KEMAC], protection, TICKET_CSB_ID, t64)
        mpki, mpkr = mpk_pair(suite, first.key, rand)
        held, extra = Held(ticket, mpki, mpkr, inside), list[tuple[int, bytes]]()
        if "I" in ticket.flags:
            check(suite, initiator_protection(suite, mpkr).auth, ticket.initiator_data)
            rand_kms = fresh(suite.key)
            held = replace_forked(held, ticket, who, rand_kms)
            extra = [idr(R_ROLE, who), randr(KMS_ROLE, rand_kms)]
        mpks = [Key(MPK, held.mpki, None, b"\0\0\1\1")]
        mpks += [Key(MPK, held.mpkr, None, b"\0\0\1\2")] if extra else []
        return [kemac(message.suite, keys, message.header.csb_id, ts, mpks + held.keys), *extra]


def made_key(asked: bytes, number: int) -> Key:
    """A key of the type and lengths that were asked for, in key data of any KV."""
    kind, (size,) = asked[0] >> 4, struct.unpack_from("!H", asked, 1)
    salt = None
    if kind % 2:
        salt = fresh(struct.unpack_from("!H", asked, 3 + size)[0])
    return Key(kind, fresh(size), salt, struct.pack("!I", 0x200 + number))
