"""Signaling between different KMSs: RESOLVE_INIT handed on (RFC 6043 10, interpretation 38).

KMS R: `forward_resolve_init`, to the KMS that issued the ticket or one that knows it, then
`accept_resolve_resp` of `resolve`, then `forward_resolve_resp` for the responder. The KMSs that
a RESOLVE_INIT has gone through are named in it, each in a General Extension payload of type
Vendor ID, which the MAC covers and which those ignore who do not know it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.crypto.derive import message_keys
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import rand_length
from mikeytool.exchange.protection import protect
from mikeytool.exchange.request import empty_header
from mikeytool.exchange.resolve import ResolvedTicket, ResolveInit, resolve_resp_with
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import RANDR, GeneralExt, Payload
from mikeytool.wire.registry import DataType, ExtensionType, IdRole, RandRole

MAX_HOPS = 4
"""How many KMSs a RESOLVE_INIT may be handed on to (interpretation 38)."""

_HOP = b"mikeytool KMS "
"""What the Vendor ID of a KMS on the way begins with; its identity follows."""


def forward_resolve_init(
    env: Environment,
    request: ResolveInit,
    *,
    responder: Identity,
    path: Sequence[Identity],
    kms: Identity,
    psk: bytes,
) -> bytes:
    """RESOLVE_INIT with the ticket of another one, for the next KMS.

    `path` are the KMSs that it has gone through, the one that makes it last; that one's
    identity names the key in IDRpsk. Draws the CSB ID and RANDRr.
    """
    profile = request.incoming.profile
    t = env.timestamp()
    header = empty_header(DataType.RESOLVE_INIT_PSK, profile, int.from_bytes(env.random(4)), v=1)
    randr_r = env.random(rand_length(psk))
    payloads: list[Payload] = [
        t.payload(),
        RANDR(rand_role=RandRole.RESPONDER.value, rand=randr_r),
        responder.idr(IdRole.RESPONDER),
        kms.idr(IdRole.KMS),
        request.ticket.copy(next_payload=None),
        *(_hop(passed) for passed in path),
        path[-1].idr(IdRole.PSK),
    ]
    keys = message_keys(profile.prf, psk, header.csb_id, response=False, randr_r=randr_r)
    return protect(header, payloads, profile, keys, responder.data + kms.data)


def _hop(kms: Identity) -> GeneralExt:
    return GeneralExt(type=ExtensionType.VENDOR_ID.value, data=_HOP + kms.data)


def path_of(incoming: Incoming, sender: Identity) -> tuple[Identity, ...]:
    """The KMSs that a RESOLVE_INIT has gone through, the KMS `sender` at least."""
    passed = [
        Identity(extension.data[len(_HOP) :])
        for extension in incoming.message.all(GeneralExt)
        if extension.type == ExtensionType.VENDOR_ID and extension.data.startswith(_HOP)
    ]
    return tuple(passed) if sender in passed else (*passed, sender)


def forward_resolve_resp(
    env: Environment, request: ResolveInit, key: bytes, kms: Identity, resolved: ResolvedTicket
) -> bytes:
    """RESOLVE_RESP for the responder, with what another KMS made of the ticket.

    `key` is what `request` is protected with: pre-shared or envelope key.
    """
    return resolve_resp_with(env, request, key, kms, resolved.keys, resolved.modifier)
