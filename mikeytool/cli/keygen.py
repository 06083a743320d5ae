"""`keygen`: fresh keys."""

from __future__ import annotations

from pathlib import Path

import click

from mikeytool.cli.common import (
    KeyFormat,
    force_option,
    format_key,
    quiet_option,
    random,
    write_output,
)
from mikeytool.client.files import write_private
from mikeytool.srtp import suite
from mikeytool.wire.errors import UsageError

_KINDS = ("psk", "tpk", "tgk", "tek", "salt")
_LENGTHS = {"psk": 16, "tpk": 32, "tgk": 16, "tek": 16, "salt": 14}


@click.command()
@click.argument("kind", type=click.Choice(_KINDS))
@click.option("--bytes", "length", type=click.IntRange(8, 255), help="Length in octets.")
@click.option("--suite", "suite_name", metavar="NAME", help="The lengths of an SRTP suite.")
@click.option(
    "-f", "--format", "fmt", type=click.Choice(["hex", "b64", "raw"]), default="hex",
    show_default=True, help="How the key is written.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to FILE, mode 0600.")
@force_option
@quiet_option
def keygen(
    kind: str,
    length: int | None,
    suite_name: str | None,
    fmt: KeyFormat,
    output: str | None,
    force: bool,
) -> None:
    """Make a key of KIND: psk (of a user and the KMS), tpk (protects tickets), tgk, tek, salt.

    Without --bytes or --suite: 16 octets, 32 for a tpk, 14 for a salt.
    """
    if length is not None and suite_name is not None:
        raise UsageError("--bytes and --suite both give the length; give one")
    if suite_name is not None:
        chosen = suite(suite_name)
        length = chosen.salt_length if kind == "salt" else chosen.key_length
    data = format_key(random(length or _LENGTHS[kind]), fmt)
    if output is None:
        write_output(data, None)
    else:
        write_private(Path(output), data, force=force)
