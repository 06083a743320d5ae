"""What Ticket Request and Ticket Resolve share (RFC 6043 4.2.1, 4.2.3).

In both, a user sends a message protected by a pre-shared key or a signature. The KMS protects its
answer with the pre-shared key or the envelope key. The exchanges differ in the payload that the
message carries, a TP or a TICKET, and in the role of the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mikeytool.crypto.derive import MessageKeys, message_keys
from mikeytool.crypto.kemac import open_kemac, seal_kemac
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import ErrorReceived, raise_if_error
from mikeytool.exchange.incoming import Incoming, message_of
from mikeytool.exchange.profile import (
    Profile,
    check_encr_alg,
    check_key,
    check_rands,
    rand_length,
    strength,
)
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.ticket import TicketKeys, check_spis
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, RANDR, Payload
from mikeytool.wire.registry import CsIdMapType, DataType, ErrorNo, IdRole, RandRole


class KmsExchange(NamedTuple):
    """The data types of an exchange with the KMS, and the user's roles in it."""

    init_psk: DataType
    init_pk: DataType
    response: DataType
    id_role: IdRole
    rand_role: RandRole

    def keys(
        self, prf: int, key: bytes, csb_id: int, rand: bytes, *, response: bool
    ) -> MessageKeys:
        """Return the keys that protect the initial message, or the response to it (5.1.2)."""
        by_initiator = self.rand_role == RandRole.INITIATOR
        randr_i, randr_r = (rand, b"") if by_initiator else (b"", rand)
        return message_keys(prf, key, csb_id, response=response, randr_i=randr_i, randr_r=randr_r)


Fields = tuple[Incoming, bytes, Identity | None, Identity | None, Identity | None]


@dataclass(frozen=True, slots=True)
class KmsInit:
    """An initial message to the KMS, made or read; do not trust it until it is verified.

    `rand` is RANDRi or RANDRr. `sender` is IDRi or IDRr. An omitted identity is None.
    """

    exchange: ClassVar[KmsExchange]

    incoming: Incoming
    rand: bytes
    sender: Identity | None
    kms: Identity | None
    psk_id: Identity | None

    @property
    def raw(self) -> bytes:
        """Return the octets of the message."""
        return self.incoming.raw

    def keys(self, key: bytes, *, response: bool) -> MessageKeys:
        """Return the keys that protect the message, or the response to it (5.1.2).

        `key` is the pre-shared key or the envelope key.
        """
        prf, csb_id = self.incoming.profile.prf, self.incoming.csb_id
        return self.exchange.keys(prf, key, csb_id, self.rand, response=response)


def fields_of(exchange: KmsExchange, incoming: Incoming) -> Fields:
    """Return the fields of `KmsInit` from a message; raises Refused (4.2.1.4, 4.2.3.4)."""
    incoming.check_no_crypto_sessions()
    return (
        incoming,
        incoming.need_rand(exchange.rand_role),
        incoming.identity(exchange.id_role),
        incoming.identity(IdRole.KMS),
        incoming.identity(IdRole.PSK),
    )


def empty_header(data_type: DataType, profile: Profile, csb_id: int, *, v: int) -> HDR:
    """Return the header of a message between a user and a KMS: #CS 0 and an Empty map."""
    return HDR(
        data_type=int(data_type),
        v=v,
        prf=int(profile.prf),
        csb_id=csb_id,
        cs_id_map_type=int(CsIdMapType.EMPTY),
        cs_id_map=[],
    )


def init_with_psk(
    env: Environment,
    exchange: KmsExchange,
    profile: Profile,
    content: Sequence[Payload],
    *,
    sender: Identity,
    kms: Identity,
    psk: bytes,
    psk_id: Identity | None,
) -> Message:
    """Make the initial message under a pre-shared key (4.2.1.2, 4.2.3.2).

    `content` follows IDRkms. Draws the CSB ID, then the RAND. Raises UsageError for a key under 128
    bits.
    """
    check_key(psk, "pre-shared key")
    t = env.timestamp()
    header = empty_header(exchange.init_psk, profile, int.from_bytes(env.random(4)), v=1)
    rand = env.random(rand_length(psk))
    payloads: list[Payload] = [
        t.payload(),
        RANDR(rand_role=exchange.rand_role.value, rand=rand),
        sender.idr(exchange.id_role),
        kms.idr(IdRole.KMS),
        *content,
    ]
    if psk_id is not None:
        payloads.append(psk_id.idr(IdRole.PSK))
    keys = exchange.keys(profile.prf, psk, header.csb_id, rand, response=False)
    return protect(header, payloads, profile, keys, sender.data + kms.data)


def verify_init(init: KmsInit, psk: bytes, sender: Identity, kms: Identity) -> None:
    """Check the MAC, and that the RAND is long enough for the key (12.1); raises Refused.

    The identities replace those that are omitted.
    """
    behind = (init.sender or sender).data + (init.kms or kms).data
    check_mac(init.incoming, init.keys(psk, response=False), behind)
    check_rands([init.rand], [strength(psk, init.incoming.profile)])


def kms_response(
    env: Environment,
    init: KmsInit,
    key: bytes,
    kms: Identity,
    ticket_keys: TicketKeys,
    *,
    before: Sequence[Payload] = (),
    after: Sequence[Payload] = (),
) -> bytes:
    """Make the response to `init` with the keys of a ticket (4.2.1.5, 4.2.3.5).

    `before` and `after` are the payloads before and after the KEMAC.
    """
    incoming = init.incoming
    profile, csb_id = incoming.profile, incoming.csb_id
    protection = init.keys(key, response=True)
    t = env.timestamp(incoming.t)
    kemac = seal_kemac(profile.encr_alg, ticket_keys.sub_payloads(), protection, csb_id, t)
    payloads: list[Payload] = [t.payload(), kms.idr(IdRole.KMS), *before, kemac, *after]
    header = empty_header(init.exchange.response, profile, csb_id, v=0)
    return protect(header, payloads, profile, protection, init.raw).raw


def verified_response(
    env: Environment, init: KmsInit, key: bytes, response: bytes | Message
) -> Incoming:
    """Return the response to `init`, verified and fresh (4.2.1.6, 4.2.3.6).

    Raises ErrorReceived if the KMS refused, Refused if the response does not verify, WireError if
    it cannot be read.
    """
    message, header = message_of(response), init.incoming.message.header
    try:
        raise_if_error(env, message, header, init.keys(key, response=False))
    except ErrorReceived as error:
        if error.error_no == ErrorNo.INVALID_ID:
            error.args = (f"{error}; check the names given with --as, --psk-id and --kms-id",)
        raise
    incoming = Incoming.read(message, init.exchange.response)
    incoming.check_answers(header)
    incoming.check_no_crypto_sessions()
    check_mac(incoming, init.keys(key, response=True), init.raw)
    env.check_fresh(incoming.t)
    return incoming


def keys_in_response(
    init: KmsInit, key: bytes, response: Incoming, policy: TicketPolicy
) -> TicketKeys:
    """Return the keys of a ticket with this policy in a verified response; raises Refused."""
    kemac = response.only(KEMAC)
    check_encr_alg(response.profile, kemac.encr_alg)
    protection = init.keys(key, response=True)
    inside = open_kemac(kemac, protection, response.csb_id, response.t)
    keys = TicketKeys.of(inside, policy.flags)
    check_spis(keys.keys)
    policy.check_forks(keys.keys)
    return keys
