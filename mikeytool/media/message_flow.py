"""The exchanges of a capture: its messages, their parties, and an arrow for each message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from mikeytool.capture.captured_messages import CapturedMessage
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import PARTIES
from mikeytool.wire.payloads import ID, IDR
from mikeytool.wire.printable import printable
from mikeytool.wire.registry import DataType as D
from mikeytool.wire.registry import IdRole, label

if TYPE_CHECKING:
    from mikeytool.exchange.inspect_description import Inspected
    from mikeytool.media.signalling_steps import SignallingSteps, Step

RESULTS = ("verified", "FAILED", "not checked")
"""The results of the checks of a message that can be read to its end."""
BROKEN = "broken"
"""The result of a message that cannot be read to its end."""
MOST_ARROWS = 10_000
"""Messages in ladders, which have to be held together."""
MOST_PARTIES = 5
"""Side by side; if there are more, each exchange has a ladder of its own."""
_MOST_NAMES = 3
COLUMNS = ("#", "frame", "time", "from", "to", "carried by", "call", "level", "message",
           "CSB ID", "octets", "check")  # fmt: skip
"""The heads of a list of messages: those of `Row.cells`, and of its result."""

FOLDED_COLUMNS = ("#", "frame", "time", "from, to", "carried by", "message")
"""The heads of a narrow list: those of `Row.folded`."""


class Arrow(NamedTuple):
    """A message: its number or 0, sender, receiver and label, and the result of its checks.

    `exchange` names the exchange that it belongs to, such as "CSB ID 0x12345678".
    """

    number: int
    sender: str
    receiver: str
    label: str
    result: str
    exchange: str


def ladders(arrows: Sequence[Arrow]) -> Iterator[tuple[str, list[Arrow]]]:
    """Return the arrows of each ladder, with a title if one set of parties has several."""
    for group in _connected(arrows):
        if len(parties_of(group)) <= MOST_PARTIES:
            yield "", group
            continue
        exchanges: dict[str, list[Arrow]] = {}
        for arrow in group:
            exchanges.setdefault(arrow.exchange, []).append(arrow)
        yield from exchanges.items()


def _connected(arrows: Sequence[Arrow]) -> list[list[Arrow]]:
    """Group the arrows by connected sets of parties, in order of appearance."""
    leader: dict[str, str] = {}

    def lead(party: str) -> str:
        found = leader.setdefault(party, party)
        while found != leader[found]:
            found = leader[found]
        leader[party] = found
        return found

    for arrow in arrows:
        leader[lead(arrow.receiver)] = lead(arrow.sender)
    groups: dict[str, list[Arrow]] = {}
    for arrow in arrows:
        groups.setdefault(lead(arrow.sender), []).append(arrow)
    return list(groups.values())


def parties_of(arrows: Sequence[Arrow]) -> list[str]:
    """Return the parties of some arrows, in order of appearance."""
    return list(dict.fromkeys(end for one in arrows for end in (one.sender, one.receiver)))


class Row(NamedTuple):
    """A message of a capture; `message` is None if nothing of it can be read.

    `result` is the result of its checks: "verified", "FAILED", "not checked"; or BROKEN. `file` is
    the number of its capture, for `show_flow`.
    """

    number: int
    captured: CapturedMessage
    message: Message | None
    result: str
    file: int = 0

    @property
    def cells(self) -> tuple[str, ...]:
        """What a list has of the message, in printable text; without its result."""
        one = self.captured
        cells = (str(self.number), str(one.signal.moment.frame), self.clock, one.signal.source,
                 one.signal.destination, one.method, one.call_id, one.level, self.kind,
                 self.csb_id, str(self.size))  # fmt: skip
        return tuple(printable(cell) or "-" for cell in cells)

    def folded(self, *, checked: bool) -> tuple[str, ...]:
        """Some cells, of several lines each; `checked` adds the result."""
        one = self.captured
        carried = [one.method, one.call_id, one.level]
        message = [self.kind, self.csb_id, f"{self.size} octets", self.result if checked else ""]
        return (
            str(self.number),
            str(one.signal.moment.frame),
            self.clock,
            f"{one.signal.source}\n{one.signal.destination}",
            "\n".join(printable(text) for text in carried if text),
            "\n".join(text for text in message if text),
        )

    @property
    def clock(self) -> str:
        """The time of day in UTC to the millisecond."""
        time = self.captured.signal.moment.time
        if time is None:
            return "-"
        seconds, milliseconds = divmod(time // 1_000_000, 1000)
        minutes, second = divmod(seconds % 86_400, 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{milliseconds:03}"

    @property
    def size(self) -> int:
        """The length of the message in octets."""
        content = self.captured.content
        return len(content) if isinstance(content, bytes) else 0

    @property
    def kind(self) -> str:
        """The name of the data type, or the number if it is unassigned."""
        number = None if self.message is None else self.message.header.data_type
        if number is None:  # not even so much of the header is there
            return BROKEN
        name = label(D, number)
        name = f"data type {name}" if name.isdecimal() else name
        return f"{name}, {BROKEN}" if self.result == BROKEN else name

    @property
    def csb_id(self) -> str:
        """The CSB ID, empty without one."""
        csb_id = None if self.message is None else self.message.header.csb_id
        return "" if csb_id is None else f"{csb_id:#010x}"


def result_of(known: Inspected) -> str:
    """Return the result of the checks of a message, for its Row."""
    opened = known.described.get("opened") or {}
    if known.error is not None:
        return BROKEN
    if known.failed:
        return "FAILED"
    proven = "verified" in (opened.get("mac"), opened.get("signature"))
    return "verified" if proven else "not checked"


class Flow(NamedTuple):
    """The exchanges and the steps of calls between parties.

    `names` are the lines that name each party. `left_out` counts the steps beyond MOST_ARROWS.
    """

    arrows: list[Arrow]
    names: dict[str, list[str]]
    left_out: int


def flow_of(rows: Sequence[Row], steps: SignallingSteps) -> Flow:
    """Make arrows of the messages and of the steps of calls, in the order of their frames."""
    parties = _Parties(rows)
    found = steps.in_order()
    shown = found[: MOST_ARROWS - len(rows)]
    calls = {step.call for step in shown}
    arrows = [
        ((step.file, step.frame), Arrow(0, *parties.of_step(step), printable(step.text),
         step.result, f"call {printable(step.call)}")) for step in shown
    ]  # fmt: skip
    for row in rows:
        exchange = f"CSB ID {row.csb_id}" if row.csb_id else BROKEN
        if row.captured.call_id in calls:
            exchange = f"call {printable(row.captured.call_id)}"
        ends = parties.ends(row)
        label = f"{row.kind} {row.size}"
        place = row.file, row.captured.signal.moment.frame
        arrows.append((place, Arrow(row.number, *ends, label, row.result, exchange)))
    arrows.sort(key=itemgetter(0))
    left_out = len(found) - len(shown) + steps.left_out
    return Flow([arrow for _, arrow in arrows], parties.names(), left_out)


class _Parties:
    """The parties: one for each host, with the identities that its messages claim.

    If a host talks to itself, its parties are identities, or ports if none is known.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._roles: dict[str, dict[IdRole, str]] = {}
        self._identities: dict[str, dict[str, None]] = {}
        self._ports: dict[str, str] = {}
        for row in rows:
            if row.message is not None:
                known = self._roles.setdefault(row.csb_id, {})
                for role, identity in _claims(row.message):
                    known.setdefault(role, identity)
        # A proxy forwards a message: its sender is before the first hop, its receiver after
        # the last.
        hops: dict[bytes | int, list[Row]] = {}
        for row in rows:
            content = row.captured.content
            hops.setdefault(content if isinstance(content, bytes) else row.number, []).append(row)
        for some in hops.values():
            sender, receiver = self._claimed(some[0])
            for row in some:
                begin, end = self.ends(row)
                self._name(begin, sender if row is some[0] else "")
                self._name(end, receiver if row is some[-1] else "")

    def of_step(self, step: Step) -> tuple[str, str]:
        """Return the sender and the receiver of a step."""
        ends = step.source, step.destination
        one, two = map(_host, ends)
        if one == two:
            one, two = (self._ports.get(each, each) for each in ends)
        for party in (one, two):
            self._name(party, "")
        return one, two

    def ends(self, row: Row) -> tuple[str, str]:
        """Return the sender and the receiver of a message."""
        signal = row.captured.signal
        ends = (signal.source, signal.destination)
        hosts = (_host(ends[0]), _host(ends[1]))
        if hosts[0] != hosts[1]:
            return hosts
        claimed = self._claimed(row)
        for end, name in zip(ends, claimed, strict=True):
            self._ports.setdefault(end, name or end)
        return claimed[0] or ends[0], claimed[1] or ends[1]

    def names(self) -> dict[str, list[str]]:
        """Return the lines above the column of each party."""
        names = {}
        for party, identities in self._identities.items():
            found = [printable(one) for one in identities if one != party]
            more = [f"and {len(found) - _MOST_NAMES} more"] if len(found) > _MOST_NAMES else []
            names[party] = [printable(party), *found[:_MOST_NAMES], *more]
        return names

    def _name(self, party: str, identity: str) -> None:
        known = self._identities.setdefault(party, {})
        if identity:
            known[identity] = None

    def _claimed(self, row: Row) -> tuple[str, str]:
        """Return the identities of sender and receiver, empty if they are not known."""
        roles = self._roles.get(row.csb_id, {})
        kind = None if row.message is None else row.message.header.data_type
        ends = PARTIES.get(kind) if kind is not None else None
        return (roles.get(ends[0], ""), roles.get(ends[1], "")) if ends else ("", "")


def _host(end: str) -> str:
    return end.rpartition(":")[0].strip("[]")


def _claims(message: Message) -> Iterator[tuple[IdRole, str]]:
    """Return the identities in a message by their roles."""
    for payload in message.all(IDR):
        if payload.id_role in (IdRole.INITIATOR, IdRole.RESPONDER, IdRole.KMS):
            yield IdRole(payload.id_role), str(Identity.of(payload))
    ends = PARTIES.get(message.header.data_type, ())
    for role, one in zip(ends, message.all(ID), strict=False):
        yield role, str(Identity.of(one))
