"""The groups of RFC 3830 6.4, and the secrets of both ends."""

from __future__ import annotations

import pytest

from mikeytool.crypto.dh import _PRIMES, public_value, shared_secret
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import DhGroup

SIZES = {DhGroup.OAKLEY_1: (768, 149_686), DhGroup.OAKLEY_2: (1024, 129_093),
         DhGroup.OAKLEY_5: (1536, 741_804)}  # fmt: skip
"""Bits, and the number that makes p prime (RFC 2412 E.1 and E.2, RFC 3526 2)."""


def pi(bits: int) -> int:
    """The first bits of pi after the point and before it, by Machin's formula."""
    one = 1 << (bits + 64)

    def arctan_of_inverse(x: int) -> int:
        term, total, n, sign = one // x, one // x, 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) >> 64


@pytest.mark.parametrize("group", SIZES)
def test_the_primes_come_from_pi(group: DhGroup) -> None:
    n, k = SIZES[group]
    prime = 2**n - 2 ** (n - 64) - 1 + 2**64 * (pi(n - 130) + k)
    assert _PRIMES[group] == prime
    assert 8 * group.length == n
    mine, theirs = b"\x05" * 20, b"\x07" * 32
    values = [pow(2, int.from_bytes(x), prime).to_bytes(n // 8) for x in (mine, theirs)]
    assert [public_value(group, x) for x in (mine, theirs)] == values
    both = pow(2, int.from_bytes(mine) * int.from_bytes(theirs), prime).to_bytes(n // 8)
    assert shared_secret(group, mine, values[1]) == both
    assert shared_secret(group, theirs, values[0]) == both


@pytest.mark.parametrize("value", [b"\0", b"\1", (_PRIMES[2] - 1).to_bytes(128), b"\xff" * 128])
def test_values_that_make_every_key_the_same(value: bytes) -> None:
    with pytest.raises(Refused, match="0, 1 or out of range"):
        shared_secret(2, b"\5", value)


def test_what_is_no_secret_of_a_group() -> None:
    with pytest.raises(Refused, match="more than 96 octets"):
        public_value(1, bytes(97))
    with pytest.raises(Refused, match="unknown"):
        public_value(9, b"\1")
