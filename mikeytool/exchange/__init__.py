"""The exchanges of MIKEY-TICKET (RFC 6043 4), CSB updates and errors: octets in, octets out.

Alice makes a ticket with a ticket protection key that she shares with Bob, and calls him:

    import os, time
    from mikeytool import exchange as mikey

    env = mikey.Environment(clock=time.time_ns, random=os.urandom)
    alice, bob = map(mikey.Identity.from_text, ("sip:alice@example.com", "sip:bob@example.com"))
    flags, prf = mikey.TicketFlag.from_letters("FGHLMNO"), mikey.PROFILE_128.prf
    policy = mikey.TicketPolicy(prf, flags, responders=(bob,), initiator=alice)
    tgk, tpk = mikey.new_key(mikey.KeyType.TGK, os.urandom(16), None, b"tgk1"), os.urandom(32)
    held = mikey.create_ticket(env, policy, [tgk], tpk, None)
    wanted = [mikey.CsSpec(send=True), mikey.CsSpec(send=False)]
    srtp = [mikey.SP(policy_no=0, protocol=0, policy_param=[])]
    init = mikey.transfer_init(env, held, initiator=alice, responder=bob,
                               crypto_sessions=wanted, policies=srtp)

    received = mikey.read_transfer_init(init.raw)
    resolved = mikey.resolve_alone(env, received.ticket, tpk, bob)
    verified = mikey.verify_transfer_init(received, resolved, bob)
    answer, theirs = mikey.transfer_resp(env, verified, lambda policy: True, local=bob)
    session = mikey.finish_transfer(env, held, init, answer, lambda policy: True)
    print([session.media_key(one) for one in session.crypto_sessions])

The functions use no files, sockets or clocks: the `Environment` provides clock and randomness.
Functions that make an initial message return it as an object. Its `raw` holds the octets to send,
and the object is needed to verify the answer. With a KMS, use `request_init` and `resolve_init`
instead of `create_ticket` and `resolve_alone`. A message that fails a check raises `Refused`; its
`answer` is the Error message to send, if there is one. An unreadable message raises `WireError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.exchange.crypto_sessions import CsSpec as CsSpec
    from mikeytool.exchange.ending import end_init as end_init
    from mikeytool.exchange.environment import Environment as Environment
    from mikeytool.exchange.error import ErrorReceived as ErrorReceived
    from mikeytool.exchange.error import error_message as error_message
    from mikeytool.exchange.error import error_message_on_refusal as error_message_on_refusal
    from mikeytool.exchange.freshness import Freshness as Freshness
    from mikeytool.exchange.incoming import Incoming as Incoming
    from mikeytool.exchange.initiator import finish_transfer as finish_transfer
    from mikeytool.exchange.initiator import session_of_init as session_of_init
    from mikeytool.exchange.initiator import transfer_init as transfer_init
    from mikeytool.exchange.inspect import Inspection as Inspection
    from mikeytool.exchange.inspect import inspect_message as inspect_message
    from mikeytool.exchange.inspect_description import Inspector as Inspector
    from mikeytool.exchange.inspect_history import History as History
    from mikeytool.exchange.inspect_keys import KeyRing as KeyRing
    from mikeytool.exchange.kms_messages import verify_init as verify_init
    from mikeytool.exchange.offline_tickets import create_ticket as create_ticket
    from mikeytool.exchange.offline_tickets import resolve_alone as resolve_alone
    from mikeytool.exchange.profile import PROFILE_128 as PROFILE_128
    from mikeytool.exchange.profile import PROFILE_256 as PROFILE_256
    from mikeytool.exchange.profile import Profile as Profile
    from mikeytool.exchange.profile import profile_of as profile_of
    from mikeytool.exchange.public_key import Enveloped as Enveloped
    from mikeytool.exchange.public_key import KmsKey as KmsKey
    from mikeytool.exchange.public_key import Recipient as Recipient
    from mikeytool.exchange.public_key import Signer as Signer
    from mikeytool.exchange.public_key import check_recipient as check_recipient
    from mikeytool.exchange.public_key import open_envelope as open_envelope
    from mikeytool.exchange.public_key import read_request_init_pk as read_request_init_pk
    from mikeytool.exchange.public_key import read_resolve_init_pk as read_resolve_init_pk
    from mikeytool.exchange.public_key import request_init_pk as request_init_pk
    from mikeytool.exchange.public_key import resolve_init_pk as resolve_init_pk
    from mikeytool.exchange.public_key import verify_pk as verify_pk
    from mikeytool.exchange.recover import recover_session as recover_session
    from mikeytool.exchange.request import Difference as Difference
    from mikeytool.exchange.request import Granted as Granted
    from mikeytool.exchange.request import HeldTicket as HeldTicket
    from mikeytool.exchange.request import RequestInit as RequestInit
    from mikeytool.exchange.request import accept_request_resp as accept_request_resp
    from mikeytool.exchange.request import read_request_init as read_request_init
    from mikeytool.exchange.request import request_init as request_init
    from mikeytool.exchange.request import request_resp as request_resp
    from mikeytool.exchange.reseal import Resealer as Resealer
    from mikeytool.exchange.resolve import ResolvedTicket as ResolvedTicket
    from mikeytool.exchange.resolve import ResolveInit as ResolveInit
    from mikeytool.exchange.resolve import accept_resolve_resp as accept_resolve_resp
    from mikeytool.exchange.resolve import open_for_responder as open_for_responder
    from mikeytool.exchange.resolve import read_resolve_init as read_resolve_init
    from mikeytool.exchange.resolve import resolve_init as resolve_init
    from mikeytool.exchange.resolve import resolve_resp as resolve_resp
    from mikeytool.exchange.responder import VerifiedInit as VerifiedInit
    from mikeytool.exchange.responder import check_acceptable as check_acceptable
    from mikeytool.exchange.responder import transfer_resp as transfer_resp
    from mikeytool.exchange.responder import verify_transfer_init as verify_transfer_init
    from mikeytool.exchange.sealing import Sealed as Sealed
    from mikeytool.exchange.sealing import seal_message as seal_message
    from mikeytool.exchange.session import CryptoSession as CryptoSession
    from mikeytool.exchange.session import MediaKey as MediaKey
    from mikeytool.exchange.session import Proof as Proof
    from mikeytool.exchange.session import Session as Session
    from mikeytool.exchange.ticket import BaseTicket as BaseTicket
    from mikeytool.exchange.ticket import TicketKeys as TicketKeys
    from mikeytool.exchange.ticket import make_ticket as make_ticket
    from mikeytool.exchange.ticket import new_key as new_key
    from mikeytool.exchange.ticket_policy import TicketPolicy as TicketPolicy
    from mikeytool.exchange.ticket_policy import wanted_key as wanted_key
    from mikeytool.exchange.transfer import TransferInit as TransferInit
    from mikeytool.exchange.transfer import read_transfer_init as read_transfer_init
    from mikeytool.exchange.update import answer_update as answer_update
    from mikeytool.exchange.update import finish_update as finish_update
    from mikeytool.exchange.update import update_init as update_init
    from mikeytool.wire.errors import Refused as Refused
    from mikeytool.wire.errors import WireError as WireError
    from mikeytool.wire.identity import Identity as Identity
    from mikeytool.wire.payloads import SP as SP
    from mikeytool.wire.registry import DataType as DataType
    from mikeytool.wire.registry import KeyType as KeyType
    from mikeytool.wire.registry import TicketFlag as TicketFlag

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "environment": ("Environment",),
        "profile": ("PROFILE_128", "PROFILE_256", "Profile", "profile_of"),
        "ticket_policy": ("TicketPolicy", "wanted_key"),
        "ticket": ("BaseTicket", "TicketKeys", "make_ticket", "new_key"),
        "kms_messages": ("verify_init",),
        "request": (
            "Difference",
            "Granted",
            "HeldTicket",
            "RequestInit",
            "accept_request_resp",
            "read_request_init",
            "request_init",
            "request_resp",
        ),
        "resolve": (
            "ResolveInit",
            "ResolvedTicket",
            "accept_resolve_resp",
            "open_for_responder",
            "read_resolve_init",
            "resolve_init",
            "resolve_resp",
        ),
        "public_key": (
            "Enveloped",
            "KmsKey",
            "Recipient",
            "Signer",
            "check_recipient",
            "open_envelope",
            "read_request_init_pk",
            "read_resolve_init_pk",
            "request_init_pk",
            "resolve_init_pk",
            "verify_pk",
        ),
        "offline_tickets": ("create_ticket", "resolve_alone"),
        "crypto_sessions": ("CsSpec",),
        "transfer": ("TransferInit", "read_transfer_init"),
        "initiator": ("finish_transfer", "session_of_init", "transfer_init"),
        "responder": ("VerifiedInit", "check_acceptable", "transfer_resp", "verify_transfer_init"),
        "incoming": ("Incoming",),
        "ending": ("end_init",),
        "update": ("answer_update", "finish_update", "update_init"),
        "freshness": ("Freshness",),
        "session": ("CryptoSession", "MediaKey", "Proof", "Session"),
        "error": ("ErrorReceived", "error_message", "error_message_on_refusal"),
        "inspect": ("Inspection", "inspect_message"),
        "inspect_keys": ("KeyRing",),
        "inspect_history": ("History",),
        "inspect_description": ("Inspector",),
        "sealing": ("Sealed", "seal_message"),
        "reseal": ("Resealer",),
        "recover": ("recover_session",),
        ".wire.errors": ("Refused", "WireError"),
        ".wire.identity": ("Identity",),
        ".wire.payloads": ("SP",),
        ".wire.registry": ("DataType", "KeyType", "TicketFlag"),
    },
)
