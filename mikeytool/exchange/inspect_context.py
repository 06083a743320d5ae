"""The context of an inspected message, and what its MACs and signatures cover (RFC 3830 5.2 and
6.2, RFC 4650 3, RFC 4738 3.6, RFC 6043 5.5).

Only this module knows, for each data type, which message it answers, which identities it uses and
what follows it under the MAC. `inspect` uses this to verify messages, `sealing` to write them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from mikeytool.exchange.protection import covered
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import (
    ANSWERED,
    PARTIES,
    TICKET_MODE,
    TRANSFERS,
    answers,
    is_update,
    is_update_of,
)
from mikeytool.wire.payloads import (
    CERT,
    ID,
    IDR,
    KEMAC,
    RAND,
    RANDR,
    SIGN,
    TICKET,
    GeneralExt,
    T,
    V,
)
from mikeytool.wire.registry import CertType, ExtensionType, IdRole, MacAlg, RandRole
from mikeytool.wire.registry import DataType as D

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_I, _R, _KMS = IdRole.INITIATOR, IdRole.RESPONDER, IdRole.KMS

TICKET_RESPONSES = (D.REQUEST_RESP, D.TRANSFER_RESP, D.RESOLVE_RESP)

_ALONE = (D.PRE_SHARED, D.PUBLIC_KEY, D.DH_INIT, D.DH_RESP, D.DHHMAC_INIT, D.DHHMAC_RESP,
          D.RSA_R_I_MSG)  # fmt: skip
"""The data types whose MAC or signature covers only the message."""

_WITH_T = (D.PSK_VER_MSG, D.PK_VER_MSG, D.RSA_R_R_MSG)
"""The data types whose MAC also covers IDi, IDr and T (RFC 3830 5.2, RFC 4738 3.6)."""

_IDS_OF_RESPONSES: dict[int, tuple[IdRole, ...]] = {
    D.PSK_VER_MSG: (_R,),
    D.PK_VER_MSG: (_R,),
    D.DH_RESP: (_R, _I),
    D.DHHMAC_RESP: (_R, _I),
    D.RSA_R_R_MSG: (_R,),
}
"""The roles of the ID payloads in a response, in order. If there are fewer, the last ones apply."""

_KEMAC_ENDS = (D.PRE_SHARED, D.DHHMAC_INIT, D.DHHMAC_RESP, D.ERROR)
"""Data types in which a KEMAC at the end has a MAC over the whole message (RFC 3830 6.2)."""

_KEMAC_ALONE = (D.PUBLIC_KEY, D.RSA_R_R_MSG)
"""Data types in which the MAC in a KEMAC covers only this payload; an ID precedes the keys."""

_SIGNING = (CertType.X509V3, CertType.X509V3_SIGN)

_CSB_ID_OCTETS = 4


@dataclass(frozen=True, slots=True)
class Context:
    """A message, the `earlier` ones of its exchange in order, and the identities it omits.

    `init` is the message that it answers; for an Error, the message that caused the error.
    """

    message: Message
    init: Message | None
    earlier: Sequence[Message]
    identities: Mapping[IdRole, Identity]

    @classmethod
    def of(
        cls,
        message: Message,
        earlier: Sequence[Message] = (),
        identities: Mapping[IdRole, Identity] | None = None,
    ) -> Context:
        """Make the context of a message; only the `earlier` messages with its CSB ID are used."""
        csb_id = message.header.csb_id
        known = [one for one in earlier if one.header.csb_id == csb_id and one is not message]
        kind = message.header.data_type
        fitting = [one for one in known if answers(kind, one.header.data_type)]
        return cls(message, fitting[-1] if fitting else None, known, identities or {})

    @property
    def kind(self) -> int:
        """The data type."""
        return self.message.header.data_type

    @property
    def about(self) -> Context | None:
        """The context of the message that this one answers."""
        if self.init is None:
            return None
        at = next(at for at, one in enumerate(self.earlier) if one is self.init)
        return Context.of(self.init, self.earlier[:at], self.identities)

    @property
    def asked(self) -> Message | None:
        """The initial message of this message's round trip, possibly the message itself."""
        if self.kind in ANSWERED:
            return self.init
        return self.message

    @property
    def offer(self) -> Message | None:
        """The TRANSFER_INIT that began the crypto session bundle, with its ticket.

        An update may repeat the ticket (interpretation 44).
        """
        offer: Message | None = None
        for one in (*self.earlier, self.message):
            if one.header.data_type != D.TRANSFER_INIT or one.find(TICKET) is None:
                continue
            if offer is None or not is_update_of(one, offer):
                offer = one
        return offer

    @property
    def is_update(self) -> bool:
        """Whether it belongs to a CSB update (RFC 6043 5.2)."""
        asked, offer = self.asked, self.offer
        if self.kind not in TRANSFERS or asked is None:
            return False
        return is_update(asked) or (offer is not None and is_update_of(asked, offer))

    @property
    def first_answers(self) -> list[Message]:
        """The TRANSFER_RESPs that ended the initial exchange; a forked call may have several."""
        found: list[Message] = []
        asked: Message | None = None
        for one in self.earlier:
            if one.header.data_type == D.TRANSFER_INIT:
                asked = one
            elif one.header.data_type == D.TRANSFER_RESP and asked is self.offer is not None:
                found.append(one)
        return found

    @property
    def is_legacy(self) -> bool:
        """Whether it is protected as in RFC 3830 rather than as in MIKEY-TICKET."""
        asked = self.asked
        return asked is not None and asked.header.data_type in (*_ALONE, *_WITH_T)

    @property
    def is_known(self) -> bool:
        """Whether the tool knows how messages of this data type are protected."""
        kinds = (*_ALONE, *_WITH_T, *TICKET_MODE, D.ERROR)
        return self.kind in kinds

    @property
    def key_inputs(self) -> KeyInputs | None:
        """The CSB ID and RAND for keys of RFC 3830; None without a RAND."""
        return key_inputs(self.message, self.earlier)

    @property
    def csb_id(self) -> int:
        """The CSB ID for keys and IVs: that of the header, unless a responder chose another."""
        found = self.key_inputs if self.is_legacy else None
        return self.message.header.csb_id if found is None else found.csb_id

    @property
    def end(self) -> V | SIGN | KEMAC | None:
        """The last payload, if it is the one that protects the message."""
        last = self.message.payloads[-1] if self.message.payloads else None
        if isinstance(last, V | SIGN):
            return last
        if isinstance(last, KEMAC) and self.kind in _KEMAC_ENDS and last.mac_alg != MacAlg.NULL:
            return last
        return None

    @property
    def lone_kemac(self) -> KEMAC | None:
        """The separately protected KEMAC of the public-key modes (RFC 3830 6.2)."""
        return self.message.find(KEMAC) if self.kind in _KEMAC_ALONE else None

    @property
    def kemac_sender(self) -> IdRole:
        """The role whose ID precedes the keys in a lone KEMAC (RFC 3830 3.2, RFC 4738 3.6)."""
        return _I if self.kind == D.PUBLIC_KEY else _R

    def covers(self) -> bytes | None:
        """Return what the MAC or signature at the end covers, or None if part of it is unknown."""
        end = self.end
        behind = self._behind()
        if end is None or behind is None:
            return None
        raw = self.message.raw[: end.offset + end.length]
        return covered(self.message, raw, len(tag_of(end))) + behind

    def coverings(self) -> Iterator[bytes]:
        """Yield what the MAC at the end may cover; nothing if part of it is unknown.

        An update without IDRr may be of any end that answered a forked call.
        """
        covers = self.covers()
        if covers is None:
            return
        yield covers
        if self.kind != D.TRANSFER_INIT or _by_role(self.message, _R, {}) is not None:
            return
        answers = self.first_answers
        for answer in answers[:-1]:
            others = [one for one in answers if one is not answer]
            kept = [one for one in self.earlier if not any(one is each for each in others)]
            covers = replace(self, earlier=kept).covers()
            if covers is not None:
                yield covers

    def kemac_covers(self, kemac: KEMAC) -> bytes:
        """Return what the MAC of a lone KEMAC covers: the payload, with Next payload set to 0."""
        raw = self.message.raw[kemac.offset : kemac.offset + kemac.length]
        return b"\0" + raw[1 : len(raw) - len(kemac.mac)]

    def _behind(self) -> bytes | None:
        kind = self.kind
        if kind in TICKET_RESPONSES:
            return None if self.init is None else self.init.raw
        if kind in TICKET_MODE:
            return _joined([self.identity(role) for role in PARTIES[kind]])
        # In RFC 3830 the IDs and T follow V, whatever message V ends (6.9).
        if kind in _WITH_T or (kind == D.ERROR and self.is_legacy and isinstance(self.end, V)):
            t = self.message.find(T)
            parties = _joined([self.identity(_I), self.identity(_R)])
            return None if t is None or parties is None else parties + t.ts_value
        return b"" if kind in _ALONE or kind == D.ERROR else None

    def identity(self, role: IdRole) -> Identity | None:
        """Find the identity in a role: in the message, in the one it answers, or as given.

        A message may name its signer only in the certificate (RFC 3830 3.2). An update has the
        identities of the exchange before it, IDRr of the TRANSFER_RESP (interpretation 29).
        """
        found = _by_role(self.message, role, self.identities)
        if found is None and self.is_update:
            for one in (*reversed(self.first_answers), self.offer):
                found = found or (None if one is None else _by_role(one, role, {}))
        if found is None and self.init is not None and self.kind not in TICKET_RESPONSES:
            found = _by_role(self.init, role, self.identities)
        if found is None:
            found = self.identities.get(role)
        if found is None:
            found = _by_certificate(self.message, role)
        if found is None and self.init is not None and self.kind not in TICKET_RESPONSES:
            found = _by_certificate(self.init, role)
        return found

    @property
    def names(self) -> list[bytes]:
        """Return every identity and key name in this round trip, IDRpsk first."""
        asked = self.asked
        first = [] if asked is None or asked is self.message else [asked]
        roles: list[tuple[int, bytes]] = []
        for one in (*first, self.message):
            roles += [(p.id_role, p.id_data) for p in one.all(IDR)]
            roles += [(0, p.id_data) for p in one.all(ID)]
        roles.sort(key=lambda pair: pair[0] != IdRole.PSK)
        given = [identity.data for identity in self.identities.values()]
        return list(dict.fromkeys([*(name for _, name in roles), *given]))


