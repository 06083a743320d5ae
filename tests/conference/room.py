"""A conference system with its KMS in one process, and people who call and are called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mikeytool.client.kms_access import StoreKms
from mikeytool.conference import calling_in, calling_out, member_rows, rows
from mikeytool.conference.calling_out import Answered
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.model import (
    Conference,
    GroupKey,
    Member,
    MemberState,
    Purpose,
    Settings,
    Topology,
)
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.profile import PROFILE_128, Profile
from mikeytool.exchange.request import HeldTicket, accept_request_resp, read_request_init
from mikeytool.exchange.session import MediaKey, Session
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.exchange.update import answer_update, finish_update, update_init
from mikeytool.kms.store.store import Store
from mikeytool.srtp.suites import Suite
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import DataType, KeyType
from tests.world import ALICE, KMS, POLICY, World, accept_all, psk_of

FACTORY = Identity.from_text("sip:factory@conf.example.com")
FOCUS = Identity.from_text("sip:room-1@conf.example.com")
DAN = Identity.from_text("sip:dan@example.com")
FLAGS = "DEFGHIJMNO"
FACTORY_KEY = b"f" * 32


@dataclass(eq=False)
class Person:
    """Someone with a telephone; `session` is what they have with the conference."""

    room: Room
    who: Identity
    session: Session | None = None
    held: HeldTicket | None = None
    init: bytes = b""

    def ticket(
        self,
        *to: Identity,
        flags: str = FLAGS,
        keys: int = 0,
        rekey: int | None = None,
        profile: Profile = PROFILE_128,
    ) -> HeldTicket:
        """A ticket for these responders, without session keys unless `keys` says how many.

        `rekey` is its rekeying interval in seconds.
        """
        wanted = [wanted_key(KeyType.TGK, 16, 0)] * keys
        policy = self.room.policy(
            flags,
            responders=to,
            initiator=self.who,
            keys=tuple(wanted),
            rekey=rekey,
            prf=profile.prf,
        )
        request = self.room.asked(policy, self.who)
        answer = self.room.handled(request)
        self.held = accept_request_resp(
            self.room.env, read_request_init(request), psk_of(self.who), answer
        ).held
        return self.held

    def call(
        self,
        to: Identity = FOCUS,
        ssrcs: Sequence[int | None] = (None,),
        receive: int = 1,
        policies: Sequence[SP] = (POLICY,),
    ) -> bytes:
        """TRANSFER_INIT with media lines: one to send for each of `ssrcs`, and some to receive."""
        assert self.held is not None
        specs = [CsSpec(send=True, cs_id=2 * at + 1, ssrc=ssrc) for at, ssrc in enumerate(ssrcs)]
        specs += [CsSpec(send=False, cs_id=2 * at + 2) for at in range(receive)]
        self.init = self.room.call(self.held, specs, policies, caller=self.who, called=to)
        return self.init

    def take(self, answer: bytes) -> Session:
        """The session that an answer to the last call sets up."""
        assert self.held is not None
        self.session = finish_transfer(
            self.room.env, self.held, read_transfer_init(self.init), answer, accept_all
        )
        return self.session

    def call_in(self, *ssrcs: int | None, receive: int = 1) -> Session:
        """Get a ticket for the focus and call in."""
        self.ticket(FOCUS)
        return self.take(self.room.call_in(self.call(FOCUS, ssrcs or (None,), receive)))

    def come_back(self) -> Session:
        """Call in with the SSRCs of the last session, as the same device would."""
        ssrcs = [ssrc for ssrc, _ in self.sends()]
        return self.call_in(*ssrcs, receive=len(ssrcs))

    def pick_up(self, init: bytes, ssrc: int | None = None, by: Identity | None = None) -> bytes:
        """Answer a call-out; `ssrc` is for the stream to send."""
        specs = [CsSpec(send=True, ssrc=ssrc)] if ssrc is not None else []
        answer, self.session = self.room.answered(init, by or self.who, crypto_sessions=specs)
        return answer

    def update(self, message: bytes) -> bytes:
        """Answer an update."""
        assert self.session is not None
        incoming = Incoming.read(message, DataType.TRANSFER_INIT)
        answer, self.session = answer_update(self.room.env, self.session, incoming, accept_all)
        assert answer is not None
        return answer

    def is_for(self, message: bytes) -> bool:
        """Whether an update is for the session of this device."""
        assert self.session is not None
        return Message.read(message).header.csb_id == self.session.csb_id

    def ask(self, *specs: CsSpec, **changes: Any) -> bytes:
        """An update with other streams, to the system."""
        assert self.session is not None
        asked, self.session = update_init(
            self.room.env, self.session, crypto_sessions=specs, **changes
        )
        self.init = asked.raw
        return self.init

    def told(self, answer: bytes) -> Session:
        """The session after the system's answer to that."""
        assert self.session is not None
        sent = Incoming.read(self.init, DataType.TRANSFER_INIT)
        self.session = finish_update(self.room.env, self.session, sent, answer, accept_all)
        return self.session

    def sends(self) -> list[tuple[int, MediaKey]]:
        """SSRC and key of each stream to send."""
        assert self.session is not None
        return [
            (one.ssrc, self.session.media_key(one))
            for one in self.session.crypto_sessions
            if self.session.is_local(one) and one.ssrc is not None
        ]

    def keys(self) -> dict[bytes, bytes]:
        """TEKs by SPI of what this person holds."""
        assert self.session is not None
        return {key.spi or b"": key.key for key in self.session.keys}


