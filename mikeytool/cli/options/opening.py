"""The options that open messages: keys, and what a message leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mikeytool.cli.message_io import one_message
from mikeytool.cli.options.common import NAME, options
from mikeytool.cli.options.keys import KEY, KEY_HELP, read_passphrase
from mikeytool.cli.options.types import IDENTITY
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.registry import IdRole

if TYPE_CHECKING:
    from mikeytool.exchange.inspect_keys import KeyRing

_ROLES = {"i": IdRole.INITIATOR, "r": IdRole.RESPONDER, "kms": IdRole.KMS}


def _keys(option: str, text: str) -> Any:
    return click.option(option, type=KEY, multiple=True, metavar="KEY", help=f"{text}: {KEY_HELP}.")


key_ring_options = options(
    click.option(
        "--keys", "key_files", type=NAME, multiple=True, metavar="FILE",
        help="Key tab, one key a line: psk URI KEY, psk-id TEXT KEY, tpk ID KEY, mpki CSB_ID"
        " KEY, mpkr CSB_ID KEY, tgk CSB_ID KEY, dh CSB_ID SECRET, rsa PEM.",
    ),
    _keys("--psk", "Pre-shared key of a user and the KMS, or of two users"),
    _keys("--mpki", "MPKi"),
    _keys("--mpkr", "MPKr, or MPKr' of an answer"),
    _keys("--tpk", "Ticket protection key"),
    click.option(
        "--private-key", "private_keys", type=NAME, multiple=True, metavar="PEM",
        help="RSA private key: the receiver's opens an envelope, the sender's signs (encode).",
    ),
)  # fmt: skip
"""The options whose keys open messages; `key_ring` takes them."""
context_options = options(
    click.option(
        "--init", metavar="MESSAGE", help="The initial message that a response answers."
    ),
    click.option(
        "--identity", "identities", multiple=True, metavar="ROLE=ID",
        help="An identity that the message leaves out; ROLE is i, r or kms.",
    ),
)  # fmt: skip
"""`--init` and `--identity`; `read_init` and `read_identities` take them."""


def key_ring(
    psk: tuple[bytes, ...],
    mpki: tuple[bytes, ...],
    mpkr: tuple[bytes, ...],
    tpk: tuple[bytes, ...],
    private_keys: tuple[str, ...],
    key_files: tuple[str, ...],
) -> KeyRing | None:
    """Make a key ring of every key in the options and the key tabs; None without any.

    Raises WireError for a line or a PEM that cannot be read, StateError for a file.
    """
    if not (psk or mpki or mpkr or tpk or private_keys or key_files):
        return None
    # Imported here because looking at messages without keys, the most frequent use, needs
    # no cryptography.
    from mikeytool.client.key_tab import read_key_tabs, read_private_key
    from mikeytool.exchange.inspect_keys import KeyRing

    ring = KeyRing(
        [(None, key) for key in psk],
        [(None, key) for key in tpk],
        [(None, key) for key in mpki],
        [(None, key) for key in mpkr],
        [read_private_key(path, "--private-key", read_passphrase) for path in private_keys],
    )
    return read_key_tabs(key_files, ring, read_passphrase)


def read_init(init: str | None) -> Message | None:
    """Read the message of `--init`; raises WireError."""
    return None if init is None else Message.parse(one_message(init, what="--init"))


def read_identities(given: tuple[str, ...]) -> dict[IdRole, Identity]:
    """Read the identities of `--identity`; raises UsageError."""
    found = {}
    for one in given:
        role, _, text = one.partition("=")
        if role not in _ROLES or not text:
            raise UsageError(f"--identity {one}: give i=ID, r=ID or kms=ID")
        found[_ROLES[role]] = IDENTITY.convert(text, None, None)
    return found
