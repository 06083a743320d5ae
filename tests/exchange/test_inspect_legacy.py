"""Opening and sealing the messages of RFC 3830, 4650 and 4738, made by a second implementation."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mikeytool.exchange.inspect import FAILED, NOT_CHECKED, VERIFIED, Inspection, inspect_message
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.sealing import seal_message
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC as Kemac
from mikeytool.wire.payloads import SIGN as Sign
from mikeytool.wire.payloads import V as Ver
from mikeytool.wire.registry import IdRole
from tests.exchange import rfc3830 as rfc
from tests.exchange.rfc3830 import INITIATOR, RESPONDER, STAMP, Keys, Party
from tests.wire.samples import SAMPLES

SHARED = bytes(range(16))
LONG = bytes(range(100, 145))
ENVELOPE = bytes(range(50, 66))
TGK = bytes(range(200, 216))
ids = [rfc.identity(INITIATOR), rfc.identity(RESPONDER)]
key_data = [rfc.tgk(TGK, b"\0\0\0\1")]
wrappable = [rfc.tgk(TGK + TGK[:4])]  # 24 octets, a multiple of 8 (interpretation 3)
BEHIND = INITIATOR + RESPONDER + STAMP
V: rfc.Payload = (rfc.V, b"\1")


@dataclass(frozen=True)
class Case:
    """A message, the one it answers, what should come of it, and the keys that make it so."""

    raw: bytes
    psk: bytes | None = None
    rsa: tuple[RSAPrivateKey, ...] = ()
    init: bytes | None = None
    mac: str | None = None
    signature: str | None = None
    envelope: str | None = None
    keys: tuple[bytes, ...] = ()
    signer: RSAPrivateKey | None = field(default=None)

    def ring(self, psk: bytes | None = None) -> KeyRing:
        psk = psk or self.psk
        return KeyRing(psks=[] if psk is None else [(None, psk)], rsa=list(self.rsa))

    def open(self, raw: bytes | None = None, ring: KeyRing | None = None) -> Inspection:
        init = None if self.init is None else Message.parse(self.init)
        return inspect_message(Message.parse(raw or self.raw), ring or self.ring(), init)


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("alice"), INITIATOR)


@pytest.fixture(scope="session")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("bob"), RESPONDER)


@pytest.fixture(scope="session")
def eve(tmp_path_factory: pytest.TempPathFactory) -> RSAPrivateKey:
    return loaded(Party(tmp_path_factory.mktemp("eve"), b"sip:eve@example.com").pem)


def loaded(pem: Path) -> RSAPrivateKey:
    key = load_pem_private_key(pem.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def psk_init(psk: bytes, alg: int = rfc.AES_CM, inside: list[rfc.Payload] = key_data) -> bytes:
    """I_MESSAGE of RFC 3830 3.1."""
    keys = Keys(psk)
    kemac = (rfc.KEMAC, keys.kemac(inside, alg))
    return keys.sealed(rfc.PSK, [rfc.t, rfc.rand, *ids, rfc.policy, kemac])


def pk_init(
    alice: Party,
    bob: Party,
    *,
    alg: int = rfc.AES_CM,
    mac: bool = True,
    oaep: bool = False,
    pss: bool = False,
    cache: int = 0,
) -> bytes:
    """I_MESSAGE of RFC 3830 3.2; the certificate stands for IDi."""
    inside = [rfc.identity(INITIATOR), *(key_data if alg == rfc.AES_CM else padded(INITIATOR))]
    kemac = Keys(ENVELOPE).lone_kemac(inside, alg, mac=mac)
    payloads = [rfc.t, rfc.rand, alice.cert, ids[1], rfc.policy, kemac]
    return alice.signed(
        rfc.PK, [*payloads, bob.envelope(ENVELOPE, oaep=oaep, cache=cache)], pss=pss
    )


def padded(who: bytes) -> list[rfc.Payload]:
    """Key data that with the ID before it has a multiple of 8 octets."""
    before = len(rfc.chained([rfc.identity(who), rfc.tgk(TGK)]))
    return [rfc.tgk(TGK + bytes(-before % 8))]


def rsa_r_init(alice: Party) -> bytes:
    """I_MESSAGE of RFC 4738 3.1."""
    return alice.signed(rfc.RSA_R_I, [rfc.t, rfc.rand, alice.cert, ids[1], rfc.policy])


OTHER_NONCE = bytes(range(0x70, 0x80))
OTHER_RAND: rfc.Payload = (rfc.RAND, b"\x10" + OTHER_NONCE)
GROUP_CSB_ID = 0xAABBCCDD


def group_answer(alice: Party, bob: Party, *, cache: int = 0) -> bytes:
    """R_MESSAGE for a group (RFC 4738 3.2): a CSB ID and a RAND of the responder's."""
    inside = [rfc.identity(RESPONDER), *key_data]
    kemac = Keys(ENVELOPE, OTHER_NONCE, GROUP_CSB_ID).lone_kemac(inside)
    payloads = [rfc.new_csb_id(GROUP_CSB_ID), rfc.t, OTHER_RAND, bob.cert, rfc.policy, kemac]
    envelope = alice.envelope(ENVELOPE, cache=cache)
    return bob.signed(rfc.RSA_R_R, [*payloads, envelope], behind=BEHIND)


