from __future__ import annotations

import pytest

from mikeytool.lint import Profile
from mikeytool.wire.message import build_chain
from mikeytool.wire.payloads import KEMAC, KeyData
from mikeytool.wire.registry import TicketFlag
from tests.lint.messages import (
    FORKED,
    PLAIN,
    Case,
    D,
    Edit,
    case,
    change,
    codes,
    edited,
    entry,
    flags,
    good,
    swap,
    tp,
    vector,
    without,
)

F = TicketFlag
REQUEST, INIT = D.REQUEST_INIT_PSK, D.TRANSFER_INIT
GTGK = KEMAC(encr_alg=0, encr_data=build_chain([KeyData(type=4, kv=0, key=bytes(16))]))
TYPE = ("ims-ticket-type",)


def made(code: str, base: bytes | D, *edits: Edit, also: tuple[str, ...] = TYPE) -> Case:
    return case(code, base, *edits, also=also, profile=Profile.IMS)


CASES = [
    made("ims-mode", D.PRE_SHARED, also=()),
    made("ims-mode", D.SAKKE_MSG, also=()),
    made("ims-forking", vector("REQUEST_INIT_PSK", PLAIN)),
    made("ims-ticket-type", D.REQUEST_RESP, also=()),
    made("ims-identity", INIT, change("IDRr", id_data=b"http://bob")),
    made("ims-identity", INIT, change("IDRi", id_type=0), also=(*TYPE, "id-not-nai")),
    made("ims-validity", REQUEST, tp(without("TRe"))),
    made("ims-group-key", REQUEST, tp(swap("KEMAC", GTGK))),
    made("ims-answer-keys", INIT, flags(clear=F.M)),
    made("ims-cs-ids", INIT, entry(0, cs_id=3)),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    found = [code for code in broken.found() if code != "ims-answer-keys" or code == broken.code]
    assert found == broken.expected()


@pytest.mark.parametrize("kind", [REQUEST, D.REQUEST_RESP, INIT, D.TRANSFER_RESP, D.RESOLVE_RESP])
def test_a_call_with_forking(kind: D) -> None:
    """The known exchange, whose tickets are base tickets of RFC 6043."""
    assert vector(kind.label, FORKED) == good(kind)
    assert set(codes(good(kind), profile=Profile.IMS)) <= {*TYPE, "ims-answer-keys"}


def test_the_3gpp_ticket() -> None:
    data = edited(good(REQUEST), change("TP", ticket_type=2))
    assert codes(data, profile=Profile.IMS) == []
