"""What one end brings to a session, as text: crypto sessions, suites and keys for a KEMAC."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from mikeytool.client.initiate import Media
from mikeytool.client.key_text import parse_key, parse_number
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.profile import check_key
from mikeytool.exchange.session import DEFAULT_SALT_LENGTH, DEFAULT_TEK_LENGTH, Session
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.media.media_lines import LineUp, MediaLine, Purpose
from mikeytool.media.suite_policies import default_suite, supported_policies
from mikeytool.srtp.security_policy import policy_for
from mikeytool.srtp.suites import Suite, suite
from mikeytool.wire.errors import UsageError
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import EncrAlg, KeyType, ProtType, TicketFlag

_CS_NAMES = {"dir", "id", "ssrc", "prot", "roc", "seq", "spi", "policy", "purpose"}
_KEMAC_NAMES = {"key", "salt", "spi"}
_OF_A_CALL = LineUp()
CALL = (CsSpec(send=True), CsSpec(send=False))
"""The default crypto sessions of a call: one stream in each direction."""


def media_of(
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    *,
    default: Sequence[CsSpec],
    default_suite: Suite | None,
    line_up: LineUp = _OF_A_CALL,
) -> Media:
    """Read `--cs`, `--suite` and `--kemac`; raises UsageError.

    Without `--suite`, `default_suite` is offered, if there is one. `line_up` has the media lines,
    and the crypto sessions that there are.
    """
    chosen = [suite(name) for name in suites] or ([default_suite] if default_suite else [])
    specs = tuple(spec for text in cs for spec in parse_cs(text, line_up))
    specs = specs or tuple(line_up.streams()) or tuple(default)
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


def parse_cs(text: str, line_up: LineUp = _OF_A_CALL) -> list[CsSpec]:
    """Read a `--cs` SPEC, `dir=send,ssrc=…`; raises UsageError.

    One with a purpose and without a direction is for both directions.
    """
    spec = parse_spec(text, "--cs", _CS_NAMES, head=False)

    def number(name: str, bits: int) -> int | None:
        value = single(spec, name, f"--cs {text}")
        return None if value is None else parse_number(value, f"--cs {name}", bits)

    purpose = _purpose(spec, text)
    direction = single(spec, "dir", f"--cs {text}")
    if direction not in ("send", "recv", None) or (direction is None and purpose is None):
        raise UsageError(f"--cs {text}: dir=send or dir=recv is needed")
    protocol = single(spec, "prot", f"--cs {text}") or "srtp"
    spi = single(spec, "spi", f"--cs {text}")
    made = CsSpec(
        send=direction != "recv",
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
    if purpose is None:
        return [made]
    made = replace(made, protocol=purpose.protocol.value, name=purpose.value)
    both = direction is None and purpose.protocol == ProtType.SRTP
    return [
        replace(one, cs_id=line_up.cs_id(purpose, send=one.send))
        for one in (made, replace(made, send=False, ssrc=None, roc=None, seq=None))[: 1 + both]
    ]


def _purpose(spec: Spec, text: str) -> Purpose | None:
    name = single(spec, "purpose", f"--cs {text}")
    if name is None:
        return None
    if name not in list(Purpose):
        raise UsageError(f"--cs {text}: a purpose is one of {', '.join(Purpose)}")
    if spec.values.keys() & {"id", "prot"}:
        raise UsageError(f"--cs {text}: purpose={name} says which id and prot; leave them out")
    return Purpose(name)


def parse_kemac(text: str, length: int, salt_length: int) -> KeyData:
    """Read a `--kemac` SPEC, `TYPE[,key=KEY][,salt=KEY][,spi=HEX]`; raises UsageError.

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


def media_for_call(
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    *,
    encr_alg: EncrAlg | None = None,
    overlap: int | None = None,
    lines: Sequence[MediaLine] | None = None,
    starts: bool = True,
) -> Callable[[TicketPolicy], Media]:
    """Read the options for a call, in which keys are as long as the profile of the ticket needs.

    Without `--cs` a caller has one stream in each direction, or those of `lines`, the media lines
    of a description around the message; who answers has the streams of the offer. `starts` is
    whether this end calls.
    """

    def media(policy: TicketPolicy) -> Media:
        both = CALL if TicketFlag.F in policy.flags else CALL[:1]
        brought = media_of(
            cs,
            suites,
            kemac,
            default=both if starts else (),
            default_suite=default_suite(policy.prf),
            line_up=LineUp(lines, starts),
        )
        known = supported_policies(suites, policy.prf)
        return replace(brought, encr_alg=encr_alg, overlap=overlap, supported=known)

    return media


def media_for_session(
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    *,
    encr_alg: EncrAlg | None = None,
    overlap: int | None = None,
    lines: Sequence[MediaLine] | None = None,
    starts: bool = True,
) -> Callable[[Session], Media]:
    """Read the options for an update, in which keys are as long as those of the session.

    `lines` are the media lines of a description around it, whose new ones are added. `starts` is
    whether this end starts the update.
    """

    def media(session: Session) -> Media:
        prf = session.policy.prf
        present = {one.entry.cs_id: session.is_local(one) for one in session.crypto_sessions}
        line_up, names = LineUp(lines, starts, present), suites or [default_suite(prf).name]
        brought = media_of(cs, names, kemac, default=(), default_suite=None, line_up=line_up)
        if brought.crypto_sessions and not cs and (kemac or suites):
            # New keys and suites are for the streams that there are as well.
            before = [
                CsSpec(session.is_local(one), one.entry.cs_id, protocol=one.entry.protocol)
                for one in session.crypto_sessions
            ]
            brought = replace(brought, crypto_sessions=(*before, *brought.crypto_sessions))
        brought = replace(brought, encr_alg=encr_alg, overlap=overlap)
        # Without --suite only other protocols need a policy.
        own = [sp for sp in brought.policies if suites or sp.protocol != ProtType.SRTP]
        known = supported_policies(suites, prf)
        return replace(brought, policies=session.numbered(own), supported=known)

    return media


class Spec(NamedTuple):
    """The parts of a `name=value,…` option; a first word without `=` is `head`."""

    head: str | None
    values: dict[str, list[str]]


def parse_spec(text: str, option: str, allowed: set[str], *, head: bool) -> Spec:
    """Take a SPEC apart; raises UsageError for a name that is not `allowed`."""
    parts = text.split(",")
    first = parts.pop(0) if head else None
    values: dict[str, list[str]] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in allowed:
            known = ", ".join(sorted(allowed))
            raise UsageError(f"{option} {text}: {part!r} is none of {known} with a value")
        values.setdefault(name, []).append(value)
    return Spec(first, values)


def single(spec: Spec, name: str, option: str) -> str | None:
    """Give the one value of a name in a SPEC, None without it; raises UsageError for two."""
    values = spec.values.get(name, [])
    if len(values) > 1:
        raise UsageError(f"{option}: {name} is given {len(values)} times")
    return values[0] if values else None
