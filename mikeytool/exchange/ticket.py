"""The MIKEY base ticket (RFC 6043 appendix A) and the keys in a ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from mikeytool.crypto.derive import fork_mpkr, fork_tgk, split_mpk, ticket_keys
from mikeytool.crypto.kemac import TICKET_CSB_ID, open_kemac, seal_kemac
from mikeytool.crypto.mac import mac, mac_is_good
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.identity_length import identity_of
from mikeytool.exchange.incoming import only
from mikeytool.exchange.profile import (
    MIN_KEY,
    check_encr_alg,
    check_mac_alg,
    check_rands,
    profile_of,
    rand_length,
    strength,
)
from mikeytool.exchange.ticket_policy import TicketPolicy, is_forked
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import build_chain, ticket_data
from mikeytool.wire.payloads import IDR, KEMAC, RAND, THDR, TICKET, KeyData, Payload, T, V
from mikeytool.wire.registry import (
    EncrAlg,
    ErrorNo,
    IdRole,
    KeyType,
    KeyValidity,
    TicketFlag,
    TicketType,
)
from mikeytool.wire.timestamp import Timestamp

_SPI = int(KeyValidity.SPI)


@dataclass(frozen=True, slots=True)
class TicketKeys:
    """The keys that a ticket encodes, as the KMS sends them in a KEMAC.

    `mpkr` is None without key forking. For a responder, `mpkr` and the TGKs among `keys` are
    forked.
    """

    mpki: KeyData
    mpkr: KeyData | None
    keys: tuple[KeyData, ...]

    def sub_payloads(self) -> list[KeyData]:
        """Return MPKi, MPKr and the others in the order of the KEMAC (4.2.1.5, 4.2.3.5)."""
        first = [self.mpki] if self.mpkr is None else [self.mpki, self.mpkr]
        return [*first, *self.keys]

    @classmethod
    def of(cls, sub_payloads: Sequence[KeyData], flags: TicketFlag) -> TicketKeys:
        """Sort the keys in a KEMAC from the KMS.

        Raises Refused unless the KEMAC starts with one MPK without forking, or two with forking,
        and has no others (interpretation 19).
        """
        mpks = [key for key in sub_payloads if key.type == KeyType.MPK]
        wanted = 2 if TicketFlag.I in flags else 1
        if len(mpks) != wanted or list(sub_payloads[:wanted]) != mpks:
            raise Refused(
                f"the KEMAC holds {len(mpks)} MPKs; the I flag of the ticket asks for"
                f" {wanted}, before all other keys",
            )
        if any(len(key.key) < MIN_KEY for key in mpks):
            raise Refused(f"an MPK has fewer than {MIN_KEY} octets (12.1)")
        mpki, mpkr = (mpks[0], mpks[1]) if wanted == 2 else (mpks[0], None)
        return cls(mpki, mpkr, tuple(sub_payloads[wanted:]))

    def forked(self, prf: int, id_data: bytes, randr_kms: bytes) -> TicketKeys:
        """Fork MPKr and the TGKs for one responder; all other keys stay unchanged (5.1.1)."""
        mpkr = self.mpkr
        if mpkr is not None:
            mpkr = _with_key(mpkr, fork_mpkr(prf, mpkr.key, id_data, randr_kms))
        keys = tuple(
            _with_key(key, fork_tgk(prf, key.key, id_data, randr_kms)) if is_forked(key) else key
            for key in self.keys
        )
        return TicketKeys(self.mpki, mpkr, keys)


def _with_key(key: KeyData, octets: bytes) -> KeyData:
    """Return a copy of a key data sub-payload with other key octets; salt and SPI stay."""
    return key.copy(key=octets, key_data_len=None)


def new_key(kind: KeyType, key: bytes, salt: bytes | None, spi: bytes) -> KeyData:
    """Return a key with its SPI; every key that is sent has one (6.2.1)."""
    return KeyData(type=int(kind), kv=_SPI, key=key, salt=salt, spi=spi)


def for_key_wrap(env: Environment, encr_alg: int, keys: Sequence[KeyData]) -> tuple[KeyData, ...]:
    """Return the keys in the form that an encryption algorithm accepts.

    AES-KW needs a multiple of 8 octets (interpretation 3), so the SPI of the last key is extended
    as necessary.
    """
    missing = _missing(encr_alg, keys)
    if not missing:
        return tuple(keys)
    last = keys[-1]
    spi = (last.spi or b"") + env.random(missing)
    return *keys[:-1], new_key(KeyType(last.type), last.key, last.salt, spi)


def check_fit(encr_alg: int, keys: Sequence[KeyData]) -> None:
    """Refuse (Invalid EA) keys with fixed SPIs if AES-KW does not accept their length."""
    if missing := _missing(encr_alg, keys):
        raise Refused(
            f"the answer is to be encrypted with AES-KW, and the keys for it are {missing} octets"
            " short of a multiple of 8",
            ErrorNo.INVALID_EA,
        )


def _missing(encr_alg: int, keys: Sequence[KeyData]) -> int:
    return -len(build_chain(keys)) % 8 if encr_alg == EncrAlg.AES_KW_128 else 0


def check_spis(keys: Sequence[KeyData]) -> None:
    """Refuse keys whose SPIs are not distinct (interpretation 25)."""
    spis = [spi for key in keys if (spi := key.spi)]
    if len(set(spis)) != len(spis):
        raise Refused("two keys have the same SPI")


def need_spis(keys: Sequence[KeyData]) -> None:
    """Refuse (Invalid TICKET) to hand out keys of which one has no SPI (6.2.1)."""
    for key in keys:
        if not key.spi:
            raise Refused(
                f"a {KeyType(key.type).label} in the ticket has no SPI, so no crypto session can"
                " name it (6.2.1); ask whoever made the ticket for another",
                ErrorNo.INVALID_TICKET,
            )


def make_ticket(
    env: Environment,
    policy: TicketPolicy,
    keys: Sequence[KeyData],
    tpk: bytes,
    tpk_id: Identity | None,
    encr_alg: EncrAlg | None = None,
) -> tuple[TICKET, TicketKeys]:
    """Make a base ticket for a granted policy, and the keys for its maker (A.1, A.2).

    `encr_alg` replaces the profile's default. Draws the MPK and its SPI, the RAND, then the SPIs of
    MPKi and MPKr. Raises Refused (Invalid EA) for an algorithm that is not in the profile.
    """
    profile = profile_of(policy.prf)
    encr_alg = encr_alg or profile.encr_alg
    check_encr_alg(profile, encr_alg)
    taken = {key.spi for key in keys if key.spi is not None}
    mpk = new_key(KeyType.MPK, env.random(profile.key_length), None, env.spi(taken))
    mpk = for_key_wrap(env, encr_alg, [*keys, mpk])[-1]
    rand = env.random(rand_length(tpk, mpk.key))
    t = env.timestamp()
    protection = ticket_keys(policy.prf, tpk, rand)
    inside: list[Payload] = [
        THDR(),
        t.payload(),
        RAND(rand=rand),
        seal_kemac(encr_alg, [mpk, *keys], protection, TICKET_CSB_ID, t),
    ]
    if tpk_id is not None:
        inside.append(tpk_id.idr(IdRole.PSK))
    inside.append(V(auth_alg=int(profile.mac_alg), ver_data=bytes(profile.mac_alg.length)))
    ticket = policy.ticket(build_chain(inside))
    covered = covered_by_ticket_mac(ticket, profile.mac_alg.length)
    tag = mac(profile.mac_alg, protection, covered)
    ticket.ticket_data = ticket.ticket_data[: -len(tag)] + tag
    return ticket, _split(env, policy, mpk, rand, tuple(keys), taken)


def _split(
    env: Environment,
    policy: TicketPolicy,
    mpk: KeyData,
    rand: bytes,
    keys: tuple[KeyData, ...],
    taken: set[bytes],
) -> TicketKeys:
    mpki, mpkr = split_mpk(policy.prf, mpk.key, rand)
    first = new_key(KeyType.MPK, mpki, None, env.spi(taken))
    second = None
    if TicketFlag.I in policy.flags:
        second = new_key(KeyType.MPK, mpkr, None, env.spi(taken))
    return TicketKeys(first, second, keys)


def ticket_octets(ticket: TICKET) -> bytes:
    """Return a TICKET payload from Ticket Type to the end of Ticket Data."""
    return build_chain([ticket])[1 : -2 - len(ticket.initiator_data)]


def ticket_digest(ticket: TICKET) -> bytes:
    """Return a digest of a TICKET payload without its Initiator Data."""
    return sha256(ticket_octets(ticket)).digest()


def covered_by_ticket_mac(ticket: TICKET, mac_length: int) -> bytes:
    """Return what the MAC of a base ticket covers: Ticket Type up to the MAC (A.1)."""
    return ticket_octets(ticket)[:-mac_length]


@dataclass(frozen=True, slots=True)
class BaseTicket:
    """The Ticket Data of a base ticket, read but not verified yet."""

    ticket: TICKET
    policy: TicketPolicy
    t: Timestamp
    rand: bytes
    kemac: KEMAC
    v: V
    tpk_id: Identity | None

    @classmethod
    def of(cls, ticket: TICKET) -> BaseTicket:
        """Read Ticket Data of a base ticket, in the 3GPP form as well (interpretation 39).

        Raises Refused (Invalid TICKET) for another Ticket Type or missing payloads, WireError if it
        cannot be read.
        """
        policy = TicketPolicy.of(ticket)
        if policy.ticket_type != TicketType.BASE_3GPP:
            policy.check_base_ticket()
        base = ticket.offset + getattr(ticket, "ticket_data_at", 0)
        inside = ticket_data(ticket.ticket_data, base=base)
        tpk_ids = [p for p in inside if isinstance(p, IDR) and p.id_role == IdRole.PSK]
        if len(tpk_ids) > 1 or not isinstance(inside[-1], V):
            raise Refused(
                "Ticket Data ends with V and names one key at most", ErrorNo.INVALID_TICKET
            )
        return cls(
            ticket,
            policy,
            Timestamp.of(only(inside, T, "Ticket Data", ErrorNo.INVALID_TICKET)),
            only(inside, RAND, "Ticket Data", ErrorNo.INVALID_TICKET).rand,
            only(inside, KEMAC, "Ticket Data", ErrorNo.INVALID_TICKET),
            only(inside, V, "Ticket Data", ErrorNo.INVALID_TICKET),
            identity_of(tpk_ids[0]) if tpk_ids else None,
        )

    def open(self, tpk: bytes) -> TicketKeys:
        """Verify the ticket with its TPK and return its keys, with MPKr not forked.

        MPKi and MPKr keep the SPI of the MPK, because no message refers to it. Raises Refused as
        `decrypt` does, for a RAND that is too short, and for keys that no ticket may have.
        """
        inside = self.decrypt(tpk)
        profile = profile_of(self.policy.prf)
        try:
            check_rands([self.rand], [strength(tpk, profile), inside[0].key])
        except Refused as error:
            raise Refused(str(error), ErrorNo.INVALID_TICKET) from None
        self.policy.check_forks(inside)
        return self.split(inside)

    def split(self, inside: Sequence[KeyData]) -> TicketKeys:
        """Derive the ticket's keys from the content of its KEMAC; MPKr is not forked (A.2.2)."""
        mpk, *keys = inside
        mpki, mpkr = split_mpk(self.policy.prf, mpk.key, self.rand)
        second = _with_key(mpk, mpkr) if TicketFlag.I in self.policy.flags else None
        return TicketKeys(_with_key(mpk, mpki), second, tuple(keys))

    def decrypt(self, tpk: bytes) -> list[KeyData]:
        """Verify the ticket with its TPK and return the content of its KEMAC, the MPK first.

        Raises Refused (Invalid TICKET) if the MAC is wrong, algorithms are mixed, or the KEMAC does
        not contain exactly one MPK.
        """
        profile = profile_of(self.policy.prf)
        check_mac_alg(profile, self.v.auth_alg)
        protection = ticket_keys(self.policy.prf, tpk, self.rand)
        covered = covered_by_ticket_mac(self.ticket, len(self.v.ver_data))
        if not mac_is_good(self.v.auth_alg, protection, covered, self.v.ver_data):
            raise Refused(
                "the MAC of the ticket is wrong: it was changed, or made with another TPK",
                ErrorNo.INVALID_TICKET,
            )
        check_encr_alg(profile, self.kemac.encr_alg)
        try:
            inside = open_kemac(self.kemac, protection, TICKET_CSB_ID, self.t)
        except WireError as error:
            raise Refused(str(error), ErrorNo.INVALID_TICKET) from None
        mpks = [key for key in inside if key.type == KeyType.MPK]
        if len(mpks) != 1 or inside[0] is not mpks[0] or len(mpks[0].key) < profile.key_length:
            raise Refused(
                "the ticket must hold one MPK as long as its profile, before all other keys",
                ErrorNo.INVALID_TICKET,
            )
        return inside
