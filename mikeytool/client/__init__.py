"""The user's side of MIKEY-TICKET: files of tickets, sessions and requests, and KMS access.

Alice gets a ticket for Bob from a KMS, here one in memory, and calls him:

    import os, time
    from pathlib import Path
    from mikeytool import client, exchange as mikey
    from mikeytool.kms import Store

    env = mikey.Environment(clock=time.time_ns, random=os.urandom)
    alice, bob = map(mikey.Identity.from_text, ("sip:alice@example.com", "sip:bob@example.com"))
    store, psk = Store.in_memory(mikey.Identity.from_text("sip:kms.example.com")), os.urandom(16)
    store.add_user(alice, psk)
    kms = client.StoreKms(store)  # or reach("https://kms.example.com")

    flags = mikey.TicketFlag.from_letters("DEFGHIJNO")
    policy = mikey.TicketPolicy(mikey.PROFILE_128.prf, flags, responders=(bob,))
    pending = client.PreSharedKey(psk).request(env, policy, alice, kms.identity)
    ticket, differences = pending.accept(env, kms.answer(env, pending.init.raw))
    ticket.write(Path("bob.ticket"), force=False)
    srtp = mikey.SP(policy_no=0, protocol=0, policy_param=[])
    media, call = client.Media([mikey.CsSpec(send=True)], [srtp]), client.Call(alice, bob)
    init = client.start_call(env, Path("bob.ticket"), Path("bob.session"), call,
                             lambda policy: media, force=False)

Bob answers with `answer_call` or `answer_message`, and Alice processes the answer with
`finish_call`. Files hold keys, so only their owner can read them; each is written completely or
not at all. The client's state records what must not be used twice, such as a message or an SSRC
under one key; see `open_state`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.client.credentials import Credentials as Credentials
    from mikeytool.client.credentials import PreSharedKey as PreSharedKey
    from mikeytool.client.initiate import Call as Call
    from mikeytool.client.initiate import Media as Media
    from mikeytool.client.initiate import finish_call as finish_call
    from mikeytool.client.initiate import start_call as start_call
    from mikeytool.client.initiate import start_update as start_update
    from mikeytool.client.key_tab import read_key_tabs as read_key_tabs
    from mikeytool.client.key_text import parse_key as parse_key
    from mikeytool.client.kms_access import Kms as Kms
    from mikeytool.client.kms_access import LazyKms as LazyKms
    from mikeytool.client.kms_access import StoreKms as StoreKms
    from mikeytool.client.kms_access import UrlKms as UrlKms
    from mikeytool.client.kms_access import reach as reach
    from mikeytool.client.policy_text import policy_of as policy_of
    from mikeytool.client.public_key import PublicKey as PublicKey
    from mikeytool.client.resolvers import with_kms as with_kms
    from mikeytool.client.resolvers import with_ticket_file as with_ticket_file
    from mikeytool.client.resolvers import with_tpk as with_tpk
    from mikeytool.client.respond import Callee as Callee
    from mikeytool.client.respond import answer_call as answer_call
    from mikeytool.client.respond import answer_message as answer_message
    from mikeytool.client.respond import answer_session_update as answer_session_update
    from mikeytool.client.session_files import SessionFile as SessionFile
    from mikeytool.client.session_files import locked_session as locked_session
    from mikeytool.client.state import ClientState as ClientState
    from mikeytool.client.state import open_state as open_state
    from mikeytool.client.ticket_files import Pending as Pending
    from mikeytool.client.ticket_files import TicketFile as TicketFile
    from mikeytool.client.ticket_files import find_ticket as find_ticket
    from mikeytool.client.ticket_files import read_ticket as read_ticket
    from mikeytool.client.tickets import accept_answer as accept_answer
    from mikeytool.client.tickets import describe_ticket as describe_ticket
    from mikeytool.client.tickets import make_ticket_file as make_ticket_file
    from mikeytool.client.tickets import resolve_with_tpk as resolve_with_tpk
    from mikeytool.client.time_text import parse_duration as parse_duration
    from mikeytool.client.time_text import parse_time as parse_time

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "time_text": (
            "parse_duration",
            "parse_time",
        ),
        "policy_text": ("policy_of",),
        "credentials": ("Credentials", "PreSharedKey"),
        "public_key": ("PublicKey",),
        "key_tab": ("read_key_tabs",),
        "key_text": ("parse_key",),
        "kms_access": ("Kms", "LazyKms", "StoreKms", "UrlKms", "reach"),
        "ticket_files": ("Pending", "TicketFile", "find_ticket", "read_ticket"),
        "tickets": ("accept_answer", "describe_ticket", "make_ticket_file", "resolve_with_tpk"),
        "session_files": ("SessionFile", "locked_session"),
        "initiate": ("Call", "Media", "finish_call", "start_call", "start_update"),
        "resolvers": ("with_kms", "with_ticket_file", "with_tpk"),
        "respond": ("Callee", "answer_call", "answer_message", "answer_session_update"),
        "state": ("ClientState", "open_state"),
    },
)
