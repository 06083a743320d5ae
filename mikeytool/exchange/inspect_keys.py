"""Which keys may protect an inspected message (RFC 3830 4.1.4, RFC 4650 3, RFC 4738 3.6, RFC 6043
5.1.2 and 5.2).

The likeliest candidates come first: `inspect` tries all in turn, `sealing` uses the first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from mikeytool.crypto.derive import (
    MessageKeys,
    fork_mpkr,
    initiator_data_keys,
    message_keys,
    message_keys_3830,
)
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.inspect_context import Context, randr, signing_certificate
from mikeytool.exchange.resolve import initiator_data
from mikeytool.exchange.ticket import TicketKeys
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.masked_repr import masked, masked_repr
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import PKE, RANDR, TICKET
from mikeytool.wire.registry import CacheType, IdRole, RandRole, TicketFlag
from mikeytool.wire.registry import DataType as D

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.x509 import Certificate

    from mikeytool.crypto.envelope import PossibleKey

MAX_PRIVATE_KEYS = 16
"""How many private keys to try on one envelope: each costs as much as hundreds of MACs."""

ENVELOPE_LENGTHS = (16, 32)
"""In octets, for the two profiles (interpretation 36)."""

N = TypeVar("N", bound=Hashable)
Named = list[tuple[N | None, bytes]]


class Candidate(NamedTuple):
    """A key that may be the right one.

    A guess that fails says nothing about the message: its key has another name, or no name that can
    be compared.
    """

    key: bytes
    is_guess: bool

    def __repr__(self) -> str:
        """Return a text that does not show the key."""
        return f"Candidate(key={masked(self.key)}, is_guess={self.is_guess})"


class _Index(Generic[N]):
    """Keys by name, so that a message tries only its own keys among thousands."""

    def __init__(self, pairs: Iterable[tuple[N | None, bytes]]) -> None:
        self._by_name: dict[N | None, list[bytes]] = {}
        for name, key in pairs:
            self._by_name.setdefault(name, []).append(key)

    def of(self, names: Iterable[N]) -> Iterator[Candidate]:
        """Yield the keys with these names, then unnamed keys; without names, all as guesses."""
        some = False
        for name in names:
            some = True
            yield from (Candidate(key, False) for key in self._by_name.get(name, ()))
        yield from (Candidate(key, False) for key in self._by_name.get(None, ()))
        if not some:
            for known, keys in self._by_name.items():
                if known is not None:
                    yield from (Candidate(key, True) for key in keys)


@masked_repr
@dataclass
class KeyRing:
    """Keys that may open a message. Several of a kind are tried in turn.

    `psks` are keys that users share with their KMS or with each other, by URI or key name if known,
    otherwise under None. `mpki` and `mpkr` are stored by CSB ID, or under None for any message; an
    `mpkr` may be forked or original. `rsa` are private keys. `tgks` are TGKs and `dhs` secrets of
    Diffie-Hellman exchanges, by CSB ID. The lists must not change once the ring is made.
    """

    psks: Named[bytes] = field(default_factory=list, repr=False)
    tpks: Named[bytes] = field(default_factory=list, repr=False)
    mpki: Named[int] = field(default_factory=list, repr=False)
    mpkr: Named[int] = field(default_factory=list, repr=False)
    rsa: list[RSAPrivateKey] = field(default_factory=list, repr=False)
    tgks: Named[int] = field(default_factory=list, repr=False)
    dhs: Named[int] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Index the keys by their names."""
        self._psks, self._tpks = _Index(self.psks), _Index(self.tpks)
        self._mpki, self._mpkr = _Index(self.mpki), _Index(self.mpkr)
        self._tgks, self._dhs = _Index(self.tgks), _Index(self.dhs)

    def psks_of(self, names: Iterable[bytes]) -> Iterator[Candidate]:
        """Yield pre-shared keys for these names of users or keys."""
        return self._psks.of(names)

    def tpks_of(self, name: bytes | None) -> Iterator[Candidate]:
        """Yield ticket protection keys for the key name in a ticket, which may be omitted."""
        return self._tpks.of([] if name is None else [name])

    def mpki_of(self, csb_id: int) -> list[bytes]:
        """Return the MPKis for a message with this CSB ID."""
        return [one.key for one in self._mpki.of([csb_id])]

    def mpkr_of(self, csb_id: int) -> list[bytes]:
        """Return the MPKrs, forked or original, for a message with this CSB ID."""
        return [one.key for one in self._mpkr.of([csb_id])]

    def tgks_of(self, csb_id: int) -> list[bytes]:
        """Return the TGKs of the bundle with this CSB ID."""
        return [one.key for one in self._tgks.of([csb_id])]

    def dhs_of(self, csb_id: int) -> list[bytes]:
        """Return the secrets of the Diffie-Hellman exchange with this CSB ID."""
        return [one.key for one in self._dhs.of([csb_id])]

    def private_key(self, certificate: Certificate) -> RSAPrivateKey | None:
        """Return the private key that belongs to a certificate."""
        public = certificate.public_key()
        return next((key for key in self.rsa if _is_pair(key, public)), None)


