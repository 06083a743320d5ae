"""Users with certificates: their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mikeytool.client.public_key import PublicKey
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused, StateError, WireError
from mikeytool.wire.registry import SType
from tests.crypto.test_certificates import certificate, private_key
from tests.world import ALICE, KMS, World


def nothing_asked() -> bytes:
    raise AssertionError("a passphrase is asked for")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    key, own, kms = (tmp_path / name for name in ("key", "own", "kms"))
    key.write_bytes(
        private_key("alice").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    for path in (own, kms):
        path.write_bytes(certificate(path.name).public_bytes(Encoding.PEM))
    read = PublicKey.load(key, [own], kms, nothing_asked, oaep=True, pss=True)
    assert (read.signer.s_type, read.recipient.oaep) == (SType.RSA_PSS, True)
    for name in (key, own, kms):
        kept = name.read_bytes()
        name.unlink()
        with pytest.raises(StateError, match=f"{name}: No such file"):
            PublicKey.load(key, [own], kms, nothing_asked, oaep=False, pss=False)
        name.write_bytes(b"nothing")
        with pytest.raises(WireError, match=str(name)):
            PublicKey.load(key, [own], kms, nothing_asked, oaep=False, pss=False)
        name.write_bytes(kept)


def test_a_certificate_of_another_kms(world: World, tmp_path: Path) -> None:
    """What is asked of a KMS is encrypted to its own key alone."""
    pem = private_key("alice").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key").write_bytes(pem)
    (tmp_path / "cert").write_bytes(certificate("alice").public_bytes(Encoding.PEM))
    key, own = tmp_path / "key", tmp_path / "cert"
    read = PublicKey.load(key, [own], own, nothing_asked, oaep=False, pss=False)
    policy: TicketPolicy = world.policy()
    with pytest.raises(Refused):
        read.request(world.env, policy, ALICE, KMS)
