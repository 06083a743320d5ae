"""What is wrong with a message before any key is asked (RFC 6043 12.1, interpretation 25)."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import PROFILE_256
from mikeytool.exchange.request import read_request_init, request_init
from mikeytool.exchange.resolve import read_resolve_init
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, IDR, RAND, RANDR, SP, GeneralExt, V
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, RandRole, TicketFlag
from tests.support import vectors
from tests.world import dropping, inserting, putting, relaxed, setting, unprotected

NAMES = {
    "REQUEST_INIT_PSK": DataType.REQUEST_INIT_PSK,
    "REQUEST_RESP": DataType.REQUEST_RESP,
    "TRANSFER_INIT": DataType.TRANSFER_INIT,
    "TRANSFER_RESP": DataType.TRANSFER_RESP,
    "RESOLVE_INIT_PSK": DataType.RESOLVE_INIT_PSK,
    "RESOLVE_RESP": DataType.RESOLVE_RESP,
}
FORKED = vectors("exchanges")[0]
WITH_KEMACS = next(case for case in vectors("exchanges") if "call-in" in case["name"])
READERS: dict[str, Callable[[bytes], Any]] = {
    "REQUEST_INIT_PSK": read_request_init,
    "RESOLVE_INIT_PSK": read_resolve_init,
    "TRANSFER_INIT": read_transfer_init,
}


def raw_of(name: str, case: dict[str, Any] = WITH_KEMACS) -> bytes:
    return bytes.fromhex(case[name])


def read(name: str, raw: bytes) -> Incoming:
    return Incoming.read(raw, NAMES[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", [FORKED, WITH_KEMACS], ids=["forked", "with KEMACs"])
def test_nothing_stands_in_a_message_twice(name: str, case: dict[str, Any]) -> None:
    """Interpretation 25: payloads that may occur once. Roles and policy numbers tell IDRs,
    RANDRs and SPs apart.
    """
    raw = raw_of(name, case)
    read(name, raw)
    for at in range(len(Message.parse(raw).payloads) - 1):
        again = relaxed(Message.parse(raw).payloads[at])
        with pytest.raises(Refused, match=r"more than once|two payloads"):
            read(name, unprotected(raw, inserting(again, at=at)))


@pytest.mark.parametrize("name", NAMES)
def test_a_second_payload_of_a_role_need_not_be_the_same(name: str) -> None:
    """Interpretation 25."""
    raw = raw_of(name, FORKED)
    roles = {(type(p), p.id_role) for p in Message.parse(raw).all(IDR)}
    assert roles
    for _, role in roles:
        other = IDR(id_role=role, id_type=1, id_data=b"sip:other@example.com")
        with pytest.raises(Refused, match="ID role"):
            read(name, unprotected(raw, inserting(other)))


def test_a_policy_number_is_used_once() -> None:
    """Interpretation 25."""
    raw = raw_of("TRANSFER_INIT", FORKED)
    number = Message.parse(raw).all(SP)[0].policy_no
    other = SP(policy_no=number, protocol=241, policy_param=[])
    with pytest.raises(Refused, match="policy number"):
        read("TRANSFER_INIT", unprotected(raw, inserting(other)))


@pytest.mark.parametrize("name", NAMES)
def test_v_is_last(name: str) -> None:
    """Interpretation 25: whatever the order of the others, V or SIGN is last."""
    raw = raw_of(name, FORKED)
    message = Message.parse(raw)
    *others, v = [relaxed(p) for p in message.payloads]
    header = message.header.copy(next_payload=None)
    for at in range(len(others)):
        moved = Message(header, [*others[:at], v, *others[at:]]).build()
        with pytest.raises(Refused, match="last"):
            read(name, moved)
    twice = Message(header, [*others, v, v]).build()
    with pytest.raises(Refused):
        read(name, twice)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_others_is_tolerated(name: str, seed: int) -> None:
    """Interpretation 25."""
    shuffle = random.Random(seed).shuffle
    raw = raw_of(name, FORKED)
    incoming = read(name, unprotected(raw, lambda _, payloads: shuffle(payloads)))
    before = read(name, raw)
    assert incoming.t == before.t
    for id_role in IdRole:
        assert incoming.identity(id_role) == before.identity(id_role)
    for rand_role in RandRole:
        assert incoming.rand(rand_role) == before.rand(rand_role)


@pytest.mark.parametrize("name", NAMES)
def test_payloads_that_are_not_expected_are_ignored(name: str) -> None:
    """RFC 6043 4.2: unexpected payloads SHOULD be ignored, if their length is known
    (interpretation 33).
    """
    raw = raw_of(name, FORKED)
    for strange in (
        GeneralExt(type=0, data=b"vendor"),
        RAND(rand=bytes(16)),
        ERR(error_no=3),
        RANDR(rand_role=77, rand=b"x"),
        IDR(id_role=77, id_type=1, id_data=b"sip:x"),
    ):
        changed = unprotected(raw, inserting(strange, at=1))
        assert read(name, changed).v == read(name, raw).v
    unknown = raw[:2] + b"\x63" + raw[3:]
    with pytest.raises(WireError):
        read(name, unknown)
    with pytest.raises(WireError, match="behind the last payload"):
        read(name, raw + b"\0")


@pytest.mark.parametrize("name", READERS)
def test_an_empty_rand_is_none(name: str) -> None:
    """RFC 6043 12.1: whether others are long enough, the keys that they go with tell."""
    raw = raw_of(name)
    for good in (1, 16, 255):
        READERS[name](unprotected(raw, putting(RANDR, rand=bytes(good))))
    with pytest.raises(Refused):
        READERS[name](unprotected(raw, putting(RANDR, rand=b"")))


@pytest.mark.parametrize("name", READERS)
def test_an_initial_message_without_its_rand(name: str) -> None:
    """RFC 6043 4.2.1.1, 4.2.2.1, 4.2.3.1: it MUST always be there."""

    with pytest.raises(Refused):
        READERS[name](unprotected(raw_of(name), dropping(RANDR)))


@pytest.mark.parametrize("name", ["REQUEST_INIT_PSK", "RESOLVE_INIT_PSK"])
def test_there_are_no_crypto_sessions_with_a_kms(name: str) -> None:
    """RFC 6043 4.2.1.1, 4.2.3.1: #CS is 0 and the map is Empty."""
    raw = raw_of(name)
    with pytest.raises(Refused):
        READERS[name](unprotected(raw, setting(cs_count=1)))
    for kind in (0, 2):
        with pytest.raises(Refused):
            READERS[name](unprotected(raw, setting(cs_id_map_type=kind)))


