from __future__ import annotations

import pytest

from mikeytool.lint import lint
from mikeytool.wire.payloads import TR, T
from mikeytool.wire.timestamp import FIRST_MOMENT, LAST_MOMENT, Timestamp
from tests.lint.messages import (
    NOW,
    SECOND,
    Case,
    D,
    camera,
    case,
    change,
    codes,
    edited,
    good,
    insert,
    inside,
    swap,
    t,
    ticket,
    tp,
)

DAY = 86_400
UNIX = (NOW // SECOND).to_bytes(4) + bytes(4)


def tr(role: int, seconds: int = 0, kind: int = 3) -> TR:
    value = Timestamp.at(NOW + seconds * SECOND).value[: 4 if kind == 3 else 8]
    return TR(ts_role=role, ts_type=kind, ts_value=value)


CASES = [
    case("time-future", D.PRE_SHARED, swap("T", t(301))),
    case("time-future", D.PRE_SHARED, change("T", ts_value=bytes(7) + b"\1")),
    case("time-future", D.PRE_SHARED, change("T", ts_value=UNIX)),
    case("time-future", D.RESOLVE_RESP, swap("T", t(600))),
    case("time-future", D.REQUEST_RESP, ticket(swap("T", t(600)))),
    case("time-past", D.PRE_SHARED, swap("T", t(-301))),
    case("time-not-utc", D.PRE_SHARED, change("T", ts_type=1)),
    case("time-type-sakke", D.SAKKE_MSG, change("T", ts_type=2, ts_value=b"\0\0\0\1")),
    case(
        "validity-counter",
        D.REQUEST_INIT_PSK,
        tp(change("TRe", ts_type=2, ts_value=b"\0\0\0\1")),
    ),
    case("validity-reversed", D.REQUEST_INIT_PSK, tp(swap("TRs", tr(2, 40 * DAY)))),
    case("validity-over", D.REQUEST_INIT_PSK, tp(swap("TRe", tr(3, -10)))),
    case(
        "validity-to-come",
        D.RESOLVE_INIT_PSK,
        inside("TICKET", "tp_data", swap("TRs", tr(2, 600))),
    ),
    case("rekey-type", D.REQUEST_INIT_PSK, tp(insert(tr(4, kind=0), "KEMAC"))),
    case(
        "rekey-zero",
        D.REQUEST_INIT_PSK,
        tp(insert(TR(ts_role=4, ts_type=3, ts_value=bytes(4)), "KEMAC")),
    ),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize("seconds", [-299, -1, 0, 1, 300])
def test_clocks_may_be_five_minutes_apart(seconds: int) -> None:
    assert codes(edited(good(D.PRE_SHARED), swap("T", t(seconds)))) == []


def test_unix_time_in_the_place_of_ntp_is_told() -> None:
    broken = edited(good(D.PRE_SHARED), change("T", ts_value=UNIX))
    text = lint(broken, now_ns=NOW).findings[0].text
    assert "2208988800 seconds are missing" in text


@pytest.mark.parametrize(
    ("value", "now_ns", "found"),
    [
        ("80000000", FIRST_MOMENT, []),
        ("ffffffff", FIRST_MOMENT + (2**31 - 1) * SECOND, []),
        ("00000000", FIRST_MOMENT + 2**31 * SECOND, []),
        ("7fffffff", LAST_MOMENT - SECOND, []),
        ("7fffffff", FIRST_MOMENT, ["time-future"]),
        ("80000000", LAST_MOMENT - SECOND, ["time-past"]),
    ],
)
def test_ntp_goes_from_1968_to_2104(value: str, now_ns: int, found: list[str]) -> None:
    stamp = T(ts_type=3, ts_value=bytes.fromhex(value))
    data = edited(good(D.PRE_SHARED), swap("T", stamp))
    assert codes(data, now_ns=now_ns) == found


def test_a_counter_is_no_time() -> None:
    counter = T(ts_type=2, ts_value=b"\xff\xff\xff\xff")
    assert codes(edited(good(D.PRE_SHARED), swap("T", counter))) == []


def test_a_camera_without_a_clock() -> None:
    stamp = Timestamp.at(0).payload()
    assert codes(camera(swap("T", stamp))) == ["quirk-null-protection", "time-past"]
