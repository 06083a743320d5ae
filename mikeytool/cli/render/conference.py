"""A conference, as people see it."""

from __future__ import annotations

import textwrap
from typing import Any

from mikeytool.cli.render.table import print_table


def print_conference(one: dict[str, Any]) -> None:
    """Print the description of a conference."""
    ended = "" if one["ended"] is None else f", ended {one['ended']}"
    print(f"{one['focus']} ({one['topology']}), created by {one['creator']}{ended}")
    print(textwrap.fill(f"allowed: {', '.join(one['allowed']) or 'nobody'}", 79))
    members = (
        (m["identity"], m["csb_id"], m["state"], " ".join(m["ssrcs"])) for m in one["members"]
    )
    print_table([("member", "seat", "state", "SSRCs"), *members])
    names = ("purpose", "spi", "tek", "salt", "state")
    keys = ([str(key[name] or "") for name in names] for key in one["keys"])
    print_table([("purpose", "SPI", "TEK", "salt", "state"), *keys])
