"""The part of the shell's language that tests use most, so that commands run in this process.

A script is read as a whole before any of it runs: `parse` raises Unknown for what needs a real
shell (loops, jobs, here-documents, patterns, builtins that change the process ...). What is read
here means what it means to bash; tests/cli/test_script.py compares the two.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_HERE = ("mikeytool", "echo", "cd", "set")
"""Commands that are no programs of their own here."""
_OF_A_PROCESS = frozenset(("serve", "--jobs"))
"""Words of `mikeytool` that make it take signals, or fork."""
_VARIABLES_OF_A_PROCESS = ("PYTHON", "LC_", "LANG")
"""How names begin that Python reads when it starts."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"\|\||&&|\||;;?|\n|(\d?)(>>|>&|>|<)")
_PLAIN = re.compile(r"[^\s\\'\"$`|&;<>()*?\[{~#]+")


class Unknown(Exception):
    """A script has what only a real shell knows."""


class Text(NamedTuple):
    """A piece of a word as it stands."""

    text: str


class Variable(NamedTuple):
    """The value of a variable; split at white space unless it is quoted."""

    name: str
    quoted: bool


class Output(NamedTuple):
    """What a script in `$(...)` prints, without the last newlines."""

    script: Script
    quoted: bool


Part = Text | Variable | Output
Word = tuple[Part, ...]


class Redirection(NamedTuple):
    """A file for a descriptor; with `>&` another descriptor."""

    descriptor: int
    operator: str
    target: Word


@dataclass(frozen=True)
class Command:
    """Words and redirections, after assignments."""

    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirections: tuple[Redirection, ...]


class Step(NamedTuple):
    """A pipeline, and the operator before it: `;`, `&&` or `||`."""

    operator: str
    pipeline: tuple[Command, ...]


Script = Sequence[Step]


