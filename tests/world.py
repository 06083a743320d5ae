"""A small world for tests in one process: a KMS, its users, a clock that is set, and whoever
holds a key and lies with it.

What `World` does with a ticket is what honest parties do. `rewritten_*` make the messages
that someone with the right key can send all the same: changed, and with a MAC that is good.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from mikeytool.client import initiate as transfer
from mikeytool.client import respond as responding
from mikeytool.client.initiate import Media
from mikeytool.client.resolvers import Resolve
from mikeytool.client.ticket_files import TicketFile
from mikeytool.crypto.derive import MessageKeys, initiator_data_keys, message_keys
from mikeytool.crypto.kemac import open_kemac, seal_kemac
from mikeytool.crypto.mac import mac
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.initiator import transfer_init
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256, profile_of
from mikeytool.exchange.protection import protect
from mikeytool.exchange.request import (
    HeldTicket,
    accept_request_resp,
    read_request_init,
    request_init,
)
from mikeytool.exchange.resolve import (
    ResolvedTicket,
    accept_resolve_resp,
    read_resolve_init,
    resolve_init,
)
from mikeytool.exchange.responder import VerifiedInit, transfer_resp, verify_transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.exchange.transfer import TransferInit, read_transfer_init
from mikeytool.kms.service import handle
from mikeytool.kms.store.seal import BESIDE
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.srtp.security_policy import policy_for
from mikeytool.srtp.suites import SUITES
from mikeytool.storage.private_files import write_private
from mikeytool.storage.sql import Where
from mikeytool.wire.header import HDR, GenericIdEntry
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message, build_leading
from mikeytool.wire.payloads import (
    IDR,
    KEMAC,
    RANDR,
    SP,
    TICKET,
    TP,
    Chained,
    KeyData,
    Payload,
    PolicyParam,
    T,
    V,
)
from mikeytool.wire.registry import (
    IdRole,
    KeyType,
    NextPayload,
    RandRole,
    SrtpParam,
    TicketFlag,
    TsType,
)
from mikeytool.wire.timestamp import Timestamp

P = TypeVar("P", bound=Payload)
Change = Callable[[HDR, list[Payload]], object]

START = 1_750_000_000 * NS
YEAR = 365 * 86400 * NS

KMS = Identity.from_text("sip:kms.example.com")
ALICE = Identity.from_text("sip:alice@example.com")
BOB = Identity.from_text("sip:bob@example.com")
CAROL = Identity.from_text("sip:carol@example.com")
EVE = Identity.from_text("sip:eve@example.com")
USERS = (ALICE, BOB, CAROL, EVE)

FORKING = "DEFGHIJNO"
PLAIN = "DEFGHJNO"
HALF_TRIP = "DEHJNO"

BOTH_WAYS = (CsSpec(send=True), CsSpec(send=False))
SUITE_128 = SUITES["AES_CM_128_HMAC_SHA1_80"]
SUITE_256 = SUITES["AES_256_CM_HMAC_SHA1_80"]
POLICY = policy_for(SUITE_128, 0)


def accept_all(_policy: SP) -> bool:
    """Every security policy is supported."""
    return True


def psk_of(who: Identity) -> bytes:
    """The key that a user shares with the KMS."""
    return who.data[4:8].ljust(32, b"\x5a")


class Clock:
    """Stands still but for a millisecond a look: no two messages are of the same moment."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1_000_000
        return self.now


@dataclass(frozen=True)
class Counting(Environment):
    """An environment whose timestamps are COUNTERs, this one next."""

    counter: int = 0

    def timestamp(self, like: Timestamp | None = None) -> Timestamp:
        return Timestamp(TsType.COUNTER, self.counter.to_bytes(4))


def make_store(where: Where, clock: Clock, how: str) -> None:
    """The store of a KMS with four users."""
    tpk = Tpk(Identity.key_name("tpk-1"), b"t" * 32)
    Store.init(where, KMS, PROFILE_256, tpk, how=how).close()
    with Store(where, clock=clock) as store:
        for who in USERS:
            store.add_user(who, psk_of(who))


@cache
def _first_files() -> tuple[dict[str, bytes], int]:
    """The files of such a store, by what follows its name, and the time afterwards."""
    clock = Clock()
    with TemporaryDirectory() as folder:
        store = Path(folder, "kms.db")
        make_store(store, clock, BESIDE)
        files = Path(folder).iterdir()
        return {path.name.removeprefix(store.name): path.read_bytes() for path in files}, clock.now


