"""Text as it was before programs printed it: decoded, in lines, without escapes.

MIKEY travels in text that programs quote in their own ways. None of the characters that escapes are
made of occurs in base64 or in hex, so that undoing all of them changes no message.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

_NEWLINE = re.compile(r"\r\n|[\n\r\u2028\u2029]")
_ENTITY = re.compile(
    r"&(?:#\d{1,5}|#[xX][0-9A-Fa-f]{1,4}|quot|apos|amp|lt|gt|nbsp|plus|sol|equals);"
)
_PERCENT = re.compile(r"%(2[0-9A-Fa-f]|3[0-9A-Fa-f]|5[fF]|0[aAdD]|7[cC])")
_BACKSLASH = re.compile(  # each row of them is looked at once
    r"(?<!\\)\\++(?:u00([0-7][0-9A-Fa-f])|x([2-7][0-9A-Fa-f])|(r\\++n|[rn])|([\"'/`+= ]))"
)
_FORM_SPACE = re.compile(r"(?i)(?<=mikey)\+(?=A[QR])")
"""How forms write the space behind the name."""
_MAY_BREAK = re.compile(r"(?i)<wbr\s*/?>")
_SYSLOG_BREAK = re.compile(r"(?:#015)?#012|#015")
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""Characters without width, which programs put into long words: they may be broken there."""
_TYPED = str.maketrans(
    "\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019\u201a\u2010\u2011\u00a0\u2007\u2009\u202f\u3000",
    '"' * 5 + "'" * 3 + "--" + " " * 5,
    _INVISIBLE,
)
"""What mail and office programs make of quotes, hyphens and spaces."""
_BREAK = "\0"


class Line(NamedTuple):
    """A line without escapes; `number` is that of the line that it was printed in, from 1.

    Several lines have one number if the line breaks between them were escaped. `written` is the
    line as it was printed.
    """

    number: int
    text: str
    written: str


_SIGNS = ("\\", "&", "%", "#01", "=3D", "<w", "<W")


def lines_of(text: str) -> Iterator[Line]:
    """Split a text into lines, and undo the escapes in each."""
    for number, line in enumerate(_NEWLINE.split(text), 1):
        if line.isascii() and not any(sign in line for sign in _SIGNS):
            yield Line(number, line, line)
            continue
        for part in _unescaped(line).split(_BREAK):
            yield Line(number, part, line)


def _unescaped(line: str) -> str:
    text = line.replace(_BREAK, " ")
    if not text.isascii():
        text = text.translate(_TYPED)
    if "&" in text:
        text = _ENTITY.sub(_entity, text)
    if "\\" in text:
        text = _BACKSLASH.sub(_backslash, text)
    if "%" in text:
        text = _FORM_SPACE.sub(" ", text)
        text = _PERCENT.sub(lambda match: _of_number(int(match[1], 16)), text)
    if "<" in text:
        text = _MAY_BREAK.sub("", text)
    if "#01" in text:
        text = _SYSLOG_BREAK.sub(_BREAK, text)
    return text.replace("=3D", "=")


def _of_number(number: int) -> str:
    return _BREAK if number in (10, 13) else chr(number)


def _entity(match: re.Match[str]) -> str:
    text = html.unescape(match[0])
    return _BREAK if text in ("\n", "\r") else text


def _backslash(match: re.Match[str]) -> str:
    unicode, octet, newline, sign = match.groups()
    if newline:
        return _BREAK
    return sign or _of_number(int(unicode or octet, 16))
