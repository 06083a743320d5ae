"""The state of a crypto session bundle after Ticket Transfer, and its media keys.

Both ends build the same `Session` except for the role, which determines the crypto sessions that
each end sends (interpretation 14).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from mikeytool.crypto.derive import session_keys
from mikeytool.exchange.environment import NS
from mikeytool.exchange.freshness import Freshness
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry, srtp_session_data
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import (
    ErrorNo,
    IdRole,
    KeyType,
    ProtType,
    SrtpParam,
    TicketFlag,
)
from mikeytool.wire.srtp_policy import SRTP_DEFAULTS, SrtpPolicy

KEY_OVERLAP = 10
"""How long a key stays valid after an update has replaced it, in seconds from T of the update."""
LONGEST_OVERLAP = 24 * 3600
"""The longest that it may stay valid, in seconds."""
MAX_SALT = 32
DEFAULT_TEK_LENGTH = SRTP_DEFAULTS[SrtpParam.ENCR_KEY_LENGTH]
DEFAULT_SALT_LENGTH = SRTP_DEFAULTS[SrtpParam.SALT_KEY_LENGTH]
"""In octets. RFC 3711 uses a 128-bit master key and a 112-bit master salt (interpretation 3)."""


@dataclass(frozen=True, slots=True)
class CryptoSession:
    """One negotiated crypto session. `policy` is None only under an Empty map.

    `by_initiator` is true if the initiator sends. `previous` is the SPI of the key that the latest
    update replaced, and `replaced_ns` is T of that update in Unix nanoseconds.
    """

    entry: GenericIdEntry
    policy: SP | None
    by_initiator: bool
    previous: tuple[bytes, ...] = ()
    replaced_ns: int = 0

    @property
    def ssrc(self) -> int | None:
        """Return the SSRC, or None if there is none in the Session Data."""
        data = srtp_session_data(self.entry)
        return None if data is None else data[0]

    @property
    def roc(self) -> int:
        """Return the initial rollover counter, or 0 if there is none in the Session Data."""
        data = srtp_session_data(self.entry)
        return 0 if data is None or data[1] is None else data[1]

    @property
    def seq(self) -> int | None:
        """Return the initial sequence number, or None if there is none in the Session Data."""
        data = srtp_session_data(self.entry)
        return None if data is None else data[2]


@masked_repr
@dataclass(frozen=True, slots=True)
class MediaKey:
    """The keys that protect one crypto session: for SRTP, the master key and master salt."""

    spi: bytes
    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)


class Proof(StrEnum):
    """What proves who the other end of a session is (interpretation 43)."""

    MPKR = "MPKr'"
    """It has MPKr', which the KMS makes for one responder."""
    INITIATOR_DATA = "Initiator Data"
    """The KMS verified it under MPKr, which only the requester of the ticket has."""
    KMS = "KMS"
    """The KMS lets it resolve the ticket. Everyone else who may could give its name as well."""


