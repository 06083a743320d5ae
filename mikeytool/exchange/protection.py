"""MACs over messages: what they cover, and how to make and check them (RFC 6043 5.5)."""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.crypto.derive import MessageKeys
from mikeytool.crypto.mac import mac, mac_is_good
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import Profile, check_mac_alg
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import HDR
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import TICKET, Payload, V
from mikeytool.wire.registry import DataType, ErrorNo


def covered(message: Message, raw: bytes, mac_length: int) -> bytes:
    """Return the octets of a message that its MAC covers, without what table 5.2 appends.

    This is everything but the MAC itself. In TRANSFER_INIT the Initiator Data and its length field
    are excluded as well.
    """
    end = len(raw) - mac_length
    transfer = message.header.data_type == DataType.TRANSFER_INIT
    ticket = message.find(TICKET) if transfer else None
    if ticket is None:
        return raw[:end]
    after = ticket.offset + ticket.length
    before = after - len(ticket.initiator_data) - 2
    return raw[:before] + raw[after:end]


def protect(
    header: HDR, payloads: Sequence[Payload], profile: Profile, keys: MessageKeys, behind: bytes
) -> Message:
    """Return the message with a V payload at its end, as `Message.read` would return it.

    `behind` is what table 5.2 appends to the message: identities for an initial message, the whole
    initial message for a response.
    """
    length = profile.mac_alg.length
    v = V(auth_alg=int(profile.mac_alg), ver_data=bytes(length))
    message = Message(header, [*payloads, v])
    message.place()
    covers = covered(message, message.raw, length) + behind
    v.ver_data = mac(profile.mac_alg, keys, covers)
    message.raw = message.raw[:-length] + v.ver_data
    return message


def check_mac(incoming: Incoming, keys: MessageKeys, behind: bytes) -> None:
    """Verify the V of a message; raises Refused (Auth failure) when it is wrong."""
    v = incoming.v
    check_mac_alg(incoming.profile, v.auth_alg)
    covers = covered(incoming.message, incoming.raw, len(v.ver_data)) + behind
    if not mac_is_good(v.auth_alg, keys, covers, v.ver_data):
        raise Refused(
            f"the MAC of {incoming.data_type.label} is wrong: another key, other identities,"
            " or a changed message",
            ErrorNo.AUTH_FAILURE,
        )
