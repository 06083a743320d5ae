"""Whose a certificate is and whether it is trusted, with authorities made up here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from mikeytool.crypto.certificates import (
    MAX_CHAIN,
    Use,
    certificate_hash,
    check_authority,
    check_certificate,
    identities,
    is_authority,
    is_of,
    is_of_kms,
    purpose,
    read_certificate,
    rsa_key,
)
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo, IdType

URI = x509.UniformResourceIdentifier
MAIL = x509.RFC822Name
DNS = x509.DNSName

ALICE = "sip:alice@example.com"
START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365)
NS = 1_000_000_000


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * NS


NOW = ns(START + timedelta(days=100))


_KEYS = Path(__file__).with_name("keys.pem").read_text()
_MADE = iter(re.findall(r"-+BEGIN.+?-+END.+?-+\n", _KEYS, re.DOTALL))
"""Keys that were made once, as it takes its time."""


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """The key of whoever has that name."""
    made = next(_MADE, None)
    if made is None:
        return rsa.generate_private_key(65537, 2048)
    key = load_pem_private_key(made.encode(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def usage(*granted: str) -> x509.KeyUsage:
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in granted for name in every})


def certificate(
    subject: str,
    issuer: str | None = None,
    names: Sequence[x509.GeneralName] = (),
    *,
    ca: bool | None = None,
    path_length: int | None = None,
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    start: datetime = START,
    end: datetime = END,
    public_key: Any = None,
) -> x509.Certificate:
    """A certificate for `subject` by `issuer`, or by itself, with their keys."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer or subject))
        .public_key(public_key or private_key(subject).public_key())
        .serial_number(x509.random_serial_number() | 1 << 158)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical)
    return builder.sign(private_key(issuer or subject), SHA256())


@cache
def root() -> x509.Certificate:
    return certificate("root", ca=True)


@cache
def middle() -> x509.Certificate:
    return certificate("middle", "root", ca=True, path_length=0)


@cache
def alice() -> x509.Certificate:
    return certificate("alice", "middle", [URI(ALICE)])


def check(
    *chain: x509.Certificate,
    anchors: Sequence[x509.Certificate] | None = None,
    now: int = NOW,
    use: Use = Use.SIGNATURE,
) -> None:
    check_certificate(chain, [root()] if anchors is None else anchors, now, use)


def refusal(*chain: x509.Certificate, **how: Any) -> str:
    with pytest.raises(Refused) as caught:
        check(*chain, **how)
    assert caught.value.error_no == ErrorNo.INVALID_CERT
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- whose ------------------------------------------------------------------------------------


def test_the_identity_is_in_the_subject_alternative_name() -> None:
    """Interpretation 34."""
    one = certificate("sip:cn@example.com", names=[URI(ALICE), MAIL("a@b.example"), DNS("b.c")])
    found = identities(one)
    assert [(str(name), name.id_type) for name in found] == [
        (ALICE, IdType.URI),
        ("a@b.example", IdType.NAI),
    ]
    for text, good in ((ALICE, True), ("a@b.example", True), ("sip:Alice@example.com", False)):
        assert is_of(one, Identity.from_text(text)) is good
    assert not is_of(one, Identity.from_text("b.c"))
    assert not is_of(one, Identity.from_text("sip:cn@example.com"))


def test_a_common_name_is_no_identity() -> None:
    assert identities(certificate("sip:cn@example.com")) == []


@pytest.mark.parametrize(
    ("names", "kms", "good"),
    [
        ([DNS("kms.example.com")], "sip:kms.example.com", True),
        ([DNS("KMS.example.com")], "https://kms.example.COM", True),
        ([DNS("kms.example.com")], "kms.example.com", True),
        ([URI("sip:kms.example.com")], "sip:kms.example.com", True),
        ([URI("sip:kms.example.com")], "sips:kms.example.com", False),
        ([DNS("example.com")], "sip:kms.example.com", False),
        ([DNS("kms.example.com")], "sip:eve@kms.example.com", False),
        ([DNS("kms.example.com")], "sip:kms.example.com:5060", False),
        ([DNS("kms.example.com")], "sip:sip:kms.example.com", False),
        ([DNS("*.example.com")], "sip:kms.example.com", False),
        ([], "sip:kms.example.com", False),
    ],
)
def test_a_kms_may_have_a_dns_name(names: list[x509.GeneralName], kms: str, good: bool) -> None:
    assert is_of_kms(certificate("sip:kms.example.com", names=names), _text(kms)) is good


def _text(text: str) -> Identity:
    return Identity.from_text(text)


# --- trusted ----------------------------------------------------------------------------------


def test_a_chain_with_and_without_its_root() -> None:
    check(alice(), middle())
    check(alice(), middle(), root())
    check(alice(), anchors=[middle()])
    check(alice(), middle(), anchors=[certificate("other", ca=True), root()])


def test_a_self_signed_certificate_is_its_own_anchor() -> None:
    own = certificate("eve", names=[URI(ALICE)])
    check(own, anchors=[own])
    assert "anchor" in refusal(own)


