"""REQUEST_INIT_PK and RESOLVE_INIT_PK: the known ones, whole exchanges, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mikeytool.crypto.certificates import certificate_hash
from mikeytool.crypto.envelope import seal_envelope
from mikeytool.crypto.signature import sign
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import ErrorReceived, error_message
from mikeytool.exchange.initiator import transfer_init
from mikeytool.exchange.profile import PROFILES, Profile, profile_of
from mikeytool.exchange.public_key import (
    Enveloped,
    KmsKey,
    PublicKeyInit,
    Recipient,
    Signer,
    VerifiedPk,
    check_recipient,
    open_envelope,
    read_request_init_pk,
    read_resolve_init_pk,
    request_init_pk,
    resolve_init_pk,
    signed,
    verify_pk,
)
from mikeytool.exchange.request import (
    HeldTicket,
    RequestInit,
    accept_request_resp,
    read_request_init,
    request_resp,
)
from mikeytool.exchange.resolve import (
    ResolvedTicket,
    ResolveInit,
    accept_resolve_resp,
    open_for_responder,
    read_resolve_init,
    resolve_resp,
)
from mikeytool.exchange.responder import verify_transfer_init
from mikeytool.exchange.ticket import BaseTicket, make_ticket, new_key
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.srtp.security_policy import policy_for
from mikeytool.srtp.suites import SUITES
from mikeytool.wire.errors import MikeyError, Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, CHASH, IDR, PKE, SIGN, TICKET, Chained, Payload
from mikeytool.wire.registry import (
    CertType,
    DataType,
    ErrorNo,
    KeyType,
    SType,
    TicketFlag,
)
from tests.crypto.test_certificates import DNS, END, URI, certificate, private_key, root, usage
from tests.crypto.test_certificates import NOW as CLOCK
from tests.crypto.test_signature import loaded
from tests.support import message_t, scripted, vectors

CASES = vectors("public_key")

KMS = Identity.from_text("sip:kms.example.com")
ALICE = Identity.from_text("sip:alice@example.com")
BOB = Identity.from_text("sip:bob@example.com")
TPK = b"t" * 32

Change = Callable[[list[Payload]], list[Payload]]


# --- the known messages -----------------------------------------------------------------------


@dataclass
class Known:
    """One case, with its values as the code wants them."""

    case: dict[str, Any]

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.case["REQUEST_INIT_PK"])

    @property
    def profile(self) -> Profile:
        return profile_of(self.case["prf"])

    @property
    def now(self) -> int:
        return message_t(self.raw).unix_ns or 0

    @cached_property
    def request(self) -> PublicKeyInit[RequestInit]:
        return read_request_init_pk(self.raw)

    @property
    def own(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.request.certs[0].cert_data)

    @property
    def kms_key(self) -> KmsKey:
        pem = self.case["kms_certificate"].encode()
        return KmsKey(
            loaded(self.case["kms_private_key"]),
            x509.load_pem_x509_certificate(pem),
        )

    @property
    def signer(self) -> Signer:
        return Signer(loaded(self.case["private_key"]), (self.own,), SType(int(self.case["pss"])))

    def verified(self, raw: bytes | None = None) -> VerifiedPk[RequestInit]:
        request = read_request_init_pk(self.raw if raw is None else raw)
        return verify_pk(request, [self.own], self.now, KMS)

    @property
    def envelope_key(self) -> bytes:
        return bytes.fromhex(self.case["envelope_key"])


@pytest.fixture(params=CASES, ids=lambda c: f"{c['prf']}-oaep-{c['oaep']}-pss-{c['pss']}")
def known(request: pytest.FixtureRequest) -> Known:
    return Known(request.param)


def env_at(now: int) -> Environment:
    return Environment(clock=lambda: now, random=os.urandom)


def test_kms_verifies_and_opens(known: Known) -> None:
    verified = known.verified()
    assert verified.sender == Identity.from_text(known.case["initiator"])
    assert verified.certificate == known.own
    assert verified.request.init.kms == Identity.from_text(known.case["kms"])
    assert verified.request.init.policy.initiator == ALICE
    assert open_envelope(env_at(known.now), verified, [known.kms_key]) == known.envelope_key


def test_known_messages_are_made_again(known: Known) -> None:
    """Octet for octet but for PKE, which is random; with its PKE, PKCS#1 v1.5 signs alike."""
    init = known.request.init
    draws = [init.incoming.csb_id.to_bytes(4), known.envelope_key, init.rand]
    made = request_init_pk(
        scripted(known.now, draws, init.incoming.t),
        known.profile,
        init.policy,
        initiator=ALICE,
        kms=KMS,
        signer=known.signer,
        recipient=Recipient(known.kms_key.certificate, known.case["oaep"]),
    )
    assert made.envelope_key == known.envelope_key
    message = Message.parse(made.init.raw)
    *payloads, _, _ = message.payloads
    again = signed(
        message.header,
        [*payloads, known.request.pke],
        known.profile,
        known.signer,
        ALICE.data + KMS.data,
    ).raw
    length = len(known.request.sign.signature)
    assert again[:-length] == known.raw[:-length]
    assert (again == known.raw) is not known.case["pss"]
    known.verified(again)
    known.verified(made.init.raw)


