"""`kms log`: requests, refusals, and changes by operators."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.clock import now_ns
from mikeytool.cli.options.common import say
from mikeytool.cli.options.store import store_command
from mikeytool.cli.render.table import print_table
from mikeytool.client.ticket_files import time_json
from mikeytool.client.time_text import parse_time
from mikeytool.kms.store.records import LogEntry
from mikeytool.kms.store.store import Store
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp


class _LogGroup(Group):
    """A group whose command `show` needs no name: kms log STORE."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `show` in front of what names no other command."""
        named = not args or args[0] in (*self.commands, "-h", "--help")
        return super().parse_args(ctx, args if named else ["show", *args])


@click.group(cls=_LogGroup)
def log() -> None:
    """Show requests, refusals and changes by operators: kms log STORE [--json] [--since T]."""


@store_command(log, "show")
@click.option("--since", metavar="T", help="From this time on: ISO 8601, Unix seconds or now-D.")
def show(store: Store, as_json: bool, since: str | None) -> None:
    """Show requests and their outcomes. Changes by operators are among them."""
    found = store.log(0 if since is None else parse_time(since, now_ns(), "--since"))
    if as_json:
        for entry in found:
            print(json.dumps(_entry_json(entry)))
        return
    rows = ((str(_time(entry).utc), *_texts(entry)) for entry in found)
    print_table(chain([("time", "exchange", "by", "for", "outcome", "reason")], rows))


@store_command(log, "prune")
@click.option("--before", required=True, metavar="T", help="A time, or now-D as in now-30d.")
def prune(store: Store, before: str) -> None:
    """Remove the entries from before a time. `kms policy set --keep-log` does so by itself."""
    store.prune_log(parse_time(before, now_ns(), "--before"))
    say(f"{store.where}: the log begins at {before}")


def _texts(entry: LogEntry) -> tuple[str, ...]:
    times = f" ({entry.count} times)" if entry.count > 1 else ""
    return entry.exchange, entry.user, entry.about, entry.outcome, entry.reason + times


def _entry_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "time": time_json(_time(entry)),
        "exchange": entry.exchange,
        "by": entry.user,
        "for": entry.about,
        "outcome": entry.outcome,
        "reason": entry.reason or None,
        "count": entry.count,
    }


def _time(entry: LogEntry) -> Timestamp:
    return Timestamp.at(entry.at_ns, TsType.NTP_UTC_32)
