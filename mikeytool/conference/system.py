"""The conference system as a user of its KMS: it requests and resolves tickets (TR 33.828
5.3.2, RFC 6043 4.2.1 and 4.2.3).

A KMS may take its time, and a transaction keeps all others out of the state file. So the KMS
is never asked within one: see `ConferenceSystem.step`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self, TypeVar

from mikeytool.client.kms_access import Kms, LazyKms, reach
from mikeytool.client.ticket_files import TicketFile
from mikeytool.conference import rows
from mikeytool.conference.database import ConferenceState, Db
from mikeytool.conference.model import Settings
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.request import HeldTicket, accept_request_resp, request_init
from mikeytool.exchange.resolve import ResolvedTicket, accept_resolve_resp, resolve_init
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import TransferInit
from mikeytool.kms.group_queries import SharedKey
from mikeytool.wire.errors import Refused, Unavailable
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import ErrorNo, TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp

TICKET_VALIDITY = 8 * 3600
"""Seconds that the system's own tickets are asked for."""

_ROUNDS = 20
"""How often a step is begun at most. A few times are usual, each with answers of the KMS that
the one before needed; more of them only when others change the state each time.
"""

T = TypeVar("T")
Questions = Mapping[Hashable, Callable[[], object]]


class _AnswersMissing(Exception):
    """The KMS has to be asked before a step can be done: by name, how."""

    def __init__(self, questions: Questions) -> None:
        super().__init__()
        self.questions = questions


@dataclass(frozen=True)
class ConferenceSystem:
    """A conference system at work: its file, clock and randomness, and its KMS.

    With `send_errors` it also sends Error messages to senders that are not authenticated.
    """

    state: ConferenceState
    env: Environment
    kms: Kms
    send_errors: bool = False

    @classmethod
    @contextmanager
    def open(cls, path: Path, env: Environment, *, send_errors: bool = False) -> Iterator[Self]:
        """Open the system in a state file; raises StateError.

        Its KMS is reached when it is first asked: what needs no answer of it is done without.
        """
        with ConferenceState(path) as state:
            me = state.settings()
            key = SharedKey(me.identity, me.psk)
            with closing(LazyKms(lambda: reach(me.kms, key=key))) as kms:
                yield cls(state, env, kms, send_errors)

    @cached_property
    def settings(self) -> Settings:
        """The settings of the system."""
        return self.state.settings()

    def step(self, work: Callable[[Step], T]) -> T:
        """Do `work` in one transaction, with what has expired wiped before.

        No transaction is open while the KMS is asked. When `work` needs an answer of the KMS
        that it has not got, all that it wrote is taken back, the KMS is asked, and `work`
        is done again from the start: it then sees the state as others have left it, and may
        need other answers. So it must not do anything beside the transaction, and should
        say what it needs before what takes long. Raises as `work`, `resolve` and
        `request` do, Unavailable when others are faster all the time, and then nothing is
        written.
        """
        answers: dict[Hashable, Any] = {}
        for _ in range(_ROUNDS):
            try:
                with self.state.transaction() as db:
                    return work(self._begun(db, answers))
            except _AnswersMissing as needs:
                questions = needs.questions
            for name, ask in questions.items():
                answers[name] = ask()
        raise Unavailable("others change the conferences all the time; try again")

    def _begun(self, db: Db, answers: Mapping[Hashable, Any]) -> Step:
        now = self.env.clock()
        rows.wipe_expired(db, now)
        return Step(self, db, answers, replace(self.env, clock=lambda: now))

    def resolver(self, init: TransferInit, focus: Identity) -> Identity:
        """Which of the system's addresses resolves a ticket: the one that it names, the
        factory or else the focus.
        """
        named = (one for one in (self.settings.identity, focus) if one in init.policy.responders)
        return next(named, focus)

    def resolve(self, init: TransferInit, focus: Identity) -> ResolvedTicket:
        """The keys of the ticket in TRANSFER_INIT, from the KMS.

        The KMS is asked each time, because it alone can verify the Initiator Data.
        Raises ErrorReceived or Refused when the KMS refuses, Unreachable without one.
        """
        me = self.settings
        request = resolve_init(
            self.env,
            init.incoming.profile,
            init.ticket,
            responder=self.resolver(init, focus),
            kms=me.kms_id,
            psk=me.psk,
            psk_id=self.key_name,
        )
        answer = self.kms.answer(self.env, request.raw)
        return accept_resolve_resp(self.env, request, me.psk, answer, init.policy)

    def request(
        self,
        initiator: Identity,
        responder: Identity,
        flags: TicketFlag,
        keys: Sequence[KeyData],
    ) -> HeldTicket:
        """A ticket from the KMS for one responder. Raises as `resolve` does.

        Refused when the KMS grants other keys, flags or responders than were asked for.
        """
        me, now = self.settings, self.env.clock()
        policy = TicketPolicy(
            prf=PROFILE_128.prf,
            flags=flags,
            responders=(responder,),
            kms=me.kms_id,
            initiator=initiator,
            valid_from=Timestamp.at(now, TsType.NTP_UTC_32),
            valid_to=Timestamp.at(now + TICKET_VALIDITY * NS, TsType.NTP_UTC_32),
            keys=tuple(keys),
        )
        request = request_init(
            self.env,
            PROFILE_128,
            policy,
            initiator=initiator,
            kms=me.kms_id,
            psk=me.psk,
            psk_id=self.key_name,
        )
        try:
            answer = self.kms.answer(self.env, request.raw)
            granted = accept_request_resp(self.env, request, me.psk, answer)
        except Refused as error:
            # Its number is about the system's request, not about the message that led to it.
            raise Refused(str(error), ErrorNo.UNSPECIFIED) from None
        for difference in granted.differences:
            if difference.harm:
                raise Refused(
                    f"the KMS grants another ticket than was asked for: {difference.text}"
                )
        if [key.spi for key in granted.held.keys.keys] != [key.spi for key in keys]:
            raise Refused("the KMS grants keys with other SPIs than were asked for")
        return granted.held

    @property
    def key_name(self) -> Identity:
        """What the KMS finds the system's key by, whichever of its addresses acts."""
        return Identity.key_name(str(self.settings.identity))


