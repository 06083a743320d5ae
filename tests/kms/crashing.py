"""Processes that use one store, and what kills them: a program of its own, because it forks.

`python -m tests.kms.crashing together FOLDER WORKERS MESSAGES` lets workers handle messages of
their own, and then each those of the next one again. `… killed FOLDER KILLS SEED AT_ONCE` kills a
process that handles messages, so many in a transaction, again and again; each one after it begins
with what the one before had in its hands. Both print what came of it as JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from mikeytool.kms.service import finish, handle, handle_together
from mikeytool.kms.store.store import Store
from tests.world import START, Clock, World


def child(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork; the process and the end of a pipe that `work` writes to."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(ours)
        try:
            work(theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    return process, ours


def read_all(pipe: int) -> bytes:
    """What was written to a pipe until its other end was closed."""
    with os.fdopen(pipe, "rb") as opened:
        return opened.read()


def read_lines(pipe: int, count: int) -> bytes:
    """What was written to a pipe until it had so many lines, or nothing more came."""
    said = b""
    while said.count(b"\n") < count and select.select([pipe], [], [], 0.2 if said else 30)[0]:
        more = os.read(pipe, 4096)
        if not more:
            break
        said += more
    return said


def answers(store: Store, world: World, message: bytes) -> bool:
    """Whether a store answers a message."""
    return handle(store, world.env, message).refusal is None


def together(world: World, workers: int, messages: int) -> dict[str, int]:
    """Workers make and handle messages side by side, then those of one another."""
    each = messages // workers

    def first(pipe: int, number: int) -> None:
        with closing(Store(world.store.path)) as store:
            made = [world.asked(world.policy()) for _ in range(each)]
            good = sum(answers(store, world, one) for one in made)
        kept = json.dumps({"good": good, "made": [one.hex() for one in made[::10]]})
        (world.folder / f"made-{number}").write_text(kept)

    def again(pipe: int, number: int) -> None:
        made = json.loads((world.folder / f"made-{number}").read_text())["made"]
        with closing(Store(world.store.path)) as store:
            count = sum(answers(store, world, bytes.fromhex(one)) for one in made)
        os.write(pipe, f"{count}".encode())

    def all_do(work: Callable[[int, int], None], shift: int) -> list[bytes]:
        running = [
            child(lambda pipe, n=n: work(pipe, (n + shift) % workers))  # type: ignore[misc]
            for n in range(workers)
        ]
        said = [read_all(pipe) for _, pipe in running]
        for process, _ in running:
            os.waitpid(process, 0)
        return said

    all_do(first, 0)
    kept = [json.loads((world.folder / f"made-{n}").read_text()) for n in range(workers)]
    doubled = sum(map(int, all_do(again, 1)))
    return {"answered": sum(one["good"] for one in kept), "doubled": doubled}


def killed(world: World, kills: int, seed: int, at_once: int) -> dict[str, int]:
    """A process is killed while it handles messages; the next one gets its last ones again."""
    chance = random.Random(seed)
    fresh = [world.asked(world.policy()) for _ in range(kills * 4 * at_once)]
    answered: Counter[int] = Counter()
    at = 0

    def work(pipe: int, numbers: Sequence[int]) -> None:
        with closing(Store(world.store.path)) as store:
            os.write(pipe, b"ready\n")
            for first in range(0, len(numbers), at_once):
                some = numbers[first : first + at_once]
                handled = handle_together(store, world.env, [fresh[number] for number in some])
                for number, one in zip(some, handled, strict=True):
                    if finish(one, store).refusal is None:
                        os.write(pipe, f"{number}\n".encode())
        time.sleep(60)

    for _ in range(kills):
        numbers = range(max(0, at - 2 * at_once), min(at + 40 * at_once, len(fresh)))
        process, pipe = child(lambda end, n=numbers: work(end, n))  # type: ignore[misc]
        said = read_lines(pipe, 1 + chance.randrange(4))  # it has opened the store, and gone on
        time.sleep(chance.uniform(0, 0.01))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        for line in (said + read_all(pipe)).split():
            if line.isdigit():
                answered[int(line)] += 1
                at = max(at, int(line) + 1)
    with closing(Store(world.store.path)) as store:
        doubled = sum(answers(store, world, fresh[number]) for number in answered)
    return {
        "answered": len(answered),
        "doubled": doubled + sum(count > 1 for count in answered.values()),
    }


def main() -> None:
    what, folder, *numbers = sys.argv[1:]
    world = World(Path(folder), Clock(START))
    world.store.close()  # it must not be used on both sides of a fork
    series: dict[str, Callable[..., dict[str, int]]] = {"together": together, "killed": killed}
    found = series[what](world, *map(int, numbers))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
