"""The receiver's side of SRTP and SRTCP (RFC 3711 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mikeytool.srtp.cryptex import is_cryptex
from mikeytool.srtp.in_order import InOrder
from mikeytool.srtp.index import (
    REMEMBERED,
    RTCP_INDICES,
    RTP_INDICES,
    WINDOW,
    Clash,
    Duplicate,
    Excluded,
    Highest,
    Known,
    Packets,
    Replayed,
    TooLate,
    Unverified,
    check_roc,
    check_window,
    estimate,
)
from mikeytool.srtp.interface import RtpOpener, Run, RunOpener
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
from mikeytool.srtp.rcc import behind_mki, carried_roc
from mikeytool.srtp.roc_search import (
    FAR,
    LONG_TAG,
    NEAR,
    SHORTEST_TAG,
    RocSearch,
    SearchBudget,
    around,
)
from mikeytool.srtp.stream import Stream
from mikeytool.srtp.suites import Cipher, Suite
from mikeytool.srtp.transform import opens_runs, rtcp_opener, rtp_opener, run_opener
from mikeytool.wire.errors import Refused, UsageError, WireError

MOST_STREAMS = 1 << 16
"""The most streams kept, which bounds memory."""
_WELL_REMEMBERED = 1 << 12
"""Of so many streams, the first ones, copies are told for longer; each takes 8,192 octets."""
LONGEST_FOUND_MKI = 8
"""The longest unannounced MKI, in octets, that is found by trying."""
_MKI_REACH = 8  # ROCs tried with each unannounced MKI
_MKI_KEYS = 4  # keys tried with each
_FOUND_MKIS = 16  # MKIs remembered
_RTCP_SEARCHES = 64  # RTCP packets on which they are tried; after that at growing intervals


class Receiver:
    """Verifies and decrypts the SRTP and SRTCP packets of any number of streams.

    A packet is opened with the key that matches its MKI, if the tag verifies; otherwise without
    MKI, with the newest key first. Only packets that verify change a stream. When a packet does not
    verify with the most likely ROC, others are tried: a few around it, and with tags of at least 8
    octets also more distant ones, as far as `budget` allows. An unannounced MKI of up to 8 octets,
    which belongs to no key, is found by the tag after it. Packets with the mark of Cryptex (RFC
    9335) are decrypted accordingly.

    `notes` has useful information that is not an error: a ROC that was found, a source that
    changed, a key near the end of its lifetime, packets without authentication. While `searches` is
    False, only the most likely ROC is tried.
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
        budget: SearchBudget | None = None,
        admits: Callable[[int], None] | None = None,
        received: Mapping[int, Highest] | None = None,
    ) -> None:
        """Take the live master keys into use, oldest first.

        `ssrcs`, if given, are the only ones accepted; `barred` are rejected. With `owned`, the
        first source seen with an SSRC keeps it; otherwise a stream may move to another source.
        `mki` says that every packet has an MKI, for suites without a tag. `window` is the number of
        newest indices, 64 or more, among which a late packet is accepted. `roc` is the ROC of the
        first packet of an SSRC, 0 if absent. `budget` bounds the searches for ROCs far from the
        likely one, and may be shared by receivers. `admits` is called with the SSRC of an authentic
        packet when a stream begins; it raises Excluded for one that may not. `received` are the
        `highest` of an earlier Receiver with these keys: a packet up to them counts as replayed.

        Raises UsageError if there is no key, a key or salt has the wrong length, or a window or ROC
        is out of range.
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
        self._carries_roc = suite.rcc is not None
        self._opens_runs = opens_runs(suite)
        self._ssrcs = ssrcs
        self._barred = barred
        self._owned = owned
        self._admits = admits
        self._window = window
        self._roc = dict(roc or {})
        self._received = dict(received or {})
        newest_first = list(enumerate(master_keys))[::-1]
        named = [(number, each, each.mki) for number, each in newest_first if each.mki]
        bare = [(number, each, b"") for number, each in newest_first]
        self._rtcp_attempts = named + bare
        # Without a tag to check, an announced MKI has to be present.
        self._rtp_attempts = named if mki and not suite.rtp_tag_length else named + bare
        self._found_mkis = 0
        self._proof = _proof(suite, master_keys)
        self._make_openers()
        self._lifetimes = {
            number: Lifetime(each, self.notes)
            for number, each in enumerate(master_keys)
            if each.lifetime is not None
        }
        self._unnamed = [each for each in newest_first if not each[1].mki][:_MKI_KEYS]
        self._keys = len(master_keys)
        self._streams: dict[tuple[int, str], Stream] = {}
        self._packets: dict[tuple[int, int, bool], Packets] = {}
        self._owners: dict[int, str] = {}
        self._failed_rtcp = 0
        self._search = RocSearch(suite.rtp_tag_length, budget)

    def _make_openers(self) -> None:
        suite = self._suite
        self._rtp_openers = [(rtp_opener(suite, key, mki), n) for n, key, mki in self._rtp_attempts]
        self._rtcp_openers = [
            (rtcp_opener(suite, key, mki), n) for n, key, mki in self._rtcp_attempts
        ]
        self._cryptex: list[tuple[RtpOpener, int]] | None = None
        self._run_openers: dict[int, RunOpener] = {}

    def _open_run(self, attempt: int, run: Run) -> list[bytes]:
        """Open packets as one of the openers does; what opens many is made when it is needed."""
        open_ = self._run_openers.get(attempt)
        if open_ is None:
            _, key, mki = self._rtp_attempts[attempt]
            open_ = self._run_openers[attempt] = run_opener(self._suite, key, mki)
        return open_(run)

    @property
    def _cryptex_openers(self) -> list[tuple[RtpOpener, int]]:
        if self._cryptex is None:
            self._cryptex = [
                (rtp_opener(self._suite, key, mki, with_cryptex=True), n)
                for n, key, mki in self._rtp_attempts
            ]
        return self._cryptex

    def assume_roc(self, ssrc: int, roc: int) -> None:
        """Use this ROC for the first packet of an SSRC."""
        self._roc[ssrc] = roc

    @property
    def streams(self) -> dict[tuple[int, str], Stream]:
        """The streams that have an accepted packet, by SSRC and destination."""
        return self._streams

    @property
    def highest(self) -> dict[int, Highest]:
        """The highest indices received, by SSRC; the RTP index shifted right by 16 is the ROC."""
        found: dict[int, Highest] = {}
        for (ssrc, _), stream in sorted(self._streams.items()):
            (rtp, rtcp), more = found.get(ssrc, Highest()), stream.highest
            found[ssrc] = Highest(max(rtp, more.rtp), max(rtcp, more.rtcp))
        return found

    # The tag is verified before the replay list is checked (RFC 3711 3.3 has the other order):
    # the same packets pass, and a forgery is never mistaken for a replay.

    def unprotect(self, packet: bytes, source: str = "", destination: str = "") -> bytes:
        """Return the RTP or RTCP packet in an SRTP or SRTCP packet (told apart by RFC 5761 4).

        `destination`, an address and port, distinguishes streams with the same SSRC. `source` is
        where the packet came from.

        Raises WireError if the packet cannot be read, Replayed if it is authentic and was received
        before, Clash if another packet had the same index under the same key, and Refused if its
        SSRC is not allowed or its tag does not verify.
        """
        # Written out, with short cuts for a plain header and for packets in order, since calls
        # for each step would take as long as the cryptography. The plain header is
        # version 2, no CSRC, no extension; and not RTCP.
        openers = self._rtp_openers
        if len(packet) >= RTP_HEADER and packet[0] & 0xDF == 0x80 and not 192 <= packet[1] <= 223:
            sequence, ssrc = rtp_fields(packet)
            start = RTP_HEADER
        elif is_rtcp(packet):
            return self._unprotect_rtcp(packet, source, destination)
        else:
            ssrc, sequence, start = parse_rtp(packet)
            if is_cryptex(packet):
                openers = self._cryptex_openers
        stream = self._streams.get((ssrc, destination))
        window = stream.window if stream else None
        if stream is None or window is None:
            self._check_ssrc(ssrc)
            stream = stream or Stream(ssrc, source, destination)
            index, reach = self._first_index(ssrc, sequence), FAR
        else:
            index, reach = window.next, NEAR
            if index & 0xFFFF != sequence or not sequence:
                index = _index(ssrc, index - 1, sequence)
        if self._carries_roc:
            roc = carried_roc(self._suite, packet, sequence)
            index = index if roc is None else roc << 16 | sequence
        likely = index
        for open_, key in openers:  # noqa: B007
            clear = open_(packet, start, ssrc, index)
            if clear is not None:
                break
        else:
            if not self.searches:
                raise Unverified(_NO_TAG)
            clear, key, index = self._find(packet, start, ssrc, index, reach)
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
            packets.hashes[index & packets.mask] = hash(packet[self._proof :])
            stream.received += 1
        else:
            try:
                self._accept(stream, packet, index, key, source, rtcp=False)
            except Duplicate as error:
                error.clear = clear
                raise
            if index != likely:
                self._search.found(ssrc)
                self._note_roc(ssrc, index, likely >> 16)
        return clear

    def in_order(self, ssrc: int, source: str, destination: str) -> InOrder | None:
        """The stream of a source, to open packets that come in order and from nowhere else.

        None if `unprotect` has more to do than that: there is no packet yet, or the key has a
        lifetime or is nearly used up, or packets carry their ROC.
        """
        stream = self._streams.get((ssrc, destination))
        if stream is None or stream.window is None or self._lifetimes or self._carries_roc:
            return None
        index = stream.window.next
        for attempt, (open_, key) in enumerate(self._rtp_openers):
            packets = stream.packets.get(key)
            if packets is not None and packets.next == index:
                is_only = source == stream.source == packets.source
                if not is_only or index >= _NEARLY_RTP - _MOST_IN_ORDER:
                    return None
                open_run = partial(self._open_run, attempt) if self._opens_runs else None
                return InOrder(stream, packets, open_, open_run, self._proof)
        return None

    def _unprotect_rtcp(self, packet: bytes, source: str, destination: str) -> bytes:
        ssrc = parse_rtcp(packet)
        self._check_ssrc(ssrc)
        for open_, key in self._rtcp_openers:  # noqa: B007
            opened = open_(packet, ssrc)
            if opened is not None:
                break
        else:
            self._check_room(packet, RTCP_HEADER + TRAILER + self._suite.rtcp_tag_length)
            found = self._find_rtcp_mki(packet, ssrc) if self.searches else None
            if found is None:
                raise Unverified(
                    f"the tag of an RTCP packet of SSRC 0x{ssrc:08x} does not verify; "
                    "check the key and the suite"
                )
            opened, key = found
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
        if self._admits is not None:
            self._admits(stream.ssrc)
        ssrc, kind = stream.ssrc, "SRTCP" if rtcp else "SRTP"
        packets = self._packets.get((ssrc, key, rtcp))
        seen = hash(packet if rtcp else packet[self._proof :])
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
            raise Excluded(f"more than {MOST_STREAMS} streams; choose some of them by their SSRC")
        if self._received and index <= self._received.get(ssrc, Highest())[rtcp]:
            raise TooLate(f"packet index {index} was used before this receiver began; drop it")
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
            is_early = len(self._packets) < _WELL_REMEMBERED
            remembered = max(self._window, REMEMBERED) if is_early else WINDOW
            packets = self._packets[ssrc, key, rtcp] = Packets(remembered, index, source)
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
            # In the same stream it would have been refused as a replay.
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
        earlier = self._received.get(ssrc, Highest()).rtp
        if earlier >= 0:
            return _index(ssrc, earlier, sequence)
        return self._roc.get(ssrc, 0) << 16 | sequence

    # --- what does not verify at once ---------------------------------------------------------

    def _find(
        self, packet: bytes, start: int, ssrc: int, index: int, reach: int
    ) -> tuple[bytes, int, int]:
        """Try other ROCs and unannounced MKIs; returns packet, number of key, index.

        Raises Refused if none verifies, WireError if the packet is cut short.
        """
        self._check_room(packet, start + self._suite.rtp_tag_length)
        roc, sequence = index >> 16, index & 0xFFFF
        reach = self._search.count(ssrc, reach)
        if carried_roc(self._suite, packet, sequence) is not None:
            reach = 0
        with_cryptex = is_cryptex(packet)
        openers = self._cryptex_openers if with_cryptex else self._rtp_openers
        for other in around(roc, reach):
            for open_, key in openers:
                clear = open_(packet, start, ssrc, other << 16 | sequence)
                if clear is not None:
                    return clear, key, other << 16 | sequence
        found = self._find_mki(packet, start, ssrc, index)
        if found is not None:
            return found
        lowest, highest = max(roc - reach, 0), roc + reach
        if reach:
            has_begun = self._has_window(ssrc)
            # Deriving session keys for each ROC takes longer than checking a tag.
            cost = len(openers) * (16 if self._suite.key_derivation_rate else 1)
            for other in self._search.far(ssrc, roc, reach, cost, backward=not has_begun):
                lowest, highest = min(lowest, other), max(highest, other)
                for open_, key in openers:
                    clear = open_(packet, start, ssrc, other << 16 | sequence)
                    if clear is not None:
                        return clear, key, other << 16 | sequence
        if not self._suite.rtp_tag_length:
            raise Unverified(
                f"SSRC 0x{ssrc:08x}, sequence number {sequence}: no key has the MKI at the end "
                "of the packet; check the key"
            )
        raise Unverified(
            f"the tag of SSRC 0x{ssrc:08x}, sequence number {sequence} does not verify; "
            f"check the key, the suite and the ROC (taken to be {roc}, tried from {lowest} to "
            f"{highest})"
        )

    def _has_window(self, ssrc: int) -> bool:
        return any((ssrc, key, False) in self._packets for key in range(self._keys))

    def _find_mki(
        self, packet: bytes, start: int, ssrc: int, index: int
    ) -> tuple[bytes, int, int] | None:
        """Open a packet with an unannounced MKI, and expect that MKI from now on."""
        if self._suite.rtp_tag_length < SHORTEST_TAG or not self._search.is_early(ssrc):
            return None
        sequence, with_cryptex = index & 0xFFFF, is_cryptex(packet)
        end = len(packet) - behind_mki(self._suite, sequence)
        is_long = self._suite.rtp_tag_length >= LONG_TAG
        rocs = [index >> 16, *around(index >> 16, _MKI_REACH if is_long else 0)]
        for length in range(1, min(LONGEST_FOUND_MKI, end - start) + 1):
            mki = packet[end - length : end]
            for number, key in self._unnamed:
                open_ = rtp_opener(self._suite, key, mki, with_cryptex=with_cryptex)
                for roc in rocs:
                    clear = open_(packet, start, ssrc, roc << 16 | sequence)
                    if clear is not None:
                        self._expect_mki(number, key, mki, ssrc)
                        return clear, number, roc << 16 | sequence
        return None

    def _find_rtcp_mki(self, packet: bytes, ssrc: int) -> tuple[tuple[bytes, int], int] | None:
        self._failed_rtcp += 1
        if self._failed_rtcp > _RTCP_SEARCHES and self._failed_rtcp & (self._failed_rtcp - 1):
            return None
        end = len(packet) - (
            0 if self._suite.cipher is Cipher.AES_GCM else self._suite.rtcp_tag_length
        )
        for length in range(1, min(LONGEST_FOUND_MKI, end - RTCP_HEADER - TRAILER) + 1):
            mki = packet[end - length : end]
            for number, key in self._unnamed:
                opened = rtcp_opener(self._suite, key, mki)(packet, ssrc)
                if opened is not None:
                    self._expect_mki(number, key, mki, ssrc)
                    return opened, number
        return None

    def _expect_mki(self, number: int, key: MasterKey, mki: bytes, ssrc: int) -> None:
        self._search.found(ssrc)
        self.notes.add(
            f"SSRC 0x{ssrc:08x}: its packets have the MKI {mki.hex()}, which nobody announced; "
            "it was found by trying"
        )
        found = min(self._found_mkis, _FOUND_MKIS - 1)
        for attempts in (self._rtp_attempts, self._rtcp_attempts):
            attempts[:] = [(number, key, mki), *attempts[:found], *attempts[self._found_mkis :]]
        self._found_mkis = found + 1
        self._make_openers()

    def _check_room(self, packet: bytes, needed: int) -> None:
        if len(packet) < needed:
            raise WireError(
                f"the packet ends after {len(packet)} octets and takes at least {needed} with "
                f"the tag of {self._suite.name}; check the suite, or leave the packet out",
                payload="authentication tag",
                offset=len(packet),
            )


_NO_TAG = "the tag does not verify with the likely ROC"
_MOST_IN_ORDER = 1 << 32  # packets between two calls of `in_order`
_NEARLY_RTP, _NEARLY_RTCP = nearly(RTP_INDICES), nearly(RTCP_INDICES)


def _index(ssrc: int, highest: int, sequence: int) -> int:
    """Return the likely index of a packet; raises Refused if none is left."""
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


def _proof(suite: Suite, keys: Sequence[MasterKey]) -> int:
    """Where the end of a packet begins that proves what is in it, for a slice.

    That is the tag, with the MKI. A short tag is no proof: then it is the whole packet.
    """
    if suite.rtp_tag_length < LONG_TAG or suite.rcc is not None:
        return 0
    longest = max(LONGEST_FOUND_MKI, *(len(key.mki) for key in keys))
    return -(suite.rtp_tag_length + longest)


def _from(source: str) -> str:
    return f"from {source}" if source else "from the same source"
