"""SRTP suites as security policies: which of them a side offers, accepts or supports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.session import CryptoSession
from mikeytool.srtp.security_policy import policy_for, read_policy, suite_of
from mikeytool.srtp.suites import SUITES, Suite, suite
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import ProtType

_PROFILE_SUITES = {128: "AES_CM_128_HMAC_SHA1_80", 256: "AES_256_CM_HMAC_SHA1_80"}


def default_suite(prf: int) -> Suite:
    """Give a suite as strong as the profile of a ticket with that PRF."""
    return SUITES[_PROFILE_SUITES[profile_of(prf).bits]]


def accept_suites(names: Sequence[str]) -> Callable[[SP], bool]:
    """Make a function that tests a policy offered by the other end.

    It accepts the suites with these names, or without names every suite that protects; and any
    policy of a protocol other than SRTP. Raises UsageError for an unknown suite name.
    """
    chosen = {suite(name).name for name in names}

    def accept(policy: SP) -> bool:
        found = suite_of(policy)
        if policy.protocol != ProtType.SRTP:
            return True
        if found is None:
            return False
        return found.name in chosen if chosen else found.protects

    return accept


def supported_policies(names: Sequence[str], prf: int) -> list[SP]:
    """Give the policies to name in an Error message that refuses the other end's policies.

    These are the suites with these names, or else all accepted suites. In both cases suites with
    longer keys than the ticket's profile are left out.
    """
    longest, accept = profile_of(prf).key_length, accept_suites(names)
    chosen = [suite(name) for name in names] or SUITES.values()
    found = [
        policy_for(one, number) for number, one in enumerate(chosen) if one.key_length <= longest
    ]
    return [policy for policy in found if accept(policy)]


def policy_names(policies: Sequence[SP]) -> str:
    """Give the suites of policies for people, and the number of a policy that is no suite."""
    found = ((suite_of(one), one.policy_no) for one in policies)
    return ", ".join(f"policy {number}" if one is None else one.name for one, number in found)


def srtp_suite(crypto_session: CryptoSession) -> Suite:
    """Give the suite of an SRTP crypto session.

    Raises UsageError if its security policy matches no suite.
    """
    entry = crypto_session.entry
    if crypto_session.policy is None:
        raise UsageError(f"crypto session {entry.cs_id} has no security policy; it has no suite")
    try:
        return read_policy(crypto_session.policy)
    except Refused as error:
        raise UsageError(f"crypto session {entry.cs_id} has no suite: {error}") from None
