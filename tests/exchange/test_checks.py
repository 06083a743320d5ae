"""Checks of the exchanges' room that its other tests do not see."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.crypto.derive import ticket_keys
from mikeytool.crypto.kemac import TICKET_CSB_ID, seal_kemac
from mikeytool.exchange import inspect_history
from mikeytool.exchange.error import ErrorReceived, error_message, raise_if_error
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.initiator import transfer_init
from mikeytool.exchange.inspect import inspect_message
from mikeytool.exchange.inspect_description import Inspector
from mikeytool.exchange.inspect_history import Earlier, History
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.ticket import BaseTicket
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.exchange.update import update_init
from mikeytool.exchange.update_rules import update_keys
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, RAND, T
from mikeytool.wire.registry import DataType, ErrorNo, TicketFlag
from tests.exchange.test_error import sessions
from tests.exchange.test_ticket import TPK, again, inside
from tests.support import vectors
from tests.world import ALICE, BOB, PLAIN, World, position, tek

CASE = vectors("exchanges")[0]
CASES_WITH_UPDATE = next(case for case in vectors("exchanges") if "update" in case)


@pytest.mark.parametrize("length", [0, 1, 8, 15])
def test_a_ticket_with_a_short_rand(world: World, length: int) -> None:
    """RFC 6043 12.1; its MAC and its KEMAC are made with that RAND."""
    ticket, rand = world.held(PLAIN).ticket, bytes(length)
    base, profile = BaseTicket.of(ticket), profile_of(ticket.prf)
    protection = ticket_keys(ticket.prf, TPK, rand)
    payloads = inside(ticket)
    payloads[position(payloads, RAND)] = RAND(rand=rand)
    payloads[position(payloads, KEMAC)] = seal_kemac(
        profile.encr_alg, base.decrypt(TPK), protection, TICKET_CSB_ID, base.t
    )
    with pytest.raises(Refused, match="RAND") as caught:
        BaseTicket.of(again(ticket, *payloads)).open(TPK)
    assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_why_a_message_without_t_or_with_two_is_refused(world: World) -> None:
    message = Message.parse(world.asked(world.policy()))
    t = message.payloads[0]
    assert isinstance(t, T)
    for payloads, words in (
        (message.payloads[1:], "misses the payload T"),
        ([t, *message.payloads], "T"),
    ):
        with pytest.raises(Refused, match=words):
            Incoming.read(Message(message.header, payloads), DataType.REQUEST_INIT_PSK)


def test_why_an_error_message_without_a_mac_is_only_a_hint(world: World) -> None:
    alice, _ = sessions(world)
    keys = update_keys(alice)
    init, _ = update_init(world.env, alice, kemac_keys=[tek(b"new!")])
    header = Message.parse(init.raw).header
    error = Message.read(error_message(world.env, header, 12, None))
    with pytest.raises(ErrorReceived, match="it has no MAC"):
        raise_if_error(world.env, error, header, keys)


def test_the_rands_of_a_group_go_with_a_ticket_without_g(world: World) -> None:
    """RFC 6043 9."""
    first = read_transfer_init(world.call(world.held(PLAIN))).randr_i

    def call(flags: str) -> bytes:
        held = world.held(flags)
        assert (TicketFlag.G in held.policy.flags) == ("G" in flags)
        given: Any = {"initiator": ALICE, "responder": BOB, "crypto_sessions": ()}
        return transfer_init(world.env, held, policies=(), randr_i=first, **given).raw

    with pytest.raises(Refused, match="the ticket has the G flag"):
        call(PLAIN)
    assert read_transfer_init(call("DEFHJNO")).randr_i == first


def test_earlier_messages_are_kept_up_to_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [
        Message.parse(bytes.fromhex(CASE[name])) for name in ("TRANSFER_INIT", "RESOLVE_INIT_PSK")
    ]
    octets = sum(len(one.raw) for one in messages)
    for most, kept in ((octets, 2), (octets - 1, 1)):
        monkeypatch.setattr(inspect_history, "MAX_OCTETS", most)
        earlier = Earlier()
        for one in messages:
            earlier.add(one)
        assert sum(bool(earlier.of(one)) for one in messages) == kept


def test_what_is_plain_and_where_keys_go() -> None:
    psk = KeyRing(psks=[(CASE["initiator"].encode(), bytes.fromhex(CASE["psk_initiator"]))])
    message = Message.parse(bytes.fromhex(CASE["REQUEST_RESP"]))
    assert Inspector(None).is_plain(message)
    assert Inspector(None).text(message) is not None
    inspector = Inspector(psk, show_keys=True)
    assert not inspector.is_plain(message)
    inspector.remember(bytes.fromhex(CASE["REQUEST_INIT_PSK"]))
    described, failed = inspector.describe(message)
    assert not failed
    kemac = next(one for one in described["payloads"] if one["payload"] == "KEMAC")
    assert [one for one in described["payloads"] if one.get("keys")] == [kemac]
    assert all(len(bytes.fromhex(one["key"])) >= 16 for one in kemac["keys"])


def test_the_answers_of_the_kms_for_a_ticket_are_kept_up_to_their_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspect_history, "MAX_ANSWERS", 2)
    psk = KeyRing(psks=[(CASE["initiator"].encode(), bytes.fromhex(CASE["psk_initiator"]))])
    history = History(psk)
    for name in ("REQUEST_INIT_PSK", *["REQUEST_RESP"] * 4):
        history.inspect(Message.parse(bytes.fromhex(CASE[name])))
    assert [len(kept) for kept in history._known_keys.values()] == [2]


def test_what_is_missing_is_told_of_updates_alone() -> None:
    """Of a message whose keys are missing, no other reason is given."""
    for name, note in (("TRANSFER_INIT", False), ("update", True)):
        raw = CASES_WITH_UPDATE["update"]["TRANSFER_INIT"] if note else CASES_WITH_UPDATE[name]
        found = inspect_message(Message.parse(bytes.fromhex(raw)), KeyRing())
        assert any("an update goes with" in one for one in found.notes) == note
