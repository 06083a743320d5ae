"""The map of crypto sessions, offered and answered (RFC 6043 6.1.1, 4.2.2; interpretations 24
to 26).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.responder import check_acceptable, transfer_resp
from mikeytool.exchange.session import Session, check_policies
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.srtp.security_policy import policy_for, suite_of
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import HDR, GenericIdEntry, SrtpIdEntry
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import SP, TICKET, Payload
from mikeytool.wire.registry import CsIdMapType, ErrorNo, KeyType
from tests.world import (
    BOB,
    FORKING,
    HALF_TRIP,
    PLAIN,
    POLICY,
    SUITE_128,
    Change,
    World,
    accept_all,
    dropping,
    entries_of,
    inserting,
    policy_with,
    position,
    putting,
    rewritten_answer,
    rewritten_init,
    unprotected,
    untouched,
)

TLS = SP(policy_no=1, protocol=241, policy_param=[])
TAG_32 = policy_for(SUITES["AES_CM_128_HMAC_SHA1_32"], 1)


def entry(cs_id: int, **fields: Any) -> GenericIdEntry:
    made = {"protocol": 0, "policies": [0], "session_data": b"", "spi": b"", **fields}
    return GenericIdEntry(cs_id=cs_id, **made)


def mapped(*entries: GenericIdEntry) -> Change:
    """Another map in place of the one that is there."""

    def apply(header: HDR, _payloads: list[Payload]) -> None:
        header.cs_id_map[:] = entries

    return apply


def adjusted(cs_id: int, **fields: Any) -> Change:
    """One crypto session of the map, changed."""

    def apply(header: HDR, _payloads: list[Payload]) -> None:
        header.cs_id_map[:] = [
            one.copy(policy_count=None, session_data_length=None, spi_length=None, **fields)
            if one.cs_id == cs_id
            else one
            for one in entries_of(header)
        ]

    return apply


def answer_to(world: World, held: HeldTicket, init: bytes, **how: Any) -> Session:
    """Both ends: the initiator's session."""
    answer, _ = world.answered(init, **how)
    return finish_transfer(world.env, held, read_transfer_init(init), answer, accept_all)


# --- offers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [PLAIN, FORKING])
def test_256_policies_in_an_offer(world: World, flags: str) -> None:
    """Policy numbers are 8 bits (RFC 3830 6.10): an offer may use them all up, and leaves none
    for the responder's own policies (interpretation 25).
    """
    held = world.held(flags)

    def all_numbers(header: HDR, payloads: list[Payload]) -> None:
        payloads[:] = [payload for payload in payloads if not isinstance(payload, SP)]
        at = position(payloads, TICKET)
        payloads[at:at] = [policy_for(SUITE_128, number) for number in range(256)]
        for one in entries_of(header):
            one.policies, one.policy_count = [255], None

    def without_names(header: HDR, payloads: list[Payload]) -> None:
        all_numbers(header, payloads)
        for one in entries_of(header):
            one.policies = []

    full = world.verified(rewritten_init(world.call(held), held, all_numbers))
    own = [policy_for(SUITE_128, 0)]
    answer, _ = transfer_resp(world.env, full, accept_all, local=BOB, policies=own)
    assert Message.parse(answer or b"").all(SP) == []
    full = world.verified(rewritten_init(world.call(held), held, without_names))
    with pytest.raises(Refused, match="number"):
        transfer_resp(world.env, full, accept_all, local=BOB, policies=own)
    with pytest.raises(Refused, match="number"):
        transfer_resp(
            world.env, full, accept_all, local=BOB, policies=own, crypto_sessions=[CsSpec(True)]
        )


def test_own_policies_take_numbers_that_are_free(world: World) -> None:
    """Interpretation 25: the responder's SP numbers differ from the initiator's."""
    held = world.held(PLAIN)
    init = world.call(held, [CsSpec(send=True, protocol=241)], [TLS.copy(policy_no=0)])
    more = [CsSpec(send=True)]
    answer, _ = world.answered(init, policies=[POLICY], crypto_sessions=more)
    assert [sp.policy_no for sp in Message.parse(answer).all(SP)] != [0]
    finish_transfer(world.env, held, read_transfer_init(init), answer, accept_all)


def test_two_crypto_sessions_with_one_id(world: World) -> None:
    """Interpretation 25."""
    held = world.held(PLAIN)
    init = world.call(held)
    twice = mapped(entry(1), entry(2), entry(1))
    with pytest.raises(Refused, match="CS ID"):
        read_transfer_init(rewritten_init(init, held, twice))
    with pytest.raises(UsageError, match="CS ID"):
        world.call(held, [CsSpec(send=True, cs_id=3), CsSpec(send=False, cs_id=3)])


