"""Encryption of key data against AES of OpenSSL, with an IV put together here."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mikeytool.crypto.derive import MessageKeys, message_keys, ticket_keys
from mikeytool.crypto.kemac import TICKET_CSB_ID, open_kemac, seal_kemac
from mikeytool.wire.errors import Refused, UsageError, WireError
from mikeytool.wire.message import Message, build_chain, ticket_data
from mikeytool.wire.payloads import KEMAC, RAND, TICKET, KeyData, T
from mikeytool.wire.registry import EncrAlg
from mikeytool.wire.timestamp import Timestamp
from tests.crypto import openssl
from tests.peers.programs import need, run
from tests.support import vectors

CSB_ID = 0xFEDCBA98
INKEY = bytes(range(100, 116))
KEYS = message_keys(0, INKEY, CSB_ID, response=False)
LABEL = b"\xff" + CSB_ID.to_bytes(4) + b"\x01\0\0"
NTP = Timestamp(0, bytes.fromhex("edc34f481f258eee"))

each = pytest.mark.parametrize(
    ("encr_alg", "key_length"),
    [(EncrAlg.AES_CM_128, 16), (EncrAlg.AES_CM_256, 32)],
    ids=["AES-CM-128", "AES-CM-256"],
)


def clear(key_count: int) -> list[KeyData]:
    draw = random.Random(key_count)
    return [
        KeyData(
            next_payload=20 if left else 0,
            type=3,
            kv=1,
            key_data_len=16,
            key=draw.randbytes(16),
            salt_len=14,
            salt=draw.randbytes(14),
            spi_length=4,
            spi=draw.randbytes(4),
        )
        for left in reversed(range(key_count))
    ]


def by_openssl(key_length: int, t64: str, csb_id: int, data: bytes) -> bytes:
    """RFC 3830 4.2.3: IV = (S xor (0x0000 || CSB ID || T)) || 0x0000."""
    key = openssl.prf(0, INKEY, openssl.ENCR + LABEL, key_length)
    salt = openssl.prf(0, INKEY, openssl.SALT + LABEL, 14)
    whitening = bytes.fromhex(f"0000{csb_id:08x}{t64}")
    iv = bytes(a ^ b for a, b in zip(salt, whitening, strict=True)) + bytes(2)
    return openssl.aes_ctr(key, iv, data)


@each
@pytest.mark.parametrize("key_count", [1, 2, 40])
def test_openssl_encrypts_the_same(encr_alg: EncrAlg, key_length: int, key_count: int) -> None:
    keys = clear(key_count)
    sealed = seal_kemac(encr_alg, keys, KEYS, CSB_ID, NTP)
    octets = build_chain(keys)
    assert sealed.encr_data == by_openssl(key_length, NTP.value.hex(), CSB_ID, octets)
    assert (sealed.encr_alg, sealed.mac_alg, sealed.mac) == (encr_alg, 0, b"")


@each
def test_what_openssl_encrypted_is_opened(encr_alg: EncrAlg, key_length: int) -> None:
    keys = clear(3)
    data = by_openssl(key_length, NTP.value.hex(), CSB_ID, build_chain(keys))
    kemac = KEMAC(encr_alg=encr_alg.value, encr_data=data)
    assert open_kemac(kemac, KEYS, CSB_ID, NTP) == keys


@pytest.mark.parametrize(
    ("t", "t64"),
    [
        (Timestamp(1, bytes.fromhex("edc34f481f258eee")), "edc34f481f258eee"),
        (Timestamp(2, bytes.fromhex("01020304")), "0000000001020304"),
        (Timestamp(3, bytes.fromhex("edc34f48")), "edc34f4800000000"),
    ],
    ids=["NTP", "COUNTER", "NTP-UTC-32"],
)
@pytest.mark.parametrize("csb_id", [0, CSB_ID, 0xFFFFFFFF])
def test_every_timestamp_makes_an_iv(t: Timestamp, t64: str, csb_id: int) -> None:
    keys = clear(1)
    sealed = seal_kemac(EncrAlg.AES_CM_128, keys, KEYS, csb_id, t)
    assert sealed.encr_data == by_openssl(16, t64, csb_id, build_chain(keys))


@each
def test_no_keys_are_no_octets(encr_alg: EncrAlg, key_length: int) -> None:
    sealed = seal_kemac(encr_alg, [], KEYS, CSB_ID, NTP)
    assert sealed.copy(next_payload=9).build() == bytes([9, encr_alg, 0, 0, 0])
    assert open_kemac(sealed, KEYS, CSB_ID, NTP) == []


@pytest.mark.parametrize("encr_alg", [EncrAlg.NULL, 4, 255])
def test_other_algorithms_are_refused(encr_alg: int) -> None:
    kemac = KEMAC(encr_alg=int(encr_alg), encr_data=build_chain(clear(1)))
    with pytest.raises(Refused) as caught:
        open_kemac(kemac, KEYS, CSB_ID, NTP)
    assert caught.value.error_no == 4  # Invalid EA
    with pytest.raises(Refused) as caught:
        seal_kemac(encr_alg, clear(1), KEYS, CSB_ID, NTP)
    assert caught.value.error_no == 4


@pytest.mark.parametrize(("mac_alg", "length"), [(1, 20), (2, 32), (99, 0)])
def test_a_mac_of_its_own_is_refused(mac_alg: int, length: int) -> None:
    """RFC 6043 leaves authentication to the V payload."""
    sealed = seal_kemac(EncrAlg.AES_CM_128, clear(1), KEYS, CSB_ID, NTP)
    with pytest.raises(Refused) as caught:
        open_kemac(sealed.copy(mac_alg=mac_alg, mac=bytes(length)), KEYS, CSB_ID, NTP)
    assert caught.value.error_no == 3  # Invalid MAC


def wrong(keys: MessageKeys = KEYS, csb_id: int = CSB_ID, t: Timestamp = NTP) -> Any:
    return (keys, csb_id, t)


@pytest.mark.parametrize(
    "context",
    [
        wrong(keys=message_keys(0, INKEY, CSB_ID, response=True)),
        wrong(csb_id=CSB_ID ^ 1),
        wrong(t=Timestamp(0, bytes.fromhex("edc34f481f258eef"))),
    ],
    ids=["keys", "CSB-ID", "T"],
)
def test_another_context_gives_no_keys(context: Any) -> None:
    sealed = seal_kemac(EncrAlg.AES_CM_128, clear(1), KEYS, CSB_ID, NTP)
    with pytest.raises(WireError, match="key data in it cannot be read") as caught:
        open_kemac(sealed, *context)
    assert caught.value.payload == "KEMAC"
    assert clear(1)[0].key.hex() not in str(caught.value)


@pytest.mark.parametrize("case", vectors("exchanges"), ids=lambda case: case["name"])
def test_the_ticket_of_a_known_run(case: dict[str, Any]) -> None:
    """RFC 6043 A.1: encrypted under the TPK, with 0xFFFFFFFF for a CSB ID; the MPK is first."""
    ticket = Message.parse(bytes.fromhex(case["REQUEST_RESP"])).find(TICKET)
    assert ticket is not None
    held = {type(payload): payload for payload in ticket_data(ticket.ticket_data)}
    rand, t, kemac = held[RAND], held[T], held[KEMAC]
    assert isinstance(rand, RAND)
    assert isinstance(t, T)
    assert isinstance(kemac, KEMAC)
    keys = ticket_keys(case["prf"], bytes.fromhex(case["tpk"]), rand.rand)
    assert TICKET_CSB_ID == 0xFFFFFFFF
    first, *others = open_kemac(kemac, keys, TICKET_CSB_ID, Timestamp.of(t))
    assert (first.type, first.key.hex()) == (6, case["mpk"])
    assert [key.key.hex() for key in others] == [key["key"] for key in case["ticket_keys"]]


def test_openssl_wraps_the_same() -> None:
    """RFC 3830 4.2.3: AES key wrap with a 128-bit key, and the 64-bit salt for its IV."""
    keys = [clear(1)[0].copy(spi=b"", spi_length=0, salt=bytes(9), salt_len=9)]  # 32 octets
    octets = build_chain(keys)
    key = openssl.prf(0, INKEY, openssl.ENCR + LABEL, 16).hex()
    iv = openssl.prf(0, INKEY, openssl.SALT + LABEL, 8).hex()
    made = run([need("openssl"), "enc", "-id-aes128-wrap", "-K", key, "-iv", iv], octets)
    sealed = seal_kemac(EncrAlg.AES_KW_128, keys, KEYS, CSB_ID, NTP)
    assert sealed.encr_data == made
    assert open_kemac(sealed, KEYS, CSB_ID, NTP) == keys
    with pytest.raises(Refused, match="does not verify"):
        open_kemac(sealed, message_keys(0, INKEY, CSB_ID, response=True), CSB_ID, NTP)


def test_key_data_that_cannot_be_wrapped() -> None:
    """Interpretation 3: only a multiple of 8 octets; and nothing wraps nothing."""
    with pytest.raises(UsageError, match="multiples of 8; this has 41"):
        seal_kemac(EncrAlg.AES_KW_128, clear(1), KEYS, CSB_ID, NTP)
    empty = seal_kemac(EncrAlg.AES_KW_128, [], KEYS, CSB_ID, NTP)
    assert empty.encr_data == b""
    assert open_kemac(empty, KEYS, CSB_ID, NTP) == []
