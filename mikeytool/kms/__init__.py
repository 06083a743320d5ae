"""A key management service (RFC 6043 4.2): users, keys, policy, and answers to their messages.

A KMS in memory grants Alice a ticket for Bob:

    import os, time
    from mikeytool import exchange as mikey
    from mikeytool import kms

    env = mikey.Environment(clock=time.time_ns, random=os.urandom)
    kms_id, alice, bob = map(mikey.Identity.from_text, (
        "sip:kms.example.com", "sip:alice@example.com", "sip:bob@example.com"))
    psk = os.urandom(32)
    with kms.Store.in_memory(kms_id) as store:
        store.add_user(alice, psk)
        store.add_user(bob, os.urandom(32))
        store.set_policy(max_validity=8 * 3600)
        policy = mikey.TicketPolicy(mikey.PROFILE_256.prf,
                                    mikey.TicketFlag.from_letters("DEFGHIJNO"), (bob,))
        init = mikey.request_init(env, mikey.PROFILE_256, policy, initiator=alice, kms=kms_id,
                                  psk=psk)
        handled = kms.handle(store, env, init.raw)
        print(mikey.accept_request_resp(env, init, psk, handled.answer).held)

The functions `describe_user`, `describe_store` and so on give what `kms ... --json` prints.
`Store.init` creates a store in a file or a PostgreSQL database, `Store(PATH)` opens it, and
`KmsClient(URL).ask` asks a KMS over HTTP. If a message is refused, the result has a `refusal`,
and its `answer` is an Error message or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.kms.group_queries import SharedKey as SharedKey
    from mikeytool.kms.kms_policy import KmsPolicy as KmsPolicy
    from mikeytool.kms.kms_policy import Rule as Rule
    from mikeytool.kms.kms_policy import Rules as Rules
    from mikeytool.kms.peer_locations import peer_location as peer_location
    from mikeytool.kms.pem_files import load_certificates as load_certificates
    from mikeytool.kms.pem_files import load_key_pair as load_key_pair
    from mikeytool.kms.remote.connection import Tls as Tls
    from mikeytool.kms.remote.http_client import KmsClient as KmsClient
    from mikeytool.kms.service import handle as handle
    from mikeytool.kms.store.check import Check as Check
    from mikeytool.kms.store.check import check as check
    from mikeytool.kms.store.copying import copy as copy
    from mikeytool.kms.store.key_pairs import user_certificate as user_certificate
    from mikeytool.kms.store.records import Handled as Handled
    from mikeytool.kms.store.records import LogEntry as LogEntry
    from mikeytool.kms.store.records import NewUser as NewUser
    from mikeytool.kms.store.records import Peer as Peer
    from mikeytool.kms.store.records import Tpk as Tpk
    from mikeytool.kms.store.records import User as User
    from mikeytool.kms.store.store import Store as Store
    from mikeytool.kms.store.store_description import describe_certificate as describe_certificate
    from mikeytool.kms.store.store_description import describe_check as describe_check
    from mikeytool.kms.store.store_description import describe_kms_policy as describe_kms_policy
    from mikeytool.kms.store.store_description import describe_log_entry as describe_log_entry
    from mikeytool.kms.store.store_description import describe_peer as describe_peer
    from mikeytool.kms.store.store_description import describe_rules as describe_rules
    from mikeytool.kms.store.store_description import describe_store as describe_store
    from mikeytool.kms.store.store_description import describe_tpk as describe_tpk
    from mikeytool.kms.store.store_description import describe_user as describe_user
    from mikeytool.kms.store.store_description import describe_whole_user as describe_whole_user
    from mikeytool.kms.user_import import ReadUsers as ReadUsers
    from mikeytool.kms.user_import import read_users as read_users

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "user_import": (
            "ReadUsers",
            "read_users",
        ),
        "group_queries": ("SharedKey",),
        "kms_policy": ("KmsPolicy", "Rule", "Rules"),
        "peer_locations": ("peer_location",),
        "pem_files": ("load_certificates", "load_key_pair"),
        "remote.connection": ("Tls",),
        "remote.http_client": ("KmsClient",),
        "service": ("handle",),
        "store.check": ("Check", "check"),
        "store.copying": ("copy",),
        "store.key_pairs": ("user_certificate",),
        "store.records": ("Handled", "LogEntry", "NewUser", "Peer", "Tpk", "User"),
        "store.store": ("Store",),
        "store.store_description": (
            "describe_certificate", "describe_check", "describe_kms_policy",
            "describe_log_entry", "describe_peer", "describe_rules", "describe_store",
            "describe_tpk", "describe_user", "describe_whole_user",
        ),
    },
)  # fmt: skip
