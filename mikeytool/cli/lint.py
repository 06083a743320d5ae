"""`lint`: messages checked against the rules of the RFCs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from mikeytool import __version__
from mikeytool.cli.command_groups import Command
from mikeytool.cli.exit_codes import EXIT_REFUSED, complain, exit_code, worst
from mikeytool.cli.message_io import exists
from mikeytool.cli.message_items import Item, for_each, items_of
from mikeytool.cli.options.clock import clock
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.opening import read_init
from mikeytool.client.time_text import parse_time
from mikeytool.lint import Finding, Level, Profile, Report, Sarif, codes_of, rule_rows, rule_table
from mikeytool.lint import lint as lint_message
from mikeytool.wire.errors import MikeyError, UsageError
from mikeytool.wire.message import Message

_FAILING = {each.value: set(list(Level)[:at]) for at, each in enumerate(Level, 1)}
_ONCE = "time-past"
"""The code of what is said once in a run: that old messages are old says nothing of each."""


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@json_option
@click.option("--sarif", is_flag=True, help="Print one SARIF 2.1.0 document, for CI systems.")
@click.option("--lines", is_flag=True, help="Every line is a message of its own.")
@click.option(
    "--init", metavar="MESSAGE",
    help="The message that it answers; for a CSB update, one of the first exchange.",
)  # fmt: skip
@click.option("--at", metavar="T", help="The time of the message: ISO 8601, Unix seconds, now-D.")
@click.option(
    "--ignore", "ignored", metavar="CODE[,CODE...]", multiple=True, help="Leave out these codes."
)
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
    sarif: bool,
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
    if as_json and sarif:
        raise UsageError("--json and --sarif: give one of them")
    left_out = codes_of(ignored)
    items = items_of(inputs, init, lines=lines)
    now = clock()()
    given = None if at is None else parse_time(at, now, "--at")
    document = Sarif(__version__) if sarif else None
    chosen = None if profile is None else Profile(profile)
    run = _Run(left_out, fail_on, given, now, read_init(init), chosen, document, as_json)
    for_each(items, run.take)
    if document is not None:
        print(json.dumps(document.json(), indent=2))
    if run.old > 1:
        say(f"note: {run.old} messages have a timestamp in the past; only the first is named")
    return worst(run.codes)


@dataclass
class _Run:
    """The messages of a run, one after the other, and the exit codes of each."""

    left_out: set[str]
    fail_on: str
    given: int | None
    now: int
    before: Message | None
    profile: Profile | None
    document: Sarif | None
    as_json: bool
    codes: set[int] = field(default_factory=set)
    old: int = 0

    def take(self, _at: int, item: Item, many: bool | None) -> None:
        """Check a message and print what was found, or add it to the document."""
        # A document has to be there for an only message that is unreadable, too.
        has_place = (self.document or item.has_place(many)) and item.where
        where, place = f"{item.where}: " if has_place else "", _place(item)
        if isinstance(item.content, MikeyError):
            self._unreadable(item.content, where, place)
            return
        came = next(time for time in (self.given, _came(item), self.now) if time is not None)
        report = lint_message(
            item.content, now_ns=came, init=self.before, profile=self.profile, carried=item.carried
        )
        findings = [finding for finding in report.findings if finding.code not in self.left_out]
        if any(finding.code == _ONCE for finding in findings):
            self.old += 1
            findings = [one for one in findings if one.code != _ONCE or self.old == 1]
        if self.document is None:
            _show(findings, where, place, as_json=self.as_json)
        else:
            self.document.add(findings, place, report.error)
        self.codes.add(_outcome(report, findings, where, self.fail_on))

    def _unreadable(self, error: MikeyError, where: str, place: dict[str, Any]) -> None:
        if self.as_json:
            print(json.dumps({"error": str(error), **place}))
        if self.document is not None:
            self.document.add_error(str(error), place)
        complain(str(error), where.removesuffix(": "))
        self.codes.add(exit_code(error))


def _place(item: Item) -> dict[str, Any]:
    """Give the place of a message, in the words of --json."""
    name = "standard input" if item.source == "-" else item.source
    if name == item.source and not exists(Path(name)):
        name = "argument"
    if item.captured is not None:
        return {"input": name, "frame": item.captured.signal.moment.frame}
    return {"input": name, "line": item.line}


def _came(item: Item) -> int | None:
    """Give the time of a message in a capture, in Unix nanoseconds; None outside of one."""
    return None if item.captured is None else item.captured.signal.moment.time


def _show(findings: list[Finding], where: str, place: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**place, "findings": [finding._asdict() for finding in findings]}))
        return
    if not findings:
        say(f"{where}no findings")
    for level, code, payload, offset, text, section in findings:
        print(f"{where}{level}: {code}: {payload} at {offset}: {text} ({section})")


def _outcome(report: Report, findings: list[Finding], where: str, fail_on: str) -> int:
    """Give the exit code of one message."""
    if report.error is not None:
        sys.stdout.flush()
        complain(str(report.error), where.removesuffix(": "))
        return exit_code(report.error)
    return EXIT_REFUSED if any(each.level in _FAILING[fail_on] for each in findings) else 0


def _list(*, as_json: bool) -> None:
    """Print every rule: a table for people, or JSON."""
    if as_json:
        print(json.dumps({"rules": rule_rows()}))
        return
    from mikeytool.cli.render.guarded_streams import is_plain
    from mikeytool.cli.render.table import print_table

    print_table(rule_table(in_columns=is_plain()))
