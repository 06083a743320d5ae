from __future__ import annotations

import pytest

from mikeytool.lint import lint
from mikeytool.wire.header import SrtpIdEntry
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import RANDR, SP, TICKET
from mikeytool.wire.registry import TicketFlag
from tests.lint.messages import (
    BOB,
    CALL_OUT,
    EXCHANGES,
    FORKED,
    NOW,
    Case,
    D,
    case,
    change,
    codes,
    dh,
    edited,
    good,
    header,
    insert,
    octets,
    sp,
    swap,
    t,
    v,
    vector,
    without,
)
from tests.support import message_t

RESP, INIT = D.TRANSFER_RESP, D.TRANSFER_INIT
UPDATE = bytes.fromhex(EXCHANGES[CALL_OUT]["update"]["TRANSFER_INIT"])
UPDATE_RESP = bytes.fromhex(EXCHANGES[CALL_OUT]["update"]["TRANSFER_RESP"])
FIRST = vector("TRANSFER_INIT", CALL_OUT)
OLD_MAP = [SrtpIdEntry(policy_no=0, ssrc=1, roc=0)]


def found(kind: type, data: bytes) -> object:
    payload = Message.parse(data).find(kind)
    assert payload is not None
    return payload.copy(next_payload=None)


NEW_TICKET = Message.parse(FIRST).find(TICKET)
assert NEW_TICKET is not None
OTHER_DH = (without("DH", "DH"), insert(dh(9), "KEMAC"), insert(dh(8), "KEMAC"))
CASES = [
    case("other-csb-id", RESP, header(csb_id=1), init=INIT),
    case("no-answer", D.RESOLVE_RESP, header(csb_id=0xE34B3F93), init=INIT),
    case("other-version", D.PSK_VER_MSG, init=edited(good(D.PRE_SHARED), header(version=2))),
    case("other-prf", D.DH_RESP, header(prf=0), init=D.DH_INIT, also=("signature-sha1",)),
    case("other-map", D.PSK_VER_MSG, header(cs_id_map_type=1, cs_id_map=[]), init=D.PRE_SHARED),
    case("other-mac", D.PSK_VER_MSG, swap("V", v(2)), init=D.PRE_SHARED, also=("mixed-strength",)),
    case("other-time", D.PSK_VER_MSG, swap("T", t(1)), init=D.PRE_SHARED),
    case("time-repeated", RESP, change("T", ts_value=message_t(good(INIT)).value), init=INIT),
    case(
        "time-repeated",
        D.ERROR,
        header(csb_id=0xE34B3F93),
        change("T", ts_value=message_t(good(INIT)).value),
        init=INIT,
    ),
    case(
        "update-public-key",
        D.PUBLIC_KEY,
        without("RAND"),
        swap("T", t(5)),
        init=edited(good(D.PUBLIC_KEY), change("PKE", c=1)),
    ),
    case("update-time", UPDATE, swap("T", message_t(FIRST).payload()), init=FIRST),
    case(
        "update-static",
        UPDATE,
        insert(RANDR(rand_role=1, rand=octets(16)), "IDRi"),
        init=FIRST,
    ),
    case("update-repeats", UPDATE, insert(RANDR(rand_role=2, rand=octets(16)), "IDRi")),
    case("update-repeats", UPDATE, insert(NEW_TICKET.copy(next_payload=None), "KEMAC"), init=FIRST),
    case("update-static", D.PRE_SHARED, swap("T", t(5)), init=D.PRE_SHARED),
    case("sp-resent", RESP, insert(found(SP, good(INIT)), "V"), init=INIT),  # type: ignore[arg-type]
    case("sp-number-taken", RESP, insert(sp(0, p11=4), "V"), init=INIT),
    case("dh-pair", D.DH_RESP, without("DH")),
    case("dh-echo", D.DH_RESP, without("DH", "DH"), init=D.DH_INIT),
    case(
        "dh-echo",
        D.DH_RESP,
        change("DH", dh_group=2, dh_value=octets(128)),
        init=D.DH_INIT,
        also=("dh-weak",),
    ),
    case(
        "dh-echo",
        D.DHHMAC_RESP,
        without("DH"),
        insert(dh(9), "KEMAC"),
        without("DH"),
        insert(dh(8), "KEMAC"),
        init=D.DHHMAC_INIT,
    ),
    case("initiator-echo", D.DH_RESP, without("ID"), change("ID", id_data=BOB), init=D.DH_INIT),
    case("initiator-echo", D.R_MESSAGE_1, change("IDRi", id_data=BOB), init=D.I_MESSAGE_1),
    case(
        "update-static",
        UPDATE,
        insert(NEW_TICKET.copy(next_payload=None, flags=NEW_TICKET.flags ^ TicketFlag.N), "KEMAC"),
        init=FIRST,
    ),
]

