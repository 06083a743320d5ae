"""Rules about the list of key management protocols in a session description (RFC 4567 4.1.4)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import HEADER, Found, Level, rule
from mikeytool.lint.subject import Subject
from mikeytool.wire.protocol_list import list_fault, list_in, written


@rule("bidding-down", Level.ERROR, "RFC 4567 4.1.4")
def bidding_down(subject: Subject) -> Iterator[Found]:
    """A message whose list of protocols is not that of its session description."""
    fault = None if subject.carried is None else list_fault(subject.message, subject.carried)
    if fault is not None:
        yield Found(list_in(subject.message) or HEADER, fault)


@rule("sdp-ids-missing", Level.WARNING, "RFC 4567 4.1.4", whole=True)
def sdp_ids_missing(subject: Subject) -> Iterator[Found]:
    """A message without a list, in a description of several protocols."""
    carried = subject.carried
    if carried is None or list_in(subject.message) is not None:
        return
    protocols = carried.description.protocols
    if len(protocols) > 1:
        yield Found(
            HEADER,
            "the message does not say which protocols were offered with it, so others could be"
            f" taken out unnoticed; add a General Extension SDP IDs with {written(protocols)}",
        )
