from __future__ import annotations

import pytest

from mikeytool.lint.notation import inner_layout, message_layout, name_of
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_update
from mikeytool.wire.payloads import IDR, RANDR, TR
from tests.lint.messages import EXCHANGES, FORKED, D, edited, good, without


@pytest.mark.parametrize("kind", D, ids=lambda kind: kind.name)
def test_every_data_type_is_described(kind: D) -> None:
    layout = message_layout(kind, False)
    assert layout is not None
    assert layout.counts["T"] == (1, 1)
    assert layout.order[0] == "T"


def test_what_the_brackets_mean() -> None:
    layout = message_layout(D.PRE_SHARED, False)
    assert layout is not None
    assert layout.counts == {
        "T": (1, 1), "RAND": (0, 1), "ID": (0, 2), "SP": (0, None), "KEMAC": (1, 1),
    }  # fmt: skip
    error = message_layout(D.ERROR, False)
    assert error is not None
    assert error.counts["ERR"] == (1, None)


def test_roles_count_in_names_and_not_in_the_order() -> None:
    layout = inner_layout("tp_data")
    assert layout is not None
    assert layout.counts["IDRr"] == (1, None)
    assert layout.order == ("IDR", "IDR", "TR", "TR", "TR", "KEMAC", "IDR", "IDR")


def test_unknown_types_have_no_layout() -> None:
    assert message_layout(99, False) is None
    assert inner_layout("encr_data") is None


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (IDR(id_role=1, id_type=1, id_data=b""), "IDRi"),
        (IDR(id_role=7, id_type=1, id_data=b""), "IDRkmsr"),
        (IDR(id_role=99, id_type=1, id_data=b""), "IDR of role 99"),
        (RANDR(rand_role=3, rand=b""), "RANDRkms"),
        (TR(ts_role=4, ts_type=3, ts_value=bytes(4)), "TRr"),
    ],
)
def test_names_have_roles(payload: IDR | RANDR | TR, name: str) -> None:
    assert name_of(payload) == name


def test_what_can_only_be_an_update() -> None:
    update = bytes.fromhex(EXCHANGES[FORKED]["update"]["TRANSFER_INIT"])
    assert is_update(Message.parse(update))
    assert not is_update(Message.parse(good(D.TRANSFER_INIT)))
    assert is_update(Message.parse(edited(good(D.PRE_SHARED), without("RAND"))))
    assert not is_update(Message.parse(good(D.PSK_VER_MSG)))
