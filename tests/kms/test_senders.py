"""Whose a message is, with public keys (RFC 6043 4.2.1.3, 4.2.3.3; interpretations 34 to 37)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mikeytool.exchange import public_key
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256, profile_of
from mikeytool.exchange.public_key import (
    Enveloped,
    Recipient,
    Signer,
    open_envelope,
    read_request_init_pk,
    request_init_pk,
    resolve_init_pk,
)
from mikeytool.exchange.request import accept_request_resp
from mikeytool.exchange.resolve import accept_resolve_resp
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.kms import signers
from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.service import handle
from mikeytool.kms.store.records import Handled, Peer
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, V
from mikeytool.wire.registry import ErrorNo, SType, TsType
from mikeytool.wire.timestamp import Timestamp
from tests.crypto.test_certificates import NOW, certificate, middle, private_key, root
from tests.crypto.test_signature import loaded
from tests.support import message_t, vectors
from tests.world import ALICE, BOB, KMS, Clock, World

URI = x509.UniformResourceIdentifier
KMS_CERT = certificate("kms", None, [URI(str(KMS))])
NEW_KMS_CERT = certificate("new kms", None, [URI(str(KMS))])
STRANGER = Identity.from_text("sip:stranger@example.com")


def cert_of(who: Identity) -> x509.Certificate:
    return certificate(str(who), "middle", [URI(str(who))])


def signer(who: Identity, **how: Any) -> Signer:
    return Signer(private_key(str(who)), (cert_of(who), middle()), **how)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A KMS with a key pair that trusts a root; the clock is where certificates are valid."""
    with closing(World(tmp_path, Clock(NOW))) as made:
        made.store.add_key(private_key("kms"), KMS_CERT)
        made.store.add_anchor(root())
        yield made


def ask(
    world: World, by: Identity = ALICE, cert: x509.Certificate = KMS_CERT, **how: Any
) -> Enveloped[Any]:
    policy = world.policy(prf=how.pop("prf", PROFILE_128.prf), initiator=by)
    recipient = Recipient(cert, oaep=how.pop("oaep", False), named=how.pop("named", False))
    return request_init_pk(
        how.pop("env", world.env),
        profile_of(policy.prf),
        replace(policy, **how.pop("changes", {})),
        initiator=by,
        kms=KMS,
        signer=how.pop("signer", None) or signer(by, **how),
        recipient=recipient,
    )


def refused(world: World, sent: Enveloped[Any], number: ErrorNo, *, told: bool = False) -> Refused:
    handled = handle(world.store, world.env, sent.init.raw)
    assert handled.refusal is not None
    assert handled.refusal.error_no == number, str(handled.refusal)
    assert (handled.answer is not None) == told
    return handled.refusal


@pytest.mark.parametrize("case", vectors("public_key"), ids=lambda c: f"{c['prf']}-{c['oaep']}")
def test_the_known_requests_are_answered(tmp_path: Path, case: dict[str, Any]) -> None:
    """Interpretation 36: nothing in a message names the padding, and either is taken."""
    raw = bytes.fromhex(case["REQUEST_INIT_PK"])
    with closing(World(tmp_path, Clock(message_t(raw).unix_ns or 0))) as world:
        own = x509.load_pem_x509_certificate(case["kms_certificate"].encode())
        world.store.add_key(loaded(case["kms_private_key"]), own)
        world.store.remove_user(ALICE)
        world.store.add_user(ALICE, certificate=Message.parse(raw).all(CERT)[0].cert_data)
        answer = world.handled(raw)
        granted = accept_request_resp(
            world.env, read_request_init_pk(raw).init, bytes.fromhex(case["envelope_key"]), answer
        )
        assert granted.held.policy.initiator == ALICE


@pytest.mark.parametrize("prf", [PROFILE_128.prf, PROFILE_256.prf])
@pytest.mark.parametrize("oaep", [False, True])
@pytest.mark.parametrize("s_type", [SType.RSA_PKCS1_V15, SType.RSA_PSS])
def test_a_call_without_any_pre_shared_key(
    world: World, prf: int, oaep: bool, s_type: SType
) -> None:
    sent = ask(world, prf=prf, oaep=oaep, s_type=s_type)
    granted = accept_request_resp(
        world.env, sent.init, sent.envelope_key, world.handled(sent.init.raw)
    )
    ticket = read_transfer_init(world.call(granted.held)).ticket
    resolving = resolve_init_pk(
        world.env,
        profile_of(prf),
        ticket,
        responder=BOB,
        kms=KMS,
        signer=signer(BOB, s_type=s_type),
        recipient=Recipient(KMS_CERT, oaep=oaep),
    )
    answer = world.handled(resolving.init.raw)
    resolved = accept_resolve_resp(world.env, resolving.init, resolving.envelope_key, answer)
    assert resolved.keys.mpki.key == granted.held.keys.mpki.key
    assert resolved.responder == BOB
    assert [entry.outcome for entry in world.store.log()] == ["answered"] * 2


