"""The base ticket and the keys that it hands out (RFC 6043 appendix A, interpretation 19)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from mikeytool.crypto.derive import ticket_keys
from mikeytool.crypto.kemac import TICKET_CSB_ID, open_kemac, seal_kemac
from mikeytool.crypto.mac import mac
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256, profile_of
from mikeytool.exchange.resolve import open_for_responder
from mikeytool.exchange.ticket import BaseTicket, TicketKeys, covered_by_ticket_mac, new_key
from mikeytool.wire.errors import MikeyError, Refused, WireError
from mikeytool.wire.message import build_chain, read_payload, ticket_data
from mikeytool.wire.payloads import IDR, KEMAC, RAND, THDR, TICKET, Chained, KeyData, Payload, T, V
from mikeytool.wire.registry import ErrorNo, IdRole, KeyType, TicketFlag
from mikeytool.wire.timestamp import Timestamp
from tests.world import FORKING, PLAIN, World, position, relaxed, tek

TPK = b"t" * 32
FORKS, SINGLE = TicketFlag.I | TicketFlag.E, TicketFlag.E


def mpk(length: int = 16) -> KeyData:
    return new_key(KeyType.MPK, os.urandom(length), None, os.urandom(4))


def again(ticket: TICKET, *inside: Payload) -> TICKET:
    """The ticket with other Ticket Data, its MAC made with the TPK: what only a KMS can do."""
    profile = profile_of(ticket.prf)
    length = profile.mac_alg.length
    v = V(auth_alg=profile.mac_alg.value, ver_data=bytes(length))
    made = relaxed(ticket, ticket_data=build_chain([*inside, v]))
    rand = next((one.rand for one in inside if isinstance(one, RAND)), bytes(16))
    covered = covered_by_ticket_mac(made, length)
    tag = mac(profile.mac_alg, ticket_keys(ticket.prf, TPK, rand), covered)
    return relaxed(made, ticket_data=made.ticket_data[:-length] + tag)


def inside(ticket: TICKET) -> list[Payload]:
    """Ticket Data without V."""
    return [
        payload.copy(next_payload=None)
        for payload in ticket_data(ticket.ticket_data)
        if isinstance(payload, Chained) and not isinstance(payload, V)
    ]


def with_keys(ticket: TICKET, keys: Sequence[KeyData]) -> TICKET:
    """The ticket with other keys in its KEMAC."""
    base = BaseTicket.of(ticket)
    protection = ticket_keys(ticket.prf, TPK, base.rand)
    encr_alg = profile_of(ticket.prf).encr_alg
    sealed = seal_kemac(encr_alg, keys, protection, TICKET_CSB_ID, base.t)
    payloads = inside(ticket)
    payloads[position(payloads, KEMAC)] = sealed
    return again(ticket, *payloads)


def refused(ticket: TICKET) -> None:
    with pytest.raises(Refused) as caught:
        BaseTicket.of(ticket).open(TPK)
    assert caught.value.error_no == ErrorNo.INVALID_TICKET


@pytest.mark.parametrize("prf", [PROFILE_128.prf, PROFILE_256.prf])
def test_a_ticket_holds_one_mpk_as_long_as_its_profile(world: World, prf: int) -> None:
    """RFC 6043 A.2.2, 12.1: MPKi and MPKr come from one MPK, in first place."""
    full = profile_of(prf).key_length
    ticket = world.held(PLAIN, prf=prf).ticket
    keys = BaseTicket.of(with_keys(ticket, [mpk(full), tek(b"tek!")])).open(TPK)
    assert [key.spi for key in keys.keys] == [b"tek!"]
    for wrong in (
        [],
        [tek(b"tek!")],
        [mpk(full), mpk(full)],
        [mpk(full), tek(b"tek!"), mpk(full)],
        [tek(b"tek!"), mpk(full)],
        [mpk(0)],
        [mpk(1)],
        [mpk(full - 1)],
    ):
        refused(with_keys(ticket, wrong))


@pytest.mark.parametrize("kind", [T, RAND, KEMAC])
def test_ticket_data_misses_nothing_and_has_nothing_twice(
    world: World, kind: type[Payload]
) -> None:
    """RFC 6043 A.1: THDR, T, RAND, KEMAC, [IDRpsk], V."""
    ticket = world.held(PLAIN).ticket
    payloads = inside(ticket)
    BaseTicket.of(again(ticket, *payloads)).open(TPK)
    at = position(payloads, kind)
    refused_reading(again(ticket, *payloads[:at], *payloads[at + 1 :]))
    refused_reading(again(ticket, *payloads[: at + 1], relaxed(payloads[at]), *payloads[at + 1 :]))


def refused_reading(ticket: TICKET) -> None:
    with pytest.raises(Refused) as caught:
        BaseTicket.of(ticket)
    assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_ticket_data_names_one_key_and_ends_with_v(world: World) -> None:
    """RFC 6043 A.1."""
    ticket = world.held(PLAIN).ticket
    payloads = inside(ticket)
    name = next(one for one in payloads if isinstance(one, IDR) and one.id_role == IdRole.PSK)
    refused_reading(again(ticket, *payloads, relaxed(name)))
    refused_reading(relaxed(ticket, ticket_data=build_chain(payloads)))
    refused_reading(relaxed(ticket, ticket_data=build_chain([THDR()])))
    with pytest.raises(WireError):
        BaseTicket.of(relaxed(ticket, ticket_data=ticket.ticket_data + b"\0"))
    with pytest.raises(WireError):
        BaseTicket.of(relaxed(ticket, ticket_data=b""))


def opened(octets: bytes) -> TicketKeys:
    ticket, end = read_payload(TICKET, octets, 0, len(octets))
    if end != len(octets):
        raise WireError("it is of another length")
    return BaseTicket.of(ticket).open(TPK)


def test_every_octet_of_a_ticket_is_protected(world: World) -> None:
    """RFC 6043 A.1: from Ticket Type to the MAC (interpretation 7)."""
    ticket = world.held(PLAIN).ticket
    octets = ticket.copy(next_payload=0, initiator_data_length=None).build()
    assert opened(octets).mpkr is None
    for at in range(1, len(octets) - 2):
        with pytest.raises((Refused, WireError)):
            opened(octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :])


@pytest.mark.parametrize("algorithm", ["mac", "encryption"])
def test_a_ticket_that_mixes_algorithms(world: World, algorithm: str) -> None:
    """RFC 6043 12.1."""
    ticket = world.held(PLAIN).ticket
    base = BaseTicket.of(ticket)
    payloads = inside(ticket)
    if algorithm == "mac":
        v = V(auth_alg=2, ver_data=bytes(32))
        other = relaxed(ticket, ticket_data=build_chain([*payloads, v]))
        protection = ticket_keys(ticket.prf, TPK, base.rand)
        tag = mac(2, protection, covered_by_ticket_mac(other, 32))
        other = relaxed(other, ticket_data=other.ticket_data[:-32] + tag)
    else:
        protection = ticket_keys(ticket.prf, TPK, base.rand)
        keys = open_kemac(base.kemac, protection, TICKET_CSB_ID, base.t)
        at = position(payloads, KEMAC)
        loose = [relaxed(key) for key in keys]
        payloads[at] = seal_kemac(3, loose, protection, TICKET_CSB_ID, base.t)
        other = again(ticket, *payloads)
    with pytest.raises(Refused, match=r"12\.1"):
        BaseTicket.of(other).open(TPK)


def test_garbage_behind_a_good_mac(world: World) -> None:
    """What the TPK protects may still be nonsense: refused as a broken ticket."""
    ticket = world.held(PLAIN).ticket
    payloads = inside(ticket)
    at = position(payloads, KEMAC)
    payloads[at] = relaxed(payloads[at], encr_data=b"\x99" * 50)
    refused(again(ticket, *payloads))


def test_the_rand_of_a_ticket(world: World) -> None:
    """RFC 6043 12.1: at least as long as the longest of TPK and MPK."""
    for prf in (PROFILE_128.prf, PROFILE_256.prf):
        assert len(BaseTicket.of(world.held(PLAIN, prf=prf).ticket).rand) >= len(TPK)


def test_mpks_in_an_answer_of_the_kms() -> None:
    """Interpretation 19: exactly one with I = 0, two with I = 1, in this order and first."""
    one, two, other = mpk(), mpk(), tek(b"tek!")
    keys = TicketKeys.of([one, other], SINGLE)
    assert (keys.mpki, keys.mpkr, keys.keys) == (one, None, (other,))
    keys = TicketKeys.of([one, two, other], FORKS)
    assert (keys.mpki, keys.mpkr, keys.keys) == (one, two, (other,))
    for wrong, flags in (
        ([], SINGLE),
        ([other], SINGLE),
        ([one, two], SINGLE),
        ([other, one], SINGLE),
        ([], FORKS),
        ([one], FORKS),
        ([one, other], FORKS),
        ([one, other, two], FORKS),
        ([other, one, two], FORKS),
        ([one, two, mpk()], FORKS),
        ([one, two, other, mpk()], FORKS),
    ):
        with pytest.raises(Refused, match="MPK"):
            TicketKeys.of(wrong, flags)


@pytest.mark.parametrize("length", [0, 1, 15])
def test_short_mpks_in_an_answer_of_the_kms(length: int) -> None:
    """RFC 6043 12.1: all keys have 128 bits or more."""
    for keys, flags in (
        ([mpk(length)], SINGLE),
        ([mpk(length), mpk()], FORKS),
        ([mpk(), mpk(length)], FORKS),
    ):
        with pytest.raises(Refused, match="MPK"):
            TicketKeys.of(keys, flags)


def test_initiator_data_goes_with_forking(world: World) -> None:
    """Interpretation 19: at the KMS, before it gives keys away."""
    for flags in (PLAIN, FORKING):
        ticket = world.held(flags).ticket
        wrong = relaxed(ticket, initiator_data=b"" if flags == FORKING else b"\0")
        with pytest.raises(Refused, match="Initiator Data") as caught:
            open_for_responder(BaseTicket.of(wrong), TPK)
        assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_the_t_of_a_ticket_may_be_of_any_type(world: World) -> None:
    """Interpretations 1 and 2: it only goes into the IV, as 64 bits: of NTP-UTC-32 the upper
    half, of a COUNTER the lower.
    """
    ticket = world.held(PLAIN).ticket
    base = BaseTicket.of(ticket)
    protection = ticket_keys(ticket.prf, TPK, base.rand)
    for t in (Timestamp(2, b"\0\0\0\1"), Timestamp(3, b"\xee\0\0\0")):
        payloads = inside(ticket)
        payloads[position(payloads, T)] = T(ts_type=t.ts_type, ts_value=t.value)
        sealed = seal_kemac(1, [mpk()], protection, TICKET_CSB_ID, t)
        payloads[position(payloads, KEMAC)] = sealed
        BaseTicket.of(again(ticket, *payloads)).open(TPK)
        zeros = bytes(4)
        as_64_bits = zeros + t.value if t.ts_type == 2 else t.value + zeros
        assert open_kemac(sealed, protection, TICKET_CSB_ID, Timestamp(0, as_64_bits))


def test_a_3gpp_base_ticket_is_read_and_no_role_takes_it(world: World) -> None:
    """Interpretation 39: where it parses; else it is opaque data."""
    base = world.held(PLAIN).ticket
    ticket = again(relaxed(base, ticket_type=2), *inside(base))
    assert BaseTicket.of(ticket).policy.ticket_type == 2
    with pytest.raises(Refused, match="not supported") as caught:
        open_for_responder(BaseTicket.of(ticket), TPK)
    assert caught.value.error_no == ErrorNo.INVALID_TICKET
    with pytest.raises(MikeyError):
        BaseTicket.of(relaxed(ticket, ticket_data=b"opaque"))
    with pytest.raises(Refused):
        BaseTicket.of(relaxed(ticket, ticket_type=3))
