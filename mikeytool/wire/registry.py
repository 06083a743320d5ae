"""IANA numbers and names of MIKEY.

Each namespace is an `IntEnum` whose members have the registry's name as `label` and, where
the type of a field implies its length, that `length` in octets. Unassigned numbers are not
members; `label` gives them as decimal text, so that they pass from the wire to `--json` and
back unchanged.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import cache
from typing import NamedTuple, Self

MIKEY_VERSION = 1


class Namespace(IntEnum):
    """Base of the registries: a member has a number, a registry name and an implicit length."""

    label: str
    length: int

    def __new__(cls, value: int, label: str = "", length: int = 0) -> Self:
        """Make a member with its label and length."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.length = length
        return member


@cache
def labels(namespace: type[Namespace]) -> dict[int, str]:
    """Number to registry name, for every member of `namespace`."""
    return {member.value: member.label for member in namespace}


@cache
def lengths(namespace: type[Namespace]) -> dict[int, int]:
    """Number to implicit length in octets, for every member of `namespace`."""
    return {member.value: member.length for member in namespace}


def label(namespace: type[Namespace], value: int) -> str:
    """The registry name of `value`, or its decimal text if it is not registered."""
    return labels(namespace).get(value) or str(value)


class DataType(Namespace):
    """HDR data type (RFC 3830 6.1, 4650 4.1, 4738 3.9.1, 6043 6.1, 6267 6.1, 6509 4.1)."""

    PRE_SHARED = 0, "Pre-shared"
    PSK_VER_MSG = 1, "PSK ver msg"
    PUBLIC_KEY = 2, "Public key"
    PK_VER_MSG = 3, "PK ver msg"
    DH_INIT = 4, "D-H init"
    DH_RESP = 5, "D-H resp"
    ERROR = 6, "Error"
    DHHMAC_INIT = 7, "DHHMAC init"
    DHHMAC_RESP = 8, "DHHMAC resp"
    RSA_R_I_MSG = 9, "RSA-R I_MSG"
    RSA_R_R_MSG = 10, "RSA-R R_MSG"
    REQUEST_INIT_PSK = 11, "REQUEST_INIT_PSK"
    REQUEST_INIT_PK = 12, "REQUEST_INIT_PK"
    REQUEST_RESP = 13, "REQUEST_RESP"
    TRANSFER_INIT = 14, "TRANSFER_INIT"
    TRANSFER_RESP = 15, "TRANSFER_RESP"
    RESOLVE_INIT_PSK = 16, "RESOLVE_INIT_PSK"
    RESOLVE_INIT_PK = 17, "RESOLVE_INIT_PK"
    RESOLVE_RESP = 18, "RESOLVE_RESP"
    REQUEST_KEY_PSK = 19, "REQUEST_KEY_PSK"
    REQUEST_KEY_PKE = 20, "REQUEST_KEY_PKE"
    REQUEST_KEY_RESP = 21, "REQUEST_KEY_RESP"
    I_MESSAGE_1 = 22, "I_MESSAGE_1"
    R_MESSAGE_1 = 23, "R_MESSAGE_1"
    I_MESSAGE_2 = 24, "I_MESSAGE_2"
    R_MESSAGE_2 = 25, "R_MESSAGE_2"
    SAKKE_MSG = 26, "SAKKE msg"


class NextPayload(Namespace):
    """Next payload (RFC 3830 6.1, RFC 6043 6.1, RFC 6267 6.1, RFC 6509 4.1)."""

    LAST = 0, "Last payload"
    KEMAC = 1, "KEMAC"
    PKE = 2, "PKE"
    DH = 3, "DH"
    SIGN = 4, "SIGN"
    T = 5, "T"
    ID = 6, "ID"
    CERT = 7, "CERT"
    CHASH = 8, "CHASH"
    V = 9, "V"
    SP = 10, "SP"
    RAND = 11, "RAND"
    ERR = 12, "ERR"
    TR = 13, "TR"
    IDR = 14, "IDR"
    RANDR = 15, "RANDR"
    TP = 16, "TP"
    TICKET = 17, "TICKET"
    KEY_DATA = 20, "Key data"
    GENERAL_EXT = 21, "General Ext."
    IBAKE = 22, "IBAKE"
    ESK = 23, "ESK"
    SK = 24, "SK"
    ECCPT = 25, "ECCPT"
    SAKKE = 26, "SAKKE"


