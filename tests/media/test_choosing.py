"""Which keys the packets of a flow may belong to, and in which order."""

from __future__ import annotations

from mikeytool.media.choosing import MAX_CANDIDATES, KeyIndex
from mikeytool.media.dialogs import FOREVER
from mikeytool.media.signalled_keys import SignalledKey
from tests.capture.network import ALICE, BOB
from tests.media.dialogues import end

NAT = "203.0.113.5"
SSRC = b"\0\0\0\7"


def flow(source: str, sport: int, destination: str, dport: int) -> bytes:
    one, two = end(source, sport), end(destination, dport)
    return one[:-2] + two[:-2] + one[-2:] + two[-2:]


def key(name: str, taken: int = 0, ended: int = FOREVER, **more: object) -> SignalledKey:
    given = {"sources": (end(ALICE, 4000),), "destinations": (end(BOB, 5000),)} | more
    given = {"frame": taken - 1 if taken else 1} | given
    return SignalledKey(
        name, "SIP", name, time=None, level="media", taken=taken, ended=ended,
        **given,  # type: ignore[arg-type]
    )  # fmt: skip


def found(*keys: SignalledKey, frame: int, there: bytes | None = None) -> list[str]:
    there = there or flow(ALICE, 4000, BOB, 5000)
    return [str(one.content) for one in KeyIndex(keys).candidates(there, SSRC, frame)]


def test_in_use_then_next_then_replaced_then_offered() -> None:
    many = [key("offered"), key("first", 10), key("ended", 20, 25),
            key("second", 30), key("third", 40), key("later", 50)]  # fmt: skip
    assert found(*many, frame=35) == ["second", "third", "ended", "first", "later", "offered"]
    assert found(*many, frame=5) == ["first", "offered", "ended", "second", "third", "later"]
    assert found(*many, frame=22)[0] == "ended"
    # An offer whose answer was not captured may have replaced what was in use.
    late = key("late", frame=33)
    assert found(*many, late, frame=35)[:4] == ["second", "third", "late", "ended"]


def test_what_was_declined_is_never_tried() -> None:
    assert found(key("no", declined="488"), key("yes", 2), frame=5) == ["yes"]


def test_ends() -> None:
    both = key("both", 2)
    to_bob = key("to", 3, sources=(end(NAT, 1),))
    from_alice = key("from", 4, destinations=(end(NAT, 2),))
    back = key("back", 5, sources=(end(BOB, 5000),), destinations=(end(ALICE, 4000),))
    port = key("port", 6, sources=(), destinations=(b"\x13\x88",))
    host = key("host", 7, sources=(), destinations=(end(BOB, 1)[:-2],))
    ssrc = key("ssrc", 8, sources=(), destinations=(), ssrcs=(7,))
    known = [both, to_bob, from_alice, back, port, host, ssrc]
    assert found(*known, frame=9) == ["both", "from", "to", "ssrc", "port", "host"]
    two_way = key("back", 5, sources=(end(BOB, 5000),), destinations=(end(ALICE, 4000),),
                      both_ways=True)  # fmt: skip
    assert found(both, two_way, frame=9) == ["back", "both"]


def test_behind_a_nat_a_port_or_an_address_is_left() -> None:
    index = KeyIndex([key("far", 2, sources=(end("192.0.2.7", 1),),
                                  destinations=(end("192.0.2.8", 2),)),
                          key("address", 3, sources=()), key("port", 4)])  # fmt: skip
    there = flow(NAT, 4000, BOB, 9)
    assert index.candidates(there, SSRC, 9) == []
    assert [one.content for one in index.strangers(there, 9)] == ["port", "address", "far"]


def test_of_a_thousand_calls_between_the_same_ends_the_right_one_is_first() -> None:
    index = KeyIndex([key(str(n), 10 * n) for n in range(1, 1000)])
    there = flow(ALICE, 4000, BOB, 5000)
    for n in (1, 500, 999):
        candidates = index.candidates(there, SSRC, 10 * n + 5)
        assert candidates[0].content == str(n)
        assert len(candidates) <= MAX_CANDIDATES
