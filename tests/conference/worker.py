"""A process that lets callers in one after the other, to be killed at any moment.

Arguments: the state file, a folder with TRANSFER_INITs that are named by number, and the number
to begin with. Each line
that it prints tells of a message, after its answer was made: its number and `in` or `seen`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mikeytool.client.kms import reach
from mikeytool.conference import entering, membership
from mikeytool.conference.state import ConferenceState
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.environment import Environment
from mikeytool.wire.errors import Refused


def main() -> None:
    state = ConferenceState(Path(sys.argv[1]))
    env = Environment(clock=time.time_ns, random=os.urandom)
    desk = ConferenceSystem(state, env, reach(state.system().kms))
    folder, first = Path(sys.argv[2]), int(sys.argv[3])
    for path in (folder / str(at) for at in range(first, len(list(folder.iterdir())))):
        try:
            entering.call_in(desk, path.read_bytes())
            print(path.name, "in", flush=True)
        except Refused as refusal:
            print(path.name, "seen" if "seen before" in str(refusal) else refusal, flush=True)
        if int(path.name) % 12 == 11:
            membership.change_keys(desk, None)


if __name__ == "__main__":
    main()
