"""Keys and the packets that they are for (cryptographic contexts, RFC 3711 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mikeytool.media.settings import Settings
from mikeytool.srtp.index import WINDOW
from mikeytool.srtp.master_key import MasterKey, check_lengths
from mikeytool.srtp.notes import Notes
from mikeytool.srtp.receiver import Receiver
from mikeytool.srtp.sdes import Crypto
from mikeytool.srtp.sender import Sender
from mikeytool.srtp.suites import Suite

if TYPE_CHECKING:
    from mikeytool.media.signalled_keys import SignalledKey

Process = Callable[[bytes, str, str], bytes]
"""Protects or opens a packet, given its source and destination as text. Raises MikeyError if that
fails.
"""
SHORTEST_TAG = 4
"""The shortest tag, in octets, that verifies a packet. With a shorter one it is only decrypted."""


@dataclass(frozen=True)
class SenderContext:
    """A key to encrypt with, and its SSRCs; None means all.

    `name` is the key's name in the report. A context without a name encrypts nothing and only says
    why.
    """

    name: str
    process: Process
    notes: Notes
    ssrcs: frozenset[int] | None = None

    def takes(self, ssrc: int) -> bool:
        """Whether it handles the packets of an SSRC."""
        return self.ssrcs is None or ssrc in self.ssrcs


class ReceiverContext:
    """A key to decrypt with, or several that replace each other, and the SSRCs they cover.

    `name` is the key's name in the report. `ssrcs` are the SSRCs that it covers; None means all
    except those `barred`. `signalled` is the key in the signalling that it was made from, None for
    a key given by the caller. `is_guess` means that another suite has the same key, and the answer
    that would have chosen between them was not captured. `shares_tags` means that packets of
    another context verify here too: only the ciphers differ, or nothing verifies.

    The receiver is made when the first packet arrives. After `release` the next receiver starts
    with the rollover counters of the last one.
    """

    __slots__ = (
        "_admits", "_options", "_receiver", "_rocs", "barred", "is_guess", "master_keys", "name",
        "shares_tags", "signalled", "ssrcs", "suite",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        suite: Suite,
        master_keys: Sequence[MasterKey],
        settings: Settings,
        *,
        ssrcs: frozenset[int] | None = None,
        barred: frozenset[int] = frozenset(),
        owned: bool = False,
        mki: bool = False,
        window: int | None = None,
        rocs: Mapping[int, int] | None = None,
        admits: Callable[[int], None] | None = None,
    ) -> None:
        """Take keys of a suite; `window` and `rocs` are the values that come with the keys.

        The rest is as in `Receiver`. Raises UsageError for a key or salt of the wrong length.
        """
        for each in master_keys:
            check_lengths(suite, each)
        self.name = name
        self.suite = settings.adapted(suite)
        self.master_keys = tuple(master_keys)
        self.ssrcs = ssrcs
        self.barred = barred
        self.signalled: SignalledKey | None = None
        self.is_guess = self.shares_tags = False
        self._admits = admits
        self._options = (owned, mki, settings.window or window or WINDOW, settings.search_budget)
        self._rocs = {**(rocs or {}), **settings.rocs}
        self._receiver: Receiver | None = None

    @property
    def verifies(self) -> bool:
        """Whether opening a packet proves that the packet was protected with its key."""
        return self.suite.rtp_tag_length >= SHORTEST_TAG

    @property
    def receiver(self) -> Receiver:
        """The receiver, with `searches` off. Raises the UsageErrors of `Receiver`."""
        if self._receiver is None:
            owned, mki, window, budget = self._options
            self._receiver = Receiver(
                self.suite, self.master_keys, ssrcs=self.ssrcs, barred=self.barred,
                owned=owned, mki=mki, window=window, roc=self._rocs, budget=budget,
                admits=self._admits,
            )  # fmt: skip
            self._receiver.searches = False
        return self._receiver

    def release(self) -> None:
        """Discard the receiver and its state, except the ROCs."""
        if self._receiver is not None:
            for ssrc, (rtp, _) in self._receiver.highest.items():
                self._rocs[ssrc] = max(rtp, 0) >> 16
            self._receiver = None

    def takes(self, ssrc: int) -> bool:
        """Whether it handles the packets of an SSRC."""
        return ssrc not in self.barred if self.ssrcs is None else ssrc in self.ssrcs

    def has_keys_of(self, other: ReceiverContext) -> bool:
        """Whether it has the same keys as another context."""
        return (self.suite, self.master_keys) == (other.suite, other.master_keys)


def sender_context(name: str, sender: Sender, ssrcs: frozenset[int] | None = None) -> SenderContext:
    """The context in which a sender protects packets."""
    return SenderContext(
        name, lambda packet, _source, _to: sender.protect(packet), sender.notes, ssrcs
    )


def crypto_receiver(name: str, crypto: Crypto, settings: Settings) -> ReceiverContext:
    """Decrypts with the keys of a crypto attribute."""
    return ReceiverContext(
        name, crypto.suite, crypto.keys, settings, ssrcs=settings.ssrcs,
        mki=bool(crypto.keys[0].mki), window=crypto.window,
    )  # fmt: skip


def crypto_sender(name: str, crypto: Crypto, settings: Settings) -> SenderContext:
    """Encrypts with the first key of a crypto attribute, and writes its MKI if it has one."""
    master = crypto.keys[0]
    sender = Sender(
        settings.adapted(crypto.suite),
        master,
        with_cryptex=settings.with_cryptex,
        mki=bool(master.mki),
        ssrcs=settings.ssrcs,
        roc=settings.rocs,
        window=settings.window or WINDOW,
    )
    return sender_context(name, sender, settings.ssrcs)