@pytest.mark.parametrize("policies", [[1], [0, 1], [255]])
def test_a_policy_that_is_not_there(world: World, policies: list[int]) -> None:
    held = world.held(PLAIN)
    forged = rewritten_init(world.call(held), held, mapped(entry(1, policies=policies)))
    with pytest.raises(Refused) as caught:
        read_transfer_init(forged)
    assert caught.value.error_no == ErrorNo.INVALID_SP


def test_a_policy_for_another_protocol(world: World) -> None:
    held = world.held(PLAIN)
    init = world.call(held, policies=[POLICY, TLS])
    for one in (entry(1, policies=[1]), entry(1, protocol=241, policies=[0])):
        with pytest.raises(Refused) as caught:
            read_transfer_init(rewritten_init(init, held, mapped(one)))
        assert caught.value.error_no == ErrorNo.INVALID_SP


@pytest.mark.parametrize(
    ("s", "length"), [(0, 1), (0, 3), (0, 5), (0, 10), (1, 4), (1, 9), (1, 11)]
)
def test_session_data_of_the_wrong_length(world: World, s: int, length: int) -> None:
    """RFC 6043 6.1.1: SSRC, and with the S flag ROC and SEQ."""
    held = world.held(PLAIN)
    forged = rewritten_init(
        world.call(held), held, mapped(entry(1, s=s, session_data=bytes(length)))
    )
    with pytest.raises(Refused, match="Session Data"):
        read_transfer_init(forged)


def test_an_srtp_id_map(world: World) -> None:
    """Interpretation 26: refused in Ticket Transfer, offered or answered."""
    held = world.held(PLAIN)
    init = world.call(held)

    def srtp_id(header: HDR, _payloads: list[Payload]) -> None:
        header.cs_id_map_type = CsIdMapType.SRTP_ID.value
        header.cs_id_map[:] = [SrtpIdEntry(policy_no=0, ssrc=5, roc=0)]

    with pytest.raises(Refused, match="GENERIC-ID"):
        read_transfer_init(rewritten_init(init, held, srtp_id))
    answer, session = world.answered(init)
    with pytest.raises(Refused, match="GENERIC-ID"):
        finish_transfer(
            world.env,
            held,
            read_transfer_init(init),
            rewritten_answer(answer, init, session.mpk, srtp_id),
            accept_all,
        )


def empty_map(cs_count: int = 0) -> Callable[[HDR, list[Payload]], None]:
    def apply(header: HDR, _payloads: list[Payload]) -> None:
        header.cs_id_map_type = CsIdMapType.EMPTY.value
        header.cs_id_map[:] = []
        header.cs_count = cs_count

    return apply


@pytest.mark.parametrize("flags", [PLAIN, HALF_TRIP])
def test_an_empty_map(world: World, flags: str) -> None:
    """Interpretation 26, RFC 4563 5: without SP and with #CS 0."""
    held = world.held(flags)
    bare = world.call(held, [], [])
    taken = rewritten_init(bare, held, empty_map())
    assert read_transfer_init(taken).entries == []
    _, session = transfer_resp(world.env, world.verified(taken), accept_all, local=BOB)
    assert session.crypto_sessions == ()
    with pytest.raises(Refused):
        read_transfer_init(rewritten_init(bare, held, empty_map(1)))
    with pytest.raises(Refused) as caught:
        read_transfer_init(rewritten_init(world.call(held, [], [POLICY]), held, empty_map()))
    assert caught.value.error_no == ErrorNo.INVALID_SP


@pytest.mark.parametrize(
    "lack",
    [
        {"policies": []},
        {"policies": [0, 1]},
        {"session_data": b""},
        {"spi": b""},
    ],
    ids=["no policy", "two policies", "no Session Data", "no SPI"],
)
def test_without_an_answer_crypto_sessions_are_complete(world: World, lack: dict[str, Any]) -> None:
    """Interpretation 24: F = 0, so nobody can fill in what is missing."""
    held = world.held(HALF_TRIP)
    init = world.call(held, [CsSpec(send=True, policies=(0,))], [POLICY, TAG_32])
    read_transfer_init(rewritten_init(init, held, untouched))
    with pytest.raises(Refused):
        read_transfer_init(rewritten_init(init, held, adjusted(1, **lack)))
    complete = world.held(PLAIN)
    whole = world.call(complete, [CsSpec(send=True, policies=(0,))], [POLICY, TAG_32])
    read_transfer_init(rewritten_init(whole, complete, adjusted(1, **lack)))


