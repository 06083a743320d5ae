"""What a KMS grants of what is asked (RFC 6043 4.2.1.4, 6.10; interpretations 10, 16, 20, 21)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.policy import TicketPolicy, wanted_key
from mikeytool.exchange.profile import Profile, profile_of
from mikeytool.exchange.session import MAX_SALT, check_session_keys
from mikeytool.exchange.ticket import new_key
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import ErrorNo, KeyType, KeyValidity, TicketFlag, TsType
from mikeytool.wire.timestamp import LAST_MOMENT, Timestamp

MAX_VALIDITY = 24 * 3600
"""Seconds that a ticket is valid at most."""

MAX_KEYS = 64
"""More keys than any crypto session bundle has use for."""

MAX_KEY = 64
"""In octets: no security protocol takes more, and RANDs must be as long as keys (12.1)."""

F = TicketFlag


def grant(
    env: Environment,
    asked: TicketPolicy,
    initiator: Identity,
    kms: Identity,
    served: Profile,
    *,
    shared: bool = False,
) -> TicketPolicy:
    """The policy granted to `initiator`, the verified sender; K is set where it differs.

    `shared` tells that the responder has the key that will protect the ticket, and so may
    resolve it alone (mode 2, 4.1.1). Raises Refused when nothing like it can be granted.
    """
    asked.check_base_ticket()
    if profile_of(asked.prf).bits > served.bits:
        raise Refused("the KMS does not serve the 256-bit profile", ErrorNo.INVALID_PRF)
    if not asked.responders:
        raise Refused("the ticket is for nobody: it names no responder", ErrorNo.INVALID_TPPAR)
    if asked.kms is not None and asked.kms != kms:
        raise Refused(
            f"the ticket is to be resolved by {asked.kms}, this is {kms}", ErrorNo.INVALID_TPPAR
        )
    keys = wanted_keys(asked)
    asked_flags = asked.flags & ~F.K
    granted = replace(
        asked,
        flags=repaired(asked_flags, keys, shared=shared),
        kms=kms,
        initiator=initiator,
        valid_to=_end(env, asked),
        keys=None,
    )
    same = (
        granted.flags == asked_flags
        and asked.initiator in (None, initiator)
        and _moment(granted.valid_to) == _moment(asked.valid_to)
    )
    return granted if same else replace(granted, flags=granted.flags | F.K)


def repaired(flags: TicketFlag, keys: Sequence[KeyData], *, shared: bool = False) -> TicketFlag:
    """The flags with their dependencies obeyed (6.10, interpretation 21).

    D is set, because the KMS makes the ticket, and E, unless the responder shares the key
    that protects it and no key is to be forked. Raises Refused (Invalid TPpar) when neither
    G nor H is there: which one was meant, nobody can tell.
    """
    if F.G not in flags and F.H not in flags:
        raise Refused(
            "neither G nor H is set: no RAND would go into the keys", ErrorNo.INVALID_TPPAR
        )
    flags |= F.D if shared and F.I not in flags else F.D | F.E
    forks_tgk = F.I in flags and any(key.type in (KeyType.TGK, KeyType.TGK_SALT) for key in keys)
    if F.G in flags or F.M in flags or forks_tgk:
        flags |= F.F
    return flags


def wanted_keys(asked: TicketPolicy) -> tuple[KeyData, ...]:
    """What keys a policy asks for; the default is one TGK (4.2.1.5, interpretation 10).

    Raises Refused for keys that nobody can be given.
    """
    profile = profile_of(asked.prf)
    if asked.keys is None:
        return (wanted_key(KeyType.TGK, profile.key_length, 0),)
    if len(asked.keys) > MAX_KEYS:
        raise Refused(
            f"{len(asked.keys)} keys are asked for, {MAX_KEYS} at most are given",
            ErrorNo.INVALID_TPPAR,
        )
    for key in asked.keys:
        if key.type == KeyType.MPK or key.kv == KeyValidity.INTERVAL:
            raise Refused(
                "an MPK or a key for an interval cannot be asked for", ErrorNo.INVALID_TPPAR
            )
        if len(key.key) > MAX_KEY or (key.salt is not None and not 8 <= len(key.salt) <= MAX_SALT):
            raise Refused(
                f"keys have {MAX_KEY} octets at most, salts 8 to {MAX_SALT}",
                ErrorNo.INVALID_TPPAR,
            )
    spis = [key.spi for key in asked.keys if key.spi]
    if len(set(spis)) != len(spis):
        raise Refused("two keys are asked for with one SPI", ErrorNo.INVALID_TPPAR)
    try:
        check_session_keys(asked.keys, asked.prf)
    except Refused as error:
        raise Refused(str(error), ErrorNo.INVALID_TPPAR) from None
    return asked.keys


def make_keys(env: Environment, wanted: Sequence[KeyData]) -> tuple[KeyData, ...]:
    """Fresh keys of the types and lengths wanted. Draws key, salt and SPI of each."""
    taken = {key.spi for key in wanted if key.spi}
    return tuple(
        new_key(
            KeyType(key.type),
            env.random(len(key.key)),
            None if key.salt is None else env.random(len(key.salt)),
            key.spi or env.spi(taken),
        )
        for key in wanted
    )


def _end(env: Environment, asked: TicketPolicy) -> Timestamp:
    """The end of validity: what is asked for, but not beyond the most that is granted."""
    now = env.clock()
    start = max(_moment(asked.valid_from) or now, now)
    latest = start + MAX_VALIDITY * NS
    if latest >= LAST_MOMENT:
        raise Refused("the validity period goes beyond what NTP can tell", ErrorNo.INVALID_TPPAR)
    end = _moment(asked.valid_to)
    if end is not None and end <= start:
        raise Refused(
            "the validity period that is asked for ends before it begins, or has ended already",
            ErrorNo.INVALID_TPPAR,
        )
    if end is not None and end <= latest and asked.valid_to is not None:
        return asked.valid_to
    return Timestamp.at(latest, TsType.NTP_UTC_32)


def _moment(t: Timestamp | None) -> int | None:
    """Unix nanoseconds; raises Refused for a COUNTER, which is no time (interpretation 20)."""
    if t is None:
        return None
    if t.unix_ns is None:
        raise Refused("a validity period cannot be given with a COUNTER", ErrorNo.INVALID_TPPAR)
    return t.unix_ns
