"""Secrets at rest. They are sealed in the store with AES-256-GCM, under a key kept elsewhere.

A store has its own data key, which seals every secret and binds it to its table, row and
column, so that swapped values do not open. The data key is in the store too, sealed under the
sealing key. The sealing key is STORE.key next to the store, another file, an environment
variable, or derived from a passphrase with scrypt (RFC 7914). If the data key opens, the sealing
key is right.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mikeytool.storage.private_files import new_file
from mikeytool.storage.sql import Db, Where
from mikeytool.storage.terminal import read_secret
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.masked_repr import masked_repr
from mikeytool.wire.printable import number_of

BESIDE = "beside"
"""How a store is sealed by default: with STORE.key, beside it."""

MEMORY = "memory"
"""How a store in memory is sealed. No copy of it can be opened."""

PASSPHRASE = "passphrase"  # noqa: S105 - a name

PLACE_VARIABLE = "MIKEYTOOL_SEAL"
PASSPHRASE_VARIABLE = "MIKEYTOOL_SEAL_PASSPHRASE"  # noqa: S105 - a name

MIN_SECRET = 16
"""In octets: the shortest key that may seal a store."""

_MAX_SECRET = 4096
"""In octets. A longer file is not a key."""

_KEY_LENGTH = 32
_NONCE_LENGTH = 12
_SALT_LENGTH = 16
_COST = (1 << 16, 8, 2)
_MAX_MEMORY = 1 << 30
_DATA_KEY = b"mikeytool data key"


SealContext = tuple[str | bytes, ...]
"""The context of a secret: its table, row and column. See `seal_context`."""


class Sealer:
    """Seals and opens secrets with a data key of 32 octets."""

    def __init__(self, data_key: bytes) -> None:
        self.data_key = data_key
        self._aead = AESGCM(data_key)

    def seal(self, secret: bytes, *context: str | bytes) -> bytes:
        """Seal a secret for the store, bound to `context`. Return nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE_LENGTH)
        return nonce + self._aead.encrypt(nonce, secret, _encoded(context))

    def open(self, sealed: bytes, *context: str | bytes) -> bytes:
        """Return the secret. Raises ValueError if it was sealed with another key or context."""
        nonce, ciphertext = sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:]
        try:
            return self._aead.decrypt(nonce, ciphertext, _encoded(context))
        except InvalidTag:
            raise ValueError("it does not open") from None


def _encoded(context: SealContext) -> bytes:
    """Encode a context as octets. Different contexts give different octets."""
    octets = [part.encode() if isinstance(part, str) else part for part in context]
    return b"".join(len(part).to_bytes(4) + part for part in octets)


@masked_repr
@dataclass(frozen=True, slots=True)
class Seal:
    """How a store is sealed, as the store itself records it.

    `how` is `beside`, `file:PATH`, `env:NAME` or `passphrase`. `cost` is scrypt's N, r and p
    for a passphrase. `data_key` is sealed under the sealing key.
    """

    how: str
    salt: bytes
    cost: tuple[int, int, int] | None
    data_key: bytes = field(repr=False)

    @classmethod
    def make(
        cls,
        how: str,
        store: Where,
        *,
        adopt: bool = False,
        key: Path | None = None,
        sealer: Sealer | None = None,
    ) -> tuple[Seal, Sealer]:
        """Seal the data key of `sealer`, or a new one, in the way that `how` says.

        For `beside`, STORE.key is created, or the file `key` if that is given. With `adopt`, an
        existing key file is used. Raises StateError if the sealing key cannot be read or created.
        Raises UsageError for any other `how`, and for `beside` a database on a server.
        """
        cost = _COST if how == PASSPHRASE else None
        if how.startswith("file:"):
            how = f"file:{Path(how[5:]).resolve()}"
        if isinstance(store, Path):
            key = key or key_path(store)
        elif how == BESIDE:
            raise UsageError(f"{store}: {_APART}")
        if how == BESIDE and key is not None and not (adopt and key.exists()):
            with new_file(key, advice="move it away") as made:
                made.write_bytes(os.urandom(_KEY_LENGTH).hex().encode() + b"\n")
        seal = cls(how, os.urandom(_SALT_LENGTH), cost, b"")
        if how == PASSPHRASE:
            secret = _passphrase(f"New passphrase for {store}", twice=True)
        else:
            secret = _secret(how, store, key)
        sealer = sealer or Sealer(os.urandom(_KEY_LENGTH))
        sealed = Sealer(seal._derived(secret)).seal(sealer.data_key, _DATA_KEY)
        return replace(seal, data_key=sealed), sealer

    @classmethod
    def in_memory(cls) -> tuple[Seal, Sealer]:
        """Make a data key for a store in memory, sealed under a key that is not kept."""
        seal = cls(MEMORY, os.urandom(_SALT_LENGTH), None, b"")
        sealer = Sealer(os.urandom(_KEY_LENGTH))
        sealed = Sealer(seal._derived(os.urandom(_KEY_LENGTH))).seal(sealer.data_key, _DATA_KEY)
        return replace(seal, data_key=sealed), sealer

    def open(self, store: Where, *, named: bool = True) -> Sealer:
        """Return the sealer for a store's secrets. Raises StateError without the right key.

        MIKEYTOOL_SEAL says where the key is. It applies only if the operator `named` the store,
        and not to the stores of other KMSs.
        """
        how = self.how
        if named and self.cost is None:
            how = os.environ.get(PLACE_VARIABLE, how)
        if how == PASSPHRASE:
            secret = _passphrase(f"Passphrase for {store}", twice=False)
        else:
            secret = _secret(how, store, key_path(store) if isinstance(store, Path) else None)
        try:
            return Sealer(Sealer(self._derived(secret)).open(self.data_key, _DATA_KEY))
        except ValueError:
            raise StateError(
                f"{store}: this is not what the store is sealed with: {_name(how, store)}; bring"
                f" back the right one{_ELSEWHERE if how != PASSPHRASE else ''}"
            ) from None

    def _derived(self, secret: bytes) -> bytes:
        if self.cost is None:
            return HKDF(SHA256(), _KEY_LENGTH, self.salt, b"mikeytool sealing key").derive(secret)
        n, r, p = self.cost
        if 128 * n * r > _MAX_MEMORY or p > 16:
            raise StateError("the scrypt parameters in the store are out of bounds")
        return Scrypt(self.salt, _KEY_LENGTH, n, r, p).derive(secret)


