"""`kms handle`: a message in, the answer out."""

from __future__ import annotations

import click

from mikeytool.capture.text import Format
from mikeytool.cli.command_groups import Command
from mikeytool.cli.exit_codes import complain, exit_code
from mikeytool.cli.message_io import (
    index_option,
    message_argument,
    message_options,
    one_message,
    write_message,
)
from mikeytool.cli.options.clock import environment
from mikeytool.cli.options.common import quiet_option
from mikeytool.cli.options.outputs import check_output, output_force_option
from mikeytool.cli.options.store import store_argument
from mikeytool.kms.service import handle as handle_message
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Where


@click.command(cls=Command)
@store_argument
@message_argument
@index_option
@click.option(
    "--send-errors",
    is_flag=True,
    help="Also answer unauthenticated senders, with an Error message.",
)
@message_options
@output_force_option
@quiet_option
def handle(
    store: Where,
    message: str | None,
    index: int | None,
    send_errors: bool,
    fmt: Format,
    output: str | None,
) -> int:
    """Answer a REQUEST_INIT or RESOLVE_INIT: the message in, the answer out."""
    data = one_message(message, index)
    check_output(output)
    with Store(store) as opened:
        handled = handle_message(opened, environment(), data, send_errors=send_errors)
    if handled.answer is not None:
        write_message(handled.answer, fmt, output)
    if handled.refusal is None:
        return 0
    complain(str(handled.refusal))
    return exit_code(handled.refusal)
