"""Rules about known habits of real senders."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.identities import is_uid
from mikeytool.lint.kemac_keys import is_all_null
from mikeytool.lint.notation import name_of
from mikeytool.lint.rule import Found, Level, rule
from mikeytool.lint.security_policies import HMAC_SHA_1_KEY, TAG_LENGTHS
from mikeytool.lint.subject import Subject, Within
from mikeytool.lint.times import SKEW_NS
from mikeytool.wire.header import SrtpIdEntry
from mikeytool.wire.message_types import INITIALS
from mikeytool.wire.payloads import ID, IDR, KEMAC, SP, KeyData, T
from mikeytool.wire.printable import number_of, printable
from mikeytool.wire.registry import CsIdMapType, DataType, IdType, SrtpAuthAlg, SrtpParam
from mikeytool.wire.timestamp import Timestamp

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
            f"the session authentication key has {number_of(length, 'octet')}: GStreamer and "
            f"old gortsplib write"
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
                    f"the TEK has {number_of(len(key.key), 'octet')}: RTSP cameras and "
                    f"GStreamer append the salt"
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


@rule("quirk-filetime", Level.WARNING, "RFC 3830 6.6", on=T)
def filetime(subject: Subject, payload: T, within: Within) -> Iterator[Found]:
    """Windows software: a FILETIME in place of an NTP time."""
    t = Timestamp.of(payload)
    moment = t.unix_ns
    if t.filetime and moment is not None and abs(moment - subject.now_ns) > SKEW_NS:
        yield Found(
            payload,
            f"the timestamp is {t.utc}, which as a Windows FILETIME is {t.filetime}: the sender"
            " writes the wrong kind of time, and receivers refuse it",
        )


@rule("quirk-time-zero", Level.WARNING, "RFC 3830 6.6", on=T)
def time_zero(subject: Subject, payload: T, within: Within) -> Iterator[Found]:
    """Senders without a clock: a timestamp of 0."""
    t = Timestamp.of(payload)
    if t.is_zero and abs((t.unix_ns or 0) - subject.now_ns) > SKEW_NS:
        yield Found(
            payload,
            "the timestamp is 0, as senders without a clock write it; as NTP this is"
            f" {t.utc}, and receivers refuse it",
        )


@rule("quirk-id-nul", Level.WARNING, "RFC 3830 6.7", on=(ID, IDR))
def id_nul(subject: Subject, payload: ID | IDR, within: Within) -> Iterator[Found]:
    """C programs: an identity with a NUL octet at its end, or inside."""
    is_text = payload.id_type in (IdType.URI, IdType.NAI) and b"\0" in payload.id_data
    if is_text and not is_uid(payload):
        shown = printable(payload.id_data.decode("utf-8", "backslashreplace"))
        yield Found(
            payload,
            f"{name_of(payload)} is {shown}, with a NUL in it; identities are compared octet by"
            " octet, so it is not the same without it",
        )


@rule("quirk-empty-map-policy", Level.NOTE, "RFC 4563 5", needs=SP, kinds=[D.SAKKE_MSG])
def empty_map_policy(subject: Subject) -> Iterator[Found]:
    """Mission-critical systems: a security policy beside an Empty map."""
    if subject.header.cs_id_map_type == CsIdMapType.EMPTY and subject.is_mission_critical:
        for sp in subject.message.all(SP)[:1]:
            yield Found(
                sp,
                "there is a security policy beside an Empty map, against RFC 4563; several"
                " mission-critical systems send it and mean the policy",
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
