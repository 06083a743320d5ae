"""The initiator's side of Ticket Transfer (RFC 6043 4.2.2.1, 4.2.2.4).

Call `transfer_init`, then `finish_transfer`. If the ticket's F flag is 0, call `session_of_init`
immediately instead of waiting for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mikeytool.crypto.derive import fork_mpkr, initiator_data_keys, message_keys
from mikeytool.crypto.kemac import seal_kemac
from mikeytool.crypto.mac import mac
from mikeytool.exchange.crypto_sessions import CsSpec, offer_map, read_map
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message_on_refusal, raise_if_error
from mikeytool.exchange.incoming import Incoming, message_of
from mikeytool.exchange.profile import check_encr_alg, profile_of
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.resolve import Modifier, check_modifier, read_modifier
from mikeytool.exchange.session import CryptoSession, Session, check_policies, check_session_keys
from mikeytool.exchange.stream_names import stream_names
from mikeytool.exchange.ticket import TicketKeys, check_spis, for_key_wrap
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    Agreed,
    F,
    TransferInit,
    check_transfer_rands,
    check_usable,
    open_own_kemac,
    refuse_unless,
    session_of,
    transfer_header,
    transfer_init_of,
    transfer_rand_length,
)
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message, build_leading
from mikeytool.wire.payloads import KEMAC, RANDR, SP, TICKET, KeyData, Payload, V
from mikeytool.wire.registry import DataType, EncrAlg, ErrorNo, IdRole, NextPayload, RandRole


def transfer_init(
    env: Environment,
    held: HeldTicket,
    *,
    initiator: Identity,
    responder: Identity,
    crypto_sessions: Sequence[CsSpec] = (),
    policies: Sequence[SP] = (),
    kemac_keys: Sequence[KeyData] = (),
    randr_i: bytes | None = None,
    encr_alg: EncrAlg | None = None,
) -> TransferInit:
    """Make a TRANSFER_INIT for a ticket (4.2.2.1).

    `kemac_keys` go into the initiator's own KEMAC, which needs the L flag. `encr_alg` replaces the
    profile's default for that KEMAC. Draws the CSB ID; RANDRi, unless `randr_i` gives that of
    another exchange of a group (9); and an SSRC for each crypto session to send that has none.
    Raises Refused for anything that the Ticket Policy does not allow.
    """
    policy, profile = held.policy, profile_of(held.policy.prf)
    encr_alg = encr_alg or profile.encr_alg
    check_encr_alg(profile, encr_alg)
    kemac_keys = for_key_wrap(env, encr_alg, kemac_keys)
    session_keys = (*kemac_keys, *held.keys.keys)
    check_usable(policy, env, initiator, F.N)
    _check_offer(held, kemac_keys, policies)
    t = env.timestamp()
    csb_id = int.from_bytes(env.random(4))
    if randr_i is None:
        randr_i = env.random(transfer_rand_length(held.keys, session_keys))
    else:
        _check_group(policy, randr_i, held.keys, session_keys)
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
        *env.extensions(),
        *stream_names(crypto_sessions),
        RANDR(rand_role=RandRole.INITIATOR.value, rand=randr_i),
        initiator.idr(IdRole.INITIATOR),
        responder.idr(IdRole.RESPONDER),
        *policies,
        held.ticket.copy(next_payload=None),
    ]
    if kemac_keys:
        payloads.append(seal_kemac(encr_alg, kemac_keys, keys, csb_id, t))
    header = transfer_header(
        DataType.TRANSFER_INIT, profile, csb_id, entries, v=F.F in policy.flags
    )
    message = protect(header, payloads, profile, keys, initiator.data + responder.data)
    if held.keys.mpkr is not None:
        _add_initiator_data(message, held.keys.mpkr.key)
    return transfer_init_of(Incoming.read(message, DataType.TRANSFER_INIT), policy)


def _check_offer(held: HeldTicket, kemac_keys: Sequence[KeyData], policies: Sequence[SP]) -> None:
    """Refuse keys and policies that the ticket or its profile does not allow."""
    policy, session_keys = held.policy, (*kemac_keys, *held.keys.keys)
    refuse_unless(
        not kemac_keys or F.L in policy.flags,
        "the ticket has no L flag: the initiator must not send keys; request one with --flags=+L",
    )
    check_session_keys(session_keys, policy.prf)
    policy.check_forks(held.keys.keys)
    check_spis(session_keys)
    check_policies(policies, policy.prf)


def _check_group(
    policy: TicketPolicy, randr_i: bytes, keys: TicketKeys, session_keys: Sequence[KeyData]
) -> None:
    """Refuse the RANDRi of another exchange if the keys would still differ (9)."""
    refuse_unless(
        F.G not in policy.flags,
        "the ticket has the G flag: each responder would bring a RAND of its own, and the keys"
        " of the group would differ; request one with --flags=-G",
    )
    check_transfer_rands(randr_i, b"", [keys.mpki.key], session_keys)


def _add_initiator_data(message: Message, mpkr: bytes) -> None:
    """Add Initiator Data to the ticket in a message; the MAC does not cover it (6.10)."""
    v = message.payloads[-1]
    ticket = message.find(TICKET)
    assert isinstance(v, V) and ticket is not None  # noqa: S101, PT018 - made just before
    vi = v.copy(next_payload=NextPayload.V.value)
    unsigned = build_leading([vi, v.copy(ver_data=bytes(len(v.ver_data)))])
    covers = unsigned[: -len(v.ver_data)]
    tag = mac(v.auth_alg, initiator_data_keys(ticket.prf, mpkr), covers)
    at = message.payloads.index(ticket)
    message.payloads[at] = ticket.copy(initiator_data=covers + tag, initiator_data_length=None)
    message.place()


def session_of_init(held: HeldTicket, init: TransferInit) -> Session:
    """Return the initiator's session when there is no answer to wait for (F = 0)."""
    keys, made_ns = held.keys, init.incoming.t.unix_ns or 0
    return unanswered_session(keys.mpki.key, keys.keys, init, IdRole.INITIATOR, made_ns)


