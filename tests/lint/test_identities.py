from __future__ import annotations

import pytest

from tests.lint.messages import Case, D, case, change, codes, edited, good, insert, role, without

CASES = [
    case("id-empty", D.PRE_SHARED, change("ID", id_data=b"")),
    case("id-not-uri", D.PRE_SHARED, change("ID", id_data=b"alice@example.com")),
    case("id-not-nai", D.TRANSFER_RESP, change("IDRr", id_type=0)),
    case("id-byte-string", D.TRANSFER_RESP, change("IDRr", id_type=2)),
    case("id-left-out", D.TRANSFER_INIT, without("IDRr")),
    case("id-left-out", D.REQUEST_INIT_PSK, without("IDRkms")),
    case("error-unprotected", D.ERROR, without("V")),
    case("sakke-tel", D.SAKKE_MSG, change("IDRi", id_data=b"sip:alice@example.com")),
    case("sakke-tel", D.SAKKE_MSG, change("IDRr", id_data=b"tel:+46-21")),
    case("sakke-tel", D.SAKKE_MSG, change("IDRr", id_data=b"tel:+4621;ext=1")),
    case("sakke-tel", D.SAKKE_MSG, change("IDRi", id_data=b"tel:0211")),
]


def test_identities_of_mission_critical_systems() -> None:
    """A UID is a hash, and the KMS is named by its host (interpretation 49)."""
    uids = (role(8, bytes(range(200, 232))), role(9, bytes(32)))
    for kind in (0, 1, 2):
        payloads = [each.copy(id_type=kind) for each in uids]
        hosts = [role(6, b"kms.example.org"), role(7, b"kms2.example.org")]
        edits = [insert(each, "SP") for each in (*payloads, *hosts)]
        scheme = change("SAKKE", id_scheme=2)
        assert codes(edited(good(D.SAKKE_MSG), without("IDRi", "IDRr"), *edits, scheme)) == []


def test_a_kms_needs_no_scheme_and_users_do() -> None:
    request = good(D.REQUEST_INIT_PSK)
    assert codes(edited(request, change("IDRkms", id_data=b"kms.example.org"))) == []
    assert codes(edited(request, change("IDRi", id_data=b"alice.example.org"))) == ["id-not-uri"]


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
