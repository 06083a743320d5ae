"""What a store has, as `kms ... --json` prints it. No key is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mikeytool.kms.store.records import Tpk, User
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from mikeytool.kms.kms_policy import KmsPolicy, Rules
    from mikeytool.kms.store.check import Check
    from mikeytool.kms.store.records import LogEntry, Peer
    from mikeytool.kms.store.store import Store

Json = dict[str, Any]

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def describe_user(user: User) -> Json:
    """A user, without their groups and the identities that they may act as."""
    by = {"psk": user.sealed_psk, "cert": user.certificate}
    return {
        "uri": str(user.identity),
        "psk_id": None if user.psk_id is None else str(user.psk_id),
        "known_by": [name for name, value in by.items() if value is not None],
        "enabled": user.enabled,
    }


def describe_whole_user(store: Store, uri: Identity) -> Json | None:
    """All that is known of a user; None if there is no such user."""
    found = store.user(uri)
    if found is None:
        return None
    return {
        **describe_user(found),
        "act_as": store.act_as(uri),
        "groups": [str(group) for group in store.groups_of(uri)],
    }


def describe_tpk(tpk: Tpk) -> Json:
    """A ticket protection key, which has an end once it was rotated out."""
    ends = not tpk.current and tpk.until_ns is not None
    return {
        "name": str(tpk.name),
        "shared_with": None if tpk.shared_with is None else str(tpk.shared_with),
        "octets": len(tpk.key),
        "current": tpk.current,
        "until": str(Timestamp.at(tpk.until_ns or 0, TsType.NTP_UTC_32).utc) if ends else None,
    }


def describe_peer(peer: Peer) -> Json:
    """Another KMS, and for whom it speaks."""
    return {
        "kms": str(peer.identity),
        "url" if "://" in peer.location else "store": peer.location,
        "for": list(peer.patterns),
    }


def describe_log_entry(entry: LogEntry) -> Json:
    """A request and its outcome, or a change by an operator."""
    return {
        "time": entry.time.json,
        "exchange": entry.exchange,
        "by": entry.user,
        "for": entry.about,
        "outcome": entry.outcome,
        "reason": entry.reason or None,
        "count": entry.count,
    }


def describe_kms_policy(policy: KmsPolicy) -> Json:
    """The limits on what is granted; times are in seconds."""
    return {
        "max_validity": policy.max_validity,
        "max_skew": policy.max_skew,
        "require_forking": policy.require_forking,
        "key_types": list(policy.key_types),
        "profiles": list(policy.profiles),
        "admit_certified": policy.admit_certified,
        "extended_key_usage": list(policy.extended_key_usage),
        "rate": policy.rate,
        "keep_log": policy.keep_log,
    }


def policy_words(policy: KmsPolicy) -> list[tuple[str, str]]:
    """The same for people: what each limit is called, and what it is."""
    return [
        ("longest validity", _duration(policy.max_validity)),
        ("most clock skew", _duration(policy.max_skew)),
        ("key forking", "required" if policy.require_forking else "as asked"),
        ("key types", ", ".join(policy.key_types)),
        ("profiles", ", ".join(map(str, policy.profiles))),
        ("certified strangers", "admitted" if policy.admit_certified else "refused"),
        ("extended key usage", ", ".join(policy.extended_key_usage) or "any or none"),
        ("messages of one in a minute", str(policy.rate or "any number")),
        ("log kept for", _duration(policy.keep_log)),
    ]


def _duration(seconds: int) -> str:
    length, unit = next(one for one in _UNITS if seconds % one[0] == 0)
    return f"{seconds // length}{unit}"


def describe_rules(rules: Rules) -> Json:
    """The rules for calls in their order, and what applies if none matches."""
    listed = [
        {"rule": rule_word(rule.allowed), "from": rule.sender, "to": rule.responder}
        for rule in rules.rules
    ]
    return {"rules": listed, "otherwise": rule_word(rules.otherwise)}


def rule_word(allowed: bool) -> str:
    """The word for a rule that allows calls, or denies them."""
    return "allow" if allowed else "deny"


def describe_certificate(certificate: Certificate) -> Json:
    """A certificate of the KMS, or of a CA that it trusts."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return {
        "subject": certificate.subject.rfc4514_string(),
        "valid_from": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "valid_to": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": certificate.fingerprint(SHA256()).hex(),
    }


def describe_check(check: Check) -> Json:
    """A checked part of the store."""
    return {"check": check.name, "ok": not check.faults, "faults": list(check.faults)}


def describe_store(store: Store) -> Json:
    """The identity of the KMS, and how much is in its store."""
    from mikeytool.kms.store.seal import BESIDE

    how = store.sealed_how
    return {
        "kms": str(store.identity),
        "profile": store.profile.bits,
        "sealed_under": f"{store.where}.key" if how == BESIDE else how,
        "users": store.count_users(),
        "certificates": len(store.certificates()),
        "trusted": len(store.anchors()),
        "log_entries": store.count_log(),
    }
