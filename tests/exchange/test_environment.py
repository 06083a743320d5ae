"""The clock and randomness that an exchange takes."""

from __future__ import annotations

import os

import pytest

from mikeytool.exchange.environment import NS, Environment
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo, TsType
from mikeytool.wire.timestamp import Timestamp

NOW = 1_700_000_000 * NS


def sent(off_s: int) -> Timestamp:
    return Timestamp.at(NOW + off_s * NS, TsType.NTP_UTC_32)


@pytest.mark.parametrize("off", [0, 1, -1, 30, -30])
def test_a_timestamp_within_the_skew(off: int) -> None:
    """Interpretation 30."""
    Environment(lambda: NOW, os.urandom, skew=30).check_fresh(sent(off))


@pytest.mark.parametrize(("off", "way"), [(31, "ahead of"), (-31, "behind"), (10**6, "ahead of")])
def test_a_timestamp_beyond_the_skew(off: int, way: str) -> None:
    with pytest.raises(Refused, match=f"{abs(off)} s {way} this clock") as caught:
        Environment(lambda: NOW, os.urandom, skew=30).check_fresh(sent(off))
    assert caught.value.error_no == ErrorNo.INVALID_TS


def test_other_timestamps() -> None:
    """Interpretation 31: a COUNTER is compared elsewhere; unknown types are refused."""
    env = Environment(lambda: NOW, os.urandom)
    env.check_fresh(Timestamp(TsType.COUNTER, bytes(4)))
    with pytest.raises(Refused, match="not supported"):
        env.check_fresh(Timestamp(77, bytes(8)))


def test_a_new_spi_is_taken_from_then_on() -> None:
    octets = iter([b"aaaa", b"bbbb", b"aaaa", b"cccc"])
    taken = {b"bbbb"}
    env = Environment(lambda: NOW, lambda _length: next(octets))
    assert [env.spi(taken), env.spi(taken)] == [b"aaaa", b"cccc"]
    assert taken == {b"aaaa", b"bbbb", b"cccc"}
