"""Contexts of session files: what a session sends and receives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mikeytool.client.session_files import SessionFile, locked_session, with_sent
from mikeytool.exchange.session import CryptoSession
from mikeytool.media.contexts import ReceiverContext, SenderContext, sender_context
from mikeytool.media.settings import Settings
from mikeytool.media.suite_policies import srtp_suite
from mikeytool.srtp.index import WINDOW, Highest
from mikeytool.srtp.master_key import MasterKey
from mikeytool.srtp.notes import Notes
from mikeytool.srtp.sender import Sender
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import srtp_session_data
from mikeytool.wire.registry import ProtType

if TYPE_CHECKING:
    import sqlite3

    from mikeytool.client.state import ClientState, Stream


_REKEY = (
    "{}: it is time to replace the keys, as the ticket wants (TRr), with transfer update --kemac;"
    " after that time the session cannot send any more"
)


@dataclass
class SessionStream:
    """An SRTP crypto session of a session file, in which one end sends."""

    path: Path
    content: SessionFile
    crypto_session: CryptoSession

    @property
    def ssrc(self) -> int | None:
        """The SSRC of the crypto session, None for any."""
        session = self.content.established
        return None if session.admits_any(self.crypto_session) else self.crypto_session.ssrc

    @property
    def name(self) -> str:
        """The name that messages and the report use."""
        return f"{self.path} CS {self.crypto_session.entry.cs_id}"

    def index_name(self, ssrc: int) -> str:
        """The name of the indices of an SSRC under this key in the session file."""
        entry = self.crypto_session.entry
        return f"{entry.cs_id} {entry.spi.hex()} {ssrc:08x}"

    def master_keys(self, now_ns: int | None) -> list[MasterKey]:
        """Its master keys with SPIs as MKIs; a key that an update just replaced comes first."""
        session, one = self.content.established, self.crypto_session
        now = time.time_ns() if now_ns is None else now_ns
        spis = [*session.still_valid(one, now), one.entry.spi]
        found = [session.media_key(one, spi) for spi in spis]
        return [MasterKey(media.key, media.salt, media.spi) for media in found]

    def highest(self, rocs: Mapping[int, int]) -> dict[int, Highest]:
        """The highest indices used so far, by SSRC.

        ROC and SEQ of the Session Data say where the stream of its own SSRC starts, or goes on
        after an update (RFC 6043 6.1.1), unless `rocs` does.
        """
        found: dict[int, Highest] = {}
        for name, (rtp, rtcp) in self.content.sent.items():
            cs_id, _, ssrc = name.split()
            # The packet index of a stream continues when an update gives it another key.
            if int(cs_id) == self.crypto_session.entry.cs_id:
                before = found.get(int(ssrc, 16), Highest())
                found[int(ssrc, 16)] = Highest(max(before.rtp, rtp), max(before.rtcp, rtcp))
        own = self.ssrc
        _, roc, seq = srtp_session_data(self.crypto_session.entry) or (0, None, None)
        if own is not None and own not in rocs and roc is not None and seq is not None:
            before = found.get(own, Highest())
            found[own] = Highest(max(before.rtp, (roc << 16 | seq) - 1), before.rtcp)
        return found


def srtp_streams(path: Path, content: SessionFile) -> Iterator[SessionStream]:
    """The SRTP crypto sessions of a session file."""
    for one in content.established.crypto_sessions:
        if one.entry.protocol == ProtType.SRTP:
            yield SessionStream(path, content, one)


@contextmanager
def session_senders(
    paths: Sequence[Path], settings: Settings
) -> Iterator[tuple[list[SenderContext], Callable[[], None]]]:
    """Lock session files, and yield the contexts that encrypt the streams they send.

    The function yielded with the contexts writes the used indices into the files. Packets may be
    sent only after that. Raises StateError and WireError for a file that cannot be read, Refused
    for a session that is not set up, and UsageError as `SessionSenders` does.
    """
    with ExitStack() as stack:
        # Imported here because few commands need a database.
        from mikeytool.client.state import open_state

        files = [(path, stack.enter_context(locked_session(path))) for path in paths]
        senders = SessionSenders(files, settings, stack.enter_context(closing(open_state())))
        yield senders.contexts, senders.save


class SessionSenders:
    """Encrypts the streams of sessions, each with its own key, and remembers the indices used."""

    def __init__(
        self,
        files: Sequence[tuple[Path, SessionFile]],
        settings: Settings,
        state: ClientState,
    ) -> None:
        """Take the streams that sessions send.

        Raises UsageError if there are none or if two sessions send the same SSRC, and Refused for a
        file that is older than another copy of it, or whose keys had to be replaced before.
        """
        self._files = files
        self._state = state
        self._settings = settings
        self._senders: list[tuple[SessionStream, Sender]] = []
        self._saved = {path: content.sent for path, content in files}
        self._claimed = {name for _, content in files for name in content.sent}
        self.contexts: list[SenderContext] = []
        taken: set[int] = set()
        for path, content in files:
            session, now = content.established, settings.now_ns
            is_due = session.check_rekeyed(time.time_ns() if now is None else now)
            for stream in srtp_streams(path, content):
                if session.is_local(stream.crypto_session):
                    self._add(stream, taken)
            if is_due and self._senders:
                self._senders[-1][1].notes.add(_REKEY.format(path))
        if not self._senders:
            raise UsageError("the session has no SRTP stream to send")
        self._marks = list(self._known())
        state.refuse_sent_further(self._marks)
        remote = frozenset(
            ssrc
            for _, content in files
            for one in content.established.crypto_sessions
            if not content.established.is_local(one) and (ssrc := one.ssrc) is not None
        )
        self.contexts.insert(0, SenderContext("", _refuse_remote, Notes(), remote - taken))
        if settings.any_ssrc:
            stream, sender = self._senders[0]
            self.contexts.append(sender_context(stream.name, sender))

    def _add(self, stream: SessionStream, taken: set[int]) -> None:
        ssrc, settings = stream.ssrc, self._settings
        if ssrc is None:
            return
        if ssrc in taken:
            raise UsageError(f"two sessions send SSRC {ssrc:#010x}; take one at a time")
        taken.add(ssrc)
        sender = Sender(
            settings.adapted(srtp_suite(stream.crypto_session)),
            stream.master_keys(settings.now_ns)[-1],
            with_cryptex=settings.with_cryptex,
            mki=settings.write_mki,
            highest=stream.highest(settings.rocs),
            roc=settings.rocs,
            window=settings.window or WINDOW,
        )
        self._senders.append((stream, sender))
        self.contexts.append(sender_context(stream.name, sender, frozenset({ssrc})))

    def save(self) -> None:
        """Write the highest indices into the session files, so that none is ever used twice.

        Raises Refused if another copy of a file has been sent further, and then writes nothing.
        """
        marks = [
            self._mark(stream, ssrc, *highest)
            for stream, sender in self._senders
            for ssrc, highest in sender.highest.items()
        ]
        changed = [(path, content, self._sent(path)) for path, content in self._files]
        changed = [each for each in changed if each[2] != self._saved[each[0]]]
        if marks == self._marks and not changed:
            return
        with self._state.sending(self._marks, marks) as db:
            for path, content, sent in changed:
                self._claim(db, path)
                with_sent(content, sent).write(path, force=True)
        self._saved.update((path, sent) for path, _, sent in changed)
        self._marks = marks

    def _known(self) -> Iterator[Stream]:
        """How far their streams were used, according to the session files."""
        for stream, sender in self._senders:
            for ssrc in sender.highest.keys() | {stream.ssrc}:
                if ssrc is not None:
                    rtp, rtcp = stream.content.sent.get(stream.index_name(ssrc), (-1, -1))
                    yield self._mark(stream, ssrc, rtp, rtcp)

    def _mark(self, stream: SessionStream, ssrc: int, rtp: int, rtcp: int) -> Stream:
        from mikeytool.client.state import Stream

        master = stream.master_keys(self._settings.now_ns)[-1]
        return Stream(master.key, master.salt, ssrc, rtp, rtcp)

    def _sent(self, path: Path) -> dict[str, list[int]]:
        """The highest indices used by the session in a file, in the format of the file."""
        return {
            stream.index_name(ssrc): list(highest)
            for stream, sender in self._senders
            if stream.path == path
            for ssrc, highest in sender.highest.items()
        }

    def _claim(self, db: sqlite3.Connection, path: Path) -> None:
        """Claim SSRCs beyond the session's own, so that no other session sends them as well."""
        new = [
            (name, stream, ssrc)
            for stream, sender in self._senders
            if stream.path == path
            for ssrc in sender.highest
            if ssrc != stream.ssrc and (name := stream.index_name(ssrc)) not in self._claimed
        ]
        if not new:
            return
        from mikeytool.client.state import claim_stream

        for _, stream, ssrc in new:
            master = stream.master_keys(self._settings.now_ns)[-1]
            claim_stream(db, master.key, master.salt, ssrc)
        self._claimed.update(name for name, _, _ in new)


