"""Ticket Request and Ticket Resolve with public keys (RFC 6043 4.2.1.3, 4.2.3.3).

A user calls `check_recipient` once, then either `request_init_pk` and `accept_request_resp`, or
`resolve_init_pk` and `accept_resolve_resp`. The KMS calls `read_request_init_pk` or
`read_resolve_init_pk`, `verify_pk`, `open_envelope`, then `request_resp` or `resolve_resp`. The
answers are the same as with a pre-shared key, but use the envelope key in its place.
`open_envelope` accepts only what `verify_pk` returns, so nothing is decrypted for an unknown
sender.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, ObjectIdentifier

from mikeytool.crypto.certificates import (
    Use,
    certificate_hash,
    check_certificate,
    identities,
    is_of,
    is_of_kms,
    read_certificate,
    rsa_key,
)
from mikeytool.crypto.envelope import seal_envelope, unseal_envelope
from mikeytool.crypto.signature import check_signature, sign, signature_length
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.kms_messages import KmsExchange, KmsInit, empty_header
from mikeytool.exchange.profile import Profile, rand_length
from mikeytool.exchange.protection import covered
from mikeytool.exchange.request import (
    TICKET_REQUEST,
    RequestInit,
    read_request_init,
    request_init_of,
)
from mikeytool.exchange.resolve import (
    TICKET_RESOLVE,
    ResolveInit,
    read_resolve_init,
    resolve_init_of,
)
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, CHASH, PKE, RANDR, SIGN, TICKET, TP, Payload
from mikeytool.wire.registry import (
    CertType,
    DataType,
    ErrorNo,
    HashFunc,
    IdRole,
    PrfFunc,
    SType,
    label,
)

Init = TypeVar("Init", RequestInit, ResolveInit, KmsInit)

_HASH_FUNC = {
    PrfFunc.MIKEY_1: HashFunc.SHA_1.value,
    PrfFunc.HMAC_SHA_256: HashFunc.SHA_256.value,
}
_SIGNING = (CertType.X509V3, CertType.X509V3_SIGN)


@masked_repr
@dataclass(frozen=True, slots=True)
class Signer:
    """What a user signs with: a key and its certificate chain, own certificate first.

    Without `sends_chain` the KMS must get the chain from somewhere else.
    """

    private_key: RSAPrivateKey = field(repr=False)
    chain: tuple[Certificate, ...]
    s_type: SType = SType.RSA_PKCS1_V15
    sends_chain: bool = True


@dataclass(frozen=True, slots=True)
class Recipient:
    """The certificate of the KMS, checked by `check_recipient`, and how to encrypt to it.

    `named` puts its hash into CHASH, for a KMS with several certificates.
    """

    certificate: Certificate
    oaep: bool = False
    named: bool = False


def check_recipient(
    chain: Sequence[Certificate], anchors: Sequence[Certificate], now_ns: int, kms: Identity
) -> None:
    """Check that a chain, own certificate first, belongs to the KMS and can be trusted.

    Raises Refused (Invalid Cert).
    """
    check_certificate(chain, anchors, now_ns, Use.ENVELOPE)
    if not is_of_kms(chain[0], kms):
        raise Refused(
            f"the subjectAltName of the certificate does not name the KMS {kms}",
            ErrorNo.INVALID_CERT,
        )


@masked_repr
@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key of the KMS with its certificate."""

    private_key: RSAPrivateKey = field(repr=False)
    certificate: Certificate


@masked_repr
@dataclass(frozen=True, slots=True)
class Enveloped(Generic[Init]):
    """An initial message, and the envelope key that protects the answer."""

    init: Init
    envelope_key: bytes = field(repr=False)


def request_init_pk(
    env: Environment,
    profile: Profile,
    policy: TicketPolicy,
    *,
    initiator: Identity,
    kms: Identity,
    signer: Signer,
    recipient: Recipient,
) -> Enveloped[RequestInit]:
    """Make a REQUEST_INIT_PK that asks for a ticket with a policy (4.2.1.1, 4.2.1.3).

    Draws the CSB ID, the envelope key and RANDRi. Raises Refused for flags that contradict each
    other, Refused (Invalid Cert) for an unusable certificate, and UsageError for a key or an
    identity that does not match the certificate.
    """
    policy.check_flags()
    message, key = _signed_init(
        TICKET_REQUEST, env, profile, policy.tp(), (initiator, kms), signer, recipient
    )
    incoming = Incoming.read(message, TICKET_REQUEST.init_pk)
    return Enveloped(request_init_of(incoming, policy), key)


