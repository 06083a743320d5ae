"""Scripts give the same in this process as in bash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.script import Unknown, parse
from tests.cli.shell import Shell
from tests.support import vectors

OFFER = vectors("exchanges")[0]["TRANSFER_INIT"]

SCRIPTS = [
    "echo one two; echo three",
    "echo 'one  two' \"three  four\" five\\ six",
    "echo a\\\n  b # c\n\n# d\necho e#f",
    'x=\'a  b\'; echo $x "$x" ${x}c \'$x\' "\\$x \\" \\a"',
    "x=' a b '; printf '[%s]' $x p$x$x'q' \"\" $empty; empty=; printf '[%s]' $empty \"$empty\"",
    'x=$(echo one; false; echo two); echo "$x"',
    'set -euo pipefail\nx=$(false; echo two); echo "$x"; x=$(false)\necho no',
    "set -euo pipefail\necho $(false) yes; false || echo or; env false && echo no; echo end",
    "set -euo pipefail; cat none | cat; echo no",
    "cat none | cat; echo yes",
    "env false && echo a || echo b; env true && echo c || echo d",
    "echo one > file; echo two >> file; cat < file; cat file 2>/dev/null >&2; wc -l < file",
    "echo one >file 2>&1; cat none 2>> file || cat file; echo err >&2",
    "echo x > none/file; echo y",
    "cat < none; echo after",
    "mkdir sub; cd sub; echo $PWD > here; cd ..; diff sub/here - < sub/here",
    "A=1 B=\"2 3\" env | grep '^[AB]=' | sort",
    'echo "$(echo "in $(echo within)")" \'"\' "\'" "$"',
    f"mikeytool decode {OFFER} --json | mikeytool encode -f hex",
    f"mikeytool encode -f raw < /dev/null > out; mikeytool decode {OFFER[:80]} 2>&1 >out; echo",
    f"echo {OFFER} | tr -d '\\n' | mikeytool decode -; mikeytool decode - < /dev/null; echo end",
    "mikeytool; mikeytool --version; mikeytool decode --help | wc -l; mikeytool no 2>&1",
    "mikeytool decode 0 && echo no || echo yes",
    "MIKEYTOOL_NOW=nonsense mikeytool lint 00; MIKEYTOOL_NOW=now mikeytool lint 00",
    "mikeytool keygen psk > /dev/full",
    "mikeytool keygen psk --bytes 16 -o key; wc -c < key; stat -c %a key; rm key",
    "echo $(mikeytool keygen psk | wc -c) $(mikeytool keygen psk --nonsense)",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_does_in_this_process_what_it_does_in_bash(tmp_path: Path, script: str) -> None:
    """What it gives, what it prints and what it leaves behind."""
    found = []
    parse(script)
    for name in ("here", "bash"):
        folder = tmp_path / name
        folder.mkdir()
        code, *printed = Shell(folder, in_process=name == "here").run(script)
        files = {
            str(path.relative_to(folder)): path.read_bytes().replace(bytes(folder), b"")
            for path in folder.rglob("*")
            if path.is_file()
        }
        plain = [
            re.sub(r"/bin/bash: line \d+: ", "bash: ", text.replace(str(folder), ""))
            for text in printed
        ]
        found.append((code, plain, files))
    here, bash = found
    assert here == bash


@pytest.mark.parametrize(
    "script",
    [
        "for x in a b; do echo $x; done", "if true; then echo; fi", "f() { echo; }",
        "(cd sub; ls)", "cat <<END\nx\nEND", "cat <<< x", "sleep 1 &", "echo x >&-", "echo $?",
        "echo ${x:-y}", "echo $((1 + 1))", "echo *", "echo [ab]", "echo a?", "echo ~",
        "echo {a,b}", "echo `ls`", "diff <(ls) x", "! ls", "exit 3", "ulimit -n 5", "export x=1",
        "nothing-of-this-name", "x=1 > y", "> y", "$command x", "'unclosed", '"unclosed',
        "$(unclosed", "unopened)", "a |", "a &&", "| a", "a ;; b", "mikeytool decode x | head -1",
        "cd x | ls", "x=1 | ls", "mikeytool kms serve x", "mikeytool srtp decrypt --jobs 2 x",
        "PYTHONUTF8=0 mikeytool decode x",
    ],
)  # fmt: skip
def test_what_needs_a_real_shell(script: str) -> None:
    with pytest.raises(Unknown):
        parse(script)
