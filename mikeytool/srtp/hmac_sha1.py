"""HMAC-SHA1 (RFC 3711 4.2.1), and packets that it authenticates and another cipher encrypts.

Their layout follows figures 1 and 2 of RFC 3711: payload, trailer of RTCP, MKI, tag.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from mikeytool.srtp.interface import (
    Crypt,
    RtcpOpener,
    RtcpSealer,
    RtpOpener,
    RtpSealer,
    Run,
)
from mikeytool.srtp.kdf import SessionKeys
from mikeytool.srtp.packet import ENCRYPTED, RTCP_HEADER, TRAILER

_DIGEST = 20  # octets
Sign = Callable[[bytes], bytes]


def keyed(key: bytes) -> Callable[[], HMAC]:
    """Return a function that makes a fresh HMAC-SHA1 with this key."""
    return HMAC(key, SHA1()).copy  # noqa: S303 (the hash of each suite that has one)


def signer(key: bytes, length: int) -> Sign:
    """Make HMAC-SHA1 with a session key, truncated to `length` octets."""
    fresh = keyed(key)

    def sign(authenticated: bytes) -> bytes:
        running = fresh()
        running.update(authenticated)
        return running.finalize()[:length]

    return sign


def run_verifier(key: bytes, length: int, mki: bytes) -> Callable[[Run], int]:
    """Make a function that counts the packets of a run up to the first that does not verify."""
    fresh, behind = keyed(key), length + len(mki)

    def verified(run: Run) -> int:
        roc, end = (run.first >> 16).to_bytes(4, "big"), run.stride - run.head - behind
        tags = []
        for (authenticated,) in run.slices(f"{end}s{behind}x"):
            running = fresh()
            running.update(authenticated)
            running.update(roc)
            tags.append(running.finalize())
        # The octets at one place of all packets are compared at once.
        joined = b"".join(tags)
        places = [bytes([octet]) * run.packets for octet in mki]
        places += [joined[place::_DIGEST] for place in range(length)]
        equal = [compare_digest(run.column(end + n), place) for n, place in enumerate(places)]
        if all(equal):
            return run.packets
        trailers = run.slices(f"{end}x{behind}s")
        pairs = enumerate(zip(tags, trailers, strict=True))
        return next(
            n for n, (tag, (trailer,)) in pairs if not compare_digest(trailer, mki + tag[:length])
        )

    return verified


def rtp_sealer(crypt: Crypt, keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
    """Make the sealer of RTP packets (RFC 3711 3.1)."""
    sign = signer(keys.authentication, tag_length)

    def seal(packet: bytes, start: int, ssrc: int, index: int) -> bytes:
        sealed = packet[:start] + crypt(packet, ssrc, index, packet[start:])
        return sealed + mki + sign(sealed + (index >> 16).to_bytes(4, "big"))

    return seal


def rtp_opener(crypt: Crypt, keys: SessionKeys, tag_length: int, mki: bytes) -> RtpOpener:
    """Make the opener of SRTP packets."""
    sign = signer(keys.authentication, tag_length)

    def open_(packet: bytes, start: int, ssrc: int, index: int) -> bytes | None:
        untagged = len(packet) - tag_length
        end = untagged - len(mki)
        if end < start or packet[end:untagged] != mki:
            return None
        if not compare_digest(
            packet[untagged:], sign(packet[:end] + (index >> 16).to_bytes(4, "big"))
        ):
            return None
        return packet[:start] + crypt(packet, ssrc, index, packet[start:end])

    return open_


def rtcp_sealer(
    crypt: Crypt, keys: SessionKeys, tag_length: int, mki: bytes, flag: int = ENCRYPTED
) -> RtcpSealer:
    """Make the sealer of RTCP packets (RFC 3711 3.4), with the E flag `flag`."""
    sign = signer(keys.authentication, tag_length)

    def seal(packet: bytes, ssrc: int, index: int) -> bytes:
        sealed = packet[:RTCP_HEADER] + crypt(packet, ssrc, index, packet[RTCP_HEADER:])
        sealed += (flag | index).to_bytes(TRAILER, "big")
        return sealed + mki + sign(sealed)

    return seal


def rtcp_opener(crypt: Crypt, keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
    """Make the opener of SRTCP packets; it decrypts those with E flag 1."""
    sign = signer(keys.authentication, tag_length)

    def open_(packet: bytes, ssrc: int) -> tuple[bytes, int] | None:
        untagged = len(packet) - tag_length
        end = untagged - len(mki)
        payload_end = end - TRAILER
        if payload_end < RTCP_HEADER or packet[end:untagged] != mki:
            return None
        if not compare_digest(packet[untagged:], sign(packet[:end])):
            return None
        trailer = int.from_bytes(packet[payload_end:end], "big")
        index = trailer & ~ENCRYPTED
        if not trailer & ENCRYPTED:
            return packet[:payload_end], index
        clear = crypt(packet, ssrc, index, packet[RTCP_HEADER:payload_end])
        return packet[:RTCP_HEADER] + clear, index

    return open_
