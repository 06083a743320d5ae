"""Offers, answers and refusals in SIP dialogs."""

from __future__ import annotations

import pytest

from tests.capture.network import ALICE, BOB, PROXY, Ends
from tests.media.dialogues import (
    A2,
    ACK,
    B2,
    IN_USE,
    INVITE,
    OFFERED,
    OK,
    REPLACED,
    A,
    B,
    answer,
    end,
    message,
    sdp,
    shown,
    signalled,
)


def test_an_offer_is_answered_in_the_response() -> None:
    assert shown(INVITE, OK, ACK) == [(A, IN_USE, 2), (B, IN_USE, 2)]
    mine, theirs = signalled(INVITE, OK)
    ends = (end(ALICE, 4000), end(ALICE, 4001)), (end(BOB, 5000), end(BOB, 5001))
    assert (mine.sources, mine.destinations) == ends
    assert (theirs.sources, theirs.destinations) == ends[::-1]
    assert mine.name == "SIP frame 1, media 1 (audio), line 1"
    assert (theirs.frame, theirs.call, theirs.kind) == (2, "call", "audio")


@pytest.mark.parametrize("status", ["183", "200"])
def test_an_offer_in_a_response_is_answered_by_ack_or_prack(status: str) -> None:
    asked = message("INVITE")
    offer = message(status, answer(B), to="b")
    if status == "183":
        rack = ("RAck: 7 1 INVITE",)
        back = message("PRACK", sdp(A), method="PRACK", number=2, to="b", headers=rack)
    else:
        back = message("ACK", sdp(A), method="ACK", to="b", branch="other")
    assert shown(asked, offer, back) == [(B, IN_USE, 3), (A, IN_USE, 3)]
    assert shown(asked, offer) == [(B, OFFERED, 0)]
    # The ACK need not go the way of the INVITE.
    ends = Ends(source=ALICE, destination=PROXY)
    assert shown(message("INVITE", ends=ends), message(status, answer(B), to="b", ends=ends.back),
                 back) == [(B, IN_USE, 3), (A, IN_USE, 3)]  # fmt: skip


def test_an_early_answer_counts_at_once_and_is_confirmed() -> None:
    early = message("183", answer(B), to="b")
    assert shown(INVITE, early) == [(A, IN_USE, 2), (B, IN_USE, 2)]
    for last in (OK, message("200", to="b")):
        assert shown(INVITE, early, last) == [(A, IN_USE, 2), (B, IN_USE, 2)]


def test_the_final_answer_counts_where_the_early_one_was_another() -> None:
    early = message("183", answer(B2), to="b")
    assert shown(INVITE, early, OK) == [
        (A, IN_USE, 2), (B2, REPLACED, 2), (B, IN_USE, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "PRACK"])
def test_a_later_offer_brings_other_keys(method: str) -> None:
    again = message(method, sdp(A2), method=method, number=2, to="b")
    yes = message("200", answer(B2), method=method, number=2, to="b")
    before = [(A, IN_USE, 2), (B, IN_USE, 2)]
    assert shown(INVITE, OK, ACK, again, yes) == [*before, (A2, IN_USE, 5), (B2, IN_USE, 5)]
    # The other side may ask as well.
    again = message(method, answer(B2), method=method, number=9, to="b", swapped=True)
    yes = message("200", sdp(A2), method=method, number=9, to="b", swapped=True)
    assert shown(INVITE, OK, ACK, again, yes) == [*before, (B2, IN_USE, 5), (A2, IN_USE, 5)]


@pytest.mark.parametrize("status", ["302", "401", "407", "486", "488", "491", "500", "603"])
def test_a_refusal_takes_the_offer_back_and_leaves_what_was(status: str) -> None:
    assert shown(INVITE, message(status, to="b")) == [(A, f"declined: {status}", 0)]
    again = message("INVITE", sdp(A2), number=2, to="b")
    no = message(status, number=2, to="b")
    assert shown(INVITE, OK, ACK, again, no) == [
        (A, IN_USE, 2), (B, IN_USE, 2), (A2, f"declined: {status}", 0),
    ]  # fmt: skip


def test_a_challenge_is_followed_by_the_request_again() -> None:
    again = message("INVITE", sdp(A), number=2)
    yes = message("200", answer(B), number=2, to="b")
    assert shown(INVITE, message("407", to="x"), ACK, again, yes) == [
        (A, "declined: 407", 0), (A, IN_USE, 5), (B, IN_USE, 5),
    ]  # fmt: skip


def test_both_sides_offer_at_once() -> None:
    """RFC 3261 14.1: both are refused with 491."""
    packets = [
        INVITE, OK, ACK,
        message("INVITE", sdp(A2), number=2, to="b"),
        message("INVITE", answer(B2), number=1, to="b", swapped=True, branch="bobs"),
        message("491", number=2, to="b"),
        message("491", number=1, to="b", swapped=True, branch="bobs"),
    ]  # fmt: skip
    assert shown(*packets) == [
        (A, IN_USE, 2), (B, IN_USE, 2), (A2, "declined: 491", 0), (B2, "declined: 491", 0),
    ]  # fmt: skip


