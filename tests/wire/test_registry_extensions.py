"""Numbers and names against the tables of RFC 4442, 4563, 5410, 6267 and 6509."""

from __future__ import annotations

import pytest

from mikeytool.wire import registry_extensions as registry_more
from mikeytool.wire.registry import Namespace, labels, lengths

TABLES: dict[type[Namespace], dict[int, str]] = {
    # RFC 4442 4.2
    registry_more.TeslaParam: {
        1: "PRF identifier for f and f'",
        2: "Length of PRF f' output",
        3: "Identifier for the TESLA MAC",
        4: "Length of TESLA MAC output",
        5: "Start of session",
        6: "Interval duration (in msec)",
        7: "Key disclosure delay",
        8: "Key chain length (number of intervals)",
        9: "Local timestamp media receiver",
    },
    registry_more.TeslaPrf: {0: "HMAC-SHA1"},
    registry_more.TeslaMac: {0: "HMAC-SHA1"},
    # RFC 4563 table 2
    registry_more.KeyIdType: {
        0: "MBMS Key Domain ID",
        1: "MBMS Service Key ID",
        2: "MBMS Traffic Key ID",
    },
    # RFC 5410 figure 4
    registry_more.OmaBcastSubtype: {
        1: "LTKM",
        2: "STKM",
        3: "LTKM Reporting",
        4: "Parental Control",
    },
    # RFC 6267 table 5
    registry_more.EccCurve: {
        1: "ECPRGF192Random / P-192 / secp192r1",
        2: "EC2NGF163Random / B-163 / sect163r2",
        3: "EC2NGF163Koblitz / K-163 / sect163k1",
        4: "EC2NGF163Random2 / none / sect163r1",
        5: "ECPRGF224Random / P-224 / secp224r1",
        6: "EC2NGF233Random / B-233 / sect233r1",
        7: "EC2NGF233Koblitz / K-233 / sect233k1",
        8: "ECPRGF256Random / P-256 / secp256r1",
        9: "EC2NGF283Random / B-283 / sect283r1",
        10: "EC2NGF283Koblitz / K-283 / sect283k1",
        11: "ECPRGF384Random / P-384 / secp384r1",
        12: "EC2NGF409Random / B-409 / sect409r1",
        13: "EC2NGF409Koblitz / K-409 / sect409k1",
        14: "ECPRGF521Random / P-521 / secp521r1",
        15: "EC2NGF571Random / B-571 / sect571r1",
        16: "EC2NGF571Koblitz / K-571 / sect571k1",
    },
    registry_more.SecretKeyType: {1: "SK"},
    # RFC 6509 tables 4 and 5
    registry_more.SakkeParams: {1: "Parameter Set 1"},
    # 3GPP TS 33.180 E.5 and F.2.1 (interpretation 49)
    registry_more.IdScheme: {1: "tel URI with monthly keys", 2: "3GPP MCX hashed UID"},
    # 3GPP TS 33.180 5.2.2
    registry_more.KeyPurpose: {0: "GMK", 1: "PCK", 2: "CSK"},
    # RFC 5116 6
    registry_more.AeadAlg: {
        1: "AEAD_AES_128_GCM",
        2: "AEAD_AES_256_GCM",
        3: "AEAD_AES_128_CCM",
        4: "AEAD_AES_256_CCM",
    },
}


@pytest.mark.parametrize("namespace", TABLES, ids=lambda namespace: namespace.__name__)
def test_tables(namespace: type[Namespace]) -> None:
    assert labels(namespace) == TABLES[namespace]


@pytest.mark.parametrize("number", TABLES[registry_more.EccCurve])
def test_a_coordinate_is_as_long_as_its_field(number: int) -> None:
    """The bits of the field stand in the name that NIST gave the curve, or SEC."""
    digits = "".join(
        c for c in TABLES[registry_more.EccCurve][number].split("sec")[1] if c.isdigit()
    )
    assert lengths(registry_more.EccCurve)[number] == (int(digits[:3]) + 7) // 8
