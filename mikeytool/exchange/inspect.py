"""Inspect a message with whatever keys are available.

This is not a protocol role. It refuses nothing: it makes every possible check and reports the
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import NamedTuple

from mikeytool.crypto.derive import MessageKeys
from mikeytool.crypto.kemac import decrypt
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.handed_in import handed_in_keys
from mikeytool.exchange.inspect_context import (
    Context,
    signing_certificate,
    tag_of,
)
from mikeytool.exchange.inspect_keys import (
    ENVELOPE_LENGTHS,
    KeyRing,
    Protection,
    envelope_keys,
    known_mpkrs,
    makes_vr,
    protections,
)
from mikeytool.exchange.resolve import initiator_data
from mikeytool.exchange.ticket import BaseTicket, TicketKeys
from mikeytool.wire.errors import MikeyError, Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.message import Message, chain
from mikeytool.wire.message_types import TRANSFERS
from mikeytool.wire.payloads import ID, IDR, KEMAC, PKE, SIGN, TICKET, KeyData, Payload, T, V
from mikeytool.wire.registry import DataType, EncrAlg, IdRole, MacAlg, NextPayload, SType, label
from mikeytool.wire.timestamp import Timestamp

VERIFIED = "verified"
FAILED = "FAILED"
NOT_CHECKED = "not checked"

MAX_UNPROVEN = 16
"""How many keys to try on a KEMAC that has no MAC to identify the right one."""


@masked_repr
@dataclass(slots=True)
class Inspection:
    """The result of inspecting a message.

    The first five fields are VERIFIED, FAILED or NOT_CHECKED, or None if the message has no such
    part. `mac` is the MAC in V or KEMAC. `signature` says whether SIGN matches the certificate in
    CERT, not whether that certificate is trusted. `envelope` says whether a private key opens PKE.
    `keys` is all key data that was found, including MPKi and MPKr of a ticket. `kemacs` is the
    content of each KEMAC by its offset. `notes` explain in words what the results leave open.
    """

    mac: str | None = None
    signature: str | None = None
    envelope: str | None = None
    ticket: str | None = None
    initiator_data: str | None = None
    envelope_key: bytes | None = field(default=None, repr=False)
    keys: list[KeyData] = field(default_factory=list)
    kemacs: dict[int, list[KeyData]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Return whether any check failed."""
        results = (self.mac, self.signature, self.envelope, self.ticket, self.initiator_data)
        return FAILED in results


class KnownKeys(NamedTuple):
    """The keys of a ticket from another source than the ticket; a responder's keys are forked."""

    keys: TicketKeys
    is_forked: bool


def inspect_message(
    message: Message,
    ring: KeyRing,
    init: Message | None = None,
    identities: Mapping[IdRole, Identity] | None = None,
    earlier: Sequence[Message] = (),
    given: Sequence[KnownKeys] = (),
) -> Inspection:
    """Verify and decrypt what the keys of `ring` allow.

    `init` is the initial message that a response covers. `earlier` are the other earlier messages
    of the exchange, in order; an update uses the RANDs of all of them. Messages with another CSB ID
    are ignored. `identities` replace those that the message omits. `given` are keys of the
    message's ticket, or of the ticket of its call. A signature is checked without any key.
    """
    context = Context.of(message, [*earlier, *([] if init is None else [init])], identities)
    inspection = Inspection()
    inside = inspect_tickets(context, ring, inspection)
    ticket = message.find(TICKET)
    if ticket is not None and ticket.initiator_data:
        originals = [*inside, *(one.keys for one in given if not one.is_forked)]
        inspection.initiator_data = _check_initiator_data(context, ticket, ring, originals)
        if inspection.initiator_data == NOT_CHECKED and ring.mpkr_of(message.header.csb_id):
            inspection.notes.append(
                "the MPKr that is given did not make Vr: it is the MPKr' of the responder, or the"
                " Initiator Data was changed"
            )
    candidates = partial(protections, context, ring, [*inside, *(one.keys for one in given)])
    end = context.end
    if isinstance(end, SIGN):
        inspection.signature = _check_signature(context, end, inspection)
    elif end is not None:
        inspection.mac = _check_mac(context, end, candidates, inspection)
    else:
        _open_unproven(context, candidates(), inspection)
    if message.find(PKE) is not None:
        _open_envelope(context, ring, inspection)
    if NOT_CHECKED in (inspection.mac, inspection.signature) and not _is_eccsi(end):
        inspection.notes += _what_is_missing(context)
    if context.is_legacy:
        _take_handed_in(context, ring, inspection)
    return inspection


