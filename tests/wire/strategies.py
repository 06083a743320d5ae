"""Records with any values that their fields can hold, by the field sizes of the RFCs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from mikeytool.wire.extensions import KeyId, KeyIdInformation, NewCsbId, OmaBcast, SdpIds, VendorId
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import HDR, GenericIdEntry, SrtpIdEntry, SrtpSessionData
from mikeytool.wire.ibake import ECCPT, ESK, IBAKE, SK
from mikeytool.wire.payloads import (
    CERT,
    CHASH,
    DH,
    ERR,
    ID,
    IDR,
    KEMAC,
    PKE,
    RAND,
    RANDR,
    SIGN,
    SP,
    THDR,
    TICKET,
    TP,
    TR,
    GeneralExt,
    KeyData,
    PolicyParam,
    T,
    V,
)
from mikeytool.wire.sakke import SAKKE

# RFC 3830 6.2, 6.4, 6.6, 6.8 and RFC 6043 6.2, 6.3, 6.7: type number and octets that follow
MAC_LENGTHS = {0: 0, 1: 20, 2: 32}
DH_LENGTHS = {0: 192, 1: 96, 2: 128}
TS_LENGTHS = {0: 8, 1: 8, 2: 4, 3: 4}
HASH_LENGTHS = {0: 20, 1: 16, 2: 32}
SALTED = {1, 3, 5}

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
some = st.binary(max_size=60)


def _bits(length: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << length) - 1)


def _typed(
    lengths: dict[int, int], kind: str, value: str
) -> Callable[[st.DrawFn], dict[str, int | bytes]]:
    """A type number and a value of the length that the type implies."""

    def draw_both(draw: st.DrawFn) -> dict[str, int | bytes]:
        number = draw(st.sampled_from(sorted(lengths)))
        size = lengths[number]
        return {kind: number, value: draw(st.binary(min_size=size, max_size=size))}

    return draw_both


def _validity(draw: st.DrawFn) -> dict[str, int | bytes]:
    """KV and the fields that RFC 3830 6.14 gives it."""
    kv = draw(st.sampled_from([0, 1, 2]))
    if kv == 1:
        return {"kv": kv, "spi": draw(st.binary(max_size=255))}
    if kv == 2:
        interval = st.binary(max_size=255)
        return {"kv": kv, "valid_from": draw(interval), "valid_to": draw(interval)}
    return {"kv": kv}


def _key_type(draw: st.DrawFn) -> dict[str, int | bytes]:
    number = draw(st.integers(0, 7))
    return {"type": number} | ({"salt": draw(some)} if number in SALTED else {})


# RFC 6267 table 5 and SEC 1 2.3.3: octets of a coordinate, and how many follow a first octet
COORDINATES = {1: 24, 2: 21, 5: 28, 6: 30, 8: 32, 9: 36, 11: 48, 12: 52, 14: 66, 15: 72}
FORMS = {0: 0, 2: 1, 3: 1, 4: 2}


def _point(draw: st.DrawFn) -> dict[str, int | bytes]:
    """A point that ends on a 32-bit boundary, 3 octets of the payload before it."""
    curve, point = draw(st.sampled_from(sorted(COORDINATES))), draw(st.sampled_from(sorted(FORMS)))
    size = COORDINATES[curve] * FORMS[point]
    size += (4 - (size + 3) % 4) % 4
    octets = draw(st.binary(min_size=size, max_size=size))
    return {"ecc_curve": curve, "point_form": point, "ecc_point": octets}


_policy: dict[str, Any] = {
    "ticket_type": u16,
    "subtype": u8,
    "version": u8,
    "prf": _bits(7),
    "flags": _bits(12),
    "res": _bits(5),
    "tp_data": some,
}

# Class, its fields of any value, and what draws the fields that hang together.
_SHAPES: list[tuple[type[Record], dict[str, Any], list[Callable[[st.DrawFn], dict[str, Any]]]]] = [
    (KEMAC, {"encr_alg": u8, "encr_data": some}, [_typed(MAC_LENGTHS, "mac_alg", "mac")]),
    (PKE, {"c": _bits(2), "data": some}, []),
    (DH, {"reserved": _bits(4)}, [_typed(DH_LENGTHS, "dh_group", "dh_value"), _validity]),
    (SIGN, {"s_type": _bits(4), "signature": some}, []),
    (T, {}, [_typed(TS_LENGTHS, "ts_type", "ts_value")]),
    (ID, {"id_type": u8, "id_data": some}, []),
    (CERT, {"cert_type": u8, "cert_data": some}, []),
    (CHASH, {}, [_typed(HASH_LENGTHS, "hash_func", "hash")]),
    (V, {}, [_typed(MAC_LENGTHS, "auth_alg", "ver_data")]),
    (PolicyParam, {"type": st.integers(0, 24) | u8, "value": st.binary(max_size=255)}, []),
    (RAND, {"rand": st.binary(max_size=255)}, []),
    (ERR, {"error_no": u8, "reserved": u16}, []),
    (TR, {"ts_role": u8}, [_typed(TS_LENGTHS, "ts_type", "ts_value")]),
    (IDR, {"id_role": u8, "id_type": u8, "id_data": some}, []),
    (RANDR, {"rand_role": u8, "rand": st.binary(max_size=255)}, []),
    (TP, _policy, []),
    (TICKET, {**_policy, "ticket_data": some, "initiator_data": some}, []),
    (THDR, {"thdr_data": some}, []),
    (KeyData, {"key": some}, [_key_type, _validity]),
    (GeneralExt, {"type": u8, "data": some}, []),
    (IBAKE, {"encr_data": some}, []),
    (ESK, {"encr_data": some}, []),
    (SK, {"type": _bits(4), "key": some}, [_validity]),
    (ECCPT, {"auth_alg": u8, "tgk_len": u16, "reserved": _bits(4)}, [_point, _validity]),
    (SAKKE, {"sakke_params": u8, "id_scheme": u8, "sakke_data": some}, []),
    (KeyId, {"key_id_type": u8, "key_id": st.binary(max_size=255)}, []),
    (NewCsbId, {"csb_id": u32}, []),
    (OmaBcast, {"subtype": u8, "subtype_data": some}, []),
    (VendorId, {"vendor_id": some}, []),
    (SdpIds, {"sdp_ids": some}, []),
    (SrtpIdEntry, {"policy_no": u8, "ssrc": u32, "roc": u32}, []),
    (
        GenericIdEntry,
        {
            "cs_id": u8,
            "protocol": u8,
            "s": _bits(1),
            "policies": st.lists(u8, max_size=127),
            "session_data": some,
            "spi": st.binary(max_size=255),
        },
        [],
    ),
    (SrtpSessionData, {"ssrc": u32, "roc": u32, "seq": u16}, []),
]


@st.composite
def _record(
    draw: st.DrawFn,
    kind: type[Record],
    plain: dict[str, Any],
    together: list[Callable[[st.DrawFn], dict[str, Any]]],
) -> Record:
    values = {key: draw(strategy) for key, strategy in plain.items()}
    for draw_more in together:
        values |= draw_more(draw)
    if "next_payload" in kind.fields:
        values["next_payload"] = draw(u8)
    return kind(**values)


RECORDS: dict[type[Record], st.SearchStrategy[Any]] = {
    kind: _record(kind, plain, together) for kind, plain, together in _SHAPES
}
RECORDS[SP] = st.builds(
    SP,
    next_payload=u8,
    policy_no=u8,
    protocol=st.sampled_from([0, 1]) | u8,  # those that have names for their parameters
    policy_param=st.lists(RECORDS[PolicyParam], max_size=6),
)

RECORDS[KeyIdInformation] = st.builds(
    KeyIdInformation, key_ids=st.lists(RECORDS[KeyId], max_size=4)
)


@st.composite
def _header(draw: st.DrawFn) -> HDR:
    map_type = draw(st.sampled_from([0, 1, 2]))
    entry = RECORDS[GenericIdEntry if map_type == 2 else SrtpIdEntry]
    cs_id_map = [] if map_type == 1 else draw(st.lists(entry, max_size=5))
    return HDR(
        version=draw(u8),
        data_type=draw(u8),
        next_payload=draw(u8),
        v=draw(_bits(1)),
        prf=draw(_bits(7)),
        csb_id=draw(u32),
        cs_count=draw(u8) if map_type == 1 else None,
        cs_id_map_type=map_type,
        cs_id_map=cs_id_map,
    )


RECORDS[HDR] = _header()
