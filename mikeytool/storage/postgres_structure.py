"""The structure of the tables in a PostgreSQL schema, to compare with that of new tables."""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.storage.sql import Db

# Each gives the name of a table, and one fact about it. Names of schemas are left out below.
_FACTS = (
    "SELECT relname, concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull,"
    " attidentity, attcollation, pg_get_expr(adbin, adrelid)) FROM pg_class"
    " JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
    " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum",
    "SELECT relname, pg_get_constraintdef(pg_constraint.oid) FROM pg_class"
    " JOIN pg_constraint ON conrelid = pg_class.oid",
    "SELECT relname, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid) FROM pg_class"
    " JOIN pg_index ON indrelid = pg_class.oid",
    "SELECT relname, tgname FROM pg_class JOIN pg_trigger ON tgrelid = pg_class.oid"
    " AND NOT tgisinternal",
    "SELECT relname, rulename FROM pg_class JOIN pg_rewrite ON ev_class = pg_class.oid",
    "SELECT relname, concat(relkind, relrowsecurity) FROM pg_class",
)


def structure_of(db: Db, schema: int, tables: Sequence[str]) -> list[tuple[str, str]]:
    """The columns, constraints, indexes, triggers and rules of tables in a schema.

    `schema` is the OID of the schema.
    """
    names = ", ".join("?" * len(tables))
    query = "SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = ?"
    prefix = db.execute(query, (schema,)).fetchone()[0]
    found = []
    for facts in _FACTS:
        query = f"{facts} WHERE relnamespace = ? AND relname IN ({names})"
        for table, fact in db.execute(query, (schema, *tables)).fetchall():
            for name in (prefix, "pg_temp"):  # as the server names temporary tables
                fact = fact.replace(f" {name}.", " ")
            found.append((table, fact))
    return sorted(found)
