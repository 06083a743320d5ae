"""Contexts from MIKEY messages (RFC 3830), with keys in the clear or in a decrypted KEMAC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mikeytool.crypto.derive import SessionKeys
from mikeytool.exchange.handed_in import handed_in_keys
from mikeytool.exchange.inspect import inspect_message
from mikeytool.exchange.inspect_context import key_inputs
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.media.contexts import ReceiverContext, SenderContext, sender_context
from mikeytool.media.settings import Settings
from mikeytool.srtp.index import WINDOW
from mikeytool.srtp.master_key import MasterKey
from mikeytool.srtp.security_policy import read_policy
from mikeytool.srtp.sender import Sender
from mikeytool.srtp.suites import Cipher, Suite, suite
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import GenericIdEntry, SrtpIdEntry, srtp_session_data
from mikeytool.wire.message import Message, key_data
from mikeytool.wire.message_types import TRANSFERS, answers
from mikeytool.wire.payloads import KEMAC, SP, KeyData
from mikeytool.wire.registry import EncrAlg, KeyType, ProtType

_DEFAULT = "AES_CM_128_HMAC_SHA1_80"
_MOST = 64
"""The most crypto sessions, and keys, that are read from one message."""
_TAGS = (4, 10)
_AUTH_KEY = 20


@dataclass(frozen=True)
class SrtpKeys:
    """What a MIKEY message says about one SRTP crypto session.

    `ssrc` is None if the message names none. `suites` are the possible readings of its policy, the
    likeliest first: much software writes the tag length where the length of the authentication key
    belongs.
    """

    suites: tuple[Suite, ...]
    master_keys: tuple[MasterKey, ...]
    ssrc: int | None
    roc: int


def mikey_sender(name: str, sessions: Sequence[SrtpKeys], settings: Settings) -> SenderContext:
    """A context that encrypts with a MIKEY message's key; raises UsageError if it has several."""
    first = sessions[0]
    if any(each.master_keys[0].key != first.master_keys[0].key for each in sessions):
        raise UsageError(f"{name}: its streams have keys of their own; encrypt with --key")
    rocs = {each.ssrc: each.roc for each in sessions if each.ssrc is not None}
    sender = Sender(
        settings.adapted(first.suites[0]),
        first.master_keys[0],
        with_cryptex=settings.with_cryptex,
        ssrcs=settings.ssrcs,
        roc={**rocs, **settings.rocs},
        window=settings.window or WINDOW,
    )
    return sender_context(name, sender, settings.ssrcs)


def mikey_receivers(
    name: str, sessions: Sequence[SrtpKeys], settings: Settings
) -> list[ReceiverContext]:
    """Contexts that decrypt with a MIKEY message's keys: one for each reading of each key."""
    found: dict[tuple[Suite, tuple[MasterKey, ...]], dict[int, int]] = {}
    for each in sessions:
        for chosen in each.suites:
            rocs = found.setdefault((chosen, each.master_keys), {})
            if each.ssrc is not None:
                rocs[each.ssrc] = each.roc
    return [
        ReceiverContext(name, chosen, keys, settings, ssrcs=settings.ssrcs, rocs=rocs)
        for (chosen, keys), rocs in found.items()
    ]


def exchanges(messages: Sequence[Message]) -> Iterator[tuple[Message, Message | None]]:
    """The messages that bring keys, each with the message before it that it answers, if any."""
    answered: list[Message] = []
    for at, message in reversed(list(enumerate(messages))):
        csb_id, kind = message.header.csb_id, message.header.data_type
        initial = next(
            (
                one
                for one in reversed(messages[:at])
                if one.header.csb_id == csb_id and answers(kind, one.header.data_type)
            ),
            None,
        )
        if initial is not None:
            answered.append(initial)
        if all(message is not one for one in answered):
            yield message, initial


def exchange_receivers(
    name: str, message: Message, initial: Message | None, settings: Settings, ring: KeyRing | None
) -> list[ReceiverContext]:
    """Contexts that decrypt with the keys of one exchange of any mode, as `exchanges` gives it.

    Raises UsageError for a MIKEY-TICKET exchange without a ring, and Refused as `srtp_keys` and
    `recover_session` do.
    """
    if message.header.data_type not in TRANSFERS:
        return mikey_receivers(name, srtp_keys(message, ring, initial), settings)
    if ring is None:
        raise UsageError("a MIKEY-TICKET exchange; --keys FILE opens it")
    # Imported here because messages with keys in the clear need no sessions.
    from pathlib import Path

    from mikeytool.client.session_files import SessionFile
    from mikeytool.exchange.recover import recover_session
    from mikeytool.media.session_contexts import receivers_of_session

    first, answer = (message, None) if initial is None else (initial, message)
    session = recover_session(first.raw, None if answer is None else answer.raw, ring)
    return [*receivers_of_session(Path(name), SessionFile(session=session), settings)]


