"""Secrets typed at the terminal."""

from __future__ import annotations

import os

from mikeytool.wire.errors import UsageError


def read_secret(prompt: str, advice: str) -> str:
    """Ask for a secret at the terminal without showing it.

    If the process has no terminal, raises UsageError with `advice` in the message.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        raise UsageError(f"{prompt}: there is no terminal to ask on; {advice}") from None
    import getpass

    return getpass.getpass(f"{prompt}: ")
