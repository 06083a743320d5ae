"""A crypto session bundle as it stands after Ticket Transfer, and its media keys.

Both ends build the same `Session`; what differs is the role, which tells them which crypto
sessions are theirs to send (interpretation 14).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mikeytool.crypto.derive import session_keys
from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import GenericIdEntry, srtp_session_data
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import (
    ErrorNo,
    IdRole,
    KeyType,
    ProtType,
    SrtpParam,
    TicketFlag,
)
from mikeytool.wire.srtp_policy import SRTP_DEFAULTS, SrtpPolicy

KEY_OVERLAP = 120
"""Seconds that a key is good for after an update has replaced it."""
MAX_SALT = 32
DEFAULT_TEK_LENGTH = SRTP_DEFAULTS[SrtpParam.ENCR_KEY_LENGTH]
DEFAULT_SALT_LENGTH = SRTP_DEFAULTS[SrtpParam.SALT_KEY_LENGTH]
"""In octets: RFC 3711's 128-bit master key and 112-bit master salt (interpretation 3)."""


@dataclass(frozen=True, slots=True)
class CryptoSession:
    """One negotiated crypto session; `policy` is None only under an Empty map.

    `by_initiator` tells which end sends; `previous` is the SPI of the key that an update
    has replaced last, at `replaced_ns` in Unix nanoseconds. It stays good for KEY_OVERLAP, so
    that no packet in flight is lost, and no longer: a member that left may have it.
    """

    entry: GenericIdEntry
    policy: SP | None
    by_initiator: bool
    previous: tuple[bytes, ...] = ()
    replaced_ns: int = 0

    def overlap(self, now_ns: int) -> tuple[bytes, ...]:
        """The SPIs of replaced keys that are still good."""
        return self.previous if now_ns < self.replaced_ns + KEY_OVERLAP * NS else ()

    @property
    def ssrc(self) -> int | None:
        """The SSRC, None when its Session Data has none."""
        data = srtp_session_data(self.entry)
        return None if data is None else data[0]

    @property
    def roc(self) -> int:
        """The rollover counter at the start, 0 unless the Session Data gives it."""
        data = srtp_session_data(self.entry)
        return 0 if data is None or data[1] is None else data[1]


@masked_repr
@dataclass(frozen=True, slots=True)
class MediaKey:
    """What protects the packets of one crypto session: for SRTP master key and salt."""

    spi: bytes
    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)


@masked_repr
@dataclass(frozen=True, slots=True)
class Session:
    """A crypto session bundle in the hands of one end.

    `role` is None for an observer, who recovered it from a capture: then `local` is the
    initiator, `remote` the responder, and no crypto session is one's own to send.
    `keys` are the session keys as they are used: TGKs of the ticket are forked already.
    `mpk` protected the last message of the exchange and will protect updates (5.2);
    `last_t` is the largest T, as 64 bits, that was sent or seen under that key.
    """

    csb_id: int
    role: IdRole | None
    local: Identity
    remote: Identity
    policy: TicketPolicy
    randr_i: bytes
    randr_r: bytes
    mpk: bytes = field(repr=False)
    keys: tuple[KeyData, ...]
    crypto_sessions: tuple[CryptoSession, ...]
    last_t: int = 0

    def _key_of(self, crypto_session: CryptoSession, spi: bytes) -> KeyData:
        for key in self.keys:
            if key.spi == spi and spi:
                return key
        cs_id = crypto_session.entry.cs_id
        named = f"names the SPI {spi.hex()}, no key has it" if spi else "has no key"
        raise Refused(f"crypto session {cs_id} {named}; a key comes in the ticket or a KEMAC")

    def media_key(self, crypto_session: CryptoSession, spi: bytes | None = None) -> MediaKey:
        """TEK and salt of a crypto session under its key, or the key of an SPI (5.1.3).

        Raises Refused when there is no such key.
        """
        key = self._key_of(crypto_session, crypto_session.entry.spi if spi is None else spi)
        tek_length, salt_length = key_lengths(crypto_session)
        if key.type in (KeyType.TEK, KeyType.TEK_SALT):
            # A TEK without a salt leaves SRTP with its default, a salt of zeros.
            return MediaKey(key.spi or b"", key.key, key.salt or bytes(salt_length))
        flags = self.policy.flags
        derived = session_keys(
            self.policy.prf,
            key.key,
            crypto_session.entry.cs_id,
            randr_i=self.randr_i if TicketFlag.H in flags else b"",
            randr_r=self.randr_r if TicketFlag.G in flags else b"",
        )
        salt = derived.salt(salt_length) if key.salt is None else key.salt
        return MediaKey(key.spi or b"", derived.tek(tek_length), salt)

    def is_local(self, crypto_session: CryptoSession) -> bool:
        """Whether a crypto session is this end's to send."""
        if self.role is None:
            return False
        return crypto_session.by_initiator == (self.role == IdRole.INITIATOR)

    def admits_any(self, crypto_session: CryptoSession) -> bool:
        """Whether a crypto session to receive stands for the streams of many.

        That is so under a group key, which is a TEK+SALT (interpretation 13): any SSRC but
        this end's own may then come.
        """
        entry = crypto_session.entry
        if self.role is None or self.is_local(crypto_session) or entry.protocol != ProtType.SRTP:
            return False
        return bool(self._key_of(crypto_session, entry.spi).type == KeyType.TEK_SALT)

    def check(self) -> None:
        """Refuse a bundle that cannot work: a session without key, or one key stream twice."""
        streams: set[tuple[bytes, int]] = set()
        for crypto_session in self.crypto_sessions:
            if crypto_session.policy is not None:
                check_policies([crypto_session.policy], self.policy.prf)
            media = self.media_key(crypto_session)
            check_key_lengths(crypto_session, media)
            ssrc = crypto_session.ssrc
            if ssrc is None:
                continue
            if (media.key, ssrc) in streams:
                raise Refused(
                    f"two crypto sessions have the SSRC {ssrc:#010x} under one key;"
                    " their key streams would be the same"
                )
            streams.add((media.key, ssrc))