def _is_pair(key: RSAPrivateKey, public: object) -> bool:
    mine: RSAPublicKey = key.public_key()
    return mine == public


class Protection(NamedTuple):
    """Keys that protect a message, or may do so."""

    keys: MessageKeys
    is_guess: bool


def protections(
    context: Context, ring: KeyRing, tickets: Sequence[TicketKeys] = ()
) -> Iterator[Protection]:
    """Yield the keys that may protect a message, likeliest first.

    `tickets` are the keys of its ticket, or of the ticket of the message it answers.
    """
    header = context.message.header
    kind = context.kind
    if kind == D.ERROR:
        # RFC 6043 5.4: the keys of the message that the error is about.
        if context.about is not None:
            yield from protections(context.about, ring, tickets)
        return
    asked = context.asked
    if asked is None:
        return
    if kind in (D.TRANSFER_INIT, D.TRANSFER_RESP):
        for keys in _transfer_keys(context, ring, tickets):
            yield Protection(keys, is_guess=False)
        return
    for key, is_guess in _inkeys(context, asked, ring):
        if context.is_legacy:
            inputs = context.key_inputs
            if inputs is None:
                return
            keys = message_keys_3830(header.prf, key, *inputs)
        else:
            keys = message_keys(
                header.prf,
                key,
                header.csb_id,
                response=kind in (D.REQUEST_RESP, D.RESOLVE_RESP),
                randr_i=randr(asked, RandRole.INITIATOR) or b"",
                randr_r=randr(asked, RandRole.RESPONDER) or b"",
            )
        yield Protection(keys, is_guess)


_PSK_MODES = (D.PRE_SHARED, D.DHHMAC_INIT, D.REQUEST_INIT_PSK, D.RESOLVE_INIT_PSK)
_ENVELOPE_MODES = (D.PUBLIC_KEY, D.RSA_R_I_MSG, D.REQUEST_INIT_PK, D.RESOLVE_INIT_PK)


def _inkeys(context: Context, asked: Message, ring: KeyRing) -> Iterator[Candidate]:
    """Yield pre-shared and envelope keys."""
    kind = asked.header.data_type
    if kind in _ENVELOPE_MODES:
        bearer = context.message if context.message.find(PKE) is not None else asked
        yield from (Candidate(one.key, False) for one in envelope_keys(bearer, ring))
        # The maker of the envelope has its key but no private key to open it.
        yield from (Candidate(key, True) for name, key in ring.psks if name is None)
    if kind in _PSK_MODES:
        yield from ring.psks_of(context.names)
    if kind == D.PRE_SHARED:
        # A cached envelope key (RFC 3830 4.5).
        for one in context.earlier:
            pke = one.find(PKE)
            if pke is not None and pke.c != CacheType.NO_CACHE:
                yield from (Candidate(found.key, False) for found in envelope_keys(one, ring))