def test_a_flipped_bit_is_never_accepted(known: Known) -> None:
    for where in range(len(known.raw)):
        raw = bytearray(known.raw)
        raw[where] ^= 1 << where % 8
        with pytest.raises(MikeyError):
            known.verified(bytes(raw))


@pytest.mark.parametrize("case", CASES[:1])
def test_a_cut_message_is_never_accepted(case: dict[str, Any]) -> None:
    known = Known(case)
    for length in range(len(known.raw)):
        with pytest.raises(MikeyError):
            known.verified(known.raw[:length])


# --- whole exchanges --------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a user and the KMS go about it."""

    bits: int = 128
    oaep: bool = False
    s_type: SType = SType.RSA_PKCS1_V15
    named: bool = False
    sends_chain: bool = True

    @property
    def profile(self) -> Profile:
        return PROFILES[self.bits]


WAYS = [
    Way(),
    Way(256),
    Way(oaep=True, s_type=SType.RSA_PSS),
    Way(256, oaep=True, s_type=SType.RSA_PSS),
    Way(named=True),
    Way(256, named=True),
    Way(sends_chain=False),
]

ENV = env_at(CLOCK)

KMS_CERTIFICATE = certificate("kms", "root", [DNS("kms.example.com")])
OTHER_KMS_CERTIFICATE = certificate("kms", "root", [DNS("kms.example.com")])
MIDDLE = certificate("middle", "root", ca=True)
CERTIFICATES = {
    ALICE: certificate("alice", "middle", [URI(str(ALICE))]),
    BOB: certificate("bob", "middle", [URI(str(BOB))]),
}


def name_of(who: Identity) -> str:
    return str(who)[4:].split("@")[0]


def signer(who: Identity = ALICE, way: Way = WAYS[0]) -> Signer:
    return Signer(
        private_key(name_of(who)), (CERTIFICATES[who], MIDDLE), way.s_type, way.sends_chain
    )


def recipient(way: Way = WAYS[0]) -> Recipient:
    return Recipient(KMS_CERTIFICATE, way.oaep, way.named)


def kms_keys(way: Way = WAYS[0]) -> list[KmsKey]:
    mine = KmsKey(private_key("kms"), KMS_CERTIFICATE)
    if way.named:
        return [KmsKey(private_key("other"), OTHER_KMS_CERTIFICATE), mine]
    return [mine]


def policy(way: Way = WAYS[0], flags: str = "DEFGHIJNO") -> TicketPolicy:
    return TicketPolicy(
        prf=way.profile.prf,
        flags=TicketFlag.from_letters(flags),
        responders=(BOB,),
        kms=KMS,
        initiator=ALICE,
        keys=(wanted_key(KeyType.TGK, 16, 0),),
    )


def asked(way: Way = WAYS[0], **changes: Any) -> Enveloped[Any]:
    how = {"initiator": ALICE, "kms": KMS, "signer": signer(ALICE, way)}
    return request_init_pk(
        ENV, way.profile, policy(way), **{**how, "recipient": recipient(way), **changes}
    )