def test_another_version_data_type_or_prf() -> None:
    """Interpretation 32: which number goes with which."""
    raw = raw_of("TRANSFER_INIT")
    for change, number in (
        ({"version": 2}, ErrorNo.UNSPECIFIED),
        ({"data_type": DataType.TRANSFER_RESP.value}, ErrorNo.INVALID_DT),
        ({"prf": 5}, ErrorNo.INVALID_PRF),
    ):
        changed = unprotected(raw, setting(**change))
        with pytest.raises(Refused) as caught:
            read("TRANSFER_INIT", changed)
        assert caught.value.error_no == number


def test_a_message_without_v_or_t() -> None:
    """Interpretation 16: NULL authentication is never accepted, and none still less."""
    message = Message.parse(raw_of("TRANSFER_INIT"))
    loose = [relaxed(p) for p in message.payloads]
    header = message.header.copy(next_payload=None)
    bare = Message(header, [p for p in loose if not isinstance(p, V)]).build()
    with pytest.raises(Refused) as caught:
        _ = read("TRANSFER_INIT", bare).v
    assert caught.value.error_no == ErrorNo.AUTH_FAILURE
    with pytest.raises(Refused, match="payload T"):
        read("TRANSFER_INIT", Message(header, loose[1:]).build())


@pytest.mark.parametrize("inside", [False, True])
def test_identities_that_are_too_long(inside: bool) -> None:
    """Roles refuse them, in a message and in a ticket; what only reads shows them."""
    env = Environment(clock=lambda: 10**18, random=os.urandom)
    longest, longer = (Identity(b"sip:" + b"*" * length) for length in (1020, 1021))

    def sent(who: Identity) -> Message:
        asked = TicketPolicy(
            PROFILE_256.prf, TicketFlag.from_letters("DEFGHIJNO"), (who if inside else longest,)
        )
        sender = longest if inside else who
        init = request_init(
            env, PROFILE_256, asked, initiator=sender, kms=longest, psk=b"k" * 32, psk_id=None
        )
        return Message.read(init.raw)

    read_request_init(sent(longest))
    with pytest.raises(Refused, match="1024"):
        read_request_init(sent(longer))