@dataclass(frozen=True)
class Step:
    """What a command does to the state in one transaction, whose connection is `db`.

    What it needs of the KMS is taken from `answers`, by name. A name has all in it that the
    answer hangs on, so that no answer is used for a state that has changed meanwhile.
    The clock of `env` stands still: all of it happens at one moment, so that no ticket ends
    between two looks at it.
    """

    system: ConferenceSystem
    db: Db
    answers: Mapping[Hashable, Any]
    env: Environment

    def groups_of(self, people: Sequence[Identity]) -> list[Sequence[Identity]]:
        """The groups that the KMS knows each of these to be in."""
        ask = self.system.kms.groups_of
        return self._answered({("groups", one): partial(ask, one) for one in people})

    def ticket(
        self,
        name: Hashable,
        initiator: Identity,
        responder: Identity,
        flags: TicketFlag,
        keys: Sequence[KeyData] = (),
    ) -> HeldTicket:
        """The ticket of a name, which is requested once."""
        ask = partial(self.system.request, initiator, responder, flags, keys)
        found: list[HeldTicket] = self._answered({name: ask})
        return found[0]

    def _answered(self, questions: Questions) -> list[Any]:
        missing = {name: ask for name, ask in questions.items() if name not in self.answers}
        if missing:
            raise _AnswersMissing(missing)
        return [self.answers[name] for name in questions]


def ticket_digest(init: TransferInit, by: Identity) -> bytes:
    """Digest what tells one resolved ticket from another: its policy, its data and its resolver,
    but not its sender.
    """
    parts = (init.ticket.tp_data, init.ticket.ticket_data, by.data)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def resolved_file(init: TransferInit, resolved: ResolvedTicket, by: Identity) -> TicketFile:
    """What is kept of a resolved ticket."""
    return TicketFile.of_resolved(init.ticket, resolved, by)