def envelope_keys(message: Message, ring: KeyRing) -> list[PossibleKey]:
    """Return what the private keys find in the PKE of a message, likeliest first.

    PKCS#1 v1.5 returns octets for every private key (implicit rejection), so results with the
    length of a key come first. The signer's key is skipped, because PKE is for the other side.
    """
    pke = message.find(PKE)
    if pke is None or not ring.rsa:
        return []
    from mikeytool.crypto.envelope import possible_keys

    certificate = signing_certificate(message)
    signer = None if certificate is None else ring.private_key(certificate)
    fitting = (
        key for key in ring.rsa if (key.key_size + 7) // 8 == len(pke.data) and key is not signer
    )
    found = [one for key in islice(fitting, MAX_PRIVATE_KEYS) for one in possible_keys(key, pke)]
    return sorted(found, key=lambda one: (not one.is_proven, len(one.key) not in ENVELOPE_LENGTHS))


def _transfer_keys(
    context: Context, ring: KeyRing, tickets: Sequence[TicketKeys]
) -> Iterator[MessageKeys]:
    """Yield keys of Ticket Transfer (RFC 6043 5.1.2).

    For an update, they are the keys of the message that ended the initial exchange, with its RANDs
    (interpretation 29).
    """
    header, offer = context.message.header, context.offer
    ticket = None if offer is None else offer.find(TICKET)
    if offer is None or ticket is None:
        return
    flags = ticket.flag
    if context.is_update:
        response = TicketFlag.F in flags
        answers: list[Message | None] = [
            one
            for one in context.earlier
            if one.header.data_type == D.TRANSFER_RESP and one.find(RANDR) is not None
        ]
        if randr(context.message, RandRole.RESPONDER):
            answers.append(context.message)
        if TicketFlag.G not in flags:
            answers = answers or [None]
    else:
        response = context.kind == D.TRANSFER_RESP
        answers = [context.message if response else None]
    for answer in answers:
        randr_r = b""
        if answer is not None and TicketFlag.G in flags:
            randr_r = randr(answer, RandRole.RESPONDER) or b""
        forked = TicketFlag.I in flags and response
        mpks = _mpkrs(answer, ticket, header.csb_id, ring, tickets) if forked else [
            *(keys.mpki.key for keys in tickets), *ring.mpki_of(header.csb_id)
        ]  # fmt: skip
        for mpk in mpks:
            yield message_keys(
                header.prf,
                mpk,
                header.csb_id,
                response=response,
                randr_i=randr(offer, RandRole.INITIATOR) or b"",
                randr_r=randr_r,
            )


def _mpkrs(
    answer: Message | None,
    ticket: TICKET,
    csb_id: int,
    ring: KeyRing,
    tickets: Sequence[TicketKeys],
) -> Iterator[bytes]:
    """Yield MPKrs unchanged and forked for the responder; if one made Vr, its fork comes first."""
    given = known_mpkrs(csb_id, ring, tickets)
    given.sort(key=lambda mpkr: not makes_vr(ticket, mpkr))
    for mpkr in given:
        both = [mpkr]
        if answer is not None:
            responder = Context.of(answer).identity(IdRole.RESPONDER)
            randr_kms = randr(answer, RandRole.KMS)
            if responder is not None and randr_kms is not None:
                both.append(fork_mpkr(ticket.prf, mpkr, responder.data, randr_kms))
        yield from reversed(both) if makes_vr(ticket, mpkr) else both


def known_mpkrs(csb_id: int, ring: KeyRing | None, tickets: Sequence[TicketKeys]) -> list[bytes]:
    """Return the available MPKrs of tickets and of a ring, forked or original."""
    from_tickets = [keys.mpkr.key for keys in tickets if keys.mpkr is not None]
    return [*from_tickets, *([] if ring is None else ring.mpkr_of(csb_id))]


def makes_vr(ticket: TICKET, mpkr: bytes) -> bool:
    """Return whether an MPKr made Vr of a ticket, and so is not forked (6.10)."""
    try:
        _, vr = initiator_data(ticket)
        covers = ticket.initiator_data[: -len(vr.ver_data)]
        keys = initiator_data_keys(ticket.prf, mpkr)
        return mac_is_good(vr.auth_alg, keys, covers, vr.ver_data)
    except MikeyError:
        return False
