"""What the operator of a conference system reads when the KMS refuses: why, and what to do."""

from __future__ import annotations

from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo, KeyType, label


def not_resolved(error: Refused, policy: TicketPolicy, by: Identity, system: Identity) -> Refused:
    """Return the refusal of a caller whose ticket the KMS does not resolve for the address `by`.

    `system` is the name of the system's key.
    """
    number = error.error_no
    if number == ErrorNo.UNSPECIFIED and by not in policy.responders:
        named = " and ".join(map(str, policy.responders))
        hint = f"it names {named}, and {by} is called: the caller requests one with --to {by}"
        return Refused(f"{error}; {hint}", ErrorNo.INVALID_TPPAR)
    if number == ErrorNo.AUTH_FAILURE:
        hint = f"if every caller meets this, {_identity_hint(by, system)}"
        return Refused(f"{error}; {hint}", number)
    if number == ErrorNo.INVALID_PRF:
        return Refused(f"{error}; the caller requests a ticket with another --profile", number)
    return Refused(f"{error}{_see_log(error)}", number)


def not_requested(error: Refused, policy: TicketPolicy, by: Identity, system: Identity) -> Refused:
    """Return the refusal when the KMS gives the address `by` of the system no ticket.

    Its number is that of the message which led to the request, not that of the request.
    """
    if policy.keys:
        types = " and ".join({label(KeyType, key.type): None for key in policy.keys})
        asked = f"the system asked for group keys ({types}); `kms policy show` has the rules"
    else:
        asked = f"the system asked for a ticket to call {' and '.join(map(str, policy.responders))}"
    if error.error_no == ErrorNo.AUTH_FAILURE:
        asked += f"; {_identity_hint(by, system)}"
    return Refused(f"{error}{_see_log(error)}; {asked}", ErrorNo.UNSPECIFIED)


def _identity_hint(by: Identity, system: Identity) -> str:
    key = "compare the system's key with that of the KMS (kms user rekey)"
    return key if by == system else f"{key}, and whether it may act as {by} (--act-as)"


def _see_log(error: Refused) -> str:
    """Say where the reason is, when the KMS has sent no more than the number of an error."""
    return "; `kms log show` at the KMS says why" if isinstance(error, ErrorReceived) else ""