def write_seal(db: Db, seal: Seal) -> None:
    """Record how a store is sealed, within a transaction."""
    cost = seal.cost or (None, None, None)
    db.execute(
        "INSERT INTO seal VALUES (?, ?, ?, ?, ?, ?)", (seal.how, seal.salt, *cost, seal.data_key)
    )


_APART = "a database has no sealing key beside it; give --seal file:PATH, env:NAME or passphrase"
_ELSEWHERE = f", or say where it is with {PLACE_VARIABLE}=file:PATH or env:NAME"


def key_path(store: Path) -> Path:
    """The path of STORE.key, the sealing key next to a store."""
    store = Path(os.path.realpath(store))
    return store.with_name(f"{store.name}.key")


def check_how(how: str) -> str:
    """Return `how` if `--seal` accepts it. Raises UsageError otherwise."""
    scheme, _, rest = how.partition(":")
    if how in (BESIDE, PASSPHRASE) or (scheme in ("file", "env") and rest):
        return how
    raise UsageError(f"--seal {how}: file:PATH, env:NAME or passphrase is expected")


def _name(how: str, store: Where) -> str:
    if how == BESIDE and isinstance(store, Path):
        return str(key_path(store))
    return "the passphrase" if how == PASSPHRASE else how


def _secret(how: str, store: Where, beside: Path | None) -> bytes:
    """The octets of a sealing key, without the newline at their end."""
    scheme, _, rest = check_how(how).partition(":")
    if scheme == "env":
        text = os.environ.get(rest)
        if text is None:
            raise StateError(f"{store}: its sealing key is not in the environment, as {rest}")
        secret = os.fsencode(text)
    else:
        if how == BESIDE and beside is None:
            raise UsageError(f"{store}: {_APART}")
        path = beside if how == BESIDE and beside is not None else Path(rest)
        try:
            with path.open("rb") as key:
                secret = key.read(_MAX_SECRET + 2)
        except OSError as error:
            raise StateError(
                f"{store}: its sealing key cannot be read, {path}: {error.strerror}; bring it"
                f" back{_ELSEWHERE}"
            ) from None
    secret = secret.rstrip(b"\r\n")
    if len(secret) > _MAX_SECRET:
        raise StateError(
            f"{store}: the sealing key in {_name(how, store)} has more than {_MAX_SECRET} octets"
        )
    if len(secret) < MIN_SECRET:
        raise StateError(
            f"{store}: the sealing key in {_name(how, store)} has "
            f"{number_of(len(secret), 'octet')};"
            f" at least {MIN_SECRET} are needed"
        )
    return secret


def _passphrase(prompt: str, *, twice: bool) -> bytes:
    """A passphrase, from the environment or typed on the terminal."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None:
        advice = f"give it in {PASSPHRASE_VARIABLE}"
        given = read_secret(prompt, advice)
        if twice and read_secret("Again", advice) != given:
            raise UsageError("the two passphrases differ")
    if not given:
        raise UsageError("the passphrase is empty")
    return given.encode("utf-8", "surrogateescape")
