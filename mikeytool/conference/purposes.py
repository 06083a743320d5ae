"""The purpose of a crypto session: that of its media line (RFC 4567 7.1).

The purposes of a conference stand in the order of the media lines, so that CS IDs 1 and 2 are for
the first purpose, 3 and 4 for the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mikeytool.conference.model import Conference, GroupKey, Purpose
from mikeytool.exchange.session import CryptoSession, Session
from mikeytool.media import media_lines
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.registry import ErrorNo, ProtType, label


def cs_ids(conference: Conference, purpose: Purpose) -> tuple[int, int]:
    """Return the two CS IDs of the media line of a purpose."""
    lines = conference.lines or conference.purposes
    return media_lines.cs_ids(lines.index(purpose) + 1)


def lined_up(conference: Conference, names: Mapping[int, str]) -> Conference:
    """Return a conference with the media lines of a member, who names streams by CS ID.

    What has no name keeps its place if that is free. Only media need a place, and only if there are
    several. Raises Refused (Invalid SP) for a name that the conference does not have, and for names
    that contradict each other.
    """
    places: dict[int, Purpose] = {}
    for cs_id, name in names.items():
        purpose = next((one for one in conference.purposes if one == name), None)
        if purpose is None:
            raise Refused(
                f"{conference.focus} has no {name}: it has {', '.join(conference.purposes)}",
                ErrorNo.INVALID_SP,
            )
        if len(conference.media) < 2 or purpose not in conference.media:
            continue
        line = (cs_id + 1) // 2
        if not 1 <= line <= media_lines.MOST:
            raise _ambiguous(conference, f"crypto session {cs_id} is of no media line")
        if places.setdefault(line, purpose) != purpose:
            raise _ambiguous(conference, f"crypto session {cs_id} is named {name}")
    if len(set(places.values())) != len(places):
        raise _ambiguous(conference, "two media lines have one name")
    if not places:
        return conference
    others = [one for one in conference.purposes if one not in places.values()]
    homeless = []
    for one in others:
        if places.setdefault(conference.purposes.index(one) + 1, one) != one:
            homeless.append(one)
    free = (at for at in range(1, media_lines.MOST + 1) if at not in places)
    places.update(zip(free, homeless, strict=False))
    return replace(conference, lines=tuple(map(places.get, range(1, max(places) + 1))))


Lines = Sequence[media_lines.MediaLine]
"""The media lines of the session description around a message."""


def names_of(
    conference: Conference,
    lines: Lines,
    entries: Iterable[GenericIdEntry],
    names: Mapping[int, str],
) -> dict[int, str]:
    """Return the names of a member's streams: those in the message, and the types of media lines.

    A media line that is declined has none. In a description with one media line, or in its section,
    all streams without a name are of that line. Raises Refused (Invalid SP) for a name that is not
    the type.
    """
    found = dict(names)
    types = {one.number: one.purpose for one in lines if one.purpose and not one.is_declined}
    alone = next(iter(types.values()), None) if len(lines) == 1 else None
    for entry in entries:
        of_line = types.get((entry.cs_id + 1) // 2)
        purpose = of_line or alone
        if purpose is None or entry.protocol != purpose.protocol:
            continue
        named = found.setdefault(entry.cs_id, purpose.value)
        if of_line is not None and named != of_line:
            raise _ambiguous(
                conference,
                f"crypto session {entry.cs_id} is named {named}, and its media line in the session"
                f" description is {of_line}",
            )
    return found


def check_lines(conference: Conference, lines: Lines) -> None:
    """Refuse to call out with media lines that are not those of the conference."""
    for one in lines:
        purpose = one.purpose
        if one.is_declined or purpose is None or len(conference.media) < 2:
            continue
        if purpose in conference.media and one.number != conference.purposes.index(purpose) + 1:
            raise Refused(
                f"media line {one.number} of the session description is {purpose}; those of"
                f" {conference.focus} are in the order {', '.join(conference.purposes)}",
                ErrorNo.INVALID_SP,
            )


def check_names(
    conference: Conference, names: Mapping[int, str], entries: Iterable[GenericIdEntry]
) -> None:
    """Refuse a name that is not of the protocol of its crypto session, such as SRTP for events."""
    for entry in entries:
        name = names.get(entry.cs_id)
        if name is not None and media_lines.Purpose(name).protocol != entry.protocol:
            protocol = label(ProtType, entry.protocol)
            raise _ambiguous(
                conference, f"crypto session {entry.cs_id} is {protocol} and is named {name}"
            )


def purpose_of(conference: Conference, cs_id: int, protocol: int) -> Purpose:
    """Return the purpose of a crypto session.

    A CS ID of no media line will do if only one purpose has that protocol. Raises Refused (Invalid
    SP) if no purpose has it, or several have: a guess could give a stream the key of another.
    """
    fitting = [one for one in conference.purposes if one.protocol == protocol]
    if not fitting:
        raise Refused(
            f"{conference.focus} has nothing for {label(ProtType, protocol)}", ErrorNo.INVALID_SP
        )
    for one in fitting:
        if len(fitting) == 1 or cs_id in cs_ids(conference, one):
            return one
    raise _ambiguous(conference, f"crypto session {cs_id} is not of a media line")


def check_directions(
    conference: Conference, offered: Iterable[tuple[GenericIdEntry, bool]]
) -> None:
    """Refuse SRTP crypto sessions that are two for one direction of a media line.

    Each entry comes with whether the member sends in it. A conference with one SRTP purpose leaves
    no doubt, so a member may send several streams there.
    """
    if len(conference.media) < 2:
        return
    found: dict[tuple[Purpose, bool], int] = {}
    for entry, by_member in offered:
        if entry.protocol != ProtType.SRTP:
            continue
        line = purpose_of(conference, entry.cs_id, entry.protocol), by_member
        other = found.setdefault(line, entry.cs_id)
        if other != entry.cs_id:
            both = "send" if by_member else "receive"
            raise _ambiguous(
                conference, f"crypto sessions {other} and {entry.cs_id} both {both} {line[0]}"
            )


def _ambiguous(conference: Conference, what: str) -> Refused:
    lines = ", ".join(
        "{} has {} and {}".format(one, *cs_ids(conference, one)) for one in conference.purposes
    )
    return Refused(
        f"{what}; each media line of {conference.focus} has one crypto session in each direction:"
        f" {lines}",
        ErrorNo.INVALID_SP,
    )


def purposes_of(
    conference: Conference, session: Session, keys: Iterable[GroupKey] = ()
) -> list[tuple[CryptoSession, Purpose]]:
    """Return the crypto sessions of a member's session, each with its purpose.

    Group keys that are known say so first: members who joined under an earlier version, which
    counted crypto sessions otherwise, keep their purposes.
    """
    known = {key.spi: key.purpose for key in keys if key.purpose in conference.purposes}
    return [
        (
            one,
            known.get(one.entry.spi) or purpose_of(conference, one.entry.cs_id, one.entry.protocol),
        )
        for one in session.crypto_sessions
    ]
