"""`keygen`: new keys."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mikeytool.cli.command_groups import Command, Group
from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.clock import clock
from mikeytool.cli.options.common import PATH, quiet_option
from mikeytool.cli.options.keys import KeyFormat, format_key
from mikeytool.cli.options.outputs import OUTPUT_PATH, force_option
from mikeytool.cli.options.types import IDENTITY
from mikeytool.srtp import suite
from mikeytool.storage.private_files import check_free, write_private, write_together
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity

# The use of each key, and its default length in octets.
_KINDS = {
    "psk": ("Make a key for a user and the KMS; {} octets.", 16),
    "tpk": ("Make a ticket protection key; {} octets.", 32),
    "tgk": ("Make a key to derive traffic keys from; {} octets.", 16),
    "tek": ("Make a traffic key, for SRTP the master key; {} octets.", 16),
    "salt": ("Make a salt, for SRTP the master salt; {} octets, 12 for AES-GCM.", 14),
}


@click.group(cls=Group)
def keygen() -> None:
    """Make keys."""


def _symmetric(kind: str) -> click.Command:
    text, usual = _KINDS[kind]

    @click.option("--bytes", "length", type=click.IntRange(8, 255), help="Length in octets.")
    @click.option("--suite", "suite_name", metavar="NAME", help="Take the length of an SRTP suite.")
    @click.option(
        "-f", "--format", "fmt", type=click.Choice(["hex", "b64", "raw"]), default="hex",
        show_default=True, help="The encoding of the key.",
    )  # fmt: skip
    @click.option(
        "-o", "--output", type=OUTPUT_PATH, metavar="FILE", help="Write to FILE, mode 0600."
    )
    @force_option
    @quiet_option
    def make(
        length: int | None, suite_name: str | None, fmt: KeyFormat, output: Path | None, force: bool
    ) -> None:
        if length is not None and suite_name is not None:
            raise UsageError("--bytes and --suite both give the length; give one")
        if suite_name is not None:
            chosen = suite(suite_name)
            length = chosen.salt_length if kind == "salt" else chosen.key_length
        data = format_key(os.urandom(length or usual), fmt)
        if output is None:
            write_output(data, None)
        else:
            write_private(output, data, force=force)

    return click.command(kind, cls=Command, help=text.format(usual))(make)


for _kind in _KINDS:
    keygen.add_command(_symmetric(_kind))


@keygen.command()
@click.option(
    "--identity", type=IDENTITY, required=True, metavar="URI",
    help="The identity of the certificate, its subjectAltName.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=OUTPUT_PATH, required=True, metavar="PEM",
    help="Write the private key to PEM, mode 0600.",
)  # fmt: skip
@click.option(
    "--cert-out",
    type=OUTPUT_PATH,
    required=True,
    metavar="PEM",
    help="Write the certificate to PEM.",
)  # fmt: skip
@click.option(
    "--bits", type=click.IntRange(2048, 8192), default=3072, show_default=True,
    help="Length of the key.",
)  # fmt: skip
@click.option(
    "--ca-cert", type=PATH, metavar="PEM",
    help="The certificate of the CA that signs; default: the key signs its own.",
)  # fmt: skip
@click.option("--ca-key", type=PATH, metavar="PEM", help="The private key of --ca-cert.")
@force_option
@quiet_option
def rsa(
    identity: Identity,
    output: Path,
    cert_out: Path,
    bits: int,
    ca_cert: Path | None,
    ca_key: Path | None,
    force: bool,
) -> None:
    """Make an RSA key pair and its certificate. The certificate is valid for a year."""
    for path in (output, cert_out):
        check_free(path, force=force)
    if (ca_cert is None) != (ca_key is None):
        raise UsageError("--ca-cert and --ca-key go together")
    from mikeytool.crypto.new_certificate import make_key_pair, read_issuer

    issuer = None
    if ca_cert is not None and ca_key is not None:
        try:
            issuer = read_issuer(ca_cert.read_bytes(), ca_key.read_bytes())
        except UsageError as error:
            raise UsageError(f"--ca-cert or --ca-key: {error}") from None
    try:
        key_pem, cert_pem = make_key_pair(identity, clock()(), bits=bits, issuer=issuer)
    except UsageError as error:
        raise UsageError(f"--identity: {error}") from None
    write_together({output: key_pem, cert_out: cert_pem}, force=force)
