"""Finding and verifying who signed a message (interpretations 34 and 35)."""

from __future__ import annotations

from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mikeytool.crypto.certificates import is_authority, purpose, read_certificate
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.public_key import (
    Init,
    PublicKeyInit,
    VerifiedPk,
    read_request_init_pk,
    read_resolve_init_pk,
    verify_pk,
)
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.store.records import User
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.registry import DataType, ErrorNo


def read_signed(message: Message) -> PublicKeyInit[Any]:
    """Read a REQUEST_INIT or RESOLVE_INIT with a signature."""
    if message.header.data_type == DataType.REQUEST_INIT_PK:
        return read_request_init_pk(message)
    return read_resolve_init_pk(message)


def public_key_of(verified: VerifiedPk[Any]) -> bytes:
    """The public key that verified a signature, in DER."""
    public_key = verified.certificate.public_key()
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Signer(NamedTuple):
    """Who signed a message; `admitted` by the certificate alone if they are no user here."""

    user: User
    admitted: bool
    verified: VerifiedPk[Any]


def signer_of(
    store: Store, env: Environment, kms_policy: KmsPolicy, request: PublicKeyInit[Init]
) -> Signer:
    """Verify a signed message (interpretations 34 and 35)."""
    kms, claimed = store.identity, request.init.sender
    user = None if claimed is None else store.user(claimed)
    # Checks without public-key operations come first (12.3); all are repeated later.
    if claimed is not None and user is None and not kms_policy.admit_certified:
        raise _unknown(claimed)
    if user is None:
        env.check_fresh(request.init.incoming.t)  # for users, checked and logged later
    certificate = None if user is None else user.certificate
    known = None if certificate is None else read_certificate(certificate)
    # Stores made by earlier versions may include certificates that do not belong to CAs.
    anchors = [one for one in store.anchors() if is_authority(one)]
    purposes = [purpose(text) for text in kms_policy.extended_key_usage]
    verified = verify_pk(request, anchors, env.clock(), kms, known=known, purposes=purposes)
    if claimed is None:
        user = store.user(verified.sender)
    if user is not None:
        return Signer(user, False, verified)
    if not kms_policy.admit_certified:
        raise _unknown(verified.sender)
    return Signer(User(verified.sender), True, verified)


def _unknown(user: Identity) -> Refused:
    return Refused(f"the user {user} is not known; see `kms user list`", ErrorNo.AUTH_FAILURE)