def test_what_the_initiator_may_not_offer_without_an_answer(world: World) -> None:
    """Interpretation 24."""
    held = world.held(HALF_TRIP)
    keyless = world.held(HALF_TRIP, keys=())
    with pytest.raises(UsageError):
        world.call(held, [CsSpec(send=True)], [POLICY, TAG_32])
    with pytest.raises(UsageError):
        world.call(held, [CsSpec(send=True)], [])
    with pytest.raises(UsageError):
        world.call(keyless)


def test_no_policy_offered_is_supported(world: World) -> None:
    """RFC 6043 4.2.2.2: an early reject, without contacting the KMS."""
    init = read_transfer_init(world.call(world.held(PLAIN), policies=[POLICY, TAG_32]))
    check_acceptable(world.env, init, lambda sp: sp.policy_no == 1)
    with pytest.raises(Refused) as caught:
        check_acceptable(world.env, init, lambda _: False)
    assert caught.value.error_no == ErrorNo.INVALID_SPPAR


# --- answers ----------------------------------------------------------------------------------


def refused_answer(world: World, change: Change, *, offer: tuple[SP, ...] = (POLICY,)) -> Refused:
    """Why the initiator refuses a changed answer; the unchanged one it takes."""
    held = world.held(PLAIN)
    init = world.call(held, policies=offer)
    answer, session = world.answered(init, policies=[POLICY])
    good = rewritten_answer(answer, init, session.mpk, untouched)
    finish_transfer(world.env, held, read_transfer_init(init), good, accept_all)
    bad = rewritten_answer(answer, init, session.mpk, change)
    with pytest.raises(Refused) as caught:
        finish_transfer(world.env, held, read_transfer_init(init), bad, accept_all)
    return caught.value


@pytest.mark.parametrize("left", [(1,), (2,), ()])
def test_an_answer_that_drops_a_crypto_session(world: World, left: tuple[int, ...]) -> None:
    """Interpretation 25."""

    def drop(header: HDR, _payloads: list[Payload]) -> None:
        header.cs_id_map[:] = [one for one in entries_of(header) if one.cs_id in left]

    assert "drops" in str(refused_answer(world, drop))


def test_an_answer_with_an_empty_map_drops_all(world: World) -> None:
    """Interpretations 25 and 26."""
    assert "drops" in str(refused_answer(world, empty_map()))


def test_an_answer_that_changes_a_protocol(world: World) -> None:
    """What was offered as SRTP is not answered as something else."""

    def tls(header: HDR, payloads: list[Payload]) -> None:
        inserting(TLS.copy(policy_no=9), at=1)(header, payloads)
        adjusted(2, protocol=241, policies=[9])(header, payloads)

    assert "protocol" in str(refused_answer(world, tls))


@pytest.mark.parametrize("protocol", [0, 241])
def test_an_answer_that_uses_a_policy_number_again(world: World, protocol: int) -> None:
    """Interpretation 25: the responder's SP numbers differ from the initiator's."""
    again = inserting(SP(policy_no=0, protocol=protocol, policy_param=[]), at=1)
    refusal = refused_answer(world, again)
    assert refusal.error_no == ErrorNo.INVALID_SP


def test_an_answer_with_two_crypto_sessions_of_one_id(world: World) -> None:
    """Interpretation 25."""

    def double(header: HDR, _payloads: list[Payload]) -> None:
        header.cs_id_map.append(header.cs_id_map[0])

    assert "CS ID" in str(refused_answer(world, double))


@pytest.mark.parametrize(
    "lack",
    [{"policies": []}, {"policies": [0, 0]}, {"session_data": b""}, {"spi": b""}, {"spi": b"nope"}],
    ids=["no policy", "two policies", "no Session Data", "no SPI", "unknown SPI"],
)
def test_an_answer_is_complete(world: World, lack: dict[str, Any]) -> None:
    """Interpretation 24: responses always give one policy, Session Data and an SPI; 9: the SPI
    names a key.
    """
    refused_answer(world, adjusted(2, **lack))


def test_an_answer_that_names_a_policy_that_is_not_there(world: World) -> None:
    refusal = refused_answer(world, adjusted(2, policies=[7]))
    assert refusal.error_no == ErrorNo.INVALID_SP
    refusal = refused_answer(world, dropping(SP), offer=())
    assert refusal.error_no == ErrorNo.INVALID_SP


