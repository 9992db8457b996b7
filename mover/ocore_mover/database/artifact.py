"""The database properties for the manifest, read in the transaction of the dumped snapshot."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact, DatabaseGrant, DatabaseSetting
from ocore_mover.database import odoo_rows
from ocore_mover.database.connect import Connection, major
from ocore_mover.database.copy_access import ROLE_PREFIX
from ocore_mover.database.neutralize import odoo
from ocore_mover.database.odoo_rows import Outside
from ocore_mover.database.position import Mark
from ocore_mover.database.rights import read_rights
from ocore_mover.errors import MoverError


@dataclass(frozen=True)
class DatabaseProperties:
    """What the exported snapshot shows of the database."""

    #: How it was created, and the properties that pg_dump does not store. What is known only after the dump is empty.
    artifact: DatabaseArtifact
    outside: Outside  # attachments
    table_bytes: dict[int, int]  # oid → bytes that COPY reads: the table with its TOAST, without indexes


def read(connection: Connection) -> DatabaseProperties:
    """Properties of the connection's database. Call it in the exported snapshot's transaction. Raises MoverError
    DatabaseNotFound."""
    row = _row(connection)
    mark, name, version = Mark.parse(row.pop("comment")), row["name"], row.pop("server_version")
    rights, outside = read_rights(connection, name), odoo_rows.outside(connection)
    extensions = connection.execute(
        "SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid ="
        " e.extnamespace"
    ).fetchall()
    artifact = DatabaseArtifact(
        **row,
        server_version=version.split()[0],
        server_major=major(connection),
        owner=rights.owner,
        connection_limit=rights.connection_limit,
        grants=tuple(
            DatabaseGrant(role=grant.role or "", privilege=grant.privilege, grantable=grant.grantable)
            for grant in rights.grants
        ),
        comment=mark.comment,
        neutralized=odoo.is_neutralized(connection, marked=mark.neutralize == "neutralized"),
        outside_attachments=outside.count,
        unfinished_modules=odoo_rows.unfinished_modules(connection),
        settings=read_settings(connection, name),
        extensions={extension: found for extension, found, _ in extensions},
        extension_schemas={extension: schema for extension, _, schema in extensions},
        immutable_functions=_immutable_functions(connection),
        client_version="",
        compression="pg_dump",
        raw_bytes=0,
        files=(),
    )
    # A table that was dropped since has no size.
    sizes = connection.execute(
        "SELECT oid::bigint, coalesce(pg_table_size(oid), 0) FROM pg_class"
        " WHERE relkind IN ('r', 'm') AND oid >= 16384 AND relpersistence <> 't'"
    )
    return DatabaseProperties(artifact, outside, dict(sizes.fetchall()))


def _row(connection: Connection) -> dict[str, Any]:
    """What pg_database has, by the artifact's fields."""
    version = major(connection)
    provider = "datlocprovider::text" if version >= 15 else "'c'"
    locale = {15: "daticulocale", 16: "daticulocale"}.get(version, "datlocale" if version >= 17 else "NULL")
    rules = "daticurules" if version >= 16 else "NULL"
    version_of_collation = "datcollversion" if version >= 15 else "NULL"
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT datname::text AS name, pg_database_size(d.oid) AS size_bytes,"  # noqa: S608 - our own names
            " current_setting('server_version') AS server_version, pg_encoding_to_char(encoding) AS encoding,"
            f' datcollate::text AS "collate", datctype::text AS ctype, {provider} AS locale_provider,'
            f" coalesce({locale}, '') AS icu_locale, coalesce({rules}, '') AS icu_rules,"
            f" coalesce({version_of_collation}, '') AS collation_version,"
            " CASE t.spcname WHEN 'pg_default' THEN '' ELSE t.spcname::text END AS tablespace,"
            " coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment"
            " FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace"
            " WHERE datname = current_database()".encode()
        ).fetchone()
    if row is None:
        raise MoverError(conditions.DATABASE_NOT_FOUND, "the database no longer exists; check dbname in the Secret")
    return row


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
