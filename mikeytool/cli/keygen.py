"""`keygen`: fresh keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.clock import clock
from mikeytool.cli.options.common import force_option, quiet_option
from mikeytool.cli.options.keys import KeyFormat, format_key
from mikeytool.cli.options.types import IDENTITY
from mikeytool.srtp import suite
from mikeytool.storage.private_files import check_free, write_private
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import IdType

_PATH = click.Path(path_type=Path)
# What a key is for, and how long it is unless it is told otherwise, in octets.
_KINDS = {
    "psk": ("A key for a user and the KMS; {} octets.", 16),
    "tpk": ("A key for the KMS to protect tickets; {} octets.", 32),
    "tgk": ("A key for deriving traffic keys; {} octets.", 16),
    "tek": ("A key for traffic; for SRTP the master key; {} octets.", 16),
    "salt": ("A salt; for SRTP the master salt; {} octets, 12 for AES-GCM.", 14),
}


@click.group(cls=Group)
def keygen() -> None:
    """Make a key."""


def _symmetric(kind: str) -> click.Command:
    text, usual = _KINDS[kind]

    @click.option("--bytes", "length", type=click.IntRange(8, 255), help="Length in octets.")
    @click.option("--suite", "suite_name", metavar="NAME", help="The length of an SRTP suite.")
    @click.option(
        "-f", "--format", "fmt", type=click.Choice(["hex", "b64", "raw"]), default="hex",
        show_default=True, help="How the key is written.",
    )  # fmt: skip
    @click.option("-o", "--output", type=_PATH, metavar="FILE", help="Write to FILE, mode 0600.")
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

    return click.command(kind, help=text.format(usual))(make)


for _kind in _KINDS:
    keygen.add_command(_symmetric(_kind))


@keygen.command()
@click.option(
    "--identity",
    type=IDENTITY,
    required=True,
    metavar="URI",
    help="Whose it is: the subjectAltName of the certificate.",
)
@click.option(
    "-o",
    "--output",
    type=_PATH,
    required=True,
    metavar="PEM",
    help="Where the private key goes, mode 0600.",
)
@click.option(
    "--cert-out", type=_PATH, required=True, metavar="PEM", help="Where the certificate goes."
)
@click.option("--bits", type=click.IntRange(2048, 8192), default=3072, show_default=True)
@click.option("--ca-cert", type=_PATH, metavar="PEM", help="Who signs; default: itself.")
@click.option("--ca-key", type=_PATH, metavar="PEM", help="The key of --ca-cert.")
@force_option
@quiet_option
def rsa(output: Path, cert_out: Path, force: bool, **options: Any) -> None:
    """An RSA key pair with a certificate for an identity, valid for a year."""
    for path in (output, cert_out):
        check_free(path, force=force)
    key_pem, cert_pem = _make_rsa(**options)
    write_private(output, key_pem, force=force)
    write_private(cert_out, cert_pem, force=force)


def _make_rsa(
    identity: Identity, bits: int, ca_cert: Path | None, ca_key: Path | None
) -> tuple[bytes, bytes]:
    """A private key and its certificate, both PEM (interpretation 34)."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

    if (ca_cert is None) != (ca_key is None):
        raise UsageError("--ca-cert and --ca-key go together")
    key = generate_private_key(public_exponent=65537, key_size=bits)
    text = identity.data.decode("utf-8", "replace")
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text[:64])])
    issuer, signer = subject, key
    if ca_cert is not None and ca_key is not None:
        try:
            issuer = x509.load_pem_x509_certificate(ca_cert.read_bytes()).subject
            loaded = serialization.load_pem_private_key(ca_key.read_bytes(), None)
        except (ValueError, TypeError):
            raise UsageError("--ca-cert or --ca-key: this is no PEM without a passphrase") from None
        if not isinstance(loaded, RSAPrivateKey):
            raise UsageError(f"--ca-key {ca_key}: an RSA key is expected")
        signer = loaded
    start = datetime.fromtimestamp(clock()() // 1_000_000_000, UTC)
    try:
        mail = identity.id_type == IdType.NAI
        name = x509.RFC822Name(text) if mail else x509.UniformResourceIdentifier(text)
    except ValueError:
        raise UsageError("--identity: a certificate takes ASCII alone, escape the rest") from None
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(minutes=5))
        .not_valid_after(start + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca_cert is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, cert.public_bytes(pem)
