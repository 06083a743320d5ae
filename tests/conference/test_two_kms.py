"""A participant of another KMS: the system's KMS asks theirs (RFC 6043 10)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mikeytool.conference import calling_in, membership
from mikeytool.conference.model import Purpose
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256
from mikeytool.exchange.request import HeldTicket, accept_request_resp, request_init
from mikeytool.exchange.resolve import accept_resolve_resp, resolve_init
from mikeytool.exchange.responder import transfer_resp, verify_transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms.service import handle
from mikeytool.kms.store.records import Peer
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import KeyType
from tests.conference.invariants import check
from tests.conference.room import FACTORY, FLAGS, FOCUS, Room
from tests.world import BOB, KMS, accept_all

FAR = Identity.from_text("sip:kms.example.org")
NEAR = ("sip:*@example.com", "sip:*@conf.example.com")
ABROAD = ("sip:*@example.org",)
DORA = Identity.from_text("sip:dora@example.org")
ERIC = Identity.from_text("sip:eric@example.org")
PSK = b"d" * 32


@dataclass
class Abroad:
    """The other KMS, and someone who is its user. The system knows nothing of it."""

    room: Room
    store: Store

    def handled(self, message: bytes) -> bytes:
        handled = handle(self.store, self.room.env, message)
        if handled.refusal is not None:
            raise handled.refusal
        assert handled.answer is not None
        return handled.answer

    def ticket(self, who: Identity, *to: Identity) -> HeldTicket:
        policy = replace(
            self.room.policy(FLAGS, responders=to, initiator=who),
            kms=FAR,
            keys=(wanted_key(KeyType.TGK, 16, 0),),
        )
        init = request_init(self.room.env, PROFILE_128, policy, initiator=who, kms=FAR, psk=PSK)
        return accept_request_resp(self.room.env, init, PSK, self.handled(init.raw)).held

    def calls_in(self, who: Identity) -> Session:
        held = self.ticket(who, FOCUS)
        specs = (CsSpec(send=True, ssrc=0x11111111), CsSpec(send=False))
        init = self.room.call(held, specs, caller=who, called=FOCUS)
        answer = self.room.call_in(init)
        return finish_transfer(self.room.env, held, read_transfer_init(init), answer, accept_all)

    def picks_up(self, raw: bytes, who: Identity) -> tuple[bytes, Session]:
        init = read_transfer_init(raw)
        message = resolve_init(
            self.room.env, PROFILE_128, init.ticket, responder=who, kms=FAR, psk=PSK
        )
        resolved = accept_resolve_resp(self.room.env, message, PSK, self.handled(message.raw))
        verified = verify_transfer_init(init, resolved, who)
        answer, session = transfer_resp(self.room.env, verified, accept_all, local=who)
        assert answer is not None
        return answer, session


def far_store(room: Room, folder: Path) -> Store:
    store = Store.init(folder / "far.db", FAR, PROFILE_256, Tpk(Identity.key_name("t"), b"T" * 32))
    for who in (DORA, ERIC):
        store.add_user(who, PSK)
    store.add_peer(Peer(KMS, str(room.store.path), b"between both KMS" * 2, NEAR))
    return store


@pytest.fixture
def abroad(room: Room, tmp_path: Path) -> Iterator[Abroad]:
    with closing(far_store(room, tmp_path)) as store:
        room.store.add_peer(Peer(FAR, str(store.path), b"between both KMS" * 2, ABROAD))
        yield Abroad(room, store)


def test_they_call_in(room: Room, abroad: Abroad) -> None:
    room.create(BOB, DORA)
    bob = room.person(BOB)
    bob.call_in(0x11111111)
    session = abroad.calls_in(DORA)
    mine = session.crypto_sessions[0]
    assert mine.ssrc != 0x11111111
    assert session.media_key(mine) == bob.sends()[0][1]
    assert TicketPolicy.of(abroad.ticket(DORA, FOCUS).ticket).kms == FAR
    assert check(room.state.path) == {BOB: "joined", DORA: "joined"}


def test_they_are_called_out_with_a_ticket_of_the_systems_kms(room: Room, abroad: Abroad) -> None:
    room.create(BOB, DORA)
    room.person(BOB).call_in()
    answer, session = abroad.picks_up(room.call_out(DORA), DORA)
    assert session.policy.kms == KMS
    room.answer(answer)
    assert session.media_key(session.crypto_sessions[0]) == room.person(BOB).sends()[0][1]
    assert check(room.state.path) == {BOB: "joined", DORA: "joined"}


def test_they_create_a_conference(room: Room, abroad: Abroad) -> None:
    held = abroad.ticket(DORA, FACTORY, BOB)
    specs = (CsSpec(send=True), CsSpec(send=False))
    init = room.call(held, specs, caller=DORA, called=FACTORY)
    calling_in.create(room.system, init, FOCUS, (Purpose.AUDIO,))
    assert room.conference().creator == DORA
    room.person(BOB).call_in()


def test_a_stranger_from_there_is_turned_away(room: Room, abroad: Abroad) -> None:
    room.create(BOB, DORA)
    with pytest.raises(Refused, match="may not take part"):
        abroad.calls_in(ERIC)
    with pytest.raises(Refused, match="may not take part"):
        room.call_out(ERIC)
    membership.allow(room.system, None, [ERIC])
    abroad.calls_in(ERIC)


@pytest.mark.parametrize("patterns", [ABROAD, ("*",)])
def test_a_kms_that_has_a_bob_too(room: Room, abroad: Abroad, patterns: tuple[str, ...]) -> None:
    """Its Bob is not the member, whatever it may speak for otherwise."""
    room.store.set_patterns(FAR, patterns)
    abroad.store.add_user(BOB, PSK)
    room.create(BOB, DORA)
    with pytest.raises(Refused, match="must ask here"):
        abroad.calls_in(BOB)
    assert room.states() == {}


def test_nobody_else_there_answers_a_call(room: Room, abroad: Abroad) -> None:
    room.create(BOB, DORA)
    init = room.call_out(DORA)
    with pytest.raises(Refused):
        abroad.picks_up(init, ERIC)


def test_a_kms_that_the_systems_does_not_know(room: Room, tmp_path: Path) -> None:
    with closing(far_store(room, tmp_path)) as store:
        abroad = Abroad(room, store)
        room.create(BOB, DORA)
        with pytest.raises(Refused, match="KMS"):
            abroad.calls_in(DORA)
    assert room.states() == {}