def unanswered_session(
    mpki: bytes,
    ticket_keys: Sequence[KeyData],
    init: TransferInit,
    role: IdRole | None,
    now_ns: int = 0,
) -> Session:
    """Return the session of a verified TRANSFER_INIT that asks for no answer (F = 0).

    `ticket_keys` are the session keys of the ticket. `role` is None for an observer.
    """
    sent = open_own_kemac(init.incoming, init.keys(mpki, response=False))
    keys = (*sent, *ticket_keys)
    check_transfer_rands(init.randr_i, b"", [mpki], keys)
    made = [CryptoSession(e, init.policies[e.policies[0]], True) for e in init.entries]
    return session_of(init, Agreed(role, *parties(init), None, mpki, keys, tuple(made)), now_ns)


def parties(init: TransferInit) -> tuple[Identity, Identity]:
    """Return initiator and responder from the message, or from the ticket if they are omitted."""
    initiator = init.initiator or init.policy.initiator
    responder = init.responder
    if responder is None and len(init.policy.responders) == 1:
        responder = init.policy.responders[0]
    if initiator is None or responder is None:
        raise Refused("TRANSFER_INIT does not name both parties", ErrorNo.INVALID_ID)
    return initiator, responder


@dataclass(frozen=True, slots=True)
class TransferResp:
    """A TRANSFER_RESP as it was read; do not trust anything in it until it is verified."""

    init: TransferInit
    incoming: Incoming
    modifier: Modifier | None
    randr_r: bytes

    @classmethod
    def read(cls, init: TransferInit, message: bytes | Message) -> TransferResp:
        """Read the answer to `init`; raises WireError, and Refused if it does not answer `init`."""
        incoming = Incoming.read(message, DataType.TRANSFER_RESP)
        incoming.check_answers(init.incoming.message.header)
        modifier = read_modifier(incoming, init.policy)
        needs = F.G in init.policy.flags
        randr_r = incoming.need_rand(RandRole.RESPONDER) if needs else b""
        return cls(init, incoming, modifier, randr_r)

    def verify(self, mpk: bytes) -> None:
        """Check the MAC under MPKi, or MPKr' with key forking; raises Refused."""
        keys = self.init.keys(mpk, response=True, randr_r=self.randr_r)
        check_mac(self.incoming, keys, self.init.incoming.raw)

    def session(
        self,
        mpki: bytes,
        mpk: bytes,
        ticket_keys: Sequence[KeyData],
        accept_policy: AcceptPolicy,
        role: IdRole | None = IdRole.INITIATOR,
        now_ns: int = 0,
    ) -> Session:
        """Return the session that a verified answer sets up; `role` is None for an observer.

        `mpk` is the key that verified the answer. `ticket_keys` are the session keys of the ticket,
        with its TGKs forked. Raises Refused if the answer is not acceptable (4.2.2.4).
        """
        init, incoming = self.init, self.incoming
        initiator, called = parties(init)
        # With key forking MPKr' proves who answers, without it nothing but the KMS, which lets
        # only responders resolve the ticket (interpretation 43).
        answering = incoming.identity(IdRole.RESPONDER) or called
        if incoming.message.find(KEMAC) is not None:
            refuse_unless(F.M in init.policy.flags, "a KEMAC came, but the ticket has no M flag")
        keys = init.keys(mpk, response=True, randr_r=self.randr_r)
        first_keys = init.keys(mpki, response=False)
        session_keys = (
            *open_own_kemac(incoming, keys),
            *open_own_kemac(init.incoming, first_keys),
            *ticket_keys,
        )
        check_spis(session_keys)
        check_session_keys(session_keys, init.policy.prf)
        check_transfer_rands(init.randr_i, self.randr_r, [mpki, mpk], session_keys)
        made = tuple(self._agreed(accept_policy))
        agreed = Agreed(role, initiator, answering, incoming, mpk, session_keys, made)
        return session_of(init, agreed, now_ns)

    def _agreed(self, accept_policy: AcceptPolicy) -> list[CryptoSession]:
        """Return the crypto sessions of the answer, compared with the offer (4.2.2.3, 4.2.2.4).

        `accept_policy` is called for policies that the answer adds; all others were offered.
        """
        init = self.init
        entries, policies = read_map(self.incoming, complete=True, known=init.policies)
        offered = {entry.cs_id: entry for entry in init.entries}
        if missing := set(offered) - {entry.cs_id for entry in entries}:
            raise Refused(f"the answer drops crypto session {min(missing)}")
        agreed = []
        for entry in entries:
            number = entry.policies[0]
            before = offered.get(entry.cs_id)
            if before is not None and entry.protocol != before.protocol:
                raise Refused(f"the answer changes the protocol of crypto session {entry.cs_id}")
            policy = policies[number]
            if number not in init.policies and not accept_policy(policy):
                raise Refused(
                    f"the policy in the answer for crypto session {entry.cs_id} is not supported",
                    ErrorNo.INVALID_SPPAR,
                )
            by_initiator = before is not None and bool(before.session_data)
            agreed.append(CryptoSession(entry, policy, by_initiator))
        return agreed


