"""The payloads of MIKEY-IBAKE (RFC 6267 6.1).

IBAKE and ESK contain octets that are encrypted to an identity and are not read here. Decrypted,
they contain the sub-payloads ECCPT and SK.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mikeytool.wire.errors import WireError
from mikeytool.wire.grammar import Int16ub, bits, length_of, octets, this, uint8, uint16
from mikeytool.wire.payloads import Chained, KeyValidityData
from mikeytool.wire.registry import KeyValidity, MacAlg, NextPayload, lengths
from mikeytool.wire.registry_extensions import EccCurve, PointForm, SecretKeyType


class IBAKE(Chained, number=NextPayload.IBAKE):
    """IBAKE payload: identities and ECCPT, encrypted to an identity (RFC 6267 6.1.1)."""

    encr_data_len: int | None = length_of("encr_data", Int16ub, default=None)
    encr_data: bytes = octets(this.encr_data_len)


class ESK(Chained, number=NextPayload.ESK):
    """Encrypted Secret Key payload (RFC 6267 6.1.2)."""

    encr_data_len: int | None = length_of("encr_data", Int16ub, default=None)
    encr_data: bytes = octets(this.encr_data_len)


class PointLength:
    """The length of a point without its first octet: coordinates, and padding to 32 bits.

    The 32-bit boundary is counted from the start of the payload. The point starts at the third
    octet of the payload. `known` has the lengths by curve and first octet.
    """

    fields = "ecc_curve", "point_form"
    known: ClassVar[dict[tuple[int, int], int]] = {
        (curve, form): coordinates * size + -(coordinates * size + 3) % 4
        for curve, size in lengths(EccCurve).items()
        for form, coordinates in lengths(PointForm).items()
    }

    def __call__(self, ctx: Any) -> int:
        """The length in octets; raises WireError for an unknown curve or first octet."""
        curve, form = ctx["ecc_curve"], ctx["point_form"]
        if (curve, form) not in self.known:
            raise WireError(
                f"no point of curve {curve} begins with octet {form}, so its length is unknown"
            )
        return self.known[curve, form]


class ECCPT(Chained, KeyValidityData, number=NextPayload.ECCPT):
    """EC Diffie-Hellman sub-payload (RFC 6267 6.1.4) with its key validity data.

    `point_form` is the first octet of the ECC point; `ecc_point` holds its coordinates and
    the padding.
    """

    ecc_curve: int = uint8(names=EccCurve)
    point_form: int = uint8(names=PointForm, default=PointForm.UNCOMPRESSED.value)
    ecc_point: bytes = octets(PointLength())
    auth_alg: int = uint8(names=MacAlg, default=0)
    tgk_len: int = uint16(default=0)
    reserved: int = bits(4, default=0)
    kv: int = bits(4, names=KeyValidity, default=0)


class SK(Chained, KeyValidityData, number=NextPayload.SK):
    """Secret Key sub-payload with its key validity data (RFC 6267 6.1.5)."""

    type: int = bits(4, names=SecretKeyType)
    kv: int = bits(4, names=KeyValidity, default=0)
    key_data_len: int | None = length_of("key", Int16ub, default=None)
    key: bytes = octets(this.key_data_len, show="secret")
