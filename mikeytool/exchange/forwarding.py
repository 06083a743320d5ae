"""Signaling between KMSs: forwarding RESOLVE_INIT (RFC 6043 10, interpretation 38).

KMS R calls `forward_resolve_init` to make a message for the KMS that issued the ticket, or for one
that knows that KMS. It then calls `accept_resolve_resp`, and `resolve_resp_with` for the responder;
both are in `resolve`. A RESOLVE_INIT names the KMSs that it has passed through. Each name is in a
General Extension payload of type Vendor ID, which the MAC covers and other implementations ignore.
"""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.identity_length import checked
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.resolve import ResolveInit, resolve_init
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import GeneralExt
from mikeytool.wire.registry import ExtensionType

MAX_HOPS = 4
"""The maximum number of KMSs to which a RESOLVE_INIT is forwarded (interpretation 38)."""

_HOP = b"mikeytool KMS "
"""The prefix of a forwarding KMS's Vendor ID; the identity of the KMS follows."""


def forward_resolve_init(
    env: Environment,
    request: ResolveInit,
    *,
    responder: Identity,
    path: Sequence[Identity],
    kms: Identity,
    psk: bytes,
) -> ResolveInit:
    """Make a RESOLVE_INIT for the next KMS, with the ticket of another RESOLVE_INIT.

    `path` lists the KMSs that it has passed through; the last one is the KMS that makes it. The
    identity of that KMS names the key in IDRpsk. Draws the CSB ID and RANDRr.
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
    """Return the KMSs that a RESOLVE_INIT has passed through, at least the KMS `sender`.

    Raises Refused (Invalid ID) for an identity of over 1,024 octets.
    """
    passed = [
        checked(Identity(extension.data[len(_HOP) :]))
        for extension in incoming.message.all(GeneralExt)
        if extension.type == ExtensionType.VENDOR_ID and extension.data.startswith(_HOP)
    ]
    return tuple(passed) if sender in passed else (*passed, sender)
