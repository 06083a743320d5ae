"""`python -m mikeytool` is the command `mikeytool`."""

from __future__ import annotations

import signal
from typing import NoReturn

_ENDING = (signal.SIGTERM, signal.SIGHUP)


def main() -> NoReturn:
    """Run the command.

    Ctrl-C ends it quietly, even before it can say how to end. A command that is told to end by
    SIGTERM or SIGHUP removes what it has begun to write, as after Ctrl-C.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mikeytool.cli.main import main as command

    signal.signal(signal.SIGINT, usual)
    for each in _ENDING:
        if signal.getsignal(each) is signal.SIG_DFL:  # it is not with nohup
            signal.signal(each, _end)
    command()


def _end(number: int, _frame: object) -> NoReturn:
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
