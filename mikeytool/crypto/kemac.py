"""Encryption of the key data in a KEMAC (RFC 3830 4.2.3, RFC 6043 6.2)."""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.crypto.derive import MessageKeys
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.message import build_chain, key_data
from mikeytool.wire.payloads import KEMAC, KeyData
from mikeytool.wire.registry import EncrAlg, ErrorNo, MacAlg, label
from mikeytool.wire.timestamp import Timestamp

TICKET_CSB_ID = 0xFFFFFFFF
"""The IV of a ticket contains this value instead of the CSB ID (RFC 6043 A.1)."""


def seal_kemac(
    encr_alg: int, sub_payloads: Sequence[KeyData], keys: MessageKeys, csb_id: int, t: Timestamp
) -> KEMAC:
    """Encrypt key data sub-payloads into a KEMAC with a NULL MAC (RFC 6043 6.2).

    `t` is the T of the same message or Ticket Data (interpretation 1). Raises Refused (Invalid EA)
    if the algorithm cannot be used.
    """
    encr_data = encrypt(encr_alg, build_chain(sub_payloads), keys, csb_id, t)
    return KEMAC(encr_alg=int(encr_alg), encr_data=encr_data, mac_alg=int(MacAlg.NULL))


def open_kemac(kemac: KEMAC, keys: MessageKeys, csb_id: int, t: Timestamp) -> list[KeyData]:
    """Decrypt the key data in a KEMAC. The message or ticket must be verified already.

    Raises Refused if the algorithm cannot be used, WireError if the result is not key data.
    """
    if kemac.mac_alg != MacAlg.NULL:
        raise Refused("a KEMAC of MIKEY-TICKET has a NULL MAC of its own", ErrorNo.INVALID_MAC)
    clear = decrypt(kemac.encr_alg, kemac.encr_data, keys, csb_id, t)
    try:
        return key_data(clear)
    except WireError as error:
        raise WireError(
            f"the key data in it cannot be read: {error.text}",
            payload="KEMAC",
            offset=kemac.offset,
        ) from None


def encrypt(encr_alg: int, clear: bytes, keys: MessageKeys, csb_id: int, t: Timestamp) -> bytes:
    """Encrypt key data sub-payloads into Encr data (RFC 3830 4.2.3). Empty input stays empty.

    Raises Refused (Invalid EA) for NULL and unknown algorithms, UsageError for a length that AES-KW
    does not accept (interpretation 3).
    """
    if encr_alg == EncrAlg.AES_KW_128:
        from mikeytool.crypto.keywrap import wrap

        return wrap(keys.encr_key(encr_alg), keys.salt_key(encr_alg), clear) if clear else b""
    return _counter_mode(encr_alg, clear, keys, csb_id, t)


def decrypt(encr_alg: int, data: bytes, keys: MessageKeys, csb_id: int, t: Timestamp) -> bytes:
    """Decrypt the key data sub-payloads in Encr data. Its MAC must be verified already.

    AES-KW checks its own integrity (RFC 3830 4.2.3). Raises Refused if that check fails, and
    Refused (Invalid EA) for NULL and unknown algorithms.
    """
    if encr_alg == EncrAlg.AES_KW_128:
        from mikeytool.crypto.keywrap import unwrap

        return unwrap(keys.encr_key(encr_alg), keys.salt_key(encr_alg), data) if data else b""
    return _counter_mode(encr_alg, data, keys, csb_id, t)


def _counter_mode(
    encr_alg: int, data: bytes, keys: MessageKeys, csb_id: int, t: Timestamp
) -> bytes:
    """Encrypt or decrypt with AES in counter mode; both are the same operation (RFC 3830 4.2.3)."""
    if encr_alg not in (EncrAlg.AES_CM_128, EncrAlg.AES_CM_256):
        name = label(EncrAlg, encr_alg)
        raise Refused(f"encryption algorithm {name} is not accepted here", ErrorNo.INVALID_EA)
    if not data:
        return b""
    # Imported here because most calls only read messages and do not need it.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    whitening = b"\0\0" + csb_id.to_bytes(4) + t.ntp64
    salt = int.from_bytes(keys.salt_key(encr_alg)) ^ int.from_bytes(whitening)
    iv = modes.CTR(salt.to_bytes(14) + b"\0\0")
    context = Cipher(algorithms.AES(keys.encr_key(encr_alg)), iv).encryptor()
    return context.update(data) + context.finalize()
