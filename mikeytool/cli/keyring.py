"""The keys that open messages: the options, and the key tab of `--keys FILE`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mikeytool.cli.keys import KEY, KEY_HELP, parse_key
from mikeytool.cli.values import parse_number
from mikeytool.wire.errors import StateError, WireError

if TYPE_CHECKING:
    from mikeytool.exchange.opening import KeyRing

C = TypeVar("C", bound=Callable[..., Any])


def opening_options(command: C) -> C:
    """The options whose keys open messages."""
    for option, text in (
        ("--tpk", "Ticket protection key"),
        ("--mpkr", "MPKr, or MPKr' of an answer"),
        ("--mpki", "MPKi"),
        ("--psk", "Pre-shared key of a user and the KMS"),
    ):
        command = click.option(
            option, type=KEY, multiple=True, metavar="KEY", help=f"{text}: {KEY_HELP}."
        )(command)
    return click.option(
        "--keys", "key_files", type=click.Path(), multiple=True, metavar="FILE",
        help="Key tab, one a line: psk URI KEY, psk-id TEXT KEY, tpk ID KEY, mpki CSB_ID KEY,"
        " mpkr CSB_ID KEY.",
    )(command)  # fmt: skip


def key_ring(
    psk: tuple[bytes, ...],
    mpki: tuple[bytes, ...],
    mpkr: tuple[bytes, ...],
    tpk: tuple[bytes, ...],
    key_files: tuple[str, ...],
) -> KeyRing | None:
    """Every key of the options and the key tabs; None without any."""
    if not (psk or mpki or mpkr or tpk or key_files):
        return None
    # Loaded here because looking at messages without keys, the most frequent use, does
    # without all of the cryptography.
    from mikeytool.exchange.opening import KeyRing

    ring = KeyRing(
        [(None, key) for key in psk],
        [(None, key) for key in tpk],
        [(None, key) for key in mpki],
        [(None, key) for key in mpkr],
    )
    for path in key_files:
        _read_key_tab(ring, path)
    return ring


def _read_key_tab(ring: KeyRing, path: str) -> None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WireError(f"{path}: this is no key tab, which is text") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path}, line {number}"
        if len(words) != 3:
            raise WireError(f"{where}: a kind, a name and a key are expected")
        kind, name, text = words
        key = parse_key(text, where)
        if kind in ("psk", "psk-id"):
            ring.psks.append((name.encode(), key))
        elif kind == "tpk":
            ring.tpks.append((name.encode(), key))
        elif kind in ("mpki", "mpkr"):
            getattr(ring, kind).append((parse_number(name, f"{where}: CSB ID", 32), key))
        else:
            raise WireError(f"{where}: {kind} is none of psk, psk-id, tpk, mpki, mpkr")
