"""The options for a KMS, and for the credentials of a user there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from mikeytool.cli.options.common import PATH, options
from mikeytool.cli.options.keys import KEY, KEY_HELP, PASSPHRASE_VARIABLE, need_key, read_passphrase
from mikeytool.cli.options.types import IDENTITY
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity

if TYPE_CHECKING:
    from mikeytool.client.credentials import Credentials
    from mikeytool.client.kms_access import StoreKms, UrlKms


def _keep_option(context: click.Context, param: click.Parameter, path: Path | None) -> None:
    context.meta[f"mikeytool.{param.name}"] = None if path is None else str(path)


CREDENTIALS = ("psk", "psk_id", "private_key", "certs", "kms_cert", "oaep", "pss")
"""The names of what `credential_options` gives and `credentials_of` takes."""


credential_options = options(
    click.option(
        "--psk", type=KEY, metavar="KEY", envvar="MIKEYTOOL_PSK", show_envvar=True,
        help=f"Your pre-shared key with the KMS: {KEY_HELP}.",
    ),
    click.option("--psk-id", metavar="TEXT", help="The name of that key, if it has one."),
    click.option(
        "--private-key", type=PATH, metavar="PEM",
        help="Your private key, in place of --psk. Its passphrase is read from the"
        f" terminal, or from {PASSPHRASE_VARIABLE}.",
    ),
    click.option(
        "--cert", "certs", type=PATH, multiple=True, metavar="PEM",
        help="Your certificate, then those of its CAs, each of the one before.",
    ),
    click.option(
        "--kms-cert", type=PATH, metavar="PEM",
        help="The certificate of the KMS; it is trusted as given.",
    ),
    click.option("--oaep", is_flag=True, help="Encrypt to the KMS with RSA-OAEP."),
    click.option("--pss", is_flag=True, help="Sign with RSASSA-PSS."),
)  # fmt: skip
"""`--psk`, or a private key with certificates; `credentials_of` takes them."""


kms_options = options(
    click.option(
        "--kms", "kms_where", metavar="STORE|URL", envvar="MIKEYTOOL_KMS",
        show_envvar=True, help="The https:// URL of the KMS; or its store, for one"
        " person's tests: it holds every user's key.",
    ),
    click.option(
        "--kms-id", type=IDENTITY, metavar="ID", envvar="MIKEYTOOL_KMS_ID",
        show_envvar=True, help="The identity of the KMS; default: what the store says, or"
        " the host name of the URL.",
    ),
    click.option(
        "--kms-ca", type=PATH, metavar="PEM", envvar="MIKEYTOOL_KMS_CA",
        show_envvar=True, expose_value=False, callback=_keep_option,
        help="With a URL: the CA that certifies the KMS, in place of the system's.",
    ),
    click.option(
        "--kms-client", type=PATH, metavar="PEM", envvar="MIKEYTOOL_KMS_CLIENT",
        show_envvar=True, expose_value=False, callback=_keep_option,
        help="With a URL: your certificate for TLS and its private key.",
    ),
)  # fmt: skip
"""`--kms`, `--kms-id` and what TLS takes; `kms_at` reaches the KMS."""


def kms_at(where: str) -> StoreKms | UrlKms:
    """Reach the KMS with a store or at a URL, over TLS as the options say.

    The caller closes it. Raises as `reach` does.
    """
    from mikeytool.client.kms_access import reach

    context = click.get_current_context()
    tls = None
    if "://" in where:
        from mikeytool.kms.remote.connection import Tls

        tls = Tls(context.meta["mikeytool.kms_ca"], context.meta["mikeytool.kms_client"])
    kms = reach(where, tls)
    context.call_on_close(kms.close)
    return kms


def key_name(text: str | None) -> Identity | None:
    """Make the name of a key, for IDRpsk; None without one."""
    return None if text is None else Identity.key_name(text)


def credentials_of(
    *,
    psk: bytes | None,
    psk_id: str | None,
    private_key: Path | None,
    certs: tuple[Path, ...],
    kms_cert: Path | None,
    oaep: bool,
    pss: bool,
) -> Credentials:
    """Make the credentials of the options; raises UsageError if they do not go together.

    A pre-shared key of the environment gives way to `--private-key`. Without either the key
    is asked for.
    """
    if private_key is None:
        if certs or kms_cert is not None or oaep or pss:
            raise UsageError("--cert, --kms-cert, --oaep and --pss go with --private-key PEM")
        from mikeytool.client.credentials import PreSharedKey

        return PreSharedKey(need_key(psk, "--psk"), key_name(psk_id))
    if psk_id is not None or (psk is not None and _is_typed("psk")):
        raise UsageError("--psk and --private-key: the KMS knows you by one of them; give one")
    if not certs or kms_cert is None:
        raise UsageError("--private-key takes --cert PEM, yours, and --kms-cert PEM, the KMS's")
    from mikeytool.client.public_key import PublicKey

    return PublicKey.load(
        private_key, certs, kms_cert, lambda: read_passphrase(private_key), oaep=oaep, pss=pss
    )


def _is_typed(name: str) -> bool:
    """Tell whether an option is on the command line, not in the environment."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not ParameterSource.ENVIRONMENT