@dataclass
class World:
    """A KMS with four users. Draws differ from run to run, as nothing may hang on them."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    where: Where = ""
    """The place for the store; a file in the folder unless it is given."""
    is_made: bool = False
    """Whether the store is there, as `make_store` made it."""

    def __post_init__(self) -> None:
        self.env = Environment(clock=self.clock, random=os.urandom)
        self.how = f"file:{self.folder / 'seal.key'}" if self.where else BESIDE
        if self.where:
            (self.folder / "seal.key").write_text("s" * 32)
        elif self.clock.now == START:
            # Making one takes longer than most tests, so there is one for all to begin with.
            files, self.clock.now = _first_files()
            self.folder.mkdir(exist_ok=True)
            for name, data in files.items():
                write_private(self.folder / f"kms.db{name}", data, force=False)
            self.is_made = True
        self.where = self.where or self.folder / "kms.db"
        if not self.is_made:
            make_store(self.where, self.clock, self.how)
        self.store = Store(self.where, clock=self.clock)
        self._files = 0

    def close(self) -> None:
        """Close what is open."""
        self.store.close()

    def path(self) -> Path:
        """The name of a file that is not there yet."""
        self._files += 1
        return self.folder / f"file-{self._files}"

    # --- tickets ----------------------------------------------------------------------------

    def policy(self, flags: str = FORKING, **changes: Any) -> TicketPolicy:
        """A Ticket Policy of Alice for Bob, good for an hour."""
        now = self.clock()
        base = TicketPolicy(
            prf=PROFILE_128.prf,
            flags=TicketFlag.from_letters(flags),
            responders=(BOB,),
            kms=KMS,
            initiator=ALICE,
            valid_from=Timestamp.at(now, TsType.NTP_UTC_32),
            valid_to=Timestamp.at(now + 3600 * NS, TsType.NTP_UTC_32),
            keys=(wanted_key(KeyType.TGK, 16, 0),),
        )
        return replace(base, **changes)

    def asked(
        self, policy: TicketPolicy, by: Identity = ALICE, env: Environment | None = None
    ) -> bytes:
        """REQUEST_INIT for a policy."""
        return request_init(
            env or self.env,
            profile_of(policy.prf),
            policy,
            initiator=by,
            kms=KMS,
            psk=psk_of(by),
        ).raw

    def handled(self, message: bytes, env: Environment | None = None) -> bytes:
        """What the KMS answers to a message; raises Refused when it refuses."""
        handled = handle(self.store, env or self.env, message)
        if handled.refusal is not None:
            raise handled.refusal
        assert handled.answer is not None
        return handled.answer

    def held(self, flags: str = FORKING, **changes: Any) -> HeldTicket:
        """A ticket in Alice's hands."""
        init = self.asked(self.policy(flags, **changes))
        granted = accept_request_resp(
            self.env, read_request_init(init), psk_of(ALICE), self.handled(init)
        )
        return granted.held

    def ticket_file(self, held: HeldTicket) -> Path:
        """The ticket as a file of its initiator."""
        path = self.path()
        TicketFile(held.ticket, held.policy, held.keys).write(path, force=False)
        return path

    # --- transfer ---------------------------------------------------------------------------

    def call(
        self,
        held: HeldTicket,
        crypto_sessions: Sequence[CsSpec] = BOTH_WAYS,
        policies: Sequence[SP] = (POLICY,),
        *,
        caller: Identity = ALICE,
        called: Identity = BOB,
        kemac_keys: Sequence[KeyData] = (),
        env: Environment | None = None,
    ) -> bytes:
        """TRANSFER_INIT, without any file."""
        if TicketFlag.F not in held.policy.flags:
            crypto_sessions = [one for one in crypto_sessions if one.send]
        return transfer_init(
            env or self.env,
            held,
            initiator=caller,
            responder=called,
            crypto_sessions=crypto_sessions,
            policies=policies,
            kemac_keys=kemac_keys,
        ).raw

    def resolving(
        self, ticket: TICKET, by: Identity = BOB, env: Environment | None = None
    ) -> bytes:
        """RESOLVE_INIT for a ticket."""
        return resolve_init(
            env or self.env,
            profile_of(ticket.prf),
            ticket,
            responder=by,
            kms=KMS,
            psk=psk_of(by),
        ).raw

    def resolved(self, init: bytes | TransferInit, by: Identity = BOB) -> ResolvedTicket:
        """What the KMS gives a responder for the ticket of a call."""
        read = read_transfer_init(init) if isinstance(init, bytes) else init
        request = self.resolving(read.ticket, by)
        return accept_resolve_resp(
            self.env, read_resolve_init(request), psk_of(by), self.handled(request)
        )

    def verified(self, init: bytes, by: Identity = BOB) -> VerifiedInit:
        """A call as its responder has it once the ticket is resolved."""
        return verify_transfer_init(read_transfer_init(init), self.resolved(init, by), by)

    def answered(self, init: bytes, by: Identity = BOB, **how: Any) -> tuple[bytes, Session]:
        """TRANSFER_RESP and the responder's session, without any file."""
        answer, session = transfer_resp(
            self.env, self.verified(init, by), accept_all, local=by, **how
        )
        assert answer is not None
        return answer, session

    def start(
        self,
        ticket: Path,
        crypto_sessions: Sequence[CsSpec] = BOTH_WAYS,
        *,
        session: Path | None = None,
        called: Identity = BOB,
        **how: Any,
    ) -> bytes:
        """TRANSFER_INIT as `transfer init` makes it, with files."""
        call = transfer.Call(how.pop("initiator", None), called, **how)
        return transfer.start_call(
            self.env,
            ticket,
            session or self.path(),
            call,
            lambda _policy: Media(crypto_sessions, (POLICY,)),
            force=False,
        )

    def respond(
        self,
        init: bytes,
        *,
        by: Identity = BOB,
        resolve: Resolve | None = None,
        session: Path | None = None,
        media: Media | None = None,
        **how: Any,
    ) -> tuple[bytes | None, Session]:
        """The answer as `transfer respond` makes it, with files."""
        env = how.pop("env", self.env)
        callee = responding.Callee(
            by,
            resolve or (lambda read: self.resolved(read, by)),
            how.pop("accept_policy", accept_all),
            **how,
        )
        return responding.answer_call(
            env,
            read_transfer_init(init),
            session or self.path(),
            callee,
            media or Media(),
            force=False,
        )

    def finish(self, answer: bytes, session: Path, another: Path | None = None) -> Session:
        """The initiator's session as `transfer finish` makes it, with files."""
        return transfer.finish_call(self.env, answer, session, accept_all, another)


