"""Options that describe a Ticket Policy (RFC 6043 6.10)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from mikeytool.cli.options.types import IDENTITY, parse_duration, parse_time
from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILES
from mikeytool.exchange.session import DEFAULT_SALT_LENGTH
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType, TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp

C = TypeVar("C", bound=Callable[..., Any])

DEFAULT_FLAGS = "DEFGHIJNO"
CREATE_FLAGS = "FGHJLNO"
"""The default of `ticket create`: no D and no E, so that the responder resolves; no forking."""


def policy_options(flags: str) -> Callable[[C], C]:
    """Make the options that describe a Ticket Policy; `flags` are the default flags."""
    options = (
        click.option(
            "--to", "responders", type=IDENTITY, multiple=True, required=True, metavar="URI",
            help="A responder, who may resolve the ticket; may be given several times.",
        ),
        click.option(
            "--valid-for", default="8h", show_default=True, metavar="D",
            help="Validity: 90s, 15m, 8h or 7d.",
        ),
        click.option(
            "--not-before", default="now", metavar="T",
            help="Start of the validity: ISO 8601, Unix seconds, now, now+D or now-D.",
        ),
        click.option("--rekey-every", metavar="D", help="Interval of rekeying."),
        click.option(
            "--app", "apps", multiple=True, metavar="ID", help="An application of the ticket.",
        ),
        click.option(
            "--key-type", "key_types", multiple=True, metavar="TYPE[:BYTES]",
            help="A key to request: none, tgk, tgk+salt, tek, tek+salt, gtgk or gtgk+salt; default"
            " tgk.",
        ),
        click.option(
            "--suite", metavar="NAME",
            help="The SRTP suite that the keys are for: TEKs and salts get its lengths.",
        ),
        click.option(
            "--flags", default=flags, show_default=True, metavar="LETTERS",
            help="Flags of RFC 6043 6.10, or changes to the default, as in --flags=+LM-J.",
        ),
        click.option(
            "--profile", type=click.Choice(["128", "256"]), default="128", show_default=True,
            help="Strength of the algorithms, in bits.",
        ),
        click.option(
            "--ticket-type", type=click.IntRange(0, 65535), default=1, metavar="N",
            help="Ticket Type; default: the base ticket, 1.",
        ),
    )  # fmt: skip

    def decorate(command: C) -> C:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def policy_of(
    now_ns: int,
    local: Identity,
    responders: Sequence[Identity],
    *,
    valid_for: str,
    not_before: str,
    rekey_every: str | None,
    apps: Sequence[str],
    key_types: Sequence[str],
    suite: str | None,
    flags: str,
    profile: str,
    ticket_type: int,
) -> TicketPolicy:
    """Make the Ticket Policy that the options describe."""
    start = parse_time(not_before, now_ns)
    chosen = PROFILES[int(profile)]
    policy = TicketPolicy(
        prf=chosen.prf,
        flags=parse_flags(flags),
        responders=tuple(responders),
        initiator=local,
        valid_from=Timestamp.at(start, TsType.NTP_UTC_32),
        valid_to=Timestamp.at(start + parse_duration(valid_for) * NS, TsType.NTP_UTC_32),
        rekey=None if rekey_every is None else parse_duration(rekey_every),
        apps=tuple(Identity.from_text(app) for app in apps),
        keys=parse_key_types(key_types or ["tgk"], _lengths(chosen.key_length, suite)),
        ticket_type=ticket_type,
    )
    try:
        policy.check_flags()
    except Refused as error:
        raise UsageError(f"--flags: {error}") from None
    return policy


def parse_flags(text: str) -> TicketFlag:
    """`DEFGHIJNO`, or changes to the default such as `+LM-J`; raises UsageError."""
    try:
        if not text.startswith(("+", "-")):
            return TicketFlag.from_letters(text)
        flags = TicketFlag.from_letters(DEFAULT_FLAGS)
        for sign, letters in re.findall(r"([+-])([A-Z]+)", text):
            change = TicketFlag.from_letters(letters)
            flags = flags | change if sign == "+" else flags & ~change
        if re.fullmatch(r"([+-][A-Z]+)+", text):
            return flags
    except KeyError:
        pass
    raise UsageError(f"--flags {text}: letters D to O, or changes such as --flags=+LM-J")


class Lengths(NamedTuple):
    """The default lengths of keys, in octets."""

    tgk: int
    tek: int
    salt: int


def _lengths(length: int, suite: str | None) -> Lengths:
    """Give the lengths of a profile, or of a suite if one is named."""
    if suite is None:
        return Lengths(length, length, DEFAULT_SALT_LENGTH)
    from mikeytool.srtp import suite as suite_of_name

    found = suite_of_name(suite)
    return Lengths(length, found.key_length, found.salt_length)


def parse_key_types(types: Sequence[str], lengths: Lengths) -> tuple[KeyData, ...]:
    """Read `--key-type`; raises UsageError."""
    if list(types) == ["none"]:
        return ()
    wanted = []
    for text in types:
        name, colon, size = text.partition(":")
        kind = next((k for k in KeyType if k.label.lower() == name.lower()), None)
        if kind is None or kind == KeyType.MPK:
            raise UsageError(
                f"--key-type {text}: none, tgk, tek or gtgk, with +salt behind it or without"
            )
        if colon and not (size.isdecimal() and 16 <= int(size) <= 255):
            raise UsageError(f"--key-type {text}: the length is in octets, 16 to 255")
        usual = lengths.tek if kind in (KeyType.TEK, KeyType.TEK_SALT) else lengths.tgk
        wanted.append(wanted_key(kind, int(size) if colon else usual, lengths.salt))
    return tuple(wanted)
