"""`kms`: a key management service. Each command is loaded when it is called."""

from __future__ import annotations

import click

from mikeytool.cli.command_groups import LazyGroup

_HERE = "mikeytool.cli.kms"


@click.group(
    cls=LazyGroup,
    lazy={
        "init": (f"{_HERE}.store", "Make the STORE of a KMS."),
        "show": (f"{_HERE}.store", "Show what a STORE is."),
        "check": (f"{_HERE}.store", "Check that a STORE is whole."),
        "backup": (f"{_HERE}.store", "Copy a STORE while it is in use."),
        "copy": (f"{_HERE}.store", "Copy a store to a file or a database."),
        "handle": (f"{_HERE}.handle", "Answer a REQUEST_INIT or RESOLVE_INIT."),
        "serve": (f"{_HERE}.serve", "Answer over HTTP until it is ended."),
        "log": (f"{_HERE}.log", "Show who asked for what, and what came of it."),
        "user": (f"{_HERE}.user", "Users and their keys."),
        "group": (f"{_HERE}.group", "Groups of users, which tickets can name."),
        "policy": (f"{_HERE}.policy", "What is granted, and who may call whom."),
        "tpk": (f"{_HERE}.tpk", "Ticket protection keys, own and shared."),
        "key": (f"{_HERE}.trust", "Key pairs of the KMS, for public-key requests."),
        "trust": (f"{_HERE}.trust", "Whose certificates are trusted."),
        "peer": (f"{_HERE}.peer", "Other KMSs, asked for their tickets."),
    },
)
def kms() -> None:
    """Run a key management service.

    STORE is one file, or a PostgreSQL database: postgresql://USER@HOST/DATABASE, with the
    password in ~/.pgpass or PGPASSFILE. Keys in it are sealed, in a file under STORE.key
    unless init --seal says otherwise. Whoever can read both has every user's key.
    """
