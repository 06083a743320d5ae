"""The payload of MIKEY-SAKKE (RFC 6509 4.2)."""

from __future__ import annotations

from mikeytool.wire.grammar import Int16ub, length_of, octets, this, uint8
from mikeytool.wire.payloads import Chained
from mikeytool.wire.registry import NextPayload
from mikeytool.wire.registry_extensions import IdScheme, SakkeParams


class SAKKE(Chained, number=NextPayload.SAKKE):
    """SAKKE payload: the encapsulated data of RFC 6508 (RFC 6509 4.2)."""

    sakke_params: int = uint8(names=SakkeParams)
    id_scheme: int = uint8(names=IdScheme)
    sakke_data_length: int | None = length_of("sakke_data", Int16ub, default=None)
    sakke_data: bytes = octets(this.sakke_data_length)
