"""Ways to reach a KMS: a store on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mikeytool.exchange.environment import Environment
from mikeytool.kms.postgres import is_url
from mikeytool.kms.service import handle
from mikeytool.kms.sql import Where
from mikeytool.kms.store import Store
from mikeytool.wire.errors import Refused, Unreachable
from mikeytool.wire.identity import Identity


class Kms(Protocol):
    """A KMS that answers messages."""

    @property
    def identity(self) -> Identity:
        """The identity that goes into IDRkms."""

    def answer(self, env: Environment, message: bytes) -> bytes:
        """The answer to a message, which may be an Error message.

        Raises Refused when there is none, Unreachable when the KMS cannot be reached.
        """

    def groups_of(self, identity: Identity) -> Sequence[Identity]:
        """The groups that the KMS knows someone to be in."""

    def is_group(self, identity: Identity) -> bool:
        """Whether the KMS knows an identity to be that of a group."""


class StoreKms:
    """A KMS whose store this process opens itself, for one person's tests."""

    def __init__(self, where: Where) -> None:
        self._store = Store(where)
        self.identity = self._store.identity

    def answer(self, env: Environment, message: bytes) -> bytes:
        """The answer of the store; why it refuses shows, as the store is the caller's own."""
        handled = handle(self._store, env, message)
        if isinstance(handled.refusal, Unreachable):
            raise handled.refusal
        if handled.refusal is not None:
            raise Refused(f"the KMS refuses: {handled.refusal}", handled.refusal.error_no)
        assert handled.answer is not None  # noqa: S101 - without a refusal there is one
        return handled.answer

    def groups_of(self, identity: Identity) -> Sequence[Identity]:
        """The groups in the store that someone is in."""
        return self._store.groups_of(identity)

    def is_group(self, identity: Identity) -> bool:
        """Whether the store has a group of that identity."""
        return self._store.is_group(identity)


def reach(where: str) -> Kms:
    """The KMS at a store path; raises Unreachable for a URL, StateError for no store."""
    if "://" in where and not is_url(where):
        raise Unreachable(
            f"{where}: a KMS can be reached through its store only; give the path of one, or"
            " pipe the message to `kms handle`"
        )
    return StoreKms(where)
