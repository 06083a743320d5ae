"""MIKEY-TICKET written a second time, straight from the RFCs, to test the tool against.

It shares no code with mikeytool: octets are packed by `struct`, MACs made by `hmac`; AES comes
from `cryptography`. It is made for well-formed messages between friends; checks that the
roles of mikeytool are asked for do not stand here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import time
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

# Payload numbers (RFC 3830 table 6.1.b, RFC 6043 table 6.2).
KEMAC, T, V, SP, RAND, ERR, TR, IDR, RANDR, TP, TICKET = 1, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17
KEY_DATA, GENERAL_EXT = 20, 21
# Data types (RFC 6043 table 6.1).
REQUEST_INIT, REQUEST_RESP, TRANSFER_INIT, TRANSFER_RESP = 11, 13, 14, 15
RESOLVE_INIT, RESOLVE_RESP = 16, 18
# Roles of identities and RANDs (tables 6.11 and 6.13).
I_ROLE, R_ROLE, KMS_ROLE, PSK_ROLE = 1, 2, 3, 4
# Key types (RFC 3830 table 6.13.a, RFC 6043 table 6.7).
TGK, TGK_SALT, TEK, TEK_SALT, GTGK, GTGK_SALT, MPK = range(7)
MAC_SIZE = {0: 0, 1: 20, 2: 32}
TS_SIZE = {0: 8, 1: 8, 2: 4, 3: 4}
NTP_EPOCH = 2_208_988_800

Chain = list[tuple[int, bytes]]
"""Payloads as number and content, the content without its next payload octet."""


class Suite(NamedTuple):
    """What goes with a PRF func: its hash, and the numbers of cipher and MAC (12.1)."""

    prf: int
    hash: str
    encr_alg: int
    mac_alg: int
    key: int


SUITES = {0: Suite(0, "sha1", 1, 1, 16), 1: Suite(1, "sha256", 3, 2, 32)}


class Key(NamedTuple):
    """A key data sub-payload."""

    type: int
    key: bytes
    salt: bytes | None
    spi: bytes
    kv: int = 1
    """Key validity: none, the SPI, or an interval (RFC 3830 6.14)."""


def prf(suite: Suite, inkey: bytes, label: bytes, length: int) -> bytes:
    """RFC 3830 4.1.2, RFC 6043 6.1 for SHA-256."""
    size = hashlib.new(suite.hash).digest_size
    rounds = -(-length // size)
    out = bytes(rounds * size)
    for start in range(0, len(inkey), 32):
        block = inkey[start : start + 32]
        a, stream = label, b""
        for _ in range(rounds):
            a = hmac.digest(block, a, suite.hash)
            stream += hmac.digest(block, a + label, suite.hash)
        out = bytes(x ^ y for x, y in zip(out, stream, strict=True))
    return out[:length]


ENCR, AUTH, SALT = 0x150533E1, 0x2D22AC75, 0x29B88916
TEK_CONSTANT, TEK_SALT_CONSTANT = 0x2AD01C64, 0x39A2C14B
FORK_MPKR, FORK_TGK = 0x2B288856, 0x1512B54A
MPKI_CONSTANT, MPKR_CONSTANT = 0x220E99A2, 0x1F4D675B


class Protection(NamedTuple):
    """The keys that protect a message or a ticket."""

    encr: bytes
    auth: bytes
    salt: bytes


def rand8(rand: bytes) -> bytes:
    return struct.pack("!B", len(rand)) + rand


def protection(suite: Suite, inkey: bytes, tail: bytes) -> Protection:
    """`tail` is the label behind its constant."""

    def derive(constant: int, length: int) -> bytes:
        return prf(suite, inkey, struct.pack("!I", constant) + tail, length)

    return Protection(
        derive(ENCR, suite.key), derive(AUTH, MAC_SIZE[suite.mac_alg]), derive(SALT, 14)
    )


def message_protection(
    suite: Suite, inkey: bytes, csb_id: int, response: bool, rand_i: bytes, rand_r: bytes
) -> Protection:
    """5.1.2."""
    label = struct.pack("!BIB", 0xFF, csb_id, 2 if response else 1) + rand8(rand_i) + rand8(rand_r)
    return protection(suite, inkey, label)


def ticket_protection(suite: Suite, tpk: bytes, rand: bytes) -> Protection:
    """A.2.1."""
    return protection(suite, tpk, struct.pack("!BIB", 0xFF, 0xFFFFFFFF, 5) + rand8(rand))


def initiator_protection(suite: Suite, mpkr: bytes) -> Protection:
    """6.10, for Vr."""
    return protection(suite, mpkr, struct.pack("!BIB", 0xFF, 0xFFFFFFFF, 4))


def mpk_pair(suite: Suite, mpk: bytes, rand: bytes) -> tuple[bytes, bytes]:
    """A.2.2: MPKi and MPKr."""
    tail = struct.pack("!BIB", 0xFF, 0xFFFFFFFF, 6) + rand8(rand)
    mpki = prf(suite, mpk, struct.pack("!I", MPKI_CONSTANT) + tail, len(mpk))
    return mpki, prf(suite, mpk, struct.pack("!I", MPKR_CONSTANT) + tail, len(mpk))


def fork(suite: Suite, key: bytes, constant: int, identity: bytes, rand_kms: bytes) -> bytes:
    """5.1.1."""
    label = struct.pack("!IBIBH", constant, 0xFF, 0xFFFFFFFF, 0, len(identity)) + identity
    return prf(suite, key, label + rand8(rand_kms), len(key))


def media_key(
    suite: Suite, key: Key, cs_id: int, rand_i: bytes, rand_r: bytes, lengths: tuple[int, int]
) -> tuple[bytes, bytes]:
    """5.1.3: TEK and salt from a TGK, or the TEK that was sent."""
    if key.type in (TEK, TEK_SALT):
        return key.key, key.salt or bytes(lengths[1])
    tail = struct.pack("!BIB", cs_id, 0xFFFFFFFF, 3) + rand8(rand_i) + rand8(rand_r)
    tek = prf(suite, key.key, struct.pack("!I", TEK_CONSTANT) + tail, lengths[0])
    salt = key.salt
    if salt is None:
        salt = prf(suite, key.key, struct.pack("!I", TEK_SALT_CONSTANT) + tail, lengths[1])
    return tek, salt


def crypt(keys: Protection, csb_id: int, ts: bytes, data: bytes) -> bytes:
    """AES-CM, RFC 3830 4.2.3; the same both ways."""
    mask = bytes(2) + struct.pack("!I", csb_id) + ts
    iv = bytes(x ^ y for x, y in zip(keys.salt, mask, strict=True)) + bytes(2)
    return Cipher(AES(keys.encr), CTR(iv)).encryptor().update(data)


def chain(payloads: Chain) -> bytes:
    """Payloads in a row, each naming the next."""
    numbers = [number for number, _ in payloads[1:]] + [0]
    return b"".join(
        bytes([after]) + content for after, (_, content) in zip(numbers, payloads, strict=True)
    )


def leading(payloads: Chain) -> bytes:
    return bytes([payloads[0][0]]) + chain(payloads)


def u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2])


def content_size(number: int, data: bytes) -> int:
    """How long the content of a payload is that starts `data`."""
    if number == KEMAC:
        size = 3 + u16(data, 1)
        return size + 1 + MAC_SIZE[data[size]]
    if number == KEY_DATA:
        size = 3 + u16(data, 1)
        if data[0] >> 4 in (TGK_SALT, TEK_SALT, GTGK_SALT):
            size += 2 + u16(data, size)
        for _ in range(data[0] & 15):  # the SPI, or the two ends of an interval
            size += 1 + data[size]
        return size
    if number in (TP, TICKET):
        size = 7
        for _ in range(1 if number == TP else 3):
            size += 2 + u16(data, size)
        return size
    if number == GENERAL_EXT:
        return 3 + u16(data, 1)
    if number in (SP, IDR):
        return 4 + u16(data, 2)
    if number in (T, TR, V):
        sizes = MAC_SIZE if number == V else TS_SIZE
        at = 1 if number == TR else 0
        return at + 1 + sizes[data[at]]
    return {RAND: 1 + data[0], ERR: 3, RANDR: 2 + data[1]}[number]


def unchain(first: int, data: bytes) -> Chain:
    found: Chain = []
    number, at = first, 0
    while number:
        after, at = data[at], at + 1
        size = content_size(number, data[at:])
        found.append((number, data[at : at + size]))
        number, at = after, at + size
    assert at == len(data), "octets behind the last payload"
    return found


class CryptoSession(NamedTuple):
    """One block of a GENERIC-ID map (6.1.1), of Prot type SRTP."""

    cs_id: int
    policies: bytes
    session_data: bytes
    spi: bytes
    s: int = 0

    def pack(self) -> bytes:
        return (
            struct.pack("!BBB", self.cs_id, 0, self.s << 7 | len(self.policies))
            + self.policies
            + struct.pack("!H", len(self.session_data))
            + self.session_data
            + struct.pack("!B", len(self.spi))
            + self.spi
        )


class Header(NamedTuple):
    data_type: int
    first: int
    prf: int
    csb_id: int
    sessions: list[CryptoSession]


def ts64(t: bytes) -> bytes:
    """The 64 bits of a T: NTP-UTC-32 grows on the right (6.3), a COUNTER on the left."""
    return t[1:].rjust(8, b"\0") if t[0] == 2 else t[1:].ljust(8, b"\0")


class Parsed(NamedTuple):
    """A message that was read."""

    header: Header
    payloads: Chain
    raw: bytes

    def get(self, number: int) -> bytes:
        return next(content for kind, content in self.payloads if kind == number)

    def rand(self, role: int) -> bytes:
        return next((c[2:] for kind, c in self.payloads if kind == RANDR and c[0] == role), b"")

    def identity(self, role: int) -> bytes:
        return next((c[4:] for kind, c in self.payloads if kind == IDR and c[0] == role), b"")

    @property
    def suite(self) -> Suite:
        return SUITES[self.header.prf]

    @property
    def ts(self) -> bytes:
        return ts64(self.get(T))


def read(raw: bytes) -> Parsed:
    _version, kind, first, v_prf, csb_id, count, map_type = struct.unpack_from("!BBBBIBB", raw)
    at, sessions = 10, []
    for _ in range(count if map_type == 2 else 0):
        cs_id, _protocol, policies = struct.unpack_from("!BBB", raw, at)
        at += 3
        numbers, at = raw[at : at + (policies & 127)], at + (policies & 127)
        (size,) = struct.unpack_from("!H", raw, at)
        data, at = raw[at + 2 : at + 2 + size], at + 2 + size
        spi, at = raw[at + 1 : at + 1 + raw[at]], at + 1 + raw[at]
        sessions.append(CryptoSession(cs_id, numbers, data, spi, policies >> 7))
    return Parsed(Header(kind, first, v_prf & 127, csb_id, sessions), unchain(first, raw[at:]), raw)


def header(
    kind: int,
    payloads: Chain,
    suite: Suite,
    csb_id: int,
    v: int,
    sessions: list[CryptoSession] | None,
) -> bytes:
    """HDR with an Empty map, or a GENERIC-ID map when there are `sessions`."""
    first = payloads[0][0]
    map_type = 1 if sessions is None else 2
    count = len(sessions or [])
    fixed = struct.pack("!BBBBIBB", 1, kind, first, v << 7 | suite.prf, csb_id, count, map_type)
    return fixed + b"".join(one.pack() for one in sessions or [])


def idr(role: int, identity: bytes, kind: int = 1) -> tuple[int, bytes]:
    return IDR, struct.pack("!BBH", role, kind, len(identity)) + identity


def randr(role: int, rand: bytes) -> tuple[int, bytes]:
    return RANDR, struct.pack("!B", role) + rand8(rand)


def sdp_ids(text: bytes) -> tuple[int, bytes]:
    """The list of key management protocols (RFC 3830 6.15, RFC 4567 4.1.4)."""
    return GENERAL_EXT, struct.pack("!BH", 1, len(text)) + text


def now() -> bytes:
    """An NTP-UTC timestamp (RFC 3830 6.6)."""
    moment = time.time_ns()
    seconds, fraction = divmod(moment, 1_000_000_000)
    return struct.pack("!II", (seconds + NTP_EPOCH) & 0xFFFFFFFF, (fraction << 32) // 1_000_000_000)


def t_payload(ts: bytes) -> tuple[int, bytes]:
    return T, b"\0" + ts


def key_chain(keys: list[Key]) -> bytes:
    """What a KEMAC encrypts."""
    contents = []
    for key in keys:
        content = struct.pack("!BH", key.type << 4 | key.kv, len(key.key)) + key.key
        if key.type in (TGK_SALT, TEK_SALT, GTGK_SALT):
            assert key.salt is not None
            content += struct.pack("!H", len(key.salt)) + key.salt
        validity = (b"", struct.pack("!B", len(key.spi)) + key.spi, b"\4abcd\4efgh")[key.kv]
        contents.append((KEY_DATA, content + validity))
    return chain(contents)


def read_keys(data: bytes) -> list[Key]:
    keys = []
    for _, content in unchain(KEY_DATA, data) if data else []:
        kind, kv, (size,) = content[0] >> 4, content[0] & 15, struct.unpack_from("!H", content, 1)
        key, rest, salt = content[3 : 3 + size], content[3 + size :], None
        if kind in (TGK_SALT, TEK_SALT, GTGK_SALT):
            (size,) = struct.unpack_from("!H", rest)
            salt, rest = rest[2 : 2 + size], rest[2 + size :]
        keys.append(Key(kind, key, salt, rest[1 : 1 + rest[0]] if kv == 1 else b""))
    return keys


def kemac(
    suite: Suite, keys: Protection, csb_id: int, ts: bytes, inside: list[Key]
) -> tuple[int, bytes]:
    """A KEMAC with the NULL MAC."""
    data = crypt(keys, csb_id, ts, key_chain(inside))
    return KEMAC, struct.pack("!BH", suite.encr_alg, len(data)) + data + b"\0"


def open_kemac(content: bytes, keys: Protection, csb_id: int, ts: bytes) -> list[Key]:
    (size,) = struct.unpack_from("!H", content, 1)
    return read_keys(crypt(keys, csb_id, ts, content[3 : 3 + size]))


def sign(
    suite: Suite, auth: bytes, message: bytes, behind: bytes = b"", covered: bytes = b""
) -> bytes:
    """`message` with its MAC, which covers `covered` (`message` unless given) and `behind`."""
    return message + hmac.digest(auth, (covered or message) + behind, suite.hash)


def check(suite: Suite, auth: bytes, raw: bytes, behind: bytes = b"", covered: bytes = b"") -> None:
    size = MAC_SIZE[suite.mac_alg]
    made = hmac.digest(auth, (covered or raw[:-size]) + behind, suite.hash)
    assert hmac.compare_digest(made, raw[-size:]), "the MAC does not verify"


def fresh(length: int) -> bytes:
    return os.urandom(length)
