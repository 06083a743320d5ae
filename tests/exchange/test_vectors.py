"""Every message of the known exchanges is accepted by the role that receives it, yields the
keys listed there, and comes out octet for octet when it is made from its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from mikeytool.crypto.derive import ticket_keys
from mikeytool.crypto.kemac import TICKET_CSB_ID, open_kemac
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.error import ErrorReceived, error_message
from mikeytool.exchange.initiator import finish_transfer, session_of_init, transfer_init
from mikeytool.exchange.kms_messages import verify_init
from mikeytool.exchange.profile import PROFILES, Profile, profile_of
from mikeytool.exchange.request import (
    HeldTicket,
    accept_request_resp,
    read_request_init,
    request_init,
    request_resp,
)
from mikeytool.exchange.resolve import (
    ResolvedTicket,
    accept_resolve_resp,
    open_for_responder,
    read_resolve_init,
    resolve_init,
    resolve_resp,
)
from mikeytool.exchange.responder import check_acceptable, transfer_resp, verify_transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import BaseTicket, make_ticket
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.header import GenericIdEntry, srtp_session_data
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, RANDR, SP, TICKET, KeyData
from mikeytool.wire.registry import KeyType, RandRole, TicketFlag
from tests.support import at, message_t, scripted, vectors

CASES = vectors("exchanges")


@dataclass
class Run:
    """One case, with its values as the code wants them."""

    case: dict[str, Any]

    def raw(self, name: str) -> bytes:
        return bytes.fromhex(self.case[name] or "")

    def identity(self, name: str) -> Identity:
        return Identity.from_text(self.case[name])

    @property
    def profile(self) -> Profile:
        return profile_of(self.case["prf"])

    @cached_property
    def now(self) -> int:
        """A moment at which the ticket is valid and every timestamp fresh."""
        valid_from = self.policy.valid_from
        assert valid_from is not None
        return (valid_from.unix_ns or 0) + 60_000_000_000

    @cached_property
    def policy(self) -> TicketPolicy:
        return read_request_init(self.raw("REQUEST_INIT_PSK")).policy

    @cached_property
    def held(self) -> HeldTicket:
        granted = accept_request_resp(
            at(self.now),
            read_request_init(self.raw("REQUEST_INIT_PSK")),
            self.raw("psk_initiator"),
            self.raw("REQUEST_RESP"),
        )
        return granted.held

    @cached_property
    def resolved(self) -> ResolvedTicket:
        return accept_resolve_resp(
            at(self.now),
            read_resolve_init(self.raw("RESOLVE_INIT_PSK")),
            self.raw("psk_responder"),
            self.raw("RESOLVE_RESP"),
        )

    @property
    def base_ticket(self) -> BaseTicket:
        ticket = Message.parse(self.raw("REQUEST_RESP")).find(TICKET)
        assert ticket is not None
        return BaseTicket.of(ticket)


@pytest.fixture(params=CASES, ids=lambda case: case["name"])
def run(request: pytest.FixtureRequest) -> Run:
    return Run(request.param)


def listed(keys: list[dict[str, Any]]) -> list[tuple[str, str, str | None, str]]:
    return [(key["type"], key["key"], key["salt"], key["spi"]) for key in keys]


def shown(keys: tuple[KeyData, ...]) -> list[tuple[str, str, str | None, str]]:
    return [
        (
            KeyType(key.type).label,
            key.key.hex(),
            None if key.salt is None else key.salt.hex(),
            (key.spi or b"").hex(),
        )
        for key in keys
    ]


def anything(policy: SP) -> bool:
    return True


def media_of(session: Session) -> list[dict[str, Any]]:
    found = []
    for crypto_session in session.crypto_sessions:
        media = session.media_key(crypto_session)
        found.append(
            {
                "cs_id": crypto_session.entry.cs_id,
                "ssrc": crypto_session.ssrc,
                "spi": media.spi.hex(),
                "tek": media.key.hex(),
                "salt": media.salt.hex(),
            }
        )
    return found


def key_material(keys: tuple[KeyData, ...]) -> list[bytes]:
    """The draws that a KMS makes for keys: key, salt, SPI, each."""
    return [part for key in keys for part in (key.key, key.salt, key.spi) if part]


# --- Ticket Request -------------------------------------------------------------------------


def test_kms_verifies_the_request(run: Run) -> None:
    request = read_request_init(run.raw("REQUEST_INIT_PSK"))
    verify_init(request, run.raw("psk_initiator"), run.identity("initiator"), run.identity("kms"))
    assert request.policy.flags == TicketFlag.from_letters(run.case["flags"])
    assert request.policy.responders == (run.identity("responder"),)
    assert request.policy.initiator == request.sender == run.identity("initiator")


def test_request_is_made_again(run: Run) -> None:
    raw = run.raw("REQUEST_INIT_PSK")
    request = read_request_init(raw)
    env = scripted(
        run.now,
        [request.incoming.csb_id.to_bytes(4), request.rand],
        request.incoming.t,
    )
    made = request_init(
        env,
        PROFILES[run.profile.bits],
        request.policy,
        initiator=run.identity("initiator"),
        kms=run.identity("kms"),
        psk=run.raw("psk_initiator"),
        psk_id=Identity.key_name("psk-alice"),
    )
    assert made.raw.hex() == raw.hex()


def test_initiator_takes_the_ticket(run: Run) -> None:
    keys = run.held.keys
    assert keys.mpki.key == run.raw("mpki")
    assert (keys.mpkr.key if keys.mpkr else b"") == run.raw("mpkr")
    assert shown(keys.keys) == listed(run.case["ticket_keys"])


def test_ticket_opens_with_its_tpk(run: Run) -> None:
    keys = run.base_ticket.open(run.raw("tpk"))
    assert run.base_ticket.rand == run.raw("ticket_rand")
    assert keys.mpki.key == run.raw("mpki")
    assert shown(keys.keys) == listed(run.case["ticket_keys"])


def test_ticket_and_answer_are_made_again(run: Run) -> None:
    raw = run.raw("REQUEST_RESP")
    base = run.base_ticket
    protection = ticket_keys(base.policy.prf, run.raw("tpk"), base.rand)
    mpk = open_kemac(base.kemac, protection, TICKET_CSB_ID, base.t)[0]
    spis = [key.spi or b"" for key in run.held.keys.sub_payloads() if key.type == KeyType.MPK]
    draws = [run.raw("mpk"), mpk.spi or b"", base.rand, *spis]
    env = scripted(run.now, draws, base.t, message_t(raw))
    ticket, keys = make_ticket(
        env,
        base.policy,
        run.held.keys.keys,
        run.raw("tpk"),
        Identity.key_name("tpk-1"),
    )
    request = read_request_init(run.raw("REQUEST_INIT_PSK"))
    made = request_resp(env, request, run.raw("psk_initiator"), run.identity("kms"), ticket, keys)
    assert made.hex() == raw.hex()


# --- Ticket Resolve -------------------------------------------------------------------------


def test_kms_verifies_resolve_and_forks(run: Run) -> None:
    raw = run.raw("RESOLVE_INIT_PSK")
    request = read_resolve_init(raw)
    verify_init(request, run.raw("psk_responder"), run.identity("responder"), run.identity("kms"))
    keys = open_for_responder(BaseTicket.of(request.ticket), run.raw("tpk"))
    assert (keys.mpkr.key if keys.mpkr else b"") == run.raw("mpkr")
    if run.case["randr_kms"]:
        forked = keys.forked(run.case["prf"], run.identity("responder").data, run.raw("randr_kms"))
        assert forked.mpkr is not None
        assert forked.mpkr.key == run.raw("mpkr_forked")
        assert shown(forked.keys) == listed(run.case["responder_keys"])


def test_resolve_is_made_again(run: Run) -> None:
    raw = run.raw("RESOLVE_INIT_PSK")
    request = read_resolve_init(raw)
    env = scripted(
        run.now,
        [request.incoming.csb_id.to_bytes(4), request.rand],
        request.incoming.t,
    )
    made = resolve_init(
        env,
        run.profile,
        read_transfer_init(run.raw("TRANSFER_INIT")).ticket,
        responder=run.identity("responder"),
        kms=run.identity("kms"),
        psk=run.raw("psk_responder"),
        psk_id=Identity.key_name("psk-bob"),
    )
    assert made.raw.hex() == raw.hex()


def test_responder_takes_the_keys(run: Run) -> None:
    keys = run.resolved.keys
    assert keys.mpki.key == run.raw("mpki")
    assert (keys.mpkr.key if keys.mpkr else b"") == run.raw("mpkr_forked")
    assert shown(keys.keys) == listed(run.case["responder_keys"])


def test_resolve_answer_is_made_again(run: Run) -> None:
    raw = run.raw("RESOLVE_RESP")
    request = read_resolve_init(run.raw("RESOLVE_INIT_PSK"))
    mpks = [run.resolved.keys.mpki, run.resolved.keys.mpkr]
    draws = [run.raw("randr_kms")] if run.case["randr_kms"] else []
    draws += [mpk.spi or b"" for mpk in mpks if mpk is not None]
    made = resolve_resp(
        scripted(run.now, draws, message_t(raw)),
        request,
        run.raw("psk_responder"),
        run.identity("kms"),
        run.base_ticket.policy,
        open_for_responder(BaseTicket.of(request.ticket), run.raw("tpk")),
        run.identity("responder"),
    )
    assert made.hex() == raw.hex()


# --- Ticket Transfer ------------------------------------------------------------------------


def specs_of(entries: list[GenericIdEntry]) -> list[CsSpec]:
    found = []
    for entry in entries:
        data = srtp_session_data(entry)
        found.append(
            CsSpec(
                send=data is not None,
                cs_id=entry.cs_id,
                ssrc=data[0] if data else None,
                spi=entry.spi or None,
            )
        )
    return found


def sent_keys(run: Run, message: str) -> tuple[KeyData, ...]:
    """The keys that TRANSFER_INIT or TRANSFER_RESP carries in its own KEMAC, as listed."""
    if not run.case[message] or Message.parse(run.raw(message)).find(KEMAC) is None:
        return ()
    return tuple(key_octets(key) for key in run.case["transfer_kemac_keys"])


def key_octets(key: dict[str, Any]) -> KeyData:
    """A listed key as key data with its SPI."""
    return KeyData(
        type=next(t.value for t in KeyType if t.label == key["type"]),
        kv=1,
        key=bytes.fromhex(key["key"]),
        salt=bytes.fromhex(key["salt"]),
        spi=bytes.fromhex(key["spi"]),
    )


def test_transfer_init_is_made_again(run: Run) -> None:
    raw = run.raw("TRANSFER_INIT")
    init = read_transfer_init(raw)
    env = scripted(run.now, [init.incoming.csb_id.to_bytes(4), init.randr_i], init.incoming.t)
    made = transfer_init(
        env,
        run.held,
        initiator=run.identity("initiator"),
        responder=run.identity("responder"),
        crypto_sessions=specs_of(init.entries),
        policies=list(init.policies.values()),
        kemac_keys=sent_keys(run, "TRANSFER_INIT"),
    )
    assert made.raw.hex() == raw.hex()


def test_responder_answers_and_has_the_media_keys(run: Run) -> None:
    init = read_transfer_init(run.raw("TRANSFER_INIT"))
    check_acceptable(at(run.now), init, anything)
    verified = verify_transfer_init(init, run.resolved, run.identity("responder"))
    draws, stamps = [], []
    if run.case["TRANSFER_RESP"]:
        answer = Message.parse(run.raw("TRANSFER_RESP"))
        draws = [p.rand for p in answer.all(RANDR) if p.rand_role == RandRole.RESPONDER]
        stamps = [message_t(run.raw("TRANSFER_RESP"))]
    ours = [
        CsSpec(send=True, cs_id=cs["cs_id"], ssrc=cs["ssrc"])
        for cs in run.case["crypto_sessions"]
        if run.case["TRANSFER_RESP"] and cs["cs_id"] == 2
    ]
    made, session = transfer_resp(
        scripted(run.now, draws, *stamps),
        verified,
        anything,
        local=run.identity("responder"),
        crypto_sessions=ours,
        kemac_keys=sent_keys(run, "TRANSFER_RESP"),
    )
    assert (made or b"").hex() == run.raw("TRANSFER_RESP").hex()
    assert media_of(session) == run.case["crypto_sessions"]


def test_initiator_has_the_media_keys(run: Run) -> None:
    init = run.raw("TRANSFER_INIT")
    if run.case["TRANSFER_RESP"]:
        session = finish_transfer(
            at(run.now), run.held, read_transfer_init(init), run.raw("TRANSFER_RESP"), anything
        )
    else:
        session = session_of_init(run.held, read_transfer_init(init))
    assert media_of(session) == run.case["crypto_sessions"]
    assert session.remote == run.identity("responder")


# --- Error ----------------------------------------------------------------------------------


def with_error(run: Run) -> dict[str, Any]:
    error = run.case.get("error_to_RESOLVE_INIT")
    if error is None:
        pytest.skip("this run has no Error message")
    assert isinstance(error, dict)
    return error


def test_error_is_believed_and_made_again(run: Run) -> None:
    error = with_error(run)
    raw = bytes.fromhex(error["Error"])
    with pytest.raises(ErrorReceived) as caught:
        accept_resolve_resp(
            at(run.now),
            read_resolve_init(run.raw("RESOLVE_INIT_PSK")),
            run.raw("psk_responder"),
            raw,
        )
    assert caught.value.verified
    assert caught.value.error_no == error["error_no"]
    request = read_resolve_init(run.raw("RESOLVE_INIT_PSK"))
    made = error_message(
        scripted(run.now, [], message_t(raw)),
        request.incoming.message.header,
        error["error_no"],
        request.keys(run.raw("psk_responder"), response=False),
    )
    assert made.hex() == raw.hex()


def test_error_under_another_key_is_a_hint(run: Run) -> None:
    error = with_error(run)
    with pytest.raises(ErrorReceived) as caught:
        accept_resolve_resp(
            at(run.now),
            read_resolve_init(run.raw("RESOLVE_INIT_PSK")),
            bytes(16),
            bytes.fromhex(error["Error"]),
        )
    assert not caught.value.verified


# --- Changed messages -----------------------------------------------------------------------


def flips(raw: bytes) -> list[bytes]:
    return [raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :] for at in range(len(raw))]


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case["name"])
@pytest.mark.parametrize(
    ("name", "receive"),
    [
        (
            "REQUEST_INIT_PSK",
            lambda run, raw: verify_init(
                read_request_init(raw),
                run.raw("psk_initiator"),
                run.identity("initiator"),
                run.identity("kms"),
            ),
        ),
        (
            "REQUEST_RESP",
            lambda run, raw: accept_request_resp(
                at(run.now),
                read_request_init(run.raw("REQUEST_INIT_PSK")),
                run.raw("psk_initiator"),
                raw,
            ),
        ),
        (
            "RESOLVE_INIT_PSK",
            lambda run, raw: verify_init(
                read_resolve_init(raw),
                run.raw("psk_responder"),
                run.identity("responder"),
                run.identity("kms"),
            ),
        ),
        (
            "RESOLVE_RESP",
            lambda run, raw: accept_resolve_resp(
                at(run.now),
                read_resolve_init(run.raw("RESOLVE_INIT_PSK")),
                run.raw("psk_responder"),
                raw,
            ),
        ),
        (
            "TRANSFER_RESP",
            lambda run, raw: finish_transfer(
                at(run.now), run.held, read_transfer_init(run.raw("TRANSFER_INIT")), raw, anything
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_flipped_bit_is_never_accepted(case: dict[str, Any], name: str, receive: Any) -> None:
    run = Run(case)
    receive(run, run.raw(name))
    for raw in flips(run.raw(name)):
        with pytest.raises(MikeyError):
            receive(run, raw)


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case["name"])
def test_a_flipped_bit_in_a_forked_transfer_init_is_never_accepted(case: dict[str, Any]) -> None:
    """Its MAC leaves the Initiator Data to Vr, which the KMS verifies."""
    run = Run(case)

    def receive(raw: bytes) -> None:
        init = read_transfer_init(raw)
        open_for_responder(BaseTicket.of(init.ticket), run.raw("tpk"))
        check_acceptable(at(run.now), init, anything)
        verify_transfer_init(init, run.resolved, run.identity("responder"))

    receive(run.raw("TRANSFER_INIT"))
    for raw in flips(run.raw("TRANSFER_INIT")):
        with pytest.raises(MikeyError):
            receive(raw)
