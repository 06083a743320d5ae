"""Craft and inspect MIKEY messages (RFC 3830, RFC 6043) and use the keys that they carry.

`decode` reads a message, `describe` makes a dictionary of it, `encode` writes either; the
commands of those names use them. All exceptions are those of `mikeytool.wire.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mikeytool.wire.message import Message

__version__ = "0.1.0"
__all__ = ["decode", "describe", "encode"]


def decode(message: bytes | str) -> Message:
    """Read one MIKEY message: its octets, or a text that carries it.

    A text may be hex, base64, an `a=key-mgmt:mikey` or `KeyMgmt` line, or a whole SDP, SIP or
    RTSP message. What comes back has a typed `header` (RFC 3830 6.1) and `payloads`, each of
    the class of its name in `mikeytool.wire.payloads`, `ibake` or `sakke`, with the RFC's words
    as attributes: numbers, and octet strings as `bytes`.

    A message that breaks off after its header is read up to there: `error` says where and
    why, `trailing` holds the rest. Raises WireError for a text without exactly one message,
    and for octets that are not even a header; its `partial` is then a message whose header
    has None for every field that is not there.
    """
    from mikeytool.wire.message import Message

    read = Message.read(message if isinstance(message, bytes) else _octets_in(message))
    if read.error is not None and read.error.partial is not None:
        raise read.error
    return read


def _octets_in(text: str) -> bytes:
    """The octets of the one message in a text."""
    from mikeytool.capture.text import find_messages
    from mikeytool.wire.errors import WireError

    found = find_messages(text.encode())
    if isinstance(found[0], WireError):
        raise found[0]
    if len(found) > 1:
        raise WireError(f"the text has {len(found)} messages; give one")
    return found[0].message


def describe(message: Message, *, show_keys: bool = False) -> dict[str, Any]:
    """A message as a dictionary that `json.dumps` takes: what `decode --json` prints.

    `mikeytool decode --schema` prints its JSON Schema. Keys in the clear are masked, as the
    first 4 octets of their SHA-256, unless `show_keys`; certificates have their facts beside
    them.
    """
    from mikeytool.wire.describe import describe as plainly
    from mikeytool.wire.payloads import CERT

    described = plainly(message, show_keys=show_keys)
    if message.find(CERT) is not None:
        from mikeytool.crypto.certificate_facts import certificate_facts

        for payload, of in zip(message.payloads, described["payloads"], strict=True):
            if isinstance(payload, CERT):
                of["certificate"] = certificate_facts(payload)
    return described


def encode(message: Message | Mapping[str, Any]) -> bytes:
    """The octets of a message, or of the dictionary that describes one.

    Lengths, counts, next payload numbers and names that are None or left out are filled in;
    those that are given are written as given, right or wrong. A payload may be
    `{"raw": hex}`. `encode(describe(message))` is the message again, octet for octet.

    Raises UsageError, which names the place, for a value that does not fit its field, a key
    that is not a field, and a name and a number that disagree.
    """
    from mikeytool.wire.describe import compose
    from mikeytool.wire.message import Message

    if isinstance(message, Message):
        return message.build()
    return compose(dict(message)).build()
