"""Many errors of one command are few lines."""

from __future__ import annotations

from tests.cli.shell import Shell

BROKEN = "0100010000000007000100000024"
"""A message that ends in its KEMAC, where 36 octets should follow."""


def test_the_same_error_is_one_line(shell: Shell) -> None:
    """In whatever command takes many messages; the exit code is that of one."""
    shell.path("in").write_text(f"{BROKEN}\n" * 100)
    for command in (
        "decode",
        "decode --json",
        "decode --hex",
        "decode --html",
        "lint",
        "lint --json",
    ):
        ran = shell.fails(
            f"mikeytool {command} --lines in", 3, "line 1: ", "(100 times, first here)"
        )
        assert ran.err.count("mikeytool: ") == 1
    shell.path("json").write_text('{"v": 3}\n' * 100)
    ran = shell.fails("mikeytool encode json", 2, "item 1: ", "(100 times, first here)")
    assert ran.err.count("mikeytool: ") == 1


def test_a_flood_ends_after_ten(shell: Shell) -> None:
    kinds = [BROKEN + "00" * count for count in range(30)]
    shell.path("in").write_text("".join(f"{one}\n{one}\n" for one in kinds))
    ran = shell.fails("mikeytool decode --lines in", 3, "40 more errors are not shown")
    lines = [line for line in ran.err.splitlines() if line.startswith("mikeytool: ")]
    assert len(lines) == 11
    assert all("(2 times, first here)" in line for line in lines[:-1])
