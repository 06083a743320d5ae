"""Key pairs and certificates in PEM files, for a KMS and for its users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mikeytool.storage.input_files import read_octets

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate


def load_certificates(path: Path) -> list[Certificate]:
    """The certificates in a file, in order; raises StateError, WireError or Refused."""
    from mikeytool.crypto import pem  # few stores have any, and X.509 takes long to load

    return pem.certificates(read_octets(path), str(path))


def load_key_pair(
    private_key: Path, cert: Path, passphrase: Callable[[], bytes]
) -> tuple[RSAPrivateKey, Certificate]:
    """A private key and its certificate, the first in a file.

    `passphrase` is called if the key has one. Raises as `load_certificates` and
    `crypto.pem.private_key` do.
    """
    from mikeytool.crypto import pem

    key = pem.private_key(read_octets(private_key), str(private_key), passphrase)
    return key, load_certificates(cert)[0]
