"""MACs over messages and tickets (RFC 3830 4.2.4, RFC 6043 6.2)."""

from __future__ import annotations

import hmac

from mikeytool.crypto.derive import MessageKeys
from mikeytool.wire.registry import MacAlg

_DIGEST = {MacAlg.HMAC_SHA_1_160.value: "sha1", MacAlg.HMAC_SHA_256_256.value: "sha256"}


def mac(mac_alg: int, keys: MessageKeys, covered: bytes) -> bytes:
    """Compute the MAC over `covered`.

    Raises Refused (Invalid MAC) for NULL and unknown algorithms.
    """
    return hmac.digest(keys.auth_key(mac_alg), covered, _DIGEST[mac_alg])


def mac_is_good(mac_alg: int, keys: MessageKeys, covered: bytes, given: bytes) -> bool:
    """Return whether `given` is the MAC over `covered`, in constant time.

    Raises Refused (Invalid MAC) for NULL and unknown algorithms, because they prove nothing.
    """
    return hmac.compare_digest(mac(mac_alg, keys, covered), given)
