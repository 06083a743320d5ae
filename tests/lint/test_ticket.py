from __future__ import annotations

import pytest

from mikeytool.wire.message import build_chain
from mikeytool.wire.payloads import KEMAC, RANDR, KeyData
from mikeytool.wire.registry import TicketFlag
from tests.lint.messages import (
    BOB,
    CALL_IN,
    CALL_OUT,
    EXCHANGES,
    FORKED,
    HALF,
    PLAIN,
    Case,
    D,
    case,
    change,
    codes,
    edited,
    flags,
    good,
    initiator_data,
    insert,
    inside,
    kemac,
    octets,
    tp,
    vector,
    without,
)

F = TicketFlag
HALF_REQUEST = vector("REQUEST_INIT_PSK", HALF)
PLAIN_REQUEST = vector("REQUEST_INIT_PSK", PLAIN)
TGK = KEMAC(encr_alg=0, encr_data=build_chain([KeyData(type=0, kv=0, key=bytes(16))]))
WITH_KEYS = edited(good(D.TRANSFER_INIT), flags(set_bits=F.L), insert(kemac(mac=0), "V"))
UPDATE = bytes.fromhex(EXCHANGES[FORKED]["update"]["TRANSFER_INIT"])
UPDATE_CALL_IN = bytes.fromhex(EXCHANGES[CALL_IN]["update"]["TRANSFER_INIT"])


def randr(role: int) -> RANDR:
    return RANDR(rand_role=role, rand=octets(16))


CASES = [
    case("flag-d-or-l", PLAIN_REQUEST, flags(clear=F.D | F.E), also=("flag-d-in-request",)),
    case("flag-g-needs-f", HALF_REQUEST, flags(set_bits=F.G)),
    case("flag-g-or-h", PLAIN_REQUEST, flags(clear=F.H)),
    case("flag-i-needs-e", D.REQUEST_INIT_PSK, flags(clear=F.E)),
    case("flag-k-needs-d", D.REQUEST_RESP, flags(set_bits=F.K | F.L, clear=F.D)),
    case("flag-m-needs-f", HALF_REQUEST, flags(set_bits=F.M)),
    case(
        "flag-i-needs-f",
        HALF_REQUEST,
        flags(set_bits=F.I),
        tp(without("KEMAC"), insert(TGK, "IDRr")),
    ),
    case("flag-i-without-f", HALF_REQUEST, flags(set_bits=F.I)),
    case("flag-k-in-request", PLAIN_REQUEST, flags(set_bits=F.K)),
    case("flag-d-in-request", PLAIN_REQUEST, flags(set_bits=F.L, clear=F.D)),
    case("reserved-bits", D.REQUEST_INIT_PSK, change("TP", res=1)),
    case("reserved-bits", D.ERROR, change("ERR", reserved=1)),
    case("reserved-bits", D.DH_INIT, change("DH", reserved=1)),
    case("ticket-form", D.REQUEST_INIT_PSK, change("TP", version=2)),
    case("granted-kemac", D.REQUEST_RESP, inside("TICKET", "tp_data", insert(TGK, "IDRr"))),
    case("initiator-data-missing", D.RESOLVE_INIT_PSK, change("TICKET", initiator_data=b"")),
    case(
        "initiator-data-unwanted",
        vector("RESOLVE_INIT_PSK", PLAIN),
        change("TICKET", initiator_data=b"\x00"),
        also=("payload-missing",),
    ),
    case(
        "initiator-data-unwanted",
        D.REQUEST_RESP,
        change("TICKET", initiator_data=b"\x00"),
        also=("payload-missing",),
    ),
    case("vi-differs", D.TRANSFER_INIT, change("V", ver_data=octets(20))),
    case(
        "vr-algorithm",
        D.RESOLVE_INIT_PSK,
        initiator_data(change("V", auth_alg=2, ver_data=octets(32))),
        also=("mixed-strength",),
    ),
    case("vi-of-another", WITH_KEYS, change("V", ver_data=octets(20))),
    case("initiator-differs", D.TRANSFER_INIT, change("IDRi", id_data=BOB)),
    case("initiator-unnamed", D.REQUEST_RESP, inside("TICKET", "tp_data", without("IDRi"))),
    case("initiator-keys", D.TRANSFER_INIT, insert(kemac(mac=0), "V")),
    case("initiator-keys", UPDATE, init=D.TRANSFER_INIT),
    case("responder-keys", D.TRANSFER_RESP, insert(kemac(mac=0), "V"), init=D.TRANSFER_INIT),
    case(
        "answer-forbidden",
        vector("TRANSFER_RESP", PLAIN),
        init=edited(vector("TRANSFER_INIT", PLAIN), flags(clear=F.F)),
    ),
    case("randr-missing", D.TRANSFER_RESP, without("RANDRr"), init=D.TRANSFER_INIT),
    case(
        "randr-unwanted",
        vector("TRANSFER_RESP", PLAIN),
        insert(randr(2), "IDRr"),
        init=vector("TRANSFER_INIT", PLAIN),
    ),
    case("modifier-missing", D.TRANSFER_RESP, without("RANDRkms"), init=D.TRANSFER_INIT),
    case("modifier-missing", D.RESOLVE_RESP, without("IDRr"), init=D.RESOLVE_INIT_PSK),
    case(
        "modifier-unwanted",
        vector("RESOLVE_RESP", PLAIN),
        insert(randr(3), "V"),
        init=vector("RESOLVE_INIT_PSK", PLAIN),
    ),
    case("flag-k-unset", D.REQUEST_RESP, flags(set_bits=F.L), init=D.REQUEST_INIT_PSK),
    case(
        "flag-k-unset",
        D.REQUEST_RESP,
        inside("TICKET", "tp_data", change("IDRr", id_data=b"sip:carol@example.com")),
        init=D.REQUEST_INIT_PSK,
    ),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


def test_flags_that_are_changed_go_with_k() -> None:
    changed = edited(good(D.REQUEST_RESP), flags(set_bits=F.L | F.K))
    assert codes(changed, good(D.REQUEST_INIT_PSK)) == []


@pytest.mark.parametrize("kind", ["TRANSFER_INIT", "TRANSFER_RESP", "REQUEST_INIT_PSK"])
@pytest.mark.parametrize("name", [CALL_IN, CALL_OUT])
def test_keys_that_the_flags_allow(kind: str, name: str) -> None:
    init = None if kind.endswith("INIT_PSK") else vector("TRANSFER_INIT", name)
    found = codes(vector(kind, name), init if kind == "TRANSFER_RESP" else None)
    assert found == []


def test_ticket_data_of_another_type_is_not_looked_into() -> None:
    other = edited(
        good(D.RESOLVE_INIT_PSK), change("TICKET", ticket_type=2, ticket_data=octets(50))
    )
    assert codes(other) == []


def test_ticket_data_of_a_base_ticket_is_looked_into() -> None:
    other = edited(good(D.RESOLVE_INIT_PSK), change("TICKET", ticket_data=octets(50)))
    assert codes(other) == ["unreadable-inside"]


def test_the_responder_may_start_an_update_with_keys() -> None:
    turned = edited(UPDATE_CALL_IN, change("IDRi", id_role=2), change("IDRr", id_role=2))
    assert "initiator-keys" not in codes(turned, vector("TRANSFER_INIT", CALL_IN))
