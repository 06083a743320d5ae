"""Keys and the packets that they are for (cryptographic contexts, RFC 3711 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mikeytool.media.settings import Settings
from mikeytool.srtp.index import WINDOW
from mikeytool.srtp.notes import Notes
from mikeytool.srtp.receiver import Receiver
from mikeytool.srtp.sdes import Crypto
from mikeytool.srtp.sender import Sender
from mikeytool.srtp.stream import Stream

Process = Callable[[bytes, str, str], bytes | None]
"""Protects or opens a packet, which comes with its source and its destination as text.

Returns None for a packet that is to be left alone, and raises MikeyError for one that fails.
"""


@dataclass(frozen=True)
class Context:
    """A key, or several that replace each other, and the packets that they are for.

    `name` is that of the key in the report; without one the context opens nothing and only
    says why. `ssrcs` are the SSRCs that it is for, None for all but those `barred`. `ends`
    are the destinations (`frames.destination_of`) of the flows that it is for, None for any;
    with `try_elsewhere` its keys may be tried on other flows too, which are left alone when
    nothing verifies. `streams` are those of its receiver.
    """

    name: str
    process: Process
    notes: Notes
    ssrcs: frozenset[int] | None = None
    barred: frozenset[int] = frozenset()
    ends: frozenset[bytes] | None = None
    streams: Mapping[tuple[int, str], Stream] = field(default_factory=dict)
    try_elsewhere: bool = False

    def takes(self, ssrc: int) -> bool:
        """Whether packets of an SSRC are for it."""
        return ssrc not in self.barred if self.ssrcs is None else ssrc in self.ssrcs


def receiver_context(
    name: str,
    receiver: Receiver,
    ssrcs: frozenset[int] | None = None,
    *,
    barred: frozenset[int] = frozenset(),
    ends: frozenset[bytes] | None = None,
) -> Context:
    """The context in which a receiver opens packets."""
    return Context(
        name, receiver.unprotect, receiver.notes, ssrcs, barred, ends, receiver.streams
    )  # fmt: skip


def sender_context(name: str, sender: Sender, ssrcs: frozenset[int] | None = None) -> Context:
    """The context in which a sender protects packets."""
    return Context(name, lambda packet, _source, _to: sender.protect(packet), sender.notes, ssrcs)


def crypto_receiver(
    name: str, crypto: Crypto, settings: Settings, *, ends: frozenset[bytes] | None = None
) -> Context:
    """Decrypts with the keys of a crypto attribute."""
    receiver = Receiver(
        crypto.suite,
        crypto.keys,
        ssrcs=settings.ssrcs,
        mki=bool(crypto.keys[0].mki),
        window=settings.window or crypto.window or WINDOW,
        roc=settings.rocs,
    )
    return receiver_context(name, receiver, settings.ssrcs, ends=ends)


def crypto_sender(name: str, crypto: Crypto, settings: Settings) -> Context:
    """Encrypts with the first key of a crypto attribute, and writes its MKI if it has one."""
    master = crypto.keys[0]
    sender = Sender(
        crypto.suite,
        master,
        mki=bool(master.mki),
        ssrcs=settings.ssrcs,
        roc=settings.rocs,
        window=settings.window or WINDOW,
    )
    return sender_context(name, sender, settings.ssrcs)
