"""The Ticket Transfer exchange (RFC 6043 4.2.2).

Initiator: `transfer_init`, then `finish_transfer`, or at once `session_of_init` when the
ticket's F flag is 0. Responder: `read_transfer_init`, `check_acceptable` before the KMS is
asked, `verify_transfer_init` once the ticket is resolved, then `transfer_resp`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mikeytool.crypto.derive import MessageKeys, fork_mpkr, initiator_data_keys, message_keys
from mikeytool.crypto.kemac import open_kemac, seal_kemac
from mikeytool.crypto.mac import mac
from mikeytool.exchange.crypto_sessions import CsSpec, answer_map, offer_map, read_map
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import raise_if_error
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.policy import TicketPolicy
from mikeytool.exchange.profile import Profile, check_encr_alg, profile_of, rand_length
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.request import HeldTicket, check_spis
from mikeytool.exchange.resolve import (
    Modifier,
    ResolvedTicket,
    check_modifier,
    initiator_data,
    read_modifier,
)
from mikeytool.exchange.session import CryptoSession, Session, check_policies, check_session_keys
from mikeytool.exchange.ticket import TicketKeys
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import HDR, GenericIdEntry
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message, build_leading
from mikeytool.wire.payloads import KEMAC, RANDR, SP, TICKET, KeyData, Payload, V
from mikeytool.wire.registry import (
    CsIdMapType,
    DataType,
    ErrorNo,
    IdRole,
    KeyType,
    NextPayload,
    RandRole,
    TicketFlag,
)
from mikeytool.wire.timestamp import Timestamp

F = TicketFlag
AcceptPolicy = Callable[[SP], bool]


def transfer_init(
    env: Environment,
    held: HeldTicket,
    *,
    initiator: Identity,
    responder: Identity,
    crypto_sessions: Sequence[CsSpec],
    policies: Sequence[SP],
    kemac_keys: Sequence[KeyData] = (),
) -> bytes:
    """TRANSFER_INIT for a ticket (4.2.2.1).

    `kemac_keys` go into a KEMAC of the initiator's own, which needs the L flag. Draws the
    CSB ID, RANDRi and an SSRC for each crypto session to send that has none.
    Raises Refused for what the Ticket Policy does not allow.
    """
    policy = held.policy
    check_usable(policy, env, initiator, F.N)
    profile = profile_of(policy.prf)
    session_keys = (*kemac_keys, *held.keys.keys)
    check_session_keys(session_keys, policy.prf)
    check_forked_tgk(policy, held.keys)
    check_spis(session_keys)
    check_policies(policies, policy.prf)
    t = env.timestamp()
    csb_id = int.from_bytes(env.random(4))
    randr_i = env.random(_rand_length(held.keys, session_keys))
    keys = message_keys(policy.prf, held.keys.mpki.key, csb_id, response=False, randr_i=randr_i)
    entries = offer_map(
        env,
        crypto_sessions,
        policies,
        session_keys,
        complete=F.F not in policy.flags,
    )
    payloads: list[Payload] = [
        t.payload(),
        RANDR(rand_role=RandRole.INITIATOR.value, rand=randr_i),
        initiator.idr(IdRole.INITIATOR),
        responder.idr(IdRole.RESPONDER),
        *policies,
        held.ticket.copy(next_payload=None),
    ]
    if kemac_keys:
        refuse_unless(
            F.L in policy.flags,
            "the ticket has no L flag: the initiator must not"
            " send keys; request one with --flags=+L",
        )
        payloads.append(seal_kemac(profile.encr_alg, kemac_keys, keys, csb_id, t))
    header = _header(DataType.TRANSFER_INIT, profile, csb_id, entries, v=F.F in policy.flags)
    raw = protect(header, payloads, profile, keys, initiator.data + responder.data)
    return raw if held.keys.mpkr is None else _with_initiator_data(raw, held.keys.mpkr.key)


def as_number(t: Timestamp) -> int:
    """A timestamp as 64 bits, to compare it with others of its type."""
    return int.from_bytes(t.ntp64)


def _rand_length(ticket_keys: TicketKeys, session_keys: Sequence[KeyData]) -> int:
    """How long RANDRi and RANDRr are: as long as the longest key that they go with (12.1)."""
    return rand_length(ticket_keys.mpki.key, *(key.key for key in session_keys))


def check_forked_tgk(policy: TicketPolicy, keys: TicketKeys) -> None:
    """Refuse a forked TGK without an answer, which would have to bring the modifier (6.10)."""
    forks = F.I in policy.flags and any(
        key.type in (KeyType.TGK, KeyType.TGK_SALT) for key in keys.keys
    )
    refuse_unless(
        not forks or F.F in policy.flags, "a ticket with a TGK and the I flag needs the F flag"
    )


def refuse_unless(condition: bool, text: str) -> None:
    """Raise Refused (Invalid TPpar) with `text` when the Ticket Policy forbids something."""
    if not condition:
        raise Refused(text, ErrorNo.INVALID_TPPAR)


def check_usable(
    policy: TicketPolicy, env: Environment, initiator: Identity | None, flag: TicketFlag
) -> None:
    """Refuse a ticket that is no base ticket, out of its time, or for other processing.

    `flag` is N for the initiator and O for the responder. With the I flag only who
    requested the ticket may send it (interpretation 18).
    """
    policy.check_base_ticket()
    policy.check_flags()
    policy.check_validity(env.clock())
    refuse_unless(
        flag in policy.flags,
        f"the ticket has no {flag.name} flag: it takes processing beyond RFC 6043",
    )
    refuse_unless(bool(policy.responders), "the Ticket Policy names no responder")
    if F.I in policy.flags and initiator is not None and initiator != policy.initiator:
        raise Refused(
            f"with key forking only {policy.initiator} may send this ticket, not {initiator}",
            ErrorNo.INVALID_ID,
        )


def _header(
    kind: DataType, profile: Profile, csb_id: int, entries: Sequence[GenericIdEntry], *, v: bool
) -> HDR:
    return HDR(
        data_type=kind.value,
        v=int(v),
        prf=profile.prf.value,
        csb_id=csb_id,
        cs_id_map_type=CsIdMapType.GENERIC_ID.value,
        cs_id_map=list(entries),
    )


def _with_initiator_data(raw: bytes, mpkr: bytes) -> bytes:
    """The message with Initiator Data in its ticket, which its MAC does not cover (6.10)."""
    message = Message.parse(raw)
    v = message.payloads[-1]
    ticket = message.find(TICKET)
    assert isinstance(v, V) and ticket is not None  # noqa: S101, PT018 - made just before
    vi = v.copy(next_payload=NextPayload.V.value)
    unsigned = build_leading([vi, v.copy(ver_data=bytes(len(v.ver_data)))])
    covers = unsigned[: -len(v.ver_data)]
    tag = mac(v.auth_alg, initiator_data_keys(ticket.prf, mpkr), covers)
    at = message.payloads.index(ticket)
    message.payloads[at] = ticket.copy(initiator_data=covers + tag, initiator_data_length=None)
    return message.build()


@dataclass(frozen=True, slots=True)
class TransferInit:
    """A TRANSFER_INIT as it was read; nothing in it is true before it is verified."""

    incoming: Incoming
    ticket: TICKET
    policy: TicketPolicy
    randr_i: bytes
    initiator: Identity | None
    responder: Identity | None
    entries: list[GenericIdEntry]
    policies: dict[int, SP]

    def keys(self, mpk: bytes, *, response: bool, randr_r: bytes = b"") -> MessageKeys:
        """The keys that protect the message under an MPK, or the answer to it (5.1.2)."""
        inc = self.incoming
        return message_keys(
            inc.profile.prf,
            mpk,
            inc.csb_id,
            response=response,
            randr_i=self.randr_i,
            randr_r=randr_r,
        )


def read_transfer_init(data: bytes) -> TransferInit:
    """Read TRANSFER_INIT and refuse what contradicts itself or its ticket's flags."""
    incoming = Incoming.read(data, DataType.TRANSFER_INIT)
    ticket = incoming.only(TICKET, ErrorNo.INVALID_TICKET)
    policy = TicketPolicy.of(ticket)
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


