"""A conference, as people see it."""

from __future__ import annotations

from typing import Any

from mikeytool.cli.render.table import print_table
from mikeytool.wire.json_field import MaskedKey


def print_conference(one: dict[str, Any]) -> None:
    """Print the description of a conference."""
    ended = "" if one["ended"] is None else f", ended {one['ended']}"
    print(f"{one['focus']} ({one['topology']}), created by {one['creator']}{ended}")
    print_table([("", ""), ("allowed:", ", ".join(one["allowed"]) or "nobody")])
    members = (
        (m["identity"], m["csb_id"], m["state"], " ".join(m["ssrcs"])) for m in one["members"]
    )
    print_table([("member", "seat", "state", "SSRCs"), *members])
    keys = one["keys"]
    is_masked = any(isinstance(key["tek"], MaskedKey) for key in keys)
    secrets = ("TEK (octets)", "salt (octets)") if is_masked else ("TEK", "salt")
    print_table([("purpose", "SPI", *secrets, "state"), *map(_key_row, keys)])


def _key_row(key: dict[str, Any]) -> list[str]:
    secrets = (
        f"{one} ({one.octets})" if isinstance(one, MaskedKey) else one or ""
        for one in (key["tek"], key["salt"])
    )
    return [key["purpose"], key["spi"], *secrets, key["state"]]
