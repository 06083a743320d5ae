"""The Ticket Resolve exchange with a pre-shared key (RFC 6043 4.2.3).

Responder: `resolve_init`, then `accept_resolve_resp`. KMS: `read_resolve_init`,
`verify_resolve`, `open_for_responder`, then `resolve_resp`. With a public key only RESOLVE_INIT
differs, see `public_key`: `resolve_resp` and `accept_resolve_resp` then take the envelope key
for the PSK.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mikeytool.crypto.derive import MessageKeys, initiator_data_keys, message_keys
from mikeytool.crypto.kemac import open_kemac, seal_kemac
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import raise_if_error
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import (
    Profile,
    check_encr_alg,
    check_key,
    check_rands,
    profile_of,
    rand_length,
    strength,
)
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.request import check_spis, empty_header
from mikeytool.exchange.ticket import BaseTicket, TicketKeys, new_key
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import leading_chain
from mikeytool.wire.message_types import RESOLVE_INITS
from mikeytool.wire.payloads import KEMAC, RANDR, TICKET, Payload, V
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, KeyType, RandRole, TicketFlag


@dataclass(frozen=True, slots=True)
class Modifier:
    """What forked keys are bound to: the ID Data of IDRr and RANDRkms (5.1.1)."""

    responder: Identity
    randr_kms: bytes


@dataclass(frozen=True, slots=True)
class ResolvedTicket:
    """What a responder has of a ticket: its keys, forked when the I flag says so."""

    policy: TicketPolicy
    keys: TicketKeys
    responder: Identity | None
    modifier: Modifier | None


def resolve_init(
    env: Environment,
    profile: Profile,
    ticket: TICKET,
    *,
    responder: Identity,
    kms: Identity,
    psk: bytes,
    psk_id: Identity | None = None,
) -> bytes:
    """RESOLVE_INIT_PSK for a ticket, its Initiator Data included (4.2.3.1, 4.2.3.2).

    Draws the CSB ID and RANDRr.
    """
    check_key(psk, "pre-shared key")
    t = env.timestamp()
    header = empty_header(DataType.RESOLVE_INIT_PSK, profile, int.from_bytes(env.random(4)), v=1)
    randr_r = env.random(rand_length(psk))
    payloads: list[Payload] = [
        t.payload(),
        RANDR(rand_role=RandRole.RESPONDER.value, rand=randr_r),
        responder.idr(IdRole.RESPONDER),
        kms.idr(IdRole.KMS),
        ticket.copy(next_payload=None),
    ]
    if psk_id is not None:
        payloads.append(psk_id.idr(IdRole.PSK))
    keys = message_keys(profile.prf, psk, header.csb_id, response=False, randr_r=randr_r)
    return protect(header, payloads, profile, keys, responder.data + kms.data)


@dataclass(frozen=True, slots=True)
class ResolveInit:
    """A RESOLVE_INIT as the KMS reads it. Nothing in it is true before it is verified."""

    incoming: Incoming
    ticket: TICKET
    randr_r: bytes
    responder: Identity | None
    kms: Identity | None
    psk_id: Identity | None

    def keys(self, psk: bytes, *, response: bool) -> MessageKeys:
        """The keys that protect the request, or the response to it."""
        inc = self.incoming
        return message_keys(
            inc.profile.prf, psk, inc.csb_id, response=response, randr_r=self.randr_r
        )


def read_resolve_init(
    data: bytes, variants: Sequence[DataType] = (DataType.RESOLVE_INIT_PSK,)
) -> ResolveInit:
    """Read RESOLVE_INIT of one of these variants (4.2.3.4); raises WireError and Refused."""
    incoming = Incoming.read(data, *variants)
    incoming.check_no_crypto_sessions()
    return ResolveInit(
        incoming,
        incoming.only(TICKET, ErrorNo.INVALID_TICKET),
        incoming.need_rand(RandRole.RESPONDER),
        incoming.identity(IdRole.RESPONDER),
        incoming.identity(IdRole.KMS),
        incoming.identity(IdRole.PSK),
    )


def verify_resolve(request: ResolveInit, psk: bytes, responder: Identity, kms: Identity) -> None:
    """Check the MAC, and that RANDRr is as long as the key (12.1); raises Refused.

    The identities stand in for those left out.
    """
    behind = (request.responder or responder).data + (request.kms or kms).data
    check_mac(request.incoming, request.keys(psk, response=False), behind)
    check_rands([request.randr_r], [strength(psk, request.incoming.profile)])


def open_for_responder(base: BaseTicket, tpk: bytes) -> TicketKeys:
    """The keys of a base ticket, verified, with its Initiator Data checked (4.2.3.4).

    MPKr and TGKs are not forked yet. Raises Refused (Invalid TICKET).
    """
    base.policy.check_base_ticket()
    keys = base.open(tpk)
    check_initiator_data(base.ticket, base.policy, keys)
    return keys


def check_initiator_data(ticket: TICKET, policy: TicketPolicy, keys: TicketKeys) -> None:
    """Verify Vr with MPKr; refuse Initiator Data without the I flag and the other way round."""
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
    """Vi and Vr in the Initiator Data of a forked ticket (6.10).

    Raises Refused (Invalid TICKET) unless they are its only V payloads and Vr its last
    payload.
    """
    base = ticket.offset + getattr(ticket, "initiator_data_at", 0)
    try:
        inside = list(leading_chain(ticket.initiator_data, base=base))
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
    psk: bytes,
    kms: Identity,
    policy: TicketPolicy,
    keys: TicketKeys,
    responder: Identity,
) -> bytes:
    """RESOLVE_RESP with the keys of a ticket for `responder`, the identity that acts (4.2.3.5).

    With the I flag it forks MPKr and the TGKs. Draws RANDRkms, then the SPIs of the MPKs.
    """
    modifier = None
    if TicketFlag.I in policy.flags:
        tgks = [key.key for key in keys.keys]
        modifier = Modifier(responder, env.random(rand_length(keys.mpki.key, *tgks)))
        keys = keys.forked(policy.prf, responder.data, modifier.randr_kms)
    return resolve_resp_with(env, request, psk, kms, _with_own_spis(env, keys), modifier)


def resolve_resp_with(
    env: Environment,
    request: ResolveInit,
    psk: bytes,
    kms: Identity,
    keys: TicketKeys,
    modifier: Modifier | None,
) -> bytes:
    """RESOLVE_RESP with keys as they are, forked with `modifier` or not (4.2.3.5)."""
    inc = request.incoming
    protection = request.keys(psk, response=True)
    t = env.timestamp()
    payloads: list[Payload] = [
        t.payload(),
        kms.idr(IdRole.KMS),
        seal_kemac(inc.profile.encr_alg, keys.sub_payloads(), protection, inc.csb_id, t),
    ]
    if modifier is not None:
        payloads += [
            modifier.responder.idr(IdRole.RESPONDER),
            RANDR(rand_role=RandRole.KMS.value, rand=modifier.randr_kms),
        ]
    header = empty_header(DataType.RESOLVE_RESP, inc.profile, inc.csb_id, v=0)
    return protect(header, payloads, inc.profile, protection, inc.raw)


def _with_own_spis(env: Environment, keys: TicketKeys) -> TicketKeys:
    taken = {key.spi for key in keys.keys if key.spi}
    mpki = new_key(KeyType.MPK, keys.mpki.key, None, env.spi(taken))
    mpkr = None
    if keys.mpkr is not None:
        mpkr = new_key(KeyType.MPK, keys.mpkr.key, None, env.spi(taken))
    return TicketKeys(mpki, mpkr, keys.keys)


def accept_resolve_resp(env: Environment, init: bytes, psk: bytes, data: bytes) -> ResolvedTicket:
    """Verify the answer to the RESOLVE_INIT `init` and take its keys (4.2.3.6).

    Raises ErrorReceived when the KMS refused, Refused when the answer does not verify or
    misses half of the modifier, WireError when it cannot be read.
    """
    request = read_resolve_init(init, RESOLVE_INITS)
    raise_if_error(env, data, request.incoming, request.keys(psk, response=False))
    incoming = Incoming.read(data, DataType.RESOLVE_RESP)
    incoming.check_answers(request.incoming.message.header)
    incoming.check_no_crypto_sessions()
    protection = request.keys(psk, response=True)
    check_mac(incoming, protection, init)
    env.check_fresh(incoming.t)
    policy = TicketPolicy.of(request.ticket)
    kemac = incoming.only(KEMAC)
    check_encr_alg(incoming.profile, kemac.encr_alg)
    sub_payloads = open_kemac(kemac, protection, incoming.csb_id, incoming.t)
    keys = TicketKeys.of(sub_payloads, policy.flags)
    check_spis(keys.keys)
    modifier = read_modifier(incoming, policy)
    if modifier is not None:
        check_modifier(modifier, keys)
    return ResolvedTicket(policy, keys, incoming.identity(IdRole.RESPONDER), modifier)


def check_modifier(modifier: Modifier, keys: TicketKeys) -> None:
    """Refuse a RANDRkms shorter than the longest key that it forked (12.1)."""
    forked = [key.key for key in keys.keys if key.type in (KeyType.TGK, KeyType.TGK_SALT)]
    if keys.mpkr is not None:
        forked.append(keys.mpkr.key)
    longest = max(map(len, forked), default=0)
    if len(modifier.randr_kms) < longest:
        raise Refused(f"RANDRkms has fewer octets than the keys it forks, {longest} (12.1)")


def read_modifier(incoming: Incoming, policy: TicketPolicy) -> Modifier | None:
    """The modifier in RESOLVE_RESP or TRANSFER_RESP (interpretation 27).

    Raises Refused when the I flag asks for one and it misses a half, or the other way round.
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
