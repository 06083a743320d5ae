"""The second implementation holds against the known answers before it judges anyone."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.independent import rfc6043
from tests.independent.rfc6043 import (
    I_ROLE,
    KEMAC,
    KMS_ROLE,
    R_ROLE,
    RAND,
    SUITES,
    TICKET,
    T,
    check,
    fork,
    message_protection,
    mpk_pair,
    open_kemac,
    read,
    ticket_protection,
    ts64,
    unchain,
)
from tests.independent.roles import Held, Ticket, all_media, covered_of_init, split_mpks
from tests.support import vectors

CASES = [case for case in vectors("exchanges") if "REQUEST_RESP" in case]


@pytest.mark.parametrize("module", ["rfc6043.py", "roles.py", "bundle.py"])
def test_it_shares_no_code_with_the_tool(module: str) -> None:
    tree = ast.parse((Path(rfc6043.__file__).parent / module).read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    allowed = {
        "__future__",
        "collections",
        "cryptography",
        "dataclasses",
        "hashlib",
        "hmac",
        "os",
        "struct",
    }
    assert names <= allowed | {"tests", "time", "typing"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_known_exchanges(case: dict[str, Any]) -> None:
    suite = SUITES[case["prf"]]
    request, answer = (read(bytes.fromhex(case[n])) for n in ("REQUEST_INIT_PSK", "REQUEST_RESP"))
    psk, csb_id = bytes.fromhex(case["psk_initiator"]), request.header.csb_id
    auth = message_protection(suite, psk, csb_id, False, request.rand(I_ROLE), b"").auth
    check(suite, auth, request.raw, (case["initiator"] + case["kms"]).encode())
    keys = message_protection(suite, psk, csb_id, True, request.rand(I_ROLE), b"")
    check(suite, keys.auth, answer.raw, request.raw)
    ticket = Ticket.of(answer.get(TICKET))
    inside = open_kemac(answer.get(KEMAC), keys, csb_id, answer.ts)
    held = Held(ticket, *split_mpks(inside, ticket.flags))
    assert held.mpki.hex() == case["mpki"]
    assert held.mpkr.hex() == (case["mpkr"] or "") * ("I" in ticket.flags)

    payloads = dict(unchain(ticket.data[0], ticket.data[3:]))
    rand = payloads[RAND][1:]
    protection = ticket_protection(suite, bytes.fromhex(case["tpk"]), rand)
    check(suite, protection.auth, ticket.covered)
    mpk, *_ = open_kemac(payloads[KEMAC], protection, 0xFFFFFFFF, ts64(payloads[T]))
    assert mpk.key.hex() == case["mpk"]
    assert mpk_pair(suite, mpk.key, rand)[0] == held.mpki

    init = read(bytes.fromhex(case["TRANSFER_INIT"]))
    auth = message_protection(
        suite, held.mpki, init.header.csb_id, False, init.rand(I_ROLE), b""
    ).auth
    behind = init.identity(I_ROLE) + init.identity(R_ROLE)
    check(suite, auth, init.raw, behind, covered=covered_of_init(init))

    resolve, resolved = (
        read(bytes.fromhex(case[name])) for name in ("RESOLVE_INIT_PSK", "RESOLVE_RESP")
    )
    psk, csb_id = bytes.fromhex(case["psk_responder"]), resolve.header.csb_id
    keys = message_protection(suite, psk, csb_id, True, b"", resolve.rand(R_ROLE))
    check(suite, keys.auth, resolved.raw, resolve.raw)
    inside = open_kemac(resolved.get(KEMAC), keys, csb_id, resolved.ts)
    got = Held(ticket, *split_mpks(inside, ticket.flags))
    assert [key.key.hex() for key in got.keys] == [key["key"] for key in case["responder_keys"]]
    if "I" in ticket.flags:
        who, rand_kms = resolved.identity(R_ROLE), resolved.rand(KMS_ROLE)
        assert fork(suite, held.mpkr, rfc6043.FORK_MPKR, who, rand_kms) == got.mpkr
        assert got.mpkr.hex() == case["mpkr_forked"]

    sessions, rand_r = init.header.sessions, b""
    if case.get("TRANSFER_RESP"):
        final = read(bytes.fromhex(case["TRANSFER_RESP"]))
        sessions, rand_r = final.header.sessions, final.rand(R_ROLE)
    if not case["transfer_kemac_keys"]:
        media = all_media(init, sessions, got, rand_r)
        for one in case["crypto_sessions"]:
            spi, tek, salt = media[one["cs_id"]]
            assert (spi.hex(), tek.hex(), salt.hex()) == (one["spi"], one["tek"], one["salt"])
