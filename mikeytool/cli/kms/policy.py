"""`kms policy`: what is granted at most, and who may call whom."""

from __future__ import annotations

import json
from typing import Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.store import PATTERN, open_store, store_argument
from mikeytool.cli.options.types import parse_duration
from mikeytool.cli.render.table import print_table
from mikeytool.kms.kms_policy import KmsPolicy, Rule
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import UsageError

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@click.group(cls=Group)
def policy() -> None:
    """What tickets are granted, and rules for who may call whom."""


@policy.command("show")
@store_argument
@json_option
def show(store: Where, as_json: bool) -> None:
    """Show what is granted at most."""
    found = open_store(store).policy()
    content: dict[str, Any] = {
        "max_validity": found.max_validity,
        "max_skew": found.max_skew,
        "require_forking": found.require_forking,
        "key_types": list(found.key_types),
        "profiles": list(found.profiles),
        "admit_certified": found.admit_certified,
        "rate": found.rate,
    }
    if as_json:
        print(json.dumps(content))
    else:
        print_table([("", ""), *_rows(found)])


def _rows(found: KmsPolicy) -> list[tuple[str, str]]:
    return [
        ("longest validity", _duration(found.max_validity)),
        ("most clock skew", _duration(found.max_skew)),
        ("key forking", "required" if found.require_forking else "as asked"),
        ("key types", ", ".join(found.key_types)),
        ("profiles", ", ".join(map(str, found.profiles))),
        ("certified strangers", "admitted" if found.admit_certified else "refused"),
        ("messages of one in a minute", str(found.rate or "any number")),
    ]


def _duration(seconds: int) -> str:
    length, unit = next(one for one in _UNITS if seconds % one[0] == 0)
    return f"{seconds // length}{unit}"


@policy.command("set")
@store_argument
@click.option("--max-validity", metavar="D", help="Longest validity of a ticket, as in 24h.")
@click.option("--max-skew", metavar="D", help="How far clocks may be apart, as in 300s.")
@click.option(
    "--require-forking/--no-require-forking",
    default=None,
    help="Whether every ticket has the I flag (RFC 6043 5.1.1).",
)
@click.option("--key-types", metavar="TYPES", help="Which keys are given, as in tgk,tek+salt,gtgk.")
@click.option("--profiles", metavar="BITS", help="Which algorithms are served, as in 128,256.")
@click.option(
    "--admit-certified/--no-admit-certified",
    default=None,
    help="Whether a certificate by whom `kms trust` names is enough, without `kms user add`.",
)
@click.option(
    "--rate", type=int, metavar="N", help="Messages of one identity in a minute, 0: any number."
)
@quiet_option
def set_policy(
    store: Where,
    max_validity: str | None,
    max_skew: str | None,
    key_types: str | None,
    profiles: str | None,
    **plain: bool | int | None,
) -> None:
    """Change what is granted at most; what is not named stays as it is."""
    changes: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    for name, duration in (("max_validity", max_validity), ("max_skew", max_skew)):
        if duration is not None:
            changes[name] = parse_duration(duration)
    if key_types is not None:
        changes["key_types"] = tuple(_words(key_types.lower()))
    if profiles is not None:
        changes["profiles"] = tuple(_bits(word) for word in _words(profiles))
    if not changes:
        raise UsageError("nothing is to be changed; see kms policy set --help")
    open_store(store).set_policy(**changes)
    say(f"{store}: the policy is changed")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _bits(word: str) -> int:
    if not word.isdecimal():
        raise UsageError(f"--profiles {word}: numbers of bits are expected, as in 128,256")
    return int(word)


def _patterns(command: Any) -> Any:
    for name, of in (("--to", "who is called"), ("--from", "who calls")):
        key = "sender" if name == "--from" else "responder"
        command = click.option(
            name, key, type=PATTERN, required=True, metavar="PATTERN",
            help=f"Identities of {of}, with * for any characters.",
        )(command)  # fmt: skip
    return quiet_option(command)


@policy.command("allow", short_help="Let some call others.")
@store_argument
@_patterns
def allow(store: Where, sender: str, responder: str) -> None:
    """Let some call others: a rule, put behind those that are there.

    The last rule that matches counts. Where none does, the first one decides: behind a list
    that begins with allow everyone else is denied, behind one that begins with deny
    everyone else is allowed.
    """
    _add(store, Rule(True, sender, responder))


@policy.command("deny", short_help="Let some not call others.")
@store_argument
@_patterns
def deny(store: Where, sender: str, responder: str) -> None:
    """Let some not call others: a rule, put behind those that are there; see allow.

    Tickets that are out already are no longer resolved.
    """
    _add(store, Rule(False, sender, responder))


def _add(store: Where, rule: Rule) -> None:
    opened = open_store(store)
    opened.add_rule(rule)
    everyone = "allowed" if opened.rules().otherwise else "denied"
    say(f"{store}: {_word(rule.allowed)} {rule.sender} to {rule.responder}; others are {everyone}")


def _word(allowed: bool) -> str:
    return "allow" if allowed else "deny"


@policy.command("remove")
@store_argument
@_patterns
def remove(store: Where, sender: str, responder: str) -> None:
    """Remove the rule with these two patterns."""
    open_store(store).remove_rule(sender, responder)
    say(f"{store}: there is no rule from {sender} to {responder} any more")


@policy.command("list")
@store_argument
@json_option
def list_rules(store: Where, as_json: bool) -> None:
    """List the rules in their order, and what holds where none matches."""
    rules = open_store(store).rules()
    if as_json:
        listed = [
            {"rule": _word(rule.allowed), "from": rule.sender, "to": rule.responder}
            for rule in rules.rules
        ]
        print(json.dumps({"rules": listed, "otherwise": _word(rules.otherwise)}))
        return
    rows = [(_word(rule.allowed), rule.sender, rule.responder) for rule in rules.rules]
    last = (_word(rules.otherwise), "everyone else", "")
    print_table([("rule", "from", "to"), *rows, last])
