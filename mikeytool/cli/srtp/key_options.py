"""The options of `srtp` that give keys and choose streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mikeytool.media.named_keys import NamedKeys

if TYPE_CHECKING:
    from mikeytool.exchange.inspect_keys import KeyRing
    from mikeytool.media.whole_captures import Key


def named_keys(mikey: tuple[str, ...] = (), **options: Any) -> NamedKeys:
    """Make the keys and streams of the options; raises UsageError and WireError."""
    given = NamedKeys(mikey=mikey, **options)  # type: ignore[arg-type] # replaced below
    if mikey:
        from mikeytool.cli.message_io import one_message
        from mikeytool.wire.message import Message

        given.mikey = [Message.parse(one_message(text, what="--mikey")) for text in mikey]
    if given.sessions or given.keytab or given.conference:
        # Imported here because bare keys need no grammar of messages.
        from mikeytool.cli.options.clock import now_ns

        given.now_ns = now_ns()
    return given


def receiver_keys(given: NamedKeys) -> list[Key]:
    """The keys to decrypt with; raises the errors of `keys`, and StateError."""
    if given.conference is None:
        return [*given.keys()]
    from mikeytool.conference.relay import conference_receivers

    return [*conference_receivers(given.conference, given.settings())]


def key_ring(given: NamedKeys) -> KeyRing | None:
    """The keys of `--keys`; raises WireError and StateError."""
    if given.keytab is None:
        return None
    from mikeytool.cli.options.opening import key_ring as ring_of

    return ring_of((), (), (), (), (), (str(given.keytab),))
