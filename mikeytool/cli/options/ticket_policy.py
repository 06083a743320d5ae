"""Options that describe a Ticket Policy (RFC 6043 6.10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mikeytool.cli.options.common import options
from mikeytool.cli.options.types import IDENTITY


def _suite_lengths(
    _context: click.Context, _param: click.Parameter, name: str | None
) -> tuple[int, int] | None:
    """Give the lengths of the keys and salts of a suite; raises UsageError."""
    if name is None:
        return None
    from mikeytool.srtp import suite

    found = suite(name)
    return found.key_length, found.salt_length


def policy_options(flags: str) -> Callable[[Any], Any]:
    """Make the options that describe a Ticket Policy; `flags` are the default flags."""
    return options(
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
            "--suite", "suite_lengths", metavar="NAME", callback=_suite_lengths,
            help="The SRTP suite that the keys are for: TEKs and salts get its lengths.",
        ),
        click.option(
            "--flags", default=flags, show_default=True, metavar="LETTERS",
            help="Flags of the ticket, or changes to the default, as in --flags=+LM-J; `mikeytool"
            " manual exchanges` says what each letter means.",
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