def check_acceptable(
    env: Environment,
    init: TransferInit,
    accept_policy: AcceptPolicy,
    apps: Sequence[Identity] = (),
) -> None:
    """What a responder can refuse without asking the KMS (4.2.2.2). Raises Refused.

    `apps` are the application IDs of this end; a ticket that names some is good for
    those alone.
    """
    check_usable(init.policy, env, init.initiator, F.O)
    env.check_fresh(init.incoming.t)
    check_apps(init.policy, apps)
    check_vi(init)
    for entry in init.entries:
        offered = [init.policies[number] for number in entry.policies]
        if offered and not any(map(accept_policy, offered)):
            raise Refused(
                f"no security policy offered for crypto session {entry.cs_id} is supported",
                ErrorNo.INVALID_SPPAR,
            )


def check_apps(policy: TicketPolicy, apps: Sequence[Identity]) -> None:
    """Refuse a ticket for applications, none of which is among `apps` (IDRapp, 6.10)."""
    if policy.apps and not set(apps) & set(policy.apps):
        names = ", ".join(map(str, policy.apps))
        raise Refused(
            f"the ticket is for the application {names}; say with --app which this is",
            ErrorNo.INVALID_TPPAR,
        )


def check_vi(init: TransferInit) -> None:
    """With key forking, refuse a ticket whose Vi is not the V of the message (4.2.3.6)."""
    if F.I not in init.policy.flags:
        return
    vi, _ = initiator_data(init.ticket)
    if (vi.auth_alg, vi.ver_data) != (init.incoming.v.auth_alg, init.incoming.v.ver_data):
        raise Refused(
            "Vi in the ticket is not the V of this message: the ticket was taken from another",
            ErrorNo.AUTH_FAILURE,
        )


