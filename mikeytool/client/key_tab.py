"""Key tabs: files that list the keys that open messages, one key per line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mikeytool.client.key_text import LONGEST_KEY, parse_key, parse_number
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.storage.input_files import read_octets
from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.masked_repr import masked_repr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Passphrase = Callable[["str | Path"], bytes]
"""Returns the passphrase of the private key in a file."""

_BY_CSB_ID = {"mpki": "mpki", "mpkr": "mpkr", "tgk": "tgks", "dh": "dhs"}
"""The kinds that name a CSB ID, and their lists in a key ring."""
_LONGEST_TAB = 1 << 24
"""Octets of a key tab."""
_KINDS = "psk, psk-id, tpk, mpki, mpkr, tgk, dh and rsa"


def read_key_tabs(paths: Sequence[str | Path], ring: KeyRing, passphrase: Passphrase) -> KeyRing:
    """Return a key ring with the keys in `ring` and those in key tabs.

    A line is `psk URI KEY`, `psk-id TEXT KEY`, `tpk ID KEY`, `mpki CSB_ID KEY`, `mpkr CSB_ID KEY`,
    `tgk CSB_ID KEY`, `dh CSB_ID SECRET` or `rsa PEM`, where KEY and SECRET are anything that
    `parse_key` accepts. SECRET is the exponent of either end of a Diffie-Hellman exchange, or their
    shared secret. Blank lines and lines that begin with `#` are skipped.

    Raises WireError for a line or a PEM file with invalid content, and StateError for a file that
    cannot be read at all.
    """
    by_csb_id = {kind: list(getattr(ring, name)) for kind, name in _BY_CSB_ID.items()}
    keys = _Keys(list(ring.psks), list(ring.tpks), by_csb_id, list(ring.rsa))
    for path in paths:
        for number, line in enumerate(_text(path).splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                keys.read_line(line, f"{path}, line {number}", passphrase)
            except UsageError as error:  # the mistake is in a file, not in an argument
                raise WireError(str(error)) from None
    lists = {name: keys.by_csb_id[kind] for kind, name in _BY_CSB_ID.items()}
    return KeyRing(psks=keys.psks, tpks=keys.tpks, rsa=keys.rsa, **lists)


@masked_repr
@dataclass(slots=True)
class _Keys:
    """The lists of a KeyRing while key tabs are being read."""

    psks: list[tuple[bytes | None, bytes]] = field(repr=False)
    tpks: list[tuple[bytes | None, bytes]] = field(repr=False)
    by_csb_id: dict[str, list[tuple[int | None, bytes]]] = field(repr=False)
    rsa: list[RSAPrivateKey] = field(repr=False)

    def read_line(self, line: str, where: str, passphrase: Passphrase) -> None:
        """Add the key of one line; raises WireError, UsageError and StateError."""
        kind, *rest = line.split()
        if kind == "rsa":
            path = line.strip().removeprefix("rsa").strip()
            if not path:
                raise WireError(f"{where}: rsa takes the file of a private key in PEM")
            self.rsa.append(read_private_key(path, where, passphrase))
            return
        if kind not in ("psk", "psk-id", "tpk", *_BY_CSB_ID):
            # The word is not quoted, because it may be a misplaced key.
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
            csb_id = parse_number(name, f"{where}: CSB ID", 32)
            self.by_csb_id[kind].append((csb_id, key))


def _text(path: str | Path) -> str:
    try:
        return read_octets(path, most=_LONGEST_TAB).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WireError(f"{path}: this is no key tab, which is text") from None


def read_private_key(path: str | Path, where: str, passphrase: Passphrase) -> RSAPrivateKey:
    """Read an RSA private key from a PEM file; `where` says in errors what named the file.

    Raises StateError when the file cannot be read, and whatever `crypto.pem.private_key` raises.
    """
    from mikeytool.crypto.pem import private_key

    pem = read_octets(path, where, LONGEST_KEY)
    return private_key(pem, f"{where}: {path}", lambda: passphrase(path))
