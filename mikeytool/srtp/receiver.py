"""The receiver's side of SRTP and SRTCP (RFC 3711 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mikeytool.srtp.context import Highest, MasterKey, check_lengths, check_ssrc
from mikeytool.srtp.index import RTP_INDICES, WINDOW, ReplayWindow, check_window, estimate
from mikeytool.srtp.packet import (
    RTCP_HEADER,
    RTP_HEADER,
    TRAILER,
    is_rtcp,
    parse_rtcp,
    parse_rtp,
    rtp_fields,
)
from mikeytool.srtp.suites import Suite
from mikeytool.srtp.transform import rtcp_opener, rtp_opener
from mikeytool.wire.errors import MikeyError, Refused, UsageError, WireError


class Receiver:
    """Verifies and decrypts the SRTP and SRTCP packets of any number of SSRCs.

    A packet is read with the key whose MKI stands in it, if the tag verifies; else without MKI,
    trying the newest key first. Nothing about an SSRC changes before one of its packets has
    verified.
    """

    def __init__(
        self,
        suite: Suite,
        master_keys: Sequence[MasterKey],
        *,
        ssrcs: frozenset[int] | None = None,
        window: int = WINDOW,
        roc: Mapping[int, int] | None = None,
    ) -> None:
        """Take the live master keys into use, oldest first.

        `ssrcs`, if given, are the only ones let in. `window` is the number of newest indices
        among which a late packet is taken, 64 to 32768. `roc` is the ROC of an SSRC's first
        packet, 0 where absent.

        Raises UsageError for no key, a key or salt of the wrong length, and a window or ROC
        out of range.
        """
        if not master_keys:
            raise UsageError(f"no master key to decrypt {suite.name} with; give at least one")
        for each in master_keys:
            check_lengths(suite, each)
        check_window(window)
        self._suite = suite
        self._ssrcs = ssrcs
        self._window = window
        self._roc = dict(roc or {})
        for ssrc, value in self._roc.items():
            if not 0 <= value < 1 << 32:
                raise UsageError(f"SSRC 0x{ssrc:08x} has ROC {value}; give 0 to 2^32 - 1")
        newest_first = master_keys[::-1]
        attempts = [(each, each.mki) for each in newest_first if each.mki]
        attempts += [(each, b"") for each in newest_first]
        self._rtp_openers = [rtp_opener(suite, each, mki) for each, mki in attempts]
        self._rtcp_openers = [rtcp_opener(suite, each, mki) for each, mki in attempts]
        self._rtp: dict[int, ReplayWindow] = {}
        self._rtcp: dict[int, ReplayWindow] = {}

    @property
    def highest(self) -> dict[int, Highest]:
        """The highest indices received, by SSRC; that of RTP, shifted right by 16, is the ROC."""
        rtp = {ssrc: window.next - 1 for ssrc, window in self._rtp.items()}
        rtcp = {ssrc: window.next - 1 for ssrc, window in self._rtcp.items()}
        return {
            ssrc: Highest(rtp.get(ssrc, -1), rtcp.get(ssrc, -1))
            for ssrc in sorted(rtp.keys() | rtcp.keys())
        }

    # A tag is verified before the replay list is asked (RFC 3711 3.3 has it the other way
    # round): the same packets pass, and a forgery is never taken for a replay.

    def unprotect(self, packet: bytes) -> bytes:
        """Return the RTP or RTCP packet of an SRTP or SRTCP packet (RFC 5761 4 decides which).

        Raises WireError if the packet cannot be read, Replayed if it is authentic and came
        before, and Refused if its SSRC is not allowed or its tag does not verify.
        """
        (result,) = self.unprotect_all([packet])
        if isinstance(result, MikeyError):
            raise result
        return result

    def unprotect_all(self, packets: Iterable[bytes]) -> Iterator[bytes | MikeyError]:
        """Unprotect packets one after the other; what `unprotect` raises stands in the place."""
        # Written out, with short cuts for a plain header and for packets in order: a call
        # for each step would take as long as the cryptography does.
        windows = self._rtp
        openers = self._rtp_openers
        result: bytes | MikeyError | None
        for packet in packets:
            try:
                # The plain header: version 2, no CSRC, no extension; and not RTCP.
                if (
                    len(packet) >= RTP_HEADER
                    and packet[0] & 0xDF == 0x80
                    and not 192 <= packet[1] <= 223
                ):
                    sequence, ssrc = rtp_fields(packet)
                    start = RTP_HEADER
                elif is_rtcp(packet):
                    yield self._unprotect_rtcp(packet)
                    continue
                else:
                    ssrc, sequence, start = parse_rtp(packet)
                window = windows.get(ssrc)
                if window is None or not sequence or (window.next & 0xFFFF) != sequence:
                    index = self._index(ssrc, sequence, window)
                else:
                    index = window.next
                for open_ in openers:
                    result = open_(packet, start, ssrc, index)
                    if result is not None:
                        break
                else:
                    raise self._failure(packet, start, ssrc, index)
                if window is None:
                    windows[ssrc] = ReplayWindow(self._window, index)
                elif index == window.next:
                    window.next = index + 1
                else:
                    window.accept(index)
            except MikeyError as error:
                result = error
            yield result

    def _unprotect_rtcp(self, packet: bytes) -> bytes:
        ssrc = parse_rtcp(packet)
        check_ssrc(ssrc, self._ssrcs)
        for open_ in self._rtcp_openers:
            opened = open_(packet, ssrc)
            if opened is not None:
                break
        else:
            self._check_room(packet, RTCP_HEADER + TRAILER + self._suite.rtcp_tag_length)
            raise Refused(
                f"the tag of an RTCP packet of SSRC 0x{ssrc:08x} does not verify; "
                "check the key and the suite"
            )
        clear, index = opened
        window = self._rtcp.get(ssrc)
        if window is None:
            self._rtcp[ssrc] = ReplayWindow(self._window, index)
        else:
            window.accept(index)
        return clear

    def _index(self, ssrc: int, sequence: int, window: ReplayWindow | None) -> int:
        """Return the likely index of a packet; Refused if its SSRC or the index may not be."""
        if window is None:
            check_ssrc(ssrc, self._ssrcs)
            return self._roc.get(ssrc, 0) << 16 | sequence
        index = estimate(window.next - 1, sequence)
        if index < 0:
            # No stream has packets before ROC 0: this one is far ahead, not far behind.
            return sequence
        if index >= RTP_INDICES:
            raise Refused(
                f"SSRC 0x{ssrc:08x}, sequence number {sequence} lies after the last of the "
                "2^48 packets that a master key may protect; agree on a new key"
            )
        return index

    def _failure(self, packet: bytes, start: int, ssrc: int, index: int) -> Refused:
        """Return why no key opens an RTP packet; raises WireError if it is cut short."""
        self._check_room(packet, start + self._suite.rtp_tag_length)
        return Refused(
            f"the tag of SSRC 0x{ssrc:08x}, sequence number {index & 0xFFFF} does not verify; "
            f"check the key, the suite and the ROC (taken to be {index >> 16})"
        )

    def _check_room(self, packet: bytes, needed: int) -> None:
        if len(packet) < needed:
            raise WireError(
                f"the packet ends after {len(packet)} octets and takes at least {needed} with "
                f"the tag of {self._suite.name}; check the suite, or leave the packet out",
                payload="authentication tag",
                offset=len(packet),
            )
