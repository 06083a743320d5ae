"""The crypto sessions of a member, and the owners of SSRCs.

A member has one crypto session to send for each of their streams. For each purpose, they have one
crypto session to receive, which stands for everyone else's streams. All streams of a purpose use
one group key, so no two of them may have the same SSRC (TR 33.828 5.3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mikeytool.conference import mixer_rows, purpose_suites, rows
from mikeytool.conference.database import Db
from mikeytool.conference.model import Conference, GroupKey, Member, Purpose, Topology
from mikeytool.conference.purposes import cs_ids, purpose_of
from mikeytool.conference.seat_keys import seat_keys
from mikeytool.exchange.crypto_sessions import CsSpec, set_session_data
from mikeytool.exchange.environment import Environment
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import ErrorNo, ProtType

MOST_SSRCS = 256
"""How many SSRCs a seat can have under the keys that are in use, those that it gave up included."""


def check_number(db: Db, seat: Member) -> None:
    """Raise Refused for a seat that has had too many SSRCs under the keys that are in use."""
    if len(rows.had_ssrcs(db, seat.number)) > MOST_SSRCS:
        raise Refused(
            f"{seat.identity} has had {MOST_SSRCS} SSRCs under these keys; more there are after a"
            " change of keys (conference rekey)"
        )


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


def mixer_stream(
    db: Db, env: Environment, conference: Conference, purpose: Purpose, member: int | None
) -> tuple[int, int]:
    """Return the SSRC of the mixer's stream to a seat, or to everybody, and its highest index."""
    found = mixer_rows.stream_to(db, conference.number, purpose, member)
    while found is None:
        drawn = fresh_ssrc(env)
        if rows.claim_ssrc(db, conference.number, drawn, None, purpose, member):
            found = drawn, -1
    return found


def claim(
    db: Db, env: Environment, conference: Conference, member: int, purpose: Purpose, wanted: int
) -> int:
    """Return the SSRC that a member gets: the wanted one, or another when that is taken."""
    ssrc = wanted
    while not rows.claim_ssrc(db, conference.number, ssrc, member, purpose):
        ssrc = fresh_ssrc(env)
    return ssrc


def with_ssrc(entry: GenericIdEntry, ssrc: int) -> GenericIdEntry:
    """Return an SRTP crypto session with another SSRC; ROC and SEQ stay."""
    data = ssrc.to_bytes(4) + entry.session_data[4:]
    return entry.copy(session_data=data, session_data_length=None)


def with_session_data(
    entry: GenericIdEntry, ssrc: int, roc: int | None, seq: int | None
) -> GenericIdEntry:
    """Return an SRTP crypto session with an SSRC, and ROC and SEQ unless they are None."""
    changed = entry.copy()
    set_session_data(changed, ssrc, CsSpec(send=True, roc=roc, seq=seq))
    return changed


def with_spi(entry: GenericIdEntry, spi: bytes) -> GenericIdEntry:
    """Return a crypto session under another key."""
    return entry.copy(spi=spi, spi_length=None)


def is_from_member(entry: GenericIdEntry) -> bool:
    """Return whether a member who offers a new crypto session sends in it (interpretation 14)."""
    return bool(entry.protocol == ProtType.SRTP and entry.session_data)


Streams = Sequence[tuple[GenericIdEntry, bool]]
"""The crypto sessions of a member, each with whether the member sends in it."""


