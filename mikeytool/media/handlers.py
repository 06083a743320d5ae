"""What packets go through: senders and receivers, made of the keys that the options give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mikeytool.client.key_text import parse_key, parse_number
from mikeytool.srtp import MasterKey, Receiver, Sender, Stream, Suite, sdes, suite
from mikeytool.srtp.context import Notes
from mikeytool.srtp.index import WINDOW
from mikeytool.srtp.suites import split_key
from mikeytool.wire.errors import UsageError

HOW = (
    "give --session SESSION, --suite NAME with --key KEY, --sdes LINE or --mikey MESSAGE, or a"
    " capture that holds the signalling"
)


@dataclass
class Keys:
    """What the options say of keys and SSRCs."""

    sessions: Sequence[Path] = ()
    suite_name: str | None = None
    key: bytes | None = None
    salt: bytes | None = None
    sdes: Sequence[str] = ()
    mikey: str | None = None
    keytab: Path | None = None
    ssrcs: Sequence[str] = ()
    any_ssrc: bool = False
    mki: str | None = None
    rocs: Sequence[str] = ()
    window: int | None = None

    def check(self) -> None:
        """Refuse options that do not go together."""
        forms = [bool(self.sessions), self.key is not None, bool(self.sdes),
                 self.mikey is not None, self.keytab is not None]  # fmt: skip
        if sum(forms) > 1:
            raise UsageError("keys come in one form; give one of --session, --key, --sdes, --mikey")
        if (self.suite_name or self.salt) and self.key is None:
            raise UsageError(f"--suite and --salt go with --key; {HOW}")
        if self.mki and self.key is None:
            raise UsageError("--mki=HEX goes with --key; other forms of keys have their own MKI")
        if self.mki == "" and not self.sessions:
            raise UsageError("--mki alone goes with --session; with --key give --mki=HEX")

    @property
    def given(self) -> bool:
        """Whether there is a key among the options."""
        return bool(self.sessions or self.key is not None or self.sdes or self.mikey is not None)

    @property
    def only(self) -> frozenset[int] | None:
        """The SSRCs of `--ssrc`, None for any."""
        if not self.ssrcs or self.any_ssrc:
            return None
        return frozenset(parse_number(text, "--ssrc", 32) for text in self.ssrcs)

    @property
    def roc(self) -> dict[int, int]:
        """The rollover counters of `--roc`."""
        found = {}
        for text in self.rocs:
            ssrc, equals, roc = text.partition("=")
            if not equals:
                raise UsageError(f"--roc {text}: SSRC=N is expected")
            found[parse_number(ssrc, "--roc", 32)] = parse_number(roc, "--roc", 32)
        return found

    def bare(self) -> tuple[Suite, MasterKey]:
        """The suite and master key of `--suite`, `--key` and `--salt`."""
        chosen = suite(self.suite_name or "AES_CM_128_HMAC_SHA1_80")
        key, salt = self.key or b"", self.salt or b""
        if not salt and len(key) == chosen.key_length + chosen.salt_length:
            key, salt = split_key(chosen, key)
        mki = parse_key(self.mki, "--mki") if self.mki else b""
        return chosen, MasterKey(key, salt, mki)


Process = Callable[[bytes, str, str], bytes | None]
"""A packet, its source and its destination; gives the other packet or raises MikeyError.

None is given for a packet that is to be left alone.
"""


@dataclass(frozen=True)
class Handler:
    """A key, or several that live together, and the packets that are theirs.

    `name` is what the report calls it; without one it opens nothing and only says why.

    `ssrcs` are those that it takes, None for any but those `barred`. `ends` are the
    destinations (`frames.destination_of`) of the flows that it is for, None for any; with
    `guess` it may be tried on others, too, where no packet has to be for it.
    """

    name: str
    process: Process
    notes: Notes
    ssrcs: frozenset[int] | None = None
    barred: frozenset[int] = frozenset()
    ends: frozenset[bytes] | None = None
    streams: Mapping[tuple[int, str], Stream] = field(default_factory=dict)
    guess: bool = False

    def takes(self, ssrc: int) -> bool:
        """Whether packets of an SSRC are for it."""
        return ssrc not in self.barred if self.ssrcs is None else ssrc in self.ssrcs


def receiving(name: str, receiver: Receiver, ssrcs: frozenset[int] | None = None, *,
              ends: frozenset[bytes] | None = None) -> Handler:  # fmt: skip
    """The handler that a receiver makes."""
    return Handler(
        name,
        receiver.unprotect,
        receiver.notes,
        ssrcs,
        ends=ends,
        streams=receiver.streams,
    )


def sending(name: str, sender: Sender, ssrcs: frozenset[int] | None = None) -> Handler:
    """The handler that a sender makes."""
    return Handler(name, lambda packet, _source, _to: sender.protect(packet), sender.notes, ssrcs)


# --- keys from the command line -----------------------------------------------------------------


def bare_receiver(keys: Keys) -> Handler:
    """Decrypts with a key from the command line."""
    chosen, master = keys.bare()
    receiver = Receiver(
        chosen, [master], ssrcs=keys.only, window=keys.window or WINDOW, roc=keys.roc
    )
    return receiving("--key", receiver, keys.only)


def bare_sender(keys: Keys) -> Handler:
    """Encrypts with a key from the command line."""
    chosen, master = keys.bare()
    return _sender("--key", keys, chosen, master, mki=bool(master.mki))


def sdes_receivers(keys: Keys) -> list[Handler]:
    """Decrypt with the keys of crypto attributes."""
    return [sdes_receiver("--sdes", sdes.parse(text), keys, ssrcs=keys.only) for text in keys.sdes]


def sdes_receiver(
    name: str,
    crypto: sdes.Crypto,
    keys: Keys,
    *,
    ssrcs: frozenset[int] | None = None,
    ends: frozenset[bytes] | None = None,
) -> Handler:
    """Decrypts with the keys of one crypto attribute."""
    receiver = Receiver(
        crypto.suite,
        crypto.keys,
        ssrcs=ssrcs,
        mki=bool(crypto.keys[0].mki),
        window=keys.window or crypto.window or WINDOW,
        roc=keys.roc,
    )
    return receiving(name, receiver, ssrcs, ends=ends)


def sdes_sender(keys: Keys) -> Handler:
    """Encrypts with the first key of a crypto attribute, and writes its MKI if it has one."""
    if len(keys.sdes) > 1:
        raise UsageError("--sdes: one line says with which key to encrypt; give the sender's own")
    crypto = sdes.parse(keys.sdes[0])
    master = crypto.keys[0]
    return _sender("--sdes", keys, crypto.suite, master, mki=bool(master.mki))


def _sender(name: str, keys: Keys, chosen: Suite, master: MasterKey, *, mki: bool) -> Handler:
    sender = Sender(
        chosen, master, mki=mki, ssrcs=keys.only, roc=keys.roc, window=keys.window or WINDOW
    )
    return sending(name, sender, keys.only)
