"""Messages of RFC 3830, 4650 and 4738 made a second time, from their text, to test against.

It shares no code with mikeytool: octets are packed by `struct`, keys and MACs made by `hmac`,
AES and RSA left to the openssl program.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.peers.programs import need, run

# Payload numbers (RFC 3830 table 6.1.b).
KEMAC, PKE, DH, SIGN, T, ID, CERT, CHASH, V, SP, RAND, ERR = range(1, 13)
KEY_DATA, GENERAL_EXT = 20, 21
# Data types (RFC 3830 table 6.1.a, RFC 4650 4.1, RFC 4738 3.9.1).
PSK, PSK_VER, PK, PK_VER, DH_INIT, DH_RESP, ERROR = range(7)
DHHMAC_INIT, DHHMAC_RESP, RSA_R_I, RSA_R_R = range(7, 11)
# Encr algs of KEMAC (RFC 3830 table 6.2.a).
AES_CM, AES_KW = 1, 2

CSB_ID = 0x5A17E3C4
STAMP = bytes.fromhex("edc34f481f258eee")
NONCE = bytes(range(0x30, 0x40))
INITIATOR, RESPONDER = b"sip:alice@example.com", b"sip:bob@example.com"

Payload = tuple[int, bytes]
"""A payload's number, and its octets without the next payload number."""


def chained(payloads: list[Payload]) -> bytes:
    """Payloads in a row, each with the number of the next one; SIGN has none."""
    out = b""
    for at, (number, octets) in enumerate(payloads):
        following = payloads[at + 1][0] if at + 1 < len(payloads) else 0
        out += octets if number == SIGN else bytes([following]) + octets
    return out


def new_csb_id(csb_id: int) -> Payload:
    """General Extension of type CSB_ID (RFC 4738 3.9.3)."""
    return GENERAL_EXT, struct.pack(">BHI", 4, 4, csb_id)


def message(data_type: int, payloads: list[Payload], *, v: int = 1) -> bytes:
    """HDR with one SRTP crypto session, and payloads (RFC 3830 6.1)."""
    header = struct.pack(">BBBBIBB", 1, data_type, payloads[0][0], v << 7, CSB_ID, 1, 0)
    return header + struct.pack(">BII", 0, 0xDEADBEEF, 0) + chained(payloads)


t: Payload = (T, b"\0" + STAMP)
rand: Payload = (RAND, bytes([len(NONCE)]) + NONCE)
policy: Payload = (SP, b"\0\0\0\3\0\1\1")


def identity(data: bytes) -> Payload:
    """ID of the type URI (6.7)."""
    return ID, b"\1" + struct.pack(">H", len(data)) + data


def dh(value: int) -> Payload:
    """A DH value of OAKLEY 5 with a NULL KV (6.4)."""
    return DH, b"\0" + bytes([value]) * 192 + b"\0"


def tgk(key: bytes, spi: bytes = b"") -> Payload:
    """Key data of the type TGK (6.13), with an SPI when there is one."""
    octets = bytes([int(bool(spi))]) + struct.pack(">H", len(key)) + key
    return KEY_DATA, octets + (bytes([len(spi)]) + spi if spi else b"")