NAMES = [
    "PSK", "PSK-long-key", "PSK-AES-KW", "PSK-answer", "PSK-answer-names-nobody", "PSK-update",
    "PSK-error", "PK", "PK-OAEP-PSS", "PK-AES-KW-no-MAC", "PK-answer", "DH", "DH-answer",
    "DHHMAC", "DHHMAC-answer", "DHHMAC-error", "RSA-R", "RSA-R-answer", "RSA-R-own-RAND",
    "RSA-R-group", "RSA-R-two-RANDs", "RSA-R-group-update",
    "cached-envelope-key", "PK-error",
]  # fmt: skip


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    """Those that were made, as openssl is run for each."""
    return {}


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, cases: dict[str, Case], alice: Party, bob: Party) -> Case:
    if request.param not in cases:
        cases[request.param] = make_case(request.param, alice, bob)
    return cases[request.param]


def make_case(name: str, alice: Party, bob: Party) -> Case:
    if name.startswith(("PSK", "DHHMAC")):
        return psk_case(name)
    a, b = loaded(alice.pem), loaded(bob.pem)
    kemac = Keys(ENVELOPE).lone_kemac([rfc.identity(RESPONDER), *key_data])
    if name == "PK":
        raw = pk_init(alice, bob)
        return Case(raw, rsa=(a, b), mac=VERIFIED, signature=VERIFIED, envelope=VERIFIED,
                    keys=(TGK,), signer=a)  # fmt: skip
    if name == "PK-OAEP-PSS":
        raw = pk_init(alice, bob, oaep=True, pss=True)
        return Case(raw, rsa=(b,), mac=VERIFIED, signature=VERIFIED, envelope=VERIFIED,
                    keys=(TGK,))  # fmt: skip
    if name == "PK-AES-KW-no-MAC":
        raw = pk_init(alice, bob, alg=rfc.AES_KW, mac=False)
        length = struct.unpack(">H", padded(INITIATOR)[0][1][1:3])[0]
        return Case(raw, rsa=(b, a), signature=VERIFIED, envelope=VERIFIED,
                    keys=(TGK.ljust(length, b"\0"),), signer=a)  # fmt: skip
    if name == "PK-answer":
        raw = Keys(ENVELOPE).sealed(rfc.PK_VER, [rfc.t, ids[1], V], behind=BEHIND)
        return Case(raw, rsa=(b,), init=pk_init(alice, bob), mac=VERIFIED)
    if name == "DH":
        raw = alice.signed(rfc.DH_INIT, [rfc.t, rfc.rand, alice.cert, ids[1], rfc.dh(3)])
        return Case(raw, rsa=(a,), signature=VERIFIED, signer=a)
    if name == "DH-answer":
        payloads = [rfc.t, bob.cert, ids[0], rfc.dh(5), rfc.dh(3)]
        raw = bob.signed(rfc.DH_RESP, payloads)
        return Case(raw, rsa=(b,), signature=VERIFIED, signer=b)
    if name == "RSA-R":
        return Case(rsa_r_init(alice), rsa=(a,), signature=VERIFIED, signer=a)
    if name == "RSA-R-answer":
        payloads = [rfc.t, bob.cert, rfc.policy, kemac, alice.envelope(ENVELOPE)]
        raw = bob.signed(rfc.RSA_R_R, payloads, behind=BEHIND)
        return Case(raw, rsa=(b, a), init=rsa_r_init(alice), mac=VERIFIED, signature=VERIFIED,
                    envelope=VERIFIED, keys=(TGK,), signer=b)  # fmt: skip
    if name == "RSA-R-own-RAND":  # RFC 4738 3.6: where the initial message has none
        init = alice.signed(rfc.RSA_R_I, [rfc.t, alice.cert, *ids])
        payloads = [rfc.t, rfc.rand, bob.cert, kemac, alice.envelope(ENVELOPE)]
        raw = bob.signed(rfc.RSA_R_R, payloads, behind=BEHIND)
        return Case(raw, rsa=(a,), init=init, mac=VERIFIED, signature=VERIFIED,
                    envelope=VERIFIED, keys=(TGK,))  # fmt: skip
    if name == "RSA-R-two-RANDs":  # no group: that of the initial message counts (3.5)
        payloads = [rfc.t, OTHER_RAND, bob.cert, rfc.policy, kemac, alice.envelope(ENVELOPE)]
        raw = bob.signed(rfc.RSA_R_R, payloads, behind=BEHIND)
        return Case(raw, rsa=(a,), init=rsa_r_init(alice), mac=VERIFIED, signature=VERIFIED,
                    envelope=VERIFIED, keys=(TGK,))  # fmt: skip
    if name == "RSA-R-group":
        return Case(group_answer(alice, bob), rsa=(a,), init=rsa_r_init(alice), mac=VERIFIED,
                    signature=VERIFIED, envelope=VERIFIED, keys=(TGK,))  # fmt: skip
    if name == "RSA-R-group-update":  # under the cached envelope key, with the inputs of the group
        keys = Keys(ENVELOPE, OTHER_NONCE, GROUP_CSB_ID)
        raw = keys.sealed(rfc.PSK, [rfc.t, *ids, (rfc.KEMAC, keys.kemac(key_data))])
        return Case(raw, rsa=(a,), init=group_answer(alice, bob, cache=1), mac=VERIFIED,
                    keys=(TGK,))  # fmt: skip
    if name == "PK-error":
        error = (rfc.ERR, b"\x09\0\0")
        raw = Keys(ENVELOPE).sealed(rfc.ERROR, [rfc.t, error, V], behind=BEHIND)
        return Case(raw, rsa=(b,), init=pk_init(alice, bob), mac=VERIFIED)
    assert name == "cached-envelope-key"  # RFC 3830 4.5
    keys = Keys(ENVELOPE)
    raw = keys.sealed(rfc.PSK, [rfc.t, *ids, (rfc.KEMAC, keys.kemac(key_data))])
    return Case(raw, rsa=(b,), init=pk_init(alice, bob, cache=1), mac=VERIFIED, keys=(TGK,))


