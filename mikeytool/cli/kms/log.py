"""`kms log`: requests, refusals, and changes by operators."""

from __future__ import annotations

import json
from itertools import chain

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.clock import now_ns
from mikeytool.cli.options.common import say
from mikeytool.cli.options.store import store_command
from mikeytool.cli.render.table import print_table
from mikeytool.client.time_text import parse_time
from mikeytool.kms.store.records import LogEntry
from mikeytool.kms.store.store import Store
from mikeytool.kms.store.store_description import describe_log_entry


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
            print(json.dumps(describe_log_entry(entry)))
        return
    print_table(chain([("time", "exchange", "by", "for", "outcome", "reason")], map(_row, found)))


def _row(entry: LogEntry) -> tuple[str, ...]:
    times = f" ({entry.count} times)" if entry.count > 1 else ""
    told = (entry.exchange, entry.user, entry.about, entry.outcome)
    return str(entry.time.utc), *told, entry.reason + times


@store_command(log, "prune")
@click.option("--before", required=True, metavar="T", help="A time, or now-D as in now-30d.")
def prune(store: Store, before: str) -> None:
    """Remove the entries from before a time. `kms policy set --keep-log` does so by itself."""
    store.prune_log(parse_time(before, now_ns(), "--before"))
    say(f"{store.where}: the log begins at {before}")
