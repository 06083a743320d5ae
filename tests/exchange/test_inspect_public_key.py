"""Opening REQUEST_INIT_PK and what answers it, with private keys (RFC 6043 4.2.1.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mikeytool.exchange.inspect import FAILED, NOT_CHECKED, VERIFIED, inspect_message
from mikeytool.exchange.inspect_description import Inspector
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.request import read_request_init, request_resp
from mikeytool.exchange.sealing import seal_message
from mikeytool.exchange.ticket import make_ticket, new_key
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, IDR, PKE, RANDR, SIGN
from mikeytool.wire.registry import DataType, IdRole, KeyType
from tests.crypto import openssl
from tests.crypto.test_certificates import certificate
from tests.crypto.test_signature import loaded
from tests.exchange.rfc3830 import Party
from tests.support import scripted, vectors
from tests.world import relaxed

CASES = vectors("public_key")
KMS = Identity.from_text("sip:kms.example.com")
TGK = bytes(range(32))

each = pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c['prf']}-oaep-{c['oaep']}-pss-{c['pss']}"
)


def init_of(case: dict[str, Any]) -> Message:
    return Message.parse(bytes.fromhex(case["REQUEST_INIT_PK"]))


@pytest.mark.parametrize(
    ("signer", "told"), [("0e 0101 0005 7369703a61", "sip:a"), ("", "left out")]
)
def test_what_an_eccsi_signature_takes(signer: str, told: str) -> None:
    """RFC 6507: no certificate; the KMS's public key and the signer's identity."""
    kms, sakke = "1a 0601 0005 6b2e6f7267", "04 01 02 0001 61"
    head = "01 1a 05 01 20000001 00 01  0b 00 0000000000000000  0e 01 aa"
    data = bytes.fromhex(f"{head} {signer} {kms} {sakke} 2002 dddd")
    found = inspect_message(Message.parse(data), KeyRing())
    assert found.signature == NOT_CHECKED
    [note] = found.notes
    assert all(word in note for word in (told, "k.org", "KPAK", "RFC 6507"))
    assert "certificate" not in note


def of_kms(case: dict[str, Any]) -> KeyRing:
    return KeyRing(rsa=[loaded(case["kms_private_key"])])


def of_alice(case: dict[str, Any]) -> KeyRing:
    return KeyRing(rsa=[loaded(case["private_key"])])


@each
def test_the_known_requests(case: dict[str, Any]) -> None:
    """Only OAEP says of its own that the right key opened it."""
    found = inspect_message(init_of(case), of_kms(case))
    assert found.signature == VERIFIED
    assert found.mac is None
    assert found.envelope == (VERIFIED if case["oaep"] else NOT_CHECKED)
    assert found.envelope_key == bytes.fromhex(case["envelope_key"])


@each
def test_the_key_of_the_sender_opens_no_envelope(case: dict[str, Any]) -> None:
    found = inspect_message(init_of(case), of_alice(case))
    assert (found.signature, found.envelope) == (VERIFIED, NOT_CHECKED)
    assert found.envelope_key is None


def answer_to(case: dict[str, Any]) -> Message:
    """REQUEST_RESP as the KMS makes it."""
    request = read_request_init(init_of(case).raw, (DataType.REQUEST_INIT_PK,))
    length = len(case["envelope_key"]) // 2
    draws = [n.to_bytes(size) for n, size in enumerate((length, 4, length, 4, 4), 1)]
    t = request.incoming.t
    env = scripted(t.unix_ns or 0, draws, t, t)
    key = new_key(KeyType.TGK, TGK[:length], None, b"\0\0\0\x09")
    ticket, keys = make_ticket(env, request.policy.granted(), [key], TGK[:length], None)
    envelope_key = bytes.fromhex(case["envelope_key"])
    return Message.parse(request_resp(env, request, envelope_key, KMS, ticket, keys))


@each
def test_the_answer_is_under_the_envelope_key(case: dict[str, Any]) -> None:
    """RFC 6043 4.2.1.5: the envelope key stands in the place of a pre-shared one."""
    init, answer = init_of(case), answer_to(case)
    found = inspect_message(answer, of_kms(case), init)
    assert found.mac == VERIFIED
    assert TGK[: len(case["envelope_key"]) // 2] in [key.key for key in found.keys]
    told = KeyRing(psks=[(None, bytes.fromhex(case["envelope_key"]))])
    assert inspect_message(answer, told, init).mac == VERIFIED
    assert inspect_message(answer, of_kms(case)).mac == NOT_CHECKED
    other = CASES[(CASES.index(case) + 1) % len(CASES)]
    if other["kms_private_key"] != case["kms_private_key"]:
        assert inspect_message(answer, of_kms(other), init).mac == FAILED
    guess = KeyRing(psks=[(None, bytes(16))])
    assert inspect_message(answer, guess, init).mac == NOT_CHECKED


@each
def test_it_is_signed_again(case: dict[str, Any]) -> None:
    """PKCS#1 v1.5 makes the same signature; PSS makes another that fits as well."""
    init = init_of(case)
    blank = Message.parse(init.raw[:-256] + bytes(256))
    assert inspect_message(blank, KeyRing()).signature == FAILED
    sealed = seal_message(blank, of_alice(case))
    assert sealed.written == ["SIGN"]
    assert inspect_message(Message.parse(sealed.message.raw), KeyRing()).signature == VERIFIED
    assert (sealed.message.raw == init.raw) is not case["pss"]


