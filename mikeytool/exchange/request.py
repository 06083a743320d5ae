"""The Ticket Request exchange with a pre-shared key (RFC 6043 4.2.1).

Initiator: `request_init`, then `accept_request_resp`. KMS: `read_request_init`,
`verify_request`, then `request_resp`. With a public key only REQUEST_INIT differs, see
`public_key`: `request_resp` and `accept_request_resp` then take the envelope key for the PSK.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mikeytool.crypto.derive import MessageKeys, message_keys
from mikeytool.crypto.kemac import open_kemac, seal_kemac
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import raise_if_error
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import (
    Profile,
    check_encr_alg,
    check_key,
    check_rands,
    rand_length,
    strength,
)
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.ticket import TicketKeys
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message_types import REQUEST_INITS
from mikeytool.wire.payloads import KEMAC, RANDR, TICKET, TP, KeyData, Payload
from mikeytool.wire.registry import (
    CsIdMapType,
    DataType,
    ErrorNo,
    IdRole,
    KeyType,
    RandRole,
    TicketFlag,
    label,
)
from mikeytool.wire.timestamp import Timestamp

F = TicketFlag


@dataclass(frozen=True, slots=True)
class HeldTicket:
    """A ticket in its initiator's hands, with the keys that came with it."""

    ticket: TICKET
    policy: TicketPolicy
    keys: TicketKeys


def request_init(
    env: Environment,
    profile: Profile,
    policy: TicketPolicy,
    *,
    initiator: Identity,
    kms: Identity,
    psk: bytes,
    psk_id: Identity | None = None,
) -> bytes:
    """REQUEST_INIT_PSK that asks for a ticket of that policy (4.2.1.1, 4.2.1.2).

    Draws the CSB ID and RANDRi. Raises Refused for flags that contradict each other,
    UsageError for a key under 128 bits.
    """
    policy.check_flags()
    check_key(psk, "pre-shared key")
    t = env.timestamp()
    header = empty_header(DataType.REQUEST_INIT_PSK, profile, int.from_bytes(env.random(4)), v=1)
    randr_i = env.random(rand_length(psk))
    payloads: list[Payload] = [
        t.payload(),
        RANDR(rand_role=RandRole.INITIATOR.value, rand=randr_i),
        initiator.idr(IdRole.INITIATOR),
        kms.idr(IdRole.KMS),
        policy.tp(),
    ]
    if psk_id is not None:
        payloads.append(psk_id.idr(IdRole.PSK))
    keys = message_keys(profile.prf, psk, header.csb_id, response=False, randr_i=randr_i)
    return protect(header, payloads, profile, keys, initiator.data + kms.data)


def empty_header(data_type: DataType, profile: Profile, csb_id: int, *, v: int) -> HDR:
    """The header of a message between a user and a KMS: #CS 0 and an Empty map."""
    return HDR(
        data_type=int(data_type),
        v=v,
        prf=int(profile.prf),
        csb_id=csb_id,
        cs_id_map_type=int(CsIdMapType.EMPTY),
        cs_id_map=[],
    )


@dataclass(frozen=True, slots=True)
class RequestInit:
    """A REQUEST_INIT as the KMS reads it. Nothing in it is true before it is verified."""

    incoming: Incoming
    policy: TicketPolicy
    randr_i: bytes
    initiator: Identity | None
    kms: Identity | None
    psk_id: Identity | None

    def keys(self, psk: bytes, *, response: bool) -> MessageKeys:
        """The keys that protect the request, or the response to it."""
        inc = self.incoming
        return message_keys(
            inc.profile.prf, psk, inc.csb_id, response=response, randr_i=self.randr_i
        )


def read_request_init(
    data: bytes, variants: Sequence[DataType] = (DataType.REQUEST_INIT_PSK,)
) -> RequestInit:
    """Read REQUEST_INIT of one of these variants (4.2.1.4); raises WireError and Refused."""
    incoming = Incoming.read(data, *variants)
    incoming.check_no_crypto_sessions()
    return RequestInit(
        incoming,
        TicketPolicy.of(incoming.only(TP)),
        incoming.need_rand(RandRole.INITIATOR),
        incoming.identity(IdRole.INITIATOR),
        incoming.identity(IdRole.KMS),
        incoming.identity(IdRole.PSK),
    )


def verify_request(request: RequestInit, psk: bytes, initiator: Identity, kms: Identity) -> None:
    """Check the MAC, and that RANDRi is as long as the key (12.1); raises Refused.

    The identities stand in for those left out.
    """
    behind = (request.initiator or initiator).data + (request.kms or kms).data
    check_mac(request.incoming, request.keys(psk, response=False), behind)
    check_rands([request.randr_i], [strength(psk, request.incoming.profile)])


def request_resp(
    env: Environment,
    request: RequestInit,
    psk: bytes,
    kms: Identity,
    ticket: TICKET,
    keys: TicketKeys,
) -> bytes:
    """REQUEST_RESP with a ticket and its keys (4.2.1.5)."""
    inc = request.incoming
    profile = inc.profile
    protection = request.keys(psk, response=True)
    t = env.timestamp()
    payloads: list[Payload] = [
        t.payload(),
        kms.idr(IdRole.KMS),
        ticket,
        seal_kemac(profile.encr_alg, keys.sub_payloads(), protection, inc.csb_id, t),
    ]
    header = empty_header(DataType.REQUEST_RESP, profile, inc.csb_id, v=0)
    return protect(header, payloads, profile, protection, inc.raw)


