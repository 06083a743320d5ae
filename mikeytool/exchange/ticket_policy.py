"""The Ticket Policy: the unencrypted content of TP and TICKET (RFC 6043 6.10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from mikeytool.exchange.environment import NS
from mikeytool.exchange.identity_length import identity_of
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import build_chain, build_leading, key_data, leading_chain
from mikeytool.wire.payloads import IDR, KEMAC, TICKET, TP, TR, KeyData, Payload
from mikeytool.wire.registry import (
    BASE_TICKET,
    EncrAlg,
    ErrorNo,
    IdRole,
    KeyType,
    KeyValidity,
    MacAlg,
    TicketFlag,
    TicketType,
    TsRole,
    TsType,
    label,
)
from mikeytool.wire.timestamp import Timestamp

F = TicketFlag


@dataclass(frozen=True, slots=True)
class TicketPolicy:
    """A Ticket Policy. Optional parts are None or empty when they are omitted.

    `rekey` is the rekeying interval in seconds. `keys` is what a TP asks for: None leaves the
    choice to the KMS, an empty tuple asks for no key (interpretation 10).
    """

    prf: int
    flags: TicketFlag
    responders: tuple[Identity, ...]
    kms: Identity | None = None
    initiator: Identity | None = None
    valid_from: Timestamp | None = None
    valid_to: Timestamp | None = None
    rekey: int | None = None
    apps: tuple[Identity, ...] = ()
    keys: tuple[KeyData, ...] | None = None
    ticket_type: int = BASE_TICKET.number
    subtype: int = BASE_TICKET.subtype
    version: int = BASE_TICKET.version

    @classmethod
    def of(cls, payload: TP) -> Self:
        """Read the policy in a TP or TICKET payload.

        Raises WireError for TP Data that cannot be read. Raises Refused (Invalid TPpar) for
        duplicates of payloads that may occur only once, and for a KEMAC in a granted policy.
        Unexpected payloads are ignored.
        """
        base = payload.offset + getattr(payload, "tp_data_at", 0)
        ids, times, kemacs = _sorted(leading_chain(payload.tp_data, base=base))
        rekey = times.get(TsRole.REKEY)
        return cls(
            prf=payload.prf,
            flags=payload.flag,
            kms=_single(ids, IdRole.KMS),
            initiator=_single(ids, IdRole.INITIATOR),
            valid_from=times.get(TsRole.START),
            valid_to=times.get(TsRole.END),
            rekey=None if rekey is None else rekey.interval,
            keys=_wanted_keys(kemacs, granted=isinstance(payload, TICKET)),
            apps=tuple(ids.get(IdRole.APPLICATION, ())),
            responders=tuple(ids.get(IdRole.RESPONDER, ())),
            ticket_type=payload.ticket_type,
            subtype=payload.subtype,
            version=payload.version,
        )

    def tp(self) -> TP:
        """Return the policy as a TP payload, including what it asks for. K is 0 there (6.10)."""
        return TP(**replace(self, flags=self.flags & ~F.K)._fields(self.keys))

    def ticket(self, ticket_data: bytes) -> TICKET:
        """Return the policy as granted, in a TICKET payload without Initiator Data."""
        return TICKET(**self._fields(None), ticket_data=ticket_data)

    def _fields(self, keys: tuple[KeyData, ...] | None) -> dict[str, Any]:
        return {
            "ticket_type": self.ticket_type,
            "subtype": self.subtype,
            "version": self.version,
            "prf": int(self.prf),
            "flags": int(self.flags),
            "tp_data": build_leading(self._payloads(keys)),
        }

    def _payloads(self, keys: tuple[KeyData, ...] | None) -> list[Payload]:
        """Return TP Data in the order of RFC 6043 6.10."""
        made: list[Payload] = []
        if self.kms is not None:
            made.append(self.kms.idr(IdRole.KMS))
        if self.initiator is not None:
            made.append(self.initiator.idr(IdRole.INITIATOR))
        rekey = None
        if self.rekey is not None:
            rekey = Timestamp(TsType.NTP_UTC_32, self.rekey.to_bytes(4))
        for role, t in (
            (TsRole.START, self.valid_from),
            (TsRole.END, self.valid_to),
            (TsRole.REKEY, rekey),
        ):
            if t is not None:
                made.append(TR(ts_role=role.value, ts_type=int(t.ts_type), ts_value=t.value))
        if keys is not None:
            made.append(KEMAC(encr_alg=EncrAlg.NULL.value, encr_data=build_chain(keys)))
        made += [app.idr(IdRole.APPLICATION) for app in self.apps]
        made += [responder.idr(IdRole.RESPONDER) for responder in self.responders]
        return made

    def check_flags(self) -> None:
        """Raise Refused (Invalid TPpar) if the flags contradict each other (6.10)."""
        for broken, text in flag_faults(self.flags):
            if broken:
                raise Refused(
                    f"the flags {self.flags.letters} contradict each other: {text} (RFC 6043 6.10)",
                    ErrorNo.INVALID_TPPAR,
                )

    def check_forks(self, keys: Iterable[KeyData]) -> None:
        """Refuse a TGK in a ticket that has the I flag and no F flag (6.10).

        `keys` are those in the ticket. Only an answer can carry the modifier that forked them.
        """
        if F.I in self.flags and F.F not in self.flags and any(map(is_forked, keys)):
            raise Refused(
                "a ticket with a TGK and the I flag needs the F flag (RFC 6043 6.10)",
                ErrorNo.INVALID_TPPAR,
            )

    def check_base_ticket(self) -> None:
        """Raise Refused (Invalid TICKET) for a Ticket Type other than the base ticket."""
        if (self.ticket_type, self.subtype, self.version) != BASE_TICKET:
            raise Refused(
                f"ticket type {label(TicketType, self.ticket_type)} subtype {self.subtype}"
                f" version {self.version} is not supported",
                ErrorNo.INVALID_TICKET,
            )

    def check_validity(self, now_ns: int) -> None:
        """Raise Refused (Invalid TICKET) outside the period from TRs to TRe (interpretation 20)."""
        for t in (self.valid_from, self.valid_to):
            if t is not None and t.unix_ns is None:
                raise Refused(
                    "a validity period cannot be given with a COUNTER or an unknown TS type",
                    ErrorNo.INVALID_TPPAR,
                )
        if self.valid_from is not None and now_ns < (self.valid_from.unix_ns or 0):
            raise Refused(
                f"the ticket is valid only from {self.valid_from.utc}", ErrorNo.INVALID_TICKET
            )
        if self.valid_to is not None and now_ns > (self.valid_to.unix_ns or 0):
            raise Refused(
                f"the ticket expired at {self.valid_to.utc}; request a new one",
                ErrorNo.INVALID_TICKET,
            )

    @property
    def seconds(self) -> int | None:
        """Return how long the policy is valid, or None without an end or with unknown times."""
        start = self.valid_from.unix_ns if self.valid_from else None
        end = self.valid_to.unix_ns if self.valid_to else None
        return None if start is None or end is None else (end - start) // NS

    def granted(self) -> TicketPolicy:
        """Return the policy without the parts that only a request has."""
        return replace(self, keys=None)


_DEPENDENCIES = tuple(
    (int(given), int(needed), text)
    for given, needed, text in (
        (F(0), F.D | F.L, "without D there must be L"),
        (F.G, F.F, "G needs F"),
        (F(0), F.G | F.H, "there must be G or H"),
        (F.I, F.E, "I needs E"),
        (F.K, F.D, "K needs D"),
        (F.M, F.F, "M needs F"),
    )
)
"""If a flag of the first is set, one of the second must be set (RFC 6043 6.10)."""


def flag_faults(flags: TicketFlag) -> Iterable[tuple[bool, str]]:
    """Return the dependencies of RFC 6043 6.10, each with whether `flags` breaks it."""
    bits = int(flags)
    for given, needed, text in _DEPENDENCIES:
        yield bits & given == given and not bits & needed, text


def is_forked(key: KeyData) -> bool:
    """Whether key forking changes a key in a ticket: a TGK, and no other session key (5.1.1)."""
    return key.type in (KeyType.TGK, KeyType.TGK_SALT)


def wanted_key(kind: KeyType, length: int, salt_length: int, spi: bytes | None = None) -> KeyData:
    """Return the form in which a TP asks for a key: type and length, all zero (RFC 6043 6.10)."""
    return KeyData(
        type=kind.value,
        kv=(KeyValidity.NULL if spi is None else KeyValidity.SPI).value,
        key=bytes(length),
        salt=bytes(salt_length) if KeyType.salted(kind) else None,
        spi=spi,
    )


_ROLES = (IdRole.KMS, IdRole.INITIATOR, IdRole.APPLICATION, IdRole.RESPONDER)
_TIMES = (TsRole.START, TsRole.END, TsRole.REKEY)


def _sorted(
    inside: list[Payload],
) -> tuple[dict[int, list[Identity]], dict[int, Timestamp], list[KEMAC]]:
    """Return identities by role, times by role, and KEMACs; others are ignored (6.10)."""
    ids: dict[int, list[Identity]] = {}
    times: dict[int, Timestamp] = {}
    kemacs: list[KEMAC] = []
    for payload in inside:
        if isinstance(payload, IDR) and payload.id_role in _ROLES:
            ids.setdefault(payload.id_role, []).append(identity_of(payload))
        elif isinstance(payload, TR) and payload.ts_role in _TIMES:
            _check_time(payload, times)
            times[payload.ts_role] = Timestamp.of(payload)
        elif isinstance(payload, KEMAC):
            kemacs.append(payload)
    return ids, times, kemacs


def _single(ids: dict[int, list[Identity]], role: IdRole) -> Identity | None:
    given = ids.get(role, [])
    if len(given) > 1:
        raise Refused(
            f"the Ticket Policy has {len(given)} {role.label}, one is allowed",
            ErrorNo.INVALID_TPPAR,
        )
    return given[0] if given else None


def _check_time(payload: TR, times: dict[int, Timestamp]) -> None:
    if payload.ts_role in times:
        name = label(TsRole, payload.ts_role)
        raise Refused(f"the Ticket Policy has {name} twice", ErrorNo.INVALID_TPPAR)
    if payload.ts_role == TsRole.REKEY and payload.ts_type != TsType.NTP_UTC_32:
        raise Refused("TRr is given in NTP-UTC-32 and no other way", ErrorNo.INVALID_TPPAR)


def _wanted_keys(kemacs: list[KEMAC], *, granted: bool) -> tuple[KeyData, ...] | None:
    if not kemacs:
        return None
    if granted or len(kemacs) > 1:
        many = "a granted Ticket Policy" if granted else "a Ticket Policy with two"
        raise Refused(f"a KEMAC must not stand in {many}", ErrorNo.INVALID_TPPAR)
    kemac = kemacs[0]
    if kemac.encr_alg != EncrAlg.NULL or kemac.mac_alg != MacAlg.NULL:
        raise Refused(
            "the KEMAC in a TP is neither encrypted nor has it a MAC", ErrorNo.INVALID_TPPAR
        )
    try:
        return tuple(key_data(kemac.encr_data))
    except WireError as error:
        raise WireError(error.text, payload="KEMAC in TP", offset=kemac.offset) from None
