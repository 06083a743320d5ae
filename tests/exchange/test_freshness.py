"""What a session remembers of T (RFC 3830 5.4, interpretations 1, 30, 31, 41 and 42)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.freshness import MAX_KEPT, Freshness, as_number
from mikeytool.exchange.incoming import Incoming
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import IdRole, TsType
from mikeytool.wire.timestamp import Timestamp

ALICE, BOB = IdRole.INITIATOR, IdRole.RESPONDER
NOW = 1_800_000_000 * NS
ROLLOVER = 2_085_978_496 * NS
"""2036-02-07T06:28:16Z, when the seconds of NTP begin again at 0 (RFC 4330 3)."""


def env(now_ns: int = NOW) -> Environment:
    return Environment(clock=lambda: now_ns, random=bytes)


def message(t: Timestamp, proof: bytes = b"mac") -> Incoming:
    return cast("Incoming", SimpleNamespace(t=t, proof=proof))


def at(ns: int, ts_type: TsType = TsType.NTP_UTC) -> Incoming:
    return message(Timestamp.at(ns, ts_type), ns.to_bytes(16))


def counted(number: int) -> Incoming:
    return message(Timestamp(TsType.COUNTER, number.to_bytes(4)), number.to_bytes(8))


@pytest.mark.parametrize("ts_type", [TsType.NTP_UTC, TsType.NTP, TsType.NTP_UTC_32])
@pytest.mark.parametrize("role", [ALICE, BOB])
def test_the_next_t_is_above_all_before(ts_type: TsType, role: IdRole) -> None:
    fresh = Freshness.after(at(NOW, ts_type), None, role)
    for ahead in (0, 0, 100, -50):
        last = fresh.last_t
        t = fresh.next_t(env(NOW + ahead * NS), role)
        assert t.ts_type == ts_type
        assert as_number(t) > last
        assert t.value[-1] & 1 == (role == BOB)
        fresh = fresh.after_sending(message(t))


@pytest.mark.parametrize("role", [ALICE, BOB])
def test_seconds_begin_again_in_2036(role: IdRole) -> None:
    """Interpretation 30: what has no top bit comes after what has one."""
    fresh = Freshness.after(at(ROLLOVER - 10 * NS), None, role)
    t = fresh.next_t(env(ROLLOVER + 10 * NS), role)
    assert t.utc is not None
    assert t.utc.startswith("2036-02-07T06:28:26")
    fresh = fresh.after_receiving(at(ROLLOVER + 20 * NS))
    assert as_number(fresh.next_t(env(ROLLOVER + 10 * NS), role)) > fresh.last_t
    fresh.check(env(ROLLOVER), at(ROLLOVER - 20 * NS))


def test_a_counter_goes_on_from_the_largest() -> None:
    fresh = Freshness.after(counted(7), counted(7), BOB)
    assert fresh.next_t(env(), BOB).counter == 9
    fresh = fresh.after_receiving(counted(20))
    t = fresh.next_t(env(), BOB)
    assert t.counter == 21
    fresh = fresh.after_sending(message(t))
    assert fresh.peer_counter == 20
    # A time among the counters is compared with times only.
    fresh.check(env(), at(NOW))
    assert fresh.after_receiving(at(NOW)).next_t(env(), BOB).counter == 23


def test_an_answer_may_repeat_a_counter() -> None:
    """It is not the other end's own, which may be far below."""
    fresh = Freshness.after(counted(1000), counted(1000), ALICE)
    assert fresh.peer_counter == -1
    fresh.check(env(), counted(5))
    fresh = Freshness.after(counted(1000), counted(1001), ALICE)
    with pytest.raises(Refused, match="COUNTER 5"):
        fresh.check(env(), counted(5))


def test_what_is_remembered_is_bounded() -> None:
    """Older times are refused, whether they were seen or not."""
    fresh = Freshness.after(at(NOW - 250 * NS), None, BOB)
    for second in range(MAX_KEPT + 20):
        fresh = fresh.after_receiving(at(NOW + second * NS))
        fresh = fresh.after_sending(at(NOW + second * NS + 1))
    assert len(fresh.heard) == len(fresh.sent) == MAX_KEPT
    for second, words in ((-100, "older"), (5, "older"), (MAX_KEPT + 19, "seen already")):
        with pytest.raises(Refused, match=words):
            fresh.check(env(), at(NOW + second * NS))
    fresh.check(env(), at(NOW + (MAX_KEPT + 10) * NS + 5000))
    with pytest.raises(Refused, match="one's own"):
        fresh.refuse_own(at(NOW + (MAX_KEPT + 19) * NS + 1))


def test_own_counters_that_are_forgotten_are_refused() -> None:
    fresh = Freshness.after(counted(1), counted(1), BOB)
    for number in range(3, 3 + 2 * MAX_KEPT + 2, 2):
        fresh = fresh.after_sending(counted(number))
    oldest = counted(3)
    fresh.refuse_own(oldest)
    with pytest.raises(Refused, match="not above"):
        fresh.check(env(), oldest)
