from __future__ import annotations

import pytest

from tests.lint.messages import Case, D, case, change, codes, edited, good, without

CASES = [
    case("id-empty", D.PRE_SHARED, change("ID", id_data=b"")),
    case("id-not-uri", D.PRE_SHARED, change("ID", id_data=b"alice@example.com")),
    case("id-not-nai", D.TRANSFER_RESP, change("IDRr", id_type=0)),
    case("id-byte-string", D.TRANSFER_RESP, change("IDRr", id_type=2)),
    case("id-left-out", D.TRANSFER_INIT, without("IDRr")),
    case("id-left-out", D.REQUEST_INIT_PSK, without("IDRkms")),
    case("error-unprotected", D.ERROR, without("V")),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(
    ("id_type", "data"),
    [(0, b"alice@example.com"), (0, b"alice"), (1, b"tel:+4912345"), (1, b"x-y.z+1:a")],
)
def test_good_identities(id_type: int, data: bytes) -> None:
    message = edited(good(D.PRE_SHARED), change("ID", id_type=id_type, id_data=data))
    assert codes(message) == []


def test_an_identity_cannot_steer_the_terminal() -> None:
    from mikeytool.lint import lint
    from tests.lint.messages import NOW

    message = edited(good(D.PRE_SHARED), change("ID", id_data=b"\x1b[2J\n"))
    (finding,) = lint(message, now_ns=NOW).findings
    assert finding.text.isprintable()