def inspect_tickets(
    context: Context, ring: KeyRing, inspection: Inspection | None = None
) -> list[TicketKeys]:
    """Return the keys of the ticket in a message, or of the ticket that began its exchange."""
    inspection = inspection or Inspection()
    ticket = context.message.find(TICKET)
    found = None
    if ticket is not None:
        inspection.ticket, found = _open_ticket(ticket, ring, inspection)
    if found is None and context.offer is not None and context.offer is not context.message:
        sent = context.offer.find(TICKET)
        if sent is not None:
            _, found = _open_ticket(sent, ring, Inspection())
    return [] if found is None else [found]


def _open_ticket(
    ticket: TICKET, ring: KeyRing, inspection: Inspection
) -> tuple[str, TicketKeys | None]:
    try:
        base = BaseTicket.of(ticket)
    except MikeyError as error:
        inspection.notes.append(f"the ticket cannot be read: {error}")
        return NOT_CHECKED, None
    reasons = []
    for tpk, is_guess in ring.tpks_of(None if base.tpk_id is None else base.tpk_id.data):
        try:
            inside = base.decrypt(tpk)
        except MikeyError as error:
            if not is_guess:
                reasons.append(str(error))
            continue
        keys = base.split(inside)
        inspection.kemacs[base.kemac.offset] = inside
        inspection.keys += [key.copy(key_data_len=len(key.key)) for key in keys.sub_payloads()]
        return VERIFIED, keys
    inspection.notes += reasons if len(reasons) == 1 else []
    return FAILED if reasons else NOT_CHECKED, None


def _check_initiator_data(
    context: Context, ticket: TICKET, ring: KeyRing, tickets: Sequence[TicketKeys]
) -> str:
    """Check Vr under MPKr, and in TRANSFER_INIT that Vi is the V of the message (6.10).

    The MPKrs of `tickets` are not forked. One of `ring` may be MPKr', which proves nothing if it
    did not make Vr.
    """
    originals = known_mpkrs(context.message.header.csb_id, None, tickets)
    mpkrs = known_mpkrs(context.message.header.csb_id, ring, tickets)
    try:
        vi, _ = initiator_data(ticket)
    except MikeyError:
        return FAILED if mpkrs else NOT_CHECKED
    # An update repeats the ticket as it was sent, or renews its Initiator Data.
    sent = [context.message, *([context.offer] if context.is_update and context.offer else [])]
    if context.kind == DataType.TRANSFER_INIT and (vi.auth_alg, vi.ver_data) not in [
        (v.auth_alg, v.ver_data) for one in sent for v in one.all(V)
    ]:
        return FAILED
    if any(makes_vr(ticket, mpkr) for mpkr in mpkrs):
        return VERIFIED
    return FAILED if originals else NOT_CHECKED


def _check_mac(
    context: Context,
    end: V | KEMAC,
    candidates: Callable[[], Iterator[Protection]],
    inspection: Inspection,
) -> str:
    """Check the MAC at the end of a message; the keys that verify it also open KEMAC."""
    result, found = NOT_CHECKED, None
    alg = end.auth_alg if isinstance(end, V) else end.mac_alg
    for covers in context.coverings():
        result, found = first_good(candidates(), alg, covers, tag_of(end))
        if found is not None:
            break
    if found is not None:
        for kemac in context.message.all(KEMAC):
            _open_kemac(context, kemac, found.keys, inspection)
    return result


def first_good(
    candidates: Iterator[Protection], alg: int, covers: bytes, tag: bytes
) -> tuple[str, Protection | None]:
    """Return the result of checking a MAC with these keys, and the keys that verify it."""
    result = NOT_CHECKED
    for one in candidates:
        try:
            good = mac_is_good(alg, one.keys, covers, tag)
        except MikeyError:  # a NULL MAC proves nothing, and the PRF may be unknown
            good = False
        if good:
            return VERIFIED, one
        result = result if one.is_guess else FAILED
    return result, None


