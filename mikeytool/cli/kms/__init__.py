"""`kms`: a key management service. Each command is loaded when it is called."""

from __future__ import annotations

import click

from mikeytool.cli.command_groups import LazyGroup

_HERE = "mikeytool.cli.kms"


@click.group(
    cls=LazyGroup,
    lazy={
        "init": (f"{_HERE}.store", "Create the STORE of a KMS."),
        "show": (f"{_HERE}.store", "Show what is in a STORE."),
        "check": (f"{_HERE}.store", "Check that a STORE is consistent."),
        "backup": (f"{_HERE}.store", "Copy a STORE while it is in use."),
        "restore": (f"{_HERE}.store", "Make a STORE of such a copy."),
        "copy": (f"{_HERE}.store", "Copy a store to a file or a database."),
        "handle": (f"{_HERE}.handle", "Answer a REQUEST_INIT or RESOLVE_INIT."),
        "serve": (f"{_HERE}.serve", "Answer over HTTP until stopped."),
        "log": (f"{_HERE}.log", "Show the requests of users and their outcomes."),
        "user": (f"{_HERE}.user", "Users and their keys."),
        "group": (f"{_HERE}.group", "Groups of users, which tickets can name."),
        "policy": (f"{_HERE}.policy", "Limits on tickets, and who may call whom."),
        "tpk": (f"{_HERE}.tpk", "Ticket protection keys, own and shared."),
        "key": (f"{_HERE}.trust", "Key pairs of the KMS, for public-key requests."),
        "trust": (f"{_HERE}.trust", "Certificate authorities that are trusted."),
        "peer": (f"{_HERE}.peer", "Other KMSs, which resolve their tickets."),
    },
)
def kms() -> None:
    """Run a key management service.

    STORE is a file, or a PostgreSQL database: postgresql://USER@HOST/DATABASE, with the
    password in ~/.pgpass or PGPASSFILE. The keys in it are sealed; those in a file with
    STORE.key, unless init --seal says otherwise. Anyone who can read both has all keys.
    """
