"""SDP security descriptions: the `a=crypto` attribute for SRTP (RFC 4568).

A line has a suite, master keys and session parameters. This module reads it into the arguments of a
`Receiver` or `Sender`, and writes it. A line that the RFC declares invalid is rejected as a whole:
a partly understood line would decrypt to noise, or encrypt less than agreed.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mikeytool.srtp.index import RTP_INDICES, WINDOW
from mikeytool.srtp.master_key import MasterKey
from mikeytool.srtp.suites import SUITES, Suite, adapted, split_key, suite
from mikeytool.wire.errors import UsageError

LONGEST_MKI = 128  # octets (RFC 4568 6.1)
MOST_KEYS = 16  # in one attribute: a receiver may try each of them on a packet

_ATTRIBUTE = re.compile(r"\s*(?:a=)?(?:acap:[0-9]+\s+)?crypto:", re.IGNORECASE)
# White space ends a word, except between two keys, where some software breaks the line.
_WORD = re.compile(r"\S+(?:(?<=;)\s+(?=inline:)\S+)*", re.IGNORECASE)
_TAG = re.compile(r"[0-9]{1,9}")
_LIFETIME = re.compile(r"(2\^)?([1-9][0-9]{0,14}|0)")
_MKI = re.compile(r"([1-9][0-9]{0,308}):([1-9][0-9]{0,2})")
_QUOTED = re.compile(r"""\s*(["'`])\s*(.*?)\s*(?:\\r|\\n|\s)*\1[\s,;]*""", re.DOTALL)
_BASE64 = re.compile(r"([A-Za-z0-9+/]*)={0,2}")
_INLINE = "inline:"
_FEC_FIRST = "FEC_SRTP"
# The parameters without a value, and the parameter of `adapted` that each sets to False.
_SWITCHES = {
    "UNENCRYPTED_SRTP": "rtp_encrypted",
    "UNENCRYPTED_SRTCP": "rtcp_encrypted",
    "UNAUTHENTICATED_SRTP": "rtp_authenticated",
}


@dataclass(frozen=True)
class Crypto:
    """A crypto attribute. `repr` masks its keys.

    `suite` includes the session parameters that change packets (RFC 4568 6.3.1 to 6.3.3),
    `keys` are in the order of the line. `window` is the size of the replay window that the
    sender suggests, `fec_order` the order of FEC and SRTP, `fec_keys` the keys of
    a FEC stream on a port of its own. `ignored` are the unknown optional parameters (RFC 4568
    6.3.7). `tag` is None for a line that begins with the suite.
    """

    suite: Suite
    keys: tuple[MasterKey, ...]
    tag: int | None = None
    window: int | None = None
    fec_order: str = _FEC_FIRST
    fec_keys: tuple[MasterKey, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def mki_length(self) -> int:
        """Octets of the MKI in each packet, 0 for none; it is the same for all keys."""
        return len(self.keys[0].mki)

    def line(self) -> str:
        """Write the attribute as text, with clear keys; without a tag it begins at the suite.

        Raises UsageError for content that such a line cannot express: a suite without a name in
        SDP, an MKI of 0.
        """
        name, *parameters = self.suite.name.split()
        words = [] if self.tag is None else [f"a=crypto:{self.tag}"]
        words += [name, _key_text(self.keys), *parameters]
        if self.window is not None:
            words.append(f"WSH={self.window}")
        if self.fec_order != _FEC_FIRST:
            words.append(f"FEC_ORDER={self.fec_order}")
        if self.fec_keys:
            words.append(f"FEC_KEY={_key_text(self.fec_keys)}")
        text = " ".join([*words, *self.ignored])
        if parse_crypto(text) != self:
            raise UsageError(f"a crypto attribute cannot say {self.suite.name} as it is here")
        return text


def parse_crypto(text: str) -> Crypto:
    """Read `a=crypto:TAG SUITE KEYS PARAMETERS`, or the part from TAG or SUITE on (RFC 4568 9).

    Names may be in upper or lower case (RFC 4234 2.3), and base64 may lack its padding. Lines as
    people write them are accepted too: in quotes, with zeros before the tag, with KDR=0, which
    means the same as no KDR, and with a trailing `|`.

    Raises UsageError, which names the place and never shows a key, when the attribute is
    invalid: a syntax error, an unknown suite or mandatory parameter, a key whose length does not
    fit the suite, several keys without MKIs, or anything SRTP forbids.
    """
    text = _unquoted(text)
    head = _ATTRIBUTE.match(text)
    words = _WORD.finditer(text, head.end() if head else 0)
    tag = None
    at, name = _next(words, "tag" if head else "suite", len(text))
    if head or name[0].isdigit():
        if not _TAG.fullmatch(name):
            raise _wrong("tag", at, "a number of up to 9 digits is expected")
        tag = int(name)
        at, name = _next(words, "suite", len(text))
    base = _suite(name, at)
    keys = _keys(*_next(words, "key", len(text))[::-1], base)
    return _with_parameters(base, keys, tag, words)


def _unquoted(text: str) -> str:
    """Blank the quotes around a line, and the punctuation after a string in source code."""
    quoted = _QUOTED.fullmatch(text)
    return text if quoted is None else " " * quoted.start(2) + quoted[2]


def _next(words: Iterator[re.Match[str]], what: str, end: int) -> tuple[int, str]:
    found = next(words, None)
    if found is None:
        raise _wrong(what, end, "the line ends here; it is [a=crypto:TAG] SUITE inline:KEY …")
    return found.start(), found.group()


def _wrong(what: str, at: int, text: str) -> UsageError:
    return UsageError(f"crypto attribute, {what} at character {at + 1}: {text}")


def _suite(name: str, at: int) -> Suite:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)+", name):
        # It is not shown, since it may be a key.
        raise _wrong("suite", at, f"no name of a suite stands here; those are {', '.join(SUITES)}")
    try:
        return suite(name)
    except UsageError as error:
        raise _wrong("suite", at, str(error)) from None


# --- keys -------------------------------------------------------------------------------------


def _keys(text: str, at: int, base: Suite) -> tuple[MasterKey, ...]:
    """Read `inline:…;inline:…` (RFC 4568 6.1), which begins `at` characters into the line."""
    keys: list[MasterKey] = []
    for part in re.finditer(r"\s*([^;]*)(?:;|$)", text):
        if part.start() < len(text):
            keys.append(_key(part[1], at + part.start(1), base))
            if len(keys) > MOST_KEYS:
                raise _wrong("key", at, f"there are more than {MOST_KEYS} keys; give fewer")
    if len({each.key for each in keys}) < len(keys):
        raise _wrong("key", at, "two master keys are the same; each is random and used once")
    if len(keys) > 1 and not all(each.mki for each in keys):
        raise _wrong("key", at, "there are several keys, and one without MKI; give each its own")
    if len({len(each.mki) for each in keys}) > 1:
        raise _wrong("key", at, "the MKIs have different lengths; one is for all keys")
    if len(keys) > 1 and len({each.mki for each in keys}) < len(keys):
        raise _wrong("key", at, "two keys have one MKI; give each its own")
    return tuple(keys)


def _key(text: str, at: int, base: Suite) -> MasterKey:
    if text[: len(_INLINE)].lower() != _INLINE:
        raise _wrong("key", at, "inline:KEY is expected, KEY being master key and salt in base64")
    key_salt, *fields = text[len(_INLINE) :].split("|")
    while fields and not fields[-1]:
        fields.pop()
    try:
        key, salt = split_key(base, _base64(key_salt))
    except binascii.Error:
        raise _wrong("key", at + len(_INLINE), "this is no base64") from None
    except UsageError as error:
        raise _wrong("key", at + len(_INLINE), str(error)) from None
    after = at + len(_INLINE) + len(key_salt) + 1
    lifetime, mki = None, b""
    if fields and ":" not in fields[0]:
        lifetime = _lifetime(fields[0], after)
        after += len(fields.pop(0)) + 1
    if fields:
        mki = _mki(fields[0], after)
        after += len(fields.pop(0)) + 1
    if fields:
        raise _wrong(
            "key", after, "more than lifetime and MKI; the form is KEY|LIFETIME|MKI:LENGTH"
        )
    return MasterKey(key, salt, mki, lifetime)


def _base64(text: str) -> bytes:
    data = _BASE64.fullmatch(text)
    if data is None:
        raise binascii.Error
    return binascii.a2b_base64(data[1] + "=" * (-len(data[1]) % 4))


def _lifetime(text: str, at: int) -> int:
    form = _LIFETIME.fullmatch(text)
    exponent, digits = form.groups() if form else (None, "0")
    value = 1 << min(int(digits), 99) if exponent else int(digits)
    if not form or not 0 < value <= RTP_INDICES:
        raise _wrong("lifetime", at, "a number of packets, or 2^N, is expected, up to 2^48")
    return value


def _mki(text: str, at: int) -> bytes:
    form = _MKI.fullmatch(text)
    if not form or int(form[2]) > LONGEST_MKI:
        raise _wrong(
            "MKI", at, f"NUMBER:LENGTH is expected, a length in octets up to {LONGEST_MKI}"
        )
    value, length = int(form[1]), int(form[2])
    if value >> 8 * length:
        raise _wrong("MKI", at, f"the number {value} takes more than {length} octets")
    return value.to_bytes(length)


def _key_text(keys: Iterable[MasterKey]) -> str:
    parts = []
    for each in keys:
        part = _INLINE + b64encode(each.key + each.salt).decode()
        if each.lifetime is not None:
            power = each.lifetime & (each.lifetime - 1) == 0
            part += f"|2^{each.lifetime.bit_length() - 1}" if power else f"|{each.lifetime}"
        if each.mki:
            part += f"|{int.from_bytes(each.mki)}:{len(each.mki)}"
        parts.append(part)
    return ";".join(parts)


# --- session parameters -----------------------------------------------------------------------


def _with_parameters(
    base: Suite, keys: tuple[MasterKey, ...], tag: int | None, words: Iterable[re.Match[str]]
) -> Crypto:
    """Read the session parameters (RFC 4568 6.3), each of which may occur once."""
    of_suite: dict[str, Any] = {}
    others: dict[str, Any] = {}
    ignored = []
    seen = set()
    for found in words:
        word, at = found.group(), found.start()
        if word.startswith("-"):
            ignored.append(word)
            continue
        name, equals, value = word.partition("=")
        name = name.upper()
        if name in seen:
            raise _wrong(name, at, "it stands here twice; give it once")
        after = at + len(name) + 1
        if name in _SWITCHES and not equals:
            of_suite[_SWITCHES[name]] = False
        elif name == "KDR" and equals:
            if value.strip("0") or not value:
                of_suite["key_derivation_rate"] = 1 << _number(value, name, after, 1, 24)
        elif name == "WSH" and equals:
            others["window"] = _number(value, name, after, WINDOW, 1 << 48)
        elif name == "FEC_ORDER" and value.upper() in (_FEC_FIRST, "SRTP_FEC"):
            others["fec_order"] = value.upper()
        elif name == "FEC_KEY" and equals:
            others["fec_keys"] = _fec_keys(value, after, base, keys)
        else:
            raise _unknown(word, at)
        seen.add(name)
    try:
        chosen = adapted(base, **of_suite)
    except UsageError as error:
        raise UsageError(f"crypto attribute: {error}") from None
    return Crypto(chosen, keys, tag, ignored=tuple(ignored), **others)


def _number(text: str, name: str, at: int, lowest: int, highest: int) -> int:
    if re.fullmatch(r"[1-9][0-9]{0,14}", text) and lowest <= int(text) <= highest:
        return int(text)
    raise _wrong(name, at, f"a number from {lowest} to {highest} is expected, no zero before it")


def _fec_keys(
    text: str, at: int, base: Suite, keys: tuple[MasterKey, ...]
) -> tuple[MasterKey, ...]:
    found = _keys(text, at, base)
    if {each.key for each in keys} & {each.key for each in found}:
        raise _wrong("FEC_KEY", at, "the key is one of the media's; FEC has keys of its own")
    return found


def _unknown(word: str, at: int) -> UsageError:
    # Only what looks like a name is shown: anything else may be a key.
    name = re.match(r"[A-Z_]{2,24}(?==|$)", word)
    return _wrong(
        "session parameter",
        at,
        f"{name[0] if name else 'this'} is unknown, or its value is, and one without a dash "
        "before it may not be left out; known are KDR=, WSH=, FEC_ORDER=, FEC_KEY= and "
        f"{', '.join(_SWITCHES)}",
    )