def opened(message: bytes, way: Way = WAYS[0]) -> tuple[RequestInit, bytes]:
    """What the KMS makes of a REQUEST_INIT_PK, and its envelope key."""
    known = None if way.sends_chain else CERTIFICATES[ALICE]
    verified = verify_pk(read_request_init_pk(message), [root()], CLOCK, KMS, known=known)
    assert verified.sender == ALICE
    return verified.request.init, open_envelope(ENV, verified, kms_keys(way))


def granted(init: RequestInit, envelope_key: bytes) -> bytes:
    """REQUEST_RESP to it."""
    key = new_key(KeyType.TGK, os.urandom(16), None, b"\0\0\0\1")
    ticket, keys = make_ticket(ENV, init.policy.granted(), [key], TPK, None)
    return request_resp(ENV, init, envelope_key, KMS, ticket, keys)


def held(way: Way = WAYS[0]) -> HeldTicket:
    sent = asked(way)
    answer = granted(*opened(sent.init.raw, way))
    return accept_request_resp(ENV, sent.init, sent.envelope_key, answer).held


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_ticket_is_requested(way: Way) -> None:
    sent = asked(way)
    init, envelope_key = opened(sent.init.raw, way)
    assert envelope_key == sent.envelope_key
    assert len(envelope_key) == way.bits // 8 <= len(init.rand)
    answer = granted(init, envelope_key)
    got = accept_request_resp(ENV, sent.init, sent.envelope_key, answer)
    assert got.differences == []
    assert Message.parse(answer).header.data_type == DataType.REQUEST_RESP
    kinds = [type(p).__name__ for p in Message.parse(sent.init.raw).payloads]
    certs = ["CERT", "CERT"] if way.sends_chain else []
    chash = ["CHASH"] if way.named else []
    assert kinds == ["T", "RANDR", "IDR", *certs, "IDR", "TP", *chash, "PKE", "SIGN"]


def resolving(ticket: TICKET, way: Way = WAYS[0]) -> Enveloped[Any]:
    return resolve_init_pk(
        ENV,
        way.profile,
        ticket,
        responder=BOB,
        kms=KMS,
        signer=signer(BOB, way),
        recipient=recipient(way),
    )


def verified_resolve(message: bytes, way: Way = WAYS[0]) -> VerifiedPk[ResolveInit]:
    known = None if way.sends_chain else CERTIFICATES[BOB]
    return verify_pk(read_resolve_init_pk(message), [root()], CLOCK, KMS, known=known)


def resolved(ticket: TICKET, way: Way) -> ResolvedTicket:
    """What Bob gets of a ticket."""
    sent = resolving(ticket, way)
    verified = verified_resolve(sent.init.raw, way)
    assert verified.sender == BOB
    envelope_key = open_envelope(ENV, verified, kms_keys(way))
    assert envelope_key == sent.envelope_key
    init = verified.request.init
    base = open_for_responder(BaseTicket.of(init.ticket), TPK)
    answer = resolve_resp(ENV, init, envelope_key, KMS, TicketPolicy.of(init.ticket), base, BOB)
    return accept_resolve_resp(ENV, sent.init, sent.envelope_key, answer)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_call_without_any_pre_shared_key(way: Way) -> None:
    """With key forking, so that Vr and the modifier are at work too."""
    owner = held(way)
    call = transfer_init(
        ENV,
        owner,
        initiator=ALICE,
        responder=BOB,
        crypto_sessions=[CsSpec(send=True), CsSpec(send=False)],
        policies=[policy_for(SUITES["AES_CM_128_HMAC_SHA1_80"], 0)],
    )
    read = read_transfer_init(call.raw)
    got = resolved(read.ticket, way)
    assert got.modifier is not None
    assert got.modifier.responder == BOB
    assert got.keys.mpki.key == owner.keys.mpki.key
    verify_transfer_init(read, got, BOB)