# --- keys and policies ------------------------------------------------------------------------


def tek(spi: bytes, length: int = 16) -> KeyData:
    """A fresh TEK with a salt."""
    return new_key(KeyType.TEK_SALT, os.urandom(length), os.urandom(14), spi)


def policy_with(policy_no: int, **params: int) -> SP:
    """An SRTP policy with these parameters, a single octet each, and no others."""
    return SP(
        policy_no=policy_no,
        protocol=0,
        policy_param=[
            PolicyParam(type=SrtpParam[name].value, value=bytes([value]))
            for name, value in params.items()
        ],
    )


# --- messages that are changed and protected again --------------------------------------------


def put(payloads: list[Payload], kind: type[P], nth: int = 0, **fields: Any) -> None:
    """Change fields of the nth payload of a kind; its lengths are made right."""
    at = [n for n, payload in enumerate(payloads) if type(payload) is kind][nth]
    payloads[at] = relaxed(payloads[at], **fields)


def relaxed(payload: P, **fields: Any) -> P:
    """A payload with other fields, whose lengths and next payload are to be made right."""
    loose = {
        name: None
        for name, one in payload.fields.items()
        if one.default is None and (name.endswith(("_len", "_length")) or name == "next_payload")
    }
    return payload.copy(**{**loose, **fields})


def putting(kind: type[Payload], nth: int = 0, **fields: Any) -> Change:
    """The change that `put` makes."""
    return lambda _header, payloads: put(payloads, kind, nth, **fields)


def setting(**fields: Any) -> Change:
    """A change of header fields."""

    def apply(header: HDR, _payloads: list[Payload]) -> None:
        for name, value in fields.items():
            setattr(header, name, value)

    return apply


def inserting(*added: Payload, at: int | None = None) -> Change:
    """A change that puts payloads in, before V unless a position is given."""

    def apply(_header: HDR, payloads: list[Payload]) -> None:
        where = len(payloads) if at is None else at
        payloads[where:where] = added

    return apply


def dropping(kind: type[Payload], **fields: Any) -> Change:
    """A change that leaves payloads of a kind out, those with such fields if any are given."""

    def apply(_header: HDR, payloads: list[Payload]) -> None:
        payloads[:] = [
            payload
            for payload in payloads
            if type(payload) is not kind
            or any(getattr(payload, name) != value for name, value in fields.items())
        ]

    return apply


def untouched(_header: HDR, _payloads: list[Payload]) -> None:
    """No change: the message is only protected again."""


def position(payloads: Sequence[Payload], kind: type[Payload]) -> int:
    """Where the first payload of a kind stands."""
    return next(at for at, payload in enumerate(payloads) if type(payload) is kind)


