"""Put a MIKEY message into a session description (RFC 4567 3.1 and 4.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from mikeytool.capture.keymgmt import attribute, read_attribute
from mikeytool.capture.sdp import SESSION_LEVEL, media_level
from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.protocol_list import MIKEY, Carried, Description


@dataclass(frozen=True, slots=True)
class SdpPlace:
    """The place for a message in a session description: before the line with index `at`.

    `protocols` are those of the whole description with MIKEY at that place, each once and in
    order. They are the list that goes into the message (RFC 4567 4.1.4).
    """

    lines: tuple[bytes, ...]
    at: int
    protocols: tuple[str, ...]
    newline: bytes = b"\n"

    @classmethod
    def find(cls, text: bytes, media: int = 0) -> SdpPlace:
        """Find the place in a description: in media section `media`, or at the session level for 0.

        MIKEY is offered first, before other protocols there. Raises WireError for a text that is
        no description, UsageError if it has no such section or has a MIKEY message there already.
        """
        lines = text.removeprefix(b"\xef\xbb\xbf").splitlines()
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines or lines[0].strip() != b"v=0":
            raise WireError("this is no session description; its first line would be v=0")
        texts = [line.decode("utf-8", "replace").strip() for line in lines]
        starts = [0, *(at for at, line in enumerate(texts) if line.startswith("m=")), len(lines)]
        if not 0 <= media < len(starts) - 1:
            raise UsageError(f"the session description has {len(starts) - 2} media, not {media}")
        section = range(starts[media], starts[media + 1])
        specs = {at: spec for at in section if (spec := read_attribute(texts[at])) is not None}
        if any(spec.protocol == MIKEY for spec in specs.values()):
            raise UsageError(
                f"the session description has a mikey attribute at this level already"
                f" ({_level(texts, section.start, media)}); take it out"
            )
        at = min(specs, default=section.stop)
        protocols = _protocols([*texts[:at], attribute(b"").decode(), *texts[at:]])
        return cls(tuple(lines), at, protocols, b"\r\n" if b"\r\n" in text else b"\n")

    @property
    def carried(self) -> Carried:
        """The place as one who reads the message there sees it."""
        texts = [line.decode("utf-8", "replace").strip() for line in self.lines]
        starts = [at for at, text in enumerate(texts) if text.startswith("m=")]
        media = sum(start < self.at for start in starts)
        level = _level(texts, starts[media - 1], media) if media else SESSION_LEVEL
        return Carried(Description(media=[texts[start] for start in starts]), level)

    def completed(self, message: bytes) -> bytes:
        """Return the description with a message; its lines end as they did."""
        lines = [*self.lines[: self.at], attribute(message), *self.lines[self.at :]]
        return b"".join(line + self.newline for line in lines)


def _level(texts: list[str], start: int, media: int) -> str:
    return media_level(media, texts[start]) if media else SESSION_LEVEL


def _protocols(texts: list[str]) -> tuple[str, ...]:
    description = Description()
    for text in texts:
        spec = read_attribute(text)
        if spec is not None:
            description.add("", spec.protocol)
    return description.protocols
