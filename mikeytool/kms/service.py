"""The KMS: it takes messages and returns answers (RFC 6043 4.2.1.4, 4.2.3.4, 5.4).

Messages that wait at the same time share one transaction, because the time of a transaction is
mostly that of writing to disk, or to a database server. No answer is given before its transaction
is on disk. A message that fails, or that is not new, is taken out of the transaction, which begins
again without it; the message then has a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mikeytool.exchange.environment import Environment
from mikeytool.kms.received import ReceivedMessage, Uncounted
from mikeytool.kms.store.batches import Part
from mikeytool.kms.store.exchanges import StoreChanged
from mikeytool.kms.store.records import Handled
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Divisible

_ATTEMPTS = 3
"""How often a shared transaction begins again without messages that fail."""


def handle(
    store: Store,
    env: Environment,
    data: bytes,
    *,
    send_errors: bool = False,
    deadline: float | None = None,
) -> Handled:
    """Answer REQUEST_INIT or RESOLVE_INIT (RFC 6043 4.2.1.4, 4.2.3.4).

    A refusal is answered with an Error message if the sender was authenticated, or if
    `send_errors` is set. `deadline` is the time until which other KMSs may be asked, in seconds
    on the clock of `time.monotonic`. The default is 10 seconds from the time of asking. Raises
    WireError if the message cannot be read, and StateError if the store fails.
    """
    [message] = handle_together(store, env, [data], send_errors=send_errors)
    return finish(message, store, deadline)


def handle_together(
    store: Store, env: Environment, messages: Sequence[bytes], *, send_errors: bool = False
) -> list[ReceivedMessage]:
    """Answer messages in one transaction. `finish` returns the result of each.

    Raises StateError if the transaction fails. Then none of them is answered. If there are
    several, some may be left, for which `finish` has more to do.
    """
    received = [ReceivedMessage(store, env, data, send_errors) for data in messages]
    with store.answering():
        store.forget(env)
        _verify(store, received)
        if any(message.is_done for message in received) and not store.is_known():
            store.renewed()
            _verify(store, received)
        if len(received) > 1:
            _decide_together(store, received)
        elif received[0].is_left:
            _decide(store, received[0])
    for message in received:
        message.log_apart()
    return received


def finish(message: ReceivedMessage, store: Store, deadline: float | None = None) -> Handled:
    """Return or raise the result of a message that was handled with others.

    If `message.is_left`, this decides about it first. If `message.is_foreign`, this asks another
    KMS, which may take until `deadline`.
    """
    if message.is_left:
        message.store = store
        with store.answering():
            _decide(store, message)
        message.log_apart()
    return message.finish(store, handle, deadline)


def _verify(store: Store, received: Sequence[ReceivedMessage], *, look: bool = True) -> None:
    kms_policy = store.policy()
    for message in received:
        message.verify(kms_policy, look=look)


def _decide(store: Store, message: ReceivedMessage) -> None:
    """Decide about a message that is verified.

    It was verified with what is kept in memory. If that turns out to be old, begin again, and
    read from the store within the transaction.
    """
    for renew in (False, True):
        with suppress(StoreChanged):
            _in_transaction(store, message, renew=renew)
            break


def _in_transaction(store: Store, message: ReceivedMessage, *, renew: bool) -> None:
    try:
        with store.exchange() as exchange:
            if renew:
                exchange.renewed(store.renewed())
                _verify(store, [message], look=False)
            if not message.is_done:
                message.decide(exchange)
    except Uncounted as refusal:
        message.refuse_uncounted(refusal.refused)


def _decide_together(store: Store, received: Sequence[ReceivedMessage]) -> None:
    """Decide about messages, but leave those that have to be decided alone."""
    waiting = [one for one in received if one.is_left and one.entry.message.t.counter is None]
    renew = False
    for _ in range(_ATTEMPTS):
        if len(waiting) < 2:
            break
        try:
            _in_batch(store, waiting, renew=renew)
            break
        except StoreChanged:
            renew = True
        except _Spoilt as error:
            renew = False
            waiting = [one for one in waiting if one not in error.messages and one.is_left]
        except Divisible:
            break


class _Spoilt(Exception):
    """Messages that must not be in a shared transaction."""

    def __init__(self, messages: Sequence[ReceivedMessage]) -> None:
        super().__init__()
        self.messages = messages


def _in_batch(store: Store, waiting: Sequence[ReceivedMessage], *, renew: bool) -> None:
    """Decide about all messages in one transaction, or about none. Raises _Spoilt."""
    try:
        with store.batch() as batch:
            if renew:
                batch.renewed(store.renewed())
                _verify(store, waiting, look=False)
                waiting = [message for message in waiting if message.is_left]
            if not waiting:
                return
            env = waiting[0].env
            parts = batch.enter(env, [message.entry for message in waiting])
            shared = list(zip(waiting, parts, strict=True))
            spoilt = [
                message
                for message, part in shared
                if not part.is_accepted or message.is_beyond(part.count)
            ]
            if not spoilt:
                spoilt = [message for message, part in shared if not _is_decided(message, part)]
            if not spoilt:
                batch.write(env)
                spoilt = [message for message, part in shared if not part.is_accepted]
            if spoilt:
                raise _Spoilt(spoilt)
    except BaseException:
        for message in waiting:
            message.undo()
        raise


def _is_decided(message: ReceivedMessage, part: Part) -> bool:
    """Decide about one of several messages. If that fails, it may be the fault of this one."""
    try:
        message.decide(part)
    except Exception:
        return False
    return True
