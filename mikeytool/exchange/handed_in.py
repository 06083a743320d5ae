"""TGKs that are handed in for a crypto session bundle, where no message shows them.

In the Diffie-Hellman modes the TGK is g^(xi xr) (RFC 3830 3.3, RFC 4650 3). It is given itself, or
computed from the exponent of either end and the DH value of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hmac import compare_digest

from mikeytool.crypto.dh import public_value, shared_secret
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import DH, KeyData
from mikeytool.wire.registry import DhGroup, KeyType, KeyValidity

MOST_SECRETS = 16
"""How many DH secrets to try on one exchange: each costs two powers in a group of 1536 bits."""


def handed_in_keys(message: Message, earlier: Sequence[Message], ring: KeyRing) -> list[KeyData]:
    """Return the TGKs that a key ring has for the bundle of a message, likeliest first.

    `earlier` are the messages before it. Raises Refused for a DH secret that belongs to neither
    end, or that needs the answer.
    """
    csb_id = message.header.csb_id
    values = _dh_values([message, *reversed(earlier)])
    spi = next((value.spi for value in values if value.spi), None)
    found = list(ring.tgks_of(csb_id))
    secrets = ring.dhs_of(csb_id)[:MOST_SECRETS] if values else []
    for secret in secrets:
        found += _tgks(secret, values)
    kv = KeyValidity.NULL if spi is None else KeyValidity.SPI
    return [KeyData(type=int(KeyType.TGK), kv=int(kv), key=tgk, spi=spi) for tgk in found]


def _dh_values(messages: Sequence[Message]) -> list[DH]:
    """Return the different DH values of an exchange, those of the latest message first."""
    found: list[DH] = []
    for message in messages:
        for dh in message.all(DH):
            if all(dh.dh_value != other.dh_value for other in found):
                found.append(dh)
    return found[:2]


def _tgks(secret: bytes, values: Sequence[DH]) -> Iterator[bytes]:
    """Yield the TGK that a secret makes: an exponent, or else the shared secret itself."""
    group = values[0].dh_group
    mine = public_value(group, secret)
    others = [one for one in values if not compare_digest(one.dh_value, mine)]
    if len(others) < len(values):
        if not others:
            raise Refused("the answer is needed to use the DH secret: it has the other DH value")
        tgk = shared_secret(group, secret, others[0].dh_value)
    elif len(secret) == DhGroup(group).length:
        tgk = secret
    elif len(values) == 1:
        raise Refused("the DH secret is not this end's; the answer is needed to use it")
    else:
        raise Refused("the DH secret is the exponent of neither end's DH value")
    yield tgk
    if not tgk[0]:  # some leave out leading zeros
        yield tgk.lstrip(b"\0")