def _refuse_remote(packet: bytes, _source: str, _destination: str) -> bytes:
    raise Refused("its SSRC is the other end's to send; its key stream is used there")


def session_receivers(paths: Sequence[Path], settings: Settings) -> list[ReceiverContext]:
    """The contexts that decrypt the streams of sessions, each with its own key.

    A receiving crypto session without an SSRC accepts any SSRC except this end's own. The first
    source seen with an SSRC owns it.

    Raises UsageError without a stream, Refused for a session that is not set up, StateError
    and WireError for a file that cannot be read.
    """
    found: list[ReceiverContext] = []
    for path in paths:
        found += receivers_of_session(path, SessionFile.read(path), settings)
    if not found:
        raise UsageError("the session has no SRTP stream")
    exact = [each for each in found if each.ssrcs is not None]
    if settings.any_ssrc and exact:
        first = exact[0]
        found.append(ReceiverContext(first.name, first.suite, first.master_keys, settings))
    return found


def receivers_of_session(
    path: Path, content: SessionFile, settings: Settings
) -> Iterator[ReceiverContext]:
    """The contexts that decrypt the streams of one session; `path` names it."""
    session = content.established
    own = frozenset(
        ssrc
        for one in session.crypto_sessions
        if session.is_local(one) and (ssrc := one.ssrc) is not None
    )
    for stream in srtp_streams(path, content):
        if stream.ssrc is not None:
            yield _session_receiver(stream, settings, frozenset({stream.ssrc}))
        elif not session.is_local(stream.crypto_session):
            yield _session_receiver(stream, settings, None, own)


def _session_receiver(
    stream: SessionStream,
    settings: Settings,
    ssrcs: frozenset[int] | None,
    own: frozenset[int] = frozenset(),
) -> ReceiverContext:
    rocs = {} if stream.ssrc is None else {stream.ssrc: stream.crypto_session.roc}
    return ReceiverContext(
        stream.name, srtp_suite(stream.crypto_session), stream.master_keys(settings.now_ns),
        settings, ssrcs=ssrcs, barred=own, owned=ssrcs is None, rocs=rocs,
    )  # fmt: skip