def test_a_flipped_bit_in_resolve_init() -> None:
    message = resolving(held().ticket).init.raw
    verified_resolve(message)
    for where in range(len(message)):
        raw = bytearray(message)
        raw[where] ^= 0x80 >> where % 8
        with pytest.raises(MikeyError):
            verified_resolve(bytes(raw))


def test_request_and_resolve_are_not_the_same() -> None:
    """The variants are told apart by their data types, also from those with a PSK."""
    message = asked().init.raw
    for read in (read_resolve_init_pk, read_request_init, read_resolve_init):
        with pytest.raises(Refused) as caught:
            read(message)
        assert caught.value.error_no == ErrorNo.INVALID_DT


def test_an_answer_under_another_envelope_key() -> None:
    sent = asked()
    init, envelope_key = opened(sent.init.raw)
    answer = granted(init, envelope_key)
    with pytest.raises(Refused) as caught:
        accept_request_resp(ENV, sent.init, bytes(16), answer)
    assert caught.value.error_no == ErrorNo.AUTH_FAILURE
    for where in range(0, len(answer), 3):
        raw = bytearray(answer)
        raw[where] ^= 0x40
        with pytest.raises(MikeyError):
            accept_request_resp(ENV, sent.init, envelope_key, bytes(raw))


def test_an_error_is_verified_with_the_envelope_key() -> None:
    """Interpretation 32: once the envelope is open, there is a key with the peer."""
    sent = asked()
    init, envelope_key = opened(sent.init.raw)
    keys = init.keys(envelope_key, response=False)
    error = error_message(ENV, init.incoming.message.header, ErrorNo.UNSPECIFIED, keys)
    for key, verified in ((sent.envelope_key, True), (bytes(16), False)):
        with pytest.raises(ErrorReceived) as caught:
            accept_request_resp(ENV, sent.init, key, error)
        assert caught.value.verified is verified


# --- what is refused --------------------------------------------------------------------------


def signed_again(
    message: bytes,
    change: Change,
    by: Signer | None = None,
    behind: bytes = ALICE.data + KMS.data,
) -> bytes:
    """A changed message with a good signature."""
    read = Message.parse(message)
    payloads: list[Payload] = [
        payload.copy(next_payload=None) for payload in read.payloads if isinstance(payload, Chained)
    ]
    header = read.header.copy(next_payload=None)
    return signed(header, change(payloads), profile_of(header.prf), by or signer(), behind).raw


def untouched(payloads: list[Payload]) -> list[Payload]:
    return payloads


def without(kind: type[Payload], **fields: Any) -> Change:
    return lambda payloads: [
        p
        for p in payloads
        if type(p) is not kind or any(getattr(p, k) != v for k, v in fields.items())
    ]


def certs(*chain: x509.Certificate, cert_type: int = 0) -> list[CERT]:
    return [CERT(cert_type=cert_type, cert_data=c.public_bytes(Encoding.DER)) for c in chain]


def with_certs(*given: CERT) -> Change:
    return lambda payloads: [*payloads[:3], *given, *without(CERT)(payloads[3:])]


def verify(message: bytes, **how: Any) -> VerifiedPk[RequestInit]:
    anchors: Sequence[x509.Certificate] = how.pop("anchors", [root()])
    return verify_pk(read_request_init_pk(message), anchors, how.pop("now", CLOCK), KMS, **how)


def refusal(message: bytes, **how: Any) -> ErrorNo:
    with pytest.raises(Refused) as caught:
        verify(message, **how)
    return ErrorNo(caught.value.error_no)


def test_signing_again_changes_nothing_else() -> None:
    verify(signed_again(asked().init.raw, untouched))


@pytest.mark.parametrize(
    "how",
    [
        {"anchors": []},
        {"anchors": [certificate("root2", ca=True)]},
        {"anchors": [KMS_CERTIFICATE]},
        {"now": int(END.timestamp()) * NS + NS},
        {"now": 0},
    ],
    ids=["none", "another", "no authority", "expired", "not yet"],
)
def test_certificates_that_are_not_trusted(how: dict[str, Any]) -> None:
    assert refusal(asked().init.raw, **how) == ErrorNo.INVALID_CERT