def parse(text: str) -> Script:
    """Read a script; raises Unknown."""
    reader = _Reader(text)
    script = reader.script()
    if reader.at < len(text):
        raise Unknown(text[reader.at])
    return script


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def _next(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def _blanks(self) -> None:
        while True:
            if self._next(2) == "\\\n":
                self.at += 2
            elif self._next() in (" ", "\t"):
                self.at += 1
            elif self._next() == "#":
                self.at = (self.text + "\n").index("\n", self.at)
            else:
                return

    def _operator(self, *expected: str) -> str:
        """Take an operator if one of those expected is next; else the empty string."""
        self._blanks()
        found = _OPERATOR.match(self.text, self.at)
        if found is None or found[0] not in expected:
            return ""
        self.at = found.end()
        return found[0]

    def script(self) -> list[Step]:
        steps: list[Step] = []
        operator = ";"
        while True:
            while self._operator("\n"):
                pass
            if self._next() in ("", ")"):
                if operator != ";":
                    raise Unknown("nothing after an operator")
                return steps
            steps.append(Step(operator, self._pipeline()))
            operator = self._operator(";", "\n", "&&", "||").replace("\n", ";")
            if not operator:
                return steps

    def _pipeline(self) -> tuple[Command, ...]:
        commands = [self._command()]
        while self._operator("|"):
            while self._operator("\n"):
                pass
            commands.append(self._command())
        if len(commands) > 1 and any(_name(one) in ("", "cd", "set") for one in commands):
            raise Unknown("a change in a part of a pipeline, which is a shell of its own")
        if any(_name(one) == "head" for one in commands[1:]):
            raise Unknown("a reader that goes away: the writer gets a signal")
        return tuple(commands)

    def _command(self) -> Command:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirections: list[Redirection] = []
        while True:
            self._blanks()
            found = _OPERATOR.match(self.text, self.at)
            if found is not None and found[2]:
                self.at = found.end()
                self._blanks()
                default = 0 if found[2].startswith("<") else 1
                target = self._word()
                if found[2] == ">&" and not _text(target).isdigit():
                    raise Unknown("a descriptor that is closed, or a file for two of them")
                redirections.append(Redirection(int(found[1] or default), found[2], target))
                continue
            if found is not None or self._next() in ("", ")"):
                break
            name = _NAME.match(self.text, self.at)
            if not words and name is not None and self.text[name.end() : name.end() + 1] == "=":
                self.at = name.end() + 1
                assignments.append((name[0], self._word(empty=True)))
                continue
            words.append(self._word())
        command = Command(tuple(assignments), tuple(words), tuple(redirections))
        _check(command)
        return command

    def _word(self, *, empty: bool = False) -> Word:
        parts: list[Part] = []
        start = self.at
        while True:
            plain = _PLAIN.match(self.text, self.at)
            if plain is not None:
                self.at = plain.end()
                parts.append(Text(plain[0]))
                continue
            match self._next():
                case "'":
                    end = self._index("'", self.at + 1)
                    parts.append(Text(self.text[self.at + 1 : end]))
                    self.at = end + 1
                case '"':
                    self.at += 1
                    parts += self._quoted()
                case "\\" if self._next(2) == "\\\n":
                    self.at += 2
                case "\\":
                    parts.append(Text(self._next(2)[1:]))
                    self.at += 2
                case "$":
                    parts.append(self._expansion(quoted=False))
                case "" | " " | "\t" | "\n" | "|" | "&" | ";" | "<" | ">" | ")":
                    break
                case "#" | "~" if self.at > start:
                    parts.append(Text(self._next()))
                    self.at += 1
                case other:
                    raise Unknown(other)
        if self.at == start and not empty:
            raise Unknown(self._next())
        return tuple(parts)

    def _quoted(self) -> list[Part]:
        """Read to the end of a double-quoted string."""
        parts: list[Part] = [Text("")]
        while (character := self._next()) != '"':
            if character in ("", "`"):
                raise Unknown(character)
            if character == "$" and (self._next(2)[1:] in '"' or self._next(2)[1:] in " /\\^"):
                parts.append(Text("$"))
                self.at += 1
            elif character == "$":
                parts.append(self._expansion(quoted=True))
            elif character == "\\" and self._next(2)[1:] in ("$", "`", '"', "\\", "\n"):
                parts.append(Text(self._next(2)[1:].strip("\n")))
                self.at += 2
            else:
                parts.append(Text(character))
                self.at += 1
        self.at += 1
        return parts

    def _expansion(self, *, quoted: bool) -> Part:
        self.at += 1
        if self._next() == "(" and self._next(2) != "((":
            self.at += 1
            script = self.script()
            self._blanks()
            if self._next() != ")":
                raise Unknown("$(")
            self.at += 1
            return Output(script, quoted)
        braced = self._next() == "{"
        self.at += braced
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise Unknown("$" + self._next())
        self.at = name.end()
        if braced and self._next() != "}":
            raise Unknown("${" + name[0] + self._next())
        self.at += braced
        return Variable(name[0], quoted)

    def _index(self, character: str, start: int) -> int:
        found = self.text.find(character, start)
        if found < 0:
            raise Unknown("a quote without its end")
        return found


def _check(command: Command) -> None:
    """Raise Unknown if a command is one for a real shell, or for a process."""
    name = _name(command)
    if not command.words and command.redirections:
        raise Unknown("a redirection without a command")
    if command.words and name not in _HERE and (name == "time" or shutil.which(name) is None):
        raise Unknown(f"{name!r} is no program: a word of the shell's language, or its builtin")
    if name == "mikeytool" and any(_text(word) in _OF_A_PROCESS for word in command.words):
        raise Unknown("a command that is about its process")
    if any(name.startswith(_VARIABLES_OF_A_PROCESS) for name, _ in command.assignments):
        raise Unknown("a variable of Python's own")


def _name(command: Command) -> str:
    return _text(command.words[0]) if command.words else ""


def _text(word: Word) -> str:
    """A word that stands there as it is, or the empty string."""
    texts = [part.text for part in word if isinstance(part, Text)]
    return "".join(texts) if len(texts) == len(word) else ""
