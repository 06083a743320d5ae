"""Whole messages: those of other implementations, broken ones, and what payloads hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mikeytool import decode
from mikeytool.wire.errors import WireError
from mikeytool.wire.header import HDR
from mikeytool.wire.message import (
    Message,
    build_chain,
    build_leading,
    chain,
    key_data,
    leading_chain,
    nested,
    ticket_data,
)
from mikeytool.wire.payloads import (
    ERR,
    ID,
    IDR,
    KEMAC,
    RAND,
    SIGN,
    SP,
    THDR,
    TICKET,
    TP,
    TR,
    Payload,
    T,
    V,
)
from tests.support import vectors
from tests.wire.samples import COMMITTED, SAMPLES, every_sample


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def names(payloads: list[Payload]) -> list[str]:
    return [payload.label for payload in payloads]


def header(**more: Any) -> HDR:
    values: dict[str, Any] = {
        "data_type": 0,
        "prf": 0,
        "csb_id": 1,
        "cs_id_map_type": 1,
        "cs_id_map": [],
    }
    return HDR(**values | more)


# --- Messages of other implementations ----------------------------------------------------


def test_there_are_samples() -> None:
    """12 runs of six messages; all but one have an answer to TRANSFER_INIT, an update, an Error.

    And four requests under public keys.
    """
    assert len(COMMITTED) == 104 + 4
    assert len({sample.data for sample in COMMITTED}) == 104 + 4


@every_sample
def test_read_and_written_again(data: bytes) -> None:
    message = Message.parse(data)
    assert message.build() == data
    assert message.raw == data
    assert message.error is None
    assert message.trailing == b""


@every_sample
def test_next_payloads_are_made_right(data: bytes) -> None:
    """Written from the payloads alone, each names the one behind it as it did before."""
    message = Message.parse(data)
    message.header = message.header.copy(next_payload=None, cs_count=None)
    message.payloads = [
        payload if isinstance(payload, SIGN) else payload.copy(next_payload=None)
        for payload in message.payloads
    ]
    assert message.build() == data


@every_sample
def test_payloads_cover_the_message(data: bytes) -> None:
    message = Message.parse(data)
    pos = len(message.header.build())
    for payload in message.payloads:
        assert payload.offset == pos
        assert data[pos : pos + payload.length] == payload.build()
        pos += payload.length
    assert pos == len(data)


def holders(payloads: list[Payload]) -> Iterator[tuple[str, Payload, list[Payload]]]:
    """Each field that holds payloads: its name, whose it is, what is in it; depth first."""
    for payload in payloads:
        for name, inside in nested(payload).items():
            yield name, payload, inside
            yield from holders(inside)


@every_sample
def test_payloads_in_payloads_cover_their_field(data: bytes) -> None:
    for name, payload, inside in holders(Message.parse(data).payloads):
        held = payload[name]
        first = [] if isinstance(payload, KEMAC) or name == "ticket_data" else [held[:1]]
        assert b"".join([*first, *(p.build() for p in inside)]) == held
        for item in inside:
            assert data[item.offset : item.offset + item.length] == item.build()


@pytest.mark.parametrize("case", vectors("exchanges"), ids=lambda case: case["name"])
def test_payloads_by_the_rfc(case: dict[str, Any]) -> None:
    """The orders that RFC 6043 recommends, 4.2.1.1, 4.2.2.1, 4.2.3.1 and A.1."""
    request = Message.parse(raw(case["REQUEST_INIT_PSK"]))
    assert names(request.payloads) == ["T", "RANDR", "IDR", "IDR", "TP", "IDR", "V"]
    resolve = Message.parse(raw(case["RESOLVE_INIT_PSK"]))
    assert names(resolve.payloads) == ["T", "RANDR", "IDR", "IDR", "TICKET", "IDR", "V"]
    ticket = resolve.find(TICKET)
    assert ticket is not None
    held = nested(ticket)
    assert names(held["ticket_data"]) == ["THDR", "T", "RAND", "KEMAC", "IDR", "V"]
    assert names(held["initiator_data"]) == (["V", "V"] if "I" in case["flags"] else [])
    assert ticket.flag.letters.replace("K", "") == case["flags"].replace("K", "")


# --- Broken messages ------------------------------------------------------------------------


@every_sample
def test_cut_off_anywhere(data: bytes) -> None:
    whole = Message.parse(data)
    header_length = len(whole.header.build())
    for cut in range(len(data)):
        short = data[:cut]
        with pytest.raises(WireError):
            Message.parse(short)
        if not short:
            with pytest.raises(WireError):
                Message.read(short)
            continue
        message = Message.read(short)
        assert message.error is not None
        if cut < header_length:
            assert message.error.partial is message
            assert message.build() == short
            continue
        assert message.error.partial is None
        assert message.header == whole.header
        assert message.payloads == [p for p in whole.payloads if p.offset + p.length <= cut]
        assert message.build() == short


@pytest.mark.parametrize("extra", [b"\0", b"\x05\x00", bytes(300)], ids=len)
def test_trailing_octets(extra: bytes) -> None:
    data = COMMITTED[0].data
    with pytest.raises(WireError, match=rf"{len(extra)} octets? stands? behind") as caught:
        Message.parse(data + extra)
    assert caught.value.offset == len(data)
    message = Message.read(data + extra)
    assert message.error is None
    assert message.trailing == extra
    assert message.payloads == Message.parse(data).payloads
    assert message.build() == data + extra


def test_nothing_follows_a_signature() -> None:
    """SIGN has no next payload: what stands behind it belongs to no payload."""
    data = raw("01 02 05 00 00000001 00 01  04 02 00000007  1003 aabbcc")
    assert names(Message.parse(data).payloads) == ["T", "SIGN"]
    with pytest.raises(WireError, match="2 octets stand behind"):
        Message.parse(data + raw("0500"))


@pytest.mark.parametrize("number", [18, 19, 27, 240, 255])
def test_an_unknown_payload_ends_the_reading(number: int) -> None:
    data = raw("01 00 05 00 00000001 00 01") + bytes([number]) + raw("02 00000007 abcdef")
    with pytest.raises(WireError, match=f"payload number {number} ") as caught:
        Message.parse(data)
    assert caught.value.offset == 16
    message = Message.read(data)
    assert names(message.payloads) == ["T"]
    assert message.trailing == raw("abcdef")
    assert str(number) in str(message.error)


def test_an_unknown_payload_behind_the_header() -> None:
    data = raw("01 00 63 00 00000001 00 01 abcdef")
    message = Message.read(data)
    assert (message.payloads, message.trailing) == ([], raw("abcdef"))
    assert message.error is not None
    assert message.error.offset == 10


@pytest.mark.parametrize(
    ("payload", "label", "at"),
    [
        ("05 00 04 0000000000000000", "T", 10),
        ("09 00 63 0000000000000000", "V", 10),
        ("01 00 01 0000 63 00000000", "KEMAC", 10),
        ("0d 00 01 04 00000000", "TR", 10),
        ("08 00 03 00000000", "CHASH", 10),
        ("03 00 09 00000000", "DH", 10),
        ("01 00 01 ffff 00", "KEMAC", 14),
        ("06 00 01 ffff 00", "ID", 14),
        ("07 00 01 ffff 00", "CERT", 14),
        ("0a 00 01 00 ffff 00", "SP", 15),
        ("0b 00 ff 00", "RAND", 12),
        ("0f 00 01 ff 00", "RANDR", 13),
        ("0e 00 01 01 ffff 00", "IDR", 15),
        ("02 00 ffff 00", "PKE", 13),
        ("04 0fff 00", "SIGN", 12),
        ("10 00 0001 01 01 000000 ffff 00", "TP", 20),
        ("11 00 0001 01 01 000000 0000 ffff 00", "TICKET", 22),
        ("11 00 0001 01 01 000000 0000 0000 ffff 00", "TICKET", 24),
        ("14 00 00 ffff 00", "Key data", 14),
        ("15 00 00 ffff 00", "General Ext.", 14),
    ],
)
def test_the_fault_is_located(payload: str, label: str, at: int) -> None:
    """The first octet of `payload` is its number. A length of octets that are not there is
    located at these octets, a type that is unknown at the start of its payload.
    """
    octets = raw(payload)
    data = raw("01 00") + octets[:1] + raw("00 00000001 00 01") + octets[1:]
    with pytest.raises(WireError) as caught:
        Message.parse(data)
    assert (caught.value.payload, caught.value.offset) == (label, at)
    assert Message.read(data).trailing == octets[1:]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        raw("01 00 05 00 00000001 ff 00"),
        raw("01 0e 05 00 00000001 ff 02 01 00 7f"),
        raw("01 0e 05 00 00000001 01 02 01 00 00 ffff 00"),
        raw("01 0e 05 00 00000001 01 02 01 00 00 0000 ff"),
    ],
)
def test_a_header_that_breaks_off_is_a_fault(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        Message.parse(data)
    assert caught.value.payload in ("HDR", "CS ID map")
    if data:
        message = Message.read(data)
        assert caught.value.partial == message == decode_error(data).partial
        assert message.build() == data


def decode_error(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        decode(data)
    return caught.value


def test_the_shortest_message() -> None:
    data = raw("01 06 00 00 00000001 00 01")
    assert Message.parse(data).payloads == []
    assert Message.parse(data).build() == data


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with octets changed, taken out, put in, or doubled."""
    data = bytearray(draw(st.sampled_from(SAMPLES)).data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        end = min(len(data), at + draw(st.integers(1, 12)))
        change = draw(st.sampled_from(["set", "flip", "cut", "insert", "double"]))
        if change == "set":
            data[at] = draw(st.sampled_from([0, 1, 2, 20, 127, 128, 255]))
        elif change == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "cut" and len(data) > end - at:
            del data[at:end]
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        else:
            data[at:at] = data[at:end]
    return bytes(data)


@settings(max_examples=600, deadline=None)
@given(mutated())
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    try:
        message = Message.read(data)
    except WireError:
        with pytest.raises(WireError):
            Message.parse(data)
        return
    assert message.build() == data
    for _, _, inside in holders(message.payloads):
        for item in inside:
            assert data[item.offset : item.offset + item.length] == item.build()
    if message.error is None and not message.trailing:
        assert Message.parse(data) == message
    else:
        with pytest.raises(WireError):
            Message.parse(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_octets_are_read_or_refused(data: bytes, with_header: bool) -> None:
    if with_header:
        data = raw("01 0e") + data[:1] + raw("00 00000001 00 01") + data[1:]
    try:
        message = Message.read(data)
    except WireError:
        return
    assert message.build() == data


# --- Made by hand -----------------------------------------------------------------------------


def test_none_is_made_right() -> None:
    message = Message(header(), [T(ts_type=2, ts_value=raw("00000007")), RAND(rand=b"ab")])
    assert message.build() == raw("01 00 05 00 00000001 00 01  0b 02 00000007  00 02 6162")


def test_given_numbers_are_written_as_given() -> None:
    message = Message(
        header(next_payload=99, cs_count=7),
        [T(next_payload=98, ts_type=2, ts_value=raw("00000007")), RAND(next_payload=5, rand=b"")],
    )
    assert message.build() == raw("01 00 63 00 00000001 07 01  62 02 00000007  05 00")


def test_a_message_without_payloads() -> None:
    assert Message(header(), []).build() == raw("01 00 00 00 00000001 00 01")


def test_a_signature_ends_the_chain() -> None:
    message = Message(header(), [RAND(rand=b""), SIGN(s_type=0, signature=b"a")])
    assert message.build() == raw("01 00 0b 00 00000001 00 01  04 00  0001 61")


def test_trailing_octets_are_written() -> None:
    assert Message(header(), [], trailing=b"xyz").build().endswith(b"xyz")


def test_building_changes_nothing() -> None:
    message = Message(header(), [RAND(rand=b"ab")])
    assert message.build() == message.build()
    assert message.header.next_payload is None
    assert isinstance(message.payloads[0], RAND)
    assert message.payloads[0].next_payload is None
    assert message.payloads[0].rand_len is None


def test_finding_payloads() -> None:
    first, second = RAND(rand=b"1"), RAND(rand=b"2")
    message = Message(header(), [first, ID(id_type=1, id_data=b""), second])
    assert message.find(RAND) is first
    assert message.all(RAND) == [first, second]
    assert message.find(ERR) is None
    assert message.all(ERR) == []


def test_a_ticket_is_not_found_as_a_policy() -> None:
    ticket = TICKET(
        ticket_type=1, subtype=1, version=1, prf=0, flags=0, tp_data=b"", ticket_data=b""
    )
    message = Message(header(), [ticket])
    assert message.find(TP) is None
    assert message.find(TICKET) is ticket


# --- Payloads in payloads ---------------------------------------------------------------------

# A first payload octet, TRs and IDRapp (RFC 6043 6.10)
TP_DATA = raw("0d  0e 02 03 edc34f48  00 05 02 0001 61")


def test_a_leading_chain() -> None:
    payloads = list(leading_chain(TP_DATA, base=100))
    assert payloads == [
        TR(next_payload=14, ts_role=2, ts_type=3, ts_value=raw("edc34f48")),
        IDR(next_payload=0, id_role=5, id_type=2, id_len=1, id_data=b"a"),
    ]
    assert [(p.offset, p.length) for p in payloads] == [(101, 7), (108, 6)]


def test_building_a_leading_chain() -> None:
    payloads = [
        TR(ts_role=2, ts_type=3, ts_value=raw("edc34f48")),
        IDR(id_role=5, id_type=2, id_data=b"a"),
    ]
    assert build_leading(payloads) == TP_DATA
    assert build_chain(payloads) == TP_DATA[1:]
    assert build_leading([]) == b"\0"
    assert build_chain([]) == b""


@pytest.mark.parametrize("data", [b"", b"\0"])
def test_an_empty_leading_chain(data: bytes) -> None:
    assert list(leading_chain(data)) == []


@pytest.mark.parametrize(
    ("data", "at"), [(TP_DATA + b"!", 114), (b"\0!", 101), (TP_DATA[:-1], 113), (b"\x63", 101)]
)
def test_a_broken_leading_chain(data: bytes, at: int) -> None:
    with pytest.raises(WireError) as caught:
        list(leading_chain(data, base=100))
    assert caught.value.offset == at


# THDR with two octets, T, V without a MAC (RFC 6043 A.1)
TICKET_DATA = raw("05 0002 abcd  09 02 00000007  00 00")


def test_ticket_data() -> None:
    payloads = list(ticket_data(TICKET_DATA, base=50))
    assert payloads == [
        THDR(next_payload=5, thdr_data_length=2, thdr_data=raw("abcd")),
        T(next_payload=9, ts_type=2, ts_value=raw("00000007")),
        V(next_payload=0, auth_alg=0, ver_data=b""),
    ]
    assert [(p.offset, p.length) for p in payloads] == [(50, 5), (55, 6), (61, 2)]
    assert build_chain(payloads) == TICKET_DATA


@pytest.mark.parametrize(
    "data", [b"", TICKET_DATA[:4], TICKET_DATA[:-1], TICKET_DATA + b"!", raw("00 0000 ff")]
)
def test_broken_ticket_data(data: bytes) -> None:
    with pytest.raises(WireError):
        list(ticket_data(data))


KEYS = raw("14 20 0002 6b31  00 31 0002 6b32 0001 73 04 00000009")


def test_key_data() -> None:
    keys = list(key_data(KEYS))
    assert [(key.type, key.key, key.salt, key.spi) for key in keys] == [
        (2, b"k1", None, None),
        (3, b"k2", b"s", raw("00000009")),
    ]
    assert build_chain(keys) == KEYS
    assert list(key_data(b"")) == []


def test_only_keys_stand_in_a_kemac() -> None:
    with pytest.raises(WireError, match="only key data") as caught:
        list(key_data(raw("05 20 0002 6b31  00 02 00000007")))
    assert caught.value.payload == "T"
    with pytest.raises(WireError, match="1 octet stands behind"):
        list(key_data(KEYS + b"!"))


def test_nested_reads_what_needs_no_key() -> None:
    ticket = TICKET(
        ticket_type=1,
        subtype=1,
        version=1,
        prf=0,
        flags=0,
        tp_data=TP_DATA,
        ticket_data=TICKET_DATA,
        initiator_data=raw("09 00 00"),
    )
    kemac = KEMAC(encr_alg=0, encr_data=KEYS)
    sealed = KEMAC(encr_alg=1, encr_data=KEYS)
    message = Message.parse(Message(header(), [ticket, kemac, sealed]).build())
    read_ticket, read_kemac, read_sealed = message.payloads
    held = nested(read_ticket)
    assert {name: names(inside) for name, inside in held.items()} == {
        "tp_data": ["TR", "IDR"],
        "ticket_data": ["THDR", "T", "V"],
        "initiator_data": ["V"],
    }
    assert names(nested(read_kemac)["encr_data"]) == ["Key data", "Key data"]
    assert nested(read_sealed) == {}
    assert nested(SP(policy_no=1, protocol=0, policy_param=[])) == {}


def test_nested_reads_up_to_a_fault() -> None:
    policy = TP(
        ticket_type=1, subtype=1, version=1, prf=0, flags=0, tp_data=TP_DATA[:-1] + b"\xff\xff"
    )
    assert names(nested(policy)["tp_data"]) == ["TR", "IDR"]
    assert names(nested(policy.copy(tp_data=TP_DATA[:-1]))["tp_data"]) == ["TR"]


def test_a_chain_within_bounds() -> None:
    """Octets behind the end belong to somebody else."""
    data = raw("00 02 00000007 0000")
    assert names(list(chain(data, 5, 0, 6))) == ["T"]
    with pytest.raises(WireError) as caught:
        list(chain(data, 5, 0, 5, base=10))
    assert (caught.value.payload, caught.value.offset) == ("T", 12)
