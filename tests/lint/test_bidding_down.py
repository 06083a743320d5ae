"""Rules about the protocol list of a session description (RFC 4567 4.1.4, interpretation 50)."""

from __future__ import annotations

import pytest

from mikeytool.wire.payloads import GeneralExt
from mikeytool.wire.protocol_list import Carried, Description
from tests.lint.messages import D, case, codes, edited, good, insert

SESSION, AUDIO = "session level", "media 1 (audio)"


def carried(*protocols: str, level: str = SESSION) -> Carried:
    """A place in a description: a protocol is at the session level, or `audio:` before it."""
    offered = [
        (AUDIO if one.startswith("audio:") else SESSION, one.removeprefix("audio:"))
        for one in protocols
    ]
    return Carried(Description(offered), level)


def listing(text: str) -> GeneralExt:
    return GeneralExt(type=1, data=text.encode())


CASES = [
    case("bidding-down", D.TRANSFER_INIT, insert(listing("mikey;keyp1"), "RANDRi"),
         carried=carried("mikey")),
    case("bidding-down", D.TRANSFER_RESP, insert(listing("mikey"), "RANDRr"),
         carried=carried("keyp1", "mikey")),
    case("bidding-down", D.PRE_SHARED, insert(listing("keyp1;mikey"), "RAND"),
         carried=carried("mikey", "keyp1")),
    case("sdp-ids-missing", D.TRANSFER_INIT, carried=carried("mikey", "keyp1")),
    case("sdp-ids-missing", D.PRE_SHARED, carried=carried("mikey", "audio:keyp1")),
]  # fmt: skip


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_what_breaks_a_rule(broken: object) -> None:
    assert isinstance(broken, type(CASES[0]))
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("mikey", carried("mikey")),
        ("mikey;keyp1;keyp2", carried("mikey", "keyp1", "keyp2")),
        # At two levels: all of them, each once, or those of the level.
        ("mikey;keyp1;mikey", carried("mikey", "keyp1", "audio:mikey")),
        ("mikey;keyp1", carried("mikey", "keyp1", "audio:mikey")),
        ("mikey", carried("mikey", "keyp1", "audio:mikey", level=AUDIO)),
    ],
)
def test_lists_that_are_right(text: str, place: Carried) -> None:
    message = edited(good(D.TRANSFER_INIT), insert(listing(text), "RANDRi"))
    assert codes(message, carried=place) == []
    assert codes(message) == []


def test_one_protocol_needs_no_list() -> None:
    """Most software writes none, and nothing can be taken out."""
    assert codes(good(D.TRANSFER_INIT), carried=carried("mikey")) == []
    assert codes(good(D.TRANSFER_INIT), carried=carried("mikey", "audio:mikey")) == []


@pytest.mark.parametrize("text", ["", ";", "MIKEY", "mikey;", "mikey; keyp1", "mikey,keyp1"])
def test_lists_that_are_not_the_same_to_the_octet(text: str) -> None:
    message = edited(good(D.TRANSFER_INIT), insert(listing(text), "RANDRi"))
    assert "bidding-down" in codes(message, carried=carried("mikey", "keyp1"))
