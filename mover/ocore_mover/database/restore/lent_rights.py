"""Rights that the application's role needs for a part of the load and does not keep.

Rows of an extension's configuration tables (PostGIS ``spatial_ref_sys``) and foreign servers are loaded first, while
the copy has nothing but extensions. So no code of the dump can use the rights that the administrator lends in the
meantime.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, quoted, value
from ocore_mover.errors import MoverError

_DATA = {"TABLE DATA": "INSERT", "SEQUENCE SET": "UPDATE"}


@dataclass(frozen=True)
class Right:
    """One privilege."""

    privilege: str
    kind: str  # of GRANT … ON
    identity: str  # quoted by the server


@dataclass(frozen=True)
class FirstLoad:
    """Entries that are loaded before all others, and the rights that the application's role lacks for them."""

    dump_ids: frozenset[int]
    rights: tuple[Right, ...]


def find(copy: Connection, contents: toc.TableOfContents, owner: str) -> FirstLoad:
    """Finds them in a copy that has nothing but extensions. `copy` is a session whose search_path is pg_catalog."""
    configured = {
        (schema, name): (identity, schema_identity)
        for schema, name, identity, schema_identity in copy.execute(
            "SELECT n.nspname, c.relname, c.oid::regclass::text, quote_ident(n.nspname) FROM pg_extension e,"
            " unnest(e.extconfig) t(oid) JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace"
        )
    }
    ids: set[int] = set()
    rights: set[Right] = set()
    for entry in contents:
        if entry.description == "SERVER":
            ids.add(entry.dump_id)
        elif entry.description in _DATA and (entry.schema, entry.tag) in configured:
            ids.add(entry.dump_id)
            identity, schema = configured[entry.schema, entry.tag]
            kind = "TABLE" if entry.description == "TABLE DATA" else "SEQUENCE"
            rights |= {Right(_DATA[entry.description], kind, identity), Right("USAGE", "SCHEMA", schema)}
    if any(entry.description == "SERVER" for entry in contents):
        wrappers = copy.execute("SELECT quote_ident(fdwname) FROM pg_foreign_data_wrapper").fetchall()
        rights |= {Right("USAGE", "FOREIGN DATA WRAPPER", name) for (name,) in wrappers}
    lacking = [right for right in rights if not _has(copy, owner, right)]
    return FirstLoad(frozenset(ids), tuple(sorted(lacking, key=lambda right: (right.kind, right.identity))))


def _has(copy: Connection, owner: str, right: Right) -> bool:
    function = {
        "TABLE": "has_table_privilege(%s, %s::regclass, %s)",
        "SEQUENCE": "has_sequence_privilege(%s, %s::regclass, %s)",
        "SCHEMA": "has_schema_privilege(%s, %s::regnamespace, %s)",
        "FOREIGN DATA WRAPPER": (
            "has_foreign_data_wrapper_privilege(%s,"
            " (SELECT fdwname FROM pg_foreign_data_wrapper WHERE quote_ident(fdwname) = %s)::text, %s)"
        ),
    }[right.kind]
    return bool(value(copy, f"SELECT {function}", [owner, right.identity, right.privilege]))


@contextmanager
def lent(copy: Connection, owner: str, rights: Sequence[Right]) -> Iterator[None]:
    """Grants the rights to the application's role within the block.

    Raises MoverError MissingGrants where the session's role may not grant them.
    """
    for right in rights:
        try:
            with copy.transaction():
                copy.execute(_statement("GRANT {} ON {} {} TO {}", right, owner))
            granted = _has(copy, owner, right)
        except psycopg.errors.InsufficientPrivilege:
            granted = False
        if not granted:
            raise MoverError(
                conditions.MISSING_GRANTS,
                f"{right.privilege} on {right.kind.lower()} {right.identity} of an extension is needed for the restore"
                f" and {quoted(copy.info.user)} may not grant it; set adminSecretRef to a superuser's Secret",
            )
    yield
    for right in rights:
        copy.execute(_statement("REVOKE {} ON {} {} FROM {}", right, owner))


def _statement(template: str, right: Right, owner: str) -> sql.Composed:
    # The identity is the server's own spelling.
    return sql.SQL(template).format(
        sql.SQL(right.privilege),
        sql.SQL(right.kind),
        sql.SQL(right.identity),
        sql.Identifier(owner),
    )
