"""The Ticket Transfer exchange (RFC 6043 4.2.2): what both ends do.

The initiator's side is in `initiator`, the responder's in `responder`, and that of an observer of
both messages in `recover`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mikeytool.crypto.derive import MessageKeys, message_keys
from mikeytool.crypto.kemac import open_kemac
from mikeytool.exchange.crypto_sessions import read_map
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.freshness import Freshness
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import Profile, check_encr_alg, check_rands, rand_length
from mikeytool.exchange.resolve import initiator_data
from mikeytool.exchange.session import CryptoSession, Session
from mikeytool.exchange.ticket import TicketKeys, ticket_digest
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import HDR, GenericIdEntry
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, SP, TICKET, KeyData
from mikeytool.wire.registry import (
    CsIdMapType,
    DataType,
    ErrorNo,
    IdRole,
    KeyType,
    RandRole,
    TicketFlag,
)

F = TicketFlag
AcceptPolicy = Callable[[SP], bool]

_TEKS = (KeyType.TEK, KeyType.TEK_SALT)


@dataclass(frozen=True, slots=True)
class TransferInit:
    """A TRANSFER_INIT, made here or read; do not trust it until it is verified."""

    incoming: Incoming
    ticket: TICKET
    policy: TicketPolicy
    randr_i: bytes
    initiator: Identity | None
    responder: Identity | None
    entries: list[GenericIdEntry]
    policies: dict[int, SP]

    @property
    def raw(self) -> bytes:
        """Return the octets of the message."""
        return self.incoming.raw

    def keys(self, mpk: bytes, *, response: bool, randr_r: bytes = b"") -> MessageKeys:
        """Return the keys that protect the message under an MPK, or the answer to it (5.1.2)."""
        inc = self.incoming
        return message_keys(
            inc.profile.prf,
            mpk,
            inc.csb_id,
            response=response,
            randr_i=self.randr_i,
            randr_r=randr_r,
        )


def read_transfer_init(message: bytes | Message) -> TransferInit:
    """Read a TRANSFER_INIT; refuse one that contradicts itself or its ticket's flags.

    Raises WireError and Refused.
    """
    return transfer_init_of(Incoming.read(message, DataType.TRANSFER_INIT))


def transfer_init_of(incoming: Incoming, policy: TicketPolicy | None = None) -> TransferInit:
    """Return the TRANSFER_INIT in a message, as `read_transfer_init` does.

    `policy` is the policy of its ticket, if already known.
    """
    ticket = incoming.only(TICKET, ErrorNo.INVALID_TICKET)
    policy = policy or TicketPolicy.of(ticket)
    policy.check_flags()
    if policy.prf != incoming.profile.prf:
        raise Refused(
            "the header and the Ticket Policy have PRFs of different strength (RFC 6043 12.1)",
            ErrorNo.INVALID_PRF,
        )
    if incoming.message.find(KEMAC) is not None:
        refuse_unless(F.L in policy.flags, "a KEMAC came, but the ticket has no L flag")
    if F.I not in policy.flags and ticket.initiator_data:
        raise Refused("the ticket has Initiator Data, but no I flag", ErrorNo.INVALID_TICKET)
    entries, policies = read_map(incoming, complete=F.F not in policy.flags)
    return TransferInit(
        incoming,
        ticket,
        policy,
        incoming.need_rand(RandRole.INITIATOR),
        incoming.identity(IdRole.INITIATOR),
        incoming.identity(IdRole.RESPONDER),
        entries,
        policies,
    )


def transfer_header(
    kind: DataType, profile: Profile, csb_id: int, entries: Sequence[GenericIdEntry], *, v: bool
) -> HDR:
    """Return the header of a Ticket Transfer message, with a GENERIC-ID map."""
    return HDR(
        data_type=kind.value,
        v=int(v),
        prf=profile.prf.value,
        csb_id=csb_id,
        cs_id_map_type=CsIdMapType.GENERIC_ID.value,
        cs_id_map=list(entries),
    )


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the initial exchange settles: an end's own view goes into `session_of`.

    `local` is the initiator for an observer, whose `role` is None. `resp` is the TRANSFER_RESP, if
    there is one, and `mpk` the key that protects the last message.
    """

    role: IdRole | None
    local: Identity
    remote: Identity
    resp: Incoming | None
    mpk: bytes
    keys: tuple[KeyData, ...]
    crypto_sessions: tuple[CryptoSession, ...]


