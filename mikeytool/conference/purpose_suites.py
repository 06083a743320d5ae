"""The suites of a conference as security policies: all who share a key share its suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from mikeytool.conference.model import Conference, Purpose
from mikeytool.conference.purposes import purpose_of
from mikeytool.exchange.profile import Profile
from mikeytool.exchange.session import Session, policy_content
from mikeytool.srtp.security_policy import policy_for, suite_of
from mikeytool.srtp.suites import Suite, suite
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import ErrorNo, ProtType


def parse_purposes(
    texts: Sequence[str], suite_name: str | None
) -> tuple[list[Purpose], dict[Purpose, Suite]]:
    """Read `NAME[=SUITE]`, also several with commas between; returns purposes and their suites.

    `suite_name` is the suite of those that name none. Raises UsageError.
    """
    purposes: list[Purpose] = []
    named: dict[Purpose, str] = {}
    for part in (part for text in texts for part in text.split(",")):
        name, equals, of_its_own = part.partition("=")
        if name not in list(Purpose):
            raise UsageError(
                f"--purpose {part!r}: it takes audio, video, floor and events, with commas between,"
                " and audio=SUITE, video=SUITE"
            )
        purpose = Purpose(name)
        if purpose in purposes:
            raise UsageError(f"--purpose: {purpose} is there twice")
        purposes.append(purpose)
        is_media = purpose.protocol == ProtType.SRTP
        if equals and not is_media:
            raise UsageError(f"--purpose {part}: {purpose} is not SRTP, so it has no suite")
        if is_media and (equals or suite_name is not None):
            named[purpose] = of_its_own if equals else suite_name or ""
    if suite_name is not None and suite_name not in named.values():
        suite(suite_name)
        raise UsageError(f"--suite {suite_name}: no purpose takes it")
    return purposes, {purpose: suite(name) for purpose, name in named.items()}


def policies_of(conference: Conference) -> dict[Purpose, SP]:
    """Return the policy of each purpose; those that are alike are one policy, with one number."""
    media = conference.media
    kinds = dict.fromkeys(media.get(one) or one.protocol for one in conference.purposes)
    made = {
        kind: policy_for(kind, number)
        if isinstance(kind, Suite)
        else SP(policy_no=number, protocol=int(kind), policy_param=[])
        for number, kind in enumerate(kinds)
    }
    return {one: made[media.get(one) or one.protocol] for one in conference.purposes}


def own_policies(conference: Conference) -> list[SP]:
    """Return the policies of a conference, in the order of their numbers."""
    return list({sp.policy_no: sp for sp in policies_of(conference).values()}.values())


def conference_policies(conference: Conference) -> list[SP]:
    """Return the policies that an Error message names when others are offered (5.4)."""
    return [sp for sp in own_policies(conference) if sp.protocol == ProtType.SRTP]


def is_of(conference: Conference, policy: SP) -> bool:
    """Return whether some purpose of a conference has a policy."""
    return any(_fits(conference, purpose, policy) for purpose in conference.purposes)


def fits(conference: Conference, entry: GenericIdEntry, policy: SP) -> bool:
    """Return whether a policy is that of the purpose of a crypto session."""
    return _fits(conference, purpose_of(conference, entry.cs_id, entry.protocol), policy)


def _fits(conference: Conference, purpose: Purpose, policy: SP) -> bool:
    if purpose.protocol != policy.protocol:
        return False
    found = conference.media.get(purpose)
    # Most policies say it as this tool does, which is seen without reading them.
    return found is None or policy_content(policy) == _content(found) or suite_of(policy) == found


@cache
def _content(found: Suite) -> tuple[object, ...]:
    return policy_content(policy_for(found, 0))


def check_offer(
    conference: Conference, entries: Sequence[GenericIdEntry], policies: Mapping[int, SP]
) -> None:
    """Refuse an offer that does not do what the conference does.

    Raises Refused: Invalid SPpar for other suites, Invalid SP for what the conference has not.
    """
    for entry in entries:
        purpose = purpose_of(conference, entry.cs_id, entry.protocol)
        wanted = conference.media.get(purpose)
        offered = [policies[number] for number in entry.policies]
        if offered and not any(_fits(conference, purpose, policy) for policy in offered):
            raise Refused(
                f"crypto session {entry.cs_id} offers {_names(offered)}; {purpose} of"
                f" {conference.focus} goes{_with(wanted)}",
                ErrorNo.INVALID_SPPAR,
            )


def check_lengths(conference: Conference, purposes: Iterable[Purpose], profile: Profile) -> None:
    """Refuse to give a member keys longer than the profile of their ticket allows (12.1).

    Raises Refused (Invalid SPpar). `purposes` are those that the member offers, and those that the
    system adds.
    """
    for purpose in purposes:
        length = conference.key_lengths(purpose)[0]
        if length > profile.key_length:
            raise Refused(
                f"{purpose} of {conference.focus} goes{_with(conference.media.get(purpose))}, with"
                f" keys of {8 * length} bits; that needs a ticket requested with --profile 256",
                ErrorNo.INVALID_SPPAR,
            )


def _with(found: Suite | None) -> str:
    return "" if found is None else f" with {found.name}"


def _names(policies: Sequence[SP]) -> str:
    found = (suite_of(policy) for policy in policies)
    return ", ".join("a suite unknown here" if one is None else one.name for one in found)


def check_agreed(conference: Conference, session: Session) -> None:
    """Refuse an answer that takes the policy of another purpose, or one that was not offered."""
    for one in session.crypto_sessions:
        if one.policy is None or not fits(conference, one.entry, one.policy):
            raise Refused(
                f"crypto session {one.entry.cs_id} has not the suite of its purpose",
                ErrorNo.INVALID_SPPAR,
            )