def test_strangers_with_a_trusted_certificate_need_a_word_of_the_operator(world: World) -> None:
    refused(world, ask(world, STRANGER), ErrorNo.AUTH_FAILURE)
    assert list(world.store.log()) == []
    world.store.set_policy(admit_certified=True)
    world.handled(ask(world, STRANGER).init.raw)
    world.store.remove_anchor(root().fingerprint(SHA256()))
    refused(world, ask(world, STRANGER), ErrorNo.INVALID_CERT)


def test_a_signed_message_for_another_kms(world: World) -> None:
    other = Identity.from_text("sip:kms.example.net")
    theirs = certificate("kms", None, [URI(str(other))])
    sent = request_init_pk(
        world.env, PROFILE_128, world.policy(), initiator=ALICE, kms=other, signer=signer(ALICE),
        recipient=Recipient(theirs),
    )  # fmt: skip
    assert "for the KMS" in str(refused(world, sent, ErrorNo.INVALID_ID, told=True))
    (entry,) = world.store.log()
    assert (entry.user, entry.outcome) == (str(ALICE), "refused")


@pytest.mark.parametrize("names", ["signature", "certificate"])
def test_a_signature_in_the_name_of_a_user_is_logged(world: World, names: str) -> None:
    sent = ask(world).init
    if names == "certificate":
        world.store.remove_anchor(root().fingerprint(SHA256()))
        raw = sent.raw
    else:
        raw = sent.raw[:-1] + bytes([sent.raw[-1] ^ 1])
    assert handle(world.store, world.env, raw).refusal is not None
    (entry,) = world.store.log()
    assert (entry.user, entry.outcome, entry.exchange) == (str(ALICE), "refused", "request")
    assert entry.reason.endswith("; anyone may have sent it")


LONG = "sip:" + "a" * 1021


@pytest.mark.parametrize(
    "more",
    [
        [LONG],
        ["sip:" + "a" * 60_000],
        [f"sip:{number}@example.com" for number in range(64)],
    ],
)
def test_a_certificate_with_a_name_too_long_or_too_many(world: World, more: list[str]) -> None:
    names = [URI(text) for text in (str(STRANGER), *more)]
    limited = certificate(str(STRANGER), "middle", names)
    chosen = Signer(private_key(str(STRANGER)), (limited, middle()))
    world.store.set_policy(admit_certified=True)
    why = refused(world, ask(world, STRANGER, signer=chosen), ErrorNo.INVALID_CERT)
    assert "subjectAltName has" in str(why)
    world.store.add_user(STRANGER, certificate=der(limited))
    refused(world, ask(world, STRANGER, signer=chosen), ErrorNo.INVALID_CERT)


def test_a_certificate_with_as_many_names_as_may_be(world: World) -> None:
    more = [LONG[:-1], *(f"sip:{number}@example.com" for number in range(62))]
    many = certificate(str(STRANGER), "middle", [URI(text) for text in (str(STRANGER), *more)])
    world.store.set_policy(admit_certified=True)
    chosen = Signer(private_key(str(STRANGER)), (many, middle()))
    world.handled(ask(world, STRANGER, signer=chosen).init.raw)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("taken", ["group", "peer", "kms"])
def test_a_certificate_makes_nobody_a_group_or_a_kms(
    world: World, taken: str, beside: bool
) -> None:
    """Neither as the sender, nor as another name in the certificate."""
    name = KMS if taken == "kms" else Identity.from_text("sip:taken@example.com")
    if taken == "group":
        world.store.add_members(name, [BOB])
    elif taken == "peer":
        world.store.add_peer(Peer(name, "nowhere", b"p" * 16, ("*",)))
    world.store.set_policy(admit_certified=True)
    by = STRANGER if beside else name
    names = [URI(str(by)), *([URI(str(name))] if beside else [])]
    chosen = Signer(private_key("x"), (certificate("x", "middle", names), middle()))
    why = refused(world, ask(world, by, signer=chosen), ErrorNo.INVALID_ID, told=True)
    assert "and no user" in str(why)
    assert [one.outcome for one in world.store.log()] == ["refused"]