def test_another_anchor_or_none() -> None:
    other = certificate("root", ca=True, public_key=private_key("eve").public_key())
    refusal(alice(), middle(), anchors=[certificate("eve", ca=True)])
    refusal(alice(), middle(), anchors=[other])
    assert "no trust anchor" in refusal(alice(), middle(), anchors=[])
    refusal(alice())
    refusal()


def test_each_certificate_certifies_the_one_before() -> None:
    """RFC 6043 4.2.1.3."""
    assert "certificate 2 " in refusal(alice(), root(), middle())
    assert "certificate 3 " in refusal(alice(), middle(), alice())
    assert "certificate 2 " in refusal(alice(), alice(), middle(), root())
    bob = certificate("bob", "root", [URI("sip:bob@example.com")])
    assert "certificate 2 " in refusal(bob, middle(), root())
    refusal(middle(), alice())


def test_a_long_chain() -> None:
    assert str(MAX_CHAIN) in refusal(alice(), middle(), *[root()] * MAX_CHAIN)


def test_validity() -> None:
    check(alice(), middle(), now=ns(START))
    check(alice(), middle(), now=ns(END))
    assert "only from 2026-01-01T00:00:00Z" in refusal(alice(), middle(), now=ns(START) - 1)
    assert "expired at 2027-01-01T00:00:00Z" in refusal(alice(), middle(), now=ns(END) + NS)


@pytest.mark.parametrize("late", ["root", "middle"])
def test_validity_of_authorities(late: str) -> None:
    soon = START + timedelta(days=10)
    tops = certificate("root", ca=True, end=soon if late == "root" else END)
    mids = certificate("middle", "root", ca=True, end=soon if late == "middle" else END)
    check(alice(), mids, anchors=[tops], now=ns(START))
    refusal(alice(), mids, anchors=[tops])


@pytest.mark.parametrize(
    "broken",
    [
        {"ca": None},
        {"ca": False},
        {"ca": True, "more": [(usage("digital_signature"), True)]},
        {"ca": True, "more": [(usage("digital_signature"), False)]},
    ],
)
def test_who_may_certify(broken: dict[str, Any]) -> None:
    """RFC 5280 4.2.1.3, 4.2.1.9, for an authority in between and for an anchor."""
    refusal(alice(), certificate("middle", "root", **broken))
    refusal(certificate("bob", "eve", [URI(ALICE)]), anchors=[certificate("eve", **broken)])


def test_path_length() -> None:
    short = certificate("root", ca=True, path_length=0)
    refusal(alice(), middle(), anchors=[short])
    check(certificate("bob", "root", [URI(ALICE)]), anchors=[short])


def test_name_constraints() -> None:
    """RFC 5280 4.2.1.10; those of URIs are not supported and so refused."""
    for constraint, name, good in (
        (MAIL("example.com"), MAIL("alice@example.com"), True),
        (MAIL("example.com"), MAIL("alice@example.net"), False),
        (URI("example.com"), URI("sip:alice@example.net"), False),
    ):
        limits = (x509.NameConstraints([constraint], None), True)
        chain = (certificate("alice", "middle", [name]),)
        limited = certificate("middle", "root", ca=True, more=[limits])
        if good:
            check(*chain, limited)
        else:
            refusal(*chain, limited)


def test_an_unknown_critical_extension() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    check(certificate("alice", "middle", [URI(ALICE)], more=[(strange, False)]), middle())
    refusal(certificate("alice", "middle", [URI(ALICE)], more=[(strange, True)]), middle())


@pytest.mark.parametrize(
    ("granted", "signs", "encrypts"),
    [
        ("digital_signature", True, False),
        ("content_commitment", True, False),
        ("key_encipherment", False, True),
        ("data_encipherment", False, False),
    ],
)
def test_key_usage(granted: str, signs: bool, encrypts: bool) -> None:
    one = certificate("alice", "middle", [URI(ALICE)], more=[(usage(granted), True)])
    for use, good in ((Use.SIGNATURE, signs), (Use.ENVELOPE, encrypts)):
        if good:
            check(one, middle(), use=use)
        else:
            assert use.value in refusal(one, middle(), use=use)