def psk_case(name: str) -> Case:
    keys = Keys(SHARED)
    if name == "PSK":
        return Case(psk_init(SHARED), SHARED, mac=VERIFIED, keys=(TGK,))
    if name == "PSK-long-key":
        return Case(psk_init(LONG), LONG, mac=VERIFIED, keys=(TGK,))
    if name == "PSK-AES-KW":
        raw = psk_init(SHARED, rfc.AES_KW, wrappable)
        return Case(raw, SHARED, mac=VERIFIED, keys=(TGK + TGK[:4],))
    init = psk_init(SHARED)
    if name == "PSK-answer":
        raw = keys.sealed(rfc.PSK_VER, [rfc.t, ids[1], V], behind=BEHIND)
    elif name == "PSK-answer-names-nobody":
        raw = keys.sealed(rfc.PSK_VER, [rfc.t, V], behind=BEHIND)
    elif name == "PSK-update":  # no RAND, and no key data (RFC 3830 4.5)
        raw = keys.sealed(rfc.PSK, [rfc.t, *ids, rfc.policy, (rfc.KEMAC, keys.kemac([]))])
    elif name == "PSK-error":
        raw = keys.sealed(rfc.ERROR, [rfc.t, (rfc.ERR, b"\x09\0\0"), V], behind=BEHIND)
    elif name == "DHHMAC":
        empty = (rfc.KEMAC, b"\0\0\0\1")
        raw = keys.sealed(rfc.DHHMAC_INIT, [rfc.t, rfc.rand, *ids, rfc.policy, rfc.dh(3), empty])
        return Case(raw, SHARED, mac=VERIFIED)
    else:
        empty = (rfc.KEMAC, b"\0\0\0\1")
        first = [rfc.t, rfc.rand, ids[1], rfc.dh(3), empty]
        init = keys.sealed(rfc.DHHMAC_INIT, first)
        answer = [rfc.t, *reversed(ids), rfc.dh(5), rfc.dh(3), empty]
        error = [rfc.t, (rfc.ERR, b"\x06\0\0"), empty]
        if name == "DHHMAC-error":
            raw = keys.sealed(rfc.ERROR, error)
        else:
            raw = keys.sealed(rfc.DHHMAC_RESP, answer)
    return Case(raw, SHARED, init=init, mac=VERIFIED)


