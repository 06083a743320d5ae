"""Options that the `transfer` commands share, and what they say of media."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from mikeytool.cli.options.keys import wrapping
from mikeytool.cli.options.media import accepts, media_of
from mikeytool.client.initiate import Media
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.session import Session
from mikeytool.srtp import SUITES, Suite, suite
from mikeytool.srtp.security_policy import policy_for
from mikeytool.wire.payloads import SP

C = TypeVar("C", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
_PROFILE_SUITES = {128: "AES_CM_128_HMAC_SHA1_80", 256: "AES_256_CM_HMAC_SHA1_80"}

session_option = click.option(
    "--session", "session_path", type=PATH, required=True, metavar="SESSION",
    help="The session file.",
)  # fmt: skip
app_option = click.option(
    "--app", "apps", multiple=True, metavar="ID", help="The application that this is for."
)


def media_options(command: C) -> C:
    """What both sides can say about media."""
    for option in reversed(
        (
            click.option(
                "--cs",
                multiple=True,
                metavar="SPEC",
                help="A crypto session, as in dir=send,ssrc=0x11111111: dir=send or dir=recv, and"
                " id, ssrc, prot (srtp or a number), roc with seq, spi, policy. A call has one of"
                " each direction unless it is told otherwise.",
            ),
            click.option(
                "--suite",
                "suites",
                multiple=True,
                metavar="NAME",
                help=f"An SRTP suite: {', '.join(SUITES)}.",
            ),
            click.option(
                "--kemac",
                multiple=True,
                metavar="SPEC",
                help="A key of one's own: TYPE[,key=KEY][,salt=KEY][,spi=HEX].",
            ),
        )
    ):
        command = option(command)
    return command


def default_suite(prf: int) -> Suite:
    """A suite as strong as the ticket's profile."""
    return SUITES[_PROFILE_SUITES[profile_of(prf).bits]]


def supported(suites: Sequence[str], prf: int) -> list[SP]:
    """The policies to name when those of the other end are refused.

    They are those of `suites`, else all that are accepted with keys of the ticket's profile.
    """
    most, accept = profile_of(prf).key_length, accepts(suites)
    chosen = [suite(name) for name in suites] or SUITES.values()
    found = [policy_for(one, number) for number, one in enumerate(chosen) if one.key_length <= most]
    return [policy for policy in found if accept(policy)]


def media_for_session(
    cs: Sequence[str], suites: Sequence[str], kemac: Sequence[str], *, key_wrap: bool = False
) -> Callable[[Session], Media]:
    """What the options say for an update; keys are as long as the session's own."""

    def media(session: Session) -> Media:
        prf = session.policy.prf
        default = default_suite(prf)
        said = media_of(cs, suites or [default.name], kemac, default=(), default_suite=None)
        said = replace(said, encr_alg=wrapping(key_wrap))
        known = supported(suites, prf)
        if not suites:
            return replace(said, policies=(), supported=known)
        taken = [c.policy.policy_no for c in session.crypto_sessions if c.policy is not None]
        first = max(taken, default=-1) + 1
        policies = [sp.copy(policy_no=first + at) for at, sp in enumerate(said.policies)]
        return replace(said, policies=policies, supported=known)

    return media
