"""A mixer: the members' packets in, packets of its own streams out (TR 33.828 5.3.2, TS 24.147).

What to mix and how is the caller's; the mixer opens and protects the packets, says whose they are,
and follows the ledger: those put out are refused at once, and a new group key is used at once.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from mikeytool.client.session_files import SessionFile, locked_session
from mikeytool.client.state import ClientState, Stream, open_state
from mikeytool.conference import mixer_rows
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.mixer_session import session_now
from mikeytool.conference.model import MixerStream
from mikeytool.conference.relay import Relay
from mikeytool.media.session_contexts import srtp_streams
from mikeytool.srtp.index import RTCP_INDICES, RTP_INDICES, Highest
from mikeytool.srtp.master_key import MasterKey
from mikeytool.srtp.packet import is_rtcp, parse_rtcp, parse_rtp
from mikeytool.srtp.sender import Sender
from mikeytool.wire.errors import Refused, UsageError

AHEAD = 1 << 12
"""How many packet indices of a stream are written down before they are used.

A mixer that was killed goes on after them. Receivers take that for lost packets: it is far less
than the 2^15 after which they would miss a rollover.
"""
_MOST_CSRCS = 15
_header = struct.Struct("!BBHII").pack


@dataclass(frozen=True, slots=True)
class Heard:
    """An RTP packet of a member: who sent it, the fields of its header, and its payload."""

    who: str
    ssrc: int
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    payload: bytes


class Mixer:
    """The mixer of one purpose of a conference, from the session file that `set_up_mixer` made.

        with Mixer.open(Path("conference.db"), Path("mixer.session")) as mixer:
            heard = mixer.take(packet)  # raises for a packet of anyone who is not in
            for stream in mixer.streams:
                if heard and heard.ssrc not in stream.without:
                    out = mixer.send(stream, heard.payload, heard.timestamp, [heard.ssrc])

    The packet indices used are written into the file before they are used, so that none is used
    again after a crash; of two mixers that run from one file, the second is refused. What has been
    received is written down with them, so that a mixer that starts again refuses older packets.
    """

    def __init__(
        self,
        state: ConferenceState,
        memory: ClientState,
        path: Path,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take a session file; `memory` is the client's state. Raises what `open` does."""
        self._state, self._memory, self._path = state, memory, path
        self._file = SessionFile.read(path)
        self._filed = self._file.sent
        self._csb_id = self._file.established.csb_id
        with state.snapshot() as db:
            found = mixer_rows.conference_of(db, self._csb_id)
        if found is None:
            raise UsageError(f"{path}: this is not the session of a mixer in {state.path}")
        conference, self._purpose = found
        self._relay = Relay(state, clock, conference.focus, received=_received(self._file))
        self._used: dict[int, Highest] = {}
        self._noted: dict[int, Highest] = {}
        self._follow()
        memory.refuse_sent_further(self._marks())

    @classmethod
    @contextmanager
    def open(
        cls, state: Path, session: Path, clock: Callable[[], int] = time.time_ns
    ) -> Iterator[Self]:
        """Run the mixer of a session file, and write down in the end what it has used.

        `clock` gives Unix nanoseconds. Raises UsageError for a session that is no mixer's, Refused
        for a file that is behind another copy of it, and StateError for files that cannot be read.
        """
        with ExitStack() as stack:
            opened = stack.enter_context(closing(ConferenceState(state)))
            memory = stack.enter_context(closing(open_state()))
            mixer = cls(opened, memory, session, clock)
            try:
                yield mixer
            finally:
                mixer.save()

    @property
    def streams(self) -> list[MixerStream]:
        """The streams to send now."""
        self._refresh()
        return list(self._streams.values())

    def take(self, packet: bytes, source: str = "", destination: str = "") -> Heard | None:
        """Open a packet of a member. An RTCP packet is verified, and gives None.

        Raises what `Relay.open` does, and Refused for a packet of another purpose.
        """
        clear, seat = self._relay.opened(packet, source, destination)
        if seat.purpose != self._purpose or seat.who is None:
            raise Refused(f"SSRC {seat.ssrc:#010x} sends {seat.purpose}, no {self._purpose}")
        return None if is_rtcp(clear) else _heard(clear, seat.who)

    def send(
        self,
        stream: MixerStream,
        payload: bytes,
        timestamp: int,
        speakers: Collection[int] = (),
        *,
        payload_type: int = 0,
        marker: bool = False,
    ) -> bytes:
        """Return the next packet of a stream, protected, with the speakers' SSRCs as CSRCs.

        A packet has room for 15 of them. Raises Refused for a stream that is no longer sent, such
        as that of somebody who was put out.
        """
        self._check(stream)
        ssrc, used = stream.ssrc, self._used[stream.ssrc]
        index = used.rtp + 1
        if index > self._reserved[ssrc].rtp:
            self._write(AHEAD)
        named = list(speakers)[:_MOST_CSRCS]
        second = marker << 7 | payload_type
        header = _header(0x80 | len(named), second, index & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        packet = header + b"".join(one.to_bytes(4) for one in named) + payload
        protected = self._sender.protect(packet)
        self._used[ssrc] = used._replace(rtp=index)
        return protected

    def report(self, stream: MixerStream, packet: bytes) -> bytes:
        """Protect an RTCP packet, whose first SSRC is that of the stream. Raises as `send` does."""
        self._check(stream)
        ssrc, used = stream.ssrc, self._used[stream.ssrc]
        if not is_rtcp(packet) or parse_rtcp(packet) != ssrc:
            raise UsageError(f"this is no RTCP packet of SSRC {ssrc:#010x}")
        if used.rtcp + 1 > self._reserved[ssrc].rtcp:
            self._write(AHEAD)
        protected = self._sender.protect(packet)
        self._used[ssrc] = used._replace(rtcp=used.rtcp + 1)
        return protected

    def save(self) -> None:
        """Write down the indices that were used, and what was received."""
        self._write(0)

    def _check(self, stream: MixerStream) -> None:
        """Raise Refused unless a stream is sent."""
        self._refresh()
        if stream.ssrc not in self._streams:
            raise Refused(f"SSRC {stream.ssrc:#010x} is no longer a stream of this mixer")

    def _refresh(self) -> None:
        self._relay.refresh()
        if self._relay.changes != self._changes:
            self._follow()

    def _follow(self) -> None:
        """Take over the streams and the key that the ledger has now."""
        self._changes = self._relay.changes
        before, conference = self._file.established, self._relay.conference
        with self._state.snapshot() as db:
            if mixer_rows.mixer(db, conference.number, self._purpose) != self._csb_id:
                raise Refused(f"{self._path}: another session file is this mixer now")
            session = session_now(db, conference, self._purpose, before, self._csb_id)
            streams = mixer_rows.streams(db, conference, self._purpose)
        self._streams = {one.ssrc: one for one in streams}
        self._noted = {one.ssrc: _in_ledger(one) for one in streams} | self._noted
        self._file = replace(self._file, session=session)
        self._contexts = {
            one.ssrc: one
            for one in srtp_streams(self._path, self._file)
            if one.ssrc is not None and session.is_local(one.crypto_session)
        }
        # Under a new key the indices go on, so that receivers keep their ROC.
        self._used = {ssrc: self._furthest(ssrc) for ssrc in self._contexts}
        self._reserved = {ssrc: self._written(ssrc) for ssrc in self._contexts}
        suite = conference.media[self._purpose]
        self._sender = Sender(suite, self._key(), highest=self._used)

    def _check_alone(self, streams: Iterable[MixerStream]) -> None:
        """Refuse to go on if another program has used a stream, such as one with a copy."""
        for one in streams:
            if self._noted.get(one.ssrc, _in_ledger(one)) != _in_ledger(one):
                raise Refused(f"{self._path}: another mixer sends SSRC {one.ssrc:#010x}")

    def _furthest(self, ssrc: int) -> Highest:
        """Return how far a stream has been used, or may have been."""
        if ssrc in self._used:
            return self._used[ssrc]
        filed = self._contexts[ssrc].highest({}).get(ssrc, Highest())
        return Highest(*map(max, filed, _in_ledger(self._streams[ssrc])))

    def _written(self, ssrc: int) -> Highest:
        """Return how far a stream may go under its key, according to the file."""
        return Highest(*self._file.sent.get(self._contexts[ssrc].index_name(ssrc), (-1, -1)))

    def _key(self) -> MasterKey:
        key = self._file.established.keys[0]
        return MasterKey(key.key, key.salt or b"", key.spi or b"")

    def _write(self, ahead: int) -> None:
        """Write how far each stream may go: what is used, and `ahead` more indices."""
        limits = {
            ssrc: Highest(
                min(used.rtp + ahead, RTP_INDICES - 1), min(used.rtcp + ahead, RTCP_INDICES - 1)
            )
            for ssrc, used in self._used.items()
        }
        named = {self._contexts[ssrc].index_name(ssrc): list(one) for ssrc, one in limits.items()}
        current = self._key().mki.hex()
        kept = {name: pair for name, pair in self._file.sent.items() if name.split()[1] == current}
        content = replace(self._file, sent={**kept, **named}, received=_names(self._relay.highest))
        conference = self._relay.conference
        with self._state.transaction() as db:
            self._check_alone(mixer_rows.streams(db, conference, self._purpose))
            mixer_rows.put_indices(db, conference.number, limits)
        self._noted |= limits
        with locked_session(self._path) as found:
            if found.sent != self._filed:
                raise Refused(f"{self._path}: another mixer uses this file")
            with self._memory.sending(self._marks(), self._marks(limits)):
                content.write(self._path, force=True)
        self._file, self._filed, self._reserved = content, content.sent, limits

    def _marks(self, limits: Mapping[int, Highest] | None = None) -> list[Stream]:
        """Return how far the streams may go, as the client's state records it."""
        key, limits = self._key(), self._reserved if limits is None else limits
        return [Stream(key.key, key.salt, ssrc, *limit) for ssrc, limit in limits.items()]


def _in_ledger(stream: MixerStream) -> Highest:
    """Return how far a stream may have been used, according to the ledger."""
    return Highest(stream.highest, stream.highest_rtcp)


def _received(file: SessionFile) -> dict[bytes, dict[int, Highest]]:
    """Return the highest indices received by SPI and SSRC."""
    return {
        bytes.fromhex(spi): {int(ssrc, 16): Highest(*pair) for ssrc, pair in streams.items()}
        for spi, streams in file.received.items()
    }


def _names(received: Mapping[bytes, Mapping[int, Highest]]) -> dict[str, dict[str, list[int]]]:
    """Reverse `_received`."""
    return {
        spi.hex(): {f"{ssrc:08x}": list(one) for ssrc, one in streams.items()}
        for spi, streams in received.items()
    }


def _heard(packet: bytes, who: str) -> Heard:
    """Read an RTP packet; its padding is left out (RFC 3550 5.1)."""
    ssrc, sequence, start = parse_rtp(packet)
    payload = packet[start:]
    if packet[0] & 0x20 and payload:
        payload = payload[: max(len(payload) - payload[-1], 0)]
    timestamp = int.from_bytes(packet[4:8])
    return Heard(who, ssrc, packet[1] & 0x7F, packet[1] > 127, sequence, timestamp, payload)