def test_the_right_keys_open_it(case: Case) -> None:
    found = case.open()
    assert (found.mac, found.signature, found.envelope) == (
        case.mac,
        case.signature,
        case.envelope,
    )
    assert [one.key for one in found.keys] == list(case.keys)
    assert not found.failed


def test_without_keys_nothing_but_a_signature_is_checked(case: Case) -> None:
    found = case.open(ring=KeyRing())
    assert found.mac in (None, NOT_CHECKED)
    assert found.envelope in (None, NOT_CHECKED)
    assert found.signature == case.signature
    assert found.keys == []


def test_wrong_keys_open_nothing(case: Case, eve: RSAPrivateKey) -> None:
    ring = KeyRing(psks=[(None, bytes(16))] if case.psk else [], rsa=[eve])
    found = case.open(ring=ring)
    assert found.mac != VERIFIED
    assert found.envelope != VERIFIED
    assert found.keys == []
    if case.psk:
        assert found.mac == FAILED


def test_what_answers_needs_what_it_answers(case: Case) -> None:
    """RFC 3830 4.5 and 5.2: RAND and identities are those of the initial message."""
    if case.init is None:
        return
    found = inspect_message(Message.parse(case.raw), case.ring())
    assert found.mac in (NOT_CHECKED, FAILED)
    assert found.signature in (None, NOT_CHECKED)
    assert found.keys == []


def test_one_changed_octet_is_noticed(case: Case) -> None:
    """But in PKE, whatever stands there that opens to the same key."""
    expected = case.open()
    for at in range(8, len(case.raw), 23):
        changed = case.raw[:at] + bytes([case.raw[at] ^ 1]) + case.raw[at + 1 :]
        message = Message.read(changed)
        init = None if case.init is None else Message.parse(case.init)
        found = inspect_message(message, case.ring(), init)
        if case.signature is not None:
            assert found.signature != VERIFIED
        else:
            assert (found.mac, found.keys) != (VERIFIED, expected.keys)


def test_it_is_sealed_to_the_same_octets(case: Case) -> None:
    """MACs, key data and signatures that are blanked come back as they were made."""
    message = Message.parse(case.raw)
    init = None if case.init is None else Message.parse(case.init)
    opened = case.open()
    raw = bytearray(case.raw)
    for payload in message.payloads:
        end = payload.offset + payload.length
        if isinstance(payload, Kemac):
            raw[payload.offset + 4 : payload.offset + 4 + len(payload.encr_data)] = bytes(
                len(payload.encr_data)
            )
            raw[end - len(payload.mac) : end] = bytes(len(payload.mac))
        elif isinstance(payload, Ver):
            raw[end - 20 : end] = bytes(20)
        elif isinstance(payload, Sign) and case.signer:
            raw[end - 256 : end] = bytes(256)
    blank = Message.parse(bytes(raw))
    sealed = seal_message(blank, case.ring(), init, keys=opened.kemacs)
    assert sealed.message.raw == case.raw
    assert sealed.kemacs == set(opened.kemacs)