def test_an_answer_whose_two_streams_have_one_ssrc_and_key(world: World) -> None:
    """RFC 3711 9.1: with a TEK for both, their key streams would be the same."""
    held = world.held(PLAIN, keys=(wanted_key(KeyType.TEK_SALT, 16, 14),))
    init = world.call(held, [CsSpec(send=True, ssrc=5), CsSpec(send=False)])
    answer, session = world.answered(init)
    forged = rewritten_answer(answer, init, session.mpk, adjusted(2, session_data=b"\0\0\0\5"))
    with pytest.raises(Refused, match="SSRC"):
        finish_transfer(world.env, held, read_transfer_init(init), forged, accept_all)
    with pytest.raises(Refused, match="SSRC"):
        world.answered(init, crypto_sessions=[CsSpec(send=True, cs_id=2, ssrc=5)])


def test_crypto_sessions_that_the_responder_adds(world: World) -> None:
    """RFC 6043 4.2.2.3: #CS is updated; interpretation 14: they are the responder's to send."""
    held = world.held(PLAIN)
    init = world.call(held)
    more = [CsSpec(send=True, cs_id=9, ssrc=99)]
    session = answer_to(world, held, init, crypto_sessions=more)
    assert [one.entry.cs_id for one in session.crypto_sessions] == [1, 2, 9]
    assert [session.is_local(one) for one in session.crypto_sessions] == [True, False, False]
    assert session.crypto_sessions[2].ssrc == 99


def test_an_ssrc_goes_to_the_stream_that_it_is_meant_for(world: World) -> None:
    """A crypto session of another protocol has no SSRC and takes none away."""
    held = world.held(PLAIN)
    offer = [CsSpec(send=True, protocol=241), CsSpec(send=False)]
    init = world.call(held, offer, [POLICY, TLS])
    session = answer_to(world, held, init, crypto_sessions=[CsSpec(send=True, ssrc=5)])
    assert [one.ssrc for one in session.crypto_sessions] == [None, 5]


def test_a_broken_map_is_refused_before_any_key_is_used(world: World) -> None:
    """RFC 6043 4.2.2.2: the early reject; the MAC need not be good for it."""
    init = world.call(world.held(PLAIN))
    with pytest.raises(Refused, match="CS ID"):
        read_transfer_init(unprotected(init, mapped(entry(1), entry(1))))
    read_transfer_init(unprotected(init, putting(SP)))


# --- what is offered and what is chosen -------------------------------------------------------


def only_tag_32(policy: SP) -> bool:
    """A responder that supports one suite of those offered."""
    return suite_of(policy) == SUITES["AES_CM_128_HMAC_SHA1_32"]


def test_of_several_policies_exactly_one_is_in_the_answer(world: World) -> None:
    """RFC 6043 4.2.2.1, 6.1.1: one that was suggested, which is not sent again."""
    held = world.held(PLAIN)
    init = world.call(held, policies=[POLICY, TAG_32])
    assert [one.policies for one in read_transfer_init(init).entries] == [[0, 1], [0, 1]]
    answer, _ = transfer_resp(world.env, world.verified(init), only_tag_32, local=BOB)
    assert answer is not None
    message = Message.parse(answer)
    assert [one.policies for one in entries_of(message.header)] == [[1], [1]]
    assert message.all(SP) == []
    session = finish_transfer(world.env, held, read_transfer_init(init), answer, accept_all)
    assert {one.policy.policy_no for one in session.crypto_sessions if one.policy} == {1}


def test_each_crypto_session_has_policies_of_its_own(world: World) -> None:
    """RFC 6043 4.2.2.1; another that was offered may be chosen if need be (6.1.1)."""
    held = world.held(PLAIN)
    offer = [CsSpec(send=True, policies=(0,)), CsSpec(send=False, policies=(0, 1))]
    init = world.call(held, offer, [POLICY, TAG_32])
    with pytest.raises(Refused) as caught:
        check_acceptable(world.env, read_transfer_init(init), only_tag_32)
    assert caught.value.error_no == ErrorNo.INVALID_SPPAR
    answer, session = world.answered(init)
    changed = rewritten_answer(answer, init, session.mpk, adjusted(1, policies=[1]))
    ours = finish_transfer(world.env, held, read_transfer_init(init), changed, accept_all)
    assert [one.policy.policy_no for one in ours.crypto_sessions if one.policy] == [1, 0]


