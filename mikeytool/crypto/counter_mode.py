"""AES in counter mode (RFC 3830 4.2.3)."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def counter_mode(key: bytes, iv: bytes, data: bytes) -> bytes:
    """`data` encrypted or decrypted, which is the same; `iv`, of 16 octets, is the first block."""
    context = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return context.update(data) + context.finalize()
