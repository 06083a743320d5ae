"""Timestamps against dates that NTP's own documents name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.wire.payloads import TR, T
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp

# Seconds of NTP and the moment: RFC 5905 figure 4, and the rule of RFC 4330 section 3 at its
# edges, which are 1968-01-20T03:14:08Z, the rollover, and 2^31 seconds behind the rollover.
DATES = [
    (2_272_060_800, "1972-01-01T00:00:00Z"),
    (2_208_988_800, "1970-01-01T00:00:00Z"),
    (3_155_587_200, "1999-12-31T00:00:00Z"),
    (3_155_673_600, "2000-01-01T00:00:00Z"),
    (63_104, "2036-02-08T00:00:00Z"),
    (0x80000000, "1968-01-20T03:14:08Z"),
    (0xFFFFFFFF, "2036-02-07T06:28:15Z"),
    (0, "2036-02-07T06:28:16Z"),
    (0x7FFFFFFF, "2104-02-26T09:42:23Z"),
]

every_date = pytest.mark.parametrize(("seconds", "utc"), DATES)


def unix(utc: str) -> int:
    """Whole seconds of Unix time."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return int((datetime.fromisoformat(utc) - epoch).total_seconds())


@every_date
@pytest.mark.parametrize("ts_type", [TsType.NTP_UTC, TsType.NTP])
def test_known_dates_in_64_bits(seconds: int, utc: str, ts_type: TsType) -> None:
    stamp = Timestamp(ts_type, seconds.to_bytes(4) + bytes(4))
    assert stamp.utc == utc
    assert stamp.unix_ns == unix(utc) * 1_000_000_000
    assert Timestamp.at(unix(utc) * 1_000_000_000, ts_type) == stamp


@every_date
def test_known_dates_in_32_bits(seconds: int, utc: str) -> None:
    stamp = Timestamp(TsType.NTP_UTC_32, seconds.to_bytes(4))
    assert stamp.utc == utc
    assert Timestamp.at(unix(utc) * 1_000_000_000 + 999, TsType.NTP_UTC_32) == stamp


@pytest.mark.parametrize(
    ("fraction", "ns", "utc"),
    [
        ("80000000", 500_000_000, "2000-01-01T00:00:00.500000Z"),
        ("40000000", 250_000_000, "2000-01-01T00:00:00.250000Z"),
        ("00000001", 0, "2000-01-01T00:00:00Z"),
        ("ffffffff", 999_999_999, "2000-01-01T00:00:00.999999Z"),
    ],
)
def test_fractions(fraction: str, ns: int, utc: str) -> None:
    """The fraction counts in units of 2^-32 seconds, some 233 picoseconds."""
    stamp = Timestamp(TsType.NTP_UTC, (3_155_673_600).to_bytes(4) + bytes.fromhex(fraction))
    assert stamp.unix_ns == unix("2000-01-01T00:00:00Z") * 1_000_000_000 + ns
    assert stamp.utc == utc


@given(st.integers(unix("1968-01-20T03:14:08Z") * 10**9, unix("2104-02-26T09:42:24Z") * 10**9 - 1))
def test_a_moment_comes_back_within_a_nanosecond(unix_ns: int) -> None:
    back = Timestamp.at(unix_ns).unix_ns
    assert back is not None
    assert 0 <= unix_ns - back <= 1


@given(
    st.integers(
        unix("1968-01-20T03:14:08Z") * 10**9, unix("2104-02-26T09:42:24Z") * 10**9 - 10**9 - 1
    )
)
def test_a_second_is_one_in_the_upper_32_bits(unix_ns: int) -> None:
    first = int.from_bytes(Timestamp.at(unix_ns).value)
    second = int.from_bytes(Timestamp.at(unix_ns + 10**9).value)
    assert (second - first) % 2**64 == 2**32


@pytest.mark.parametrize(
    ("ts_type", "value", "ntp64"),
    [
        # RFC 3830 6.6: leading zeros. RFC 6043 6.3: zeros in the fractional part.
        (TsType.COUNTER, "01020304", "0000000001020304"),
        (TsType.NTP_UTC_32, "edc34f48", "edc34f4800000000"),
        (TsType.NTP_UTC, "edc34f481f258eee", "edc34f481f258eee"),
        (TsType.NTP, "edc34f481f258eee", "edc34f481f258eee"),
    ],
)
def test_64_bits_for_initialization_vectors(ts_type: TsType, value: str, ntp64: str) -> None:
    assert Timestamp(ts_type, bytes.fromhex(value)).ntp64.hex() == ntp64


def test_a_counter_is_no_time() -> None:
    counter = Timestamp(TsType.COUNTER, bytes.fromhex("00010000"))
    assert counter.counter == 65536
    assert counter.unix_ns is None
    assert counter.utc is None


@pytest.mark.parametrize("ts_type", [0, 1, 3])
def test_a_time_is_no_counter(ts_type: int) -> None:
    assert Timestamp(ts_type, bytes(8)).counter is None


def test_an_unknown_type_has_no_meaning() -> None:
    unknown = Timestamp(9, bytes(8))
    assert (unknown.unix_ns, unknown.utc, unknown.counter) == (None, None, None)


@pytest.mark.parametrize(
    "payload",
    [
        T(ts_type=0, ts_value=bytes.fromhex("edc34f481f258eee")),
        TR(ts_role=2, ts_type=0, ts_value=bytes.fromhex("edc34f481f258eee")),
    ],
)
def test_payloads_carry_it(payload: T | TR) -> None:
    assert Timestamp.of(payload) == Timestamp(0, bytes.fromhex("edc34f481f258eee"))


@pytest.mark.parametrize(
    ("ts_type", "value"), [(TsType.NTP_UTC_32, "00000e10"), (TsType.NTP_UTC, "00000e10ffffffff")]
)
def test_a_rekeying_interval_counts_whole_seconds(ts_type: TsType, value: str) -> None:
    """RFC 6043 6.10: the integer part of the timestamp."""
    assert Timestamp(ts_type, bytes.fromhex(value)).interval == 3600
