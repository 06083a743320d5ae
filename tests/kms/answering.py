"""A process that answers messages from a store: `python -m tests.kms.answering STORE`.

Messages are lines of hex on standard input. For each it prints a line: the answer in hex, or
`refused` and why.
"""

from __future__ import annotations

import os
import sys

from mikeytool.exchange.environment import Environment
from mikeytool.kms.service import handle
from mikeytool.kms.store.store import Store
from tests.world import START, Clock


def main() -> None:
    env = Environment(Clock(START), os.urandom)
    with Store(sys.argv[1], clock=env.clock) as store:
        for line in sys.stdin:
            handled = handle(store, env, bytes.fromhex(line))
            answer = b"" if handled.answer is None else handled.answer
            said = answer.hex() if handled.refusal is None else f"refused: {handled.refusal}"
            print(said, flush=True)


if __name__ == "__main__":
    main()
