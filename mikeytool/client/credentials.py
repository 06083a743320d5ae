"""Credentials that authenticate a user to the KMS, and the requests made with them (RFC 6043
4.2.1.2, 4.2.3.2; for public keys see `public_key`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mikeytool.client.ticket_files import Pending
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.profile import Profile, profile_of
from mikeytool.exchange.request import request_init
from mikeytool.exchange.resolve import resolve_init
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.payloads import TICKET


class Credentials(Protocol):
    """What a user shares with the KMS. Both methods raise Refused and UsageError."""

    def request(
        self, env: Environment, policy: TicketPolicy, initiator: Identity, kms: Identity
    ) -> Pending:
        """Make a REQUEST_INIT for a ticket, with the key that verifies its answer."""

    def resolve(
        self, env: Environment, profile: Profile, ticket: TICKET, responder: Identity, kms: Identity
    ) -> Pending:
        """Make a RESOLVE_INIT for a ticket, with the key that verifies its answer."""


@masked_repr
@dataclass(frozen=True, slots=True)
class PreSharedKey:
    """A key shared with the KMS, which knows it by a name or by the user's identity."""

    key: bytes = field(repr=False)
    name: Identity | None = None

    def request(
        self, env: Environment, policy: TicketPolicy, initiator: Identity, kms: Identity
    ) -> Pending:
        """Make a REQUEST_INIT_PSK; its answer is protected with the same key."""
        message = request_init(
            env,
            profile_of(policy.prf),
            policy,
            initiator=initiator,
            kms=kms,
            psk=self.key,
            psk_id=self.name,
        )
        return Pending(message, self.key, kms)

    def resolve(
        self, env: Environment, profile: Profile, ticket: TICKET, responder: Identity, kms: Identity
    ) -> Pending:
        """Make a RESOLVE_INIT_PSK; its answer is protected with the same key."""
        message = resolve_init(
            env,
            profile,
            ticket,
            responder=responder,
            kms=kms,
            psk=self.key,
            psk_id=self.name,
        )
        return Pending(message, self.key, kms)
