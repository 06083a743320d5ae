"""`kms policy`: limits on what is granted, and rules for who may call whom."""

from __future__ import annotations

import json
from typing import Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.clock import clock
from mikeytool.cli.options.common import quiet_option, say
from mikeytool.cli.options.store import PATTERN, store_argument, store_command
from mikeytool.cli.options.types import DURATION
from mikeytool.cli.render.table import print_table
from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.store.store import Store
from mikeytool.kms.store.store_description import (
    describe_kms_policy,
    describe_rules,
    policy_words,
    rule_word,
)
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import UsageError


@click.group(cls=Group)
def policy() -> None:
    """Limits on what is granted, and rules for who may call whom."""


@store_command(policy, "show")
def show(store: Store, as_json: bool) -> None:
    """Show the limits on what is granted."""
    found = store.policy()
    if as_json:
        print(json.dumps(describe_kms_policy(found)))
    else:
        print_table([("", ""), *policy_words(found)])


def _words(_context: object, _param: object, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(word.strip().lower() for word in text.split(",") if word.strip())


def _bits(_context: object, _param: object, text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(map(int, text.split(",")))
    except ValueError:
        raise UsageError(f"--profiles {text}: expected numbers of bits, as in 128,256") from None


@policy.command("set")
@store_argument
@click.option(
    "--max-validity", type=DURATION, metavar="D", help="Longest validity of a ticket, as in 24h."
)
@click.option(
    "--max-skew", type=DURATION, metavar="D", help="How far clocks may be apart, as in 300s."
)
@click.option(
    "--require-forking/--no-require-forking",
    default=None,
    help="Whether every ticket must have the I flag (RFC 6043 5.1.1).",
)
@click.option(
    "--key-types", callback=_words, metavar="TYPES", help="Key types, as in tgk,tek+salt,gtgk."
)
@click.option("--profiles", callback=_bits, metavar="BITS", help="Profiles, as in 128,256.")
@click.option(
    "--extended-key-usage", callback=_words, metavar="PURPOSES",
    help="Accept signers' certificates that are limited to these purposes, names or OIDs.",
)  # fmt: skip
@click.option(
    "--admit-certified/--no-admit-certified",
    default=None,
    help="Whether a certificate of a CA in `kms trust` is enough, without `kms user add`.",
)
@click.option(
    "--rate", type=int, metavar="N", help="Messages of one identity in a minute; 0 for no limit."
)
@click.option(
    "--keep-log",
    type=DURATION,
    metavar="D",
    help="How long entries of the log are kept, as in 90d.",
)
@quiet_option
def set_policy(store: Where, **limits: Any) -> None:
    """Change limits; those that are not given stay as they are."""
    changes = {name: value for name, value in limits.items() if value is not None}
    if not changes:
        raise UsageError("there is nothing to change; see kms policy set --help")
    with Store(store, clock(), operated=True) as opened:
        opened.set_policy(**changes)
    say(f"{store}: the policy is changed")


def _patterns(command: Any) -> Any:
    for name, party in (("--to", "responders"), ("--from", "callers")):
        key = "sender" if name == "--from" else "responder"
        command = click.option(
            name, key, type=PATTERN, required=True, metavar="PATTERN",
            help=f"Identities of {party}, with * for any characters.",
        )(command)  # fmt: skip
    return command


@store_command(policy, "allow", short_help="Allow calls between identities.")
@_patterns
def allow(store: Store, sender: str, responder: str) -> None:
    """Allow calls between identities: append a rule to the list.

    The last rule that matches a call decides. If none matches, the first rule does: if it is
    an allow, all other calls are denied; if it is a deny, all other calls are allowed.
    """
    _add(store, Rule(True, sender, responder))


@store_command(policy, "deny", short_help="Deny calls between identities.")
@_patterns
def deny(store: Store, sender: str, responder: str) -> None:
    """Deny calls between identities: append a rule to the list, see allow.

    Tickets that were granted before are no longer resolved.
    """
    _add(store, Rule(False, sender, responder))


def _add(store: Store, rule: Rule) -> None:
    store.add_rule(rule)
    everyone = "allowed" if store.rules().otherwise else "denied"
    made = f"{rule_word(rule.allowed)} {rule.sender} to {rule.responder}"
    say(f"{store.where}: {made}; others are {everyone}")


@store_command(policy, "remove")
@_patterns
def remove(store: Store, sender: str, responder: str) -> None:
    """Remove the rule with these two patterns."""
    store.remove_rule(sender, responder)
    say(f"{store.where}: removed the rule from {sender} to {responder}")


@store_command(policy, "list")
def list_rules(store: Store, as_json: bool) -> None:
    """List the rules in their order, and what applies if none matches."""
    rules = store.rules()
    if as_json:
        print(json.dumps(describe_rules(rules)))
        return
    rows = [(rule_word(rule.allowed), rule.sender, rule.responder) for rule in rules.rules]
    last = (rule_word(rules.otherwise), "everyone else", "")
    print_table([("rule", "from", "to"), *rows, last])
