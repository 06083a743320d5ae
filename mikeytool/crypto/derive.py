"""Key derivation for MIKEY-TICKET (RFC 6043 5.1, 6.10, A.2) and for RFC 3830 messages (4.1.4). Both
use the same constants.

Lengths are in octets. The RFCs define the parts of each label: a constant, the CS ID, the CSB ID,
and data that binds the key to its use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mikeytool.crypto.prf import prf
from mikeytool.wire.errors import Refused
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.registry import EncrAlg, ErrorNo, MacAlg, labels, lengths

# RFC 3830 4.1.4: keys that protect messages
_ENCR = bytes.fromhex("150533e1")
_AUTH = bytes.fromhex("2d22ac75")
_SALT = bytes.fromhex("29b88916")
# RFC 3830 4.1.3: keys for crypto sessions
_CS_TEK = bytes.fromhex("2ad01c64")
_CS_AUTH = bytes.fromhex("1b5c7973")
_CS_ENCR = bytes.fromhex("15798cef")
_CS_SALT = bytes.fromhex("39a2c14b")
# RFC 6043 tables 5.1 and A.1
_MPKR_FORKED = bytes.fromhex("2b288856")
_TGK_FORKED = bytes.fromhex("1512b54a")
_MPKI = bytes.fromhex("220e99a2")
_MPKR = bytes.fromhex("1f4d675b")

_NO_CS = b"\xff"
_NO_CSB = b"\xff\xff\xff\xff"

_SALT_LENGTH = {
    EncrAlg.AES_CM_128.value: 14,
    EncrAlg.AES_KW_128.value: 8,
    EncrAlg.AES_CM_256.value: 14,
}


@masked_repr
@dataclass(frozen=True, slots=True)
class MessageKeys:
    """The keys that protect one message or ticket, each derived on demand."""

    prf: int
    inkey: bytes = field(repr=False)
    label: bytes

    def encr_key(self, encr_alg: int) -> bytes:
        """Derive the encryption key with the length that the algorithm needs (interpretation 3)."""
        length = lengths(EncrAlg)[encr_alg]
        return prf(self.prf, self.inkey, _ENCR + self.label, length)

    def auth_key(self, mac_alg: int) -> bytes:
        """Derive the authentication key, which is as long as the MAC.

        Raises Refused (Invalid MAC) for NULL and unknown algorithms.
        """
        length = lengths(MacAlg).get(mac_alg, 0)
        if not length:
            name = labels(MacAlg).get(mac_alg, mac_alg)
            raise Refused(f"MAC algorithm {name} is not accepted", ErrorNo.INVALID_MAC)
        return prf(self.prf, self.inkey, _AUTH + self.label, length)

    def salt_key(self, encr_alg: int) -> bytes:
        """Derive the salting key with the length that the algorithm needs (interpretation 3)."""
        return prf(self.prf, self.inkey, _SALT + self.label, _SALT_LENGTH[encr_alg])


def message_keys_3830(func: int, inkey: bytes, csb_id: int, rand: bytes) -> MessageKeys:
    """Derive the keys of an RFC 3830 message from a pre-shared or envelope key (4.1.4).

    `rand` is the RAND of the initial exchange. Responses and updates use it too.
    """
    return MessageKeys(func, inkey, _NO_CS + csb_id.to_bytes(4) + rand)


def message_keys(
    func: int,
    inkey: bytes,
    csb_id: int,
    *,
    response: bool,
    randr_i: bytes = b"",
    randr_r: bytes = b"",
) -> MessageKeys:
    """Derive the keys of a message from a pre-shared key, envelope key or MPK (RFC 6043 5.1.2)."""
    step = b"\x02" if response else b"\x01"
    label = _NO_CS + csb_id.to_bytes(4) + step + _rands(randr_i, randr_r)
    return MessageKeys(func, inkey, label)


def ticket_keys(func: int, tpk: bytes, rand: bytes) -> MessageKeys:
    """Derive the keys that protect a MIKEY base ticket from its TPK (RFC 6043 A.2.1)."""
    return MessageKeys(func, tpk, _NO_CS + _NO_CSB + b"\x05" + _with_length(rand))


def initiator_data_keys(func: int, mpkr: bytes) -> MessageKeys:
    """Derive the keys from the original MPKr; their auth_key computes Vr (RFC 6043 6.10)."""
    return MessageKeys(func, mpkr, _NO_CS + _NO_CSB + b"\x04")


def split_mpk(func: int, mpk: bytes, rand: bytes) -> tuple[bytes, bytes]:
    """Derive MPKi and MPKr, each as long as the MPK of a base ticket (RFC 6043 A.2.2)."""
    label = _NO_CS + _NO_CSB + b"\x06" + _with_length(rand)
    return prf(func, mpk, _MPKI + label, len(mpk)), prf(func, mpk, _MPKR + label, len(mpk))


def fork_mpkr(func: int, mpkr: bytes, id_data: bytes, randr_kms: bytes) -> bytes:
    """Fork MPKr for the responder with this ID Data; the result is MPKr' (RFC 6043 5.1.1)."""
    return prf(func, mpkr, _MPKR_FORKED + _modifier(id_data, randr_kms), len(mpkr))


def fork_tgk(func: int, tgk: bytes, id_data: bytes, randr_kms: bytes) -> bytes:
    """Fork a TGK for the responder with this ID Data; the result is TGK' (RFC 6043 5.1.1)."""
    return prf(func, tgk, _TGK_FORKED + _modifier(id_data, randr_kms), len(tgk))


@masked_repr
@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The keys of one crypto session, derived from a TGK or GTGK (RFC 6043 5.1.3)."""

    prf: int
    tgk: bytes = field(repr=False)
    label: bytes

    def tek(self, length: int) -> bytes:
        """Derive the traffic encryption key; for SRTP this is the master key."""
        return prf(self.prf, self.tgk, _CS_TEK + self.label, length)

    def salt(self, length: int) -> bytes:
        """Derive the salting key; for SRTP, the master salt. A salt of the TGK replaces it."""
        return prf(self.prf, self.tgk, _CS_SALT + self.label, length)

    def encr_key(self, length: int) -> bytes:
        """Derive an encryption key for a protocol that does not derive its own."""
        return prf(self.prf, self.tgk, _CS_ENCR + self.label, length)

    def auth_key(self, length: int) -> bytes:
        """Derive an authentication key for a protocol that does not derive its own."""
        return prf(self.prf, self.tgk, _CS_AUTH + self.label, length)


def session_keys(
    func: int, tgk: bytes, cs_id: int, *, randr_i: bytes = b"", randr_r: bytes = b""
) -> SessionKeys:
    """Derive the keys of a crypto session from a TGK, TGK' or GTGK (RFC 6043 5.1.3).

    The H and G flags of the Ticket Policy determine which RANDs are used.
    """
    label = bytes([cs_id]) + _NO_CSB + b"\x03" + _rands(randr_i, randr_r)
    return SessionKeys(func, tgk, label)


def _rands(randr_i: bytes, randr_r: bytes) -> bytes:
    return _with_length(randr_i) + _with_length(randr_r)


def _with_length(rand: bytes) -> bytes:
    return bytes([len(rand)]) + rand


def _modifier(id_data: bytes, randr_kms: bytes) -> bytes:
    identity = len(id_data).to_bytes(2) + id_data
    return _NO_CS + _NO_CSB + b"\x00" + identity + _with_length(randr_kms)
