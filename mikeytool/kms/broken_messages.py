"""Messages of known senders that break a rule of the protocol (RFC 6043 5.4).

Such a message is discarded, and its sender gets an Error message if the MAC or signature is right.
Nothing else comes of it, so the rules that make a message unique do not matter here. Identities
that occur twice, for example, are tried one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import NamedTuple, TypeVar

from mikeytool.crypto.derive import MessageKeys
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.kms_messages import KmsExchange, KmsInit
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.protection import covered
from mikeytool.exchange.request import TICKET_REQUEST
from mikeytool.exchange.resolve import TICKET_RESOLVE
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.senders import owner_of_key
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, IDR, PKE, RANDR, SIGN, T, V
from mikeytool.wire.registry import (
    MIKEY_VERSION,
    DataType,
    ErrorNo,
    IdRole,
    MacAlg,
    TsType,
    lengths,
)
from mikeytool.wire.timestamp import Timestamp

S = TypeVar("S", Identity, Identity | None)

_MAX_TRIED = 8
"""The most combinations of identities that are tried for one message."""

_EXCHANGES: dict[int, KmsExchange] = {
    DataType.REQUEST_INIT_PSK: TICKET_REQUEST,
    DataType.REQUEST_INIT_PK: TICKET_REQUEST,
    DataType.RESOLVE_INIT_PSK: TICKET_RESOLVE,
    DataType.RESOLVE_INIT_PK: TICKET_RESOLVE,
}


class Proof(NamedTuple):
    """Who sent a message, and the keys of its MAC and their algorithm if it has a MAC."""

    sender: Identity
    keys: MessageKeys | None = None
    mac_alg: MacAlg | None = None


def refused(env: Environment, message: Message, fault: Refused | WireError) -> Refused:
    """Return a fault that ended the reading of a message as a refusal with its Error no.

    The timestamp comes first (RFC 3830 5.3): an old message gets no other answer.
    """
    t = message.find(T)
    try:
        if t is not None:
            env.check_fresh(Timestamp.of(t))
    except Refused as old:
        return old
    if isinstance(fault, Refused):
        return fault
    # What the Ticket Policy holds is read beside the payloads of the message.
    in_policy = message.error is None
    return Refused(str(fault), ErrorNo.INVALID_TPPAR if in_policy else ErrorNo.UNSPECIFIED)


def error_for(env: Environment, message: Message, proof: Proof, refusal: Refused) -> bytes:
    """Make the Error message for the sender, which has a MAC if the message had one."""
    sent, mac_alg = message.find(T), proof.mac_alg
    t = None if sent is None else Timestamp.of(sent)
    return error_message(env, message.header, refusal.error_no, proof.keys, t=t, mac_alg=mac_alg)


def prove(store: Store, env: Environment, kms_policy: KmsPolicy, message: Message) -> Proof | None:
    """Return who sent a message that was refused before its sender was verified, if that is known.

    Returns None if no MAC or signature proves it.
    """
    header = message.header
    exchange = _EXCHANGES.get(header.data_type) if header.is_whole else None
    if exchange is None or header.version != MIKEY_VERSION:
        return None
    try:
        if header.data_type == exchange.init_psk:
            return _by_psk(store, exchange, message)
        return _by_certificate(store, env, kms_policy, exchange, message)
    except (Refused, WireError):
        return None


def _by_psk(store: Store, exchange: KmsExchange, message: Message) -> Proof | None:
    header, protects = message.header, _mac_of(message)
    if protects is None:
        return None
    mac_alg, tag = protects
    named = _identities(message, exchange.id_role)
    psk_id = next(iter(_identities(message, IdRole.PSK)), None)
    peer = store.peer(psk_id) if psk_id and exchange is TICKET_RESOLVE else None
    if peer is not None:
        owner, psk = peer.identity, peer.psk
    else:
        user = owner_of_key(store, psk_id, next(iter(named), None))
        owner, psk = user.identity, store.psk(user)
    prf = profile_of(header.prf).prf
    keys = exchange.keys(prf, psk, header.csb_id, _rand(message, exchange), response=False)
    covers = covered(message, message.raw, len(tag))
    for sender, kms in _parties(store, message, named or [owner]):
        if mac_is_good(mac_alg, keys, covers + sender.data + kms.data, tag):
            return Proof(owner, keys, MacAlg(mac_alg))
    return None


def _mac_of(message: Message) -> tuple[int, bytes] | None:
    """Return the algorithm and the MAC in the V at the end of a message.

    Reading may have ended at an unknown payload before it. The end is a V all the same if its
    octets, Next payload 0 and the algorithm, stand where they belong.
    """
    if message.error is None:
        end = message.payloads[-1] if message.payloads and not message.trailing else None
        return (end.auth_alg, end.ver_data) if isinstance(end, V) else None
    raw = message.raw
    for mac_alg, length in lengths(MacAlg).items():
        if length and raw[-length - 2 : -length] == bytes([0, mac_alg]):
            return mac_alg, raw[-length:]
    return None


def _by_certificate(
    store: Store,
    env: Environment,
    kms_policy: KmsPolicy,
    exchange: KmsExchange,
    message: Message,
) -> Proof | None:
    """Return whose signature is right. No envelope is opened, so there is no key for a MAC."""
    from mikeytool.exchange.public_key import PublicKeyInit
    from mikeytool.kms.signers import signer_of

    sign = message.payloads[-1] if message.payloads else None
    if message.error is not None or message.trailing or not isinstance(sign, SIGN):
        return None
    t = message.find(T)
    # Without a T, only the certificate of a user is good enough.
    stamp = Timestamp(TsType.NTP_UTC, bytes(8)) if t is None else Timestamp.of(t)
    header = message.header
    incoming = Incoming(message, DataType(header.data_type), profile_of(header.prf), stamp)
    rand, certs = _rand(message, exchange), tuple(message.all(CERT))
    for sender, kms in _parties(store, message, _identities(message, exchange.id_role) or [None]):
        init = KmsInit(incoming, rand, sender, kms, None)
        try:
            request = PublicKeyInit(init, certs, None, PKE(data=b""), sign)
            user = signer_of(store, env, kms_policy, request).user
        except Refused:
            continue
        return Proof(user.identity)
    return None


def _identities(message: Message, role: IdRole) -> list[Identity]:
    found = (Identity.of(one) for one in message.all(IDR) if one.id_role == role)
    return list(dict.fromkeys(found))


def _parties(store: Store, message: Message, senders: Sequence[S]) -> Iterator[tuple[S, Identity]]:
    """Yield what may follow the message under its MAC (5.5): a sender and a KMS."""
    kmss = _identities(message, IdRole.KMS) or [store.identity]
    return islice(product(senders, kmss), _MAX_TRIED)


def _rand(message: Message, exchange: KmsExchange) -> bytes:
    rands = (one.rand for one in message.all(RANDR) if one.rand_role == exchange.rand_role)
    return next(rands, b"")