@dataclass(frozen=True, slots=True)
class VerifiedInit:
    """A TRANSFER_INIT that verified, with the ticket that it carries resolved."""

    init: TransferInit
    resolved: ResolvedTicket
    initiator: Identity


def verify_transfer_init(
    init: TransferInit, resolved: ResolvedTicket, local: Identity
) -> VerifiedInit:
    """Verify TRANSFER_INIT with MPKi (4.2.3.6). Raises Refused.

    `local` stands in for an IDRr that was left out, the ticket's IDRi for IDRi.
    """
    if resolved.policy != init.policy:
        raise Refused("another ticket was resolved than this message carries")
    initiator = init.initiator or init.policy.initiator
    if initiator is None:
        raise Refused("neither the message nor its ticket names the initiator", ErrorNo.INVALID_ID)
    responder = init.responder or local
    keys = init.keys(resolved.keys.mpki.key, response=False)
    check_mac(init.incoming, keys, initiator.data + responder.data)
    check_vi(init)
    return VerifiedInit(init, resolved, initiator)


def _open_own_kemac(incoming: Incoming, keys: MessageKeys) -> tuple[KeyData, ...]:
    kemac = incoming.message.find(KEMAC)
    if kemac is None:
        return ()
    check_encr_alg(incoming.profile, kemac.encr_alg)
    found = tuple(open_kemac(kemac, keys, incoming.csb_id, incoming.t))
    if any(key.type == KeyType.MPK for key in found):
        raise Refused("a KEMAC in Ticket Transfer holds no MPK (5.2)")
    return found