def resolve_init_pk(
    env: Environment,
    profile: Profile,
    ticket: TICKET,
    *,
    responder: Identity,
    kms: Identity,
    signer: Signer,
    recipient: Recipient,
) -> Enveloped[ResolveInit]:
    """Make a RESOLVE_INIT_PK for a ticket, including its Initiator Data (4.2.3.1, 4.2.3.3).

    Draws the CSB ID, the envelope key and RANDRr; raises as `request_init_pk` does.
    """
    bare = ticket.copy(next_payload=None)
    message, key = _signed_init(
        TICKET_RESOLVE, env, profile, bare, (responder, kms), signer, recipient
    )
    return Enveloped(resolve_init_of(Incoming.read(message, TICKET_RESOLVE.init_pk)), key)


def _signed_init(
    exchange: KmsExchange,
    env: Environment,
    profile: Profile,
    wanted: TP | TICKET,
    parties: tuple[Identity, Identity],
    signer: Signer,
    recipient: Recipient,
) -> tuple[Message, bytes]:
    """Return the initial message, and the envelope key in it."""
    sender, kms = parties
    _check_own(signer, sender)
    if not is_of_kms(recipient.certificate, kms):
        raise UsageError(f"the subjectAltName of the KMS's certificate does not name {kms}")
    t = env.timestamp()
    header = empty_header(exchange.init_pk, profile, int.from_bytes(env.random(4)), v=1)
    envelope_key = env.random(profile.key_length)
    rand = env.random(rand_length(envelope_key))
    payloads: list[Payload] = [
        t.payload(),
        RANDR(rand_role=exchange.rand_role.value, rand=rand),
        sender.idr(exchange.id_role),
        *(_certs(signer) if signer.sends_chain else ()),
        kms.idr(IdRole.KMS),
        wanted,
    ]
    if recipient.named:
        func = _HASH_FUNC[profile.prf]
        payloads.append(CHASH(hash_func=func, hash=certificate_hash(func, recipient.certificate)))
    payloads.append(
        seal_envelope(rsa_key(recipient.certificate), envelope_key, oaep=recipient.oaep)
    )
    message = signed(header, payloads, profile, signer, sender.data + kms.data)
    return message, envelope_key


def _check_own(signer: Signer, sender: Identity) -> None:
    if not signer.chain:
        raise UsageError("a signature takes the certificate of its key")
    own = signer.chain[0]
    if rsa_key(own).public_numbers() != signer.private_key.public_key().public_numbers():
        raise UsageError("the private key is not that of the first certificate")
    if not is_of(own, sender):
        raise UsageError(f"the subjectAltName of the certificate does not name {sender}")


def _certs(signer: Signer) -> list[CERT]:
    return [
        CERT(cert_type=CertType.X509V3.value, cert_data=certificate.public_bytes(Encoding.DER))
        for certificate in signer.chain
    ]


def signed(
    header: HDR, payloads: Sequence[Payload], profile: Profile, signer: Signer, behind: bytes
) -> Message:
    """Return the message with a SIGN payload at its end; `behind` is what table 5.2 appends."""
    length = signature_length(signer.private_key)
    sign_payload = SIGN(s_type=signer.s_type.value, signature=bytes(length))
    message = Message(header, [*payloads, sign_payload])
    message.place()
    covers = covered(message, message.raw, length) + behind
    signature = sign(profile.prf, signer.private_key, signer.s_type, covers)
    sign_payload.signature, message.raw = signature, message.raw[:-length] + signature
    return message


@dataclass(frozen=True, slots=True)
class PublicKeyInit(Generic[Init]):
    """REQUEST_INIT_PK or RESOLVE_INIT_PK as the KMS reads it; it is not verified yet.

    `init` is the part shared with the pre-shared key variant. `certs` is empty if the certificates
    are omitted.
    """

    init: Init
    certs: tuple[CERT, ...]
    chash: CHASH | None
    pke: PKE
    sign: SIGN

    @property
    def incoming(self) -> Incoming:
        """Return the message itself."""
        return self.init.incoming


def read_request_init_pk(message: bytes | Message) -> PublicKeyInit[RequestInit]:
    """Read REQUEST_INIT_PK (4.2.1.4); raises WireError and Refused."""
    return _read(read_request_init(message, (DataType.REQUEST_INIT_PK,)))


def read_resolve_init_pk(message: bytes | Message) -> PublicKeyInit[ResolveInit]:
    """Read RESOLVE_INIT_PK (4.2.3.4); raises WireError and Refused."""
    return _read(read_resolve_init(message, (DataType.RESOLVE_INIT_PK,)))


