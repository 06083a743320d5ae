"""Sessions that the system has ended, and how their devices learn of it (interpretation 51).

Nothing is displaced silently: whoever sends a message of such a session gets an Error message, and
a device whose session another call-in has replaced gets an update that ends its session.
"""

from __future__ import annotations

from contextlib import suppress

from mikeytool.conference import ending_rows, member_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.ending_rows import Ending
from mikeytool.conference.model import Conference, MemberState, Update
from mikeytool.conference.system import Step
from mikeytool.exchange.ending import end_init
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message_on_refusal
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.protection import check_mac
from mikeytool.exchange.update import is_update_of
from mikeytool.exchange.update_rules import update_keys
from mikeytool.wire.errors import Refused
from mikeytool.wire.message import Message
from mikeytool.wire.registry import DataType


def refuse_ended(db: Db, env: Environment, message: Message) -> None:
    """Refuse a message of a session that has ended; an authentic one gets an Error message."""
    if message.header.data_type not in (DataType.TRANSFER_INIT, DataType.TRANSFER_RESP):
        return
    incoming = Incoming.read(message, DataType(message.header.data_type))
    for ending in ending_rows.of_csb(db, message.header.csb_id):
        if _is_authentic(ending, incoming):
            with error_message_on_refusal(env, incoming, update_keys(ending.session), ()):
                raise Refused(f"{ending.identity}: {ending.reason}; it has to call in again")


def _is_authentic(ending: Ending, incoming: Incoming) -> bool:
    """Return whether a device whose session has ended sent a message: an update or an answer."""
    if incoming.message.header.data_type == DataType.TRANSFER_INIT:
        return is_update_of(ending.session, incoming)
    for update in ending.waiting:
        try:
            check_mac(incoming, update_keys(ending.session), update)
        except Refused:
            continue
        return True
    return False


def farewells(step: Step, conference: Conference) -> list[Update]:
    """Return the updates that end replaced sessions; each is made once."""
    made = []
    for ending in ending_rows.untold(step.db, conference.number):
        with suppress(Refused):  # its ticket has expired, and the session with it
            made.append(Update(ending.identity, end_init(step.env, ending.session)))
    ending_rows.all_told(step.db, conference.number)
    return made


def end_conference(step: Step, conference: Conference) -> range:
    """End a conference: keep the update that tells each member, and wipe every key.

    Returns the numbers of the updates.
    """
    db = step.db
    member_rows.forget_updates(db, conference.number)
    first = member_rows.last_update(db) + 1
    for member in member_rows.members(db, conference.number, MemberState.JOINED):
        if member.session is None:
            continue
        with suppress(Refused):
            member_rows.put_farewell(db, member.number, end_init(step.env, member.session))
    rows.end(db, conference.number, step.env.clock())
    return range(first, member_rows.last_update(db) + 1)