def test_a_responder_may_change_what_was_proposed(world: World) -> None:
    """RFC 6043 4.2.2.3: Session Data and SPI; who sends stays as it was (interpretation 14)."""
    kinds = (KeyType.TGK, KeyType.TGK)
    held = world.held(PLAIN, keys=tuple(wanted_key(kind, 16, 0) for kind in kinds))
    init = world.call(held, [CsSpec(send=True, ssrc=5), CsSpec(send=False)])
    answer, session = world.answered(init)
    spi = held.keys.keys[1].spi
    change = adjusted(1, session_data=b"\0\0\0\7", spi=spi)
    changed = rewritten_answer(answer, init, session.mpk, change)
    first = finish_transfer(
        world.env, held, read_transfer_init(init), changed, accept_all
    ).crypto_sessions[0]
    assert (first.ssrc, first.entry.spi, first.by_initiator) == (7, spi, True)


def test_without_policies_the_responder_brings_them(world: World) -> None:
    """RFC 6043 6.1.1: #P = 0; the initiator looks at them (4.2.2.4)."""
    held = world.held(PLAIN)
    init = world.call(held, policies=[])
    assert [one.policies for one in read_transfer_init(init).entries] == [[], []]
    answer, _ = world.answered(init, policies=[TAG_32])
    assert len(Message.parse(answer).all(SP)) == 1
    finish_transfer(world.env, held, read_transfer_init(init), answer, only_tag_32)
    with pytest.raises(Refused, match="not supported"):
        finish_transfer(
            world.env,
            held,
            read_transfer_init(init),
            answer,
            lambda policy: not only_tag_32(policy),
        )


def test_an_spi_that_no_key_has(world: World) -> None:
    held = world.held(FORKING)
    for spi in (b"none", b""):
        with pytest.raises(UsageError, match="no key has the SPI"):
            world.call(held, [CsSpec(send=True, spi=spi)])


@pytest.mark.parametrize(("roc", "seq"), [(3, 7), (0, 0), (None, None)])
def test_where_a_stream_begins(world: World, roc: int | None, seq: int | None) -> None:
    init = world.call(world.held(FORKING), [CsSpec(send=True, ssrc=5, roc=roc, seq=seq)])
    _, session = world.answered(init)
    entry = Message.parse(init).header.cs_id_map[0]
    assert isinstance(entry, GenericIdEntry)
    assert entry.s == int(roc is not None)
    assert [(one.ssrc, one.roc) for one in session.crypto_sessions] == [(5, roc or 0)]


def test_what_only_one_of_roc_and_seq_is_given_for(world: World) -> None:
    for spec in (CsSpec(send=True, roc=1), CsSpec(send=True, seq=1)):
        with pytest.raises(UsageError, match="ROC and SEQ go together"):
            world.call(world.held(FORKING), [spec])
    with pytest.raises(UsageError, match="for its sender to choose"):
        world.call(world.held(FORKING), [CsSpec(send=False, ssrc=5)])


@pytest.mark.parametrize(("salt", "good"), [(12, True), (14, True), (32, True), (33, False)])
def test_salts_that_ciphers_have(salt: int, good: bool) -> None:
    policies = [policy_with(0, SALT_KEY_LENGTH=salt)]
    if good:
        check_policies(policies, PROFILE_128.prf)
        return
    with pytest.raises(Refused, match="takes a salt of"):
        check_policies(policies, PROFILE_128.prf)


@pytest.mark.parametrize(("length", "prf", "good"), [
    (16, PROFILE_128.prf, True), (15, PROFILE_128.prf, False), (17, PROFILE_128.prf, False),
    (32, PROFILE_256.prf, True), (33, PROFILE_256.prf, False),
])  # fmt: skip
def test_keys_that_profiles_have(length: int, prf: int, good: bool) -> None:
    """RFC 6043 12.1."""
    policies = [policy_with(0, ENCR_KEY_LENGTH=length)]
    if good:
        check_policies(policies, prf)
        return
    with pytest.raises(Refused, match="takes keys of"):
        check_policies(policies, prf)


def test_a_group_key_admits_any_sender(world: World) -> None:
    """Interpretation 13: under a TEK+SALT, for what is received, and as SRTP."""
    group = new_key(KeyType.TEK_SALT, bytes(16), bytes(14), b"grp!")
    init = world.call(world.held(FORKING + "L"), kemac_keys=[group])
    _, session = world.answered(init)
    assert {session.is_local(one) for one in session.crypto_sessions} == {True, False}
    for one in session.crypto_sessions:
        assert session.admits_any(one) == (not session.is_local(one))
        assert not replace(session, role=None).admits_any(one)
    _, plain = world.answered(world.call(world.held(FORKING)))
    assert not any(map(plain.admits_any, plain.crypto_sessions))
