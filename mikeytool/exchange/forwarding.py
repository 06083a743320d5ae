"""Signaling between different KMSs: RESOLVE_INIT handed on (RFC 6043 10, interpretation 38).

KMS R: `forward_resolve_init`, to the KMS that issued the ticket or one that knows it, then
`accept_resolve_resp` and then `resolve_resp_with` for the responder, both of `resolve`. The KMSs
that a RESOLVE_INIT has gone through are named in it, each in a General Extension payload of type
Vendor ID, which the MAC covers and which other implementations ignore.
"""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.resolve import ResolveInit, resolve_init
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import GeneralExt
from mikeytool.wire.registry import ExtensionType

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
) -> ResolveInit:
    """RESOLVE_INIT with the ticket of another one, for the next KMS.

    `path` are the KMSs that it has gone through, the one that makes it last; that one's
    identity names the key in IDRpsk. Draws the CSB ID and RANDRr.
    """
    return resolve_init(
        env,
        request.incoming.profile,
        request.ticket,
        responder=responder,
        kms=kms,
        psk=psk,
        psk_id=path[-1],
        passed=[_hop(passed) for passed in path],
    )


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
