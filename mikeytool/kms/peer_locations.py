"""Where another KMS is: at an https:// URL, or in its store on this machine (RFC 6043 10)."""

from __future__ import annotations

from pathlib import Path

from mikeytool.kms.store.store import Store
from mikeytool.storage.private_files import stored_path
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity


def peer_location(kms_id: Identity, where: str | Path) -> str:
    """The location of another KMS as a `Peer` has it; `where` is a URL, or the path of its store.

    A URL is only checked, because the other KMS may not run yet. Raises UsageError if it is none,
    or if the store belongs to a KMS other than `kms_id`, and StateError if it cannot be read.
    """
    if isinstance(where, str):
        from mikeytool.kms.remote.connection import Address  # loads TLS

        return Address.of(where).url
    with Store(where) as other:
        found = other.identity
    if found != kms_id:
        raise UsageError(f"{where}: this is the KMS {found}, not {kms_id}")
    return stored_path(where)
