"""IANA numbers and names that other RFCs use inside MIKEY payloads.

These are for TESLA policies (RFC 4442), Key ID extensions (RFC 4563), OMA BCAST (RFC 5410), IBAKE
(RFC 6267), SAKKE (RFC 6509) and mission-critical systems (3GPP TS 33.180). Their additions to the
registries of RFC 3830 and RFC 6043 are in `registry`.
"""

from __future__ import annotations

from mikeytool.wire.registry import Namespace


class TeslaParam(Namespace):
    """Parameter types of the TESLA policy (RFC 4442 4.2)."""

    PRF = 1, "PRF identifier for f and f'"
    PRF_LENGTH = 2, "Length of PRF f' output"
    MAC = 3, "Identifier for the TESLA MAC"
    MAC_LENGTH = 4, "Length of TESLA MAC output"
    START = 5, "Start of session"
    INTERVAL = 6, "Interval duration (in msec)"
    DISCLOSURE_DELAY = 7, "Key disclosure delay"
    CHAIN_LENGTH = 8, "Key chain length (number of intervals)"
    RECEIVER_TIME = 9, "Local timestamp media receiver"


class TeslaPrf(Namespace):
    """Values of the TESLA PRF (RFC 4442 6)."""

    HMAC_SHA1 = 0, "HMAC-SHA1"


class TeslaMac(Namespace):
    """Values of the TESLA MAC (RFC 4442 6)."""

    HMAC_SHA1 = 0, "HMAC-SHA1"


class KeyIdType(Namespace):
    """Key ID Type (RFC 4563 4)."""

    MBMS_KEY_DOMAIN_ID = 0, "MBMS Key Domain ID"
    MBMS_SERVICE_KEY_ID = 1, "MBMS Service Key ID"
    MBMS_TRAFFIC_KEY_ID = 2, "MBMS Traffic Key ID"


class OmaBcastSubtype(Namespace):
    """OMA BCAST Data Subtype (RFC 5410 3)."""

    LTKM = 1, "LTKM"
    STKM = 2, "STKM"
    LTKM_REPORTING = 3, "LTKM Reporting"
    PARENTAL_CONTROL = 4, "Parental Control"


class EccCurve(Namespace):
    """ECC curve of ECCPT (RFC 6267 6.1.4 and 8); length of one coordinate in octets."""

    P_192 = 1, "ECPRGF192Random / P-192 / secp192r1", 24
    B_163 = 2, "EC2NGF163Random / B-163 / sect163r2", 21
    K_163 = 3, "EC2NGF163Koblitz / K-163 / sect163k1", 21
    SECT163R1 = 4, "EC2NGF163Random2 / none / sect163r1", 21
    P_224 = 5, "ECPRGF224Random / P-224 / secp224r1", 28
    B_233 = 6, "EC2NGF233Random / B-233 / sect233r1", 30
    K_233 = 7, "EC2NGF233Koblitz / K-233 / sect233k1", 30
    P_256 = 8, "ECPRGF256Random / P-256 / secp256r1", 32
    B_283 = 9, "EC2NGF283Random / B-283 / sect283r1", 36
    K_283 = 10, "EC2NGF283Koblitz / K-283 / sect283k1", 36
    P_384 = 11, "ECPRGF384Random / P-384 / secp384r1", 48
    B_409 = 12, "EC2NGF409Random / B-409 / sect409r1", 52
    K_409 = 13, "EC2NGF409Koblitz / K-409 / sect409k1", 52
    P_521 = 14, "ECPRGF521Random / P-521 / secp521r1", 66
    B_571 = 15, "EC2NGF571Random / B-571 / sect571r1", 72
    K_571 = 16, "EC2NGF571Koblitz / K-571 / sect571k1", 72


class PointForm(Namespace):
    """First octet of an elliptic curve point as an octet string (SEC 1 2.3.3).

    The length is the number of coordinates after it.
    """

    INFINITY = 0, "infinity", 0
    COMPRESSED_EVEN = 2, "compressed, even", 1
    COMPRESSED_ODD = 3, "compressed, odd", 1
    UNCOMPRESSED = 4, "uncompressed", 2


class SecretKeyType(Namespace):
    """Type of an SK sub-payload (RFC 6267 6.1.5)."""

    SK = 1, "SK"


class SakkeParams(Namespace):
    """SAKKE params (RFC 6509 4.2)."""

    PARAMETER_SET_1 = 1, "Parameter Set 1"


class IdScheme(Namespace):
    """ID scheme of SAKKE (RFC 6509 4.2, 3GPP TS 33.180 F.2.1)."""

    TEL_MONTHLY = 1, "tel URI with monthly keys"
    MCX_HASHED_UID = 2, "3GPP MCX hashed UID"


class KeyPurpose(Namespace):
    """Purpose of a key of a mission-critical system (3GPP TS 33.180 5.2.2 and E.6).

    It is the top four bits of the key's ID, which is the CSB ID, and the key type of 3GPP key
    parameters.
    """

    GMK = 0, "GMK"
    PCK = 1, "PCK"
    CSK = 2, "CSK"


class AeadAlg(Namespace):
    """Numbers of authenticated encryption (RFC 5116 6), for protected payloads of 3GPP."""

    AES_128_GCM = 1, "AEAD_AES_128_GCM"
    AES_256_GCM = 2, "AEAD_AES_256_GCM"
    AES_128_CCM = 3, "AEAD_AES_128_CCM"
    AES_256_CCM = 4, "AEAD_AES_256_CCM"
