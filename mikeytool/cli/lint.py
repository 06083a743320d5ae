"""`lint`: messages checked against the rules of the RFCs."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from mikeytool.cli.command_groups import Command
from mikeytool.cli.exit_codes import EXIT_REFUSED, complain, exit_code, worst
from mikeytool.cli.message_items import Item, begun, items_of
from mikeytool.cli.options.clock import clock
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.opening import read_init
from mikeytool.client.time_text import parse_time
from mikeytool.lint import RULES, Finding, Level, Profile, Report
from mikeytool.lint import lint as lint_message
from mikeytool.wire.errors import MikeyError, UsageError

_FAILING = {"error": {Level.ERROR}, "warning": {Level.ERROR, Level.WARNING}}


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@json_option
@click.option("--lines", is_flag=True, help="Every line is a message of its own.")
@click.option(
    "--init", metavar="MESSAGE",
    help="The message that it answers; for a CSB update, one of the first exchange.",
)  # fmt: skip
@click.option("--at", metavar="T", help="The time of the message: ISO 8601, Unix seconds, now-D.")
@click.option("--ignore", "ignored", metavar="CODE", multiple=True, help="Leave out this code.")
@click.option(
    "--fail-on", type=click.Choice(list(_FAILING)), default="error", show_default=True,
    help="Exit with code 1 if there is a finding of this level or above.",
)  # fmt: skip
@click.option(
    "--profile", type=click.Choice([each.value for each in Profile]),
    help="What a system demands beyond the RFCs: ONVIF cameras, mission-critical systems of 3GPP,"
    " IMS.",
)  # fmt: skip
@click.option("--list", "as_list", is_flag=True, help="List the codes and their meanings.")
@quiet_option
def lint(
    inputs: tuple[str, ...],
    as_json: bool,
    lines: bool,
    init: str | None,
    at: str | None,
    ignored: tuple[str, ...],
    fail_on: str,
    profile: str | None,
    as_list: bool,
) -> int:
    """Check MIKEY messages against the RFCs, and print one finding a line.

    INPUT is a message, a file of messages, a capture or - for standard input, as for decode.
    The time of a message is that of its frame in a capture, else --at. An error breaks a MUST
    of the RFCs, a warning is weak or breaks a SHOULD, a note is worth knowing. With --init a
    message is checked against the one that it answers too. MACs are not verified; decode does
    that.
    """
    if as_list:
        _list(as_json=as_json)
        return 0
    _check_codes(ignored)
    items = items_of(inputs, init, lines=lines)
    now = clock()()
    given = None if at is None else parse_time(at, now)
    before = read_init(init)
    _, many, items = begun(items)
    codes: set[int] = set()
    for item in items:
        where = f"{item.where}: " if many and item.where else ""
        if isinstance(item.content, MikeyError):
            if as_json:
                print(json.dumps({"error": str(item.content)}))
            complain(f"{where}{item.content}")
            codes.add(exit_code(item.content))
            continue
        came = next(time for time in (given, _came(item), now) if time is not None)
        chosen = None if profile is None else Profile(profile)
        report = lint_message(
            item.content, now_ns=came, init=before, profile=chosen, carried=item.carried
        )
        findings = [finding for finding in report.findings if finding.code not in ignored]
        _show(findings, where, as_json=as_json)
        codes.add(_outcome(report, findings, where, fail_on))
    return worst(codes)


def _came(item: Item) -> int | None:
    """Give the time of a message in a capture, in Unix nanoseconds; None outside of one."""
    return None if item.captured is None else item.captured.signal.moment.time


def _show(findings: list[Finding], where: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"findings": [finding._asdict() for finding in findings]}))
        return
    if not findings:
        say(f"{where}no findings")
    for level, code, payload, offset, text, section in findings:
        print(f"{where}{level}: {code}: {payload} at {offset}: {text} ({section})")


def _outcome(report: Report, findings: list[Finding], where: str, fail_on: str) -> int:
    """Give the exit code of one message."""
    if report.error is not None:
        sys.stdout.flush()
        complain(f"{where}{report.error}")
        return exit_code(report.error)
    return EXIT_REFUSED if any(each.level in _FAILING[fail_on] for each in findings) else 0


def _check_codes(codes: tuple[str, ...]) -> None:
    from difflib import get_close_matches

    for code in codes:
        if code not in RULES:
            near = get_close_matches(code, RULES, n=1)
            hint = f"did you mean {near[0]}?" if near else "see lint --list"
            raise UsageError(f"--ignore {code}: there is no such code; {hint}")


def _list(*, as_json: bool) -> None:
    """Print every rule: a table for people, or JSON."""
    rows: list[dict[str, Any]] = [
        {
            "code": each.code,
            "level": each.level,
            "text": each.about,
            "section": each.section,
            "profile": each.profile,
        }
        for _, each in sorted(RULES.items())
    ]
    if as_json:
        print(json.dumps({"rules": rows}))
        return
    from mikeytool.cli.render.table import print_table

    print_table([list(rows[0]), *([cell or "" for cell in row.values()] for row in rows)])
