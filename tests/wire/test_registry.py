"""Numbers and names against the tables of the RFCs."""

from __future__ import annotations

import pytest

from mikeytool.wire import registry
from mikeytool.wire.registry import Namespace, TicketFlag, label, labels, lengths

# Number, name, and length in octets where the RFC makes it implicit.
TABLES: dict[type[Namespace], list[tuple[int, str, int]]] = {
    # RFC 3830 6.1.a, RFC 4650 5.1, RFC 4738 4.1, RFC 6043 6.1
    registry.DataType: [
        (0, "Pre-shared", 0),
        (1, "PSK ver msg", 0),
        (2, "Public key", 0),
        (3, "PK ver msg", 0),
        (4, "D-H init", 0),
        (5, "D-H resp", 0),
        (6, "Error", 0),
        (7, "DHHMAC init", 0),
        (8, "DHHMAC resp", 0),
        (9, "RSA-R I_MSG", 0),
        (10, "RSA-R R_MSG", 0),
        (11, "REQUEST_INIT_PSK", 0),
        (12, "REQUEST_INIT_PK", 0),
        (13, "REQUEST_RESP", 0),
        (14, "TRANSFER_INIT", 0),
        (15, "TRANSFER_RESP", 0),
        (16, "RESOLVE_INIT_PSK", 0),
        (17, "RESOLVE_INIT_PK", 0),
        (18, "RESOLVE_RESP", 0),
        # RFC 6267 table 2, RFC 6509 table 1
        (19, "REQUEST_KEY_PSK", 0),
        (20, "REQUEST_KEY_PKE", 0),
        (21, "REQUEST_KEY_RESP", 0),
        (22, "I_MESSAGE_1", 0),
        (23, "R_MESSAGE_1", 0),
        (24, "I_MESSAGE_2", 0),
        (25, "R_MESSAGE_2", 0),
        (26, "SAKKE msg", 0),
    ],
    # RFC 3830 6.1.b, RFC 6043 6.2
    registry.NextPayload: [
        (0, "Last payload", 0),
        (1, "KEMAC", 0),
        (2, "PKE", 0),
        (3, "DH", 0),
        (4, "SIGN", 0),
        (5, "T", 0),
        (6, "ID", 0),
        (7, "CERT", 0),
        (8, "CHASH", 0),
        (9, "V", 0),
        (10, "SP", 0),
        (11, "RAND", 0),
        (12, "ERR", 0),
        (13, "TR", 0),
        (14, "IDR", 0),
        (15, "RANDR", 0),
        (16, "TP", 0),
        (17, "TICKET", 0),
        (20, "Key data", 0),
        (21, "General Ext.", 0),
        # RFC 6267 table 3, RFC 6509 table 2
        (22, "IBAKE", 0),
        (23, "ESK", 0),
        (24, "SK", 0),
        (25, "ECCPT", 0),
        (26, "SAKKE", 0),
    ],
    # RFC 3830 6.1.c, RFC 6043 6.3; the hash output
    registry.PrfFunc: [(0, "MIKEY-1", 20), (1, "PRF-HMAC-SHA-256", 32)],
    # RFC 3830 6.1.d, RFC 4563 table 3, RFC 6043 6.4
    registry.CsIdMapType: [(0, "SRTP-ID", 0), (1, "Empty map", 0), (2, "GENERIC-ID", 0)],
    # RFC 3830 6.2.a, RFC 6043 6.5; the key
    registry.EncrAlg: [
        (0, "NULL", 0),
        (1, "AES-CM-128", 16),
        (2, "AES-KW-128", 16),
        (3, "AES-CM-256", 32),
    ],
    # RFC 3830 6.2.b, RFC 6043 6.6; the MAC
    registry.MacAlg: [(0, "NULL", 0), (1, "HMAC-SHA-1-160", 20), (2, "HMAC-SHA-256-256", 32)],
    # RFC 3830 6.3
    registry.CacheType: [(0, "No cache", 0), (1, "Cache", 0), (2, "Cache for CSB", 0)],
    # RFC 3830 6.4; the DH-value
    registry.DhGroup: [(0, "OAKLEY 5", 192), (1, "OAKLEY 1", 96), (2, "OAKLEY 2", 128)],
    # RFC 3830 6.5, RFC 6509 table 6
    registry.SType: [(0, "RSA/PKCS#1/1.5", 0), (1, "RSA/PSS", 0), (2, "ECCSI", 0)],
    # RFC 3830 6.6, RFC 6043 6.8; the TS value
    registry.TsType: [
        (0, "NTP-UTC", 8),
        (1, "NTP", 8),
        (2, "COUNTER", 4),
        (3, "NTP-UTC-32", 4),
    ],
    # RFC 6043 6.9
    registry.TsRole: [
        (1, "Time of issue (TRi)", 0),
        (2, "Start of validity period (TRs)", 0),
        (3, "End of validity period (TRe)", 0),
        (4, "Rekeying interval (TRr)", 0),
    ],
    # RFC 3830 6.7.a, RFC 6043 6.10
    registry.IdType: [(0, "NAI", 0), (1, "URI", 0), (2, "Byte string", 0)],
    # RFC 6043 6.11
    registry.IdRole: [
        (1, "Initiator (IDRi)", 0),
        (2, "Responder (IDRr)", 0),
        (3, "KMS (IDRkms)", 0),
        (4, "Pre-Shared Key (IDRpsk)", 0),
        (5, "Application (IDRapp)", 0),
        # RFC 6509 table 7
        (6, "Initiator's KMS (IDRkmsi)", 0),
        (7, "Responder's KMS (IDRkmsr)", 0),
        # 3GPP TS 33.180 E.7 (interpretation 49)
        (8, "Initiator's UID (IDRuidi)", 0),
        (9, "Responder's UID (IDRuidr)", 0),
    ],
    # RFC 3830 6.7.b
    registry.CertType: [
        (0, "X.509v3", 0),
        (1, "X.509v3 URL", 0),
        (2, "X.509v3 Sign", 0),
        (3, "X.509v3 Encr", 0),
    ],
    # RFC 3830 6.8, RFC 6043 6.12; the hash
    registry.HashFunc: [(0, "SHA-1", 20), (1, "MD5", 16), (2, "SHA-256", 32)],
    # RFC 6043 6.13
    registry.RandRole: [
        (1, "Initiator (RANDRi)", 0),
        (2, "Responder (RANDRr)", 0),
        (3, "KMS (RANDRkms)", 0),
    ],
    # RFC 3830 6.12, RFC 6043 6.14
    registry.ErrorNo: [
        (0, "Auth failure", 0),
        (1, "Invalid TS", 0),
        (2, "Invalid PRF", 0),
        (3, "Invalid MAC", 0),
        (4, "Invalid EA", 0),
        (5, "Invalid HA", 0),
        (6, "Invalid DH", 0),
        (7, "Invalid ID", 0),
        (8, "Invalid Cert", 0),
        (9, "Invalid SP", 0),
        (10, "Invalid SPpar", 0),
        (11, "Invalid DT", 0),
        (12, "Unspecified error", 0),
        (13, "Unsupported message type", 0),  # RFC 4738 figure 4
        (14, "Invalid TICKET", 0),
        (15, "Invalid TPpar", 0),
    ],
    # RFC 3830 6.13.a, RFC 6043 6.7
    registry.KeyType: [
        (0, "TGK", 0),
        (1, "TGK+SALT", 0),
        (2, "TEK", 0),
        (3, "TEK+SALT", 0),
        (4, "GTGK", 0),
        (5, "GTGK+SALT", 0),
        (6, "MPK", 0),
        (7, "K_PR", 0),  # RFC 6267 table 4
    ],
    # RFC 3830 6.13.b
    registry.KeyValidity: [(0, "Null", 0), (1, "SPI", 0), (2, "Interval", 0)],
    # RFC 3830 6.15, RFC 4738 figure 5, RFC 5410 figure 2
    registry.ExtensionType: [
        (0, "Vendor ID", 0),
        (1, "SDP IDs", 0),
        (2, "TESLA I-Key", 0),
        (3, "Key ID", 0),
        (4, "CSB_ID", 0),
        (5, "OMA BCAST", 0),
        # 3GPP TS 33.180 E.5 and E.6 (interpretation 49)
        (6, "SAKKE-to-self", 0),
        (7, "3GPP key parameters", 0),
    ],
    # RFC 6043 6.15
    registry.TicketType: [(1, "MIKEY Base Ticket", 0), (2, "3GPP Base Ticket", 0)],
    # RFC 3830 6.10.1.a to e
    registry.SrtpParam: [
        (0, "Encryption algorithm", 0),
        (1, "Session Encr. key length", 0),
        (2, "Authentication algorithm", 0),
        (3, "Session Auth. key length", 0),
        (4, "Session Salt key length", 0),
        (5, "SRTP Pseudo Random Function", 0),
        (6, "Key derivation rate", 0),
        (7, "SRTP encryption off/on", 0),
        (8, "SRTCP encryption off/on", 0),
        (9, "sender's FEC order", 0),
        (10, "SRTP authentication off/on", 0),
        (11, "Authentication tag length", 0),
        (12, "SRTP prefix length", 0),
        # RFC 4771 tables 2 and 3, RFC 7714 14.3
        (13, "ROC transmission rate", 0),
        (14, "SRTP Auth. algorithm", 0),
        (15, "SRTCP Auth. algorithm", 0),
        (16, "SRTP Session Auth. key len", 0),
        (17, "SRTCP Session Auth. key len", 0),
        (18, "SRTP Authentication tag len", 0),
        (19, "SRTCP Authentication tag len", 0),
        (20, "AEAD authentication tag length", 0),
    ],
    # RFC 5748 figure 1, RFC 7714 14.3, RFC 8269 6.2
    registry.SrtpEncrAlg: [
        (0, "NULL", 0),
        (1, "AES-CM", 0),
        (2, "AES-F8", 0),
        (3, "SEED-CTR", 0),
        (4, "SEED-CCM", 0),
        (5, "SEED-GCM", 0),
        (6, "AES-GCM", 0),
        (7, "ARIA-CTR", 0),
        (8, "ARIA-GCM", 0),
    ],
    # RFC 4771 table 1
    registry.SrtpAuthAlg: [
        (0, "NULL", 0),
        (1, "HMAC-SHA-1", 0),
        (2, "RCCm1", 0),
        (3, "RCCm2", 0),
        (4, "RCCm3", 0),
    ],
    # RFC 5748 figure 2, RFC 8269 6.2
    registry.SrtpPrf: [(0, "AES-CM", 0), (1, "SEED-CTR", 0), (2, "ARIA-CTR", 0)],
    registry.FecOrder: [(0, "FEC-SRTP", 0)],
}