@dataclass
class Room(World):
    """A world with a conference system."""

    may_create: tuple[str, ...] = ()
    people: dict[Identity, Person] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store.add_user(FACTORY, FACTORY_KEY, act_as=["sip:*@conf.example.com"])
        self.store.add_user(DAN, psk_of(DAN))
        path = self.folder / "conference.db"
        system = Settings(FACTORY, FACTORY_KEY, str(self.store.path), KMS, self.may_create)
        self.state = ConferenceState.init(path, system)
        self.own_kms = StoreKms(Store(self.store.path))
        self.system = ConferenceSystem(self.state, self.env, self.own_kms)

    def close(self) -> None:
        self.state.close()
        self.own_kms.close()
        super().close()

    def person(self, who: Identity) -> Person:
        """Someone, the same each time."""
        return self.people.setdefault(who, Person(self, who))

    def device(self, who: Identity) -> Person:
        """Another device of someone."""
        return Person(self, who)

    def create(
        self,
        *guests: Identity,
        by: Identity = ALICE,
        purposes: Sequence[Purpose] = (Purpose.AUDIO,),
        focus: Identity = FOCUS,
        suites: Mapping[Purpose, Suite] | None = None,
        topology: Topology = Topology.RELAY,
        may_add: Sequence[str] = (),
    ) -> Person:
        """A conference with these guests."""
        creator = self.person(by)
        creator.ticket(FACTORY, *guests, keys=1)
        init = creator.call(FACTORY)
        answer = calling_in.create(self.system, init, focus, purposes, suites, topology, may_add)
        creator.take(answer)
        return creator

    def call_in(self, init: bytes) -> bytes:
        """The system's answer to a caller."""
        return calling_in.call_in(self.system, init)

    def call_out(self, who: Identity, timeout: int = 60, by: Identity | None = None) -> bytes:
        """The system's TRANSFER_INIT for someone."""
        return calling_out.call_out(self.system, FOCUS, who, timeout, by)

    def answer(self, message: bytes) -> Answered:
        """What the system makes of an answer."""
        return calling_out.answer(self.system, message)

    def conference(self, focus: Identity = FOCUS) -> Conference:
        """The conference of a focus."""
        with self.state.transaction() as db:
            found = rows.conference_of(db, focus)
        assert found is not None
        return found

    def members(self) -> dict[Identity, Member]:
        """Everyone who is known in the conference, with the best of their seats."""
        number = self.conference().number
        order = (MemberState.LEFT, MemberState.INVITED, MemberState.JOINED)
        with self.state.transaction() as db:
            found = sorted(
                member_rows.members(db, number, *MemberState),
                key=lambda one: order.index(one.state),
            )
        return {one.identity: one for one in found}

    def states(self) -> dict[Identity, str]:
        """Where everyone stands."""
        return {who: member.state.value for who, member in self.members().items()}

    def ssrcs(self, who: Identity) -> list[int]:
        """The SSRCs of a member."""
        with self.state.transaction() as db:
            return rows.ssrcs_of(db, self.members_number(who))

    def members_number(self, who: Identity) -> int:
        """The number of a member in the file."""
        row = self.state.db.execute("SELECT number FROM members WHERE identity = ?", (who.data,))
        return int(row.fetchone()[0])

    def group_keys(self) -> list[GroupKey]:
        """The group keys, newest first."""
        number = self.conference().number
        with self.state.transaction() as db:
            return rows.group_keys(db, number)

    def tables(self) -> dict[str, list[list[str]]]:
        """Everything in the file but the replay cache, by table."""
        names = self.state.db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        return {
            name: [list(map(repr, row)) for row in self.state.db.execute(f"SELECT * FROM {name}")]
            for (name,) in names.fetchall()
            if not name.startswith("replay")
        }

    def dump(self) -> str:
        """The same as one text, to see whether anything changed."""
        return json.dumps(self.tables())
