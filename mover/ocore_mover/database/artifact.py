"""The database properties for the manifest, read in the transaction of the dumped snapshot."""

from dataclasses import dataclass

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseSetting
from ocore_mover.database import odoo_rows
from ocore_mover.database.connect import Connection
from ocore_mover.database.copy_access import ROLE_PREFIX
from ocore_mover.database.neutralize import odoo
from ocore_mover.database.odoo_rows import Outside
from ocore_mover.database.position import Mark
from ocore_mover.database.rights import Rights, read_rights
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
    icu_rules: str
    collation_version: str
    tablespace: str  # empty: the default one
    comment: str  # the user's own part
    rights: Rights
    settings: tuple[DatabaseSetting, ...]
    extensions: dict[str, str]
    extension_schemas: dict[str, str]
    immutable_functions: tuple[str, ...]
    neutralized: bool
    outside: Outside  # attachments
    unfinished_modules: int
    table_bytes: dict[int, int]  # oid → bytes that COPY reads: the table with its TOAST, without indexes


def read(connection: Connection) -> DatabaseProperties:
    """Properties of the connection's database. Call it in the exported snapshot's transaction. Raises MoverError
    DatabaseNotFound."""
    major = connection.info.server_version // 10000
    provider = "datlocprovider::text" if major >= 15 else "'c'"
    locale = {15: "daticulocale", 16: "daticulocale"}.get(major, "datlocale" if major >= 17 else "NULL")
    rules = "daticurules" if major >= 16 else "NULL"
    version_of_collation = "datcollversion" if major >= 15 else "NULL"
    row = connection.execute(
        "SELECT datname::text, pg_database_size(d.oid), current_setting('server_version'),"  # noqa: S608 - our own names
        " pg_encoding_to_char(encoding),"
        f" datcollate::text, datctype::text, {provider}, coalesce({locale}, ''), coalesce({rules}, ''),"
        f" coalesce({version_of_collation}, ''), CASE t.spcname WHEN 'pg_default' THEN '' ELSE t.spcname::text END,"
        " coalesce(shobj_description(d.oid, 'pg_database'), '')"
        " FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace"
        " WHERE datname = current_database()".encode()
    ).fetchone()
    if row is None:
        raise MoverError(conditions.DATABASE_NOT_FOUND, "the database no longer exists; check dbname in the Secret")
    (
        name,
        size,
        version,
        encoding,
        collate,
        ctype,
        locale_provider,
        icu_locale,
        icu_rules,
        collation,
        tablespace,
        comment,
    ) = row
    extensions = connection.execute(
        "SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid ="
        " e.extnamespace"
    ).fetchall()
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
        icu_rules=icu_rules,
        collation_version=collation,
        tablespace=tablespace,
        comment=Mark.parse(comment).comment,
        neutralized=odoo.is_neutralized(connection, marked=Mark.parse(comment).neutralize == "neutralized"),
        outside=odoo_rows.outside(connection),
        unfinished_modules=odoo_rows.unfinished_modules(connection),
        rights=read_rights(connection, name),
        settings=read_settings(connection, name),
        extensions={extension: found for extension, found, _ in extensions},
        extension_schemas={extension: schema for extension, _, schema in extensions},
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


def read_settings(connection: Connection, database: str) -> tuple[DatabaseSetting, ...]:
    """``ALTER DATABASE … SET`` and ``ALTER ROLE … IN DATABASE … SET`` of a database; those for every role come first.

    Without those of the temporary role of a rollback that runs or was killed.
    """
    found = connection.execute(
        "SELECT coalesce(r.rolname::text, ''), s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid ="
        " s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = %s AND (s.setrole = 0 OR NOT"
        " starts_with(r.rolname::text, %s)) ORDER BY 1",
        [database, ROLE_PREFIX],
    ).fetchall()
    pairs = ((role, setting.partition("=")) for role, config in found for setting in config)
    return tuple(DatabaseSetting(role=role, name=name, value=value) for role, (name, _, value) in pairs)


def _immutable_functions(connection: Connection) -> tuple[str, ...]:
    """Functions of extensions that are IMMUTABLE and that an index, a default or a constraint uses.

    pg_dump does not store an ``ALTER FUNCTION … IMMUTABLE`` of a member of an extension (Odoo does that with unaccent),
    and an index that uses the function cannot be created without it.
    """
    found = connection.execute(
        "SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' ||"
        " pg_get_function_identity_arguments(p.oid) || ')' FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e' JOIN pg_depend u"
        " ON u.refclassid = 'pg_proc'::regclass AND u.refobjid = p.oid WHERE p.provolatile = 'i' AND u.classid IN"
        " ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass) ORDER BY 1"
    )
    return tuple(row[0] for row in found)
