"""The Ticket Resolve exchange (RFC 6043 4.2.3).

The responder calls `resolve_init`, then `accept_resolve_resp`. The KMS calls `read_resolve_init`,
`verify_init` of `kms_messages`, `open_for_responder`, then `resolve_resp`. With a public key only
RESOLVE_INIT differs (see `public_key`): the envelope key then protects the response instead of the
PSK.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mikeytool.crypto.derive import initiator_data_keys
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.kms_messages import (
    KmsExchange,
    KmsInit,
    fields_of,
    init_with_psk,
    keys_in_response,
    kms_response,
    verified_response,
)
from mikeytool.exchange.profile import Profile, profile_of, rand_length
from mikeytool.exchange.ticket import BaseTicket, TicketKeys, need_spis, new_key
from mikeytool.exchange.ticket_policy import TicketPolicy, is_forked
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message, leading_chain
from mikeytool.wire.payloads import RANDR, TICKET, Payload, V
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, KeyType, RandRole, TicketFlag

TICKET_RESOLVE = KmsExchange(
    DataType.RESOLVE_INIT_PSK,
    DataType.RESOLVE_INIT_PK,
    DataType.RESOLVE_RESP,
    IdRole.RESPONDER,
    RandRole.RESPONDER,
)


@dataclass(frozen=True, slots=True)
class Modifier:
    """The values that forked keys are bound to: the ID Data of IDRr and RANDRkms (5.1.1)."""

    responder: Identity
    randr_kms: bytes


@dataclass(frozen=True, slots=True)
class ResolvedTicket:
    """What a responder knows of a ticket: its keys, forked if the I flag is set."""

    policy: TicketPolicy
    keys: TicketKeys
    responder: Identity | None
    modifier: Modifier | None


@dataclass(frozen=True, slots=True)
class ResolveInit(KmsInit):
    """A RESOLVE_INIT and its ticket, which is not read yet."""

    exchange = TICKET_RESOLVE

    ticket: TICKET


def resolve_init(
    env: Environment,
    profile: Profile,
    ticket: TICKET,
    *,
    responder: Identity,
    kms: Identity,
    psk: bytes,
    psk_id: Identity | None = None,
    passed: Sequence[Payload] = (),
) -> ResolveInit:
    """Make a RESOLVE_INIT_PSK for a ticket, including its Initiator Data (4.2.3.1, 4.2.3.2).

    `passed` names the KMSs that it has passed through, for a KMS that forwards it. Draws the CSB ID
    and RANDRr. Raises UsageError for a key under 128 bits.
    """
    content = [ticket.copy(next_payload=None), *passed]
    message = init_with_psk(
        env, TICKET_RESOLVE, profile, content, sender=responder, kms=kms, psk=psk, psk_id=psk_id
    )
    return resolve_init_of(Incoming.read(message, TICKET_RESOLVE.init_psk))


def resolve_init_of(incoming: Incoming) -> ResolveInit:
    """Return the RESOLVE_INIT in a message; raises Refused."""
    fields = fields_of(TICKET_RESOLVE, incoming)
    return ResolveInit(*fields, incoming.only(TICKET, ErrorNo.INVALID_TICKET))


def read_resolve_init(
    message: bytes | Message, variants: Sequence[DataType] = (DataType.RESOLVE_INIT_PSK,)
) -> ResolveInit:
    """Read a RESOLVE_INIT of one of these variants (4.2.3.4); raises WireError and Refused."""
    return resolve_init_of(Incoming.read(message, *variants))


def open_for_responder(base: BaseTicket, tpk: bytes) -> TicketKeys:
    """Verify a base ticket and its Initiator Data, and return its keys (4.2.3.4).

    MPKr and TGKs are not forked yet. Raises Refused (Invalid TICKET).
    """
    base.policy.check_base_ticket()
    keys = base.open(tpk)
    check_initiator_data(base.ticket, base.policy, keys)
    return keys


def check_initiator_data(ticket: TICKET, policy: TicketPolicy, keys: TicketKeys) -> None:
    """Verify Vr with MPKr; refuse Initiator Data without the I flag, or the flag without it."""
    if keys.mpkr is None:
        if ticket.initiator_data:
            raise Refused("the ticket has Initiator Data, but no I flag", ErrorNo.INVALID_TICKET)
        return
    _, vr = initiator_data(ticket)
    covers = ticket.initiator_data[: -len(vr.ver_data)]
    protection = initiator_data_keys(policy.prf, keys.mpkr.key)
    if vr.auth_alg != profile_of(policy.prf).mac_alg or not mac_is_good(
        vr.auth_alg, protection, covers, vr.ver_data
    ):
        raise Refused(
            "the Initiator Data does not verify: whoever sent the ticket did not request it",
            ErrorNo.INVALID_TICKET,
        )


def initiator_data(ticket: TICKET) -> tuple[V, V]:
    """Return Vi and Vr in the Initiator Data of a forked ticket (6.10).

    Raises Refused (Invalid TICKET) unless they are its only V payloads and Vr is its last payload.
    """
    base = ticket.offset + getattr(ticket, "initiator_data_at", 0)
    try:
        inside = leading_chain(ticket.initiator_data, base=base)
    except WireError as error:
        raise Refused(f"Initiator Data: {error}", ErrorNo.INVALID_TICKET) from None
    found = [payload for payload in inside if isinstance(payload, V)]
    if len(found) != 2 or inside[-1] is not found[1] or not all(v.ver_data for v in found):
        raise Refused(
            "with key forking the ticket needs Initiator Data with Vi and Vr (6.10)",
            ErrorNo.INVALID_TICKET,
        )
    return found[0], found[1]


def resolve_resp(
    env: Environment,
    request: ResolveInit,
    key: bytes,
    kms: Identity,
    policy: TicketPolicy,
    keys: TicketKeys,
    responder: Identity,
) -> bytes:
    """Make the RESOLVE_RESP with the keys of a ticket for `responder` (4.2.3.5).

    `responder` is the identity that acts. `key` is the key that came with the request: the
    pre-shared key or the envelope key. With the I flag, MPKr and the TGKs are forked. Draws
    RANDRkms, then the SPIs of the MPKs.
    """
    modifier = None
    if TicketFlag.I in policy.flags:
        tgks = [tgk.key for tgk in keys.keys]
        modifier = Modifier(responder, env.random(rand_length(keys.mpki.key, *tgks)))
        keys = keys.forked(policy.prf, responder.data, modifier.randr_kms)
    return resolve_resp_with(env, request, key, kms, _with_own_spis(env, keys), modifier)


def resolve_resp_with(
    env: Environment,
    request: ResolveInit,
    key: bytes,
    kms: Identity,
    keys: TicketKeys,
    modifier: Modifier | None,
) -> bytes:
    """Make the RESOLVE_RESP with keys that are forked already if there is a `modifier` (4.2.3.5).

    MPKs without SPIs get some. Raises Refused (Invalid TICKET) if another key has none.
    """
    need_spis(keys.keys)
    if not all(one.spi for one in keys.sub_payloads()):
        keys = _with_own_spis(env, keys)
    after: list[Payload] = []
    if modifier is not None:
        after = [
            modifier.responder.idr(IdRole.RESPONDER),
            RANDR(rand_role=RandRole.KMS.value, rand=modifier.randr_kms),
        ]
    return kms_response(env, request, key, kms, keys, after=after)


def _with_own_spis(env: Environment, keys: TicketKeys) -> TicketKeys:
    taken = {key.spi for key in keys.keys if key.spi}
    mpki = new_key(KeyType.MPK, keys.mpki.key, None, env.spi(taken))
    mpkr = None
    if keys.mpkr is not None:
        mpkr = new_key(KeyType.MPK, keys.mpkr.key, None, env.spi(taken))
    return TicketKeys(mpki, mpkr, keys.keys)


def accept_resolve_resp(
    env: Environment,
    request: ResolveInit,
    key: bytes,
    response: bytes | Message,
    policy: TicketPolicy | None = None,
) -> ResolvedTicket:
    """Verify the response to a RESOLVE_INIT and return its keys (4.2.3.6).

    `key` is the pre-shared key or the envelope key. `policy` is that of the ticket, if already
    known. Raises ErrorReceived if the KMS refused, Refused if the response does not verify or lacks
    half of the modifier, WireError if it cannot be read.
    """
    incoming = verified_response(env, request, key, response)
    policy = policy or TicketPolicy.of(request.ticket)
    keys = keys_in_response(request, key, incoming, policy)
    modifier = read_modifier(incoming, policy)
    if modifier is not None:
        check_modifier(modifier, keys)
    return ResolvedTicket(policy, keys, incoming.identity(IdRole.RESPONDER), modifier)


def check_modifier(modifier: Modifier, keys: TicketKeys) -> None:
    """Refuse a RANDRkms that is shorter than the longest key forked with it (12.1)."""
    forked = [key.key for key in keys.keys if is_forked(key)]
    if keys.mpkr is not None:
        forked.append(keys.mpkr.key)
    longest = max(map(len, forked), default=0)
    if len(modifier.randr_kms) < longest:
        raise Refused(f"RANDRkms has fewer octets than the keys it forks, {longest} (12.1)")


def read_modifier(incoming: Incoming, policy: TicketPolicy) -> Modifier | None:
    """Return the modifier in RESOLVE_RESP or TRANSFER_RESP (interpretation 27).

    Raises Refused if the I flag is set and half of the modifier is missing, or if a modifier is
    present without the flag.
    """
    responder = incoming.identity(IdRole.RESPONDER)
    randr_kms = incoming.rand(RandRole.KMS)
    if TicketFlag.I not in policy.flags:
        if randr_kms is not None:
            raise Refused("RANDRkms came, but the ticket has no I flag")
        return None
    if responder is None or not randr_kms:
        raise Refused("the ticket has the I flag, but IDRr or RANDRkms is missing")
    return Modifier(responder, randr_kms)