def test_identities_that_are_left_out() -> None:
    """RFC 3830 3.1: they may be known from SIP, and V covers them all the same."""
    keys = Keys(SHARED)
    kemac = (rfc.KEMAC, keys.kemac(key_data))
    init = Message.parse(keys.sealed(rfc.PSK, [rfc.t, rfc.rand, kemac]))
    answer = Message.parse(keys.sealed(rfc.PSK_VER, [rfc.t, V], behind=BEHIND))
    ring = KeyRing(psks=[(None, SHARED)])
    assert inspect_message(init, ring).mac == VERIFIED
    found = inspect_message(answer, ring, init)
    assert found.mac == NOT_CHECKED
    assert any("--identity" in note for note in found.notes)
    told = {IdRole.INITIATOR: Identity(INITIATOR), IdRole.RESPONDER: Identity(RESPONDER)}
    assert inspect_message(answer, ring, init, told).mac == VERIFIED
    told[IdRole.RESPONDER] = Identity(INITIATOR)
    assert inspect_message(answer, ring, init, told).mac == FAILED


@pytest.mark.parametrize(
    ("named", "given", "expected"),
    [
        ([INITIATOR, RESPONDER], INITIATOR, VERIFIED),
        ([INITIATOR, RESPONDER], RESPONDER, VERIFIED),
        ([INITIATOR, RESPONDER], b"sip:eve@example.com", NOT_CHECKED),
        ([], b"sip:eve@example.com", VERIFIED),
    ],
)
def test_keys_go_by_the_names_in_the_message(
    named: list[bytes], given: bytes, expected: str
) -> None:
    """Where nobody is named, any key may be the one, and none that fails says a thing."""
    keys = Keys(SHARED)
    kemac = (rfc.KEMAC, keys.kemac(key_data))
    who = [rfc.identity(one) for one in named]
    message = Message.parse(keys.sealed(rfc.PSK, [rfc.t, rfc.rand, *who, kemac]))
    others = [(b"sip:user%d@example.com" % n, n.to_bytes(16)) for n in range(50)]
    assert inspect_message(message, KeyRing(psks=[*others, (given, SHARED)])).mac == expected
    assert inspect_message(message, KeyRing(psks=list(others))).mac == NOT_CHECKED


def test_a_message_without_a_mac() -> None:
    """RFC 3830 4.2.3: the key wrap verifies itself, AES-CM only makes sense or does not."""
    keys = Keys(SHARED)
    for alg, inside in ((rfc.AES_CM, key_data), (rfc.AES_KW, wrappable)):
        kemac = (rfc.KEMAC, keys.kemac(inside, alg, mac=False))
        message = Message.parse(rfc.message(rfc.PSK, [rfc.t, rfc.rand, *ids, kemac]))
        found = inspect_message(message, KeyRing(psks=[(None, SHARED)]))
        assert found.mac is None
        assert len(found.keys) == 1
        assert any("no MAC" in note for note in found.notes)
        assert inspect_message(message, KeyRing(psks=[(None, bytes(16))])).keys == []


def test_a_certificate_fits_and_is_not_trusted(alice: Party, bob: Party) -> None:
    found = inspect_message(Message.parse(pk_init(alice, bob)), KeyRing())
    assert found.signature == VERIFIED
    assert any("of sip:alice@example.com" in note and "not checked" in note for note in found.notes)


def test_an_envelope_that_names_somebody_else(alice: Party, bob: Party) -> None:
    """RFC 3830 3.2: the encrypted IDi is to be compared with the sender."""
    kemac = Keys(ENVELOPE).lone_kemac([rfc.identity(b"sip:eve@example.com"), *key_data])
    payloads = [rfc.t, rfc.rand, alice.cert, kemac, bob.envelope(ENVELOPE)]
    message = Message.parse(alice.signed(rfc.PK, payloads))
    found = inspect_message(message, KeyRing(rsa=[loaded(bob.pem)]))
    assert (found.mac, found.signature) == (VERIFIED, VERIFIED)
    assert any("does not name sip:alice@example.com" in note for note in found.notes)