@each
def test_an_answer_is_sealed_again(case: dict[str, Any]) -> None:
    init, answer = init_of(case), answer_to(case)
    opened = inspect_message(answer, of_kms(case), init)
    tag = answer.payloads[-1].length - 2
    blank = Message.parse(answer.raw[:-tag] + bytes(tag))
    sealed = seal_message(blank, of_kms(case), init, keys=opened.kemacs)
    assert sealed.message.raw == answer.raw


def test_a_signature_covers_identities_that_are_left_out() -> None:
    """RFC 6043 5.5; who signs, the certificate tells as well."""
    case = CASES[0]
    init = init_of(case)
    left = [relaxed(one) for one in init.payloads if not isinstance(one, IDR)]
    bare = Message.parse(Message(init.header.copy(next_payload=None), left).build())
    found = inspect_message(bare, KeyRing())
    assert found.signature == NOT_CHECKED
    # Without the name of the KMS nothing can be signed, and the old signature stays.
    kept = seal_message(bare, of_alice(case))
    assert (kept.written, kept.message.raw) == ([], bare.raw)
    told = {IdRole.KMS: KMS}
    resealed = seal_message(bare, of_alice(case), identities=told)
    assert resealed.written == ["SIGN"]
    again = Message.parse(resealed.message.raw)
    assert inspect_message(again, KeyRing()).signature == NOT_CHECKED
    assert inspect_message(again, KeyRing(), identities=told).signature == VERIFIED
    eve = {IdRole.KMS: Identity.from_text("sip:eve.example.com")}
    assert inspect_message(again, KeyRing(), identities=eve).signature == FAILED


def test_resolve_init_pk_and_its_answer(tmp_path: Path) -> None:
    """RFC 6043 4.2.3.3, from the known RESOLVE_INIT_PSK: IDRr and IDRkms go behind it, and
    the envelope key takes the place of the pre-shared one.
    """
    case = vectors("exchanges")[0]
    bob, kms = (Party(tmp_path, who) for who in (b"sip:bob@example.com", b"sip:kms.example.com"))
    psk = bytes.fromhex(case["psk_responder"])
    known = Message.parse(bytes.fromhex(case["RESOLVE_INIT_PSK"]))
    pke = PKE(data=bob_to(kms, psk))
    payloads = [relaxed(one) for one in known.payloads[:-1]]
    cert = CERT(cert_type=0, cert_data=bob.certificate)
    header = known.header.copy(data_type=17, next_payload=None)
    sign = SIGN(s_type=0, signature=bytes(256))
    raw = Message(header, [*payloads, cert, pke, sign]).build()[:-256]
    init = Message.parse(raw + bob.signature(raw + bob.who + kms.who))
    found = inspect_message(init, KeyRing(rsa=[loaded(kms.pem.read_text())]))
    assert (found.signature, found.envelope_key) == (VERIFIED, psk)

    answer = bytes.fromhex(case["RESOLVE_RESP"])[:-20]
    rand = next(one.rand for one in known.all(RANDR))
    label = b"\xff" + known.header.csb_id.to_bytes(4) + b"\x02\0" + bytes([len(rand)]) + rand
    auth_key = openssl.prf(0, psk, openssl.AUTH + label, 20)
    answer += openssl.hmac(0, auth_key, answer + init.raw)
    opened = inspect_message(
        Message.parse(answer), KeyRing(rsa=[loaded(kms.pem.read_text())]), init
    )
    assert opened.mac == VERIFIED
    assert [one.key.hex() for one in opened.keys][:2] == [case["mpki"], case["mpkr_forked"]]


def bob_to(kms: Party, key: bytes) -> bytes:
    """The data of PKE, without its length."""
    return kms.envelope(key)[1][2:]


@each
def test_an_envelope_key_is_masked_unless_it_is_asked_for(case: dict[str, Any]) -> None:
    key = case["envelope_key"]
    for shows in (False, True):
        described, failed = Inspector(of_kms(case), show_keys=shows).describe(init_of(case))
        assert not failed
        assert (described["opened"]["envelope_key"] == key) == shows
        assert (key in str(described)) == shows


def test_an_initial_message_of_another_exchange_is_told() -> None:
    notes: list[str] = []
    first, second = map(init_of, CASES[:2])
    second.header.csb_id = first.header.csb_id ^ 1
    for init, told in ((first, 0), (second, 1)):
        notes.clear()
        Inspector(of_kms(CASES[0]), init, note=notes.append).describe(first)
        assert len(notes) == told


def test_a_signature_with_a_key_that_is_not_for_rsa() -> None:
    """Whatever its S type says, MIKEY has RSA only."""
    init = init_of(CASES[0])
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    other = certificate("alice", "root", public_key=key).public_bytes(Encoding.DER)
    payloads = [
        relaxed(one, cert_data=other, cert_len=None) if isinstance(one, CERT) else relaxed(one)
        for one in init.payloads
    ]
    forged = Message.parse(Message(init.header.copy(next_payload=None), payloads).build())
    found = inspect_message(forged, KeyRing())
    assert found.signature == NOT_CHECKED
    assert any("with such a key are not checked" in note for note in found.notes)