def finish_transfer(
    env: Environment,
    held: HeldTicket,
    init: TransferInit,
    answer: bytes | Message,
    accept_policy: AcceptPolicy,
    supported: Sequence[SP] = (),
) -> Session:
    """Verify the answer to one's own TRANSFER_INIT and return the session (4.2.2.4).

    Raises ErrorReceived if the responder refused, Refused if the answer does not verify or is not
    acceptable, WireError if it cannot be read. If the answer verifies but is refused, the exception
    has an Error message for the responder, which names the policies `supported`.
    """
    mpki, message = held.keys.mpki.key, message_of(answer)
    about = init.incoming.message.header
    raise_if_error(env, message, about, init.keys(mpki, response=False))
    resp = TransferResp.read(init, message)
    init.policy.check_validity(env.clock())
    mpk, ticket_keys = as_answered(held.keys, init.policy.prf, resp.modifier)
    resp.verify(mpk)
    keys = init.keys(mpk, response=True, randr_r=resp.randr_r)
    with error_message_on_refusal(env, resp.incoming, keys, supported):
        env.check_fresh(resp.incoming.t)
        return resp.session(mpki, mpk, ticket_keys.keys, accept_policy, now_ns=env.clock())


def as_answered(keys: TicketKeys, prf: int, modifier: Modifier | None) -> tuple[bytes, TicketKeys]:
    """Return the key that protects the answer (MPKi or MPKr') and the keys of the responder.

    `keys` are the initiator's keys, not forked. Raises Refused if the modifier is too short.
    """
    if modifier is None or keys.mpkr is None:
        return keys.mpki.key, keys
    check_modifier(modifier, keys)
    id_data, randr_kms = modifier.responder.data, modifier.randr_kms
    return (
        fork_mpkr(prf, keys.mpkr.key, id_data, randr_kms),
        keys.forked(prf, id_data, randr_kms),
    )
