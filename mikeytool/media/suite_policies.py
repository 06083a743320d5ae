"""SRTP suites as security policies: which one side offers, takes, or says that it supports."""

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
    """Make the test of a policy that the other end offers.

    It accepts the suites with these names, or without names every suite that protects; and any
    policy of a protocol other than SRTP. Raises UsageError for a name that is no suite.
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
    """Give the policies to name in an Error message when those of the other end are refused.

    They are those of the suites with these names, else of all that are accepted; in both cases
    only those whose keys are no longer than those of the ticket's profile.
    """
    longest, accept = profile_of(prf).key_length, accept_suites(names)
    chosen = [suite(name) for name in names] or SUITES.values()
    found = [
        policy_for(one, number) for number, one in enumerate(chosen) if one.key_length <= longest
    ]
    return [policy for policy in found if accept(policy)]


def srtp_suite(crypto_session: CryptoSession) -> Suite:
    """Give the suite of an SRTP crypto session.

    Raises UsageError when its security policy is none of the suites.
    """
    entry = crypto_session.entry
    if crypto_session.policy is None:
        raise UsageError(f"crypto session {entry.cs_id} has no security policy; it has no suite")
    try:
        return read_policy(crypto_session.policy)
    except Refused as error:
        raise UsageError(f"crypto session {entry.cs_id} has no suite: {error}") from None
