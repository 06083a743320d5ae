"""The sender's side of SRTP and SRTCP (RFC 3711 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Mapping

from mikeytool.srtp import cryptex
from mikeytool.srtp.index import (
    RTCP_INDICES,
    RTP_INDICES,
    WIDEST_WINDOW,
    WINDOW,
    Highest,
    check_roc,
    check_window,
    estimate,
)
from mikeytool.srtp.interface import RtpSealer
from mikeytool.srtp.master_key import Lifetime, MasterKey, check_lengths, nearly
from mikeytool.srtp.notes import Notes
from mikeytool.srtp.packet import RTP_HEADER, check_ssrc, is_rtcp, parse_rtcp, parse_rtp, rtp_fields
from mikeytool.srtp.suites import Suite
from mikeytool.srtp.transform import rtcp_sealer, rtp_sealer
from mikeytool.wire.errors import Refused, UsageError


class Sender:
    """Protects the RTP and RTCP packets of any number of SSRCs with one master key.

    The packets of an SSRC must come in the order of their sequence numbers; a late one is accepted
    only if this Sender has skipped its index. A packet is refused if its index was used, or may
    have been used in an earlier run: encrypting twice with the same key stream reveals both
    payloads (RFC 3711 9.1). To keep this guarantee in a later run with the same master key, save
    `highest` and give it to the next Sender. `notes` has warnings about what the suite leaves
    unprotected and about the end of the key's lifetime.
    """

    def __init__(
        self,
        suite: Suite,
        master_key: MasterKey,
        *,
        mki: bool = False,
        ssrcs: frozenset[int] | None = None,
        highest: Mapping[int, Highest] | None = None,
        roc: Mapping[int, int] | None = None,
        window: int = WINDOW,
        with_cryptex: bool = False,
    ) -> None:
        """Take a master key into use.

        With `mki` each packet carries the key's MKI. With `with_cryptex`, CSRCs and header
        extensions are encrypted too (RFC 9335), except extensions other than those of RFC 8285.
        `ssrcs`, if given, are the only ones protected. `highest` are the indices that an earlier
        Sender used; without them an SSRC starts with SRTCP index 0. `roc` is the ROC of the first
        packet of an SSRC in this run; if absent, it follows from `highest`, or is 0. `window` is
        the number of newest indices, 64 or more, among which a skipped index may still be used for
        a late packet.

        Raises UsageError for a key or salt of the wrong length, for `mki` without an MKI, for a
        `highest` that is not an index, and for a window or ROC out of range.
        """
        check_lengths(suite, master_key)
        if mki and not master_key.mki:
            raise UsageError("the MKI is to be written and the master key has none; name one")
        check_window(window)
        for ssrc, value in (roc or {}).items():
            check_roc(ssrc, value)
        written = master_key.mki if mki else b""
        self._seal_rtp = rtp_sealer(suite, master_key, written)
        self._seal_cryptex = (
            rtp_sealer(suite, master_key, written, with_cryptex=True) if with_cryptex else None
        )
        self._seal_rtcp = rtcp_sealer(suite, master_key, written)
        self.notes = Notes()
        if suite.leaves_open:
            self.notes.add(f"{suite.name}: {suite.leaves_open}")
        self._lifetime = None if master_key.lifetime is None else Lifetime(master_key, self.notes)
        self._ssrcs = ssrcs
        self._rtp: dict[int, int] = {}
        self._rtcp: dict[int, int] = {}
        self._roc = dict(roc or {})
        self._window = min(window, WIDEST_WINDOW)
        self._skipped: dict[int, set[int]] = {}
        for ssrc, (rtp, rtcp) in (highest or {}).items():
            if not (-1 <= rtp < RTP_INDICES and -1 <= rtcp < RTCP_INDICES):
                raise UsageError(
                    f"SSRC 0x{ssrc:08x} cannot go on after the indices {rtp} and {rtcp}; "
                    "give -1 to 2^48 - 1 for RTP, -1 to 2^31 - 1 for RTCP"
                )
            self._rtp[ssrc] = rtp
            self._rtcp[ssrc] = rtcp

    @property
    def highest(self) -> dict[int, Highest]:
        """The highest indices used, by SSRC; the next run with this key needs them."""
        return {
            ssrc: Highest(self._rtp.get(ssrc, -1), self._rtcp.get(ssrc, -1))
            for ssrc in sorted(self._rtp.keys() | self._rtcp.keys())
        }

    def protect(self, packet: bytes) -> bytes:
        """Return the SRTP or SRTCP packet for an RTP or RTCP packet (told apart by RFC 5761 4).

        Raises WireError if the header cannot be read, and Refused if the SSRC is not allowed,
        the index was used, the key's indices or its lifetime are used up, or the payload is too
        long for AES-CM (2^20 octets). In these cases no index is used up.
        """
        # Written out, with short cuts for a plain header and for packets in order, since calls
        # for each step would take as long as the cryptography. The plain header is
        # version 2, no CSRC, no extension; and not RTCP.
        seal = self._seal_rtp
        if len(packet) >= RTP_HEADER and packet[0] & 0xDF == 0x80 and not 192 <= packet[1] <= 223:
            sequence, ssrc = rtp_fields(packet)
            start = RTP_HEADER
        elif is_rtcp(packet):
            return self._protect_rtcp(packet)
        else:
            ssrc, sequence, start = parse_rtp(packet)
            if self._seal_cryptex is not None:
                packet, seal = self._marked(packet, ssrc)
        check_ssrc(ssrc, self._ssrcs)
        highest = self._rtp.get(ssrc, -1)
        index = highest + 1
        if not sequence or index & 0xFFFF != sequence or self._roc:
            index = self._index_of(highest, sequence, ssrc)
        if self._rtcp.get(ssrc, -1) == _LAST_RTCP:
            raise _worn_out(ssrc, "RTCP", 31)
        if self._lifetime:
            self._lifetime.check("SRTP")
        protected = seal(packet, start, ssrc, index)
        if index > highest:
            self._rtp[ssrc] = index
            if index > highest + 1 and highest >= 0:
                self._skip(ssrc, highest + 1, index)
        else:
            self._skipped[ssrc].remove(index)
        if self._roc:
            self._roc.pop(ssrc, None)
        if self._lifetime:
            self._lifetime.count("SRTP")
        if index >= _NEARLY_RTP:
            self._warn(ssrc, "SRTP")
        return protected

    def _marked(self, packet: bytes, ssrc: int) -> tuple[bytes, RtpSealer]:
        """Return a packet marked for Cryptex, or unchanged if impossible, and its sealer."""
        marked = cryptex.marked(packet)
        if marked is not None and self._seal_cryptex is not None:
            return marked, self._seal_cryptex
        if packet[0] & cryptex.HAS_EXTENSION:
            self.notes.add(
                f"SSRC 0x{ssrc:08x} has header extensions other than those of RFC 8285; "
                "they stay in the clear"
            )
        return packet, self._seal_rtp

    def _protect_rtcp(self, packet: bytes) -> bytes:
        ssrc = parse_rtcp(packet)
        check_ssrc(ssrc, self._ssrcs)
        index = self._rtcp.get(ssrc, -1) + 1
        if index >= RTCP_INDICES:
            raise _worn_out(ssrc, "RTCP", 31)
        if self._rtp.get(ssrc, -1) == _LAST_RTP:
            raise _worn_out(ssrc, "RTP", 48)
        if self._lifetime:
            self._lifetime.check("SRTCP")
        protected = self._seal_rtcp(packet, ssrc, index)
        self._rtcp[ssrc] = index
        if self._lifetime:
            self._lifetime.count("SRTCP")
        if index >= _NEARLY_RTCP:
            self._warn(ssrc, "SRTCP")
        return protected

    def _index_of(self, highest: int, sequence: int, ssrc: int) -> int:
        """Return the index for a sequence number; raises Refused if it was used."""
        roc = self._roc.get(ssrc)
        if roc is not None:
            index = roc << 16 | sequence
        else:
            index = sequence if highest < 0 else estimate(highest, sequence)
        behind = highest - index
        if behind >= self._window or (behind >= 0 and index not in self._skipped.get(ssrc, ())):
            wider = f", or with a window wider than {self._window}" * (behind >= self._window)
            raise Refused(
                f"SSRC 0x{ssrc:08x} has used RTP packet index {highest}, and sequence number "
                f"{sequence} does not come after it; send packets in order{wider}, and only once"
            )
        if index >= RTP_INDICES:
            raise _worn_out(ssrc, "RTP", 48)
        return index

    def _skip(self, ssrc: int, first: int, index: int) -> None:
        """Remember indices that were skipped; late packets may still use them."""
        oldest = index - self._window + 1
        missing = self._skipped.setdefault(ssrc, set())
        missing.update(range(max(first, oldest), index))
        if len(missing) > 2 * self._window:
            self._skipped[ssrc] = {each for each in missing if each >= oldest}

    def _warn(self, ssrc: int, kind: str) -> None:
        self.notes.add(
            f"SSRC 0x{ssrc:08x} has used 15 of 16 {kind} packet indices of its master key; "
            "agree on a new key soon"
        )


# A key expires when either is used up (RFC 3711 9.2).
_LAST_RTP, _LAST_RTCP = RTP_INDICES - 1, RTCP_INDICES - 1
_NEARLY_RTP, _NEARLY_RTCP = nearly(RTP_INDICES), nearly(RTCP_INDICES)


def _worn_out(ssrc: int, what: str, bits: int) -> Refused:
    return Refused(
        f"SSRC 0x{ssrc:08x} has used all 2^{bits} {what} packet indices of its master key; "
        "agree on a new key"
    )
