"""Signatures over messages (RFC 3830 4.2.6 and 6.5, interpretation 35)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import (
    MGF1,
    PSS,
    AsymmetricPadding,
    PKCS1v15,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo, PrfFunc, SType, label

_HASH: dict[int, HashAlgorithm] = {
    PrfFunc.MIKEY_1.value: SHA1(),  # noqa: S303 - what RFC 3830 4.2.1 makes mandatory
    PrfFunc.HMAC_SHA_256.value: SHA256(),
}


def signature_length(key: RSAPrivateKey) -> int:
    """Return the length, in octets, of a signature made with this key."""
    return (key.key_size + 7) // 8


def sign(prf: int, key: RSAPrivateKey, s_type: int, covered: bytes) -> bytes:
    """Sign `covered` with the hash that belongs to the PRF func."""
    algorithm = _hash(prf)
    return key.sign(covered, _padding(s_type, algorithm), algorithm)


def check_signature(
    prf: int, key: RSAPublicKey, s_type: int, covered: bytes, signature: bytes
) -> None:
    """Verify a signature over `covered`.

    Raises Refused (Auth failure) if the signature is wrong or its S type is unknown, Refused
    (Invalid HA) if its hash does not belong to the PRF func, and Refused (Invalid PRF) if the PRF
    func is unknown.
    """
    wanted = _hash(prf)
    if _is_good(key, s_type, wanted, covered, signature):
        return
    for func, other in _HASH.items():
        if func != prf and _is_good(key, s_type, other, covered, signature):
            raise Refused(
                f"it is signed with {other.name}, {wanted.name} goes with"
                f" {label(PrfFunc, prf)} (RFC 6043 12.1)",
                ErrorNo.INVALID_HA,
            )
    raise Refused(
        "the signature is wrong: another key, other identities, or a changed message",
        ErrorNo.AUTH_FAILURE,
    )


def _hash(prf: int) -> HashAlgorithm:
    if prf not in _HASH:
        raise Refused(f"PRF func {label(PrfFunc, prf)} is not supported", ErrorNo.INVALID_PRF)
    return _HASH[prf]


def _is_good(
    key: RSAPublicKey, s_type: int, algorithm: HashAlgorithm, covered: bytes, signature: bytes
) -> bool:
    try:
        key.verify(signature, covered, _padding(s_type, algorithm), algorithm)
    except InvalidSignature:
        return False
    return True


def _padding(s_type: int, algorithm: HashAlgorithm) -> AsymmetricPadding:
    if s_type == SType.RSA_PKCS1_V15:
        return PKCS1v15()
    if s_type == SType.RSA_PSS:
        return PSS(MGF1(algorithm), algorithm.digest_size)
    raise Refused(f"S type {label(SType, s_type)} is not supported", ErrorNo.AUTH_FAILURE)