class KeyInputs(NamedTuple):
    """What goes into keys of RFC 3830 beside the secret (4.1.3, 4.1.4)."""

    csb_id: int
    rand: bytes


def key_inputs(message: Message, earlier: Sequence[Message]) -> KeyInputs | None:
    """Return the CSB ID and RAND of an exchange of RFC 3830; None if there is no RAND.

    Responses and updates have none of their own (RFC 3830 4.5). The exception is RSA-R (RFC 4738
    3.5, 3.6): an R_MESSAGE with a new CSB ID is for a group, which uses that CSB ID and the RAND
    of the R_MESSAGE. Otherwise a RAND of the I_MESSAGE comes first.
    """
    csb_id = _new_csb_id(message)
    answers_alone = message.header.data_type == D.RSA_R_R_MSG and csb_id is None
    order = (*reversed(earlier), message) if answers_alone else (message, *reversed(earlier))
    for one in order:
        rand = one.find(RAND)
        if rand is not None:
            chosen = _new_csb_id(one)
            return KeyInputs(one.header.csb_id if chosen is None else chosen, rand.rand)
    return None


def _new_csb_id(message: Message) -> int | None:
    """Return the CSB ID that the responder of RSA-R chose for a group (RFC 4738 3.6)."""
    if message.header.data_type != D.RSA_R_R_MSG:
        return None
    for extension in message.all(GeneralExt):
        if extension.type == ExtensionType.CSB_ID and len(extension.data) == _CSB_ID_OCTETS:
            return int.from_bytes(extension.data)
    return None


