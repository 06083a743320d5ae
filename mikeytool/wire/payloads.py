"""The payloads of RFC 3830 chapter 6 and RFC 6043 chapter 6, one class each.

Those of later RFCs are in `ibake` and `sakke`.

Classes and fields have the names that the RFCs use, and the fields are in wire order. Nested
content (keys in KEMAC, policy and ticket in TICKET) stays an octet string here, because MACs and
encryption cover the octets that were received. `message` reads the nested content.
"""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

from mikeytool.wire.grammar import (
    REST,
    Implied,
    Int8ub,
    Int16ub,
    Record,
    Records,
    bits,
    length_of,
    octets,
    records,
    this,
    uint8,
    uint16,
)
from mikeytool.wire.registry import (
    CacheType,
    CertType,
    DhGroup,
    EncrAlg,
    ErrorNo,
    ExtensionType,
    HashFunc,
    IdRole,
    IdType,
    KeyType,
    KeyValidity,
    MacAlg,
    Namespace,
    NextPayload,
    PrfFunc,
    ProtType,
    RandRole,
    SType,
    TicketFlag,
    TicketType,
    TsRole,
    TsType,
    lengths,
)

PAYLOADS: dict[int, type[Payload]] = {}
"""The payload classes that are loaded, by their next payload number; see `payload_kind`."""

_LATER = {
    NextPayload.IBAKE: "ibake",
    NextPayload.ESK: "ibake",
    NextPayload.SK: "ibake",
    NextPayload.ECCPT: "ibake",
    NextPayload.SAKKE: "sakke",
}


def payload_kind(number: int) -> type[Payload] | None:
    """The class for a payload number, or None for an unknown number.

    Payloads of later RFCs are loaded when they are first needed, because few messages have them.
    """
    if number not in PAYLOADS and number in _LATER:
        import_module(f"mikeytool.wire.{_LATER[NextPayload(number)]}")
    return PAYLOADS.get(number)


class Payload(Record):
    """Base of the payloads; `offset` and `length` are set on those that were read.

    Both count octets; the offset is from the start of the message.
    """

    number: int | None = 0
    label: ClassVar[str] = ""
    offset: int = 0
    length: int = 0

    def __init_subclass__(cls, *, number: NextPayload | None = None, tail: bool = False) -> None:
        """Register the class under its next payload number."""
        super().__init_subclass__(tail=tail)
        cls.label = cls.__name__
        if number is not None:
            cls.number, cls.label = number.value, number.label
            PAYLOADS[number.value] = cls


class Raw(Payload):
    """Octets in place of a payload, to write content that no grammar describes.

    `number` is the payload number of these octets, or None if it is unknown.
    """

    number = None
    raw: bytes = octets(REST, holds="anything")


class Chained(Payload):
    """A payload that begins with the number of the next one: all payloads except SIGN."""

    next_payload: int | None = uint8(names=NextPayload, default=None)


def implied(namespace: type[Namespace], field: str) -> Implied:
    """The length that the type in `field` implies."""
    return Implied(field, lengths(namespace))


class KEMAC(Chained, number=NextPayload.KEMAC):
    """Key data transport payload (RFC 3830 6.2, RFC 6043 6.2)."""

    encr_alg: int = uint8(names=EncrAlg)
    encr_data_len: int | None = length_of("encr_data", Int16ub, default=None)
    encr_data: bytes = octets(this.encr_data_len, holds="key data", title="Keys")
    mac_alg: int = uint8(names=MacAlg, default=MacAlg.NULL)
    mac: bytes = octets(implied(MacAlg, "mac_alg"), default=b"")


class PKE(Chained, number=NextPayload.PKE):
    """Envelope data payload (RFC 3830 6.3)."""

    c: int = bits(2, names=CacheType, default=0)
    data_len: int | None = length_of("data", 14, default=None)
    data: bytes = octets(this.data_len, holds="envelope key")


_HAS_SPI = this.kv == KeyValidity.SPI.value
_HAS_INTERVAL = this.kv == KeyValidity.INTERVAL.value


class KeyValidityData(Record, tail=True):
    """Key validity data, which ends a DH or key data payload (RFC 3830 6.14)."""

    spi_length: int | None = length_of("spi", Int8ub, when=_HAS_SPI, default=None)
    spi: bytes | None = octets(this.spi_length, when=_HAS_SPI, default=None)
    vf_length: int | None = length_of("valid_from", Int8ub, when=_HAS_INTERVAL, default=None)
    valid_from: bytes | None = octets(this.vf_length, when=_HAS_INTERVAL, default=None)
    vt_length: int | None = length_of("valid_to", Int8ub, when=_HAS_INTERVAL, default=None)
    valid_to: bytes | None = octets(this.vt_length, when=_HAS_INTERVAL, default=None)


class DH(Chained, KeyValidityData, number=NextPayload.DH):
    """DH data payload (RFC 3830 6.4) with its key validity data (6.14)."""

    dh_group: int = uint8(names=DhGroup)
    dh_value: bytes = octets(implied(DhGroup, "dh_group"))
    reserved: int = bits(4, default=0)
    kv: int = bits(4, names=KeyValidity, default=0)


class SIGN(Payload, number=NextPayload.SIGN):
    """Signature payload, always the last one (RFC 3830 6.5)."""

    s_type: int = bits(4, names=SType)
    signature_len: int | None = length_of("signature", 12, default=None)
    signature: bytes = octets(this.signature_len)


class T(Chained, number=NextPayload.T):
    """Timestamp payload (RFC 3830 6.6, RFC 6043 6.3)."""

    ts_type: int = uint8(names=TsType)
    ts_value: bytes = octets(implied(TsType, "ts_type"), show="time")


