"""What 3GPP's mission-critical systems add to MIKEY-SAKKE messages (TS 33.180 Annex E)."""

from __future__ import annotations

from typing import Any

from mikeytool.wire.grammar import (
    REST,
    Int16ub,
    Record,
    Records,
    bits,
    count_of,
    length_of,
    octets,
    records,
    this,
    uint8,
    uint32,
)
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, GeneralExt
from mikeytool.wire.registry import DataType, ExtensionType, IdRole
from mikeytool.wire.registry_extensions import AeadAlg, IdScheme, KeyPurpose
from mikeytool.wire.sakke import SAKKE

_TIME = 5
"""Octets of a time: seconds since 1970."""


class McGroupId(Record):
    """One group that a key is for (TS 33.180 E.6, TS 24.282 15.2.14)."""

    iei: int = uint8()
    group_id_length: int | None = length_of("group_id", Int16ub, default=None)
    group_id: bytes = octets(this.group_id_length, show="text")


def _list_length(ctx: Any) -> int:
    return 1 + sum(len(one.build()) for one in ctx["group_ids"])


class McGroupIds(Record):
    """The groups that a key is for (TS 33.180 E.6.3)."""

    group_ids_length: int | None = length_of(_list_length, Int16ub, default=None)
    number_of_group_ids: int | None = count_of("group_ids", default=None)
    group_ids: list[McGroupId] = records(Records(McGroupId, count=this.number_of_group_ids))


class KeyParameters(Record):
    """3GPP key parameters in the clear, as some senders write them (TS 33.180 E.6.1).

    The keys of private calls have no list of groups.
    """

    key_type: int = uint8(names=KeyPurpose)
    status: int = uint32(show="hex")
    activation_time: bytes = octets(_TIME, show="unix time")
    expiry_time: bytes = octets(_TIME, show="unix time")
    text_length: int | None = length_of("text", Int16ub, default=None)
    text: bytes = octets(this.text_length, show="text")
    mc_group_ids: list[McGroupIds] = records(Records(McGroupIds, length=REST))


class ProtectedPayload(Record):
    """3GPP key parameters, encrypted under the key that the message carries (TS 33.180 8.5.4.1)."""

    authenticated: int = bits(1, show="flag")
    encrypted: int = bits(1, show="flag")
    message_type: int = bits(6)
    date_time: bytes = octets(_TIME, show="unix time")
    payload_id: int = uint32()
    payload_sequence_number: int = uint8()
    payload_algorithm: int = uint8(names=AeadAlg)
    iv: bytes = octets(16)
    dppk_id: int = uint32(show="hex")
    payload_iei: int = uint8()
    payload_length: int | None = length_of("payload", Int16ub, default=None)
    payload: bytes = octets(this.payload_length)


_ROLES = (IdRole.INITIATOR_UID, IdRole.RESPONDER_UID)
_EXTENSIONS = (ExtensionType.SAKKE_TO_SELF, ExtensionType.KEY_PARAMETERS_3GPP)


def is_mission_critical(message: Message) -> bool:
    """Whether a message uses a number that only 3GPP's mission-critical systems use."""
    if message.header.data_type != DataType.SAKKE_MSG:
        return False
    return any(
        (isinstance(one, SAKKE) and one.id_scheme == IdScheme.MCX_HASHED_UID)
        or (isinstance(one, IDR) and one.id_role in _ROLES)
        or (isinstance(one, GeneralExt) and one.type in _EXTENSIONS)
        for one in message.payloads
    )


def key_purpose(message: Message) -> int | None:
    """The purpose of the key in a mission-critical message, a `KeyPurpose` if it has a name.

    None for any other message.
    """
    return message.header.csb_id >> 28 if is_mission_critical(message) else None
