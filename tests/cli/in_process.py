"""Runs scripts in this process: `mikeytool` is called as a function, with files as its streams.

Streams are real files and pipes with descriptors, as a process has them. The parts of a pipeline
run one after the other, each with all that the one before has written.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple, cast
from unittest.mock import patch

import pytest

from mikeytool.cli.exit_codes import EXIT_INTERRUPT
from mikeytool.cli.main import main
from tests.cli.script import Command, Output, Redirection, Script, Text, Variable, Word

Files = tuple[int, int, int]
"""The descriptors that a command has as its input, output and error output."""

_MODES = {
    "<": os.O_RDONLY,
    ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


class Ran(NamedTuple):
    """What a script did."""

    code: int
    out: str
    err: str


def run(script: Script, folder: Path, environment: Mapping[str, str]) -> Ran:
    """Run a script in a folder, with nothing to read."""
    with TemporaryFile() as out, TemporaryFile() as err, Path(os.devnull).open() as nothing:
        files = (nothing.fileno(), out.fileno(), err.fileno())
        code = _Shell(folder, dict(environment)).script(script, files)
        return Ran(code, _read(out).decode(), _read(err).decode())


@dataclass
class _Shell:
    folder: Path
    environment: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    options: frozenset[str] = frozenset()
    status: int = 0
    """Of the last command, or of the last `$(...)` since."""

    def script(self, script: Script, files: Files) -> int:
        for at, step in enumerate(script):
            if (step.operator == "&&" and self.status) or (
                step.operator == "||" and not self.status
            ):
                continue
            self._pipeline(step.pipeline, files)
            is_tested = at + 1 < len(script) and script[at + 1].operator != ";"
            if self.status and "errexit" in self.options and not is_tested:
                break
        return self.status

    def _pipeline(self, commands: Sequence[Command], files: Files) -> None:
        codes = []
        with ExitStack() as stack:
            given, out, err = files
            for command in commands[:-1]:
                between = stack.enter_context(TemporaryFile())
                codes.append(self._command(command, (given, between.fileno(), err)))
                given = stack.enter_context(_pipe(_read(between)))
            codes.append(self._command(commands[-1], (given, out, err)))
        failed = [code for code in codes if code]
        self.status = failed[-1] if failed and "pipefail" in self.options else codes[-1]

    def _command(self, command: Command, files: Files) -> int:
        self.status = 0
        values = {name: self._string(word, files) for name, word in command.assignments}
        if not command.words:
            for name, value in values.items():
                where = self.environment if name in self.environment else self.variables
                where[name] = value
            return self.status
        name, *arguments = [one for word in command.words for one in self._fields(word, files)]
        with ExitStack() as stack:
            try:
                for one in command.redirections:
                    files = self._redirected(one, files, stack)
            except OSError as error:
                os.write(files[2], f"bash: {error.filename}: {error.strerror}\n".encode())
                return 1
            return self._run(name, arguments, {**self.environment, **values}, files)

    def _redirected(self, one: Redirection, files: Files, stack: ExitStack) -> Files:
        target = self._string(one.target, files)
        if one.operator in _MODES:
            try:
                opened = os.open(self.folder / target, _MODES[one.operator], 0o666)
            except OSError as error:
                raise OSError(error.errno, error.strerror, target) from None
            stack.callback(os.close, opened)
        else:
            opened = files[int(target)]
        changed = list(files)
        changed[one.descriptor] = opened
        return cast("Files", tuple(changed))

    def _run(
        self, name: str, arguments: list[str], environment: dict[str, str], files: Files
    ) -> int:
        match name:
            case "mikeytool":
                return _mikeytool(arguments, self.folder, environment, files)
            case "echo":
                os.write(files[1], os.fsencode(" ".join(arguments) + "\n"))
            case "cd":
                self.folder /= arguments[0]
                self.environment["PWD"] = str(self.folder)
            case "set":
                assert arguments in (["-euo", "pipefail"], ["-eu"]), arguments
                self.options |= {"errexit", "nounset", *arguments[1:]}
            case _:
                return _program([name, *arguments], self.folder, environment, files)
        return 0

    def _fields(self, word: Word, files: Files) -> list[str]:
        """The strings that a word becomes: none, one or several, as values are split."""
        fields: list[tuple[str, bool]] = []  # with whether it stays if it is empty
        for part in word:
            value = part.text if isinstance(part, Text) else self._value(part, files)
            if isinstance(part, Text) or part.quoted:
                pieces = [(value, True)]
            else:
                assert not set("*?[") & set(value), f"{value!r} is a pattern for bash"
                pieces = [(piece, False) for piece in re.split(r"[ \t\n]+", value)]
            if fields:
                (before, kept), (text, keeps) = fields.pop(), pieces.pop(0)
                pieces.insert(0, (before + text, kept or keeps))
            fields += pieces
        return [text for text, stays in fields if text or stays]

    def _string(self, word: Word, files: Files) -> str:
        """The one string that a word is where values are not split."""
        return "".join(
            part.text if isinstance(part, Text) else self._value(part, files) for part in word
        )

    def _value(self, part: Variable | Output, files: Files) -> str:
        if isinstance(part, Variable):
            value = self.variables.get(part.name, self.environment.get(part.name))
            assert value is not None or "nounset" not in self.options, f"{part.name} is not set"
            return value or ""
        with TemporaryFile() as out:
            # As in bash, what is within does not end at the first failure.
            within = replace(self, options=self.options - {"errexit"}, status=0)
            self.status = within.script(part.script, (files[0], out.fileno(), files[2]))
            return os.fsdecode(_read(out)).rstrip("\n")


def _mikeytool(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], files: Files
) -> int:
    """Call the command's own `main`, with the streams, the folder and the environment given."""
    given, out, err = (os.dup(one) for one in files)
    with (
        open(given, encoding="utf-8") as stdin,  # noqa: PTH123
        open(out, "w", encoding="utf-8") as stdout,  # noqa: PTH123
        open(err, "w", encoding="utf-8", errors="backslashreplace", buffering=1) as stderr,  # noqa: PTH123
        patch.multiple(
            sys, stdin=stdin, stdout=stdout, stderr=stderr, argv=["mikeytool", *arguments]
        ),
        patch.dict(os.environ, environment, clear=True),
        chdir(folder),
    ):
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        if code == EXIT_INTERRUPT:
            raise KeyboardInterrupt
        return code


def _program(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], files: Files
) -> int:
    given, out, err = files
    code = subprocess.run(
        command, cwd=folder, env=environment, stdin=given, stdout=out, stderr=err, timeout=300
    ).returncode
    return code if code >= 0 else 128 - code


def _read(file: IO[bytes]) -> bytes:
    """All that was written to a file, whoever wrote it."""
    file.seek(0)
    return file.read()


@contextmanager
def _pipe(data: bytes) -> Iterator[int]:
    """The end of a pipe to read data from."""
    reading, writing = os.pipe()

    def write() -> None:
        left = memoryview(data)
        with suppress(BrokenPipeError):
            while left:
                left = left[os.write(writing, left) :]
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join()