PAIRS = [
    (D.PSK_VER_MSG, D.PRE_SHARED),
    (D.PK_VER_MSG, D.PUBLIC_KEY),
    (D.DH_RESP, D.DH_INIT),
    (D.DHHMAC_RESP, D.DHHMAC_INIT),
    (D.RSA_R_R_MSG, D.RSA_R_I_MSG),
    (D.REQUEST_RESP, D.REQUEST_INIT_PSK),
    (D.TRANSFER_RESP, D.TRANSFER_INIT),
    (D.RESOLVE_RESP, D.RESOLVE_INIT_PSK),
    (D.REQUEST_KEY_RESP, D.REQUEST_KEY_PSK),
    (D.R_MESSAGE_1, D.I_MESSAGE_1),
    (D.I_MESSAGE_2, D.R_MESSAGE_1),
    (D.R_MESSAGE_2, D.I_MESSAGE_2),
    (D.ERROR, D.PRE_SHARED),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(("answer", "initial"), PAIRS)
def test_nothing_is_wrong_with_a_good_answer(answer: D, initial: D) -> None:
    assert codes(good(answer), good(initial)) == []


@pytest.mark.parametrize("initial", [kind for kind in D if kind not in (D.PRE_SHARED,)])
def test_only_pairs_go_together(initial: D) -> None:
    other = edited(good(initial), header(csb_id=0x11223344))
    assert codes(good(D.PSK_VER_MSG), other) == ["no-answer"]


def test_an_update_and_its_answer() -> None:
    assert codes(UPDATE, FIRST) == []
    assert codes(UPDATE_RESP, UPDATE) == []


def test_keys_in_an_update_need_l_as_well() -> None:
    """Of the known exchanges, those whose ticket has no L send keys in their update."""
    for case_ in EXCHANGES.values():
        if "update" not in case_:
            continue
        wanted = [] if "L" in case_["flags"] else ["initiator-keys"]
        update, first = (bytes.fromhex(x["TRANSFER_INIT"]) for x in (case_["update"], case_))
        assert [code for code in codes(update, first) if code != "validity-over"] == wanted


def test_key_wrap_in_a_public_key_message_does_without_a_mac() -> None:
    wrapped = change("KEMAC", encr_alg=2, encr_data=octets(40), mac_alg=0, mac=b"")
    init = edited(good(D.PUBLIC_KEY), wrapped)
    assert codes(good(D.PK_VER_MSG), init) == []


@pytest.mark.parametrize("mac", [0, 1])
def test_null_has_rules_of_its_own(mac: int) -> None:
    """RFC 3830 4.2.4: NULL is no choice of an algorithm that the answer has to follow."""
    init = edited(good(D.PRE_SHARED), change("KEMAC", mac_alg=mac, mac=octets(20 * mac)))
    answer = edited(good(D.PSK_VER_MSG), swap("V", v(1 - mac)))
    assert codes(answer, init) == ["mac-null"] * mac


@pytest.mark.parametrize("open_", [{"cs_id_map_type": 1}, {"cs_id_map_type": 2}], ids=str)
def test_the_answer_may_bring_the_crypto_sessions(open_: dict[str, int]) -> None:
    init = edited(good(D.PRE_SHARED), header(cs_id_map=[], **open_), without("SP"))
    assert codes(good(D.PSK_VER_MSG), init) == []


STATIC_INIT = [
    RANDR(rand_role=2, rand=octets(16)),
    RANDR(rand_role=3, rand=octets(16)),
    NEW_TICKET.copy(next_payload=None),
]


@pytest.mark.parametrize("payload", STATIC_INIT, ids=lambda one: one.label)
def test_an_update_may_repeat_what_is_static(payload: RANDR | TICKET) -> None:
    """RFC 6043 5.2 says should not, so nothing is an error (interpretation 44)."""
    rand_i, response = found(RANDR, FIRST), vector("TRANSFER_RESP", CALL_OUT)
    update = edited(UPDATE, insert(rand_i, "IDRi"), insert(payload, "KEMAC"))  # type: ignore[arg-type]
    for init in (FIRST, None) if payload.label == "RANDR" else (FIRST, response, None):
        assert not {one for one in lint_levels(update, init) if one[0] == "error"}
    assert {code for _, code in lint_levels(update, FIRST)} <= {
        "update-repeats", "payload-order", "validity-over",
    }  # fmt: skip
    answer = edited(UPDATE_RESP, insert(RANDR(rand_role=2, rand=octets(16)), "IDRr"))
    assert not {one for one in lint_levels(answer, update) if one[0] == "error"}


def lint_levels(data: bytes, init: bytes | None) -> set[tuple[str, str]]:
    before = None if init is None else Message.parse(init)
    return {(str(f.level), f.code) for f in lint(data, now_ns=NOW, init=before).findings}


def test_dh_values_are_left_out_of_both_messages_of_an_update() -> None:
    update = edited(good(D.DH_INIT), without("RAND", "DH"))
    assert codes(edited(good(D.DH_RESP), without("DH", "DH")), update) == []
    assert codes(good(D.DH_RESP), update) == ["dh-echo"]


def test_the_same_forked_exchange() -> None:
    assert vector("TRANSFER_INIT", FORKED) == good(INIT)
