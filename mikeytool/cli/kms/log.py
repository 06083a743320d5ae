"""`kms log`: the log of requests."""

from __future__ import annotations

import json
from typing import Any

import click

from mikeytool.cli.options.clock import environment
from mikeytool.cli.options.common import json_option
from mikeytool.cli.options.store import store_argument
from mikeytool.cli.options.types import parse_time
from mikeytool.cli.render.table import print_table
from mikeytool.client.ticket_files import time_json
from mikeytool.kms.store.records import LogEntry
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Where
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp


@click.command()
@store_argument
@json_option
@click.option("--since", metavar="T", help="From this time on: ISO 8601, Unix seconds or now-D.")
def log(store: Where, as_json: bool, since: str | None) -> None:
    """Show the requests of users and their outcomes."""
    since_ns = 0 if since is None else parse_time(since, environment().clock())
    with Store(store) as opened:
        if as_json:
            for entry in opened.log(since_ns):
                print(json.dumps(_entry_json(entry)))
            return
        rows = [
            (
                str(_time(entry).utc),
                entry.exchange,
                entry.user,
                entry.about,
                entry.outcome,
                entry.reason,
            )
            for entry in opened.log(since_ns)
        ]
    print_table([("time", "exchange", "by", "for", "outcome", "reason"), *rows])


def _entry_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "time": time_json(_time(entry)),
        "exchange": entry.exchange,
        "by": entry.user,
        "for": entry.about,
        "outcome": entry.outcome,
        "reason": entry.reason or None,
    }


def _time(entry: LogEntry) -> Timestamp:
    return Timestamp.at(entry.at_ns, TsType.NTP_UTC_32)
