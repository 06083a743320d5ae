"""Keys for the media in a capture, from the signalling in the same capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mikeytool import decode
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.signalling import signals
from mikeytool.cli.options.common import say
from mikeytool.client.session_files import SessionFile
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.recover import recover_session
from mikeytool.media.handlers import HOW, Handler, Keys, sdes_receiver
from mikeytool.media.mikey_keys import handlers_of, srtp_of
from mikeytool.media.packet_files import Input
from mikeytool.media.session_keys import session_streams_receivers
from mikeytool.media.signalled_keys import MediaKey, media_keys
from mikeytool.srtp import sdes
from mikeytool.wire.errors import MikeyError, UsageError, WireError
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import KMS_EXCHANGES, TRANSFERS
from mikeytool.wire.registry import DataType

_MOST = 256
"""Keys, and messages with a KMS, that are looked at."""


def signalled_receivers(packets: Input, keys: Keys) -> list[Handler]:
    """What decrypts the media of a capture with the keys in its signalling.

    SDES lines and MIKEY messages with keys in the clear need nothing; `--keys` opens others,
    MIKEY-TICKET exchanges among them. The capture is read once for it, and begins anew. What
    cannot be used is said. Raises UsageError if there is no key.
    """
    ring = _ring(keys)
    found = media_keys(packets.capture)[:_MOST]
    others = _with_kms(packets) if ring and any(map(_is_ticket, found)) else []
    packets.again()
    handlers: list[Handler] = []
    for key in found:
        try:
            handlers += _handlers(key, keys, ring, others, found)
        except MikeyError as error:
            say(f"note: {key.protocol} in frame {key.frame}, {key.level}: {error}")
    if not handlers:
        raise UsageError(f"no key in the signalling of the capture can be used; {HOW}")
    return [replace(each, guess=True) for each in handlers]


def _ring(keys: Keys) -> KeyRing | None:
    if keys.keytab is None:
        return None
    from mikeytool.cli.options.opening import key_ring

    return key_ring((), (), (), (), (), (str(keys.keytab),))


def _handlers(
    key: MediaKey, keys: Keys, ring: KeyRing | None, others: list[bytes], found: Sequence[MediaKey]
) -> list[Handler]:
    name = f"{key.protocol} frame {key.frame}, {key.level}"
    peer = {key.peer.rtp, key.peer.rtcp} if key.peer else set()
    owner = {key.owner.rtp, key.owner.rtcp} if key.owner else set()
    if isinstance(key.content, str):
        ends = frozenset(peer) or None
        return [sdes_receiver(name, sdes.parse(f"crypto:{key.content}"), keys, ssrcs=keys.only,
                              ends=ends)]  # fmt: skip
    ends = frozenset(peer | owner) or None
    message = Message.parse(key.content)
    kind = message.header.data_type
    if kind in TRANSFERS:
        if ring is None:
            raise UsageError("a MIKEY-TICKET exchange; --keys FILE opens it")
        return list(_recovered(name, key, keys, ring, others, found))
    earlier = [decode(one) for one in key.earlier]
    return handlers_of(
        name, srtp_of(message, ring, earlier[0] if earlier else None), keys,
        ssrcs=keys.only, ends=ends,
    )  # fmt: skip


def _recovered(
    name: str,
    key: MediaKey,
    keys: Keys,
    ring: KeyRing,
    others: list[bytes],
    found: Sequence[MediaKey],
) -> Iterator[Handler]:
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
    session = recover_session(init, answer, ring, others)
    yield from session_streams_receivers(Path(name), SessionFile(session=session), keys)


def _with_kms(packets: Input) -> list[bytes]:
    """The messages with a KMS that the capture holds."""
    found: list[bytes] = []
    try:
        for signal in signals(packets.again()):
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


def _is_ticket(key: MediaKey) -> bool:
    return isinstance(key.content, bytes) and _type(key.content) in TRANSFERS


def _type(message: bytes) -> int:
    return message[1] if len(message) > 1 else -1
