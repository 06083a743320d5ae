"""The session file of a mixer: its SSRCs from the ledger, and the group keys (TR 33.828 5.3.2).

A mixer holds the group key of a purpose as a member does. It receives the streams of those who are
in, and sends streams of its own: one to everybody, or in a conference with `mix-minus` one to each
seat. Whoever holds the file is the mixer. The ledger names it by its CSB ID, so that no two files
send one SSRC under one key.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from mikeytool.client.session_files import KIND, SessionFile, locked_session
from mikeytool.conference import mixer_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.group_keys import current_keys, rekey
from mikeytool.conference.membership import catch_up, the_conference
from mikeytool.conference.model import Conference, GroupKey, MixerStream, Purpose, Topology
from mikeytool.conference.ssrcs import mixer_stream
from mikeytool.conference.system import ConferenceSystem, Step
from mikeytool.exchange.environment import NS
from mikeytool.exchange.session import KEY_OVERLAP, CryptoSession, Session
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.media.session_contexts import srtp_streams
from mikeytool.srtp.index import Highest
from mikeytool.srtp.security_policy import policy_for
from mikeytool.storage.private_files import check_free
from mikeytool.wire.errors import Refused, StateError, UsageError
from mikeytool.wire.header import GenericIdEntry, SrtpSessionData
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import IdRole, ProtType, TicketFlag

_CS_IDS = range(1, 256)


@dataclass(frozen=True, slots=True)
class MixerSetUp:
    """The streams that a mixer sends, and how many of the members' its file has no room for.

    Packets of those are refused with the file. `Mixer`, which asks the ledger, takes them.
    """

    streams: list[MixerStream]
    left_out: int


def set_up_mixer(
    system: ConferenceSystem,
    focus: Identity | None,
    purpose: Purpose,
    path: Path,
    *,
    force: bool = False,
) -> MixerSetUp:
    """Write the session file of the mixer of a purpose, or bring it up to date.

    An existing file keeps its CSB ID and the packet indices that it has used, and gets the streams
    and keys of now. `force` makes a new file when the old one is lost: the group keys change first,
    because nobody knows which indices were used under them. The updates for the members wait, as
    after every change of keys.

    Raises UsageError for a purpose without media, Refused when the mixer has another file, and
    StateError for a file of something else.
    """
    with ExitStack() as stack:
        before = None
        if path.exists() and not force:
            before = stack.enter_context(locked_session(path))
        else:
            check_free(path, force=force, kind=KIND)

        def work(step: Step) -> tuple[Session, MixerSetUp]:
            return _set_up(step, focus, purpose, path, before, force=force)

        session, made = system.step(work)
        content = SessionFile(session) if before is None else replace(before, session=session)
        if content != before:
            content.write(path, force=before is not None or force)
    return made


def _set_up(
    step: Step,
    focus: Identity | None,
    purpose: Purpose,
    path: Path,
    before: SessionFile | None,
    *,
    force: bool,
) -> tuple[Session, MixerSetUp]:
    db, conference = step.db, the_conference(step.db, focus)
    if purpose.protocol != ProtType.SRTP or purpose not in conference.purposes:
        raise UsageError(f"{conference.focus} has no {purpose} to mix")
    conference, _ = catch_up(step, conference)
    known = mixer_rows.mixer(db, conference.number, purpose)
    if before is not None:
        _check_ours(before, conference, purpose, known, path)
    elif known is not None:
        if not force:
            raise Refused(
                f"the {purpose} mixer of {conference.focus} has another session file (CSB ID"
                f" {known:#010x}); name that one, or if it is lost add --force, which changes the"
                " group keys"
            )
        rekey(step, conference)
    else:
        current_keys(step, conference)
    conference = rows.conference(db, conference.number)
    own = None if before is None else before.established
    csb_id = int.from_bytes(step.env.random(4)) if own is None else own.csb_id
    mixer_rows.put_mixer(db, conference.number, purpose, csb_id)
    if conference.topology != Topology.MIX_MINUS:
        mixer_stream(db, step.env, conference, purpose, None)
    streams = mixer_rows.streams(db, conference, purpose)
    if before is not None:
        used = _used(path, before)
        further = {
            one.ssrc: Highest(*map(max, used[one.ssrc], (one.highest, one.highest_rtcp)))
            for one in streams
            if one.ssrc in used
        }
        mixer_rows.put_indices(db, conference.number, further)
    session = session_now(db, conference, purpose, own, csb_id)
    received = sum(not session.is_local(one) for one in session.crypto_sessions)
    left_out = mixer_rows.count_heard(db, conference.number, purpose) - received
    return session, MixerSetUp(streams, left_out)


def _used(path: Path, content: SessionFile) -> dict[int, Highest]:
    """Return the highest packet indices of each stream that the file has sent."""
    return {
        ssrc: highest
        for stream in srtp_streams(path, content)
        if content.established.is_local(stream.crypto_session)
        for ssrc, highest in stream.highest({}).items()
    }


def _check_ours(
    before: SessionFile, conference: Conference, purpose: Purpose, known: int | None, path: Path
) -> None:
    if before.session is None or before.session.csb_id != known:
        raise StateError(
            f"{path}: this is not the session of the {purpose} mixer of {conference.focus};"
            " choose another name"
        )


def session_now(
    db: Db, conference: Conference, purpose: Purpose, before: Session | None, csb_id: int
) -> Session:
    """Return the session of a mixer with the streams and keys that the ledger has now."""
    active, *replaced = _keys(db, conference, purpose)
    policy = policy_for(conference.media[purpose], 0)
    spi, old = active.spi, replaced[:1]
    since = (old[0].until_ns or 0) - KEY_OVERLAP * NS if old else 0

    def crypto_session(cs_id: int, ssrc: int, *, is_sent: bool) -> CryptoSession:
        # With ROC and SEQ, a crypto session to receive is for that SSRC alone.
        data = SrtpSessionData(ssrc=ssrc, roc=0, seq=0).build()
        entry = GenericIdEntry(
            cs_id=cs_id, protocol=ProtType.SRTP.value, policies=[0], spi=spi,
            s=0 if is_sent else 1, session_data=data[:4] if is_sent else data,
        )  # fmt: skip
        return CryptoSession(entry, policy, is_sent, tuple(key.spi for key in old), since)

    sent = [one.ssrc for one in mixer_rows.streams(db, conference, purpose)]
    room = max(len(_CS_IDS) - len(sent), 0)
    received = mixer_rows.heard(db, conference.number, purpose, room)
    ids = _cs_ids(sent, received, before)
    made = [
        crypto_session(ids[ssrc], ssrc, is_sent=is_sent)
        for ssrcs, is_sent in ((sent, True), (received, False))
        for ssrc in ssrcs
    ]
    return Session(
        csb_id=csb_id,
        role=IdRole.INITIATOR,
        local=conference.focus,
        remote=conference.focus,
        policy=TicketPolicy(prf=conference.profile.prf, flags=TicketFlag(0), responders=()),
        randr_i=b"",
        randr_r=b"",
        mpk=b"",
        keys=tuple(key.key_data() for key in (active, *old)),
        crypto_sessions=tuple(sorted(made, key=lambda one: one.entry.cs_id)),
        policies=(policy,),
    )


def _keys(db: Db, conference: Conference, purpose: Purpose) -> list[GroupKey]:
    """Return the group keys of a purpose that have not been wiped, newest first."""
    every = rows.group_keys(db, conference.number)
    found = [key for key in every if key.purpose == purpose and key.tek]
    if not found:
        raise Refused(f"{conference.focus} has no {purpose} key any more")
    return found


def _cs_ids(sent: Sequence[int], received: Sequence[int], before: Session | None) -> dict[int, int]:
    """Return the CS ID of each stream. That of one to send stays: it goes with the indices used."""
    if len(sent) > len(_CS_IDS):
        raise Refused(
            f"a mixer has room for {len(_CS_IDS)} streams, and more seats are in; create"
            " conferences of that size with --topology mixer"
        )
    had = () if before is None else before.crypto_sessions
    known = {one.ssrc: one.entry.cs_id for one in had if one.by_initiator}
    found = {ssrc: known[ssrc] for ssrc in sent if ssrc in known}
    taken = set(found.values())
    free = (cs_id for cs_id in _CS_IDS if cs_id not in taken)
    new = (ssrc for ssrc in (*sent, *received) if ssrc not in found)
    return found | dict(zip(new, free, strict=False))
