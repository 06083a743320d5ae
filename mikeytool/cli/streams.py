"""What SRTP packets go through: senders and receivers of sessions and of bare keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mikeytool.cli.keys import parse_key
from mikeytool.cli.media import srtp_suite
from mikeytool.cli.values import parse_number
from mikeytool.client.sessions import SessionFile
from mikeytool.exchange.session import CryptoSession, Session
from mikeytool.srtp import (
    Highest,
    MasterKey,
    Receiver,
    Sender,
    Suite,
    is_rtcp,
    parse_rtcp,
    parse_rtp,
    suite,
)
from mikeytool.srtp.context import check_ssrc
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.header import srtp_session_data
from mikeytool.wire.registry import ProtType


@dataclass
class Keys:
    """What the options say of keys and SSRCs."""

    sessions: Sequence[Path]
    suite_name: str | None
    key: bytes | None
    salt: bytes | None
    ssrcs: Sequence[str]
    any_ssrc: bool
    mki: str | None
    rocs: Sequence[str]

    def check(self) -> None:
        """Refuse options that do not go together."""
        if bool(self.sessions) == (self.key is not None):
            raise UsageError("give --session SESSION, or --suite NAME with --key KEY")
        if self.sessions and (self.suite_name or self.salt or self.mki):
            raise UsageError("--suite, --salt and --mki=HEX go with --key, a session has its own")

    @property
    def only(self) -> frozenset[int] | None:
        """The SSRCs of `--ssrc`, None for any."""
        if not self.ssrcs:
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
            key, salt = key[: chosen.key_length], key[chosen.key_length :]
        mki = parse_key(self.mki, "--mki") if self.mki else b""
        if self.mki == "":
            raise UsageError("--mki alone goes with --session; with --key give --mki=HEX")
        return chosen, MasterKey(key, salt, mki)


def ssrc_of(packet: bytes) -> int:
    """The SSRC of an RTP or RTCP packet; raises WireError when it is neither."""
    return parse_rtcp(packet) if is_rtcp(packet) else parse_rtp(packet)[0]


class Protector:
    """Something that packets go through."""

    def process(self, packet: bytes) -> bytes:
        """The packet encrypted or decrypted; raises MikeyError."""
        raise NotImplementedError

    def sent(self, path: Path) -> dict[str, list[int]]:
        """The highest indices used of the session in a file."""
        return {}

    def streams(self, path: Path) -> list[Stream]:
        """The streams of the session in a file that are encrypted."""
        return []


class BareSender(Protector):
    """Encrypts with a key from the command line."""

    def __init__(self, keys: Keys) -> None:
        chosen, master = keys.bare()
        start = {ssrc: Highest((roc << 16) - 1) for ssrc, roc in keys.roc.items()}
        self._sender = Sender(chosen, master, mki=bool(master.mki), ssrcs=keys.only, highest=start)

    def process(self, packet: bytes) -> bytes:
        """The packet encrypted; raises MikeyError."""
        return self._sender.protect(packet)


class BareReceiver(Protector):
    """Decrypts with a key from the command line."""

    def __init__(self, keys: Keys, window: int) -> None:
        chosen, master = keys.bare()
        self._receiver = Receiver(chosen, [master], ssrcs=keys.only, window=window, roc=keys.roc)

    def process(self, packet: bytes) -> bytes:
        """The packet decrypted; raises MikeyError."""
        return self._receiver.unprotect(packet)


@dataclass
class Stream:
    """A crypto session of a session file, with what encrypts or decrypts its packets."""

    path: Path
    content: SessionFile
    crypto_session: CryptoSession

    @property
    def ssrc(self) -> int:
        """The SSRC of the crypto session."""
        return self.crypto_session.ssrc or 0

    def name(self, ssrc: int) -> str:
        """The name of the indices of an SSRC under this key in the session file."""
        entry = self.crypto_session.entry
        return f"{entry.cs_id} {entry.spi.hex()} {ssrc:08x}"

    def master(self) -> MasterKey:
        """Its master key and salt, with the SPI as MKI."""
        return self.masters()[-1]

    def masters(self) -> list[MasterKey]:
        """Its master keys, those that updates have replaced first."""
        session, one = self.content.established, self.crypto_session
        spis = [*reversed(one.previous), one.entry.spi]
        found = [session.media_key(one, spi) for spi in spis]
        return [MasterKey(media.key, media.salt, media.spi) for media in found]

    def highest(self, roc: dict[int, int]) -> dict[int, Highest]:
        """The indices used before; at first what ROC and SEQ of the Session Data say."""
        _, start, seq = srtp_session_data(self.crypto_session.entry) or (0, 0, 0)
        first = Highest(((roc.get(self.ssrc, start or 0) << 16) | (seq or 0)) - 1)
        before: dict[int, Highest] = {}
        for name, indices in self.content.sent.items():
            cs_id, _, ssrc = name.split()
            # A stream goes on in its packet index when an update gives it another key.
            if int(cs_id) == self.crypto_session.entry.cs_id:
                number = int(ssrc, 16)
                before[number] = max(before.get(number, first), Highest(*indices))
        return {self.ssrc: first, **before}


def srtp_sessions(session: Session) -> Iterator[CryptoSession]:
    """The crypto sessions of a bundle that are SRTP."""
    return (c for c in session.crypto_sessions if c.entry.protocol == ProtType.SRTP)


class _BySsrc(Protector):
    """Packets go by SSRC to the crypto session that has it."""

    def __init__(self, keys: Keys) -> None:
        self._only = keys.only
        self._any = keys.any_ssrc
        self._by_ssrc: dict[int, Any] = {}
        self._first: Any = None

    def _find(self, packet: bytes) -> Any:
        ssrc = ssrc_of(packet)
        if self._only is not None:
            check_ssrc(ssrc, self._only)
        found = self._by_ssrc.get(ssrc)
        if found is None and self._any and self._first is not None:
            return self._first
        if found is None:
            known = ", ".join(f"{one:#010x}" for one in self._by_ssrc)
            raise Refused(f"SSRC {ssrc:#010x} is not of the session, which has {known}")
        return found


class SessionSender(_BySsrc):
    """Encrypts the streams of sessions, each with its own key."""

    def __init__(self, streams: Sequence[Stream], keys: Keys) -> None:
        super().__init__(keys)
        if not streams:
            raise UsageError("the session has no SRTP stream to send")
        self._streams = streams
        self._remote = {
            one.ssrc
            for stream in streams
            for one in stream.content.established.crypto_sessions
            if not stream.content.established.is_local(one)
        }
        for stream in streams:
            if stream.ssrc in self._by_ssrc:
                raise UsageError(f"two sessions send SSRC {stream.ssrc:#010x}; take one at a time")
            sender = Sender(
                srtp_suite(stream.crypto_session),
                stream.master(),
                mki=keys.mki is not None,
                highest=stream.highest(keys.roc),
            )
            self._by_ssrc[stream.ssrc] = sender
            self._first = self._first or sender

    def process(self, packet: bytes) -> bytes:
        """The packet encrypted; raises MikeyError."""
        ssrc = ssrc_of(packet)
        if ssrc in self._remote:
            raise Refused(f"SSRC {ssrc:#010x} is the other end's to send; its key stream is used")
        protected: bytes = self._find(packet).protect(packet)
        return protected

    def streams(self, path: Path) -> list[Stream]:
        """The streams of the session in a file."""
        return [stream for stream in self._streams if stream.path == path]

    def sent(self, path: Path) -> dict[str, list[int]]:
        """The highest indices used of the session in a file."""
        return {
            stream.name(ssrc): list(highest)
            for stream in self._streams
            if stream.path == path
            for ssrc, highest in self._by_ssrc[stream.ssrc].highest.items()
        }


class SessionReceiver(_BySsrc):
    """Decrypts the streams of sessions, each with its own key."""

    def __init__(self, keys: Keys, window: int) -> None:
        super().__init__(keys)
        for path in keys.sessions:
            content = SessionFile.read(path)
            for crypto_session in srtp_sessions(content.established):
                stream = Stream(path, content, crypto_session)
                receiver = Receiver(
                    srtp_suite(crypto_session),
                    stream.masters(),
                    window=window,
                    roc={stream.ssrc: crypto_session.roc, **keys.roc},
                )
                self._by_ssrc[stream.ssrc] = receiver
                self._first = self._first or receiver
        if not self._by_ssrc:
            raise UsageError("the session has no SRTP stream")

    def process(self, packet: bytes) -> bytes:
        """The packet decrypted; raises MikeyError."""
        clear: bytes = self._find(packet).unprotect(packet)
        return clear
