"""The parameters of an SRTP security policy, and defaults for those that it leaves out.

The parameters are those of RFC 3830 6.10.1. The defaults are those of SRTP (RFC 3711 8.2) or, for
AEAD ciphers, those of RFC 7714 12. Lengths are in octets.
"""

from __future__ import annotations

from collections.abc import Mapping

from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import (
    FecOrder,
    Namespace,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SrtpPrf,
)

P = SrtpParam

AEAD = (
    SrtpEncrAlg.AES_GCM,
    SrtpEncrAlg.SEED_CCM,
    SrtpEncrAlg.SEED_GCM,
    SrtpEncrAlg.ARIA_GCM,
)
"""The AEAD ciphers, which authenticate without a MAC."""

SRTP_DEFAULTS: Mapping[int, int] = {
    P.ENCR_ALG: SrtpEncrAlg.AES_CM,
    P.ENCR_KEY_LENGTH: 16,
    P.AUTH_ALG: SrtpAuthAlg.HMAC_SHA_1,
    P.AUTH_KEY_LENGTH: 20,
    P.SALT_KEY_LENGTH: 14,
    P.PRF: SrtpPrf.AES_CM,
    P.KEY_DERIVATION_RATE: 0,
    P.SRTP_ENCRYPTION: 1,
    P.SRTCP_ENCRYPTION: 1,
    P.FEC_ORDER: FecOrder.FEC_SRTP,
    P.SRTP_AUTHENTICATION: 1,
    P.AUTH_TAG_LENGTH: 10,
    P.PREFIX_LENGTH: 0,
}

_AEAD_DEFAULTS: Mapping[int, int] = {
    **SRTP_DEFAULTS,
    P.AUTH_ALG: SrtpAuthAlg.NULL,
    P.AUTH_KEY_LENGTH: 0,
    P.SALT_KEY_LENGTH: 12,
    P.AUTH_TAG_LENGTH: 0,
    P.AEAD_TAG_LENGTH: 16,
}

SRTP_VALUES: Mapping[int, type[Namespace]] = {
    P.ENCR_ALG: SrtpEncrAlg,
    P.AUTH_ALG: SrtpAuthAlg,
    P.PRF: SrtpPrf,
    P.FEC_ORDER: FecOrder,
    P.SRTP_AUTH_ALG: SrtpAuthAlg,
    P.SRTCP_AUTH_ALG: SrtpAuthAlg,
}
"""The registry of each parameter with an enumerated value."""


def srtp_defaults(encr_alg: int = SrtpEncrAlg.AES_CM) -> dict[int, int]:
    """The default of each parameter for a policy with this cipher."""
    usual = _AEAD_DEFAULTS if encr_alg in AEAD else SRTP_DEFAULTS
    return {**usual, P.ENCR_ALG: encr_alg}


class SrtpPolicy:
    """An SP for SRTP, completed with the defaults; without an SP, only the defaults.

    `given` has the parameters that the SP sets. `auth_alg` is the MAC of RTP packets;
    `key_length` and `salt_length` are those of the master key, in octets.
    """

    def __init__(self, sp: SP | None = None) -> None:
        params = sp.policy_param if sp is not None else []
        self.given = {param.type: int.from_bytes(param.value[:8]) for param in params}
        self.encr_alg = self.value(P.ENCR_ALG)
        self.is_aead = self.encr_alg in AEAD
        usual = _AEAD_DEFAULTS if self.is_aead else SRTP_DEFAULTS
        self.auth_alg = self.value(P.SRTP_AUTH_ALG, self.value(P.AUTH_ALG, usual[P.AUTH_ALG]))
        self.key_length = self.value(P.ENCR_KEY_LENGTH)
        self.salt_length = self.value(P.SALT_KEY_LENGTH, usual[P.SALT_KEY_LENGTH])

    def value(self, kind: int, default: int | None = None) -> int:
        """The value of a parameter; if it is left out, `default` or else SRTP's default."""
        return self.given.get(kind, SRTP_DEFAULTS.get(kind, 0) if default is None else default)
