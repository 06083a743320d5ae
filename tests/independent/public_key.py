"""An initiator of the second implementation that signs (RFC 6043 4.2.1.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from tests.independent.rfc6043 import (
    I_ROLE,
    KMS_ROLE,
    Chain,
    Header,
    Parsed,
    chain,
    fresh,
    header,
    idr,
)
from tests.independent.roles import Initiator

CERT, PKE, SIGN = 7, 2, 4
REQUEST_INIT_PK = 12


@dataclass
class SigningInitiator(Initiator):
    """`psk` becomes the envelope key of the last request."""

    key: RSAPrivateKey | None = None
    certificate: bytes = b""
    kms_key: RSAPublicKey | None = None
    content: Chain = field(default_factory=list)

    def protect(self, kind: int, payloads: Chain, role: int, rand: bytes, csb_id: int) -> bytes:
        """REQUEST_INIT_PK without CHASH, signed with PKCS#1 v1.5."""
        assert self.key is not None
        assert self.kms_key is not None
        assert role == I_ROLE
        self.psk = fresh(self.suite.key)
        data = self.kms_key.encrypt(self.psk, PKCS1v15())
        cert = (CERT, b"\0" + struct.pack("!H", len(self.certificate)) + self.certificate)
        at = next(at for at, one in enumerate(payloads) if one == idr(KMS_ROLE, self.kms))
        content = [*payloads[:at], cert, *payloads[at:], (PKE, struct.pack("!H", len(data)) + data)]
        content = self.edit(content)
        length = (self.key.key_size + 7) // 8
        end = (SIGN, struct.pack("!H", length))  # its S type is 0
        octets = header(REQUEST_INIT_PK, [*content, end], self.suite, csb_id, 1, None)
        # SIGN has no next payload octet.
        octets += chain([*content, (SIGN, b"")])[:-1] + end[1]
        digest = SHA1() if self.suite.prf == 0 else SHA256()
        signature = self.key.sign(octets + self.identity + self.kms, PKCS1v15(), digest)
        self.sent, self.content = octets + signature, content
        return self.sent

    @property
    def request(self) -> Parsed:
        csb_id = int.from_bytes(self.sent[4:8])
        head = Header(REQUEST_INIT_PK, self.content[0][0], self.suite.prf, csb_id, [])
        return Parsed(head, self.content, self.sent)