def _what_is_missing(context: Context) -> Iterator[str]:
    """Yield the reasons, other than a missing key, why something could not be checked."""
    if not context.is_known:
        kind = label(DataType, context.kind)
        yield f"how messages of the data type {kind} are protected is not known here"
    elif context.asked is None:
        yield "the message that it answers is needed to check it: give --init"
    elif context.covers() is None and context.end is not None:
        yield "identities that it covers are left out of it: give them with --identity"
    elif context.is_legacy and context.key_inputs is None:
        yield "it goes with the RAND of the initial message: give that with --init"
    elif context.kind in TRANSFERS and context.offer is None:
        yield "an update goes with the RANDs of the exchange before it: give these messages first"


def _open_kemac(context: Context, kemac: KEMAC, keys: MessageKeys, inspection: Inspection) -> None:
    """Add the content of a KEMAC to `inspection`, once its MAC is verified."""
    if kemac.encr_alg == EncrAlg.NULL or not kemac.encr_data:
        return
    try:
        inside = _inside(context, kemac, keys)
    except MikeyError as error:
        inspection.notes.append(f"the KEMAC verifies and does not open: {error}")
        return
    inspection.kemacs[kemac.offset] = inside
    inspection.keys += inside


def _inside(context: Context, kemac: KEMAC, keys: MessageKeys) -> list[KeyData]:
    """Return the key data in a KEMAC; raises Refused and WireError."""
    return [one for one in kemac_payloads(context, kemac, keys) if isinstance(one, KeyData)]


def kemac_payloads(context: Context, kemac: KEMAC, keys: MessageKeys) -> list[Payload]:
    """Return the encrypted payloads of a KEMAC; raises Refused and WireError for invalid content.

    They are key data, preceded by an ID in the public-key modes (RFC 3830 3.2, RFC 4738 3.6).
    """
    t = context.message.find(T)
    if t is None:
        raise Refused("the message has no T, which the IV takes")
    clear = decrypt(kemac.encr_alg, kemac.encr_data, keys, context.csb_id, Timestamp.of(t))
    named = kemac is context.lone_kemac
    inside = chain(clear, NextPayload.ID if named else NextPayload.KEY_DATA, 0, len(clear))
    keys_from = 1 if named else 0
    whole = inside[-1].offset + inside[-1].length == len(clear)
    if not whole or not all(isinstance(one, KeyData) for one in inside[keys_from:]):
        raise WireError("what is in it is no key data", payload="KEMAC", offset=kemac.offset)
    return inside


def _open_unproven(
    context: Context, candidates: Iterator[Protection], inspection: Inspection
) -> None:
    """Try keys on a pre-shared key message without a MAC.

    AES-KW checks its own integrity. After AES-CM, key data that parses to the last octet is very
    unlikely to be chance.
    """
    kemac = context.message.find(KEMAC)
    if context.kind != DataType.PRE_SHARED or kemac is None or kemac.encr_alg == EncrAlg.NULL:
        return
    for one in islice(candidates, MAX_UNPROVEN):
        try:
            inside = _inside(context, kemac, one.keys)
        except MikeyError:
            continue
        inspection.kemacs[kemac.offset] = inside
        inspection.keys += inside
        inspection.notes.append("the message has no MAC: nothing proves who sent it, or what")
        return


def _open_envelope(context: Context, ring: KeyRing, inspection: Inspection) -> None:
    """Open PKE and the KEMAC of the public-key modes; its MAC proves the envelope key."""
    kemac = context.lone_kemac
    if kemac is None:
        _open_bare_envelope(context, ring, inspection)
        return
    inspection.envelope = NOT_CHECKED
    candidates = list(protections(context, ring))
    if kemac.mac_alg != MacAlg.NULL:
        inspection.mac, found = first_good(
            iter(candidates), kemac.mac_alg, context.kemac_covers(kemac), kemac.mac
        )
        inspection.envelope = inspection.mac
        if found is not None:
            inspection.envelope_key = found.keys.inkey
            _open_lone_kemac(context, kemac, found.keys, inspection)
        return
    for one in candidates[:MAX_UNPROVEN]:
        try:
            inside = kemac_payloads(context, kemac, one.keys)
        except MikeyError:
            inspection.envelope = inspection.envelope if one.is_guess else FAILED
            continue
        inspection.envelope, inspection.envelope_key = VERIFIED, one.keys.inkey
        _take_named(context, kemac, inside, inspection)
        return