@pytest.mark.parametrize("namespace", TABLES, ids=lambda namespace: namespace.__name__)
def test_tables(namespace: type[Namespace]) -> None:
    """Every row of the RFCs is there; later RFCs may have added more."""
    for number, name, length in TABLES[namespace]:
        assert label(namespace, number) == name
        assert lengths(namespace)[number] == length


@pytest.mark.parametrize("namespace", TABLES, ids=lambda namespace: namespace.__name__)
def test_numbers_without_a_name_are_decimal(namespace: type[Namespace]) -> None:
    assert label(namespace, 99) == "99"
    assert 99 not in labels(namespace)


def test_protocol_types() -> None:
    """RFC 3830 6.10, RFC 4442 6: two are registered, 241 to 255 are for private use."""
    assert label(registry.ProtType, 0) == "SRTP"
    assert label(registry.ProtType, 1) == "TESLA"
    assert all(number < 2 or 241 <= number <= 255 for number in labels(registry.ProtType))


def test_every_name_is_one_number() -> None:
    """So that a name alone tells the number, and no name is taken for another's decimal."""
    for namespace in (*TABLES, registry.ProtType):
        names = list(labels(namespace).values())
        assert len(set(names)) == len(names)
        assert not any(name.isdecimal() for name in names)


def test_salts_follow_the_types_that_say_so() -> None:
    assert [n for n in range(16) if registry.KeyType.salted(n)] == [1, 3, 5]


def test_the_base_ticket() -> None:
    """RFC 6043 6.10 and A: type 1, subtype 1, version 1."""
    assert registry.BASE_TICKET == (1, 1, 1)


@pytest.mark.parametrize(
    ("letters", "word"),
    [("", 0), ("D", 0x800), ("O", 1), ("DEFGHIJKLMNO", 0xFFF), ("DEFGHIJNO", 0xFE3)],
)
def test_flag_letters(letters: str, word: int) -> None:
    assert TicketFlag.from_letters(letters) == word
    assert TicketFlag(word).letters == letters


def test_flag_letters_in_any_order() -> None:
    assert TicketFlag.from_letters("OD").letters == "DO"


@pytest.mark.parametrize("letter", ["A", "d", "P"])
def test_letters_that_are_no_flag(letter: str) -> None:
    with pytest.raises(KeyError):
        TicketFlag.from_letters(letter)