def test_keys_can_be_put_into_a_sealed_message(alice: Party, bob: Party) -> None:
    """Longer key data makes KEMAC longer, and the rest is as an independent sender writes it."""
    raw = psk_init(SHARED)
    message, ring = Message.parse(raw), KeyRing(psks=[(None, SHARED)])
    [(offset, [old])] = inspect_message(message, ring).kemacs.items()
    new = [old.copy(next_payload=None), old.copy(key=TGK[::-1], spi=b"\0\0\0\2", next_payload=None)]
    sealed = seal_message(message, ring, keys={offset: new})
    inside = [rfc.tgk(TGK, b"\0\0\0\1"), rfc.tgk(TGK[::-1], b"\0\0\0\2")]
    assert sealed.message.raw == psk_init(SHARED, inside=inside)


def test_key_data_under_another_t_is_told_of() -> None:
    """RFC 3830 4.2.3: T is in the IV, so who changes it has to encrypt again."""
    message, ring = Message.parse(psk_init(SHARED)), KeyRing(psks=[(None, SHARED)])
    keys = inspect_message(message, ring).kemacs
    assert seal_message(message, ring).notes == []
    later = message.raw.replace(STAMP, STAMP[:-1] + b"\xff")
    [note] = seal_message(Message.parse(later), ring).notes
    assert "--show-keys" in note
    assert seal_message(Message.parse(later), ring, keys=keys).notes == []


def test_another_sender_signs(alice: Party, bob: Party) -> None:
    """Without CERT the one private key signs; a key that is not that of CERT does not."""
    bare = alice.signed(rfc.RSA_R_I, [rfc.t, rfc.rand, *ids])
    ring = KeyRing(rsa=[loaded(bob.pem)])
    sealed = seal_message(Message.parse(bare), ring)
    assert sealed.message.raw == bob.signed(rfc.RSA_R_I, [rfc.t, rfc.rand, *ids])
    assert sealed.written == ["SIGN"]
    whole = rsa_r_init(alice)
    assert seal_message(Message.parse(whole), ring).message.raw == whole


@pytest.mark.parametrize("own", [True, False], ids=["IDi", "IDr"])
def test_one_id_beside_a_certificate(alice: Party, bob: Party, own: bool) -> None:
    """RFC 4738 3.1: whose it is, the certificate tells."""
    who = rfc.identity(INITIATOR if own else RESPONDER)
    init = Message.parse(alice.signed(rfc.RSA_R_I, [rfc.t, rfc.rand, alice.cert, who]))
    answer = Message.parse(bob.signed(rfc.RSA_R_R, [rfc.t, bob.cert], behind=BEHIND))
    assert inspect_message(answer, KeyRing(), init).signature == VERIFIED


def test_a_signature_with_another_hash(alice: Party) -> None:
    """Interpretation 35: SHA-1 goes with MIKEY-1; the note tells what it is."""
    raw = alice.signed(rfc.RSA_R_I, [rfc.t, rfc.rand, alice.cert, *ids], digest="sha256")
    found = inspect_message(Message.parse(raw), KeyRing())
    assert found.signature == FAILED
    assert found.notes == ["it is signed with sha256, sha1 goes with MIKEY-1 (RFC 6043 12.1)"]


@pytest.mark.parametrize(
    "data",
    [pytest.param(s.data, id=s.name) for s in SAMPLES if s.name.startswith("other software")],
)
def test_messages_of_other_software_have_nothing_to_check(data: bytes) -> None:
    """Cameras send keys in the clear, with neither MAC nor encryption."""
    found = inspect_message(Message.parse(data), KeyRing(psks=[(None, SHARED)]))
    assert found.mac is None
    assert not found.failed
    assert seal_message(Message.parse(data), KeyRing(psks=[(None, SHARED)])).message.raw == data