EVE = certificate("eve", "root", [URI("sip:eve@example.com")])
EVE_SELF = certificate("eve", names=[URI(str(ALICE))])
LATE = certificate("alice", "middle", [URI(str(ALICE))], end=END - timedelta(days=300))
ENCRYPTS = certificate(
    "alice", "middle", [URI(str(ALICE))], more=[(usage("key_encipherment"), True)]
)


@pytest.mark.parametrize(
    "given",
    [
        [],
        certs(CERTIFICATES[ALICE]),
        certs(MIDDLE, CERTIFICATES[ALICE]),
        certs(CERTIFICATES[ALICE], root(), MIDDLE),
        certs(CERTIFICATES[ALICE], CERTIFICATES[BOB], MIDDLE),
        certs(LATE, MIDDLE),
        certs(ENCRYPTS, MIDDLE),
        certs(certificate("alice", "middle"), MIDDLE),
        certs(certificate(str(ALICE), "middle"), MIDDLE),
        certs(CERTIFICATES[ALICE], MIDDLE, cert_type=CertType.X509V3_ENCR),
        certs(CERTIFICATES[ALICE], MIDDLE, cert_type=9),
        [CERT(cert_type=CertType.X509V3_URL.value, cert_data=b"http://127.0.0.1:9/alice.der")],
        [CERT(cert_type=0, cert_data=b"\x30\x03\x02\x01")],
    ],
    ids=[
        *("none", "no issuer", "reversed", "out of order", "stranger between", "expired"),
        *("for encryption", "no SAN", "CN", "type Encr", "type unknown", "URL", "broken"),
    ],
)
def test_chains_that_are_refused(given: list[CERT]) -> None:
    """RFC 6043 4.2.1.3, interpretation 34."""
    message = signed_again(asked().init.raw, with_certs(*given))
    assert refusal(message) == ErrorNo.INVALID_CERT


def test_chains_that_are_accepted() -> None:
    for given in (
        certs(CERTIFICATES[ALICE], MIDDLE, root()),
        certs(CERTIFICATES[ALICE], MIDDLE, cert_type=CertType.X509V3_SIGN),
    ):
        verify(signed_again(asked().init.raw, with_certs(*given)))


def test_somebody_else_signs() -> None:
    """The certificate of Eve is good, but not Alice's; Alice's is not that of the signature."""
    message = asked().init.raw
    eve = Signer(private_key("eve"), (EVE,))
    for given, error_no in (
        ([EVE], ErrorNo.INVALID_CERT),
        ([EVE_SELF], ErrorNo.INVALID_CERT),
        ([CERTIFICATES[ALICE], MIDDLE], ErrorNo.AUTH_FAILURE),
    ):
        assert refusal(signed_again(message, with_certs(*certs(*given)), eve)) == error_no


def test_other_identities_behind_the_message() -> None:
    """RFC 6043 5.5."""
    message = asked().init.raw
    for behind in (b"", ALICE.data, KMS.data + ALICE.data, BOB.data + KMS.data):
        again = signed_again(message, untouched, behind=behind)
        assert refusal(again) == ErrorNo.AUTH_FAILURE


def test_sha_1_with_the_256_bit_profile() -> None:
    """Interpretation 35: refused as an invalid hash."""
    way = Way(256)
    message = asked(way).init.raw
    length = 256
    covers = message[:-length] + ALICE.data + KMS.data
    assert (
        refusal(message[:-length] + sign(0, private_key("alice"), 0, covers)) == ErrorNo.INVALID_HA
    )


def test_left_out_identities() -> None:
    """What both ends know stands in: what the KMS was told, or what the certificate says."""
    message = asked().init.raw
    bare = signed_again(message, without(IDR))
    assert verify(bare).sender == ALICE
    two = certificate("alice", "middle", [URI(str(ALICE)), URI("sip:a@example.com")])
    change = with_certs(*certs(two, MIDDLE))
    verify(signed_again(message, change))
    both = signed_again(message, lambda p: without(IDR)(change(p)))
    assert refusal(both) == ErrorNo.INVALID_CERT


