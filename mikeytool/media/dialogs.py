"""The offers and answers of SIP dialogs (RFC 3261, 3264, 6337, 3262, 3311).

`Dialogs` takes the SIP messages of a capture in order of their frames and gives a
`Negotiation` for each answer to each offer, and for each offer without one. An offer is in
an INVITE, UPDATE or PRACK, or in a response to an INVITE without one; its answer is in the
response, or in ACK or PRACK. A refusal withdraws the offer; BYE ends what was agreed on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mikeytool.capture.carrier import Carrier
from mikeytool.capture.endpoints import destination_of, source_of
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.sdp import Section
from mikeytool.media.signalling_bounds import Bounds

FOREVER = 1 << 62
"""Used as a frame number that is after every frame."""
MAX_FORKS = 16
"""The most answers, and offers in responses, kept for one request."""
MAX_OF_CALL = 1024
"""The most transactions, and the most offers and answers, kept for one Call-ID."""

METHODS = frozenset(("INVITE", "ACK", "PRACK", "UPDATE", "BYE", "CANCEL"))
"""The methods that affect the media of a dialog."""
_TAG = re.compile(r";\s*tag\s*=\s*([^;,\s>]{1,256})", re.IGNORECASE)


class Description(NamedTuple):
    """A session description, the session level first, and the message that carried it."""

    sections: list[Section]
    moment: Moment


@dataclass(slots=True, eq=False)
class Negotiation:
    """An offer, one answer to it or none, and the frames between which it holds.

    `offerer` and `answerer` are the tags of the two sides. `taken` is the frame of the answer, 0
    without one. `ended` is the frame of the message that ended it, and `end` names that message:
    "BYE", "CANCEL", the status code of a refusal, or "other answer" if another fork or a later
    answer of the same side replaced it. A refused offer has an `end` but no answer. If the answer
    was not captured, `before` is the last description of the other side in the dialog.
    """

    call: str
    offer: Description
    offerer: str
    hosts: frozenset[bytes] = frozenset()
    answer: Description | None = None
    answerer: str = ""
    taken: int = 0
    ended: int = FOREVER
    end: str = ""
    before: Description | None = None

    @property
    def refusal(self) -> str:
        """What withdrew the offer; empty if nothing did. Hanging up does not withdraw it."""
        is_refused = self.answer is None and self.end not in ("BYE", "other answer")
        return self.end if is_refused else ""

    def close(self, frame: int, end: str) -> None:
        """End it at a frame, unless it has already ended."""
        if self.ended == FOREVER:
            self.ended, self.end = frame, end


class SipMessage(NamedTuple):
    """The relevant parts of a SIP message.

    `call` is its Call-ID, `number` the number in CSeq, `via` the topmost Via, `rack` the words of
    RAck, `hosts` the two addresses it went between, `sections` the description in its body.
    """

    call: str
    method: str
    status: int | None
    number: str
    via: str
    from_tag: str
    to_tag: str
    rack: list[str]
    hosts: frozenset[bytes]
    sections: list[Section]
    moment: Moment

    @classmethod
    def of(
        cls, carrier: Carrier, flow: bytes, moment: Moment, sections: list[Section]
    ) -> SipMessage:
        """The message in a carrier, with the description in its body, which may be empty."""
        number, _, method = carrier.value("cseq").partition(" ")
        return cls(
            carrier.value("call-id"),
            carrier.method or method.strip(),
            carrier.status,
            number,
            _topmost(carrier.value("via")),
            _tag(carrier.value("from")),
            _tag(carrier.value("to")),
            carrier.value("rack").split(),
            frozenset((source_of(flow)[:-2], destination_of(flow)[:-2])),
            sections,
            moment,
        )


@dataclass(slots=True, eq=False)
class _Transaction:
    """An INVITE, UPDATE or PRACK and its responses (RFC 3261 17).

    `made` has the negotiations for the offer in the request, by the tag of the answering side;
    `open` is the one without an answer. `asked` has the negotiations for offers in responses, by
    the tag of the responding side. `early` has the tags of provisional responses, `confirmed` the
    tags of 2xx responses, `noticed` the tags of dialogs whose answer was not captured.
    """

    request: SipMessage | None
    hosts: frozenset[bytes]
    open: Negotiation | None = None
    made: dict[str, Negotiation] = field(default_factory=dict)
    asked: dict[str, Negotiation] = field(default_factory=dict)
    early: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    noticed: set[str] = field(default_factory=set)
    cancelled: int = 0

    @property
    def begins_dialog(self) -> bool:
        """Whether its request was outside a dialog."""
        return self.request is not None and not self.request.to_tag


_Key = tuple[str, str, str]  # method, number, topmost Via


@dataclass(slots=True, eq=False)
class _Call:
    """Everything with one Call-ID: its transactions on every captured hop.

    `dialogs` are the transactions that begin dialogs.
    """

    negotiations: list[Negotiation] = field(default_factory=list)
    transactions: dict[tuple[_Key, frozenset[bytes]], _Transaction] = field(default_factory=dict)
    dialogs: list[_Transaction] = field(default_factory=list)
    by_via: dict[_Key, _Transaction] = field(default_factory=dict)
    by_hosts: dict[tuple[str, str, frozenset[bytes]], _Transaction] = field(default_factory=dict)

    def keep(self, message: SipMessage, transaction: _Transaction) -> None:
        """Remember a transaction under every key that `find` uses."""
        method, number, via = key = (message.method, message.number, message.via)
        self.transactions[key, message.hosts] = transaction
        if method == "INVITE" and transaction.begins_dialog:
            self.dialogs.append(transaction)
        self.by_via[method, number, via] = transaction
        self.by_hosts[method, number, message.hosts] = transaction

    def find(self, message: SipMessage, method: str = "") -> _Transaction | None:
        """The transaction of a message: by its branch on this hop, on any hop, or by its hosts."""
        method = method or message.method
        key = (method, message.number, message.via)
        return (
            self.transactions.get((key, message.hosts))
            or self.by_via.get(key)
            or self.by_hosts.get((method, message.number, message.hosts))
        )

    def offered(self, number: str, message: SipMessage) -> Negotiation | None:
        """The offer in a response to the INVITE of this number that awaits its answer.

        An ACK need not take the same route as the INVITE.
        """
        found = [
            negotiation
            for (key, _), transaction in self.transactions.items()
            if key[:2] == ("INVITE", number)
            and (negotiation := transaction.asked.get(message.to_tag)) is not None
            and negotiation.answer is None
        ]
        near = [each for each in found if each.hosts == message.hosts]
        return (near or found)[-1] if found else None


class Dialogs:
    """Takes the SIP messages of a capture, in order of their frames."""

    def __init__(self, bounds: Bounds) -> None:
        self._calls: dict[str, _Call] = {}
        self._bounds = bounds

    def add(self, message: SipMessage) -> None:
        """Take a message."""
        if message.method not in METHODS:
            return
        name = message.call
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = _Call()
        if message.status is None:
            self._request(name, call, message)
        elif message.status > 100 and message.method in ("INVITE", "UPDATE", "PRACK"):
            self._response(name, call, message)

    def negotiations(self) -> Iterator[Negotiation]:
        """All negotiations, grouped by call, in the order of the offers."""
        for call in self._calls.values():
            for transaction in call.transactions.values():
                if transaction.cancelled and not transaction.confirmed:
                    _refuse(call, transaction, transaction.cancelled, "CANCEL")
            for at, negotiation in enumerate(call.negotiations):
                if negotiation.answer is None and negotiation.answerer:
                    negotiation.before = _last_description(call.negotiations[:at], negotiation)
                yield negotiation

    # --- requests ---------------------------------------------------------------------------

    def _request(self, name: str, call: _Call, message: SipMessage) -> None:
        if message.to_tag and message.method not in ("BYE", "CANCEL"):
            self._notice(call, message)
        if message.method == "BYE":
            _hang_up(call, message)
        elif message.method == "CANCEL":
            transaction = call.find(message, "INVITE")
            if transaction is not None:
                transaction.cancelled = message.moment.frame
        elif message.method == "ACK":
            if message.sections:
                _answer_offer(call, ["", message.number], message)
        else:
            self._begin(name, call, message)

    def _notice(self, call: _Call, message: SipMessage) -> None:
        """Note a dialog whose answer was not captured: its offer stays unanswered."""
        for transaction in call.dialogs:
            first = transaction.open
            if first is None or first.answer is None:
                continue
            tag = message.to_tag if message.from_tag == first.offerer else message.from_tag
            is_known = tag in transaction.made or tag in transaction.noticed
            if not is_known and self._has_room(transaction.noticed):
                transaction.noticed.add(tag)
                unanswered = Negotiation(first.call, first.offer, first.offerer, first.hosts)
                unanswered.answerer = tag
                self._keep(call, unanswered)

    def _begin(self, name: str, call: _Call, message: SipMessage) -> None:
        """Take an INVITE, UPDATE or PRACK, unless it is a retransmission."""
        key = (message.method, message.number, message.via)
        known = call.transactions.get((key, message.hosts))
        if known is not None and (
            known.request is None or known.request.sections == message.sections
        ):
            known.request = known.request or message
            return
        if len(call.transactions) >= MAX_OF_CALL:
            self._bounds.leave_out(f"a call has more than {MAX_OF_CALL} requests")
            return
        transaction = _Transaction(message, message.hosts)
        call.keep(message, transaction)
        if not message.sections:
            return
        # RFC 3262 5: a PRACK may answer the offer in the response that it acknowledges.
        if message.method == "PRACK" and _answer_offer(call, message.rack, message):
            return
        description = Description(message.sections, message.moment)
        transaction.open = self._keep(
            call,
            Negotiation(
                name, description, message.from_tag, message.hosts, answerer=message.to_tag
            ),
        )

    # --- responses --------------------------------------------------------------------------

    def _response(self, name: str, call: _Call, message: SipMessage) -> None:
        transaction = call.find(message)
        if transaction is None:
            # The request was not captured, so the offer that this answers is unknown.
            if len(call.transactions) >= MAX_OF_CALL:
                self._bounds.leave_out(f"a call has more than {MAX_OF_CALL} requests")
                return
            transaction = _Transaction(None, message.hosts)
            call.keep(message, transaction)
        status = message.status or 0
        if status >= 300:
            _refuse(call, transaction, message.moment.frame, str(status))
            return
        if message.sections:
            if transaction.open is not None:
                self._answer(call, transaction, transaction.open, message)
            elif message.method == "INVITE":
                self._offer(name, call, transaction, message)
        if status < 200:
            transaction.early.add(message.to_tag)
            return
        transaction.confirmed.add(message.to_tag)
        if transaction.begins_dialog:
            _prefer(transaction, message)

    def _answer(
        self, call: _Call, transaction: _Transaction, first: Negotiation, message: SipMessage
    ) -> None:
        """Take the answer to the offer in a request; an answer from another fork is added."""
        known = transaction.made.get(message.to_tag)
        if known is not None:
            if known.answer is not None and known.answer.sections == message.sections:
                return
            known.close(message.moment.frame, "other answer")
        negotiation: Negotiation | None = first
        if first.answer is not None:
            another = Negotiation(first.call, first.offer, first.offerer, first.hosts)
            has_room = self._has_room(transaction.made)
            negotiation = self._keep(call, another) if has_room else None
        if negotiation is not None:
            _complete(negotiation, message, message.to_tag)
            transaction.made[message.to_tag] = negotiation

    def _offer(
        self, name: str, call: _Call, transaction: _Transaction, message: SipMessage
    ) -> None:
        """Take the offer in a response; repetitions and later descriptions are not offers."""
        known = transaction.asked.get(message.to_tag)
        if known is not None and (
            known.answer is not None or known.offer.sections == message.sections
        ):
            return
        if not self._has_room(transaction.asked):
            return
        description = Description(message.sections, message.moment)
        made = self._keep(call, Negotiation(name, description, message.to_tag, message.hosts))
        if made is not None:
            transaction.asked[message.to_tag] = made

    def _has_room(self, tags: Collection[str]) -> bool:
        """Whether there is room for another side of a request."""
        if len(tags) < MAX_FORKS:
            return True
        self._bounds.leave_out(f"a request has more than {MAX_FORKS} answers")
        return False

    def _keep(self, call: _Call, negotiation: Negotiation) -> Negotiation | None:
        if len(call.negotiations) >= MAX_OF_CALL:
            self._bounds.leave_out(f"a call has more than {MAX_OF_CALL} offers and answers")
            return None
        call.negotiations.append(negotiation)
        return negotiation


def _last_description(earlier: list[Negotiation], negotiation: Negotiation) -> Description | None:
    """The last description that the answering side sent earlier in the dialog."""
    side = negotiation.answerer
    for one in reversed(earlier[-MAX_FORKS:]):
        if one.answer is not None and {one.offerer, one.answerer} == {negotiation.offerer, side}:
            return one.offer if one.offerer == side else one.answer
    return None


def _answer_offer(call: _Call, rack: list[str], message: SipMessage) -> bool:
    """Complete the offer in an INVITE's response with an ACK or PRACK; returns whether it exists.

    The second word of `rack` is the number of the INVITE.
    """
    negotiation = call.offered(rack[1], message) if len(rack) > 1 else None
    if negotiation is not None:
        _complete(negotiation, message, message.from_tag)
    return negotiation is not None


def _complete(negotiation: Negotiation, message: SipMessage, answerer: str) -> None:
    negotiation.answer = Description(message.sections, message.moment)
    negotiation.answerer = answerer
    negotiation.taken = message.moment.frame
    negotiation.ended, negotiation.end = FOREVER, ""


def _refuse(call: _Call, transaction: _Transaction, frame: int, end: str) -> None:
    """Withdraw an offer; for a dialog's first INVITE, also withdraw everything agreed early."""
    for negotiation in (transaction.open, *transaction.made.values(), *transaction.asked.values()):
        if negotiation is not None and negotiation.answerer not in transaction.confirmed:
            negotiation.close(frame, end)
    if transaction.begins_dialog and transaction.request is not None:
        for negotiation in call.negotiations:
            tags = {negotiation.offerer, negotiation.answerer}
            early = tags & (transaction.early - transaction.confirmed)
            if early and negotiation.hosts == transaction.hosts:
                negotiation.close(frame, end)