def session_of(init: TransferInit, agreed: Agreed, now_ns: int) -> Session:
    """Return the session that a TRANSFER_INIT and its answer set up. Raises Refused."""
    resp = agreed.resp
    randr_r = randr_kms = b""
    policies = dict(init.policies)
    if resp is not None:
        randr_r = (resp.rand(RandRole.RESPONDER) or b"") if F.G in init.policy.flags else b""
        randr_kms = resp.rand(RandRole.KMS) or b""
        policies = {sp.policy_no: sp for sp in (*resp.message.all(SP), *policies.values())}
    since = {} if agreed.role is None else {key.spi: now_ns for key in agreed.keys if key.spi}
    session = Session(
        csb_id=init.incoming.csb_id,
        role=agreed.role,
        local=agreed.local,
        remote=agreed.remote,
        policy=init.policy,
        randr_i=init.randr_i,
        randr_r=randr_r,
        mpk=agreed.mpk,
        keys=agreed.keys,
        crypto_sessions=agreed.crypto_sessions,
        fresh=Freshness.after(init.incoming, resp, agreed.role),
        policies=tuple(policies.values()),
        randr_kms=randr_kms,
        ticket_digest=ticket_digest(init.ticket),
        keys_since=since,
    )
    session.check()
    return session


def transfer_rand_length(ticket_keys: TicketKeys, session_keys: Sequence[KeyData]) -> int:
    """Return the length of new RANDRi and RANDRr: that of the longest key they are for (12.1)."""
    return rand_length(ticket_keys.mpki.key, *(key.key for key in session_keys))


def check_transfer_rands(
    randr_i: bytes, randr_r: bytes, mpks: Sequence[bytes], session_keys: Sequence[KeyData]
) -> None:
    """Refuse RANDs that are together shorter than the longest MPK, TGK or GTGK (12.1).

    The length of a TEK does not count, because no RAND is used with it.
    """
    roots = [key.key for key in session_keys if key.type not in _TEKS]
    check_rands((randr_i, randr_r), (*mpks, *roots))


def refuse_unless(condition: bool, text: str) -> None:
    """Raise Refused (Invalid TPpar) with `text` if the condition is false.

    The condition is something that the Ticket Policy must allow.
    """
    if not condition:
        raise Refused(text, ErrorNo.INVALID_TPPAR)


def check_usable(
    policy: TicketPolicy, env: Environment, initiator: Identity | None, flag: TicketFlag
) -> None:
    """Refuse a ticket that is not a base ticket, is outside its validity or needs other processing.

    `flag` is N for the initiator and O for the responder. With the I flag, only the requester of
    the ticket may send it (interpretation 18).
    """
    policy.check_base_ticket()
    policy.check_flags()
    policy.check_validity(env.clock())
    refuse_unless(
        flag in policy.flags,
        f"the ticket has no {flag.name} flag: it takes processing beyond RFC 6043;"
        f" request one with --flags=+{flag.name}",
    )
    refuse_unless(bool(policy.responders), "the Ticket Policy names no responder")
    if F.I in policy.flags and initiator is not None and initiator != policy.initiator:
        raise Refused(
            f"with key forking only {policy.initiator} may send this ticket, not {initiator}",
            ErrorNo.INVALID_ID,
        )


def check_apps(policy: TicketPolicy, apps: Sequence[Identity]) -> None:
    """Refuse a ticket for applications if none of them is in `apps` (IDRapp, 6.10)."""
    if policy.apps and not set(apps) & set(policy.apps):
        names = ", ".join(map(str, policy.apps))
        raise Refused(
            f"the ticket is for the application {names}; say with --app which this is",
            ErrorNo.INVALID_TPPAR,
        )


def check_vi(init: TransferInit) -> None:
    """With key forking, refuse a ticket if its Vi is not the V of the message (4.2.3.6)."""
    if F.I not in init.policy.flags:
        return
    vi, _ = initiator_data(init.ticket)
    if (vi.auth_alg, vi.ver_data) != (init.incoming.v.auth_alg, init.incoming.v.ver_data):
        raise Refused(
            "Vi in the ticket is not the V of this message: the ticket was taken from another",
            ErrorNo.AUTH_FAILURE,
        )


def open_own_kemac(incoming: Incoming, keys: MessageKeys) -> tuple[KeyData, ...]:
    """Return the session keys in the KEMAC of a verified message; it contains no MPK (5.2)."""
    kemac = incoming.message.find(KEMAC)
    if kemac is None:
        return ()
    check_encr_alg(incoming.profile, kemac.encr_alg)
    found = tuple(open_kemac(kemac, keys, incoming.csb_id, incoming.t))
    if any(key.type == KeyType.MPK for key in found):
        raise Refused("a KEMAC in Ticket Transfer holds no MPK (5.2)")
    return found


def encr_alg_of(incoming: Incoming) -> int:
    """Return the algorithm for a KEMAC in the answer: that of the message (interpretation 23)."""
    kemac = incoming.message.find(KEMAC)
    return incoming.profile.encr_alg if kemac is None else int(kemac.encr_alg)