class PrfFunc(Namespace):
    """PRF func of HDR, TP and TICKET (RFC 3830 6.1, RFC 6043 6.1); length of its hash."""

    MIKEY_1 = 0, "MIKEY-1", 20
    HMAC_SHA_256 = 1, "PRF-HMAC-SHA-256", 32


class CsIdMapType(Namespace):
    """CS ID map type (RFC 3830 6.1, RFC 4563 5, RFC 6043 6.1)."""

    SRTP_ID = 0, "SRTP-ID"
    EMPTY = 1, "Empty map"
    GENERIC_ID = 2, "GENERIC-ID"


class EncrAlg(Namespace):
    """KEMAC encryption algorithm (RFC 3830 6.2, RFC 6043 6.2); length of its key."""

    NULL = 0, "NULL", 0
    AES_CM_128 = 1, "AES-CM-128", 16
    AES_KW_128 = 2, "AES-KW-128", 16
    AES_CM_256 = 3, "AES-CM-256", 32


class MacAlg(Namespace):
    """Authentication algorithm of KEMAC and V (RFC 3830 6.2, RFC 6043 6.2); MAC length."""

    NULL = 0, "NULL", 0
    HMAC_SHA_1_160 = 1, "HMAC-SHA-1-160", 20
    HMAC_SHA_256_256 = 2, "HMAC-SHA-256-256", 32


class KeyType(Namespace):
    """Type of a key data sub-payload (RFC 3830 6.13, RFC 6043 6.2.1, RFC 6267 6.1.3)."""

    TGK = 0, "TGK"
    TGK_SALT = 1, "TGK+SALT"
    TEK = 2, "TEK"
    TEK_SALT = 3, "TEK+SALT"
    GTGK = 4, "GTGK"
    GTGK_SALT = 5, "GTGK+SALT"
    MPK = 6, "MPK"
    K_PR = 7, "K_PR"

    @staticmethod
    def salted(value: int) -> bool:
        """Whether a salt follows the key data of a key of this type."""
        return value in (KeyType.TGK_SALT, KeyType.TEK_SALT, KeyType.GTGK_SALT)


class KeyValidity(Namespace):
    """KV of a key data or DH payload (RFC 3830 6.13)."""

    NULL = 0, "Null"
    SPI = 1, "SPI"
    INTERVAL = 2, "Interval"


class CacheType(Namespace):
    """Envelope key cache indicator of PKE (RFC 3830 6.3)."""

    NO_CACHE = 0, "No cache"
    CACHE = 1, "Cache"
    CACHE_FOR_CSB = 2, "Cache for CSB"


class DhGroup(Namespace):
    """DH-Group (RFC 3830 6.4); length of its DH-value."""

    OAKLEY_5 = 0, "OAKLEY 5", 192
    OAKLEY_1 = 1, "OAKLEY 1", 96
    OAKLEY_2 = 2, "OAKLEY 2", 128


class SType(Namespace):
    """S type of SIGN (RFC 3830 6.5, RFC 6509 4.3)."""

    RSA_PKCS1_V15 = 0, "RSA/PKCS#1/1.5"
    RSA_PSS = 1, "RSA/PSS"
    ECCSI = 2, "ECCSI"


class TsType(Namespace):
    """TS type of T and TR (RFC 3830 6.6, RFC 6043 6.3); length of the TS value."""

    NTP_UTC = 0, "NTP-UTC", 8
    NTP = 1, "NTP", 8
    COUNTER = 2, "COUNTER", 4
    NTP_UTC_32 = 3, "NTP-UTC-32", 4


class TsRole(Namespace):
    """TS Role (RFC 6043 6.4)."""

    ISSUE = 1, "Time of issue (TRi)"
    START = 2, "Start of validity period (TRs)"
    END = 3, "End of validity period (TRe)"
    REKEY = 4, "Rekeying interval (TRr)"


class IdType(Namespace):
    """ID Type (RFC 3830 6.7, RFC 6043 6.5)."""

    NAI = 0, "NAI"
    URI = 1, "URI"
    BYTE_STRING = 2, "Byte string"


class IdRole(Namespace):
    """ID Role (RFC 6043 6.6, RFC 6509 4.4, 3GPP TS 33.180 E.7)."""

    INITIATOR = 1, "Initiator (IDRi)"
    RESPONDER = 2, "Responder (IDRr)"
    KMS = 3, "KMS (IDRkms)"
    PSK = 4, "Pre-Shared Key (IDRpsk)"
    APPLICATION = 5, "Application (IDRapp)"
    INITIATOR_KMS = 6, "Initiator's KMS (IDRkmsi)"
    RESPONDER_KMS = 7, "Responder's KMS (IDRkmsr)"
    INITIATOR_UID = 8, "Initiator's UID (IDRuidi)"
    RESPONDER_UID = 9, "Responder's UID (IDRuidr)"


