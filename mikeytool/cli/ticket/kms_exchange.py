"""The exchange with a KMS for a ticket: done at once, or printed and kept pending."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click

from mikeytool.capture.text import Format
from mikeytool.cli.message_io import staging, write_unstaged
from mikeytool.cli.options.common import options, say
from mikeytool.cli.options.credentials import credential_options, kms_at, kms_options
from mikeytool.cli.options.outputs import OUTPUT_PATH, force_option
from mikeytool.cli.options.types import IDENTITY
from mikeytool.client.ticket_files import KIND, PENDING, Pending
from mikeytool.client.tickets import accept_answer
from mikeytool.exchange.environment import Environment
from mikeytool.storage.private_files import check_free
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity

as_option = click.option(
    "--as", "local", type=IDENTITY, required=True, metavar="URI", envvar="MIKEYTOOL_AS",
    show_envvar=True, help="Your identity.",
)  # fmt: skip


kms_exchange_options = options(
    as_option,
    credential_options,
    kms_options,
    click.option(
        "--save", type=OUTPUT_PATH, metavar="FILE", help="Write the ticket to FILE."
    ),
    click.option(
        "--pending", type=OUTPUT_PATH, metavar="FILE",
        help="Print the message; FILE keeps what `ticket accept` needs.",
    ),
    force_option,
)  # fmt: skip
"""Add the options for the user, the KMS, and where the ticket or the request goes."""


def exchange(
    env: Environment,
    request: Callable[[Identity], Pending],
    fmt: Format,
    output: str | None,
    *,
    kms_where: str | None,
    kms_id: Identity | None,
    save: Path | None,
    pending: Path | None,
    force: bool,
    accept_changed: bool = False,
) -> None:
    """Send a request to the KMS and save its ticket, or with `pending` print the request.

    `request` makes the request for the KMS with an identity. Raises UsageError for options that
    do not go together, StateError for a file in the way.
    """
    if pending is not None:
        if save is not None:
            raise UsageError("--pending prints the message; give --save to `ticket accept` then")
        if kms_id is None:
            raise UsageError("--pending needs --kms-id, the identity of the KMS")
        check_free(pending, force=force, kind=PENDING)
        made = request(kms_id)
        with staging(fmt, output)(made.init.raw):
            made.write(pending, force=force)
        write_unstaged(made.init.raw, fmt, output)
        return
    if kms_where is None or save is None:
        raise UsageError(
            "give --kms STORE or URL with --save FILE, or --pending FILE with --kms-id ID"
        )
    if output is not None:
        raise UsageError("-o is for the message of --pending; --save names the ticket")
    check_free(save, force=force, kind=KIND)
    with closing(kms_at(kms_where)) as kms:
        made = request(kms_id or kms.identity)
        answer = kms.answer(env, made.init.raw)
    take_answer(env, made, answer, save, accept_changed=accept_changed, force=force)


def take_answer(
    env: Environment,
    request: Pending,
    answer: bytes,
    save: Path,
    *,
    accept_changed: bool,
    force: bool,
) -> None:
    """Verify an answer of the KMS, and write its ticket to a file; see `accept_answer`."""
    ticket = accept_answer(
        env, request, answer, save, accept_changed=accept_changed, force=force, note=say
    )
    say(f"{save}: ticket of {ticket.policy.initiator}")