def _read(init: Init) -> PublicKeyInit[Init]:
    incoming = init.incoming
    return PublicKeyInit(
        init,
        tuple(incoming.message.all(CERT)),
        incoming.message.find(CHASH),
        incoming.only(PKE),
        incoming.only(SIGN, ErrorNo.AUTH_FAILURE),
    )


@dataclass(frozen=True, slots=True)
class VerifiedPk(Generic[Init]):
    """An initial message whose signature by `sender` was verified with a trusted certificate."""

    request: PublicKeyInit[Init]
    sender: Identity
    certificate: Certificate


def verify_pk(
    request: PublicKeyInit[Init],
    anchors: Sequence[Certificate],
    now_ns: int,
    kms: Identity,
    *,
    known: Certificate | None = None,
    purposes: Sequence[ObjectIdentifier] = (),
) -> VerifiedPk[Init]:
    """Verify chain, identity and signature; nothing is decrypted.

    `kms` is used if IDRkms is omitted. If the message does not name the sender, the certificate
    does. `known` is a certificate of the sender that is trusted directly, whether or not the
    message includes it; it cannot certify others. `purposes` are the extended key usages to accept
    in addition to anyExtendedKeyUsage. Raises Refused (Invalid Cert) if the certificate is not
    trusted or not the sender's, Refused (Auth failure) for a wrong signature, and Refused (Invalid
    HA) for a signature with another hash.
    """
    own = _trusted(request, anchors, now_ns, known, purposes)
    signed_by = request.init.sender or _only_identity(own)
    if not is_of(own, signed_by):
        raise Refused(
            f"the subjectAltName of the certificate does not name {signed_by}", ErrorNo.INVALID_CERT
        )
    incoming, signature = request.incoming, request.sign.signature
    covers = covered(incoming.message, incoming.raw, len(signature))
    check_signature(
        incoming.profile.prf,
        rsa_key(own),
        request.sign.s_type,
        covers + signed_by.data + (request.init.kms or kms).data,
        signature,
    )
    return VerifiedPk(request, signed_by, own)


def _trusted(
    request: PublicKeyInit[Init],
    anchors: Sequence[Certificate],
    now_ns: int,
    known: Certificate | None,
    purposes: Sequence[ObjectIdentifier],
) -> Certificate:
    chain = _chain(request)
    if known is not None and (not chain or chain[0] == known):
        chain = anchors = (known,)
    if not chain:
        raise Refused(
            "it brings no certificate, and none of its sender is known", ErrorNo.INVALID_CERT
        )
    check_certificate(chain, anchors, now_ns, Use.SIGNATURE, purposes)
    return chain[0]


def _chain(request: PublicKeyInit[Init]) -> tuple[Certificate, ...]:
    """Return the certificates in a message; URLs are skipped, because nothing is fetched."""
    found = []
    for cert in request.certs:
        if cert.cert_type == CertType.X509V3_URL:
            continue
        if cert.cert_type not in _SIGNING:
            raise Refused(
                f"a certificate of type {label(CertType, cert.cert_type)} signs nothing",
                ErrorNo.INVALID_CERT,
            )
        found.append(read_certificate(cert.cert_data))
    return tuple(found)


def _only_identity(own: Certificate) -> Identity:
    found = identities(own)
    if len(found) != 1:
        raise Refused(
            f"it names no sender, and its certificate names {len(found)}", ErrorNo.INVALID_CERT
        )
    return found[0]


def open_envelope(env: Environment, verified: VerifiedPk[Init], keys: Sequence[KmsKey]) -> bytes:
    """Return the envelope key of a verified message, with the key length of its profile.

    CHASH selects one of the `keys` of the KMS; without CHASH all are tried. Raises Refused
    (Invalid Cert) if CHASH matches none of them, and Refused (Invalid HA) for MD5. Never raises for
    the decrypted content of PKE: a broken PKE gives a random key. That key is drawn every time.
    """
    request = verified.request
    private_keys = [key.private_key for key in _chosen(keys, request.chash)]
    length = request.incoming.profile.key_length
    return unseal_envelope(private_keys, request.pke, length, instead=env.random(length))


def _chosen(keys: Sequence[KmsKey], chash: CHASH | None) -> Sequence[KmsKey]:
    for key in keys:
        if chash is None:
            return keys
        if certificate_hash(chash.hash_func, key.certificate) == chash.hash:
            return [key]
    raise Refused("CHASH names no certificate of this KMS", ErrorNo.INVALID_CERT)