def test_cancel_takes_back_what_was_not_accepted() -> None:
    cancel = message("CANCEL", method="CANCEL", branch="INVITE1")
    early = message("183", answer(B), to="b")
    assert shown(INVITE, cancel) == [(A, "declined: CANCEL", 0)]
    assert shown(INVITE, early, cancel) == [(A, REPLACED, 2), (B, REPLACED, 2)]
    assert shown(INVITE, early, cancel, message("487", to="b")) == [
        (A, REPLACED, 2), (B, REPLACED, 2),
    ]  # fmt: skip
    assert shown(INVITE, cancel, OK) == [(A, IN_USE, 3), (B, IN_USE, 3)]


@pytest.mark.parametrize("swapped", [False, True])
def test_bye_ends_a_call(swapped: bool) -> None:
    bye = message("BYE", method="BYE", number=3, to="b", swapped=swapped)
    found = signalled(INVITE, OK, ACK, bye)
    assert [(one.ended, one.end, one.standing(3).value) for one in found] == [
        (4, "BYE", IN_USE), (4, "BYE", IN_USE),
    ]  # fmt: skip
    other = message("BYE", method="BYE", number=3, to="c", swapped=swapped)
    assert {one.end for one in signalled(INVITE, OK, ACK, other)} == {""}


def test_a_fork_gives_a_dialog_for_each_answer() -> None:
    carol = message("183", answer(B2, address="192.0.2.3"), to="c")
    dave = message("180", to="d")
    early = [(A, IN_USE, 2), (A, IN_USE, 4), (B2, IN_USE, 2), (B, IN_USE, 4)]
    assert shown(INVITE, carol, dave, message("183", answer(B), to="b")) == early
    assert shown(INVITE, carol, dave, OK) == [
        (A, REPLACED, 2), (A, IN_USE, 4), (B2, REPLACED, 2), (B, IN_USE, 4),
    ]  # fmt: skip
    both = message("200", answer(B2, address="192.0.2.3"), to="c")
    assert shown(INVITE, carol, OK, both) == [
        (A, IN_USE, 2), (A, IN_USE, 3), (B2, IN_USE, 2), (B, IN_USE, 3),
    ]  # fmt: skip


def test_what_an_early_dialog_agreed_on_ends_with_its_refusal() -> None:
    early = message("183", answer(B), to="b")
    more = message("UPDATE", sdp(A2), method="UPDATE", number=2, to="b")
    yes = message("200", answer(B2), method="UPDATE", number=2, to="b")
    found = signalled(INVITE, early, more, yes, message("486", to="b"))
    assert [(one.taken, one.ended, one.end) for one in found] == [
        (2, 5, "486"), (2, 5, "486"), (4, 5, "486"), (4, 5, "486"),
    ]  # fmt: skip


def test_what_is_sent_again_counts_once() -> None:
    early = message("183", answer(B), to="b")
    once = [(A, IN_USE, 3), (B, IN_USE, 3)]
    assert shown(INVITE, INVITE, early, early, OK, OK, ACK, ACK) == once
    # A session that is refreshed with the same keys keeps its keys.
    again = message("INVITE", sdp(A), number=2, to="b")
    yes = message("200", answer(B), number=2, to="b")
    assert shown(INVITE, INVITE, OK, again, yes) == once


def test_each_hop_has_its_own_ends() -> None:
    """A proxy on the way puts its own addresses into the descriptions."""
    first, second = Ends(ALICE, destination=PROXY), Ends(PROXY, destination=BOB)
    relayed, answered = sdp(A, address=PROXY, port=7000), answer(B, address=PROXY, port=7002)
    packets = [
        message("INVITE", sdp(A), ends=first), message("INVITE", relayed, ends=second),
        message("200", answer(B), to="b", ends=second.back),
        message("200", answered, to="b", ends=first.back),
    ]  # fmt: skip
    found = [(one.content, one.sources[0], one.destinations[0]) for one in signalled(*packets)]
    assert found == [
        (A, end(ALICE, 4000), end(PROXY, 7002)), (A, end(PROXY, 7000), end(BOB, 5000)),
        (B, end(BOB, 5000), end(PROXY, 7000)), (B, end(PROXY, 7002), end(ALICE, 4000)),
    ]  # fmt: skip


def test_a_capture_that_begins_in_the_middle() -> None:
    assert shown(OK, ACK) == [(B, OFFERED, 0)]
    again = message("INVITE", sdp(A2), number=2, to="b")
    yes = message("200", answer(B2), number=2, to="b")
    assert shown(OK, again, yes) == [(B, OFFERED, 0), (A2, IN_USE, 3), (B2, IN_USE, 3)]


def test_calls_are_kept_apart() -> None:
    other = message("200", answer(B), to="b", call="other")
    assert shown(INVITE, other) == [(A, OFFERED, 0), (B, OFFERED, 0)]


def test_what_is_no_dialog_has_no_offer() -> None:
    asked = message("OPTIONS", method="OPTIONS")
    told = message("200", answer(B), method="OPTIONS", to="b")
    assert shown(asked, told) == []
