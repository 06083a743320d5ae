"""ROCs far from the likely one, and MKIs that nobody announced."""

from __future__ import annotations

import pytest

from mikeytool.srtp import SUITES, MasterKey, Receiver, Sender, Suite, suite
from mikeytool.srtp.roc_search import WHOLE_CAPTURE, SearchBudget
from mikeytool.wire.errors import Refused

from .media import SSRC, master_key, rtcp, rtp

CM = SUITES["AES_CM_128_HMAC_SHA1_80"]
LONG = pytest.mark.parametrize(
    "name", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM_8"]
)


def budget() -> SearchBudget:
    return SearchBudget(WHOLE_CAPTURE)


@LONG
@pytest.mark.parametrize("roc", [257, 3000, 100_000])
def test_a_start_far_away_is_found_at_the_first_packet(name: str, roc: int) -> None:
    chosen = suite(name)
    key = master_key(chosen)
    sender = Sender(chosen, key, roc={SSRC: roc})
    receiver = Receiver(chosen, [key], budget=budget())
    for number in range(5):
        assert receiver.unprotect(sender.protect(rtp(number))) == rtp(number)
    assert f"the ROC is {roc} and not 0" in " ".join(receiver.notes.take())


@LONG
@pytest.mark.parametrize("gap", [3, 255, 257, 70_000])
def test_a_gap_of_any_number_of_rocs(name: str, gap: int) -> None:
    chosen = suite(name)
    key = master_key(chosen)
    receiver = Receiver(chosen, [key], budget=budget())
    # Whether or not sequence numbers go on.
    for start, roc in ((0, 0), (5, gap), (40_000, 2 * gap + 1)):
        sender = Sender(chosen, key, roc={SSRC: roc})
        for number in range(start, start + 5):
            assert receiver.unprotect(sender.protect(rtp(number))) == rtp(number)


def test_a_short_tag_is_not_searched_for_so_far() -> None:
    short = SUITES["AES_CM_128_HMAC_SHA1_32"]
    key = master_key(short)
    receiver = Receiver(short, [key], budget=budget())
    with pytest.raises(Refused, match="tried from 0 to 256"):
        receiver.unprotect(Sender(short, key, roc={SSRC: 300}).protect(rtp(0)))


def test_packets_of_a_wrong_key_cost_a_bounded_number_of_attempts() -> None:
    attempts = SearchBudget(5000)
    receiver = Receiver(CM, [master_key(CM)], budget=attempts)
    foreign = Sender(CM, master_key(CM, 2))
    with pytest.raises(Refused, match="tried from 0 to 2756"):
        receiver.unprotect(foreign.protect(rtp(0)))
    for number in range(1, 40):
        with pytest.raises(Refused):
            receiver.unprotect(foreign.protect(rtp(number)))
    assert 0 <= attempts.left < 5000
    # What is found gives back what was spent on its stream.
    assert receiver.unprotect(Sender(CM, master_key(CM)).protect(rtp(40))) == rtp(40)


def test_a_few_broken_packets_leave_enough_for_a_gap() -> None:
    key = master_key(CM)
    receiver = Receiver(CM, [key], budget=budget())
    sender = Sender(CM, key)
    for number in range(5):
        receiver.unprotect(sender.protect(rtp(number)))
    for number in range(5, 9):
        with pytest.raises(Refused):
            receiver.unprotect(sender.protect(rtp(number))[:-1] + b"?")
    after = Sender(CM, key, roc={SSRC: 2000})
    assert receiver.unprotect(after.protect(rtp(9))) == rtp(9)


def test_a_budget_is_shared() -> None:
    attempts = SearchBudget(1000)
    foreign = Sender(CM, master_key(CM, 2)).protect(rtp(0))
    for _ in range(30):
        with pytest.raises(Refused):
            Receiver(CM, [master_key(CM)], budget=attempts).unprotect(foreign)
    assert 0 <= attempts.left < 10


# --- MKIs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SUITES))
@pytest.mark.parametrize("mki", [b"\1", b"\0\0\0\1", b"abcdefgh"])
def test_an_mki_that_nobody_announced_is_found_and_named(name: str, mki: bytes) -> None:
    chosen = suite(name)
    key = master_key(chosen, mki=mki)
    sender = Sender(chosen, key, mki=True)
    receiver = Receiver(chosen, [MasterKey(key.key, key.salt)])
    for packet in (rtcp(), rtp(1), rtp(2), rtcp()):
        assert receiver.unprotect(sender.protect(packet)) == packet
    notes = receiver.notes.take()
    assert sum(f"MKI {mki.hex()}" in note for note in notes) == 1


def test_an_mki_of_nine_octets_is_not_looked_for() -> None:
    key = master_key(CM, mki=bytes(9))
    with pytest.raises(Refused):
        Receiver(CM, [MasterKey(key.key, key.salt)]).unprotect(
            Sender(CM, key, mki=True).protect(rtp(1))
        )


def test_mkis_may_change_and_are_not_kept_forever() -> None:
    key = master_key(CM)
    receiver = Receiver(CM, [key])
    for number in range(40):
        named = MasterKey(key.key, key.salt, bytes([number, 7]))
        sender = Sender(CM, named, mki=True)
        assert receiver.unprotect(sender.protect(rtp(number))) == rtp(number)
    assert len(receiver._rtp_openers) <= 17


@pytest.mark.parametrize("chosen", [CM, SUITES["AEAD_AES_128_GCM"]])
def test_an_announced_mki_has_to_be_there_whole(chosen: Suite) -> None:
    key = master_key(chosen, mki=b"\1\2\3\4")
    protected = Sender(chosen, key, mki=True).protect(rtp(1))
    with pytest.raises(Refused):
        Receiver(chosen, [key]).unprotect(protected[:-1])
