"""The keys that open messages: the options, and the key tab of `--keys FILE`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mikeytool.cli.options.keys import KEY, KEY_HELP, parse_key, read_passphrase
from mikeytool.cli.options.types import parse_number
from mikeytool.wire.errors import StateError, UsageError, WireError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from mikeytool.exchange.inspect_keys import KeyRing

C = TypeVar("C", bound=Callable[..., Any])

_KINDS = "psk, psk-id, tpk, mpki, mpkr and rsa"


def opening_options(command: C) -> C:
    """The options whose keys open messages."""
    command = click.option(
        "--private-key", "private_keys", type=click.Path(), multiple=True, metavar="PEM",
        help="RSA private key: the receiver's opens an envelope, the sender's signs (encode).",
    )(command)  # fmt: skip
    for option, text in (
        ("--tpk", "Ticket protection key"),
        ("--mpkr", "MPKr, or MPKr' of an answer"),
        ("--mpki", "MPKi"),
        ("--psk", "Pre-shared key of a user and the KMS, or of two users"),
    ):
        command = click.option(
            option, type=KEY, multiple=True, metavar="KEY", help=f"{text}: {KEY_HELP}."
        )(command)
    return click.option(
        "--keys", "key_files", type=click.Path(), multiple=True, metavar="FILE",
        help="Key tab, one a line: psk URI KEY, psk-id TEXT KEY, tpk ID KEY, mpki CSB_ID KEY,"
        " mpkr CSB_ID KEY, rsa PEM.",
    )(command)  # fmt: skip


def key_ring(
    psk: tuple[bytes, ...],
    mpki: tuple[bytes, ...],
    mpkr: tuple[bytes, ...],
    tpk: tuple[bytes, ...],
    private_keys: tuple[str, ...],
    key_files: tuple[str, ...],
) -> KeyRing | None:
    """Every key of the options and the key tabs; None without any.

    Raises WireError for a line or a PEM that cannot be read, StateError for a file.
    """
    if not (psk or mpki or mpkr or tpk or private_keys or key_files):
        return None
    # Loaded here because looking at messages without keys, the most frequent use, does
    # without all of the cryptography.
    from mikeytool.exchange.inspect_keys import KeyRing

    keys = _Keys(
        [(None, key) for key in psk],
        [(None, key) for key in tpk],
        [(None, key) for key in mpki],
        [(None, key) for key in mpkr],
        [_private_key(path, "--private-key") for path in private_keys],
    )
    for path in key_files:
        _read_key_tab(keys, path)
    return KeyRing(keys.psks, keys.tpks, keys.mpki, keys.mpkr, keys.rsa)


@dataclass(slots=True)
class _Keys:
    """What a KeyRing is made of, while it is read."""

    psks: list[tuple[bytes | None, bytes]] = field(repr=False)
    tpks: list[tuple[bytes | None, bytes]] = field(repr=False)
    mpki: list[tuple[int | None, bytes]] = field(repr=False)
    mpkr: list[tuple[int | None, bytes]] = field(repr=False)
    rsa: list[RSAPrivateKey] = field(repr=False)

    def read_line(self, line: str, where: str) -> None:
        """Take the key of one line; raises WireError, UsageError and StateError."""
        kind, *rest = line.split()
        if kind == "rsa":
            path = line.strip().removeprefix("rsa").strip()
            if not path:
                raise WireError(f"{where}: rsa takes the file of a private key in PEM")
            self.rsa.append(_private_key(path, where))
            return
        if kind not in ("psk", "psk-id", "tpk", "mpki", "mpkr"):
            # Not quoted: a key may stand where a kind should.
            raise WireError(f"{where}: it begins with none of the kinds {_KINDS}")
        if len(rest) != 2:
            raise WireError(f"{where}: a kind, a name and a key are expected")
        name, text = rest
        key = parse_key(text, where)
        if kind in ("psk", "psk-id"):
            self.psks.append((name.encode(), key))
        elif kind == "tpk":
            self.tpks.append((name.encode(), key))
        else:
            named = (parse_number(name, f"{where}: CSB ID", 32), key)
            (self.mpki if kind == "mpki" else self.mpkr).append(named)


def _read_key_tab(keys: _Keys, path: str) -> None:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            keys.read_line(line, f"{path}, line {number}")
        except UsageError as error:  # what is wrong stands in a file, not in an argument
            raise WireError(str(error)) from None


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WireError(f"{path}: this is no key tab, which is text") from None


def _private_key(path: str, where: str) -> RSAPrivateKey:
    from mikeytool.crypto.pem import private_key

    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        raise StateError(f"{where}: {path}: {error.strerror}") from None
    return private_key(pem, f"{where}: {path}", lambda: read_passphrase(f"Passphrase for {path}"))
