"""Secrets that are typed on the terminal."""

from __future__ import annotations

import os

from mikeytool.wire.errors import UsageError


def read_secret(prompt: str, advice: str) -> str:
    """Ask for a secret on the terminal, without showing it.

    Raises UsageError if the process has no terminal; the error then gives `advice`.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        raise UsageError(f"{prompt}: there is no terminal to ask on; {advice}") from None
    import getpass

    return getpass.getpass(f"{prompt}: ")
