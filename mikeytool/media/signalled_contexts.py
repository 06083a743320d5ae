"""Contexts for the media in a capture, from the signalling in the same capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mikeytool import decode
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.signalling import signals
from mikeytool.client.session_files import SessionFile
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.recover import recover_session
from mikeytool.media.contexts import Context, crypto_receiver
from mikeytool.media.mikey_contexts import mikey_receivers, srtp_keys
from mikeytool.media.packet_files import NoSignalledKeyError, PacketFile
from mikeytool.media.report import Report
from mikeytool.media.session_contexts import receivers_of_session
from mikeytool.media.settings import Settings
from mikeytool.media.signalled_keys import SignalledKey, signalled_keys_in
from mikeytool.srtp import sdes
from mikeytool.wire.errors import MikeyError, UsageError, WireError
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import KMS_EXCHANGES, TRANSFERS
from mikeytool.wire.registry import DataType

_MOST = 256
"""Keys, and messages with a KMS, that are looked at."""


def signalled_contexts(
    packets: PacketFile, settings: Settings, ring: KeyRing | None, report: Report
) -> list[Context]:
    """What decrypts the media of a capture with the keys in its signalling.

    SDES lines and MIKEY messages with keys in the clear need nothing; `ring` opens others,
    MIKEY-TICKET exchanges among them. The capture is read once for it, and begins anew. Keys
    that are no use are told in the report. Raises NoSignalledKeyError if there is no other.
    """
    found = signalled_keys_in(packets.capture)[:_MOST]
    with_kms = _kms_messages(packets) if ring and any(map(_is_ticket, found)) else []
    packets.rewind()
    contexts: list[Context] = []
    for key in found:
        try:
            contexts += _contexts(key, settings, ring, with_kms, found)
        except MikeyError as error:
            report.count_unused_key(f"{key.protocol} in frame {key.frame}, {key.level}: {error}")
    if not contexts:
        raise NoSignalledKeyError("no key in the signalling of the capture can be used")
    return [replace(each, try_elsewhere=True) for each in contexts]


def _contexts(
    key: SignalledKey,
    settings: Settings,
    ring: KeyRing | None,
    with_kms: list[bytes],
    found: Sequence[SignalledKey],
) -> list[Context]:
    name = f"{key.protocol} frame {key.frame}, {key.level}"
    peer = {key.peer.rtp, key.peer.rtcp} if key.peer else set()
    owner = {key.owner.rtp, key.owner.rtcp} if key.owner else set()
    if isinstance(key.content, str):
        crypto = sdes.parse_crypto(f"crypto:{key.content}")
        return [crypto_receiver(name, crypto, settings, ends=frozenset(peer) or None)]
    message = Message.parse(key.content)
    if message.header.data_type in TRANSFERS:
        if ring is None:
            raise UsageError("a MIKEY-TICKET exchange; --keys FILE opens it")
        return list(_recovered(name, key, settings, ring, with_kms, found))
    initial = decode(key.earlier[0]) if key.earlier else None
    sessions = srtp_keys(message, ring, initial)
    return mikey_receivers(name, sessions, settings, ends=frozenset(peer | owner) or None)


def _recovered(
    name: str,
    key: SignalledKey,
    settings: Settings,
    ring: KeyRing,
    with_kms: list[bytes],
    found: Sequence[SignalledKey],
) -> Iterator[Context]:
    """What decrypts the streams of a MIKEY-TICKET exchange, once for both its messages."""
    if isinstance(key.content, str):
        return
    if _type(key.content) == DataType.TRANSFER_INIT:
        if any(key.content in each.earlier for each in found):
            return
        init, answer = key.content, None
    else:
        inits = [one for one in key.earlier if _type(one) == DataType.TRANSFER_INIT]
        if not inits:
            raise UsageError("a TRANSFER_RESP whose TRANSFER_INIT is not in the capture")
        init, answer = inits[-1], key.content
    session = recover_session(init, answer, ring, with_kms)
    yield from receivers_of_session(Path(name), SessionFile(session=session), settings)


def _kms_messages(packets: PacketFile) -> list[bytes]:
    """The messages with a KMS that the capture holds."""
    found: list[bytes] = []
    try:
        for signal in signals(packets.rewind()):
            if isinstance(signal.carrier, WireError):
                continue
            for one in messages_in(signal.carrier):
                if isinstance(one.message, bytes) and _type(one.message) in KMS_EXCHANGES:
                    found.append(one.message)
                    if len(found) == _MOST:
                        return found
    except WireError:
        pass  # the run over the media meets the same fault and reports it
    return found


def _is_ticket(key: SignalledKey) -> bool:
    return isinstance(key.content, bytes) and _type(key.content) in TRANSFERS


def _type(message: bytes) -> int:
    return message[1] if len(message) > 1 else -1
