"""A KMS store in a PostgreSQL database, which several KMS nodes may use at once."""

from __future__ import annotations

from typing import ClassVar

from mikeytool.kms.store.schema import (
    FROM_VERSION_3,
    FROM_VERSION_4,
    KIND,
    NAME,
    SCHEMA,
    TABLES,
    VERSION,
)
from mikeytool.storage.postgres import PostgresDatabase


class StoreServer(PostgresDatabase):
    """The tables of a store on a server. Version 3 was the first version on servers."""

    name = NAME
    how_to_make = "see kms init"
    version = VERSION
    version_table = "mikeytool_kms"
    tables = tuple(TABLES)
    schema = SCHEMA
    lock = KIND
    migrations: ClassVar = {3: FROM_VERSION_3, 4: FROM_VERSION_4}
