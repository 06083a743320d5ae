"""The exchange with a KMS on the command line: done at once, or printed and kept pending."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from mikeytool.capture.text import Format
from mikeytool.cli.message_io import staging, write_unstaged
from mikeytool.cli.options.common import force_option, say
from mikeytool.cli.options.credentials import credential_options, kms_at, kms_options
from mikeytool.cli.options.types import IDENTITY
from mikeytool.client.kms_access import Kms
from mikeytool.client.state import open_state
from mikeytool.client.ticket_files import Pending, TicketFile
from mikeytool.exchange.environment import Environment
from mikeytool.storage.private_files import check_free
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity

C = TypeVar("C", bound=Any)

_PATH = click.Path(path_type=Path)

as_option = click.option(
    "--as",
    "local",
    type=IDENTITY,
    required=True,
    metavar="URI",
    envvar="MIKEYTOOL_AS",
    show_envvar=True,
    help="Who you are.",
)


def asking_options(command: C) -> C:
    """Who talks to the KMS, how it is reached, and where the ticket or the request goes."""
    for option in reversed(
        (
            as_option,
            credential_options,
            kms_options,
            click.option("--save", type=_PATH, metavar="FILE", help="Where the ticket goes."),
            click.option(
                "--pending",
                type=_PATH,
                metavar="FILE",
                help="Print the message; FILE keeps what `ticket accept` needs.",
            ),
            force_option,
        )
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Way:
    """How the answer of the KMS comes: at once, or later by `ticket accept` if `kms` is None."""

    kms: Kms | None
    kms_id: Identity
    target: Path
    force: bool


def way_of(
    kms_where: str | None,
    kms_id: Identity | None,
    save: Path | None,
    pending: Path | None,
    *,
    force: bool,
) -> Way:
    """The way that the options say; raises UsageError, StateError for a file in the way."""
    if pending is not None:
        if save is not None:
            raise UsageError("--pending prints the message; give --save to `ticket accept` then")
        if kms_id is None:
            raise UsageError("--pending needs --kms-id, the identity of the KMS")
        check_free(pending, force=force)
        return Way(None, kms_id, pending, force)
    if kms_where is None or save is None:
        raise UsageError(
            "give --kms STORE or URL with --save FILE, or --pending FILE with --kms-id ID"
        )
    check_free(save, force=force)
    kms = kms_at(kms_where)
    return Way(kms, kms_id or kms.identity, save, force)


def ask(
    env: Environment,
    asked: Pending,
    way: Way,
    fmt: Format,
    output: str | None,
    *,
    accept_changed: bool = False,
) -> None:
    """Write the pending file and print the message, or do the exchange and save the ticket."""
    if way.kms is None:
        with staging(fmt, output)(asked.init.raw):
            asked.write(way.target, force=way.force)
        write_unstaged(asked.init.raw, fmt, output)
        return
    answer = way.kms.answer(env, asked.init.raw)
    save(env, asked, answer, way.target, accept_changed=accept_changed, force=way.force)


def save(
    env: Environment,
    asked: Pending,
    answer: bytes,
    target: Path,
    *,
    accept_changed: bool,
    force: bool,
) -> None:
    """Verify an answer of the KMS and write its ticket; one that was resolved is remembered.

    Raises Refused for a Ticket Policy that was changed, unless `accept_changed`.
    """
    accepted, differences = asked.accept(env, answer)
    for difference in differences:
        say(f"changed by the KMS: {difference.text}")
    if any(difference.harm for difference in differences) and not accept_changed:
        raise Refused("the KMS changed the Ticket Policy; look at it and add --accept-changed")
    accepted.write(target, force=force)
    if accepted.resolved_by is not None:
        _remember(env, accepted)
    say(f"{target}: ticket of {accepted.policy.initiator}")


def _remember(env: Environment, resolved: TicketFile) -> None:
    with closing(open_state()) as state:
        state.keep(env, resolved)
