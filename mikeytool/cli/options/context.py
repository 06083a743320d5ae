"""What opening a message takes beside keys: other messages, and identities left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mikeytool.cli.messages import one_message
from mikeytool.cli.options.types import IDENTITY
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.registry import IdRole

C = TypeVar("C", bound=Callable[..., Any])
_ROLES = {"i": IdRole.INITIATOR, "r": IdRole.RESPONDER, "kms": IdRole.KMS}


def context_options(command: C) -> C:
    """`--init` and `--identity`."""
    command = click.option(
        "--identity", "identities", multiple=True, metavar="ROLE=ID",
        help="An identity that the message leaves out; ROLE is i, r or kms.",
    )(command)  # fmt: skip
    return click.option(
        "--init", metavar="MESSAGE", help="The initial message that a response answers."
    )(command)


def read_init(init: str | None) -> Message | None:
    """The message of `--init`; raises WireError."""
    return None if init is None else Message.parse(one_message(init, what="--init"))


def read_identities(given: tuple[str, ...]) -> dict[IdRole, Identity]:
    """The identities of `--identity`; raises UsageError."""
    found = {}
    for one in given:
        role, _, text = one.partition("=")
        if role not in _ROLES or not text:
            raise UsageError(f"--identity {one}: give i=ID, r=ID or kms=ID")
        found[_ROLES[role]] = IDENTITY.convert(text, None, None)
    return found