@pytest.mark.parametrize("text", ["sip:a b@example.com", "sip:a\x1b[2J@example.com", "sip:a\nb"])
def test_a_certificate_whose_name_is_none(world: World, text: str) -> None:
    name = Identity.from_text(text)
    world.store.set_policy(admit_certified=True)
    chosen = Signer(private_key("x"), (certificate("x", "middle", [URI(text)]), middle()))
    refused(world, ask(world, name, signer=chosen), ErrorNo.INVALID_CERT, told=True)


def test_a_certificate_for_other_purposes_signs_nothing(world: World) -> None:
    """Unless the operator accepts it (interpretation 48)."""
    code = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    limited = certificate(str(ALICE), "middle", [URI(str(ALICE))], more=[(code, True)])
    chosen = Signer(private_key(str(ALICE)), (limited, middle()))
    why = refused(world, ask(world, signer=chosen), ErrorNo.INVALID_CERT)
    assert "codesigning" in str(why)
    world.store.add_user(STRANGER, certificate=der(limited))
    world.store.set_policy(extended_key_usage=["codeSigning"])
    world.handled(ask(world, signer=chosen).init.raw)
    world.store.set_policy(extended_key_usage=["emailProtection"])
    refused(world, ask(world, signer=chosen), ErrorNo.INVALID_CERT)


def test_a_certificate_in_an_old_store_that_is_no_ca_vouches_for_nothing(world: World) -> None:
    own = cert_of(ALICE)
    world.store.remove_anchor(root().fingerprint(SHA256()))
    with world.store.transaction() as db:
        db.execute("INSERT INTO anchors VALUES (?, ?)", (own.fingerprint(SHA256()), der(own)))
    assert world.store.anchors() == [own]
    for sends_chain in (True, False):
        chosen = Signer(private_key(str(ALICE)), (own,), sends_chain=sends_chain)
        refused(world, ask(world, signer=chosen), ErrorNo.INVALID_CERT)


def test_a_certificate_that_is_known_needs_no_anchor(world: World) -> None:
    world.store.remove_anchor(root().fingerprint(SHA256()))
    refused(world, ask(world), ErrorNo.INVALID_CERT)
    world.store.add_user(STRANGER, certificate=der(cert_of(STRANGER)))
    user = world.store.user(STRANGER)
    assert user is not None
    known = x509.load_der_x509_certificate(user.certificate or b"")
    for sends_chain in (True, False):
        chosen = Signer(private_key(str(STRANGER)), (known,), sends_chain=sends_chain)
        world.handled(ask(world, STRANGER, signer=chosen).init.raw)


def test_a_user_with_a_certificate_alone_has_no_key_to_guess(world: World) -> None:
    world.store.add_user(STRANGER, certificate=der(cert_of(STRANGER)))
    init = world.asked(world.policy(initiator=STRANGER), by=STRANGER)
    handled = handle(world.store, world.env, init)
    assert handled.refusal is not None
    assert handled.refusal.error_no == ErrorNo.AUTH_FAILURE


