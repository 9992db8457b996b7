"""Compares the restored database with what the snapshot counted while it was stored: rows of every table,
constraints."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database.connect import Connection, set_timeouts, translating
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.deadline import Token

APPLICATION = "ocore-test-restore"
#: Tables and constraints that a message shows.
_SHOWN = 5

#: Ordinary tables with data in a dump, partitions among them. Of an extension's own table the extension's script may
#: have filled a part.
_TABLES = """
SELECT n.nspname::text, c.relname::text,
       EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY 1, 2
"""

_CONSTRAINTS = """
SELECT pg_catalog.count(*) FILTER (WHERE convalidated), pg_catalog.count(*) FILTER (WHERE NOT convalidated),
       (pg_catalog.array_agg(conname::text ORDER BY conname) FILTER (WHERE NOT convalidated))[1:5]
  FROM pg_catalog.pg_constraint WHERE oid >= 16384 AND conrelid <> 0
"""


@dataclass(frozen=True)
class Compared:
    """Figures, and what is not as it was."""

    tables: int
    rows: int
    constraints: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass
class _Found:
    """What was counted, by ``schema.table``."""

    rows: Counter[str] = field(default_factory=Counter)
    lenient: set[str] = field(default_factory=set)  # an extension's own
    unreadable: list[str] = field(default_factory=list)


def compare(access: CopyAccess, then: Mapping[str, int] | None, token: Token) -> Compared:
    """Counts the rows of every table with the application's rights, and compares them with those counted in the dump
    (None: it counted none).

    Takes one session and no parallel workers: the server also serves the live database. Raises MoverError
    VerificationFailed where the catalogs cannot be read, and DatabaseUnreachable.
    """
    with (
        translating(conditions.VERIFICATION_FAILED, f"counting rows in {access.credentials.dbname}"),
        access.connect(application=APPLICATION, token=token) as connection,
        token.on_cancel(connection.cancel_safe),
    ):
        try:
            return _compare(connection, then, token)
        except psycopg.Error:
            token.check()  # a statement that was cancelled
            raise


def _compare(connection: Connection, then: Mapping[str, int] | None, token: Token) -> Compared:
    set_timeouts(connection, statement="0", lock="10s")
    connection.execute(
        "SELECT pg_catalog.set_config('search_path', 'pg_catalog', false), pg_catalog.set_config('row_security', 'off',"
        " false), pg_catalog.set_config('max_parallel_workers_per_gather', '0', false)"
    )
    found = _count(connection, token)
    row = connection.execute(_CONSTRAINTS.encode()).fetchone()
    valid, invalid, names = row or (0, 0, None)
    warnings = list(_unreadable(found))
    if then is None:
        warnings.append("rows were not compared: the snapshot counted none (it was written by an older version)")
    elif uncounted := sorted(set(found.rows) - set(then)):
        warnings.append(f"rows of {len(uncounted)} tables were not counted in the dump: {_some(uncounted)}")
    if invalid:
        warnings.append(
            f"{invalid} constraints are NOT VALID or not enforced, as the dump has them: {_some(names or [])}"
        )
    compared = found.rows if then is None else Counter({name: n for name, n in found.rows.items() if name in then})
    return Compared(len(compared), compared.total(), int(valid), tuple(_problems(found, then or {})), tuple(warnings))


def _count(connection: Connection, token: Token) -> _Found:
    found = _Found()
    for schema, table, of_extension in connection.execute(_TABLES.encode()).fetchall():
        token.check()
        name = f"{schema}.{table}"
        query = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {}.{}").format(
            sql.Identifier(schema), sql.Identifier(table)
        )
        try:
            with connection.transaction():
                connection.execute("SET TRANSACTION READ ONLY")
                row = connection.execute(query).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            found.unreadable.append(name)
            continue
        found.rows[name] += int(row[0]) if row else 0
        if of_extension:
            found.lenient.add(name)
    return found


def _unreadable(found: _Found) -> list[str]:
    if not found.unreadable:
        return []
    return [
        f"rows of {len(found.unreadable)} tables were not compared, because the owner of the database may not read"
        f" them: {_some(found.unreadable)}"
    ]


def _problems(found: _Found, then: Mapping[str, int]) -> list[str]:
    wrong = []
    for name, expected in sorted(then.items()):
        if name in found.unreadable:
            continue
        if name not in found.rows:
            wrong.append(f"table {name} does not exist; the dump has {expected} rows of it")
        elif found.rows[name] != expected and not (name in found.lenient and found.rows[name] > expected):
            wrong.append(f"table {name} has {found.rows[name]} rows; the dump has {expected}")
    if len(wrong) > _SHOWN:
        wrong = [*wrong[:_SHOWN], f"{len(wrong) - _SHOWN} more tables differ"]
    return wrong


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
