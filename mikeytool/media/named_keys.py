"""Keys and streams as a user names them in text, for `srtp encrypt` and `srtp decrypt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mikeytool.client.key_text import parse_key, parse_number
from mikeytool.media.flows import FlowFilter, parse_flow
from mikeytool.media.settings import OnError, Settings
from mikeytool.srtp.master_key import MasterKey
from mikeytool.srtp.sdes import Crypto, parse_crypto
from mikeytool.srtp.suites import split_exporter, split_key, suite
from mikeytool.wire.errors import UsageError
from mikeytool.wire.masked_repr import masked_repr

if TYPE_CHECKING:
    from mikeytool.media.whole_captures import SenderKey
    from mikeytool.wire.message import Message

HOW = "give --session SESSION, --suite NAME with --key KEY, --sdes LINE or --mikey MESSAGE"
HOW_TO_DECRYPT = f"{HOW}, or a capture that holds the signalling"


@masked_repr
@dataclass
class NamedKeys:
    """The keys that a user gives in one form or another, and the streams that they are for.

    A form is named in errors as the option of the command line that takes it. `now_ns` is the time
    by which keys of sessions have expired, None for the clock of the machine.
    """

    sessions: Sequence[Path] = ()
    suite_name: str | None = None
    key: bytes | None = field(default=None, repr=False)
    salt: bytes | None = field(default=None, repr=False)
    sdes: Sequence[str] = field(default=(), repr=False)
    mikey: Sequence[Message] = field(default=(), repr=False)
    keytab: Path | None = None
    conference: Path | None = None
    ssrcs: Sequence[str] = ()
    any_ssrc: bool = False
    ports: Sequence[int] = ()
    flows: Sequence[str] = ()
    mki: str | None = None
    rocs: Sequence[str] = ()
    window: int | None = None
    on_error: OnError = "drop"
    rtcp_tag: int | None = None
    plain_rtcp: bool = False
    cryptex: bool = False
    now_ns: int | None = None

    def __post_init__(self) -> None:
        """Refuse options that exclude each other."""
        if len(self._forms) > 1 and self._forms != ["--mikey", "--keys"]:
            raise UsageError(
                "keys come in one form; give one of --session, --key, --sdes, --mikey, --conference"
            )
        if (self.suite_name or self.salt) and self.key is None:
            raise UsageError(f"--suite and --salt go with --key; {HOW}")
        if self.mki and self.key is None:
            raise UsageError("--mki=HEX goes with --key; other forms of keys have their own MKI")
        if self.mki == "" and not self.sessions:
            raise UsageError("--mki alone goes with --session; with --key give --mki=HEX")

    @property
    def _forms(self) -> list[str]:
        """The options that give keys."""
        forms = {"--session": bool(self.sessions), "--key": self.key is not None,
                 "--sdes": bool(self.sdes), "--mikey": bool(self.mikey),
                 "--keys": self.keytab is not None,
                 "--conference": self.conference is not None}  # fmt: skip
        return [name for name, is_given in forms.items() if is_given]

    @property
    def name(self) -> str:
        """The option that gives the keys, empty if none does; `--keys` opens others."""
        return next((form for form in self._forms if form != "--keys"), "")

    def keys(self) -> list[SenderKey]:
        """The keys that the options give; raises UsageError, and WireError for a bad message."""
        if self.sessions:
            return list(self.sessions)
        if self.sdes:
            return [parse_crypto(text) for text in self.sdes]
        if self.mikey:
            return list(self.mikey)
        return [] if self.key is None else self._bare_keys(self.key)

    def _bare_keys(self, key: bytes) -> list[SenderKey]:
        chosen = suite(self.suite_name or "AES_CM_128_HMAC_SHA1_80")
        pairs = [(key, self.salt or b"")]
        if not self.salt and len(key) == chosen.key_length + chosen.salt_length:
            pairs = [split_key(chosen, key)]
        elif not self.salt:
            pairs = split_exporter(chosen, key) or pairs
        mki = parse_key(self.mki, "--mki") if self.mki else b""
        return [Crypto(chosen, (MasterKey(one, salt, mki),)) for one, salt in pairs]

    def settings(self) -> Settings:
        """The streams that the options choose, and what becomes of them; raises UsageError."""
        chosen = frozenset(parse_number(text, "--ssrc", 32) for text in self.ssrcs)
        return Settings(
            ssrcs=chosen if chosen and not self.any_ssrc else None,
            any_ssrc=self.any_ssrc,
            flows=FlowFilter.of(self.ports, map(parse_flow, self.flows)),
            rocs=dict(map(parse_roc, self.rocs)),
            window=self.window,
            write_mki=self.mki is not None,
            on_error=self.on_error,
            rtcp_tag_length=self.rtcp_tag,
            is_rtcp_plain=self.plain_rtcp,
            with_cryptex=self.cryptex,
            now_ns=self.now_ns,
        )


def parse_roc(text: str) -> tuple[int, int]:
    """The SSRC and the rollover counter of a `--roc`; raises UsageError."""
    ssrc, equals, roc = text.partition("=")
    if not equals:
        raise UsageError(f"--roc {text}: SSRC=N is expected")
    return parse_number(ssrc, "--roc", 32), parse_number(roc, "--roc", 32)
