"""How much of a requested Ticket Policy a KMS grants (RFC 6043 4.2.1.4, 6.10; interpretations
10, 16, 20, 21).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.session import DEFAULT_SALT_LENGTH, MAX_SALT, check_session_keys
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.ticket_policy import TicketPolicy, is_forked, wanted_key
from mikeytool.kms.kms_policy import KEY_TYPES, KmsPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import ErrorNo, KeyType, KeyValidity, TicketFlag, TsType
from mikeytool.wire.timestamp import LAST_MOMENT, Timestamp

MAX_KEYS = 64
"""More keys than any crypto session bundle can use."""

MAX_KEY = 64
"""In octets. No security protocol needs more, and RANDs must be as long as keys (12.1)."""

F = TicketFlag


class Grant(NamedTuple):
    """The granted Ticket Policy, and the types and lengths of its keys."""

    policy: TicketPolicy
    keys: tuple[KeyData, ...]


def grant(
    env: Environment,
    asked: TicketPolicy,
    initiator: Identity,
    kms: Identity,
    kms_policy: KmsPolicy,
    *,
    shared: bool = False,
) -> Grant:
    """Return what the KMS grants to `initiator`, the verified sender.

    The K flag is set if the grant differs from `asked`. `shared` means that the responder has
    the key that will protect the ticket, and so can resolve it without the KMS (mode 2, 4.1.1).
    Raises Refused if the KMS can grant nothing similar.
    """
    asked.check_base_ticket()
    if not asked.responders:
        raise Refused("the ticket is for nobody: it names no responder", ErrorNo.INVALID_TPPAR)
    if asked.kms is not None and asked.kms != kms:
        raise Refused(
            f"the ticket is to be resolved by {asked.kms}, this is {kms}", ErrorNo.INVALID_TPPAR
        )
    wanted = wanted_keys(asked, kms_policy.key_types)
    keys = tuple(key for key in wanted if _type(key) in kms_policy.key_types)
    if wanted and not keys:
        kinds = ", ".join(sorted({_type(key) for key in wanted}))
        raise Refused(f"keys of type {kinds} are not given here", ErrorNo.INVALID_TPPAR)
    asked_flags = asked.flags & ~F.K
    forking = F.I if kms_policy.require_forking else F(0)
    flags = repaired(asked_flags | forking, keys, shared=shared)
    valid_to = _end(env, asked, kms_policy.max_validity)
    same = (
        flags == asked_flags
        and keys == wanted
        and asked.initiator in (None, initiator)
        and _moment(valid_to) == _moment(asked.valid_to)
    )
    granted = replace(
        asked,
        flags=flags if same else flags | F.K,
        kms=kms,
        initiator=initiator,
        valid_to=valid_to,
        keys=None,
    )
    return Grant(granted, keys)


def check_made(
    env: Environment, ticket_policy: TicketPolicy, keys: Sequence[KeyData], kms_policy: KmsPolicy
) -> None:
    """Refuse a ticket made by its initiator (D is 0) if the KMS would not have granted it.

    `keys` are all the keys in the ticket except MPKs. If the ticket has no TRs, its validity
    counts from now.
    """
    end = _moment(ticket_policy.valid_to)
    start = _moment(ticket_policy.valid_from) or env.clock()
    if end is None or end - start > kms_policy.max_validity * NS:
        raise Refused(
            f"the ticket is valid for longer than the {kms_policy.max_validity} s that are granted",
            ErrorNo.INVALID_TPPAR,
        )
    if kms_policy.require_forking and F.I not in ticket_policy.flags:
        raise Refused("the ticket has no I flag: key forking is required", ErrorNo.INVALID_TPPAR)
    others = sorted({_type(key) for key in keys} - set(kms_policy.key_types))
    if others:
        raise Refused(f"keys of type {', '.join(others)} are not given here", ErrorNo.INVALID_TPPAR)


def _type(key: KeyData) -> str:
    return KeyType(key.type).label.lower()


def repaired(flags: TicketFlag, keys: Sequence[KeyData], *, shared: bool = False) -> TicketFlag:
    """Return the flags, with the flags that they depend on also set (6.10, interpretation 21).

    D is set because the KMS makes the ticket. E is set too, unless the responder shares the key
    that protects the ticket and the ticket does not use key forking. Raises Refused (Invalid
    TPpar) if neither G nor H is set, because the intended one is unknown.
    """
    if F.G not in flags and F.H not in flags:
        raise Refused(
            "neither G nor H is set: no RAND would go into the keys", ErrorNo.INVALID_TPPAR
        )
    flags |= F.D if shared and F.I not in flags else F.D | F.E
    forks_tgk = F.I in flags and any(map(is_forked, keys))
    if F.G in flags or F.M in flags or forks_tgk:
        flags |= F.F
    return flags


def wanted_keys(asked: TicketPolicy, key_types: Sequence[str] = KEY_TYPES) -> tuple[KeyData, ...]:
    """Return the keys that a Ticket Policy asks for.

    The default is one TGK (4.2.1.5, interpretation 10). If `key_types` does not include TGKs,
    the default is one key of its first type. Raises Refused for keys that no KMS can give.
    """
    profile = profile_of(asked.prf)
    if asked.keys is None:
        kinds = {kind.label.lower(): kind for kind in KeyType}
        kind = kinds[KEY_TYPES[0] if KEY_TYPES[0] in key_types else key_types[0]]
        return (wanted_key(kind, profile.key_length, DEFAULT_SALT_LENGTH),)
    if len(asked.keys) > MAX_KEYS:
        raise Refused(
            f"{len(asked.keys)} keys are asked for; at most {MAX_KEYS} are given",
            ErrorNo.INVALID_TPPAR,
        )
    for key in asked.keys:
        if key.type == KeyType.MPK or key.kv == KeyValidity.INTERVAL:
            raise Refused(
                "an MPK, or a key for an interval, cannot be asked for", ErrorNo.INVALID_TPPAR
            )
        if len(key.key) > MAX_KEY or (key.salt is not None and not 8 <= len(key.salt) <= MAX_SALT):
            raise Refused(
                f"keys have at most {MAX_KEY} octets, and salts 8 to {MAX_SALT}",
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
    """Make fresh keys of the wanted types and lengths.

    For each key in turn, draws the key, the salt and the SPI, in that order.
    """
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


def _end(env: Environment, asked: TicketPolicy, max_validity: int) -> Timestamp:
    """The requested end of validity, or the latest end that the KMS grants."""
    now = env.clock()
    start = max(_moment(asked.valid_from) or now, now)
    latest = start + max_validity * NS
    if latest >= LAST_MOMENT:
        raise Refused(
            "the validity period goes beyond the times that NTP can express", ErrorNo.INVALID_TPPAR
        )
    end = _moment(asked.valid_to)
    if end is not None and end <= start:
        raise Refused(
            "the requested validity period ends before it begins, or has ended already",
            ErrorNo.INVALID_TPPAR,
        )
    if end is not None and end <= latest and asked.valid_to is not None:
        return asked.valid_to
    return Timestamp.at(latest, TsType.NTP_UTC_32)


def _moment(t: Timestamp | None) -> int | None:
    """The time in Unix nanoseconds.

    Raises Refused for a COUNTER, which is not a time (interpretation 20).
    """
    if t is None:
        return None
    if t.unix_ns is None:
        raise Refused("a validity period cannot be given with a COUNTER", ErrorNo.INVALID_TPPAR)
    return t.unix_ns
