"""Senders and receivers of session files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mikeytool.cli.options.clock import now_ns
from mikeytool.client.session_files import SessionFile
from mikeytool.exchange.session import CryptoSession
from mikeytool.media.handlers import Handler, Keys, receiving, sending
from mikeytool.media.suite_policies import srtp_suite
from mikeytool.srtp import Highest, MasterKey, Receiver, Sender
from mikeytool.srtp.context import Notes
from mikeytool.srtp.index import WINDOW
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import srtp_session_data
from mikeytool.wire.registry import ProtType


@dataclass
class SessionStream:
    """An SRTP crypto session of a session file."""

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
        """How messages call it."""
        return f"{self.path} CS {self.crypto_session.entry.cs_id}"

    def index_name(self, ssrc: int) -> str:
        """The name of the indices of an SSRC under this key in the session file."""
        entry = self.crypto_session.entry
        return f"{entry.cs_id} {entry.spi.hex()} {ssrc:08x}"

    def masters(self) -> list[MasterKey]:
        """Its master keys with the SPIs as MKIs, the one that an update has just replaced first."""
        session, one = self.content.established, self.crypto_session
        spis = [*one.overlap(now_ns()), one.entry.spi]
        found = [session.media_key(one, spi) for spi in spis]
        return [MasterKey(media.key, media.salt, media.spi) for media in found]

    def highest(self, rocs: dict[int, int]) -> dict[int, Highest]:
        """The indices used before, RTP and RTCP each for itself.

        Before the first RTP packet, ROC and SEQ of the Session Data say where its own stream
        starts (RFC 6043 6.1.1), unless `rocs` do.
        """
        found: dict[int, Highest] = {}
        for name, (rtp, rtcp) in self.content.sent.items():
            cs_id, _, ssrc = name.split()
            # A stream goes on in its packet index when an update gives it another key.
            if int(cs_id) == self.crypto_session.entry.cs_id:
                before = found.get(int(ssrc, 16), Highest())
                found[int(ssrc, 16)] = Highest(max(before.rtp, rtp), max(before.rtcp, rtcp))
        own = self.ssrc
        _, roc, seq = srtp_session_data(self.crypto_session.entry) or (0, None, None)
        if own is not None and own not in rocs and roc is not None and seq is not None:
            before = found.get(own, Highest())
            if before.rtp < 0:
                found[own] = Highest((roc << 16 | seq) - 1, before.rtcp)
        return found


def srtp_streams(path: Path, content: SessionFile) -> Iterator[SessionStream]:
    """The SRTP crypto sessions of a session file."""
    for one in content.established.crypto_sessions:
        if one.entry.protocol == ProtType.SRTP:
            yield SessionStream(path, content, one)


class SessionSenders:
    """Encrypts the streams of sessions, each with its own key."""

    def __init__(self, files: Sequence[tuple[Path, SessionFile]], keys: Keys) -> None:
        """Take the sessions' own streams; raises UsageError without any, or for one twice."""
        self._senders: list[tuple[SessionStream, Sender]] = []
        self.handlers: list[Handler] = []
        taken: set[int] = set()
        for path, content in files:
            session = content.established
            for stream in srtp_streams(path, content):
                if session.is_local(stream.crypto_session):
                    self._add(stream, keys, taken)
        if not self._senders:
            raise UsageError("the session has no SRTP stream to send")
        remote = frozenset(
            ssrc
            for _, content in files
            for one in content.established.crypto_sessions
            if not content.established.is_local(one) and (ssrc := one.ssrc) is not None
        )
        self.handlers.insert(0, Handler("", _refuse_remote, Notes(), remote - taken))
        if keys.any_ssrc:
            self.handlers.append(sending(self._senders[0][0].name, self._senders[0][1]))

    def _add(self, stream: SessionStream, keys: Keys, taken: set[int]) -> None:
        ssrc = stream.ssrc
        if ssrc is None:
            return
        if ssrc in taken:
            raise UsageError(f"two sessions send SSRC {ssrc:#010x}; take one at a time")
        taken.add(ssrc)
        sender = Sender(
            srtp_suite(stream.crypto_session),
            stream.masters()[-1],
            mki=keys.mki is not None,
            highest=stream.highest(keys.roc),
            roc=keys.roc,
            window=keys.window or WINDOW,
        )
        self._senders.append((stream, sender))
        self.handlers.append(sending(stream.name, sender, frozenset({ssrc})))

    def sent(self, path: Path) -> dict[str, list[int]]:
        """The highest indices used of the session in a file, as the file has them."""
        return {
            stream.index_name(ssrc): list(highest)
            for stream, sender in self._senders
            if stream.path == path
            for ssrc, highest in sender.highest.items()
        }

    def foreign(self, path: Path) -> Iterator[tuple[str, MasterKey, int]]:
        """Index name, key and SSRC of what is sent under another SSRC than the session's."""
        for stream, sender in self._senders:
            if stream.path == path:
                for ssrc in sender.highest:
                    if ssrc != stream.ssrc:
                        yield stream.index_name(ssrc), stream.masters()[-1], ssrc


def _refuse_remote(packet: bytes, _source: str, _destination: str) -> bytes:
    raise Refused("its SSRC is the other end's to send; its key stream is used there")


def session_receivers(keys: Keys) -> list[Handler]:
    """Decrypt the streams of sessions, each with its own key.

    A crypto session to receive without SSRC is for any SSRC but this end's own, and the
    first source seen with an SSRC owns it. Raises UsageError without a stream.
    """
    found: list[Handler] = []
    for path in keys.sessions:
        found += session_streams_receivers(path, SessionFile.read(path), keys)
    if not found:
        raise UsageError("the session has no SRTP stream")
    exact = [each for each in found if each.ssrcs is not None]
    if keys.any_ssrc and exact:
        found.append(replace(exact[0], ssrcs=None))
    return found


def session_streams_receivers(path: Path, content: SessionFile, keys: Keys) -> Iterator[Handler]:
    """Decrypt the streams of one session, which `path` names."""
    session = content.established
    own = frozenset(
        ssrc
        for one in session.crypto_sessions
        if session.is_local(one) and (ssrc := one.ssrc) is not None
    )
    for stream in srtp_streams(path, content):
        if stream.ssrc is not None:
            yield _session_receiver(stream, keys, frozenset({stream.ssrc}))
        elif not session.is_local(stream.crypto_session):
            yield _session_receiver(stream, keys, None, own)


def _session_receiver(
    stream: SessionStream,
    keys: Keys,
    ssrcs: frozenset[int] | None,
    own: frozenset[int] = frozenset(),
) -> Handler:
    roc = keys.roc
    if stream.ssrc is not None:
        roc = {stream.ssrc: stream.crypto_session.roc, **roc}
    receiver = Receiver(
        srtp_suite(stream.crypto_session),
        stream.masters(),
        barred=own,
        owned=ssrcs is None,
        window=keys.window or WINDOW,
        roc=roc,
    )
    return replace(receiving(stream.name, receiver, ssrcs), barred=own)
