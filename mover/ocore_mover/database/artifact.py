"""The database properties for the manifest, read in the transaction of the dumped snapshot."""

from dataclasses import dataclass

from ocore_crds import conditions
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError


@dataclass(frozen=True)
class DatabaseProperties:
    """How the database was created, and the properties that pg_dump does not store."""

    name: str
    size_bytes: int
    server_version: str
    server_major: int
    encoding: str
    collate: str
    ctype: str
    locale_provider: str  # c, i or b, as in pg_database
    icu_locale: str  # of provider i or b
    extensions: dict[str, str]
    immutable_functions: tuple[str, ...]
    table_bytes: dict[int, int]  # oid → bytes that COPY reads: the table with its TOAST, without indexes


def read(connection: Connection) -> DatabaseProperties:
    """Properties of the connection's database. Call it in the exported snapshot's transaction. Raises MoverError DatabaseNotFound."""
    major = connection.info.server_version // 10000
    provider = "datlocprovider::text" if major >= 15 else "'c'"
    locale = {15: "daticulocale", 16: "daticulocale"}.get(major, "datlocale" if major >= 17 else "NULL")
    row = connection.execute(
        f"SELECT datname::text, pg_database_size(oid), current_setting('server_version'), pg_encoding_to_char(encoding),"  # noqa: S608 - our own column names
        f" datcollate::text, datctype::text, {provider}, coalesce({locale}, '') FROM pg_database"
        " WHERE datname = current_database()".encode()
    ).fetchone()
    if row is None:
        raise MoverError(conditions.DATABASE_NOT_FOUND, "the database no longer exists; check dbname in the Secret")
    name, size, version, encoding, collate, ctype, locale_provider, icu_locale = row
    return DatabaseProperties(
        name=name,
        size_bytes=size,
        server_version=version.split()[0],
        server_major=major,
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        locale_provider=locale_provider,
        icu_locale=icu_locale,
        extensions={row[0]: row[1] for row in connection.execute("SELECT extname::text, extversion FROM pg_extension")},
        immutable_functions=_immutable_functions(connection),
        table_bytes={
            row[0]: row[1]
            for row in connection.execute(
                # A table that was dropped since has no size.
                "SELECT oid::bigint, coalesce(pg_table_size(oid), 0) FROM pg_class"
                " WHERE relkind IN ('r', 'm') AND oid >= 16384 AND relpersistence <> 't'"
            )
        },
    )


def _immutable_functions(connection: Connection) -> tuple[str, ...]:
    """Functions of extensions that are IMMUTABLE and that an index, a default or a constraint uses.

    pg_dump does not store an ``ALTER FUNCTION … IMMUTABLE`` of a member of an extension (Odoo does that with unaccent), and an
    index that uses the function cannot be created without it.
    """
    found = connection.execute(
        "SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')'"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'"
        " JOIN pg_depend u ON u.refclassid = 'pg_proc'::regclass AND u.refobjid = p.oid"
        " WHERE p.provolatile = 'i' AND u.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass)"
        " ORDER BY 1"
    )
    return tuple(row[0] for row in found)