@dataclass(frozen=True)
class Keys:
    """Keys of messages from a pre-shared or envelope key (4.1.4), with the PRF of 4.1.2."""

    inkey: bytes
    nonce: bytes = NONCE
    csb_id: int = CSB_ID

    def derive(self, constant: str, length: int) -> bytes:
        label = bytes.fromhex(constant) + b"\xff" + struct.pack(">I", self.csb_id) + self.nonce
        out = bytes(length)
        for at in range(0, len(self.inkey), 32):
            s, a, stream = self.inkey[at : at + 32], label, b""
            while len(stream) < length:
                a = hmac.digest(s, a, "sha1")
                stream += hmac.digest(s, a + label, "sha1")
            out = bytes(x ^ y for x, y in zip(out, stream, strict=False))
        return out

    def mac(self, covered: bytes) -> bytes:
        """HMAC-SHA-1-160 (4.2.4)."""
        return hmac.digest(self.derive("2d22ac75", 20), covered, "sha1")

    def encrypt(self, clear: bytes, alg: int = AES_CM) -> bytes:
        """Encr data (4.2.3)."""
        key = self.derive("150533e1", 16).hex()
        if alg == AES_KW:
            iv = self.derive("29b88916", 8).hex()
            return run([need("openssl"), "enc", "-id-aes128-wrap", "-K", key, "-iv", iv], clear)
        salt = int.from_bytes(self.derive("29b88916", 14))
        counter = salt ^ int.from_bytes(b"\0\0" + struct.pack(">I", self.csb_id) + STAMP)
        iv = (counter << 16).to_bytes(16).hex()
        return run([need("openssl"), "enc", "-aes-128-ctr", "-K", key, "-iv", iv], clear)

    def kemac(self, inside: list[Payload], alg: int = AES_CM, *, mac: bool = True) -> bytes:
        """KEMAC up to its MAC (6.2)."""
        data = self.encrypt(chained(inside), alg) if inside else b""
        return bytes([alg]) + struct.pack(">H", len(data)) + data + bytes([mac])

    def lone_kemac(self, inside: list[Payload], alg: int = AES_CM, *, mac: bool = True) -> Payload:
        """KEMAC of the public-key modes, whose MAC covers it with Next payload 0 (5.2)."""
        octets = self.kemac(inside, alg, mac=mac)
        return KEMAC, octets + (self.mac(b"\0" + octets) if mac else b"")

    def sealed(self, data_type: int, payloads: list[Payload], *, behind: bytes = b"") -> bytes:
        """A message whose last payload, V or KEMAC, lacks its MAC, with it (5.2)."""
        raw = message(data_type, payloads)
        return raw + self.mac(raw + behind)


@dataclass(frozen=True)
class Party:
    """Someone with an RSA key and a certificate for it, both made by the openssl program."""

    folder: Path
    who: bytes

    @cached_property
    def pem(self) -> Path:
        """The file of the private key."""
        path = self.folder / f"{self.who.decode().replace(':', '-')}.pem"
        run([need("openssl"), "genrsa", "-out", str(path), "2048"])
        return path

    @cached_property
    def certificate(self) -> bytes:
        """A self-signed certificate in DER, whose subjectAltName is the URI."""
        names = f"subjectAltName=URI:{self.who.decode()}"
        command = ["req", "-x509", "-key", str(self.pem), "-subj", "/CN=somebody", "-days", "9"]
        return run([need("openssl"), *command, "-addext", names, "-outform", "DER"])

    @property
    def cert(self) -> Payload:
        """CERT (6.7)."""
        return CERT, b"\0" + struct.pack(">H", len(self.certificate)) + self.certificate

    def signed(
        self,
        data_type: int,
        payloads: list[Payload],
        *,
        behind: bytes = b"",
        pss: bool = False,
        digest: str = "sha1",
    ) -> bytes:
        """A message with SIGN at its end (6.5), made with SHA-1 (4.2.1)."""
        raw = message(data_type, [*payloads, (SIGN, struct.pack(">H", pss << 12 | 256))])
        return raw + self.signature(raw + behind, pss=pss, digest=digest)

    def signature(self, covered: bytes, *, pss: bool = False, digest: str = "sha1") -> bytes:
        """PKCS#1 v1.5 or PSS (4.2.6), of 2048 bits."""
        option = "rsa_padding_mode:pss" if pss else "rsa_padding_mode:pkcs1"
        salt = ["-sigopt", "rsa_pss_saltlen:20"] if pss else []
        command = ["dgst", f"-{digest}", "-sign", str(self.pem), "-sigopt", option, *salt]
        return run([need("openssl"), *command], covered)

    def envelope(self, key: bytes, *, oaep: bool = False, cache: int = 0) -> Payload:
        """PKE with an envelope key for this party, and a cache type (6.3)."""
        mode = f"rsa_padding_mode:{'oaep' if oaep else 'pkcs1'}"
        command = ["pkeyutl", "-encrypt", "-inkey", str(self.pem), "-pkeyopt", mode]
        data = run([need("openssl"), *command], key)
        return PKE, struct.pack(">H", cache << 14 | len(data)) + data
