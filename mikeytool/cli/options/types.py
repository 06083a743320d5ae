"""The types of option values."""

from __future__ import annotations

from typing import Any

import click

from mikeytool.wire.identity import MAX_IDENTITY, Identity


class IdentityType(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """A URI, or `user@host`."""

    name = "URI"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Identity:
        """Make the identity."""
        if isinstance(value, Identity):
            return value
        if not value:
            self.fail("an identity cannot be empty", param, ctx)
        identity = Identity.from_text(value)
        if len(identity.data) > MAX_IDENTITY:
            self.fail(f"an identity has at most {MAX_IDENTITY} octets", param, ctx)
        return identity


IDENTITY = IdentityType()


class DurationType(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """A number of seconds, written as `90s`, `15m`, `8h` or `7d`."""

    name = "D"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give the seconds; raises UsageError."""
        from mikeytool.client.time_text import parse_duration  # few commands are given one

        return (
            value
            if isinstance(value, int)
            else parse_duration(value, param.opts[0] if param else self.name)
        )


DURATION = DurationType()
