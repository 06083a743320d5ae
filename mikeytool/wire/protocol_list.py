"""The list of key management protocols in a message (RFC 4567 4.1.4, interpretation 50).

An attacker could take the lines of strong protocols out of a session description. Each message
therefore names all protocols of its description, in a General Extension that its MAC covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mikeytool.wire.message import Message
    from mikeytool.wire.payloads import GeneralExt

MIKEY = "mikey"
"""The identifier of MIKEY (RFC 4567 9)."""

_SEPARATOR = ";"


@dataclass(slots=True)
class Description:
    """The protocol identifiers in a session description, in order, each with its level there.

    `media` are its m= lines.
    """

    offered: list[tuple[str, str]] = field(default_factory=list)
    media: list[str] = field(default_factory=list)

    def add(self, level: str, protocol: str) -> None:
        """Add an attribute; it is at the session level or in a media section."""
        if protocol:
            self.offered.append((level, protocol))

    @property
    def protocols(self) -> tuple[str, ...]:
        """Every protocol once, in the order in which they begin to occur."""
        return tuple(dict.fromkeys(protocol for _, protocol in self.offered))


class Carried(NamedTuple):
    """Where in a session description a message is: at the session level or in a media section."""

    description: Description
    level: str

    @property
    def lists(self) -> set[str]:
        """The lists that the message may have.

        RFC 4567 does not say whether protocols of other levels belong in the list, and whether
        a protocol that occurs at two levels stands there twice. No form hides that one is gone.
        """
        offered = self.description.offered
        every = [protocol for _, protocol in offered]
        beside = [protocol for level, protocol in offered if level == self.level]
        return {written(every), written(self.description.protocols), written(beside)}


def written(protocols: Sequence[str]) -> str:
    """Return a list of protocols in the form that is in messages."""
    return _SEPARATOR.join(protocols)


def sdp_ids(protocols: Sequence[str]) -> GeneralExt:
    """Return the payload with the list, a General Extension of type SDP IDs (RFC 3830 6.15)."""
    # Imported here and below because most users of this module have no message.
    from mikeytool.wire.payloads import GeneralExt
    from mikeytool.wire.registry import ExtensionType

    return GeneralExt(type=ExtensionType.SDP_IDS.value, data=written(protocols).encode())


def list_in(message: Message) -> GeneralExt | None:
    """Return the payload with the list in a message, or None without one."""
    from mikeytool.wire.payloads import GeneralExt
    from mikeytool.wire.registry import ExtensionType

    return next((one for one in message.all(GeneralExt) if one.type == ExtensionType.SDP_IDS), None)


def list_fault(message: Message, carried: Carried) -> str | None:
    """Return how the list in a message differs from its description; None if it does not.

    A message without a list has no fault, because much software does not write one.
    """
    found = list_in(message)
    if found is None:
        return None
    named = found.data.decode("utf-8", "replace")
    if named in carried.lists:
        return None
    there = written(carried.description.protocols)
    return (
        f"the message names the key management protocols {named or 'none'}, and the session"
        f" description has {there}; somebody changed the description on the way"
    )
