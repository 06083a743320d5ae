"""Options that describe media: crypto sessions, suites, keys for a KEMAC; and sessions shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mikeytool.cli.options.clock import now_ns
from mikeytool.cli.options.types import parse_spec, single
from mikeytool.client.initiate import Media
from mikeytool.client.key_text import parse_key, parse_number
from mikeytool.client.session_files import ROLES
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.profile import check_key
from mikeytool.exchange.session import (
    DEFAULT_SALT_LENGTH,
    DEFAULT_TEK_LENGTH,
    CryptoSession,
    MediaKey,
    Session,
)
from mikeytool.exchange.ticket import new_key
from mikeytool.srtp import Suite, suite
from mikeytool.srtp.security_policy import policy_for, read_policy, suite_of
from mikeytool.wire.describe import masked
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import KeyType, ProtType, label

_CS_NAMES = {"dir", "id", "ssrc", "prot", "roc", "seq", "spi", "policy"}
_KEMAC_NAMES = {"key", "salt", "spi"}
CALL = (CsSpec(send=True), CsSpec(send=False))
"""What a call has unless it is told otherwise: one stream each way."""


def media_of(
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    *,
    default: Sequence[CsSpec],
    default_suite: Suite | None,
) -> Media:
    """What `--cs`, `--suite` and `--kemac` say; raises UsageError.

    Without `--suite`, `default_suite` is offered, if there is one.
    """
    chosen = [suite(name) for name in suites] or ([default_suite] if default_suite else [])
    specs = tuple(parse_cs(text) for text in cs) or default
    lengths = (
        (chosen[0].key_length, chosen[0].salt_length)
        if chosen
        else (DEFAULT_TEK_LENGTH, DEFAULT_SALT_LENGTH)
    )
    policies = [policy_for(one, number) for number, one in enumerate(chosen)]
    # Other protocols have no parameters here, but a policy each crypto session must have.
    others = dict.fromkeys(s.protocol for s in specs if s.protocol != ProtType.SRTP)
    policies += [
        SP(policy_no=number, protocol=protocol, policy_param=[])
        for number, protocol in enumerate(others, len(policies))
    ]
    return Media(
        crypto_sessions=specs,
        policies=policies,
        kemac_keys=[parse_kemac(text, *lengths) for text in kemac],
    )


def parse_cs(text: str) -> CsSpec:
    """A `--cs` SPEC, `dir=send,ssrc=…`; raises UsageError."""
    spec = parse_spec(text, "--cs", _CS_NAMES, head=False)

    def number(name: str, bits: int) -> int | None:
        value = single(spec, name, f"--cs {text}")
        return None if value is None else parse_number(value, f"--cs {name}", bits)

    direction = single(spec, "dir", f"--cs {text}")
    if direction not in ("send", "recv"):
        raise UsageError(f"--cs {text}: dir=send or dir=recv is needed")
    protocol = single(spec, "prot", f"--cs {text}") or "srtp"
    spi = single(spec, "spi", f"--cs {text}")
    return CsSpec(
        send=direction == "send",
        cs_id=number("id", 8),
        ssrc=number("ssrc", 32),
        protocol=ProtType.SRTP.value
        if protocol.lower() == "srtp"
        else parse_number(protocol, "--cs prot", 8),
        roc=number("roc", 32),
        seq=number("seq", 16),
        spi=None if spi is None else parse_key(spi, "--cs spi"),
        policies=tuple(
            parse_number(value, "--cs policy", 8) for value in spec.values.get("policy", [])
        ),
    )


def parse_kemac(text: str, length: int, salt_length: int) -> KeyData:
    """A `--kemac` SPEC, `TYPE[,key=KEY][,salt=KEY][,spi=HEX]`; raises UsageError.

    What is left out is drawn: key and salt of these lengths in octets, an SPI of 4.
    """
    spec = parse_spec(text, "--kemac", _KEMAC_NAMES, head=True)
    kind = next((k for k in KeyType if k.label.lower() == (spec.head or "").lower()), None)
    if kind is None or kind == KeyType.MPK:
        raise UsageError(f"--kemac {spec.head}: tgk, tek or gtgk, with +salt behind it or without")

    def octets(name: str, size: int) -> bytes:
        value = single(spec, name, "--kemac")
        return os.urandom(size) if value is None else parse_key(value, f"--kemac {name}")

    salted = KeyType.salted(kind)
    if not salted and "salt" in spec.values:
        raise UsageError(f"--kemac {spec.head} has no salt; {spec.head}+salt has")
    salt = octets("salt", salt_length) if salted else None
    key = octets("key", length)
    check_key(key, f"key of --kemac {spec.head}")
    return new_key(kind, key, salt, octets("spi", 4))


def accepts(suites: Sequence[str]) -> Any:
    """What policies are accepted: those of `suites`, or every one that protects."""
    names = {suite(name).name for name in suites}

    def accept(policy: SP) -> bool:
        found = suite_of(policy)
        if policy.protocol != ProtType.SRTP:
            return True
        if found is None:
            return False
        return found.name in names if names else found.protects

    return accept


# --- sessions ---------------------------------------------------------------------------------


def session_json(session: Session, *, show_keys: bool) -> dict[str, Any]:
    """A session as `transfer show --json` prints it."""
    return {
        "csb_id": f"{session.csb_id:#010x}",
        "role": ROLES[session.role],
        "local": str(session.local),
        "remote": str(session.remote),
        "state": "established",
        "crypto_sessions": [
            _crypto_session_json(session, one, show_keys=show_keys)
            for one in session.crypto_sessions
        ],
    }


def _crypto_session_json(
    session: Session, crypto_session: CryptoSession, *, show_keys: bool
) -> dict[str, Any]:
    entry = crypto_session.entry
    media = session.media_key(crypto_session)
    suite_name = None
    if crypto_session.policy is not None:
        found = suite_of(crypto_session.policy)
        suite_name = None if found is None else found.name
    ssrc, anyone = crypto_session.ssrc, session.admits_any(crypto_session)
    key = _key_json(entry.protocol, media, show_keys=show_keys)
    spi = {"spi": media.spi.hex()}
    return {
        "cs_id": entry.cs_id,
        "protocol": label(ProtType, entry.protocol),
        "direction": "send" if session.is_local(crypto_session) else "recv",
        "ssrc": "any" if anyone else None if ssrc is None else f"{ssrc:#010x}",
        "roc": crypto_session.roc,
        "mki": media.spi.hex(),
        "suite": suite_name,
        **key,
        "keys": [{**spi, **key, "state": "active"}, *_replaced(session, crypto_session, show_keys)],
    }


def _replaced(
    session: Session, crypto_session: CryptoSession, show_keys: bool
) -> list[dict[str, str]]:
    """The keys that updates have replaced, which packets in flight may still have."""
    protocol = crypto_session.entry.protocol
    replaced = [session.media_key(crypto_session, spi) for spi in crypto_session.previous]
    state = "overlap" if crypto_session.overlap(now_ns()) else "expired"
    return [
        {
            "spi": media.spi.hex(),
            **_key_json(protocol, media, show_keys=show_keys),
            "state": state,
        }
        for media in replaced
    ]


def _key_json(protocol: int, media: MediaKey, *, show_keys: bool) -> dict[str, str]:
    show = bytes.hex if show_keys else masked
    if protocol != ProtType.SRTP:
        return {"key": show(media.key), "key_id": media.spi.hex()}
    return {"master_key": show(media.key), "master_salt": show(media.salt)}


def srtp_suite(crypto_session: CryptoSession) -> Suite:
    """The suite of an SRTP crypto session; raises UsageError when the tool has none for it."""
    entry = crypto_session.entry
    if crypto_session.policy is None:
        raise UsageError(f"crypto session {entry.cs_id} has no security policy; it has no suite")
    try:
        return read_policy(crypto_session.policy)
    except Refused as error:
        raise UsageError(f"crypto session {entry.cs_id} has no suite: {error}") from None