def rewritten(raw: bytes, change: Change) -> tuple[HDR, list[Payload]]:
    """Header and payloads of a message, V left out, after a change."""
    message = Message.parse(raw)
    header = message.header.copy(next_payload=None, cs_count=None)
    payloads = [
        payload.copy(next_payload=None) if isinstance(payload, Chained) else payload
        for payload in message.payloads
        if not isinstance(payload, V)
    ]
    change(header, payloads)
    return header, payloads


def unprotected(raw: bytes, change: Change) -> bytes:
    """A changed message that keeps the MAC it had, which is wrong now."""
    header, payloads = rewritten(raw, change)
    v = Message.parse(raw).payloads[-1]
    return Message(header, [*payloads, v]).build()


def rand_of(payloads: Sequence[Payload], role: RandRole) -> bytes:
    """The RAND of a role, empty when there is none."""
    return next((p.rand for p in payloads if isinstance(p, RANDR) and p.rand_role == role), b"")


def identities(payloads: Sequence[Payload], *roles: IdRole) -> bytes:
    """The ID Data of roles, in this order: what table 5.2 puts behind an initial message."""
    ids = {p.id_role: p.id_data for p in payloads if isinstance(p, IDR)}
    return b"".join(ids.get(role.value, b"") for role in roles)


def rewritten_request(raw: bytes, psk: bytes, change: Change) -> bytes:
    """A REQUEST_INIT as a user of the KMS can send it."""
    header, payloads = rewritten(raw, change)
    keys = message_keys(
        header.prf,
        psk,
        header.csb_id,
        response=False,
        randr_i=rand_of(payloads, RandRole.INITIATOR),
    )
    behind = identities(payloads, IdRole.INITIATOR, IdRole.KMS)
    return protect(header, payloads, profile_of(header.prf), keys, behind).raw


def rewritten_resolve(raw: bytes, psk: bytes, change: Change) -> bytes:
    """A RESOLVE_INIT as a user of the KMS can send it."""
    header, payloads = rewritten(raw, change)
    keys = message_keys(
        header.prf,
        psk,
        header.csb_id,
        response=False,
        randr_r=rand_of(payloads, RandRole.RESPONDER),
    )
    behind = identities(payloads, IdRole.RESPONDER, IdRole.KMS)
    return protect(header, payloads, profile_of(header.prf), keys, behind).raw


def init_keys(header: HDR, payloads: Sequence[Payload], mpki: bytes) -> MessageKeys:
    """The keys that protect a TRANSFER_INIT."""
    randr_i = rand_of(payloads, RandRole.INITIATOR)
    return message_keys(header.prf, mpki, header.csb_id, response=False, randr_i=randr_i)


def rewritten_init(
    raw: bytes, held: HeldTicket, change: Change, *, signed: bool | None = None
) -> bytes:
    """A TRANSFER_INIT as the holder of its ticket can send it.

    With forking it gets Initiator Data; `signed` adds it or leaves it out nevertheless.
    """
    header, payloads = rewritten(raw, change)
    put(payloads, TICKET, initiator_data=b"")
    keys = init_keys(header, payloads, held.keys.mpki.key)
    behind = identities(payloads, IdRole.INITIATOR, IdRole.RESPONDER)
    made = protect(header, payloads, profile_of(header.prf), keys, behind)
    forked = held.keys.mpkr is not None
    if not (forked if signed is None else signed):
        return made.raw
    mpkr = held.keys.mpkr.key if held.keys.mpkr is not None else bytes(16)
    return with_initiator_data(made.raw, mpkr)


def with_initiator_data(raw: bytes, mpkr: bytes) -> bytes:
    """The message with Vi and Vr in its ticket (6.10)."""
    message = Message.parse(raw)
    v, ticket = message.payloads[-1], message.find(TICKET)
    assert isinstance(v, V)
    assert ticket is not None
    vi = v.copy(next_payload=NextPayload.V.value)
    covers = build_leading([vi, v])[: -len(v.ver_data)]
    tag = mac(v.auth_alg, initiator_data_keys(ticket.prf, mpkr), covers)
    at = message.payloads.index(ticket)
    message.payloads[at] = ticket.copy(initiator_data=covers + tag, initiator_data_length=None)
    return message.build()


def rewritten_answer(raw: bytes, init: bytes, mpk: bytes, change: Change) -> bytes:
    """A TRANSFER_RESP as the one who resolved the ticket can send it."""
    header, payloads = rewritten(raw, change)
    keys = message_keys(
        header.prf,
        mpk,
        header.csb_id,
        response=True,
        randr_i=read_transfer_init(init).randr_i,
        randr_r=rand_of(payloads, RandRole.RESPONDER),
    )
    return protect(header, payloads, profile_of(header.prf), keys, init).raw