class ID(Chained, number=NextPayload.ID):
    """ID payload (RFC 3830 6.7)."""

    id_type: int = uint8(names=IdType)
    id_len: int | None = length_of("id_data", Int16ub, default=None)
    id_data: bytes = octets(this.id_len, show="text")


class CERT(Chained, number=NextPayload.CERT):
    """Certificate payload (RFC 3830 6.7)."""

    cert_type: int = uint8(names=CertType)
    cert_len: int | None = length_of("cert_data", Int16ub, default=None)
    cert_data: bytes = octets(this.cert_len)


class CHASH(Chained, number=NextPayload.CHASH):
    """Cert hash payload (RFC 3830 6.8, RFC 6043 6.7)."""

    hash_func: int = uint8(names=HashFunc)
    hash: bytes = octets(implied(HashFunc, "hash_func"))


class V(Chained, number=NextPayload.V):
    """Ver msg payload (RFC 3830 6.9)."""

    auth_alg: int = uint8(names=MacAlg)
    ver_data: bytes = octets(implied(MacAlg, "auth_alg"))


class PolicyParam(Record):
    """One Type/Length/Value of a security policy (RFC 3830 6.10)."""

    type: int = uint8()
    length: int | None = length_of("value", Int8ub, default=None)
    value: bytes = octets(this.length)


class SP(Chained, number=NextPayload.SP):
    """Security policy payload (RFC 3830 6.10)."""

    policy_no: int = uint8()
    protocol: int = uint8(names=ProtType)
    policy_param_length: int | None = length_of("policy_param", Int16ub, default=None)
    policy_param: list[PolicyParam] = records(
        Records(PolicyParam, length=this.policy_param_length), holds="policy"
    )


class RAND(Chained, number=NextPayload.RAND):
    """RAND payload (RFC 3830 6.11)."""

    rand_len: int | None = length_of("rand", Int8ub, default=None)
    rand: bytes = octets(this.rand_len)


class ERR(Chained, number=NextPayload.ERR):
    """Error payload (RFC 3830 6.12, RFC 6043 6.9)."""

    error_no: int = uint8(names=ErrorNo)
    reserved: int = uint16(default=0)


class TR(Chained, number=NextPayload.TR):
    """Timestamp payload with role indicator (RFC 6043 6.4)."""

    ts_role: int = uint8(names=TsRole)
    ts_type: int = uint8(names=TsType)
    ts_value: bytes = octets(implied(TsType, "ts_type"), show="time")


class IDR(Chained, number=NextPayload.IDR):
    """ID payload with role indicator (RFC 6043 6.6)."""

    id_role: int = uint8(names=IdRole)
    id_type: int = uint8(names=IdType)
    id_len: int | None = length_of("id_data", Int16ub, default=None)
    id_data: bytes = octets(this.id_len, show="text")


class RANDR(Chained, number=NextPayload.RANDR):
    """RAND payload with role indicator (RFC 6043 6.8)."""

    rand_role: int = uint8(names=RandRole)
    rand_length: int | None = length_of("rand", Int8ub, default=None)
    rand: bytes = octets(this.rand_length)


class TP(Chained, number=NextPayload.TP):
    """Ticket Policy payload (RFC 6043 6.10)."""

    ticket_type: int = uint16(names=TicketType)
    subtype: int = uint8()
    version: int = uint8()
    prf: int = bits(7, names=PrfFunc)
    flags: int = bits(12, show="flags")
    res: int = bits(5, default=0)
    tp_data_length: int | None = length_of("tp_data", Int16ub, default=None)
    tp_data: bytes = octets(this.tp_data_length, holds="payloads", title="Ticket Policy")

    @property
    def flag(self) -> TicketFlag:
        """The flags word with its names."""
        return TicketFlag(self.flags)


class TICKET(TP, number=NextPayload.TICKET):
    """Ticket payload: a granted policy, Ticket Data, Initiator Data (RFC 6043 6.10)."""

    ticket_data_length: int | None = length_of("ticket_data", Int16ub, default=None)
    ticket_data: bytes = octets(this.ticket_data_length, holds="ticket data", title="Ticket Data")
    initiator_data_length: int | None = length_of("initiator_data", Int16ub, default=None)
    initiator_data: bytes = octets(
        this.initiator_data_length, default=b"", holds="payloads", title="Initiator Data"
    )


class THDR(Chained):
    """Ticket header payload; it has no number, Ticket Data starts with it (RFC 6043 A.3)."""

    thdr_data_length: int | None = length_of("thdr_data", Int16ub, default=None)
    thdr_data: bytes = octets(this.thdr_data_length, default=b"")


_SALTED = Implied(
    "type",
    {kind.value: KeyType.salted(kind) for kind in KeyType},
    "key data type {value} is unknown, so its length is too",
)


class KeyData(Chained, KeyValidityData, number=NextPayload.KEY_DATA):
    """Key data sub-payload with its key validity data (RFC 3830 6.13 and 6.14)."""

    type: int = bits(4, names=KeyType)
    kv: int = bits(4, names=KeyValidity)
    key_data_len: int | None = length_of("key", Int16ub, default=None)
    key: bytes = octets(this.key_data_len, show="secret")
    salt_len: int | None = length_of("salt", Int16ub, when=_SALTED, default=None)
    salt: bytes | None = octets(this.salt_len, when=_SALTED, default=None, show="secret")


class GeneralExt(Chained, number=NextPayload.GENERAL_EXT):
    """General Extension payload (RFC 3830 6.15)."""

    type: int = uint8(names=ExtensionType)
    data_length: int | None = length_of("data", Int16ub, default=None)
    data: bytes = octets(this.data_length, holds="extension")