class Difference(NamedTuple):
    """How a granted policy differs from the one asked for; less time is no `harm`."""

    text: str
    harm: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """What came of a request; `asked` is the policy that the request asked for."""

    held: HeldTicket
    asked: TicketPolicy

    @property
    def differences(self) -> list[Difference]:
        """How the granted policy differs from the one asked for."""
        return policy_differences(self.asked, self.held)


def accept_request_resp(env: Environment, init: bytes, psk: bytes, data: bytes) -> Granted:
    """Verify the answer to the request `init` and take its ticket (4.2.1.6).

    Raises ErrorReceived when the KMS refused, Refused when the answer does not verify,
    WireError when it cannot be read. Whether the granted policy is acceptable is for the
    caller to say, who sees its differences.
    """
    request = read_request_init(init, REQUEST_INITS)
    raise_if_error(env, data, request.incoming, request.keys(psk, response=False))
    incoming = Incoming.read(data, DataType.REQUEST_RESP)
    incoming.check_answers(request.incoming.message.header)
    incoming.check_no_crypto_sessions()
    protection = request.keys(psk, response=True)
    check_mac(incoming, protection, init)
    env.check_fresh(incoming.t)
    kemac = incoming.only(KEMAC)
    check_encr_alg(incoming.profile, kemac.encr_alg)
    ticket = bare_ticket(incoming.only(TICKET, ErrorNo.INVALID_TICKET))
    policy = TicketPolicy.of(ticket)
    policy.check_flags()
    if policy.prf != request.policy.prf:
        raise Refused(
            "the ticket is of another strength than was asked for (12.1)", ErrorNo.INVALID_PRF
        )
    sub_payloads = open_kemac(kemac, protection, incoming.csb_id, incoming.t)
    keys = TicketKeys.of(sub_payloads, policy.flags)
    check_spis(keys.keys)
    held = HeldTicket(ticket, policy, keys)
    return Granted(held, request.policy)


def bare_ticket(ticket: TICKET) -> TICKET:
    """A TICKET as the KMS makes it; raises Refused when it has Initiator Data already."""
    if ticket.initiator_data:
        raise Refused("a ticket from the KMS has no Initiator Data", ErrorNo.INVALID_TICKET)
    return ticket.copy(next_payload=None)


def check_spis(keys: Sequence[KeyData]) -> None:
    """Refuse keys whose SPIs are not distinct (interpretation 25)."""
    spis = [spi for key in keys if (spi := key.spi)]
    if len(set(spis)) != len(spis):
        raise Refused("two keys have the same SPI")


def policy_differences(asked: TicketPolicy, held: HeldTicket) -> list[Difference]:
    """How a granted policy differs from the one asked for, in words for people."""
    granted = held.policy
    found = []
    for name, old, new in (
        ("flags", (asked.flags & ~F.K).letters, (granted.flags & ~F.K).letters),
        ("initiator", asked.initiator, granted.initiator),
        ("KMS", asked.kms or granted.kms, granted.kms),
        ("rekeying interval", asked.rekey, granted.rekey),
        ("ticket type", _form(asked), _form(granted)),
        ("applications", _texts(asked.apps), _texts(granted.apps)),
        ("responders", _texts(asked.responders), _texts(granted.responders)),
        ("keys", _kinds(asked.keys), _kinds(held.keys.keys)),
    ):
        if old not in (new, None):
            found.append(Difference(f"{name}: {old} asked, {new} granted", True))
    if asked.rekey is None and granted.rekey is not None:
        found.append(Difference(f"rekeying interval: {granted.rekey} s granted", False))
    start, end = asked.valid_from, asked.valid_to
    if _utc(start) != _utc(granted.valid_from):
        longer = _moment(granted.valid_from, 0) < _moment(start, 0)
        found.append(_validity("valid from", start, granted.valid_from, longer))
    if _utc(end) != _utc(granted.valid_to):
        longer = _moment(granted.valid_to, _FOREVER) > _moment(end, _FOREVER)
        found.append(_validity("valid to", end, granted.valid_to, longer))
    return found


_FOREVER = 1 << 64


def _form(policy: TicketPolicy) -> str:
    return f"{policy.ticket_type}.{policy.subtype}.{policy.version}"


def _validity(name: str, old: Timestamp | None, new: Timestamp | None, longer: bool) -> Difference:
    return Difference(f"{name}: {_utc(old)} asked, {_utc(new)} granted", longer)


def _moment(t: Timestamp | None, default: int) -> int:
    return default if t is None or t.unix_ns is None else t.unix_ns


def _utc(t: Timestamp | None) -> str | None:
    return None if t is None else t.utc or t.value.hex()


def _texts(identities: Sequence[Identity]) -> str:
    return ", ".join(map(str, identities)) or "none"


def _kinds(keys: Sequence[KeyData] | None) -> str | None:
    """Types and lengths of keys; None when a request leaves them to the KMS."""
    if keys is None:
        return None
    return ", ".join(f"{label(KeyType, k.type)} of {len(k.key)} octets" for k in keys) or "none"