class CertType(Namespace):
    """Cert Type (RFC 3830 6.7)."""

    X509V3 = 0, "X.509v3"
    X509V3_URL = 1, "X.509v3 URL"
    X509V3_SIGN = 2, "X.509v3 Sign"
    X509V3_ENCR = 3, "X.509v3 Encr"


class HashFunc(Namespace):
    """Hash func of CHASH (RFC 3830 6.8, RFC 6043 6.7); hash length."""

    SHA_1 = 0, "SHA-1", 20
    MD5 = 1, "MD5", 16
    SHA_256 = 2, "SHA-256", 32


class RandRole(Namespace):
    """RAND Role (RFC 6043 6.8)."""

    INITIATOR = 1, "Initiator (RANDRi)"
    RESPONDER = 2, "Responder (RANDRr)"
    KMS = 3, "KMS (RANDRkms)"


class ErrorNo(Namespace):
    """Error no (RFC 3830 6.12, RFC 4738 3.9.2, RFC 6043 6.9)."""

    AUTH_FAILURE = 0, "Auth failure"
    INVALID_TS = 1, "Invalid TS"
    INVALID_PRF = 2, "Invalid PRF"
    INVALID_MAC = 3, "Invalid MAC"
    INVALID_EA = 4, "Invalid EA"
    INVALID_HA = 5, "Invalid HA"
    INVALID_DH = 6, "Invalid DH"
    INVALID_ID = 7, "Invalid ID"
    INVALID_CERT = 8, "Invalid Cert"
    INVALID_SP = 9, "Invalid SP"
    INVALID_SPPAR = 10, "Invalid SPpar"
    INVALID_DT = 11, "Invalid DT"
    UNSPECIFIED = 12, "Unspecified error"
    UNSUPPORTED_MESSAGE = 13, "Unsupported message type"
    INVALID_TICKET = 14, "Invalid TICKET"
    INVALID_TPPAR = 15, "Invalid TPpar"


class ExtensionType(Namespace):
    """Type of a General Extension payload (RFC 3830 6.15, 4442 4.4, 4563 4, 4738 3.9.3, 5410 3,
    3GPP TS 33.180 E.5 and E.6)."""

    VENDOR_ID = 0, "Vendor ID"
    SDP_IDS = 1, "SDP IDs"
    TESLA_I_KEY = 2, "TESLA I-Key"
    KEY_ID = 3, "Key ID"
    CSB_ID = 4, "CSB_ID"
    OMA_BCAST = 5, "OMA BCAST"
    SAKKE_TO_SELF = 6, "SAKKE-to-self"
    KEY_PARAMETERS_3GPP = 7, "3GPP key parameters"


class TicketType(Namespace):
    """Ticket Type (RFC 6043 6.10)."""

    MIKEY_BASE = 1, "MIKEY Base Ticket"
    BASE_3GPP = 2, "3GPP Base Ticket"


class TicketFormat(NamedTuple):
    """Ticket Type, Subtype and Version, which give the format of Ticket Data (RFC 6043 6.10)."""

    number: int
    subtype: int
    version: int


BASE_TICKET = TicketFormat(TicketType.MIKEY_BASE.value, 1, 1)


class TicketFlag(IntFlag):
    """The flags of TP and TICKET as one 12-bit word, D first (RFC 6043 6.10)."""

    D = 1 << 11
    E = 1 << 10
    F = 1 << 9
    G = 1 << 8
    H = 1 << 7
    I = 1 << 6  # noqa: E741 - the RFC's letter
    J = 1 << 5
    K = 1 << 4
    L = 1 << 3
    M = 1 << 2
    N = 1 << 1
    O = 1 << 0  # noqa: E741 - the RFC's letter

    @property
    def letters(self) -> str:
        """The letters of the flags that are set, in the RFC's order."""
        return "".join(flag.name or "" for flag in TicketFlag if flag in self)

    @property
    def meaning(self) -> str:
        """What one flag says where it is set."""
        return _FLAG_MEANINGS[self]

    @classmethod
    def from_letters(cls, letters: str) -> TicketFlag:
        """The flags that `letters` names; raises KeyError for any other letter."""
        flags = cls(0)
        for letter in letters:
            flags |= cls[letter]
        return flags