def transfer_resp(
    env: Environment,
    verified: VerifiedInit,
    accept_policy: AcceptPolicy,
    *,
    local: Identity,
    crypto_sessions: Sequence[CsSpec] = (),
    policies: Sequence[SP] = (),
    kemac_keys: Sequence[KeyData] = (),
) -> tuple[bytes | None, Session]:
    """TRANSFER_RESP (None when the F flag wants no answer) and the responder's session.

    Opens the KEMAC of the initiator first. `local` is IDRr of the answer unless the KMS gave
    one, which then is echoed. `policies` are used where the
    initiator offered none; `kemac_keys` need the M flag (4.2.2.3). Draws RANDRr if the G
    flag asks for it, then an SSRC for each crypto session without one.
    """
    init, resolved = verified.init, verified.resolved
    policy, flags = init.policy, init.policy.flags
    refuse_unless(
        not kemac_keys or F.M in flags, "the ticket has no M flag: the responder must not send keys"
    )
    modifier = resolved.modifier
    answering = resolved.responder or local
    mpk = resolved.keys.mpki.key if resolved.keys.mpkr is None else resolved.keys.mpkr.key
    init_keys = init.keys(resolved.keys.mpki.key, response=False)
    session_keys = (
        *kemac_keys,
        *_open_own_kemac(init.incoming, init_keys),
        *resolved.keys.keys,
    )
    check_spis(session_keys)
    check_session_keys(session_keys, policy.prf)
    check_forked_tgk(policy, resolved.keys)
    randr_r = env.random(_rand_length(resolved.keys, session_keys)) if F.G in flags else b""
    chosen = _complete(env, init, session_keys, accept_policy, crypto_sessions, policies)
    session = Session(
        init.incoming.csb_id,
        IdRole.RESPONDER,
        answering,
        verified.initiator,
        policy,
        init.randr_i,
        randr_r,
        mpk,
        session_keys,
        tuple(chosen),
        as_number(init.incoming.t),
    )
    session.check()
    if F.F not in flags:
        return None, session
    keys = init.keys(mpk, response=True, randr_r=randr_r)
    t = env.timestamp()
    session = replace(session, last_t=max(session.last_t, as_number(t)))
    new = {
        c.policy.policy_no: c.policy
        for c in chosen
        if c.policy is not None and c.policy.policy_no not in init.policies
    }
    payloads: list[Payload] = [t.payload()]
    if randr_r:
        payloads.append(RANDR(rand_role=RandRole.RESPONDER.value, rand=randr_r))
    payloads.append(answering.idr(IdRole.RESPONDER))
    if modifier is not None:
        payloads.append(RANDR(rand_role=RandRole.KMS.value, rand=modifier.randr_kms))
    payloads += new.values()
    profile = init.incoming.profile
    if kemac_keys:
        payloads.append(seal_kemac(profile.encr_alg, kemac_keys, keys, session.csb_id, t))
    entries = [c.entry for c in chosen]
    header = _header(DataType.TRANSFER_RESP, profile, session.csb_id, entries, v=False)
    return protect(header, payloads, profile, keys, init.incoming.raw), session


def _complete(
    env: Environment,
    init: TransferInit,
    keys: Sequence[KeyData],
    accept_policy: AcceptPolicy,
    crypto_sessions: Sequence[CsSpec],
    policies: Sequence[SP],
) -> list[CryptoSession]:
    if F.F in init.policy.flags:
        return answer_map(
            env, init.entries, init.policies, keys, accept_policy, crypto_sessions, policies
        )
    if crypto_sessions:
        raise UsageError("the ticket has no F flag: there is no answer to put anything in")
    return [CryptoSession(e, init.policies[e.policies[0]], True) for e in init.entries]


def session_of_init(held: HeldTicket, init_raw: bytes) -> Session:
    """The initiator's session when there is no answer to wait for (F = 0)."""
    init = read_transfer_init(init_raw)
    initiator, responder = _parties(init)
    keys = init.keys(held.keys.mpki.key, response=False)
    session = Session(
        init.incoming.csb_id,
        IdRole.INITIATOR,
        initiator,
        responder,
        init.policy,
        init.randr_i,
        b"",
        held.keys.mpki.key,
        (*_open_own_kemac(init.incoming, keys), *held.keys.keys),
        tuple(CryptoSession(e, init.policies[e.policies[0]], True) for e in init.entries),
        as_number(init.incoming.t),
    )
    session.check()
    return session


def _parties(init: TransferInit) -> tuple[Identity, Identity]:
    if init.initiator is None or init.responder is None:
        raise Refused("TRANSFER_INIT does not name both parties", ErrorNo.INVALID_ID)
    return init.initiator, init.responder


