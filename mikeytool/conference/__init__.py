"""A conference system: members, group keys and SSRCs (3GPP TR 33.828 5.3.2, RFC 6043 9).

The system is a user of a KMS that acts as its factory and its foci. Alice creates a conference:

    import os, time
    from pathlib import Path
    from mikeytool import client, conference, exchange as mikey
    from mikeytool.kms import Store

    env = mikey.Environment(clock=time.time_ns, random=os.urandom)
    names = [f"sip:{name}@example.com" for name in ("kms", "factory", "room-1", "alice")]
    kms_id, factory, focus, alice = map(mikey.Identity.from_text, names)
    store, key, psk = Store.in_memory(kms_id), os.urandom(16), os.urandom(16)
    store.add_user(factory, key, act_as=["sip:room-*@example.com"])
    store.add_user(alice, psk)
    settings = conference.Settings(factory, key, "https://kms.example.com", kms_id, ())
    state, kms = conference.ConferenceState.init(Path("system"), settings), client.StoreKms(store)
    system = conference.ConferenceSystem(state, env, kms)
    flags, prf = mikey.TicketFlag.from_letters("DEFGHIJMNO"), mikey.PROFILE_128.prf
    policy = mikey.TicketPolicy(prf, flags, responders=(factory,))
    pending = client.PreSharedKey(psk).request(env, policy, alice, kms_id)
    held = pending.accept(env, kms.answer(env, pending.init.raw))[0].held
    init = mikey.transfer_init(env, held, initiator=alice, responder=factory)
    answer = conference.create(system, init.raw, focus, [conference.Purpose.AUDIO])

Members call the focus, which answers with `call_in`, or are called with `call_out`. Each function
changes the state file in one transaction, and no transaction is open while the KMS is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.conference.calling_in import call_in as call_in
    from mikeytool.conference.calling_in import create as create
    from mikeytool.conference.calling_out import Answered as Answered
    from mikeytool.conference.calling_out import answer as answer
    from mikeytool.conference.calling_out import call_out as call_out
    from mikeytool.conference.database import ConferenceState as ConferenceState
    from mikeytool.conference.description import describe_conferences as describe_conferences
    from mikeytool.conference.floor_control import FloorKey as FloorKey
    from mikeytool.conference.floor_control import floor_keys as floor_keys
    from mikeytool.conference.floor_control import psk_file as psk_file
    from mikeytool.conference.membership import Tidied as Tidied
    from mikeytool.conference.membership import allow as allow
    from mikeytool.conference.membership import change_keys as change_keys
    from mikeytool.conference.membership import dismiss as dismiss
    from mikeytool.conference.membership import dismiss_seat as dismiss_seat
    from mikeytool.conference.membership import end as end
    from mikeytool.conference.membership import tidy as tidy
    from mikeytool.conference.membership import unanswered as unanswered
    from mikeytool.conference.mixer import Heard as Heard
    from mikeytool.conference.mixer import Mixer as Mixer
    from mikeytool.conference.mixer_session import set_up_mixer as set_up_mixer
    from mikeytool.conference.model import Conference as Conference
    from mikeytool.conference.model import GroupKey as GroupKey
    from mikeytool.conference.model import Member as Member
    from mikeytool.conference.model import MemberState as MemberState
    from mikeytool.conference.model import MixerStream as MixerStream
    from mikeytool.conference.model import Purpose as Purpose
    from mikeytool.conference.model import Settings as Settings
    from mikeytool.conference.model import Topology as Topology
    from mikeytool.conference.model import Update as Update
    from mikeytool.conference.purpose_suites import parse_purposes as parse_purposes
    from mikeytool.conference.relay import Relay as Relay
    from mikeytool.conference.relay import conference_receivers as conference_receivers
    from mikeytool.conference.relay import seat_names as seat_names
    from mikeytool.conference.system import ConferenceSystem as ConferenceSystem
    from mikeytool.conference.system import make_settings as make_settings
    from mikeytool.conference.updates import Updates as Updates

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "system": ("ConferenceSystem", "make_settings"),
        "description": ("describe_conferences",),
        "floor_control": ("FloorKey", "floor_keys", "psk_file"),
        "purpose_suites": ("parse_purposes",),
        "database": ("ConferenceState",),
        "model": (
            "Conference",
            "GroupKey",
            "Member",
            "MemberState",
            "MixerStream",
            "Purpose",
            "Settings",
            "Topology",
            "Update",
        ),
        "calling_in": ("call_in", "create"),
        "calling_out": ("Answered", "answer", "call_out"),
        "mixer": ("Heard", "Mixer"),
        "mixer_session": ("set_up_mixer",),
        "relay": ("Relay", "conference_receivers", "seat_names"),
        "updates": ("Updates",),
        "membership": (
            "Tidied",
            "allow",
            "change_keys",
            "dismiss",
            "dismiss_seat",
            "end",
            "tidy",
            "unanswered",
        ),
    },
)
