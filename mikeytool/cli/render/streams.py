"""Streams in a capture, and what came of them, for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mikeytool.cli.options.common import say

if TYPE_CHECKING:
    from mikeytool.media.report import Report
    from mikeytool.media.stream_list import StreamList, StreamSummary


def show_report(report: Report) -> None:
    """Print the report of a run on standard error."""
    rows = sorted(report.streams, key=lambda row: (row.ssrc, row.destination))
    several = len({row.key for row in rows if row.key}) > 1
    head = ["packets", report.verb, "failed", "replayed", "skipped", "lost", "out of order",
            "ROC", "clashes"]  # fmt: skip
    table = [["SSRC", "destination", *head, *["key"] * several]]
    for row in rows:
        counts = [row.packets, row.done, row.failed, row.replayed, row.skipped, row.lost,
                  row.late, "-" if row.roc is None else row.roc, row.clashes]  # fmt: skip
        key = [row.key or "-"] * several
        table.append([row.name, row.destination or "-", *map(str, counts), *key])
    for line in _lines(table, several) if rows else []:
        say(line)
    if report.others:
        say(f"skipped, neither RTP nor RTCP: {_counted(report.others)}")


def _lines(table: list[list[str]], has_key: bool) -> Iterator[str]:
    """Lay out a table; in a narrow terminal each row is two lines."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    is_limited = sys.stderr.isatty() or os.environ.get("COLUMNS")
    import shutil  # here, as -q prints no table

    room = shutil.get_terminal_size().columns if is_limited else sum(widths) * 3
    last = len(widths) - has_key
    for cells in table:
        counts = list(map(str.rjust, cells[2:last], widths[2:last]))
        if sum(widths) + 2 * (len(widths) - 1) > room:
            yield "  ".join([*cells[:2], *cells[last:]])
            yield "  " + " ".join(counts)
        else:
            yield "  ".join([*map(str.ljust, cells[:2], widths), *counts, *cells[last:]])


def show_streams(found: StreamList) -> None:
    """Print the streams of a capture, and on standard error what else is in it."""
    if found.streams:
        # Imported here: JSON and an empty list need no tables.
        from mikeytool.cli.render.guarded_streams import is_plain
        from mikeytool.cli.render.table import print_table

        ends = ["source", "destination"] if is_plain() else ["from, to"]
        heading = ["SSRC", *ends, "packets", "type", "seconds", "seq", "lost", "RTCP"]
        heading += ["seat"] if found.streams[0].seat is not None else []
        print_table([heading, *(_cells(one, len(ends)) for one in found.streams)])
    else:
        say("no RTP or RTCP is in the capture")
    if found.others:
        say(f"neither RTP nor RTCP: {_counted(found.others)}")


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _cells(stream: StreamSummary, columns: int) -> list[str]:
    """Give the cells of a stream, with its two ends in so many columns."""
    types = ",".join(map(str, sorted(stream.types))) or "-"
    span = "-" if stream.first_seq is None else f"{stream.first_seq}-{stream.last_seq}"
    seconds = "-" if stream.seconds is None else f"{stream.seconds:.2f}"
    ends = [stream.source or "-", stream.destination or "-"]
    if columns == 1:  # for a terminal, where the channel of a connection has a line of its own
        ends = ["\n".join(ends).replace(" channel", "\nchannel")]
    return [f"{stream.ssrc:#010x}", *ends, str(stream.packets), types, seconds, span,
            str(stream.lost), str(stream.rtcp),
            *([] if stream.seat is None else [stream.seat])]  # fmt: skip
