"""Real processes on one store: nothing is answered twice, nothing is lost, kills included."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.cli.shell import ALICE, Shell, with_kms

REQUEST = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms-id sip:kms.example.com"


def test_of_many_copies_of_a_request_one_is_answered(shell: Shell) -> None:
    with_kms(shell).ok(f"{REQUEST} --pending p -o request")
    with ThreadPoolExecutor(6) as pool:
        ran = list(pool.map(lambda _: shell.run("mikeytool kms handle kms.db request"), range(6)))
    assert sorted(one.code for one in ran) == [0, 1, 1, 1, 1, 1]
    assert all("replay" in one.err for one in ran if one.code)


def test_a_killed_kms_answers_nothing_twice(shell: Shell) -> None:
    """Whatever moment it is killed in: an answer that got out is never followed by another."""
    chance = random.Random(6043)
    with_kms(shell)
    for number in range(12):
        shell.ok(f"{REQUEST} --pending p{number} -o request")
        command = [sys.executable, "-m", "mikeytool", "kms", "handle", "kms.db", "request"]
        process = subprocess.Popen(
            command, cwd=shell.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.1, 0.4))
        process.send_signal(signal.SIGKILL)
        answered = bool(process.communicate()[0])
        again = shell.run("mikeytool kms handle kms.db request")
        assert again.code in (0, 1)
        assert not (answered and again.code == 0), "the request was answered twice"
    shell.ok("mikeytool kms show kms.db")