EKU = ExtendedKeyUsageOID
EKU_EXTENSION = ExtensionOID.EXTENDED_KEY_USAGE
OURS = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    ("purposes", "signs", "encrypts"),
    [
        ([EKU.CODE_SIGNING], False, False),
        ([EKU.CLIENT_AUTH, EKU.EMAIL_PROTECTION], False, False),
        ([EKU.SERVER_AUTH], False, True),
        ([EKU.ANY_EXTENDED_KEY_USAGE], True, True),
        ([EKU.CODE_SIGNING, EKU.ANY_EXTENDED_KEY_USAGE], True, True),
        ([OURS], False, False),
        ([EKU.CODE_SIGNING, OURS], False, False),
    ],
)
def test_extended_key_usage(
    purposes: list[x509.ObjectIdentifier], signs: bool, encrypts: bool, critical: bool
) -> None:
    """Interpretation 48: in a certificate, and in that of the CA that certifies it."""
    limit = [(x509.ExtendedKeyUsage(purposes), critical)]
    one = certificate("alice", "middle", [URI(ALICE)], more=limit)
    limited = certificate("middle", "root", ca=True, more=limit)
    for use, good in ((Use.SIGNATURE, signs), (Use.ENVELOPE, encrypts)):
        if good:
            check(one, middle(), use=use)
            check(alice(), limited, use=use)
        else:
            assert "extended key usage" in refusal(one, middle(), use=use)
            assert "extended key usage" in refusal(alice(), limited, use=use)
        named = [OURS, purposes[0]]
        check_certificate([one, middle()], [root()], NOW, use, named)
        check_certificate([alice(), limited], [root()], NOW, use, named)
    anchor = certificate("root", ca=True, more=limit)
    if signs:
        check(alice(), middle(), anchors=[anchor])
    else:
        refusal(alice(), middle(), anchors=[anchor])


def test_an_extended_key_usage_that_cannot_be_read() -> None:
    broken = x509.UnrecognizedExtension(EKU_EXTENSION, b"\x05\x00")
    one = certificate("alice", "middle", [URI(ALICE)], more=[(broken, False)])
    with pytest.raises(Refused, match="cannot be read"):
        read_certificate(one.public_bytes(Encoding.DER))


def test_purposes_by_their_names() -> None:
    assert purpose("emailProtection") == purpose("emailprotection") == EKU.EMAIL_PROTECTION
    assert purpose("anyExtendedKeyUsage") == EKU.ANY_EXTENDED_KEY_USAGE
    assert purpose("1.3.6.1.4.1.99999.1") == OURS
    for text in ("", "mail", "1", "1.2.x", "-1.2.3"):
        with pytest.raises(UsageError, match="is no extended key usage"):
            purpose(text)


@pytest.mark.parametrize(
    ("how", "good"),
    [
        ({"ca": True}, True),
        ({"ca": True, "path_length": 0}, True),
        ({"ca": True, "more": [(usage("key_cert_sign"), True)]}, True),
        ({"ca": None}, False),
        ({"ca": False}, False),
        ({"ca": True, "more": [(usage("digital_signature", "key_encipherment"), True)]}, False),
        ({"ca": True, "more": [(usage("crl_sign"), False)]}, False),
        ({"ca": None, "more": [(usage("key_cert_sign"), True)]}, False),
        ({"ca": True, "names": [URI(ALICE)]}, True),
        ({"ca": None, "names": [URI(ALICE)]}, False),
    ],
)
def test_certificates_of_authorities(how: dict[str, Any], good: bool) -> None:
    one = certificate("ca", **how)
    assert is_authority(one) is good
    if not good:
        with pytest.raises(Refused, match="not that of a CA"):
            check_authority(one)


def test_an_authority_with_a_weak_key() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()
    assert not is_authority(certificate("ca", ca=True, public_key=weak))


def test_other_and_weak_keys() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    weak = rsa.generate_private_key(65537, 1024).public_key()
    for key, word in ((curve, "RSA"), (weak, "1024")):
        one = certificate("alice", "middle", [URI(ALICE)], public_key=key)
        assert word in refusal(one, middle())
        with pytest.raises(Refused, match=word):
            rsa_key(one)


@pytest.mark.parametrize("at", range(0, 600, 7))
def test_a_changed_certificate(at: int) -> None:
    """Whatever octet is changed: it cannot be read, or nobody vouches for it."""
    der = bytearray(alice().public_bytes(Encoding.DER))
    der[at] ^= 0x11
    with pytest.raises(Refused) as caught:
        check(read_certificate(bytes(der)), middle())
    assert caught.value.error_no == ErrorNo.INVALID_CERT


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x30\x82\xff\xff", b"not a certificate"])
def test_no_certificate(der: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_certificate(der)
    assert caught.value.error_no == ErrorNo.INVALID_CERT


def test_a_negative_serial_number() -> None:
    """RFC 5280 4.1.2.2."""
    der = alice().public_bytes(Encoding.DER)
    serial = alice().serial_number.to_bytes(20)
    negative = bytes([serial[0] | 0x80]) + serial[1:]
    with pytest.raises(Refused, match="serial"):
        read_certificate(der.replace(serial, negative))


# --- CHASH ------------------------------------------------------------------------------------


def test_hashes_of_the_der_form() -> None:
    """Interpretation 37."""
    der = root().public_bytes(Encoding.DER)
    assert certificate_hash(0, root()) == hashlib.sha1(der).digest()
    assert certificate_hash(2, root()) == hashlib.sha256(der).digest()


@pytest.mark.parametrize("hash_func", [1, 3, 255])
def test_md5_and_unknown_hashes(hash_func: int) -> None:
    with pytest.raises(Refused) as caught:
        certificate_hash(hash_func, root())
    assert caught.value.error_no == ErrorNo.INVALID_HA