def test_chash_chooses_among_the_keys_of_the_kms(world: World) -> None:
    """Interpretation 37."""
    world.store.add_key(private_key("new kms"), NEW_KMS_CERT)
    world.handled(ask(world, named=True).init.raw)
    world.handled(ask(world, cert=NEW_KMS_CERT, named=True).init.raw)
    world.handled(ask(world).init.raw)  # the first one without CHASH
    world.store.remove_key(NEW_KMS_CERT.fingerprint(SHA256()))
    refused(world, ask(world, cert=NEW_KMS_CERT, named=True), ErrorNo.INVALID_CERT, told=True)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was decrypted."""
    found: list[object] = []

    def counting(*given: Any) -> bytes:
        found.append(given)
        return open_envelope(*given)

    monkeypatch.setattr(public_key, "open_envelope", counting)
    return found


def test_nothing_is_decrypted_for_who_is_not_authorized(world: World, opened: list[object]) -> None:
    """Interpretation 36: signature and authorization come first."""
    world.store.enable(BOB, False)
    world.store.add_rule(Rule(False, "*", "sip:carol@example.com"))
    carol = Identity.from_text("sip:carol@example.com")
    good = ask(world)
    world.handled(good.init.raw)
    opened.clear()
    forged = ask(
        world, signer=Signer(private_key("x"), (certificate("x", names=[URI(str(ALICE))]),))
    )
    old = ask(world, env=Environment(lambda: NOW - 301 * NS, os.urandom))
    refused(world, forged, ErrorNo.INVALID_CERT)
    refused(world, ask(world, STRANGER), ErrorNo.AUTH_FAILURE)
    refused(world, ask(world, BOB), ErrorNo.UNSPECIFIED, told=True)
    refused(world, good, ErrorNo.AUTH_FAILURE, told=True)
    refused(world, old, ErrorNo.INVALID_TS, told=True)
    refused(world, ask(world, changes={"responders": (carol,)}), ErrorNo.UNSPECIFIED, told=True)
    assert opened == []


def test_errors_have_a_mac_once_the_envelope_is_open(world: World) -> None:
    """Interpretation 32, RFC 6043 5.4."""
    sent = ask(world, changes={"ticket_type": 7})
    answer = told(handle(world.store, world.env, sent.init.raw))
    with pytest.raises(ErrorReceived) as caught:
        accept_request_resp(world.env, sent.init, sent.envelope_key, answer)
    assert caught.value.verified
    assert caught.value.error_no == ErrorNo.INVALID_TICKET
    world.store.enable(ALICE, False)
    assert Message.parse(told(handle(world.store, world.env, ask(world).init.raw))).find(V) is None


def told(handled: Handled) -> bytes:
    assert handled.refusal is not None
    assert handled.answer is not None
    return handled.answer


def test_a_signed_message_is_answered_once(world: World) -> None:
    """Interpretation 30: sender and signature tell one from another."""
    first, second = ask(world, s_type=SType.RSA_PSS), ask(world, s_type=SType.RSA_PSS)
    for sent in (first, second):
        world.handled(sent.init.raw)
        assert "replay" in str(refused(world, sent, ErrorNo.AUTH_FAILURE, told=True))


def test_counters_go_by_the_public_key(world: World) -> None:
    """Interpretation 31."""

    def counting(counter: int) -> Environment:
        class Counting(Environment):
            def timestamp(self, like: Timestamp | None = None) -> Timestamp:
                return Timestamp(TsType.COUNTER, counter.to_bytes(4))

        return Counting(world.clock, os.urandom)

    world.handled(ask(world, env=counting(7)).init.raw)
    refused(world, ask(world, env=counting(7)), ErrorNo.INVALID_TS, told=True)
    world.handled(ask(world, env=counting(8)).init.raw)


def test_a_kms_without_a_key_pair(tmp_path: Path) -> None:
    with closing(World(tmp_path, Clock(NOW))) as world:
        world.store.add_anchor(root())
        refused(world, ask(world), ErrorNo.INVALID_CERT, told=True)


@pytest.mark.parametrize("spoilt", ["stranger", "stale"])
def test_no_signature_is_verified_of_what_is_refused_anyway(
    world: World, monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    """Of strangers; a user whose clock is off is told of in the log."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("verified")

    monkeypatch.setattr(signers, "verify_pk", never)
    if spoilt == "stranger":
        refused(world, ask(world, STRANGER), ErrorNo.AUTH_FAILURE)
    else:
        world.store.set_policy(admit_certified=True)
        old = Environment(lambda: NOW - 301 * NS, os.urandom)
        refused(world, ask(world, STRANGER, env=old), ErrorNo.INVALID_TS)


def test_a_certificate_in_two_names_does_not_let_a_disabled_user_in(world: World) -> None:
    """The other name is that of a stranger, who would be admitted."""
    world.store.set_policy(admit_certified=True)
    both = certificate("both", "middle", [URI(str(STRANGER)), URI(str(BOB))])
    chosen = Signer(private_key("both"), (both, middle()))
    world.handled(ask(world, STRANGER, signer=chosen).init.raw)
    world.store.enable(BOB, False)
    told = refused(world, ask(world, STRANGER, signer=chosen), ErrorNo.UNSPECIFIED, told=True)
    assert str(BOB) in str(told)
    world.handled(ask(world, STRANGER).init.raw)