_FLAG_MEANINGS = {
    TicketFlag.D: "the KMS made the ticket",
    TicketFlag.E: "the responder has to resolve it",
    TicketFlag.F: "TRANSFER_RESP is sent",
    TicketFlag.G: "the responder makes RANDRr",
    TicketFlag.H: "keys are derived with RANDRi",
    TicketFlag.I: "key forking",
    TicketFlag.J: "it may be used again",
    TicketFlag.K: "the KMS changed what was asked for",
    TicketFlag.L: "the initiator may send keys",
    TicketFlag.M: "the responder may send keys",
    TicketFlag.N: "the initiator needs no other specification",
    TicketFlag.O: "the responder needs no other specification",
}


class ProtType(Namespace):
    """Security protocol of a policy or a crypto session (RFC 3830 6.10, RFC 4442 4.1).

    Conferences use two private-use numbers: one for keys of TCP media and one for keys of event
    packages.
    """

    SRTP = 0, "SRTP"
    TESLA = 1, "TESLA"
    TLS_PSK = 241, "TLS-PSK"
    CMS = 242, "CMS"


class SrtpParam(Namespace):
    """Parameter types of the SRTP policy (RFC 3830 6.10.1, RFC 4771 4, RFC 7714 14.3)."""

    ENCR_ALG = 0, "Encryption algorithm"
    ENCR_KEY_LENGTH = 1, "Session Encr. key length"
    AUTH_ALG = 2, "Authentication algorithm"
    AUTH_KEY_LENGTH = 3, "Session Auth. key length"
    SALT_KEY_LENGTH = 4, "Session Salt key length"
    PRF = 5, "SRTP Pseudo Random Function"
    KEY_DERIVATION_RATE = 6, "Key derivation rate"
    SRTP_ENCRYPTION = 7, "SRTP encryption off/on"
    SRTCP_ENCRYPTION = 8, "SRTCP encryption off/on"
    FEC_ORDER = 9, "sender's FEC order"
    SRTP_AUTHENTICATION = 10, "SRTP authentication off/on"
    AUTH_TAG_LENGTH = 11, "Authentication tag length"
    PREFIX_LENGTH = 12, "SRTP prefix length"
    ROC_RATE = 13, "ROC transmission rate"
    SRTP_AUTH_ALG = 14, "SRTP Auth. algorithm"
    SRTCP_AUTH_ALG = 15, "SRTCP Auth. algorithm"
    SRTP_AUTH_KEY_LENGTH = 16, "SRTP Session Auth. key len"
    SRTCP_AUTH_KEY_LENGTH = 17, "SRTCP Session Auth. key len"
    SRTP_AUTH_TAG_LENGTH = 18, "SRTP Authentication tag len"
    SRTCP_AUTH_TAG_LENGTH = 19, "SRTCP Authentication tag len"
    AEAD_TAG_LENGTH = 20, "AEAD authentication tag length"


class SrtpEncrAlg(Namespace):
    """Values of the SRTP encryption algorithm (RFC 3830 6.10.1, 5748 2.1, 7714 14.3, 8269 6.2)."""

    NULL = 0, "NULL"
    AES_CM = 1, "AES-CM"
    AES_F8 = 2, "AES-F8"
    SEED_CTR = 3, "SEED-CTR"
    SEED_CCM = 4, "SEED-CCM"
    SEED_GCM = 5, "SEED-GCM"
    AES_GCM = 6, "AES-GCM"
    ARIA_CTR = 7, "ARIA-CTR"
    ARIA_GCM = 8, "ARIA-GCM"


class SrtpAuthAlg(Namespace):
    """Values of the SRTP authentication algorithm (RFC 3830 6.10.1, RFC 4771 4)."""

    NULL = 0, "NULL"
    HMAC_SHA_1 = 1, "HMAC-SHA-1"
    RCC_M1 = 2, "RCCm1"
    RCC_M2 = 3, "RCCm2"
    RCC_M3 = 4, "RCCm3"


class SrtpPrf(Namespace):
    """Values of the SRTP pseudo-random function (RFC 3830 6.10.1, RFC 5748 2.2, RFC 8269 6.2)."""

    AES_CM = 0, "AES-CM"
    SEED_CTR = 1, "SEED-CTR"
    ARIA_CTR = 2, "ARIA-CTR"


class FecOrder(Namespace):
    """Values of the sender's FEC order (RFC 3830 6.10.1)."""

    FEC_SRTP = 0, "FEC-SRTP"
