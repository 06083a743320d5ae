"""Recover the session of a captured Ticket Transfer from its messages and a key that opens them.

The session is that of an observer. It has the keys of every stream, in both directions, but sends
none of the streams itself. Times are not checked, because captures are old; everything else is
verified as the two ends did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.initiator import TransferResp, as_answered, parties, unanswered_session
from mikeytool.exchange.inspect import VERIFIED, inspect_message
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.protection import check_mac
from mikeytool.exchange.resolve import Modifier, read_modifier
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import BaseTicket, TicketKeys, new_key, ticket_octets
from mikeytool.exchange.transfer import F, TransferInit, check_vi, read_transfer_init
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import KMS_EXCHANGES, answers
from mikeytool.wire.payloads import KEMAC, TICKET, KeyData
from mikeytool.wire.registry import DataType, KeyType


class _Source(NamedTuple):
    """Keys that may be the ticket's; if there is a `modifier`, they are forked with it."""

    keys: TicketKeys
    modifier: Modifier | None = None


def recover_session(
    init: bytes, resp: bytes | None, ring: KeyRing, others: Sequence[bytes] = ()
) -> Session:
    """Return the session that TRANSFER_INIT and TRANSFER_RESP set up, as an observer has it.

    `ring` has MPKs, the TPK of the ticket, or the key that a user shares with the KMS. A user's key
    opens REQUEST_INIT and REQUEST_RESP, or RESOLVE_INIT and RESOLVE_RESP, among `others`. `resp` is
    None for a ticket without the F flag. Both messages are verified. Raises Refused if no key opens
    them or they do not belong together, WireError if one cannot be read.
    """
    read = read_transfer_init(init)
    check_vi(read)
    sources = [source for source in _sources(read, ring, others) if _opens(read, source)]
    if not sources:
        raise Refused(
            "no key that is given opens TRANSFER_INIT: it takes the TPK of its ticket, MPKi, or"
            " the key of a user with the KMS and their captured exchange"
        )
    if F.F not in read.policy.flags:
        if resp is not None:
            raise Refused("the ticket has no F flag, so there is no TRANSFER_RESP to it")
        keys = sources[0].keys
        return unanswered_session(keys.mpki.key, keys.keys, read, None)
    if resp is None:
        raise Refused("the answer settles keys and streams: give the TRANSFER_RESP as well")
    answer = TransferResp.read(read, resp)
    for mpki, mpk, keys in _answers(answer, sources):
        try:
            answer.verify(mpk)
        except Refused:
            continue
        return answer.session(mpki, mpk, keys.keys, lambda _policy: True, None)
    raise Refused(
        "no key that is given opens TRANSFER_RESP: the ticket has the I flag, so it takes the"
        " TPK, MPKr or MPKr', or what the KMS told one of the two"
        if F.I in read.policy.flags
        else "the MAC of TRANSFER_RESP is wrong: it was changed, or answers another message"
    )


def _sources(init: TransferInit, ring: KeyRing, others: Sequence[bytes]) -> Iterator[_Source]:
    """Yield what the keys reveal of the ticket; sources that reveal all of it come first."""
    inspection = inspect_message(init.incoming.message, ring)
    if inspection.ticket == VERIFIED:
        base = BaseTicket.of(init.ticket)
        yield _Source(base.split(inspection.kemacs[base.kemac.offset]))
    yield from _from_kms(init, ring, others)
    csb_id = init.incoming.csb_id
    mpkrs: list[KeyData | None] = [_mpk(key) for key in ring.mpkr_of(csb_id)]
    for key in ring.mpki_of(csb_id):
        yield from (_Source(TicketKeys(_mpk(key), mpkr, ())) for mpkr in mpkrs or [None])


def _mpk(key: bytes) -> KeyData:
    return new_key(KeyType.MPK, key, None, b"")


def _from_kms(init: TransferInit, ring: KeyRing, others: Sequence[bytes]) -> Iterator[_Source]:
    """Yield what the KMS told the initiator or the responder about this ticket."""
    messages = [Message.parse(raw) for raw in others]
    for answer in messages:
        for asked in messages:
            kind = answer.header.data_type
            if kind in KMS_EXCHANGES and answers(kind, asked.header.data_type):
                inspection = inspect_message(answer, ring, asked)
                kemac = answer.find(KEMAC)
                if inspection.mac == VERIFIED and kemac is not None:
                    yield from _in_response(init, asked, answer, inspection.kemacs[kemac.offset])


def _in_response(
    init: TransferInit, asked: Message, answer: Message, inside: Sequence[KeyData]
) -> Iterator[_Source]:
    ticket = answer.find(TICKET) or asked.find(TICKET)
    if ticket is None or ticket_octets(ticket) != ticket_octets(init.ticket):
        return
    keys = TicketKeys.of(inside, init.policy.flags)
    modifier = None
    if answer.header.data_type == DataType.RESOLVE_RESP:
        modifier = read_modifier(Incoming.read(answer.raw, DataType.RESOLVE_RESP), init.policy)
    yield _Source(keys, modifier)


def _opens(init: TransferInit, source: _Source) -> bool:
    initiator, responder = parties(init)
    try:
        keys = init.keys(source.keys.mpki.key, response=False)
        check_mac(init.incoming, keys, initiator.data + responder.data)
    except Refused:
        return False
    return True


def _answers(
    answer: TransferResp, sources: Sequence[_Source]
) -> Iterator[tuple[bytes, bytes, TicketKeys]]:
    """Yield MPKi, a key that may protect the answer, and the session keys of both ends."""
    prf = answer.init.policy.prf
    for keys, modifier in sources:
        mpki = keys.mpki.key
        if F.I not in answer.init.policy.flags:
            yield mpki, mpki, keys
        elif keys.mpkr is not None:
            if modifier is None:
                mpk, forked = as_answered(keys, prf, answer.modifier)
                yield mpki, mpk, forked
            if modifier == answer.modifier or not keys.keys:
                # An MPKr given without a ticket may be forked already.
                yield mpki, keys.mpkr.key, keys