def _open_lone_kemac(
    context: Context, kemac: KEMAC, keys: MessageKeys, inspection: Inspection
) -> None:
    try:
        inside = kemac_payloads(context, kemac, keys)
    except MikeyError as error:
        inspection.notes.append(f"the KEMAC verifies and does not open: {error}")
        return
    _take_named(context, kemac, inside, inspection)


def _take_named(
    context: Context, kemac: KEMAC, inside: list[Payload], inspection: Inspection
) -> None:
    """Store key data and the identity before it, which must be the sender's (RFC 3830 3.2)."""
    found = [one for one in inside if isinstance(one, KeyData)]
    inspection.kemacs[kemac.offset] = found
    inspection.keys += found
    sender = context.identity(context.kemac_sender)
    named = [Identity.of(one) for one in inside if isinstance(one, ID)]
    inspection.notes += [f"KEMAC names {one} as its sender" for one in named]
    if sender is not None and sender not in named:
        inspection.notes.append(f"KEMAC does not name {sender}, who sent it: it may be redirected")


def _open_bare_envelope(context: Context, ring: KeyRing, inspection: Inspection) -> None:
    """Open the PKE of REQUEST_INIT_PK or RESOLVE_INIT_PK, in which nothing else proves the key."""
    found = envelope_keys(context.message, ring)
    fitting = [one for one in found if len(one.key) in ENVELOPE_LENGTHS]
    if not fitting:
        inspection.envelope = FAILED if found else NOT_CHECKED
        return
    inspection.envelope = VERIFIED if fitting[0].is_proven else NOT_CHECKED
    inspection.envelope_key = fitting[0].key
    if not fitting[0].is_proven:
        inspection.notes.append("the envelope opens; only the answer proves that its key is right")


def _take_handed_in(context: Context, ring: KeyRing, inspection: Inspection) -> None:
    """Add the TGKs that are known for the bundle, whatever its messages show."""
    try:
        inspection.keys += handed_in_keys(context.message, context.earlier, ring)
    except Refused as error:
        inspection.notes.append(str(error))


def _is_eccsi(end: object) -> bool:
    return isinstance(end, SIGN) and end.s_type == SType.ECCSI


def _eccsi(context: Context) -> str:
    """Return what checking an ECCSI signature takes: no certificate, but a key of the KMS."""
    found = {idr.id_role: Identity.of(idr) for idr in context.message.all(IDR)}
    signer = found.get(IdRole.INITIATOR) or found.get(IdRole.INITIATOR_UID)
    kms = found.get(IdRole.INITIATOR_KMS) or found.get(IdRole.KMS)
    return (
        "to check the ECCSI signature takes the public authentication key (KPAK) of"
        f" {kms or 'the KMS of the signer'}, and the identity of the signer, {signer or 'left out'}"
        " (RFC 6507); this tool has no ECCSI"
    )


def _check_signature(context: Context, sign: SIGN, inspection: Inspection) -> str:
    """Check SIGN against the certificate in CERT, whoever issued it."""
    if sign.s_type == SType.ECCSI:
        inspection.notes.append(_eccsi(context))
        return NOT_CHECKED
    certificate = signing_certificate(context.message)
    if certificate is None:
        inspection.notes.append("there is no certificate in CERT to check the signature with")
        return NOT_CHECKED
    # Imported here because few messages are signed.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from mikeytool.crypto.certificates import identities
    from mikeytool.crypto.signature import check_signature

    key, covers = certificate.public_key(), context.covers()
    if sign.s_type not in (SType.RSA_PKCS1_V15, SType.RSA_PSS) or not isinstance(key, RSAPublicKey):
        inspection.notes.append(
            f"signatures of S type {label(SType, sign.s_type)} with such a key are not checked"
        )
        return NOT_CHECKED
    if covers is None:
        return NOT_CHECKED
    try:
        check_signature(context.message.header.prf, key, sign.s_type, covers, sign.signature)
    except Refused as error:
        inspection.notes.append(str(error))
        return FAILED
    names = ", ".join(map(str, identities(certificate))) or "nobody by name"
    inspection.notes.append(
        f"the signature fits the certificate in CERT, of {names}; whether to trust that is not"
        " checked"
    )
    return VERIFIED