def randr(message: Message, role: RandRole) -> bytes | None:
    """Return the RAND of a role in a message of MIKEY-TICKET."""
    return next((p.rand for p in message.all(RANDR) if p.rand_role == role), None)


def tag_of(end: V | SIGN | KEMAC) -> bytes:
    """Return the MAC or signature in a payload."""
    if isinstance(end, V):
        return end.ver_data
    return end.signature if isinstance(end, SIGN) else end.mac


def signing_certificate(message: Message) -> Certificate | None:
    """Return the certificate that signed a message, the first of the chain in it.

    Returns None if there is none, only a URL, or one that cannot be read.
    """
    cert = next((p for p in message.all(CERT) if p.cert_type in _SIGNING), None)
    if cert is None:
        return None
    # Imported here because most messages have no certificates.
    from mikeytool.crypto.certificates import read_certificate

    try:
        return read_certificate(cert.cert_data)
    except MikeyError:
        return None


def _joined(parties: Sequence[Identity | None]) -> bytes | None:
    """Return the ID Data of the parties (interpretation 4), or None if a party is unknown."""
    known = [party.data for party in parties if party is not None]
    return b"".join(known) if len(known) == len(parties) else None


def _by_role(message: Message, role: IdRole, given: Mapping[IdRole, Identity]) -> Identity | None:
    """Find the identity in a role by its IDR, or by the position of its ID, which has no role."""
    for idr in message.all(IDR):
        if idr.id_role == role:
            return Identity.of(idr)
    ids = [Identity.of(p) for p in message.all(ID)]
    order = _order_of_ids(message, ids, given)
    return next((one for one, of in zip(ids, order, strict=False) if of == role), None)


def _order_of_ids(
    message: Message, ids: Sequence[Identity], given: Mapping[IdRole, Identity]
) -> tuple[IdRole, ...]:
    """Return the roles of the ID payloads (RFC 3830 3.1 to 3.3, RFC 4650 3, RFC 4738 3.1).

    A single ID in an initial message is IDi, with three exceptions: a certificate of another
    identity names the initiator, IDi is given by the caller, or the mode never omits IDr, as in
    DHHMAC.
    """
    kind = message.header.data_type
    if kind in _IDS_OF_RESPONSES:
        return _IDS_OF_RESPONSES[kind][-len(ids) :]
    if len(ids) == 1:
        signers = _identities_of_signer(message)
        if kind == D.DHHMAC_INIT or _I in given or (signers and ids[0] not in signers):
            return (_R,)
    return (_I, _R)


def _identities_of_signer(message: Message) -> list[Identity]:
    """Return the identities in the certificate of a message's signer."""
    certificate = signing_certificate(message)
    if certificate is None:
        return []
    from mikeytool.crypto.certificates import identities

    return identities(certificate)


def _by_certificate(message: Message, role: IdRole) -> Identity | None:
    """Return the identity in the certificate of a message's signer, if there is only one."""
    kind = message.header.data_type
    by_responder = (D.DH_RESP, D.RSA_R_R_MSG, D.RESOLVE_INIT_PK)
    if role != (_R if kind in by_responder else _I):
        return None
    found = _identities_of_signer(message)
    return found[0] if len(found) == 1 else None
