"""The conference system as a user of its KMS: it requests and resolves tickets (TR 33.828 5.3.2,
RFC 6043 4.2.1 and 4.2.3).

A KMS may be slow, and a transaction locks all other processes out of the state file. The KMS is
therefore never asked within a transaction: see `ConferenceSystem.step`.
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
from mikeytool.conference import ending_rows, member_rows, rows
from mikeytool.conference.database import ConferenceState, Db
from mikeytool.conference.model import Settings
from mikeytool.conference.refusals import not_requested, not_resolved
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.profile import Profile, check_key
from mikeytool.exchange.request import HeldTicket, accept_request_resp, request_init
from mikeytool.exchange.resolve import ResolvedTicket, accept_resolve_resp, resolve_init
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import TransferInit
from mikeytool.kms.group_queries import SharedKey
from mikeytool.storage.private_files import stored_path, stored_text
from mikeytool.wire.errors import Refused, Unavailable
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp

TICKET_VALIDITY = 8 * 3600
"""Seconds of validity that the system requests for its own tickets."""

_ROUNDS = 20
"""The maximum number of attempts at a step. A few attempts are normal, because each may need
further answers of the KMS. More are needed only when other processes change the state each time.
"""

T = TypeVar("T")
Questions = Mapping[Hashable, Callable[[], object]]


class _AnswersMissing(Exception):
    """Raised when the KMS has to be asked before a step can be done; maps names to questions."""

    def __init__(self, questions: Questions) -> None:
        super().__init__()
        self.questions = questions


@dataclass(frozen=True)
class ConferenceSystem:
    """A running conference system: its file, clock, randomness and KMS.

    With `send_errors` it also sends Error messages to senders that are not authenticated.
    `protocols` are those of the session description that the message of a call goes into.
    """

    state: ConferenceState
    env: Environment
    kms: Kms
    send_errors: bool = False
    protocols: tuple[str, ...] = ()

    @classmethod
    @contextmanager
    def open(
        cls,
        path: Path,
        env: Environment,
        *,
        send_errors: bool = False,
        protocols: tuple[str, ...] = (),
    ) -> Iterator[Self]:
        """Open the system in a state file; raises StateError.

        The KMS is contacted only when it is first asked, so commands that need no answer work
        without it.
        """
        with ConferenceState(path) as state:
            me = state.settings()
            key = SharedKey(me.identity, me.psk)
            with closing(LazyKms(lambda: reach(me.kms, key=key))) as kms:
                yield cls(state, env, kms, send_errors, protocols)

    @cached_property
    def settings(self) -> Settings:
        """The settings of the system."""
        return self.state.settings()

    def step(self, work: Callable[[Step], T]) -> T:
        """Wipe what has expired, then do `work`, all in one transaction.

        No transaction is open while the KMS is asked. When `work` needs a KMS answer that is
        missing, everything that it wrote is rolled back, the KMS is asked, and `work` is run
        again from the start. It then sees any changes that others have made, and may need other
        answers. `work` must therefore have no effects outside the transaction, and should ask for
        its answers before any long operation. Raises what `work`, `resolve` and `request` raise,
        or Unavailable when others keep changing the state first; in all these cases nothing is
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
        if rows.wipe_expired(db, now):
            self.state.wipe_soon()
        return Step(self, db, answers, replace(self.env, clock=lambda: now))

    def count_waiting(self) -> tuple[int, int]:
        """Count the members who have not answered an update, and the devices to be told of an end.

        `unanswered` makes the messages for both.
        """
        with self.state.snapshot() as db:
            return member_rows.count_behind(db), ending_rows.count_untold(db)

    def resolver(self, init: TransferInit, focus: Identity) -> Identity:
        """Return the system's address that resolves a ticket.

        That is the factory if the ticket names it as a responder, and otherwise the focus.
        """
        named = (one for one in (self.settings.identity, focus) if one in init.policy.responders)
        return next(named, focus)

    def resolve(self, init: TransferInit, focus: Identity) -> ResolvedTicket:
        """Return the keys of the ticket in a TRANSFER_INIT, from the KMS.

        The KMS is asked each time, because only it can verify the Initiator Data. Raises
        Refused when the KMS refuses, and Unreachable when it cannot be reached.
        """
        me, by = self.settings, self.resolver(init, focus)
        request = resolve_init(
            self.env,
            init.incoming.profile,
            init.ticket,
            responder=by,
            kms=me.kms_id,
            psk=me.psk,
            psk_id=self.key_name,
        )
        try:
            answer = self.kms.answer(self.env, request.raw)
            return accept_resolve_resp(self.env, request, me.psk, answer, init.policy)
        except Refused as error:
            raise not_resolved(error, init.policy, by, me.identity) from None

    def request(
        self,
        profile: Profile,
        initiator: Identity,
        responder: Identity,
        flags: TicketFlag,
        keys: Sequence[KeyData],
    ) -> HeldTicket:
        """Return a ticket from the KMS for one responder. Raises the same errors as `resolve`.

        Also raises Refused when the KMS grants other keys, flags or responders than were
        requested.
        """
        me, now = self.settings, self.env.clock()
        policy = TicketPolicy(
            prf=profile.prf,
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
            profile,
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
            raise not_requested(error, policy, initiator, me.identity) from None
        for difference in granted.differences:
            if difference.harm:
                raise Refused(
                    f"the KMS grants another ticket than was asked for: {difference.text};"
                    " `kms policy show` has its rules"
                )
        if [key.spi for key in granted.held.keys.keys] != [key.spi for key in keys]:
            raise Refused("the KMS grants keys with other SPIs than were asked for")
        return granted.held

    @property
    def key_name(self) -> Identity:
        """The identity under which the KMS finds the system's key, whichever address acts."""
        return Identity.key_name(str(self.settings.identity))


@dataclass(frozen=True)
class Step:
    """The work of a command on the state in one transaction, whose connection is `db`.

    Answers of the KMS are taken from `answers`, by name. A name contains everything that the
    answer depends on, so no answer is used for a state that has changed in the meantime. The
    clock of `env` stands still during the step, so no ticket ends between two checks.
    """

    system: ConferenceSystem
    db: Db
    answers: Mapping[Hashable, Any]
    env: Environment

    @property
    def call_env(self) -> Environment:
        """The environment of the message that is asked for, in its session description."""
        return replace(self.env, protocols=self.system.protocols)

    def groups_of(self, people: Sequence[Identity]) -> list[Sequence[Identity]]:
        """Return the groups that the KMS lists for each of these people."""
        ask = self.system.kms.groups_of
        return self._answered({("groups", one): partial(ask, one) for one in people})

    def ticket(
        self,
        name: Hashable,
        profile: Profile,
        initiator: Identity,
        responder: Identity,
        flags: TicketFlag,
        keys: Sequence[KeyData] = (),
    ) -> HeldTicket:
        """Return the ticket with this name; it is requested once."""
        ask = partial(self.system.request, profile, initiator, responder, flags, keys)
        found: list[HeldTicket] = self._answered({name: ask})
        return found[0]

    def _answered(self, questions: Questions) -> list[Any]:
        missing = {name: ask for name, ask in questions.items() if name not in self.answers}
        if missing:
            raise _AnswersMissing(missing)
        return [self.answers[name] for name in questions]


def make_settings(
    identity: Identity,
    psk: bytes,
    kms: str,
    kms_id: Identity | None = None,
    may_create: Sequence[str] = (),
) -> Settings:
    """Make the settings of a system whose KMS has a store on this machine or a URL.

    Without `kms_id` the KMS says who it is. `psk` has at least 16 octets. Raises UsageError for a
    shorter one and for an address that cannot be kept, and what `reach` raises.
    """
    where = stored_text(kms) if "://" in kms else stored_path(kms)
    check_key(psk, "pre-shared key")
    if kms_id is None:
        with closing(reach(where)) as reached:
            kms_id = reached.identity
    return Settings(identity, psk, where, kms_id, tuple(may_create))


def ticket_digest(init: TransferInit, by: Identity) -> bytes:
    """Return a digest that identifies a resolved ticket: it covers the ticket's policy, its data
    and its resolver, but not its sender.
    """
    parts = (init.ticket.tp_data, init.ticket.ticket_data, by.data)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def resolved_file(init: TransferInit, resolved: ResolvedTicket, by: Identity) -> TicketFile:
    """Return the part of a resolved ticket that is stored."""
    return TicketFile.of_resolved(init.ticket, resolved, by)
