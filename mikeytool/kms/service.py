"""The KMS: it takes messages and returns answers (RFC 6043 4.2.1.4, 4.2.3.4, 5.4).

Messages that wait at the same time share one transaction, because the time of a transaction is
mostly that of writing to disk. No answer is given before its transaction is on disk. If a message
fails, its part of the transaction is undone, and the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mikeytool.exchange.environment import Environment
from mikeytool.kms.received import ReceivedMessage, Uncounted
from mikeytool.kms.store.exchanges import Exchange, StoreChanged
from mikeytool.kms.store.records import Handled
from mikeytool.kms.store.store import Store


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

    Raises StateError if the transaction fails. Then none of them is answered.
    """
    received = [ReceivedMessage(store, env, data, send_errors) for data in messages]
    with store.answering():
        store.forget(env)
        _verify(store, received)
        if any(message.is_done for message in received) and not store.is_known():
            store.renewed()
            _verify(store, received)
        if not all(message.is_done for message in received):
            _decide(store, received)
    for message in received:
        message.log_apart()
    return received


def finish(message: ReceivedMessage, store: Store, deadline: float | None = None) -> Handled:
    """Return or raise the result of a message that was handled with others.

    If `message.is_foreign`, this asks another KMS first, which may take until `deadline`.
    """
    return message.finish(store, handle, deadline)


def _verify(store: Store, received: Sequence[ReceivedMessage], *, look: bool = True) -> None:
    kms_policy = store.policy()
    for message in received:
        message.verify(kms_policy, look=look)


def _decide(store: Store, received: Sequence[ReceivedMessage]) -> None:
    """Decide about the messages that are verified.

    They were verified with what is kept in memory. If that turns out to be old, begin again, and
    read from the store within the transaction.
    """
    for renew in (False, True):
        with suppress(StoreChanged):
            _in_transaction(store, received, renew=renew)
            break


def _in_transaction(store: Store, received: Sequence[ReceivedMessage], *, renew: bool) -> None:
    try:
        with store.exchange() as exchange:
            if renew:
                exchange.renewed(store.renewed())
                _verify(store, received, look=False)
            for message in received:
                if message.is_done:
                    continue
                if len(received) > 1:
                    _part(exchange, message)
                else:
                    message.decide(exchange)
    except Uncounted as refusal:
        received[0].refuse_uncounted(refusal.refused)


def _part(exchange: Exchange, message: ReceivedMessage) -> None:
    """Decide about one of several messages. Whatever it raises concerns only this one."""
    try:
        with exchange.part():
            message.decide(exchange)
    except StoreChanged:
        raise
    except Uncounted as refusal:
        message.refuse_uncounted(refusal.refused)
    except Exception as error:
        if exchange.lost:
            raise
        message.fail(error)