def test_extended_key_usage() -> None:
    """Interpretation 48; a known certificate is no exception."""
    message = asked().init.raw
    signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    limited = certificate("alice", "middle", [URI(str(ALICE))], more=[(signing, True)])
    again = signed_again(message, with_certs(*certs(limited, MIDDLE)))
    for how in ({}, {"known": limited}):
        assert refusal(again, **how) == ErrorNo.INVALID_CERT
        verify(again, purposes=[ExtendedKeyUsageOID.CODE_SIGNING], **how)


def test_a_known_certificate_is_trusted_as_it_is_and_vouches_for_no_other() -> None:
    own = certificate("eve", names=[URI("sip:eve@example.com")], ca=True)
    eve = Identity.from_text("sip:eve@example.com")
    behind = eve.data + KMS.data
    sent = asked(initiator=eve, signer=Signer(private_key("eve"), (own,))).init.raw
    assert refusal(sent) == ErrorNo.INVALID_CERT
    assert verify(sent, known=own).sender == eve
    bare = signed_again(sent, without(CERT), Signer(private_key("eve"), (own,)), behind)
    assert verify(bare, known=own, anchors=[]).sender == eve
    assert refusal(bare) == ErrorNo.INVALID_CERT
    assert refusal(bare, known=own, now=0) == ErrorNo.INVALID_CERT
    assert refusal(bare, known=CERTIFICATES[ALICE]) == ErrorNo.INVALID_CERT
    forged = certificate("alice", "eve", [URI(str(ALICE))])
    change = with_certs(*certs(forged, own))
    assert refusal(signed_again(asked().init.raw, change), known=own) == ErrorNo.INVALID_CERT


def test_a_known_certificate_beside_another_one_or_a_url() -> None:
    older = certificate("bob", "middle", [URI(str(ALICE))])
    assert verify(asked().init.raw, known=older).certificate == CERTIFICATES[ALICE]
    url = CERT(cert_type=CertType.X509V3_URL.value, cert_data=b"http://127.0.0.1:9/alice.der")
    message = signed_again(asked().init.raw, with_certs(url))
    assert verify(message, known=CERTIFICATES[ALICE]).sender == ALICE


@pytest.mark.parametrize("kind", [PKE, SIGN])
def test_what_has_to_be_there_once(kind: type[Payload]) -> None:
    message = Message.parse(asked().init.raw)
    one = message.find(kind)
    assert one is not None
    rest = [p for p in message.payloads if p is not one]
    loose = [p.copy(next_payload=None) if isinstance(p, Chained) else p for p in rest]
    header = message.header.copy(next_payload=None)
    with pytest.raises(Refused):
        read_request_init_pk(Message(header, loose).build())
    if isinstance(one, Chained):
        again = [one.copy(next_payload=None), one.copy(next_payload=None)]
        with pytest.raises(Refused, match="more than once"):
            read_request_init_pk(Message(header, [*loose[:-1], *again, loose[-1]]).build())


# --- envelope and CHASH -----------------------------------------------------------------------


def putting_chash(hash_func: int, value: bytes) -> Change:
    chash = CHASH(hash_func=hash_func, hash=value)
    return lambda payloads: [*without(CHASH)(payloads)[:-1], chash, payloads[-1]]


def choose(change: Change, way: Way = WAYS[4]) -> bytes:
    message = signed_again(asked(way).init.raw, change)
    return open_envelope(ENV, verify(message), kms_keys(way))


@pytest.mark.parametrize("hash_func", [0, 2])
def test_chash_chooses_the_key(hash_func: int) -> None:
    """Interpretation 37: SHA-1 or SHA-256 of the certificate's DER."""
    right = certificate_hash(hash_func, KMS_CERTIFICATE)
    assert choose(putting_chash(hash_func, right))
    with pytest.raises(Refused) as caught:
        choose(putting_chash(hash_func, bytes(len(right))))
    assert caught.value.error_no == ErrorNo.INVALID_CERT


def test_chash_with_md5() -> None:
    with pytest.raises(Refused) as caught:
        choose(putting_chash(1, bytes(16)))
    assert caught.value.error_no == ErrorNo.INVALID_HA


