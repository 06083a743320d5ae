"""SP payloads and suites: which parameters of RFC 3830 6.10.1 make which suite."""

from __future__ import annotations

from mikeytool.srtp.suites import SUITES, Suite
from mikeytool.wire.payloads import SP, PolicyParam
from mikeytool.wire.registry import ProtType, SrtpAuthAlg, SrtpEncrAlg, SrtpParam

P = SrtpParam

# What holds for a parameter that a policy does not set: SRTP's own defaults (RFC 3711 8.2).
_DEFAULTS: dict[int, int] = {
    P.ENCR_ALG: SrtpEncrAlg.AES_CM,
    P.ENCR_KEY_LENGTH: 16,
    P.AUTH_ALG: SrtpAuthAlg.HMAC_SHA_1,
    P.AUTH_KEY_LENGTH: 20,
    P.SALT_KEY_LENGTH: 14,
    P.PRF: 0,
    P.KEY_DERIVATION_RATE: 0,
    P.SRTP_ENCRYPTION: 1,
    P.SRTCP_ENCRYPTION: 1,
    P.FEC_ORDER: 0,
    P.SRTP_AUTHENTICATION: 1,
    P.AUTH_TAG_LENGTH: 10,
    P.PREFIX_LENGTH: 0,
}
# What a policy that the tool writes leaves to the default.
_UNSAID = (P.PRF, P.KEY_DERIVATION_RATE, P.FEC_ORDER, P.PREFIX_LENGTH)


def policy_for(suite: Suite, policy_no: int) -> SP:
    """The SP payload that stands for a suite, under a policy number."""
    values = _values(suite)
    return SP(
        policy_no=policy_no,
        protocol=ProtType.SRTP.value,
        policy_param=[
            PolicyParam(type=kind.value, value=bytes([values[kind]]))
            for kind in SrtpParam
            if kind not in _UNSAID
        ],
    )


def suite_of(policy: SP) -> Suite | None:
    """The suite that an SP payload means; None when there is none for its parameters."""
    if policy.protocol != ProtType.SRTP:
        return None
    given = {param.type: int.from_bytes(param.value) for param in policy.policy_param}
    if len(given) != len(policy.policy_param) or given.keys() - _DEFAULTS.keys():
        return None
    wanted = {**_DEFAULTS, **given}
    return next((suite for suite in SUITES.values() if _values(suite) == wanted), None)


def _values(suite: Suite) -> dict[int, int]:
    return {
        **_DEFAULTS,
        P.ENCR_KEY_LENGTH: suite.key_length,
        P.AUTH_KEY_LENGTH: suite.auth_key_length,
        P.SALT_KEY_LENGTH: suite.salt_length,
        P.AUTH_TAG_LENGTH: suite.rtp_tag_length,
    }
