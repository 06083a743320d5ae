"""Decrypts and encrypts whole captures, and lists their content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mikeytool.media.contexts import (
    ReceiverContext,
    SenderContext,
    crypto_receiver,
    crypto_sender,
)
from mikeytool.media.demux import SenderDemux
from mikeytool.media.listener import Listener
from mikeytool.media.packet_files import PacketFile, Source, Target, open_packets, open_target
from mikeytool.media.receiver_demux import ReceiverDemux
from mikeytool.media.report import Report
from mikeytool.media.rewriter import Rewriter
from mikeytool.media.settings import Settings
from mikeytool.srtp.sdes import Crypto
from mikeytool.wire.errors import UsageError

# Sessions, MIKEY messages and signalling are imported only when needed: a bare key requires neither
# the message parser nor a database.
if TYPE_CHECKING:
    from mikeytool.exchange.inspect_keys import KeyRing
    from mikeytool.media.signalled_keys import SignalledKey
    from mikeytool.media.stream_files import StreamFiles
    from mikeytool.media.stream_list import StreamList
    from mikeytool.wire.message import Message

    SenderKey = Crypto | Path | Message
    Key = SenderKey | ReceiverContext

_WRITE_SIZE = 1 << 21
"""Octets that are written at once."""
_KEY_NAME = "given key"


def decrypt_capture(
    source: Source,
    target: Target | None,
    keys: Sequence[Key] | None = None,
    *,
    settings: Settings | None = None,
    key_ring: KeyRing | None = None,
    signalling: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    split: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Report:
    """Verify and decrypt the SRTP and SRTCP packets of a capture.

    `source` is a pcap, pcapng or rtpdump file, or a text with a packet a line, in hex or
    base64; `target` becomes a file of the same kind, in which packets without a key are unchanged.
    `keys` are crypto attributes (`mikeytool.srtp.parse_crypto`, or a `Crypto` made from a suite and
    a master key), paths of session files, contexts such as those of
    `mikeytool.conference.conference_receivers`, and MIKEY messages, an initial message before its
    answer. Without them the keys are those in the signalling of the capture, or of another file,
    `signalling`: a capture, or a session description. `key_ring` opens MIKEY messages that have no
    key in the clear.

    `split` is a folder, made if it is missing, for a file of the decrypted packets of each stream,
    and a WAV file if they are G.711; files in it are replaced only with `force`. `target` may then
    be None.

    The report lists what failed; `listener` receives it during the run. Raises UsageError if there
    is no key or a key that its suite cannot use, WireError for a source that is empty or cannot be
    read at all, and StateError for a file that is missing or cannot be written.
    """
    other = None if signalling is None else Path(signalling)
    decryption = Decryption(keys, settings, key_ring=key_ring, signalling=other)
    folder = None if split is None else Path(split)
    with open_packets(source) as packets:
        return decryption.run(packets, target, listener, split=folder, force=force)


def encrypt_capture(
    source: Source,
    target: Target,
    keys: Sequence[SenderKey],
    *,
    settings: Settings | None = None,
    listener: Listener | None = None,
) -> Report:
    """Encrypt and authenticate the RTP and RTCP packets of a capture.

    `source` and `target` are as in `decrypt_capture`. `keys` are session files, which
    remember the packet indices that were used, or else one crypto attribute or MIKEY message:
    then nothing remembers them, and no two streams of one SSRC may ever be encrypted with it
    (RFC 3711 9.1).

    Raises what `decrypt_capture` raises, and Refused for a session that is not set up.
    """
    encryption = Encryption(keys, settings)
    with open_packets(source) as packets:
        return encryption.run(packets, target, listener)


def list_streams(source: Source) -> StreamList:
    """List the RTP and RTCP streams of a capture, as far as they are visible without a key.

    Raises WireError for a source that is empty or not a capture, StateError for a file that
    cannot be opened.
    """
    from mikeytool.media.stream_list import streams_in

    with open_packets(source) as packets:
        return streams_in(packets.capture)


def find_signalled_keys(source: Source) -> list[SignalledKey]:
    """Find the SRTP keys in the signalling of a capture, in the order of its frames.

    They are given as they were sent: MIKEY messages are not opened, and nothing is verified. Raises
    WireError for a source that is empty or not a capture, StateError for a file that cannot be
    opened.
    """
    from mikeytool.media.calls import read_calls

    with open_packets(source) as packets:
        return read_calls(packets.capture).keys


class Decryption:
    """Decrypts the packets of a file with the given keys, or with the keys in its signalling.

    Use it only once. `key_name` is the report's name for a key that has none of its own.
    """

    def __init__(
        self,
        keys: Sequence[Key] | None = None,
        settings: Settings | None = None,
        *,
        key_ring: KeyRing | None = None,
        signalling: Path | None = None,
        key_name: str = _KEY_NAME,
    ) -> None:
        """Take keys into use as `decrypt_capture` does; raises its errors about keys."""
        if keys is not None and signalling is not None:
            raise UsageError("keys are given, or come from signalling; give either")
        self._settings = settings or Settings()
        self._key_ring = key_ring
        self._signalling = signalling
        self._contexts = None
        if keys is not None:
            self._contexts = _receivers(keys, self._settings, key_name, key_ring)

    def run(
        self,
        packets: PacketFile,
        target: Target | None,
        listener: Listener | None = None,
        *,
        split: Path | None = None,
        force: bool = False,
    ) -> Report:
        """Process the packets; raises UsageError if the signalling has no key."""
        report = _report("decrypted", packets, listener)
        given, signalled = self._contexts, None
        if given is None:
            from mikeytool.media.signalled_contexts import contexts_of_calls

            signalled = contexts_of_calls(
                packets, self._settings, self._key_ring, report, self._signalling
            )
        demux = ReceiverDemux(
            given or (), signalled, self._settings, report, is_text=not packets.is_capture
        )

        descriptions = None if signalled is None else signalled.descriptions
        with nullcontext() if split is None else _files(split, packets, force=force) as files:
            rewriter = Rewriter(
                packets.capture, demux, self._settings, report, descriptions, files,
                waits=packets.waits,
            )  # fmt: skip

            def is_any_decrypted() -> bool:
                has_failed = bool(report.errors)
                demux.finish()
                if any(each.done for each in report.streams):
                    return True
                # Media of calls whose keys were refused or declined is in the clear as it is.
                return not has_failed and (signalled is not None or not report.nothing)

            _rewrite(
                packets, target or os.devnull, rewriter, report, demux.take_notes, is_any_decrypted
            )
            if files is not None:
                files.finish(report)
        report.finish()
        return report


class Encryption:
    """Encrypts the packets of a file with sessions, or with one other key. Use it only once."""

    def __init__(
        self,
        keys: Sequence[SenderKey],
        settings: Settings | None = None,
        *,
        key_name: str = _KEY_NAME,
    ) -> None:
        """Take keys into use as `encrypt_capture` does; raises its errors about keys."""
        self._settings = settings or Settings()
        self._sessions = [each for each in keys if isinstance(each, Path)]
        others = [each for each in keys if not isinstance(each, Path)]
        if bool(self._sessions) == bool(others) or len(others) > 1:
            raise UsageError("sessions, or one key, say how to encrypt; give either")
        self._sender = _sender(others[0], self._settings, key_name) if others else None

    def run(self, packets: PacketFile, target: Target, listener: Listener | None = None) -> Report:
        """Process the packets; session files are locked and written meanwhile."""
        report = _report("encrypted", packets, listener)
        with self._senders() as (contexts, save):
            demux = SenderDemux(contexts, self._settings, report)

            def after() -> None:
                save()
                for each in contexts:
                    report.take_notes(each.notes)

            rewriter = Rewriter(packets.capture, demux, self._settings, report, waits=packets.waits)

            def is_worth_it() -> bool:
                demux.finish()
                return not report.nothing

            _rewrite(packets, target, rewriter, report, after, is_worth_it)
        report.finish()
        return report

    def _senders(self) -> AbstractContextManager[tuple[list[SenderContext], Callable[[], None]]]:
        if self._sender is not None:
            return nullcontext(([self._sender], _nothing))
        from mikeytool.media.session_contexts import session_senders

        return session_senders(self._sessions, self._settings)


def _receivers(
    keys: Sequence[Key], settings: Settings, name: str, ring: KeyRing | None
) -> list[ReceiverContext]:
    found: list[ReceiverContext] = []
    sessions: list[Path] = []
    messages: list[Message] = []
    for key in keys:
        if isinstance(key, Crypto):
            found.append(crypto_receiver(name, key, settings))
        elif isinstance(key, Path):
            sessions.append(key)
        elif isinstance(key, ReceiverContext):
            found.append(key)
        else:
            messages.append(key)
    if messages:
        from mikeytool.media.mikey_contexts import exchange_receivers, exchanges

        for message, initial in exchanges(messages):
            found += exchange_receivers(name, message, initial, settings, ring)
    if sessions:
        from mikeytool.media.session_contexts import session_receivers

        found += session_receivers(sessions, settings)
    if not found:
        raise UsageError("there is no key to decrypt with")
    return found


def _sender(key: Crypto | Message, settings: Settings, name: str) -> SenderContext:
    if isinstance(key, Crypto):
        return crypto_sender(name, key, settings)
    from mikeytool.media.mikey_contexts import mikey_sender, srtp_keys

    return mikey_sender(name, srtp_keys(key), settings)


def _report(
    verb: Literal["encrypted", "decrypted"], packets: PacketFile, listener: Listener | None
) -> Report:
    return Report(verb, "packet" if packets.is_capture else "line", listener or Listener())


def _files(folder: Path, packets: PacketFile, *, force: bool) -> StreamFiles:
    from mikeytool.media.stream_files import StreamFiles

    return StreamFiles(folder, packets, force=force)


def _nothing() -> None:
    """Save nothing, where there is nothing to save."""


def _rewrite(
    packets: PacketFile,
    target: Target,
    rewriter: Rewriter,
    report: Report,
    save: Callable[[], None],
    is_worth_it: Callable[[], bool] = lambda: True,
) -> None:
    """Process every packet; `save` is called before packets are written.

    `is_worth_it` says in the end whether there is anything that has to be kept.
    """
    with open_target(target, is_worth_it) as out:
        for parts in _large(rewriter.run()):
            save()
            out.writelines(parts)
            report.listener.progress(packets.position)


def _large(parts: Iterator[bytes | None]) -> Iterator[list[bytes]]:
    """Group the parts, because each group requires a write to a session file.

    What was held is given at None.
    """
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part or b"")
        size += len(part or b"")
        if size >= _WRITE_SIZE or part is None:
            yield held
            held, size = [], 0
    yield held