def finish_transfer(
    env: Environment,
    held: HeldTicket,
    init_raw: bytes,
    data: bytes,
    accept_policy: AcceptPolicy,
) -> Session:
    """Verify the answer to one's own TRANSFER_INIT and give the initiator's session (4.2.2.4).

    Raises ErrorReceived when the responder refused, Refused when the answer does not
    verify or is not acceptable, WireError when it cannot be read.
    """
    init = read_transfer_init(init_raw)
    initiator, responder = _parties(init)
    first_keys = init.keys(held.keys.mpki.key, response=False)
    raise_if_error(env, data, init.incoming, first_keys)
    incoming = Incoming.read(data, DataType.TRANSFER_RESP)
    incoming.check_answers(init.incoming)
    init.policy.check_validity(env.clock())
    modifier = read_modifier(incoming, init.policy)
    mpk, ticket_keys = _forked(held.keys, init.policy.prf, modifier)
    randr_r = incoming.need_rand(RandRole.RESPONDER) if F.G in init.policy.flags else b""
    keys = init.keys(mpk, response=True, randr_r=randr_r)
    check_mac(incoming, keys, init_raw)
    env.check_fresh(incoming.t)
    answering = _who_answered(incoming, init, responder)
    if incoming.message.find(KEMAC) is not None:
        refuse_unless(F.M in init.policy.flags, "a KEMAC came, but the ticket has no M flag")
    sent_keys = _open_own_kemac(incoming, keys)
    session_keys = (*sent_keys, *_open_own_kemac(init.incoming, first_keys), *ticket_keys.keys)
    check_spis(session_keys)
    check_session_keys(session_keys, init.policy.prf)
    session = Session(
        incoming.csb_id,
        IdRole.INITIATOR,
        initiator,
        answering,
        init.policy,
        init.randr_i,
        randr_r,
        mpk,
        session_keys,
        tuple(_agreed(init, incoming, accept_policy)),
        max(as_number(init.incoming.t), as_number(incoming.t)),
    )
    session.check()
    return session


def _who_answered(incoming: Incoming, init: TransferInit, called: Identity) -> Identity:
    """IDRr of the answer, which with key forking the KMS vouches for through MPKr'.

    Without, whoever may resolve the ticket could write any name there: only that of the
    one who was called, or one that the ticket names, is believed.
    """
    answering = incoming.identity(IdRole.RESPONDER) or called
    if F.I not in init.policy.flags and answering not in (called, *init.policy.responders):
        raise Refused(
            f"{answering} answers, who was not called and is not named in the ticket",
            ErrorNo.INVALID_ID,
        )
    return answering


def _forked(keys: TicketKeys, prf: int, modifier: Modifier | None) -> tuple[bytes, TicketKeys]:
    """What the answer is protected with, MPKi or MPKr', and the keys as the responder has them."""
    if modifier is None or keys.mpkr is None:
        return keys.mpki.key, keys
    check_modifier(modifier, keys)
    id_data, randr_kms = modifier.responder.data, modifier.randr_kms
    return (
        fork_mpkr(prf, keys.mpkr.key, id_data, randr_kms),
        keys.forked(prf, id_data, randr_kms),
    )


def _agreed(
    init: TransferInit, incoming: Incoming, accept_policy: AcceptPolicy
) -> list[CryptoSession]:
    """The crypto sessions of an answer, held against those offered (4.2.2.3, 4.2.2.4).

    `accept_policy` is asked of policies that the answer brings; the others were offered.
    """
    entries, added = read_map(incoming, complete=True, known=init.policies)
    if both := set(added) & set(init.policies):
        raise Refused(
            f"the answer has a policy numbered {min(both)}, and so has the offer",
            ErrorNo.INVALID_SP,
        )
    offered = {entry.cs_id: entry for entry in init.entries}
    if missing := set(offered) - {entry.cs_id for entry in entries}:
        raise Refused(f"the answer drops crypto session {min(missing)}")
    agreed = []
    for entry in entries:
        number = entry.policies[0]
        before = offered.get(entry.cs_id)
        if before is not None and entry.protocol != before.protocol:
            raise Refused(f"the answer changes the protocol of crypto session {entry.cs_id}")
        policy = init.policies.get(number) or added[number]
        if number not in init.policies and not accept_policy(policy):
            raise Refused(
                f"the policy in the answer for crypto session {entry.cs_id} is not supported",
                ErrorNo.INVALID_SPPAR,
            )
        agreed.append(
            CryptoSession(entry, policy, before is not None and bool(before.session_data))
        )
    return agreed
