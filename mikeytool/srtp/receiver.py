"""The receiver's side of SRTP and SRTCP (RFC 3711 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mikeytool.srtp.index import (
    RTCP_INDICES,
    RTP_INDICES,
    WINDOW,
    Clash,
    Duplicate,
    Highest,
    Known,
    Packets,
    Replayed,
    Unverified,
    check_roc,
    check_window,
    estimate,
)
from mikeytool.srtp.master_key import Lifetime, MasterKey, check_lengths, nearly
from mikeytool.srtp.notes import Notes
from mikeytool.srtp.packet import (
    RTCP_HEADER,
    RTP_HEADER,
    TRAILER,
    check_ssrc,
    is_rtcp,
    parse_rtcp,
    parse_rtp,
    rtp_fields,
)
from mikeytool.srtp.stream import Stream
from mikeytool.srtp.suites import Suite
from mikeytool.srtp.transform import rtcp_opener, rtp_opener
from mikeytool.wire.errors import Refused, UsageError, WireError

MOST_STREAMS = 4096
"""The most streams that are kept; so memory stays bounded."""
# The ROC may be off by this much at the first packet of a stream, and later, after a gap.
_FAR, _NEAR = 256, 2
# The first packets of an SSRC that do not verify are tried that far. The next ones are tried with
# ROCs one away, every second of them two, every fourth four and so on: a stream that follows
# packets of an unknown key is still found, and each of those costs some ten attempts. Each
# attempt is a chance to forge a tag, so shorter tags than this are not searched for.
_FULL_SEARCHES = 4
_SHORTEST_TAG = 4


class Receiver:
    """Verifies and decrypts the SRTP and SRTCP packets of any number of streams.

    A packet is opened with the key whose MKI it has, if the tag verifies; else without MKI, with
    the newest key first. A stream changes only with packets that verify. When a packet does not
    verify with the most likely ROC, its neighbours are tried, most of them for the first packet
    of a stream.

    `notes` has what is worth knowing and no error: a ROC that was found, a source that changed,
    a key whose life ends, packets without authentication. While `searches` is False, only the
    most likely ROC is tried.
    """

    def __init__(
        self,
        suite: Suite,
        master_keys: Sequence[MasterKey],
        *,
        ssrcs: frozenset[int] | None = None,
        barred: frozenset[int] = frozenset(),
        owned: bool = False,
        mki: bool = False,
        window: int = WINDOW,
        roc: Mapping[int, int] | None = None,
    ) -> None:
        """Take the live master keys into use, oldest first.

        `ssrcs`, if given, are the only ones accepted; `barred` are rejected. With `owned` the
        first source seen with an SSRC keeps it, else a stream may move to another source.
        `mki` says that every packet has an MKI, for suites without a tag. `window` is the
        number of newest indices, 64 or more, among which a late packet is accepted. `roc` is
        the ROC of the first packet of an SSRC, 0 where absent.

        Raises UsageError for no key, a key or salt of the wrong length, and a window or ROC
        out of range.
        """
        if not master_keys:
            raise UsageError(f"no master key to decrypt {suite.name} with; give at least one")
        for each in master_keys:
            check_lengths(suite, each)
        check_window(window)
        for ssrc, value in (roc or {}).items():
            check_roc(ssrc, value)
        self.notes = Notes()
        self.searches = True
        self._suite = suite
        self._ssrcs = ssrcs
        self._barred = barred
        self._owned = owned
        self._window = window
        self._roc = dict(roc or {})
        newest_first = list(enumerate(master_keys))[::-1]
        attempts = [(number, each, each.mki) for number, each in newest_first if each.mki]
        named = len(attempts)
        attempts += [(number, each, b"") for number, each in newest_first]
        self._rtcp_openers = [(rtcp_opener(suite, key, mki), n) for n, key, mki in attempts]
        if mki and not suite.rtp_tag_length:
            del attempts[named:]
        self._rtp_openers = [(rtp_opener(suite, key, mki), n) for n, key, mki in attempts]
        self._lifetimes = {
            number: Lifetime(each, self.notes)
            for number, each in enumerate(master_keys)
            if each.lifetime is not None
        }
        self._keys = len(master_keys)
        self._streams: dict[tuple[int, str], Stream] = {}
        self._packets: dict[tuple[int, int, bool], Packets] = {}
        self._owners: dict[int, str] = {}
        self._failed: dict[int, int] = {}  # packets of an SSRC that did not verify

    def assume_roc(self, ssrc: int, roc: int) -> None:
        """Take this ROC for that of the first packet of an SSRC."""
        self._roc[ssrc] = roc

    @property
    def streams(self) -> dict[tuple[int, str], Stream]:
        """The streams with an accepted packet, by SSRC and destination."""
        return self._streams

    @property
    def highest(self) -> dict[int, Highest]:
        """The highest indices received, by SSRC; that of RTP, shifted right by 16, is the ROC."""
        found: dict[int, Highest] = {}
        for (ssrc, _), stream in sorted(self._streams.items()):
            (rtp, rtcp), more = found.get(ssrc, Highest()), stream.highest
            found[ssrc] = Highest(max(rtp, more.rtp), max(rtcp, more.rtcp))
        return found

    # The tag is verified before the replay list is checked (RFC 3711 3.3 has the other order):
    # the same packets pass, and a forgery is never taken for a replay.

    def unprotect(self, packet: bytes, source: str = "", destination: str = "") -> bytes:
        """Return the RTP or RTCP packet in an SRTP or SRTCP packet (told apart by RFC 5761 4).

        `destination`, an address and port, tells streams with the same SSRC apart; `source` is
        where the packet came from.

        Raises WireError if the packet cannot be read, Replayed if it is authentic and was
        received before, Clash if another one had its index under its key, and Refused if its
        SSRC is not allowed or its tag does not verify.
        """
        # Written out, with short cuts for a plain header and for packets in order, since calls
        # for each step would take as long as the cryptography. The plain header is
        # version 2, no CSRC, no extension; and not RTCP.
        if len(packet) >= RTP_HEADER and packet[0] & 0xDF == 0x80 and not 192 <= packet[1] <= 223:
            sequence, ssrc = rtp_fields(packet)
            start = RTP_HEADER
        elif is_rtcp(packet):
            return self._unprotect_rtcp(packet, source, destination)
        else:
            ssrc, sequence, start = parse_rtp(packet)
        stream = self._streams.get((ssrc, destination))
        window = stream.window if stream else None
        if stream is None or window is None:
            self._check_ssrc(ssrc)
            stream = stream or Stream(ssrc, source, destination)
            index, reach = self._first_index(ssrc, sequence), _FAR
        else:
            index, reach = window.next, _NEAR
            if index & 0xFFFF != sequence or not sequence:
                index = _index(ssrc, index - 1, sequence)
        likely = index
        for open_, key in self._rtp_openers:  # noqa: B007
            clear = open_(packet, start, ssrc, index)
            if clear is not None:
                break
        else:
            if not self.searches:
                raise Unverified(_NO_TAG)
            clear, key, index = self._search(packet, start, ssrc, index, reach)
        packets = stream.packets.get(key)
        if (
            window is not None
            and packets is not None
            and index == window.next == packets.next
            and source == stream.source == packets.source
            and not self._lifetimes
            and index < _NEARLY_RTP
        ):
            window.next = packets.next = index + 1
            packets.hashes[index & packets.mask] = hash(packet)
            stream.received += 1
        else:
            try:
                self._accept(stream, packet, index, key, source, rtcp=False)
            except Duplicate as error:
                error.clear = clear
                raise
            if index != likely:
                self._note_roc(ssrc, index, likely >> 16)
        return clear

    def _unprotect_rtcp(self, packet: bytes, source: str, destination: str) -> bytes:
        ssrc = parse_rtcp(packet)
        self._check_ssrc(ssrc)
        for open_, key in self._rtcp_openers:  # noqa: B007
            opened = open_(packet, ssrc)
            if opened is not None:
                break
        else:
            self._check_room(packet, RTCP_HEADER + TRAILER + self._suite.rtcp_tag_length)
            raise Unverified(
                f"the tag of an RTCP packet of SSRC 0x{ssrc:08x} does not verify; "
                "check the key and the suite"
            )
        clear, index = opened
        stream = self._streams.get((ssrc, destination)) or Stream(ssrc, source, destination)
        try:
            self._accept(stream, packet, index, key, source, rtcp=True)
        except Duplicate as error:
            error.clear = clear
            raise
        return clear

    def _check_ssrc(self, ssrc: int) -> None:
        check_ssrc(ssrc, self._ssrcs)
        if ssrc in self._barred:
            raise Refused(f"SSRC 0x{ssrc:08x} is this end's own; nobody else may send it")

    def _accept(
        self, stream: Stream, packet: bytes, index: int, key: int, source: str, *, rtcp: bool
    ) -> None:
        """Record an authentic packet, or raise Replayed, Clash or Refused."""
        ssrc, kind = stream.ssrc, "SRTCP" if rtcp else "SRTP"
        packets = self._packets.get((ssrc, key, rtcp))
        seen = hash(packet)
        known = packets.known(index, seen) if packets else Known.NEW
        if packets and known is Known.OTHER:
            raise Clash(
                f"SSRC 0x{ssrc:08x}: two different {kind} packets with index {index} under one "
                f"key, {_from(packets.source)} and {_from(source)}; each stream needs an SSRC "
                "or a key of its own"
            )
        owner = self._owners.get(ssrc, source)
        if self._owned and owner != source:
            raise Clash(
                f"SSRC 0x{ssrc:08x} belongs to {owner or 'the first source'}, {_from(source)} "
                "nobody may send it; the sender has to choose another SSRC"
            )
        if (ssrc, stream.destination) not in self._streams and len(self._streams) >= MOST_STREAMS:
            raise Refused(f"more than {MOST_STREAMS} streams; choose some of them by their SSRC")
        lifetime = self._lifetimes.get(key)
        if lifetime:
            lifetime.check(kind)
        try:
            if rtcp:
                stream.record_rtcp(index, self._window)
            else:
                stream.record_rtp(index, self._window)
        except Replayed as error:
            if known is not Known.SAME or packets is None:
                raise
            copy = Duplicate(str(error))
            copy.behind = packets.next - 1 - index
            raise copy from None
        if lifetime:
            lifetime.count(kind)
        if index >= (_NEARLY_RTCP if rtcp else _NEARLY_RTP):
            self.notes.add(
                f"SSRC 0x{ssrc:08x} has used 15 of 16 {kind} packet indices of its master key; "
                "agree on a new key soon"
            )
        if packets is None:
            packets = self._packets[ssrc, key, rtcp] = Packets(self._window, index, source)
        if not rtcp and not self._suite.rtp_tag_length:
            self.notes.add(
                f"{self._suite.name}: nothing verifies RTP packets, neither who sent them nor "
                "whether key and ROC are right"
            )
        self._note_source(stream, known, packets.source, source)
        if known is not Known.SAME:
            packets.note(index, seen, source)
        (stream.control if rtcp else stream.packets)[key] = packets
        stream.source = source
        self._owners.setdefault(ssrc, source)
        self._streams[ssrc, stream.destination] = stream

    def _note_source(self, stream: Stream, known: Known, before: str, source: str) -> None:
        name = f"SSRC 0x{stream.ssrc:08x}"
        if known is Known.SAME:
            # The same stream would have refused it as a replay.
            self.notes.add(
                f"{name}: the same packets were captured twice, {_from(before)} and "
                f"{_from(source)} to {stream.destination}"
            )
        elif known is Known.FORGOTTEN:
            self.notes.add(
                f"{name}: indices that packets {_from(before)} had long before come again, "
                f"{_from(source)} to {stream.destination}; if the packets are not the same, one "
                "key stream encrypts two streams, and each needs an SSRC or a key of its own"
            )
        elif source != before:
            self.notes.add(f"{name} has moved, it came {_from(before)} and now {_from(source)}")

    def _note_roc(self, ssrc: int, index: int, likely: int) -> None:
        self._failed.pop(ssrc, None)
        self.notes.add(
            f"SSRC 0x{ssrc:08x}, sequence number {index & 0xFFFF}: the ROC is {index >> 16} and "
            f"not {likely}, found by trying"
        )

    def _first_index(self, ssrc: int, sequence: int) -> int:
        """Return the likely index of the first RTP packet of an SSRC at a destination."""
        elsewhere = [
            packets.next
            for key in range(self._keys)
            if (packets := self._packets.get((ssrc, key, False))) is not None
        ]
        if elsewhere:
            return _index(ssrc, max(elsewhere) - 1, sequence)
        return self._roc.get(ssrc, 0) << 16 | sequence

    def _search(
        self, packet: bytes, start: int, ssrc: int, index: int, reach: int
    ) -> tuple[bytes, int, int]:
        """Try the ROCs around that of `index`; returns packet, number of key, and index.

        Raises Refused if none verifies, WireError if the packet is cut short.
        """
        self._check_room(packet, start + self._suite.rtp_tag_length)
        roc, sequence = index >> 16, index & 0xFFFF
        reach = self._reach(ssrc, reach)
        for distance in range(1, reach + 1):
            for other in (roc + distance, roc - distance):
                if 0 <= other < 1 << 32:
                    index = other << 16 | sequence
                    for open_, key in self._rtp_openers:
                        clear = open_(packet, start, ssrc, index)
                        if clear is not None:
                            return clear, key, index
        if not self._suite.rtp_tag_length:
            raise Unverified(
                f"SSRC 0x{ssrc:08x}, sequence number {sequence}: no key has the MKI at the end "
                "of the packet; check the key"
            )
        raise Unverified(
            f"the tag of SSRC 0x{ssrc:08x}, sequence number {sequence} does not verify; "
            f"check the key, the suite and the ROC (taken to be {roc}, and {reach} around it)"
        )

    def _reach(self, ssrc: int, most: int) -> int:
        """Return how far to search for the ROC of a packet that does not verify, and count it."""
        if self._suite.rtp_tag_length < _SHORTEST_TAG:
            return 0
        failed = self._failed.get(ssrc, 0) + 1
        if failed == 1 and len(self._failed) >= MOST_STREAMS:
            return min(most, _NEAR)
        self._failed[ssrc] = failed
        return most if failed <= _FULL_SEARCHES else min(most, failed & -failed)

    def _check_room(self, packet: bytes, needed: int) -> None:
        if len(packet) < needed:
            raise WireError(
                f"the packet ends after {len(packet)} octets and takes at least {needed} with "
                f"the tag of {self._suite.name}; check the suite, or leave the packet out",
                payload="authentication tag",
                offset=len(packet),
            )


_NO_TAG = "the tag does not verify with the likely ROC"
_NEARLY_RTP, _NEARLY_RTCP = nearly(RTP_INDICES), nearly(RTCP_INDICES)


def _index(ssrc: int, highest: int, sequence: int) -> int:
    """Return the likely index of a packet; Refused if there is none left."""
    index = estimate(highest, sequence)
    if index < 0:
        # There are no packets before ROC 0: this one is far ahead, not far behind.
        return sequence
    if index >= RTP_INDICES:
        raise Refused(
            f"SSRC 0x{ssrc:08x}, sequence number {sequence} lies after the last of the "
            "2^48 packets that a master key may protect; agree on a new key"
        )
    return index


def _from(source: str) -> str:
    return f"from {source}" if source else "from the same source"
