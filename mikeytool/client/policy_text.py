"""Ticket Policies (RFC 6043 6.10) as text: flags, key types, validity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mikeytool.client.time_text import parse_duration, parse_time
from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILES
from mikeytool.exchange.session import DEFAULT_SALT_LENGTH
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType, TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp

DEFAULT_FLAGS = "DEFGHIJNO"
CREATE_FLAGS = "FGHJLNO"
"""The default of `ticket create`: no D and no E, so that the responder resolves; no forking."""


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
    suite_lengths: tuple[int, int] | None,
    flags: str,
    profile: str,
    ticket_type: int,
    default_flags: str = DEFAULT_FLAGS,
) -> TicketPolicy:
    """Return the Ticket Policy that a user describes in words, which are those of `ticket request`.

    `suite_lengths` are the lengths in octets of TEKs and salts, if not those of the profile.
    `default_flags` are the flags that changes such as `+L` apply to. Raises UsageError.
    """
    start = parse_time(not_before, now_ns, "--not-before")
    chosen = PROFILES[int(profile)]
    policy = TicketPolicy(
        prf=chosen.prf,
        flags=parse_flags(flags, default_flags),
        responders=tuple(responders),
        initiator=local,
        valid_from=Timestamp.at(start, TsType.NTP_UTC_32),
        valid_to=Timestamp.at(
            start + parse_duration(valid_for, "--valid-for") * NS, TsType.NTP_UTC_32
        ),
        rekey=None if rekey_every is None else parse_duration(rekey_every, "--rekey-every"),
        apps=tuple(Identity.from_text(app) for app in apps),
        keys=parse_key_types(key_types or ["tgk"], _lengths(chosen.key_length, suite_lengths)),
        ticket_type=ticket_type,
    )
    if TicketFlag.K in policy.flags:
        raise UsageError("--flags: K is for the KMS to set, when it changes what was asked for")
    try:
        policy.check_flags()
    except Refused as error:
        raise UsageError(f"--flags: {error}") from None
    return policy


def parse_flags(text: str, default: str = DEFAULT_FLAGS) -> TicketFlag:
    """`DEFGHIJNO`, or changes to the default such as `+LM-J`; raises UsageError."""
    try:
        if not text.startswith(("+", "-")):
            return TicketFlag.from_letters(text)
        flags = TicketFlag.from_letters(default)
        for sign, letters in re.findall(r"([+-])([A-Z]+)", text):
            change = TicketFlag.from_letters(letters)
            flags = flags | change if sign == "+" else flags & ~change
        if re.fullmatch(r"([+-][A-Z]+)+", text):
            return flags
    except KeyError:
        pass
    raise UsageError(
        f"--flags {text}: letters D to O, or changes such as --flags=+LM-J; see mikeytool manual"
        " exchanges"
    )


class Lengths(NamedTuple):
    """The default lengths of keys, in octets."""

    tgk: int
    tek: int
    salt: int


def _lengths(length: int, suite_lengths: tuple[int, int] | None) -> Lengths:
    """Return the lengths of a profile, or of a suite if they are given."""
    return Lengths(length, *(suite_lengths or (length, DEFAULT_SALT_LENGTH)))


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
