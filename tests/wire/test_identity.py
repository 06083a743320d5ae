"""Identities: what equals what, and how they look to people."""

from __future__ import annotations

import pytest

from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import ID, IDR
from mikeytool.wire.registry import IdRole, IdType


@pytest.mark.parametrize(
    ("text", "id_type"),
    [
        ("sip:alice@example.com", IdType.URI),
        ("tel:+15551234", IdType.URI),
        ("xmpp+x.y-z:a@b", IdType.URI),
        ("alice@example.com", IdType.NAI),
        ("kms.example.com", IdType.URI),
        ("1a:b@c", IdType.NAI),  # a scheme starts with a letter
    ],
)
def test_text_gives_the_type(text: str, id_type: IdType) -> None:
    identity = Identity.from_text(text)
    assert (identity.data, identity.id_type) == (text.encode(), id_type)
    assert str(identity) == text


def test_a_key_name_is_a_byte_string() -> None:
    name = Identity.key_name("psk-alice")
    assert (name.data, name.id_type) == (b"psk-alice", IdType.BYTE_STRING)


def test_only_the_octets_count() -> None:
    """Two ID Types with the same ID Data name the same one, since MACs cover ID Data alone."""
    assert Identity(b"a@b", IdType.NAI) == Identity(b"a@b", IdType.URI)
    assert hash(Identity(b"a@b", IdType.NAI)) == hash(Identity(b"a@b", IdType.URI))
    assert Identity(b"a@b") != Identity(b"A@b")


def test_payloads_to_and_fro() -> None:
    identity = Identity(b"a@b", IdType.NAI)
    idr = identity.idr(IdRole.RESPONDER)
    assert idr == IDR(id_role=2, id_type=0, id_data=b"a@b")
    assert Identity.of(idr).id_type == IdType.NAI
    assert Identity.of(ID(id_type=2, id_data=b"\xff")) == Identity(b"\xff", IdType.BYTE_STRING)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"sip:a", "sip:a"),
        ("sip:jürgen".encode(), "sip:jürgen"),
        (b"\xff\x00", "0xff00"),
        (b"a\nb", "0x610a62"),
        (b"a\x1b[31m", "0x611b5b33316d"),
        (b"", ""),
    ],
)
def test_shown_to_people(data: bytes, shown: str) -> None:
    assert str(Identity(data)) == shown