def sp_value(policy: SP | None, kind: SrtpParam) -> int | None:
    """A parameter of an SRTP policy as a number, None when it is not set."""
    params = () if policy is None else policy.policy_param
    return next((int.from_bytes(p.value) for p in params if p.type == kind), None)


def key_lengths(crypto_session: CryptoSession) -> tuple[int, int]:
    """TEK and salt length in octets that a crypto session takes (interpretation 3)."""
    if crypto_session.entry.protocol != ProtType.SRTP:
        return DEFAULT_TEK_LENGTH, DEFAULT_SALT_LENGTH
    policy = SrtpPolicy(crypto_session.policy)
    return policy.key_length, policy.salt_length


def check_policies(policies: Iterable[SP], prf: int) -> None:
    """Refuse SRTP policies with keys that no cipher has, or too long for the profile (12.1)."""
    most = profile_of(prf).key_length
    for policy in policies:
        if policy.protocol != ProtType.SRTP:
            continue
        length = sp_value(policy, SrtpParam.ENCR_KEY_LENGTH)
        salt = sp_value(policy, SrtpParam.SALT_KEY_LENGTH)
        if not 16 <= (DEFAULT_TEK_LENGTH if length is None else length) <= most:
            raise Refused(
                f"policy {policy.policy_no} takes keys of {length} octets; with the"
                f" {8 * most}-bit profile they have 16 to {most} (12.1); a ticket requested"
                " with --profile 256 allows longer ones",
                ErrorNo.INVALID_SPPAR,
            )
        if salt is not None and salt > MAX_SALT:
            raise Refused(
                f"policy {policy.policy_no} takes a salt of {salt} octets", ErrorNo.INVALID_SPPAR
            )


def check_key_lengths(crypto_session: CryptoSession, media: MediaKey) -> None:
    """Refuse a TEK or salt of another length than the policy has."""
    if crypto_session.entry.protocol != ProtType.SRTP:
        return
    for name, wanted, have in zip(
        ("key", "salt"), key_lengths(crypto_session), (media.key, media.salt), strict=True
    ):
        if len(have) != wanted:
            raise Refused(
                f"the policy of crypto session {crypto_session.entry.cs_id} takes a {name} of"
                f" {wanted} octets, the one with SPI {media.spi.hex()} has {len(have)}",
                ErrorNo.INVALID_SPPAR,
            )


def check_session_keys(keys: Iterable[KeyData], prf: int) -> None:
    """Refuse session keys that are too short or too long for the profile (12.1)."""
    profile = profile_of(prf)
    for key in keys:
        if len(key.key) < 16:
            raise Refused("a session key is shorter than 128 bits (RFC 6043 12.1)")
        if len(key.key) > 16 and profile.bits == 128:
            raise Refused(
                f"a session key of {8 * len(key.key)} bits needs the 256-bit profile"
                " (RFC 6043 12.1)"
            )


def choose_spi(keys: Sequence[KeyData], entries: Iterable[GenericIdEntry]) -> bytes:
    """The SPI for one more crypto session: a key that none uses yet, else the first.

    Empty when there is no key.
    """
    used = {entry.spi for entry in entries}
    spis = [key.spi or b"" for key in keys]
    return next((spi for spi in spis if spi not in used), spis[0] if spis else b"")
