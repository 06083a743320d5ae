"""Rules about known habits of real senders."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.kemac_keys import is_all_null
from mikeytool.lint.rule import Found, Level, rule
from mikeytool.lint.security_policies import HMAC_SHA_1_KEY, TAG_LENGTHS
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.header import SrtpIdEntry
from mikeytool.wire.message_types import INITIALS
from mikeytool.wire.payloads import KEMAC, SP, KeyData
from mikeytool.wire.registry import DataType, SrtpAuthAlg, SrtpParam

D = DataType


@rule("quirk-auth-key-length", Level.WARNING, "RFC 3711 5.2", on=SP)
def auth_key_length(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """GStreamer, old gortsplib: the tag length as Session Auth. key length."""
    policy = subject.srtp(payload)
    if policy is None:
        return
    length = policy.value(SrtpParam.AUTH_KEY_LENGTH)
    if policy.auth_alg == SrtpAuthAlg.HMAC_SHA_1 and length in TAG_LENGTHS:
        yield Found(
            payload,
            f"the session authentication key has {length} octets: GStreamer and old gortsplib write"
            f" the tag length there; read it as a key of {HMAC_SHA_1_KEY} octets and tags of"
            f" {length}",
        )


@rule("quirk-key-and-salt", Level.WARNING, "RFC 3830 6.13", needs=KeyData)
def key_and_salt(subject: Subject) -> Iterator[Found]:
    """RTSP cameras, GStreamer: a TEK with the salt appended to the key."""
    lengths = sorted(subject.tek_lengths)
    for key in subject.teks:
        for size, salt in lengths:
            if key.salt is None and len(key.key) == size + salt:
                yield Found(
                    key,
                    f"the TEK has {len(key.key)} octets: RTSP cameras and GStreamer append the salt"
                    f" to the key; read it as a key of {size} and a salt of {salt}",
                )
                break


@rule("quirk-null-protection", Level.WARNING, "RFC 3830 4.2.3", on=KEMAC, kinds=[D.PRE_SHARED])
def null_protection(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """RTSP cameras: a message with neither encryption nor MAC."""
    if is_all_null(payload):
        yield Found(
            payload,
            "neither encrypted nor authenticated, as RTSP cameras send it: anyone who sees the"
            " message has the keys; safe only inside TLS (rtsps)",
        )


@rule("quirk-ssrc-zero", Level.NOTE, "RFC 3830 6.1.1", kinds=INITIALS)
def ssrc_zero(subject: Subject) -> Iterator[Found]:
    """RTSP clients: an SSRC of 0 as a placeholder that the responder fills in."""
    for place, cs_id, entry in subject.map:
        if isinstance(entry, SrtpIdEntry) and entry.ssrc == 0:
            yield Found(
                place,
                f"the SSRC of crypto session {cs_id} is 0, a placeholder; the sender of the"
                " stream fills it in",
            )
