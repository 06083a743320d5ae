"""Diffie-Hellman in the groups of RFC 3830 6.4, for secrets that are handed in.

The tool takes part in no Diffie-Hellman exchange. Of a captured one it computes the TGK from the
secret of one end, which that end has disclosed.
"""

from __future__ import annotations

from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import DhGroup, ErrorNo

_GENERATOR = 2

_PRIMES = {
    DhGroup.OAKLEY_1.value: int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
        "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
        "4FE1356D6D51C245E485B576625E7EC6F44C42E9A63A3620FFFFFFFFFFFFFFFF",
        16,
    ),
    DhGroup.OAKLEY_2.value: int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
        "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
        "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
        16,
    ),
    DhGroup.OAKLEY_5.value: int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
        "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
        "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
        "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
        "9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF",
        16,
    ),
}
"""The prime of each group (RFC 2412 E.1 and E.2, RFC 3526 2)."""


def public_value(group: int, exponent: bytes) -> bytes:
    """Compute the DH value of an exponent; raises Refused (Invalid DH) for an unknown group."""
    return _power(group, _GENERATOR, exponent)


def shared_secret(group: int, exponent: bytes, other: bytes) -> bytes:
    """Compute the TGK of an exponent and the other end's DH value, as long as the group's values.

    Raises Refused (Invalid DH) for an unknown group, and for a value that makes every key the same.
    """
    value, prime = int.from_bytes(other), _prime(group)
    if not 1 < value < prime - 1:
        raise Refused("the DH value is 0, 1 or out of range", ErrorNo.INVALID_DH)
    return _power(group, value, exponent)


def _power(group: int, base: int, exponent: bytes) -> bytes:
    prime, length = _prime(group), DhGroup(group).length
    if len(exponent) > length:
        raise Refused(f"a secret of more than {length} octets is none of this DH group")
    return pow(base, int.from_bytes(exponent), prime).to_bytes(length)


def _prime(group: int) -> int:
    if group not in _PRIMES:
        raise Refused(f"DH group {group} is unknown", ErrorNo.INVALID_DH)
    return _PRIMES[group]
