"""The crypto sessions of a member: the purpose of each, and the owners of SSRCs.

A member has one crypto session to send for each of their streams. For each purpose, they have one
crypto session to receive, which stands for everyone else's streams. All streams of a purpose use
one group key, so no two of them may have the same SSRC (TR 33.828 5.3.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mikeytool.conference import rows
from mikeytool.conference.database import Db
from mikeytool.conference.model import Conference, GroupKey, Purpose
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.session import CryptoSession, Session
from mikeytool.srtp.security_policy import policy_for, suite_of
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import GenericIdEntry, srtp_session_data
from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import ErrorNo, ProtType, label

SUITE = SUITES["AES_CM_128_HMAC_SHA1_80"]
"""The suite of all members: they share keys, so they share the suite."""
SUPPORTED = (policy_for(SUITE, 0),)
"""The policies that an Error message names when other security policies are offered (5.4)."""


def accept_policy(policy: SP) -> bool:
    """Return whether a security policy is the one that every conference uses."""
    if policy.protocol == ProtType.SRTP:
        return suite_of(policy) == SUITE
    return policy.protocol in (ProtType.TLS_PSK, ProtType.CMS)


def own_policies(conference: Conference) -> list[SP]:
    """Return the policies of a conference, one for each protocol."""
    protocols = {purpose.protocol: None for purpose in conference.purposes}
    return [
        policy_for(SUITE, number)
        if protocol == ProtType.SRTP
        else SP(policy_no=number, protocol=protocol.value, policy_param=[])
        for number, protocol in enumerate(protocols)
    ]


def fresh_ssrc(env: Environment) -> int:
    """Return a random SSRC."""
    return int.from_bytes(env.random(4))


def system_ssrc(db: Db, env: Environment, conference: Conference, purpose: Purpose) -> int:
    """Return the SSRC, used by no sender, that stands for everyone else's streams of a purpose."""
    ssrc = rows.system_ssrc(db, conference.number, purpose)
    while ssrc is None:
        drawn = fresh_ssrc(env)
        if rows.claim_ssrc(db, conference.number, drawn, None, purpose):
            ssrc = drawn
    return ssrc


def claim(
    db: Db, env: Environment, conference: Conference, member: int, purpose: Purpose, wanted: int
) -> int:
    """Return the SSRC that a member gets: the wanted one, or another when that is taken."""
    ssrc = wanted
    while not rows.claim_ssrc(db, conference.number, ssrc, member, purpose):
        ssrc = fresh_ssrc(env)
    return ssrc


class Seating:
    """Assigns purposes to the crypto sessions of one bundle, in the order of the map.

    The first SRTP session to send gets the conference's first purpose with SRTP, the second
    session gets the second purpose, and so on. Any further sessions get the last purpose.
    Sessions to receive are counted separately.
    """

    def __init__(self, conference: Conference) -> None:
        self._conference = conference
        self._seen: Counter[tuple[int, bool]] = Counter()

    def purpose(self, protocol: int, by_member: bool) -> Purpose:
        """Return the purpose of the next crypto session of a protocol.

        Raises Refused (Invalid SP) when the conference has no purpose with that protocol.
        """
        fitting = [one for one in self._conference.purposes if one.protocol == protocol]
        if not fitting:
            raise Refused(
                f"{self._conference.focus} has nothing for {label(ProtType, protocol)}",
                ErrorNo.INVALID_SP,
            )
        kind = protocol, by_member and protocol == ProtType.SRTP
        self._seen[kind] += 1
        return fitting[min(self._seen[kind], len(fitting)) - 1]

    def missing(self) -> list[Purpose]:
        """Return the purposes that have no crypto session to the member yet."""
        left = []
        for protocol in dict.fromkeys(one.protocol for one in self._conference.purposes):
            fitting = [one for one in self._conference.purposes if one.protocol == protocol]
            left += fitting[self._seen[protocol, False] :]
        return left


