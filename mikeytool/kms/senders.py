"""Finding and verifying the sender of a message, as the first step of handling it
(RFC 6043 4.2.1.4, 4.2.3.4; interpretations 16, 34 to 38).

This step writes and decrypts nothing, to keep the cost of a flood of forged messages low. What
signed messages need is loaded for them only: X.509 takes longer than all else that a command loads.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.forwarding import path_of
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.kms_messages import verify_init
from mikeytool.exchange.profile import check_rands
from mikeytool.exchange.request import RequestInit, read_request_init
from mikeytool.exchange.resolve import ResolveInit, read_resolve_init
from mikeytool.kms.authorization import check_enabled
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.store.names import check_identity
from mikeytool.kms.store.records import Peer, User
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, IDR
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, label

if TYPE_CHECKING:
    from mikeytool.exchange.public_key import VerifiedPk

Request = RequestInit | ResolveInit

_SENDING = (IdRole.PSK, IdRole.INITIATOR, IdRole.RESPONDER)
_MAX_CLAIMED = 4
"""How many names in a message that does not verify are looked up."""


@masked_repr
@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of a verified message: a user who acts as some identity, or another KMS.

    `key` is the pre-shared key, or the public key that verified `signed`. COUNTERs
    are counted separately for each key. `path` lists the KMSs that the message came through.
    `admitted` means that the user is not in the store but was admitted because of a certificate.
    """

    request: Request
    user: User
    acting: Identity
    key: bytes = field(repr=False)
    signed: VerifiedPk[Any] | None = None
    path: tuple[Identity, ...] = ()
    admitted: bool = False

    @property
    def incoming(self) -> Incoming:
        """The message itself."""
        return self.request.incoming

    @property
    def names(self) -> tuple[Identity, ...]:
        """Every identity of the sender: the one with the key, and those in the certificate."""
        if self.signed is None:
            return (self.user.identity,)
        from mikeytool.crypto.certificates import identities

        return (self.user.identity, *identities(self.signed.certificate))

    def protection(self, store: Store, env: Environment) -> bytes:
        """The key that protects the answer: the pre-shared key, or the envelope key.

        Only this method decrypts the envelope. Callers must first check that the sender is
        authorized (interpretation 36). Raises the same errors as `open_envelope`.
        """
        if self.signed is None:
            return self.key
        from mikeytool.exchange.public_key import open_envelope

        envelope_key = open_envelope(env, self.signed, store.key_pairs())
        check_rands([self.request.rand], [envelope_key])
        return envelope_key


def authenticate(store: Store, env: Environment, kms_policy: KmsPolicy, message: Message) -> Sender:
    """Find the sender's key, and verify the message with it.

    Whether it is for this KMS is checked later. Raises Refused if the sender is unknown or the
    message does not verify, usually with (Auth failure). Raises WireError if the message cannot
    be read.
    """
    match message.header.data_type:
        case DataType.REQUEST_INIT_PSK:
            return _requests_by_psk(store, read_request_init(message))
        case DataType.RESOLVE_INIT_PSK:
            return _resolves_by_psk(store, read_resolve_init(message))
        case DataType.REQUEST_INIT_PK | DataType.RESOLVE_INIT_PK:
            return _by_certificate(store, env, kms_policy, message)
    message.check_whole()
    kind = label(DataType, message.header.data_type)
    raise Refused(
        f"this is {kind}; a KMS takes REQUEST_INIT and RESOLVE_INIT",
        ErrorNo.INVALID_DT,
    )


def claimed_sender(store: Store, message: Message) -> Identity | None:
    """The user or KMS that a message names as its sender, if it is known here.

    Anyone may have sent the message. The names come in the order of their use: the key, IDRi,
    IDRr, then the names in the certificate.
    """
    by_role = {one.id_role: Identity.of(one) for one in reversed(message.all(IDR))}
    names = [by_role[role] for role in _SENDING if role in by_role]
    for payload in message.all(CERT)[:1]:
        from mikeytool.crypto.certificates import identities, read_certificate

        with suppress(Refused):
            names += identities(read_certificate(payload.cert_data))
    for name in names[:_MAX_CLAIMED]:
        known = store.owner(name) or store.peer(name)
        if known is not None:
            return known.identity
    return None


def _requests_by_psk(store: Store, request: RequestInit) -> Sender:
    user = owner_of_key(store, request.psk_id, request.sender)
    psk = store.psk(user)
    verify_init(request, psk, user.identity, store.identity)
    return Sender(request, user, request.sender or user.identity, psk)


def _resolves_by_psk(store: Store, resolve: ResolveInit) -> Sender:
    peer = None if resolve.psk_id is None else store.peer(resolve.psk_id)
    if peer is not None:
        return _handed_on(store, resolve, peer)
    user = owner_of_key(store, resolve.psk_id, resolve.sender)
    psk = store.psk(user)
    verify_init(resolve, psk, user.identity, store.identity)
    return Sender(resolve, user, resolve.sender or user.identity, psk)


def owner_of_key(store: Store, psk_id: Identity | None, claimed: Identity | None) -> User:
    """The user whose key protects a message (interpretation 16)."""
    if psk_id is not None:
        # A key is identified by its own name or by the identity of its user.
        user = store.owner(psk_id)
    elif claimed is not None:
        user = store.user(claimed)
    else:
        raise Refused("the message names neither its sender nor a key", ErrorNo.AUTH_FAILURE)
    if user is None or user.sealed_psk is None:
        what = f"the key {psk_id}" if psk_id is not None else f"the user {claimed}"
        raise Refused(f"{what} is not known; see `kms user list`", ErrorNo.AUTH_FAILURE)
    return user


def _handed_on(store: Store, resolve: ResolveInit, peer: Peer) -> Sender:
    """Verify a message that another KMS sent on behalf of the identity in IDRr."""
    verify_init(resolve, peer.psk, peer.identity, store.identity)
    path = path_of(resolve.incoming, peer.identity)
    acting = resolve.sender or peer.identity
    return Sender(resolve, User(peer.identity), acting, peer.psk, path=path)


def _by_certificate(
    store: Store, env: Environment, kms_policy: KmsPolicy, message: Message
) -> Sender:
    """Return the sender of a signed message."""
    from mikeytool.kms.signers import public_key_of, read_signed, signer_of

    request = read_signed(message)
    user, admitted, verified = signer_of(store, env, kms_policy, request)
    key = public_key_of(verified)
    return Sender(request.init, user, verified.sender, key, verified, admitted=admitted)


def check_certified(store: Store, sender: Sender) -> None:
    """Refuse a sender who is not in the store, if their certificate names someone who is.

    A CA vouches for a user. It cannot make anyone a group, this KMS or another KMS.
    """
    try:
        check_identity(sender.acting)
    except UsageError as error:
        raise Refused(f"the certificate: {error}", ErrorNo.INVALID_CERT) from None
    for name in sender.names:
        check_enabled(store, name, "the user", known=False)
        if name == store.identity or store.peer(name) is not None:
            raise Refused(f"{name} is a KMS, and no user", ErrorNo.INVALID_ID)
        if store.is_group(name):
            raise Refused(f"{name} is a group, and no user", ErrorNo.INVALID_ID)