def test_a_kms_without_keys() -> None:
    with pytest.raises(Refused) as caught:
        open_envelope(ENV, verify(asked().init.raw), [])
    assert caught.value.error_no == ErrorNo.INVALID_CERT


def envelopes(way: Way) -> dict[str, bytes]:
    """Broken contents of PKE."""
    public = private_key("kms").public_key()
    length = way.profile.key_length
    good = seal_envelope(public, bytes(length), oaep=way.oaep).data
    return {
        "padding": good[:-1] + bytes([good[-1] ^ 1]),
        "empty key": seal_envelope(public, b"", oaep=way.oaep).data,
        "short key": seal_envelope(public, bytes(length - 1), oaep=way.oaep).data,
        "long key": seal_envelope(public, bytes(length + 1), oaep=way.oaep).data,
        "other profile": seal_envelope(public, bytes(48 - length), oaep=way.oaep).data,
        "another KMS": seal_envelope(
            private_key("other").public_key(), bytes(length), oaep=way.oaep
        ).data,
        "above the modulus": b"\xff" * 256,
        "zero": bytes(256),
        "cut": good[:-1],
        "nothing": b"",
    }


@pytest.mark.parametrize("way", WAYS[:4], ids=str)
def test_broken_envelopes_all_look_alike(way: Way) -> None:
    """Interpretation 36: whatever is wrong, the KMS answers, and only the MAC does not fit."""
    sent = asked(way)
    lengths = set()
    for data in envelopes(way).values():
        change = replaced_pke(data)
        message = signed_again(sent.init.raw, change, signer(ALICE, way))
        init, envelope_key = opened(message, way)
        assert len(envelope_key) == way.profile.key_length
        assert envelope_key not in (sent.envelope_key, bytes(way.profile.key_length))
        answer = granted(init, envelope_key)
        lengths.add(len(answer))
        with pytest.raises(Refused) as caught:
            accept_request_resp(ENV, init, sent.envelope_key, answer)
        assert caught.value.error_no == ErrorNo.AUTH_FAILURE
    assert len(lengths) == 1


def replaced_pke(data: bytes) -> Change:
    return lambda payloads: [*without(PKE)(payloads), PKE(data=data)]


def test_the_random_key_is_drawn_for_good_envelopes_too() -> None:
    verified = verify(asked().init.raw)
    drawn: list[int] = []

    def random(length: int) -> bytes:
        drawn.append(length)
        return bytes(length)

    open_envelope(replace(ENV, random=random), verified, kms_keys())
    assert drawn == [16]


# --- what the user's side refuses ---------------------------------------------------------------


def test_the_certificate_of_the_kms() -> None:
    check_recipient([KMS_CERTIFICATE], [root()], CLOCK, KMS)
    signs_only = certificate(
        "kms", "root", [DNS("kms.example.com")], more=[(usage("digital_signature"), True)]
    )
    for chain, anchors, kms in (
        ([KMS_CERTIFICATE], [EVE], KMS),
        ([KMS_CERTIFICATE], [root()], Identity.from_text("sip:other.example.com")),
        ([signs_only], [root()], KMS),
        ([CERTIFICATES[ALICE], MIDDLE], [root()], KMS),
    ):
        with pytest.raises(Refused) as caught:
            check_recipient(chain, anchors, CLOCK, kms)
        assert caught.value.error_no == ErrorNo.INVALID_CERT


@pytest.mark.parametrize(
    "change",
    [
        {"initiator": BOB},
        {"kms": Identity.from_text("sip:other.example.com")},
        {"signer": replace(signer(), chain=())},
        {"signer": replace(signer(), chain=(CERTIFICATES[BOB],))},
        {"signer": replace(signer(), private_key=private_key("bob"))},
    ],
    ids=["identity", "kms", "no certificate", "another certificate", "another key"],
)
def test_what_does_not_go_together_is_not_sent(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        asked(**change)


def test_keys_are_not_shown() -> None:
    sent = asked()
    assert sent.envelope_key.hex() not in repr(sent)
    assert repr(sent.envelope_key) not in repr(sent)
    assert "PrivateKey" not in repr(signer()) + repr(kms_keys())
