"""The sender's side of SRTP and SRTCP (RFC 3711 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mikeytool.srtp.context import Highest, MasterKey, check_lengths, check_ssrc
from mikeytool.srtp.index import RTCP_INDICES, RTP_INDICES, estimate
from mikeytool.srtp.packet import RTP_HEADER, is_rtcp, parse_rtcp, parse_rtp, rtp_fields
from mikeytool.srtp.suites import Suite
from mikeytool.srtp.transform import rtcp_sealer, rtp_sealer
from mikeytool.wire.errors import Refused, UsageError


class Sender:
    """Protects the RTP and RTCP packets of any number of SSRCs with one master key.

    Packets of an SSRC come in the order of their sequence numbers. A packet whose index was
    used, or is lower than one used, is refused: encrypting twice with one key stream gives
    both payloads away (RFC 3711 9.1). To keep that true for the same master key in a later
    run, save `highest` and hand it to the next Sender.
    """

    def __init__(
        self,
        suite: Suite,
        master_key: MasterKey,
        *,
        mki: bool = False,
        ssrcs: frozenset[int] | None = None,
        highest: Mapping[int, Highest] | None = None,
    ) -> None:
        """Take a master key into use.

        With `mki` its MKI goes into each packet. `ssrcs`, if given, are the only ones
        protected. `highest` is what an earlier Sender used; without it an SSRC starts with
        ROC 0 and SRTCP index 0.

        Raises UsageError for a key or salt of the wrong length, for `mki` without an MKI,
        and for a `highest` that is no index.
        """
        check_lengths(suite, master_key)
        if mki and not master_key.mki:
            raise UsageError("the MKI is to be written and the master key has none; name one")
        written = master_key.mki if mki else b""
        self._seal_rtp = rtp_sealer(suite, master_key, written)
        self._seal_rtcp = rtcp_sealer(suite, master_key, written)
        self._ssrcs = ssrcs
        self._rtp: dict[int, int] = {}
        self._rtcp: dict[int, int] = {}
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
        """The highest indices used, by SSRC: what the next run under this key must know."""
        return {
            ssrc: Highest(self._rtp.get(ssrc, -1), self._rtcp.get(ssrc, -1))
            for ssrc in sorted(self._rtp.keys() | self._rtcp.keys())
        }

    def protect(self, packet: bytes) -> bytes:
        """Return the SRTP or SRTCP packet for an RTP or RTCP packet (RFC 5761 4 decides which).

        Raises WireError if the header cannot be read, and Refused if the SSRC is not
        allowed, the index was used, the key's last index was, or the payload is too long
        for AES-CM (2^20 octets); the packet then has used up no index.
        """
        return next(self.protect_all([packet]))

    def protect_all(self, packets: Iterable[bytes]) -> Iterator[bytes]:
        """Protect packets one after the other; raises what `protect` raises."""
        # Written out, with short cuts for a plain header and for packets in order: a call
        # for each step would take as long as the cryptography does.
        used, allowed, seal = self._rtp, self._ssrcs, self._seal_rtp
        for packet in packets:
            # The plain header: version 2, no CSRC, no extension; and not RTCP.
            if (
                len(packet) >= RTP_HEADER
                and packet[0] & 0xDF == 0x80
                and not 192 <= packet[1] <= 223
            ):
                sequence, ssrc = rtp_fields(packet)
                start = RTP_HEADER
            elif is_rtcp(packet):
                yield self._protect_rtcp(packet)
                continue
            else:
                ssrc, sequence, start = parse_rtp(packet)
            if allowed is not None:
                check_ssrc(ssrc, allowed)
            index = used.get(ssrc, -1) + 1
            if not sequence or index & 0xFFFF != sequence:
                index = _index_after(index - 1, sequence, ssrc)
            protected = seal(packet, start, ssrc, index)
            used[ssrc] = index
            yield protected

    def _protect_rtcp(self, packet: bytes) -> bytes:
        ssrc = parse_rtcp(packet)
        check_ssrc(ssrc, self._ssrcs)
        index = self._rtcp.get(ssrc, -1) + 1
        if index >= RTCP_INDICES:
            raise _worn_out(ssrc, "RTCP", 31)
        protected = self._seal_rtcp(packet, ssrc, index)
        self._rtcp[ssrc] = index
        return protected


def _index_after(highest: int, sequence: int, ssrc: int) -> int:
    """Return the index of the packet with that sequence number; Refused if it cannot be sent."""
    index = sequence if highest < 0 else estimate(highest, sequence)
    if index <= highest:
        raise Refused(
            f"SSRC 0x{ssrc:08x} has used RTP packet index {highest} and sequence number "
            f"{sequence} does not come after it; send packets in order and only once"
        )
    if index >= RTP_INDICES:
        raise _worn_out(ssrc, "RTP", 48)
    return index


def _worn_out(ssrc: int, what: str, bits: int) -> Refused:
    return Refused(
        f"SSRC 0x{ssrc:08x} has used all 2^{bits} {what} packet indices of its master key; "
        "agree on a new key"
    )
