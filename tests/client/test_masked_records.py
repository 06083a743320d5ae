"""What a record shows of itself holds no key, neither as octets nor in hex."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from mikeytool.client.credentials import PreSharedKey
from mikeytool.client.session_files import SessionFile
from mikeytool.client.ticket_files import TicketFile
from mikeytool.conference.model import GroupKey, Member, MemberState, Purpose, Settings
from mikeytool.crypto.envelope import PossibleKey
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.inspect import KnownKeys, inspect_message
from mikeytool.exchange.inspect_keys import Candidate, KeyRing
from mikeytool.exchange.public_key import Enveloped
from mikeytool.exchange.request import read_request_init
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KeyData
from tests.world import ALICE, BOB, FORKING, KMS, World, accept_all, psk_of


def secrets_in(record: Any) -> Iterator[bytes]:
    """The keys and salts in a record, whatever it hides."""
    if isinstance(record, KeyData):
        yield record.key
        yield record.salt or b""
    elif isinstance(record, Message):
        return  # its octets are what goes over the wire
    elif is_dataclass(record) and not isinstance(record, type):
        for field in fields(record):
            value = getattr(record, field.name)
            if isinstance(value, bytes) and not field.repr:
                yield value
            else:
                yield from secrets_in(value)
    elif isinstance(record, dict):
        for value in record.values():
            yield from secrets_in(value)
    elif isinstance(record, tuple | list):
        for value in record:
            yield from secrets_in(value)


@pytest.fixture
def records(world: World) -> list[Any]:
    """Records of every kind that holds a key, from a call with all its keys."""
    held, psk = world.held(FORKING), psk_of(ALICE)
    request = read_request_init(world.asked(world.policy()))
    init = read_transfer_init(world.call(held))
    verified = world.verified(init.raw)
    answer, theirs = world.answered(init.raw)
    ours = finish_transfer(world.env, held, init, answer, accept_all)
    tpk = world.store.tpk()
    assert tpk is not None
    ring = KeyRing(psks=[(ALICE.data, psk)], tpks=[(None, tpk.key)], mpki=[(1, b"m" * 16)])
    resolved_file = TicketFile.of_resolved(init.ticket, verified.resolved, BOB)
    group_key = GroupKey(Purpose.AUDIO, 1, b"gtek", b"g" * 16, b"z" * 14, None, None)
    return [
        held, request, request.keys(psk, response=True), init, verified, ours, theirs, ring,
        *[ours.media_key(one) for one in ours.crypto_sessions],
        inspect_message(init.incoming.message, ring), KnownKeys(held.keys, False),
        Candidate(psk, False), PossibleKey(psk, True), Enveloped(request, psk),
        resolved_file, SessionFile(ours, (init.raw, resolved_file)),
        PreSharedKey(psk), PreSharedKey(psk).request(world.env, held.policy, ALICE, KMS),
        Settings(ALICE, psk, "kms.db", KMS, ()), group_key,
        Member(1, 1, ALICE, MemberState.JOINED, 1, 1, session=ours),
    ]  # fmt: skip


def test_no_record_shows_a_key(records: list[Any], world: World) -> None:
    tpk = world.store.tpk()
    assert tpk is not None
    secrets = {*secrets_in(records), psk_of(ALICE), tpk.key, b"m" * 16} - {b""}
    assert len(secrets) > 12
    for record in records:
        shown = repr(record)
        for secret in secrets:
            assert secret.hex() not in shown, shown
            assert repr(secret)[2:-1] not in shown, shown


def test_records_show_their_values(world: World) -> None:
    held = world.held(FORKING)
    session = world.answered(world.call(held))[1]
    media = session.media_key(session.crypto_sessions[0])
    assert repr(media) == f"MediaKey(spi={media.spi!r}, key=<16 octets>, salt=<14 octets>)"
    assert "mpk=<16 octets>" in repr(session)
    assert "csb_id=" in repr(session)
    assert repr(PreSharedKey(b"k" * 20)) == "PreSharedKey(key=<20 octets>, name=None)"