def srtp_keys(
    message: Message, ring: KeyRing | None = None, initial: Message | None = None
) -> list[SrtpKeys]:
    """The SRTP crypto sessions of a message with their keys.

    Without a ring, only keys in the clear are found. `initial` is the message being answered.

    Raises Refused if there is no key, no crypto session, or no suite for its policy.
    """
    found = list(_keys(message, ring, initial))[:_MOST]
    if not found:
        raise Refused(
            "the MIKEY message has no key in the clear; what opens it is given with --keys, or "
            "set up a session with transfer"
        )
    entries = message.header.cs_id_map or (initial.header.cs_id_map if initial else [])
    sessions = [
        one
        for number, entry in enumerate(entries[:_MOST], 1)
        if (one := _session(message, initial, number, entry, found)) is not None
    ]
    if not sessions:
        raise Refused("the MIKEY message has no crypto session of SRTP")
    return sessions


def _keys(message: Message, ring: KeyRing | None, initial: Message | None) -> Iterator[KeyData]:
    for kemac in message.all(KEMAC):
        if kemac.encr_alg == EncrAlg.NULL:
            yield from key_data(kemac.encr_data)
    if ring is not None:
        opened = inspect_message(message, ring, initial)
        if not opened.failed:
            yield from (key for inside in opened.kemacs.values() for key in inside)
            yield from handed_in_keys(message, [] if initial is None else [initial], ring)


def _session(
    message: Message,
    initial: Message | None,
    number: int,
    entry: SrtpIdEntry | GenericIdEntry,
    keys: Sequence[KeyData],
) -> SrtpKeys | None:
    """The session of a CS ID map entry; `number` is its place, from 1. None if it is not SRTP."""
    if isinstance(entry, SrtpIdEntry):
        cs_id, policy_no, ssrc, roc = number, entry.policy_no, entry.ssrc, entry.roc
        spi = b""
    else:
        if entry.protocol != ProtType.SRTP:
            return None
        cs_id, spi = entry.cs_id, entry.spi
        policy_no = entry.policies[0] if entry.policies else -1
        ssrc, given, _ = srtp_session_data(entry) or (0, None, None)
        roc = given or 0
    policies = message.all(SP) or (initial.all(SP) if initial else [])
    policy = next((each for each in policies if each.policy_no == policy_no), None)
    suites = (suite(_DEFAULT),) if policy is None else _readings(read_policy(policy))
    named = [each for each in keys if spi and each.spi == spi] or keys
    masters = tuple(
        _master(message, initial, cs_id, each, suites[0]) for each in named if each.type in _TYPES
    )
    if not masters:
        raise Refused("the MIKEY message has no TGK and no TEK")
    return SrtpKeys(suites, masters, ssrc or None, roc)


_TYPES = (KeyType.TGK, KeyType.TGK_SALT, KeyType.TEK, KeyType.TEK_SALT)


def _readings(chosen: Suite) -> tuple[Suite, ...]:
    """The policy as written; if its HMAC key length is 4 or 10, the likely meaning comes first."""
    length = chosen.auth_key_length
    if chosen.cipher is Cipher.AES_GCM or length not in _TAGS or not chosen.rtp_tag_length:
        return (chosen,)
    meant = replace(chosen, auth_key_length=_AUTH_KEY, rtp_tag_length=length)
    named = suite(_DEFAULT)
    if replace(meant, name=named.name) == named:
        meant = named
    return (meant, chosen)


def _master(
    message: Message, initial: Message | None, cs_id: int, key: KeyData, chosen: Suite
) -> MasterKey:
    """The master key: a TEK itself, or derived from a TGK (RFC 3830 4.1.3)."""
    mki = key.spi or b""
    if key.type in (KeyType.TEK, KeyType.TEK_SALT):
        if key.salt is not None:
            return MasterKey(key.key, key.salt, mki)
        if len(key.key) == chosen.key_length + chosen.salt_length:
            # Key and salt in one field, as RTSP cameras write them.
            return MasterKey(key.key[: chosen.key_length], key.key[chosen.key_length :], mki)
        return MasterKey(key.key, bytes(chosen.salt_length), mki)
    inputs = key_inputs(message, [] if initial is None else [initial])
    if inputs is None:
        raise Refused("the MIKEY message has no RAND to derive keys with")
    label = bytes([cs_id]) + inputs.csb_id.to_bytes(4) + inputs.rand
    derived = SessionKeys(message.header.prf, key.key, label)
    salt = derived.salt(chosen.salt_length) if key.salt is None else key.salt
    return MasterKey(derived.tek(chosen.key_length), salt, mki)