class CallInPlan:
    """The crypto sessions of an answer to a caller, or of a call-out: an `Arrangement`.

    `keys` are the keys of the conference, of all purposes. `streams` are those that the caller
    offers; None for a call-out.
    """

    def __init__(
        self,
        db: Db,
        env: Environment,
        conference: Conference,
        seat: Member,
        keys: Sequence[GroupKey],
        streams: Streams | None,
    ) -> None:
        self._db, self._env, self._conference, self._member = db, env, conference, seat.number
        self._calls_out = streams is None
        self._streams = [
            (entry, purpose_of(conference, entry.cs_id, entry.protocol), by_member)
            for entry, by_member in streams or ()
        ]
        own = seat_keys(keys, seat.number, seat.identity)
        self._keys = {key.purpose: key for key in own}
        self._received: set[Purpose] = set()
        self._used: set[Purpose] = set()
        self._reports: set[Purpose] = set()

    def fits(self, entry: GenericIdEntry, policy: SP) -> bool:
        """Return whether a policy is that of the purpose of a crypto session."""
        return purpose_suites.fits(self._conference, entry, policy)

    def arrange(self, entry: GenericIdEntry, by_member: bool) -> GenericIdEntry:
        """Set the group key and, for SRTP, the SSRC of a crypto session that the caller offered."""
        purpose = purpose_of(self._conference, entry.cs_id, entry.protocol)
        if entry.protocol == ProtType.SRTP:
            arranged = self._from_member if by_member else self._for_everyone_else
            entry = arranged(entry, purpose)
        return with_spi(entry, self._spi(purpose))

    def _from_member(self, entry: GenericIdEntry, purpose: Purpose) -> GenericIdEntry:
        """Set the SSRC of what the member sends."""
        return with_ssrc(entry, self._claimed(int.from_bytes(entry.session_data[:4]), purpose))

    def _claimed(self, wanted: int, purpose: Purpose) -> int:
        return claim(self._db, self._env, self._conference, self._member, purpose, wanted)

    def _spi(self, purpose: Purpose) -> bytes:
        self._used.add(purpose)
        return self._keys[purpose].spi

    def _for_everyone_else(self, entry: GenericIdEntry, purpose: Purpose) -> GenericIdEntry:
        """Set the Session Data of what the member receives.

        A second crypto session of the purpose gets an SSRC that nobody sends with.
        """
        if purpose not in self._received:
            self._received.add(purpose)
            return with_session_data(entry, *self._received_stream(purpose))
        unused = self._claimed(fresh_ssrc(self._env), purpose)
        is_any = self._conference.topology == Topology.RELAY
        return with_session_data(entry, unused, *((None, None) if is_any else (0, 0)))

    def _received_stream(self, purpose: Purpose) -> tuple[int, int | None, int | None]:
        """Return SSRC, ROC and SEQ of what the member receives.

        A mixer's stream has ROC and SEQ, so that the member receives no other (interpretation 45).
        Where others send what they like, the SSRC is one that no stream has, and for a member who
        only listens it is theirs: their RTCP has an SSRC, too.
        """
        db, env, conference = self._db, self._env, self._conference
        if conference.topology == Topology.RELAY:
            if self._listens(purpose):
                return self._claimed(fresh_ssrc(env), purpose), None, None
            return system_ssrc(db, env, conference, purpose), None, None
        to = self._member if conference.topology == Topology.MIX_MINUS else None
        ssrc, highest = mixer_stream(db, env, conference, purpose, to)
        return ssrc, (highest + 1) >> 16, (highest + 1) & 0xFFFF

    def _listens(self, purpose: Purpose) -> bool:
        """Return whether a caller sends nothing of a purpose; a call-out leaves that open."""
        sends = (one == purpose and by_member for _, one, by_member in self._streams)
        return not self._calls_out and not any(sends)

    @property
    def purposes(self) -> list[Purpose]:
        """The purposes of the streams, and of what was added."""
        used = {purpose for _, purpose, _ in self._streams} | self._used
        return [purpose for purpose in self._keys if purpose in used]

    def kemac_keys(self) -> list[KeyData]:
        """Return the keys that a member gets, those of `purposes`."""
        return [self._keys[purpose].key_data() for purpose in self.purposes]

    def added(self) -> list[CsSpec]:
        """Return crypto sessions for what the caller left out, but needs.

        That is the direction to receive of their media lines, and all that is not media; and with a
        mixer an SSRC for the RTCP of who only listens. A media line that they do not have is not
        added, and they do not get its key, unless they leave everything to the system.
        """
        found: dict[Purpose, set[bool]] = {}
        for _, purpose, by_member in self._streams:
            found.setdefault(purpose, set()).add(by_member)
        missing = [
            one
            for one in self._conference.purposes
            if False not in found.get(one, set())
            and (one in found or not found or one.protocol != ProtType.SRTP)
        ]
        taken = {entry.cs_id for entry, _, _ in self._streams}
        made = [self._own(purpose, self._free_id(purpose, taken)) for purpose in missing]
        listening = [one for one in self._conference.media if self._lacks_ssrc(one, missing)]
        return made + [self._for_reports(one, self._free_id(one, taken)) for one in listening]

    def _lacks_ssrc(self, purpose: Purpose, added: Sequence[Purpose]) -> bool:
        """Return whether a member would have no SSRC for their RTCP of a purpose that they have.

        In a relay, and with a second crypto session to receive, one of those has an SSRC of theirs.
        """
        if self._conference.topology == Topology.RELAY or purpose in self._reports:
            return False
        received = sum(one == purpose for _, one, _ in self._streams)
        return self._listens(purpose) and (received == 1 or purpose in added)

    def _for_reports(self, purpose: Purpose, cs_id: int) -> CsSpec:
        """Return a crypto session in which nothing is sent: its SSRC is the member's, for RTCP."""
        ssrc = self._claimed(fresh_ssrc(self._env), purpose)
        return CsSpec(send=True, cs_id=cs_id, ssrc=ssrc, roc=0, seq=0, spi=self._spi(purpose))

    def _free_id(self, purpose: Purpose, taken: set[int]) -> int:
        """Take a CS ID for a crypto session of a purpose, if possible that of its media line."""
        first, second = cs_ids(self._conference, purpose)
        is_media = purpose.protocol == ProtType.SRTP
        of_line: tuple[int, ...] = (second, first) if is_media else (first, second)
        if self._conference.lines and not is_media:
            of_line = ()  # the member may have media in this place
        others = range(2 * max(len(self._conference.purposes), len(Purpose)) + 1, 256)
        for cs_id in (*of_line, *others):
            if cs_id not in taken:
                taken.add(cs_id)
                return int(cs_id)
        raise Refused(
            "the offer leaves no room for the crypto sessions of the conference",
            ErrorNo.INVALID_SP,
        )

    def offer(self) -> list[CsSpec]:
        """Return the crypto sessions of a call-out.

        For each purpose there is one from the system and, with SRTP, one for the member's own
        stream.
        """
        specs = []
        for purpose, policy in purpose_suites.policies_of(self._conference).items():
            first, second = cs_ids(self._conference, purpose)
            numbers = (policy.policy_no,)
            specs.append(replace(self._own(purpose, first), policies=numbers))
            if purpose.protocol == ProtType.SRTP:
                spi = self._spi(purpose)
                specs.append(CsSpec(send=False, cs_id=second, spi=spi, policies=numbers))
        return specs

    def _own(self, purpose: Purpose, cs_id: int) -> CsSpec:
        """Return a crypto session of the system."""
        ssrc, roc, seq = None, None, None
        if purpose.protocol == ProtType.SRTP:
            ssrc, roc, seq = self._received_stream(purpose)
        return CsSpec(
            send=True,
            cs_id=cs_id,
            ssrc=ssrc,
            roc=roc,
            seq=seq,
            protocol=purpose.protocol.value,
            spi=self._spi(purpose),
        )