def _prefer(transaction: _Transaction, message: SipMessage) -> None:
    """End what other forks agreed on, because one fork sent a 2xx (RFC 3261 13.2.2.4)."""
    for tag, negotiation in (*transaction.made.items(), *transaction.asked.items()):
        if tag not in transaction.confirmed:
            negotiation.close(message.moment.frame, "other answer")
        elif tag == message.to_tag and negotiation.end == "other answer":
            negotiation.ended, negotiation.end = FOREVER, ""


def _hang_up(call: _Call, message: SipMessage) -> None:
    tags = {message.from_tag, message.to_tag}
    found = [each for each in call.negotiations if {each.offerer, each.answerer} <= tags | {""}]
    near = [each for each in found if each.hosts == message.hosts]
    for negotiation in near or found:
        negotiation.close(message.moment.frame, "BYE")


def _topmost(via: str) -> str:
    """Sent-by and branch of the topmost Via, which a response repeats (RFC 3261 17.1.3)."""
    value = via.partition(",")[0]
    sent, *parameters = value.split(";")
    branch = next((each for each in parameters if each.strip().lower().startswith("branch")), "")
    return f"{sent.split()[-1] if sent.split() else ''};{branch.partition('=')[2].strip()}"


def _tag(value: str) -> str:
    match = _TAG.search(value, max(value.find(">"), 0))
    return match[1] if match else ""
