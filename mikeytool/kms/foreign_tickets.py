"""Resolving the tickets of other KMSs with their help (RFC 6043 10, interpretation 38)."""

from __future__ import annotations

import time
from collections.abc import Callable

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.forwarding import MAX_HOPS, forward_resolve_init
from mikeytool.exchange.resolve import (
    ResolvedTicket,
    ResolveInit,
    accept_resolve_resp,
    resolve_resp_with,
)
from mikeytool.exchange.ticket import BaseTicket
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.authorization import check_speaks_for, is_ours
from mikeytool.kms.store.records import Handled, Peer
from mikeytool.kms.store.slots import peer_request
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError, Unreachable, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo

MAX_ASKED = 4
"""The most KMSs that the first KMS asks about a ticket. Each later KMS asks only one.

A ticket that no KMS resolves therefore costs at most MAX_ASKED times MAX_HOPS messages,
regardless of how many KMSs know one another.
"""

PATIENCE = 10.0
"""The total time allowed for all requests to other KMSs, in seconds."""


class PeerUnreachable(Refused, Unreachable):
    """No KMS that might know the ticket could be reached."""


def is_foreign(store: Store, ticket: BaseTicket) -> bool:
    """Whether a ticket is for another KMS, and must not be tried with a key of this one.

    A ticket is foreign if it names another KMS. If it names none, its initiator tells, since this
    KMS names itself in every ticket that it makes, and nobody but its users can have made another.
    The name of the key tells only if there is no initiator: two KMSs may use the same name.
    """
    policy, name = ticket.policy, ticket.tpk_id
    if policy.kms is not None:
        return policy.kms != store.identity
    if policy.initiator is not None:
        return not is_ours(store, policy.initiator)
    return store.tpk(name) is None and bool(store.peers())


class Forwarder:
    """Asks the KMS that issued a ticket, or each KMS that speaks for its initiator in turn.

    If the store of a KMS is on this machine, `handle` handles the message.
    """

    def __init__(
        self,
        store: Store,
        env: Environment,
        handle: Callable[..., Handled],
        deadline: float | None,
    ) -> None:
        self._store, self._env, self._handle = store, env, handle
        self._deadline = time.monotonic() + PATIENCE if deadline is None else deadline

    def resolve(
        self,
        request: ResolveInit,
        ticket: BaseTicket,
        acting: Identity,
        path: tuple[Identity, ...],
        key: bytes,
    ) -> bytes:
        """Return the RESOLVE_RESP for the responder, protected with `key`.

        `path` lists the KMSs that the request came through. Raises Refused if no KMS resolves the
        ticket, and PeerUnreachable if no KMS could be reached.
        """
        passed = (*path, self._store.identity)
        failed: Refused | None = None
        for peer in self._candidates(ticket, passed):
            try:
                resolved = self._ask(peer, request, ticket.policy, acting, passed)
            except (StateError, Unreachable) as error:
                failed = failed or PeerUnreachable(f"the KMS {peer.identity}: {error}")
            except (Refused, WireError) as error:
                number = error.error_no if isinstance(error, Refused) else ErrorNo.UNSPECIFIED
                failed = Refused(f"the KMS {peer.identity}: {error}", number)
            else:
                kms, keys = self._store.identity, resolved.keys
                return resolve_resp_with(self._env, request, key, kms, keys, resolved.modifier)
        raise failed or Refused("no other KMS is left to ask", ErrorNo.INVALID_TICKET)

    def _candidates(self, ticket: BaseTicket, passed: tuple[Identity, ...]) -> list[Peer]:
        """Return the KMSs to ask. Raises Refused if there are none, or after too many hops."""
        if len(set(passed)) != len(passed) or len(passed) > MAX_HOPS:
            raise Refused(
                f"the request has been through {' and '.join(map(str, passed[:-1]))} already",
                ErrorNo.INVALID_TICKET,
            )
        kms, initiator = ticket.policy.kms, ticket.policy.initiator
        assert initiator is not None  # noqa: S101 - no other ticket is handed on
        name = kms or ticket.tpk_id
        named = None if name is None else self._store.peer(name)
        if named is not None:
            check_speaks_for(self._store, named, initiator)
            return [named] if named.identity not in passed else []
        others = [peer for peer in self._store.peers() if peer.identity not in passed]
        if others and not any(peer.patterns for peer in others):
            check_speaks_for(self._store, others[0], initiator)
        closest = sorted(others, key=lambda peer: peer.closeness(initiator), reverse=True)
        most = MAX_ASKED if len(passed) == 1 else 1
        candidates = [peer for peer in closest[:most] if peer.closeness(initiator)]
        if not candidates:
            unknown = "names no KMS" if kms is None else f"is to be resolved by the KMS {kms}"
            raise Refused(
                f"the ticket of {initiator} is not of this KMS: it {unknown}, and none that is"
                f" known here resolves it or speaks for {initiator}; see `kms peer add`",
                ErrorNo.INVALID_TICKET,
            )
        return candidates

    def _ask(
        self,
        peer: Peer,
        request: ResolveInit,
        ticket_policy: TicketPolicy,
        acting: Identity,
        passed: tuple[Identity, ...],
    ) -> ResolvedTicket:
        if time.monotonic() >= self._deadline:
            raise Unreachable("there is no time left to ask it")
        init = forward_resolve_init(
            self._env, request, responder=acting, path=passed, kms=peer.identity, psk=peer.psk
        )
        resolved = accept_resolve_resp(
            self._env, init, peer.psk, self._sent(peer, init.raw), ticket_policy
        )
        if resolved.modifier is not None and resolved.modifier.responder != acting:
            raise Refused(f"it forked the keys for {resolved.modifier.responder}, not for {acting}")
        return resolved

    def _sent(self, peer: Peer, init: bytes) -> bytes:
        """Send the message to another KMS and return the answer."""
        if "://" in peer.location:
            return self._sent_to_url(peer.location, init)
        with Store(peer.location) as store:
            store.named = False
            handled = self._handle(store, self._env, init, deadline=self._deadline)
        if handled.answer is None:
            raise Refused("it gives no answer; check that both have the same key for each other")
        return handled.answer

    def _sent_to_url(self, url: str, init: bytes) -> bytes:
        from mikeytool.kms.remote.http_client import KmsClient  # loads TLS

        with peer_request():
            return KmsClient(url).ask(init, self._deadline)