def with_ssrc(entry: GenericIdEntry, ssrc: int) -> GenericIdEntry:
    """Return an SRTP crypto session with another SSRC; ROC and SEQ stay."""
    data = ssrc.to_bytes(4) + entry.session_data[4:]
    return entry.copy(session_data=data, session_data_length=None)


def with_spi(entry: GenericIdEntry, spi: bytes) -> GenericIdEntry:
    """Return a crypto session under another key."""
    return entry.copy(spi=spi, spi_length=None)


class CallInPlan:
    """The crypto sessions of an answer to a caller, or of a call-out."""

    def __init__(
        self,
        db: Db,
        env: Environment,
        conference: Conference,
        member: int,
        keys: Sequence[GroupKey],
    ) -> None:
        self._db, self._env, self._conference, self._member = db, env, conference, member
        self._keys = {key.purpose: key for key in keys}
        self._seating = Seating(conference)
        self._received: set[Purpose] = set()

    def arrange(self, entry: GenericIdEntry, by_member: bool) -> GenericIdEntry:
        """Set the group key and, for SRTP, the SSRC of a crypto session that the caller offered."""
        by_member = by_member and entry.protocol == ProtType.SRTP
        purpose = self._seating.purpose(entry.protocol, by_member)
        if by_member:
            wanted = srtp_session_data(entry)
            assert wanted is not None  # noqa: S101 - it has Session Data, so it has an SSRC
            ssrc = claim(self._db, self._env, self._conference, self._member, purpose, wanted[0])
            entry = with_ssrc(entry, ssrc)
        elif entry.protocol == ProtType.SRTP:
            entry = with_ssrc(entry, self._for_everyone_else(purpose))
        return with_spi(entry, self._keys[purpose].spi)

    def _for_everyone_else(self, purpose: Purpose) -> int:
        """Return the system's SSRC, or a new one for a second crypto session of the purpose."""
        if purpose not in self._received:
            self._received.add(purpose)
            return system_ssrc(self._db, self._env, self._conference, purpose)
        ssrc = fresh_ssrc(self._env)
        return claim(self._db, self._env, self._conference, self._member, purpose, ssrc)

    def added(self, offered: Sequence[GenericIdEntry]) -> list[CsSpec]:
        """Return crypto sessions for the purposes that the caller left out."""
        counting = Seating(self._conference)
        for entry in offered:
            counting.purpose(entry.protocol, bool(entry.session_data))
        missing = counting.missing()
        taken = {entry.cs_id for entry in offered}
        free = [number for number in range(1, 256) if number not in taken]
        if len(missing) > len(free):
            raise Refused(
                "the offer leaves no room for the crypto sessions of the conference",
                ErrorNo.INVALID_SP,
            )
        return [self._own(purpose, cs_id) for purpose, cs_id in zip(missing, free, strict=False)]

    def offer(self) -> list[CsSpec]:
        """Return the crypto sessions of a call-out.

        For each purpose there is one from the system and, with SRTP, one for the member's own
        stream.
        """
        specs = []
        for purpose in self._conference.purposes:
            specs.append(self._own(purpose, None))
            if purpose.protocol == ProtType.SRTP:
                specs.append(CsSpec(send=False, spi=self._keys[purpose].spi))
        return specs

    def _own(self, purpose: Purpose, cs_id: int | None) -> CsSpec:
        ssrc = None
        if purpose.protocol == ProtType.SRTP:
            ssrc = system_ssrc(self._db, self._env, self._conference, purpose)
        return CsSpec(
            send=True,
            cs_id=cs_id,
            ssrc=ssrc,
            protocol=purpose.protocol.value,
            spi=self._keys[purpose].spi,
        )


def purposes_of(conference: Conference, session: Session) -> list[tuple[CryptoSession, Purpose]]:
    """Return the crypto sessions of a member's session, each with its purpose."""
    seating = Seating(conference)
    return [
        (one, seating.purpose(one.entry.protocol, not session.is_local(one)))
        for one in session.crypto_sessions
    ]