def rewritten_granted(raw: bytes, init: bytes, psk: bytes, change: Change) -> bytes:
    """A REQUEST_RESP as a KMS can send it."""
    return _from_kms(raw, init, psk, change, RandRole.INITIATOR)


def rewritten_resolved(raw: bytes, init: bytes, psk: bytes, change: Change) -> bytes:
    """A RESOLVE_RESP as a KMS can send it."""
    return _from_kms(raw, init, psk, change, RandRole.RESPONDER)


def _from_kms(raw: bytes, init: bytes, psk: bytes, change: Change, role: RandRole) -> bytes:
    header, payloads = rewritten(raw, change)
    keys = kms_keys(init, psk, role)
    return protect(header, payloads, profile_of(header.prf), keys, init).raw


def kms_keys(init: bytes, psk: bytes, role: RandRole) -> MessageKeys:
    """The keys of an answer of the KMS."""
    asked = Message.parse(init)
    rand = rand_of(asked.payloads, role)
    return message_keys(
        asked.header.prf,
        psk,
        asked.header.csb_id,
        response=True,
        randr_i=rand if role == RandRole.INITIATOR else b"",
        randr_r=rand if role == RandRole.RESPONDER else b"",
    )


def other_keys(
    keys: MessageKeys, change: Callable[[list[KeyData]], Sequence[KeyData]]
) -> Callable[[HDR, list[Payload]], None]:
    """A change of what the KEMAC of a message holds, sealed again under the same keys."""

    def apply(header: HDR, payloads: list[Payload]) -> None:
        kemac = next(p for p in payloads if isinstance(p, KEMAC))
        t = Timestamp.of(next(p for p in payloads if isinstance(p, T)))
        inside = [relaxed(key) for key in open_kemac(kemac, keys, header.csb_id, t)]
        sealed = seal_kemac(kemac.encr_alg, change(inside), keys, header.csb_id, t)
        payloads[payloads.index(kemac)] = sealed

    return apply


def other_policy(**fields: Any) -> Change:
    """A change of the Ticket Policy in TP; TICKETs are protected against it."""

    def apply(_header: HDR, payloads: list[Payload]) -> None:
        at = position(payloads, TP)
        found = payloads[at]
        assert isinstance(found, TP)
        payloads[at] = replace(TicketPolicy.of(found), **fields).tp()

    return apply


def entries_of(header: HDR) -> list[GenericIdEntry]:
    """The crypto sessions of a transfer message, to be changed in place."""
    return [entry for entry in header.cs_id_map if isinstance(entry, GenericIdEntry)]


# --- chance -----------------------------------------------------------------------------------


def damaged(chance: random.Random, data: bytes) -> bytes:
    """Octets that differ in up to three places: changed, cut out, put in, or doubled."""
    octets = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if not octets:
            return b""
        at, size = chance.randrange(len(octets)), chance.choice((1, 2, 4, 8, 20))
        match chance.randrange(4):
            case 0:
                octets[at] = chance.choice((0, 255, octets[at] ^ 1 << chance.randrange(8)))
            case 1:
                del octets[at : at + size]
            case 2:
                octets[at:at] = chance.randbytes(size)
            case _:
                octets[at:at] = octets[:size]
    return bytes(octets)


def disordered(chance: random.Random) -> Change:
    """A change that a hostile user may think of: payloads doubled, left out, moved, filled."""

    def apply(header: HDR, payloads: list[Payload]) -> None:
        at = chance.randrange(len(payloads))
        match chance.randrange(8):
            case 0:
                payloads.insert(at, payloads[at])
            case 1:
                del payloads[at]
            case 2:
                chance.shuffle(payloads)
            case 3:
                header.prf = chance.choice((0, 1, 2, 127))
            case _:
                payloads[at] = _refilled(chance, payloads[at])

    return apply


def _refilled(chance: random.Random, payload: Payload) -> Payload:
    changes: dict[str, Any] = {}
    for name, one in payload.fields.items():
        value = getattr(payload, name)
        if isinstance(value, bytes) and chance.random() < 0.6:
            odd = (b"", b"\xff" * 4, bytes(255), bytes(16))
            changes[name] = damaged(chance, value) if chance.random() < 0.8 else chance.choice(odd)
        elif isinstance(value, int) and one.default is not None and chance.random() < 0.3:
            changes[name] = chance.randrange(1 << (one.bit_length or 8))
    return relaxed(payload, **changes)
