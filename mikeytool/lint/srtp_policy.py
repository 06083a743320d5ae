"""What a security policy for SRTP says (RFC 3830 6.10.1)."""

from __future__ import annotations

from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import SrtpAuthAlg, SrtpEncrAlg, SrtpParam

P = SrtpParam
_AEAD = (SrtpEncrAlg.AES_GCM, SrtpEncrAlg.SEED_CCM, SrtpEncrAlg.SEED_GCM, SrtpEncrAlg.ARIA_GCM)


class SrtpPolicy:
    """What an SP for SRTP says, with SRTP's own defaults for what it leaves out.

    `given` are the parameters that it has; `is_aead` tells whether the cipher authenticates
    by itself, `auth_alg` is that of RTP packets; `key_length` and `salt_length` are those of
    the master key, in octets.
    """

    def __init__(self, sp: SP | None = None) -> None:
        params = sp.policy_param if sp is not None else []
        self.given = {param.type: int.from_bytes(param.value[:8]) for param in params}
        self.encr_alg = self.value(P.ENCR_ALG, SrtpEncrAlg.AES_CM)
        self.is_aead = self.encr_alg in _AEAD
        general = SrtpAuthAlg.NULL if self.is_aead else SrtpAuthAlg.HMAC_SHA_1
        self.auth_alg = self.value(P.SRTP_AUTH_ALG, self.value(P.AUTH_ALG, general))
        self.key_length = self.value(P.ENCR_KEY_LENGTH, 16)
        self.salt_length = self.value(P.SALT_KEY_LENGTH, 12 if self.is_aead else 14)

    def value(self, kind: int, default: int) -> int:
        """The value of a parameter."""
        return self.given.get(kind, default)
