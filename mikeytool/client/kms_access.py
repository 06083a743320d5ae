"""Ways to reach a KMS: a store on this machine, or a URL."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from mikeytool.exchange.environment import Environment
from mikeytool.kms.foreign_tickets import PATIENCE
from mikeytool.kms.service import handle
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import is_url
from mikeytool.wire.errors import Refused, Unreachable
from mikeytool.wire.identity import Identity

if TYPE_CHECKING:
    from mikeytool.kms.group_queries import SharedKey
    from mikeytool.kms.remote.connection import Tls


class Kms(Protocol):
    """A KMS that answers messages."""

    @property
    def identity(self) -> Identity:
        """The identity that goes into IDRkms."""

    def answer(self, env: Environment, message: bytes) -> bytes:
        """Return the answer to a message, which may be an Error message.

        Raises Refused when there is no answer, and Unreachable when the KMS cannot be reached.
        """

    def groups_of(self, identity: Identity) -> Sequence[Identity]:
        """Return the groups that the KMS lists for someone."""

    def is_group(self, identity: Identity) -> bool:
        """Return whether the KMS knows an identity as a group."""


class StoreKms:
    """A KMS whose store this process opens itself, for tests by a single person."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.identity = store.identity

    def answer(self, env: Environment, message: bytes) -> bytes:
        """Return the answer of the store.

        The reason for a refusal is shown, because the store is the caller's own.
        """
        handled = handle(self._store, env, message)
        if isinstance(handled.refusal, Unreachable):
            raise handled.refusal
        if handled.refusal is not None:
            raise Refused(f"the KMS refuses: {handled.refusal}", handled.refusal.error_no)
        assert handled.answer is not None  # noqa: S101 - without a refusal there is one
        return handled.answer

    def groups_of(self, identity: Identity) -> Sequence[Identity]:
        """Return the groups in the store that someone is in."""
        return self._store.groups_of(identity)

    def is_group(self, identity: Identity) -> bool:
        """Return whether the store has a group with this identity."""
        return self._store.is_group(identity)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class UrlKms:
    """A KMS that is asked over HTTP; its identity is the host name unless a user sets another.

    `key` authenticates queries about groups, which the KMS does not answer for everybody.
    """

    def __init__(self, url: str, tls: Tls | None = None, key: SharedKey | None = None) -> None:
        from mikeytool.kms.remote.http_client import KmsClient  # imports TLS, which only URLs need

        self._remote, self._key = KmsClient(url, tls), key
        self.identity = Identity.from_text(self._remote.address.host)

    def answer(self, _env: Environment, message: bytes) -> bytes:
        """Return the answer, within 10 seconds; see `KmsClient.ask` for the errors."""
        return self._remote.ask(message, time.monotonic() + PATIENCE)

    def groups_of(self, identity: Identity) -> Sequence[Identity]:
        """Return the groups that the KMS lists for someone; raises Refused and Unreachable."""
        return self._groups("member", identity)

    def is_group(self, identity: Identity) -> bool:
        """Return whether the KMS knows such a group; raises Refused and Unreachable."""
        return bool(self._groups("group", identity))

    def close(self) -> None:
        """Do nothing: a connection is closed after each answer."""

    def _groups(self, kind: str, identity: Identity) -> Sequence[Identity]:
        from mikeytool.kms import group_queries

        if self._key is None:
            raise Refused(f"{self._remote.url}: queries about groups need a pre-shared key")
        asked = group_queries.target(kind, identity)
        header, mac = group_queries.authorization(self._key, asked, time.time_ns())
        deadline = time.monotonic() + PATIENCE
        there = self._remote.address.prefix + asked
        answer = self._remote.exchange("GET", there, {"Authorization": header}, b"", deadline)
        if answer.status == HTTPStatus.FORBIDDEN:
            raise Refused(
                f"{self._remote.url}: the KMS tells of groups to users who may act as others (kms"
                " user add --act-as), and whose clock is right"
            )
        self._remote.check(answer)
        mark = answer.headers.get(group_queries.ANSWER_HEADER)
        return group_queries.read_answer(self._key, mac, mark, answer.body)


class LazyKms:
    """A KMS that is contacted only when it is first asked; without a query, no KMS is needed.

    The first query calls `reach`. If `reach` raises, the next query calls it again.
    """

    def __init__(self, reach: Callable[[], StoreKms | UrlKms]) -> None:
        self._reach = reach

    @cached_property
    def _kms(self) -> StoreKms | UrlKms:
        return self._reach()

    @property
    def identity(self) -> Identity:
        """The identity of the KMS; this and all other methods raise what `reach` raises."""
        return self._kms.identity

    def answer(self, env: Environment, message: bytes) -> bytes:
        """Return the answer of the KMS to a message."""
        return self._kms.answer(env, message)

    def groups_of(self, identity: Identity) -> Sequence[Identity]:
        """Return the groups that the KMS lists for someone."""
        return self._kms.groups_of(identity)

    def is_group(self, identity: Identity) -> bool:
        """Return whether the KMS knows an identity as a group."""
        return self._kms.is_group(identity)

    def close(self) -> None:
        """Close the KMS if it was reached."""
        if "_kms" in vars(self):
            self._kms.close()


def reach(where: str, tls: Tls | None = None, key: SharedKey | None = None) -> StoreKms | UrlKms:
    """Return the KMS with a store on this machine or at a URL; the caller closes it.

    Without `tls` the environment determines what is trusted. Raises StateError when `where` is
    not a store, and UsageError when it is not a valid URL.
    """
    if "://" in where and not is_url(where):
        return UrlKms(where, tls, key)
    return StoreKms(Store(where))
