"""A record shows its values; of its secrets no more than their length."""

from __future__ import annotations

from dataclasses import dataclass, field

from mikeytool.wire.masked_repr import masked, masked_repr


@masked_repr
@dataclass(frozen=True, slots=True)
class Lock:
    name: str
    key: bytes = field(repr=False)
    spares: tuple[bytes, ...] = field(default=(), repr=False)
    owner: object = field(default=None, repr=False)


def test_fields_and_their_values() -> None:
    lock = Lock("door", b"sixteen octets!!", (b"a", b"b"))
    assert repr(lock) == "Lock(name='door', key=<16 octets>, spares=<2 hidden>, owner=None)"


def test_secrets() -> None:
    assert masked(None) == "None"
    assert masked(b"") == "<0 octets>"
    assert masked({"a": b"b"}) == "<1 hidden>"
    assert masked(17) == "<hidden>"