@masked_repr
@dataclass(frozen=True, slots=True)
class Session:
    """A crypto session bundle as one end sees it.

    `role` is None for an observer, who recovered the session from a capture. In that case `local`
    is the initiator, `remote` is the responder, and the observer sends in no crypto session. `keys`
    are the session keys ready for use: TGKs of the ticket are already forked. `mpk` protected the
    last message of the exchange and will protect updates (5.2).

    `policies` are all SPs of the session, also those that no crypto session uses. `randr_kms` and
    `ticket_digest` are compared with what an update repeats (interpretation 44). `keys_since` says
    when the keys came, in Unix nanoseconds by SPI; an observer does not know. A key that an update
    replaces stays valid for `overlap` seconds, so that no packet in flight is lost. It does not
    stay valid longer, because a member that has left may know it. `ended_ns` is when the other end
    ended the session.
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
    fresh: Freshness = field(default_factory=Freshness)
    policies: tuple[SP, ...] = ()
    randr_kms: bytes = b""
    ticket_digest: bytes = b""
    keys_since: Mapping[bytes, int] = field(default_factory=dict)
    overlap: int = KEY_OVERLAP
    ended_ns: int | None = None

    def ended(self, now_ns: int) -> Session:
        """Return the session after the other end has ended it, without keys (interpretation 51)."""
        return replace(self, ended_ns=now_ns, keys=(), keys_since={}, crypto_sessions=())

    def check_open(self) -> None:
        """Raise Refused if the other end has ended the session."""
        if self.ended_ns is not None:
            raise Refused(
                f"{self.remote} has ended this session: its keys are gone; set up another session"
            )

    @property
    def remote_proof(self) -> Proof | None:
        """Return what proves who the other end is; None if it has not sent anything."""
        flags = self.policy.flags
        if self.role == IdRole.INITIATOR and TicketFlag.F in flags:
            return Proof.MPKR if TicketFlag.I in flags else Proof.KMS
        if self.role == IdRole.RESPONDER:
            return Proof.INITIATOR_DATA if TicketFlag.I in flags else Proof.KMS
        return None

    @property
    def policies_by_number(self) -> dict[int, SP]:
        """The security policies of the session by their policy numbers."""
        used = [one.policy for one in self.crypto_sessions if one.policy is not None]
        return {sp.policy_no: sp for sp in (*self.policies, *used)}

    def numbered(self, policies: Iterable[SP]) -> list[SP]:
        """Return policies with numbers for an update: known ones keep theirs, others get new ones.

        Raises UsageError if no number is left.
        """
        known = self.policies_by_number
        numbers = {policy_content(sp): number for number, sp in known.items()}
        free = iter(number for number in range(256) if number not in known)
        found = []
        for sp in policies:
            content = policy_content(sp)
            number = numbers.get(content)
            if number is None and (number := next(free, None)) is None:
                raise UsageError("the session has no policy number left")
            numbers[content] = number
            found.append(sp.copy(policy_no=number))
        return found

    @property
    def rekey_by_ns(self) -> int | None:
        """Return when the keys have to be replaced at the latest (TRr, 6.10), in Unix nanoseconds.

        Returns None if the ticket does not say, or the age of the keys is not known.
        """
        used = {one.entry.spi for one in self.crypto_sessions} & self.keys_since.keys()
        if self.policy.rekey is None or not used:
            return None
        return min(self.keys_since[spi] for spi in used) + self.policy.rekey * NS

    def still_valid(self, one: CryptoSession, now_ns: int) -> tuple[bytes, ...]:
        """Return the SPIs of the replaced keys of a crypto session that are still valid."""
        return one.previous if now_ns < one.replaced_ns + self.overlap * NS else ()

    def check_rekeyed(self, now_ns: int) -> bool:
        """Refuse to send under keys that had to be replaced before (TRr, 6.10).

        Returns whether it is time to replace them: a tenth of the interval, or less, is left.
        """
        until, every = self.rekey_by_ns, self.policy.rekey
        if until is None or every is None:
            return False
        if now_ns > until:
            raise Refused(
                f"the keys of this session had to be replaced {(now_ns - until) // NS} s ago (TRr"
                f" of its ticket: every {every} s); set up another session"
            )
        return until - now_ns <= every * NS // 10

    def media_key(self, crypto_session: CryptoSession, spi: bytes | None = None) -> MediaKey:
        """Return the TEK and salt of a crypto session, for its key or that of `spi` (5.1.3).

        Raises Refused if there is no such key.
        """
        return self._media_key(crypto_session, _key_of(self.keys, crypto_session, spi))

    def _media_key(self, crypto_session: CryptoSession, key: KeyData) -> MediaKey:
        if key.type in (KeyType.TEK, KeyType.TEK_SALT):
            # With a TEK without a salt, SRTP uses its default, a salt of zeros.
            salt = key.salt or bytes(key_lengths(crypto_session)[1])
            return MediaKey(key.spi or b"", key.key, salt)
        tek_length, salt_length = key_lengths(crypto_session)
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
        """Return whether this end sends in a crypto session."""
        if self.role is None:
            return False
        return crypto_session.by_initiator == (self.role == IdRole.INITIATOR)

    def admits_any(self, crypto_session: CryptoSession) -> bool:
        """Return whether a crypto session may receive the streams of several senders.

        This is the case under a group key, which is a TEK+SALT (interpretation 13). Any SSRC other
        than this end's own is then accepted. ROC and SEQ in the Session Data are those of one
        stream, such as a mixer's, and then no other is accepted (interpretation 45).
        """
        entry = crypto_session.entry
        if self.role is None or self.is_local(crypto_session) or entry.protocol != ProtType.SRTP:
            return False
        if crypto_session.seq is not None:
            return False
        return bool(_key_of(self.keys, crypto_session).type == KeyType.TEK_SALT)

    def check(self) -> None:
        """Refuse a bundle with a crypto session without a key, or with two on one key stream."""
        self.check_with(self.crypto_sessions, self.keys)

    def check_with(self, crypto_sessions: Sequence[CryptoSession], keys: Sequence[KeyData]) -> None:
        """Refuse what `check` would refuse if these were the crypto sessions and keys."""
        used = [one.policy for one in crypto_sessions if one.policy is not None]
        check_policies({id(policy): policy for policy in used}.values(), self.policy.prf)
        streams: set[tuple[bytes, int]] = set()
        for crypto_session in crypto_sessions:
            media = self._media_key(crypto_session, _key_of(keys, crypto_session))
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


def _key_of(
    keys: Sequence[KeyData], crypto_session: CryptoSession, spi: bytes | None = None
) -> KeyData:
    """Return the key with an SPI, or with that of a crypto session; raises Refused."""
    spi = crypto_session.entry.spi if spi is None else spi
    for key in keys:
        if key.spi == spi and spi:
            return key
    cs_id = crypto_session.entry.cs_id
    named = f"names the SPI {spi.hex()}, no key has it" if spi else "has no key"
    raise Refused(f"crypto session {cs_id} {named}; a key comes in the ticket or a KEMAC")


def policy_content(policy: SP) -> tuple[object, ...]:
    """Return what a security policy says, without its number and its place in a message."""
    return policy.protocol, *((param.type, param.value) for param in policy.policy_param)


def sp_value(policy: SP | None, kind: SrtpParam) -> int | None:
    """Return a parameter of an SRTP policy as a number, or None if it is not set."""
    params = () if policy is None else policy.policy_param
    return next((int.from_bytes(p.value) for p in params if p.type == kind), None)


def key_lengths(crypto_session: CryptoSession) -> tuple[int, int]:
    """Return the TEK and salt lengths of a crypto session, in octets (interpretation 3)."""
    if crypto_session.entry.protocol != ProtType.SRTP:
        return DEFAULT_TEK_LENGTH, DEFAULT_SALT_LENGTH
    policy = SrtpPolicy(crypto_session.policy)
    return policy.key_length, policy.salt_length


def check_policies(policies: Iterable[SP], prf: int) -> None:
    """Refuse SRTP policies with key lengths that no cipher has or the profile forbids (12.1)."""
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
                f"policy {policy.policy_no} takes a salt of {number_of(salt, 'octet')}",
                ErrorNo.INVALID_SPPAR,
            )


def check_key_lengths(crypto_session: CryptoSession, media: MediaKey) -> None:
    """Refuse a TEK or salt whose length differs from that in the policy."""
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
    """Choose the SPI for another crypto session: that of an unused key, or of the first key.

    Returns an empty SPI if there is no key.
    """
    used = {entry.spi for entry in entries}
    spis = [key.spi or b"" for key in keys]
    return next((spi for spi in spis if spi not in used), spis[0] if spis else b"")
