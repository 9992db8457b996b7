"""A fingerprint of the schema: whether a restore that worked, or failed, would still do so.

It is read from the catalogs, in one statement, and covers what a schema-only restore depends on: every object of the
database with its rights, settings, extensions and their versions, the roles that it refers to, and the version of the
server. Locks are neither needed nor taken.

Counters that VACUUM, ANALYZE and writes change are left out. Objects are known by their oids, so an object that is
dropped and created again gives another fingerprint: a proof too many, never one too few.
"""

from collections.abc import Iterable, Mapping

from psycopg import sql

from ocore_mover.database.connect import Connection, Server
from ocore_mover.database.copy_access import ROLE_PREFIX

#: Columns that data, VACUUM, ANALYZE, REINDEX and rewrites change, or that only say how far an operation is.
_VOLATILE: Mapping[str, tuple[str, ...]] = {
    "pg_class": (
        *("relfilenode", "relpages", "reltuples", "relallvisible", "relallfrozen"),
        *("relfrozenxid", "relminmxid", "relrewrite"),
        # VACUUM and ANALYZE clear these some time after the last index, rule, trigger or child is gone.
        *("relhasindex", "relhasrules", "relhastriggers", "relhassubclass"),
        "relispopulated",
    ),
    "pg_attribute": ("attcacheoff", "atthasmissing", "attmissingval"),
    "pg_index": ("indcheckxmin",),
    "pg_database": (
        *("datallowconn", "datistemplate", "datconnlimit", "datfrozenxid", "datminmxid"),
        *("datlastsysoid", "dathasloginevt"),
    ),
}
_TEMPORARY = "(SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')"
_TEMPORARY_TABLES = f"(SELECT oid FROM pg_class WHERE relnamespace IN {_TEMPORARY})"  # noqa: S608 - our own text
#: Catalog → which rows count (`t`). Temporary objects do not.
_ROWS: Mapping[str, str] = {
    "pg_class": f"t.relnamespace NOT IN {_TEMPORARY}",
    **{
        catalog: f"t.{column} NOT IN {_TEMPORARY_TABLES}"
        for catalog, column in {
            "pg_attribute": "attrelid",
            "pg_attrdef": "adrelid",
            "pg_constraint": "conrelid",
            "pg_index": "indrelid",
            "pg_inherits": "inhrelid",
            "pg_partitioned_table": "partrelid",
            "pg_policy": "polrelid",
            "pg_rewrite": "ev_class",
            "pg_sequence": "seqrelid",
            "pg_trigger": "tgrelid",
            "pg_foreign_table": "ftrelid",
            "pg_publication_rel": "prrelid",
            "pg_statistic_ext": "stxrelid",
        }.items()
    },
    **{
        catalog: f"t.{column} NOT IN {_TEMPORARY}"
        for catalog, column in {
            "pg_collation": "collnamespace",
            "pg_conversion": "connamespace",
            "pg_opclass": "opcnamespace",
            "pg_operator": "oprnamespace",
            "pg_opfamily": "opfnamespace",
            "pg_proc": "pronamespace",
            "pg_ts_config": "cfgnamespace",
            "pg_ts_dict": "dictnamespace",
            "pg_ts_parser": "prsnamespace",
            "pg_ts_template": "tmplnamespace",
            "pg_type": "typnamespace",
        }.items()
    },
    "pg_namespace": f"t.oid NOT IN {_TEMPORARY}",
    "pg_description": f"NOT (t.classoid = 'pg_class'::regclass AND t.objoid IN {_TEMPORARY_TABLES})",
    "pg_seclabel": "true",
    "pg_aggregate": "true",
    "pg_am": "true",
    "pg_amop": "true",
    "pg_amproc": "true",
    "pg_cast": "true",
    "pg_default_acl": "true",
    "pg_enum": "true",
    "pg_event_trigger": "true",
    "pg_extension": "true",
    "pg_foreign_data_wrapper": "true",
    "pg_foreign_server": "true",
    "pg_init_privs": "true",
    "pg_language": "true",
    "pg_publication": "true",
    "pg_publication_namespace": "true",
    "pg_range": "true",
    "pg_transform": "true",
    "pg_ts_config_map": "true",
    "pg_user_mappings": "true",  # the view: options only where the role may see them
    # Of all databases and roles, those that a restore of this one reads.
    "pg_database": "t.datname = current_database()",
    "pg_db_role_setting": (
        "(t.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND t.setrole NOT IN (SELECT oid FROM temporary))"
        " OR (t.setdatabase = 0 AND t.setrole IN (SELECT oid FROM referenced))"
    ),
    "pg_auth_members": "t.member IN (SELECT oid FROM referenced) AND t.roleid NOT IN (SELECT oid FROM temporary)",
    "pg_roles": "t.oid IN (SELECT oid FROM referenced)",
    "pg_available_extension_versions": "t.name IN (SELECT extname FROM pg_extension)",
}
#: Columns of views that say nothing about the schema.
_OF_VIEWS: Mapping[str, tuple[str, ...]] = {
    "pg_roles": (
        *("oid", "rolname", "rolsuper", "rolinherit", "rolcreaterole", "rolcreatedb"),
        *("rolbypassrls", "rolconfig"),
    ),
    "pg_available_extension_versions": ("name", "version", "superuser", "trusted", "relocatable", "schema", "requires"),
}
#: Which rows are initial ones (`t`): as the server's initdb wrote them, so no dump has them. They are two thirds of all
#: rows. By default those of its first transaction.
_INITIAL: Mapping[str, str] = {
    # Maintenance writes rows of these again.
    **dict.fromkeys(_VOLATILE, "false"),
    # A view has no transactions.
    **dict.fromkeys((*_OF_VIEWS, "pg_user_mappings"), "false"),
    # A later transaction of initdb makes its views: seven tenths of all text. 16384: FirstNormalObjectId.
    "pg_rewrite": "t.oid < 16384",
}
#: Roles that the database's objects, rights and policies refer to, and those that dump and restore it; roles of
#: rollbacks that run or were killed.
_REFERENCED = """
WITH referenced AS (
  SELECT refobjid AS oid FROM pg_shdepend
   WHERE refclassid = 'pg_authid'::regclass AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  UNION SELECT datdba FROM pg_database WHERE datname = current_database()
  UNION SELECT oid FROM pg_roles WHERE rolname = ANY(%s)
), temporary AS (SELECT oid FROM pg_roles WHERE starts_with(rolname::text, %s))
"""
#: Of the rows of `line`, in any order.
_SHA256_OF_LINES = sql.SQL(
    "sha256(int8send(count(*)) || coalesce(string_agg(line, ''::bytea ORDER BY line), ''::bytea))"
)
_COLUMNS = """
SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attname)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relname = ANY(%s) AND c.relnamespace = 'pg_catalog'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
 GROUP BY 1 ORDER BY 1
"""


def roles_of(server: Server) -> frozenset[str]:
    """The roles that dump and restore the database."""
    return frozenset((server.app.user, server.actor.user))


def read(connection: Connection, roles: Iterable[str]) -> str:
    """The fingerprint of the connection's database: 64 hexadecimal digits.

    `roles`: those that dump and restore it. Raises psycopg.Error, for example where the role may not read a catalog.
    """
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        columns: dict[str, list[str]] = dict(connection.execute(_COLUMNS.encode(), [list(_ROWS)]).fetchall())
        rows = sql.SQL(" UNION ALL ").join(_digest(name, columns[name]) for name in sorted(columns))
        query = sql.SQL("{} SELECT encode({}, 'hex') FROM ({}) r(line)").format(
            sql.SQL(_REFERENCED), _SHA256_OF_LINES, rows
        )
        found = connection.execute(query, [sorted(set(roles)), ROLE_PREFIX]).fetchone()
    return str(found[0]) if found else ""


def _digest(catalog: str, columns: list[str]) -> sql.Composed:
    """One digest of all rows of a catalog. Text is hashed in the database's encoding: it may not be valid in another
    one."""
    wanted = [name for name in _OF_VIEWS.get(catalog, columns) if name not in _VOLATILE.get(catalog, ())]
    row = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in wanted)
    return sql.SQL(
        "SELECT {all} FROM (SELECT CASE WHEN {initial} THEN '' ELSE sha256(convert_to(concat({name},"
        " current_setting('server_version_num'), ROW({row})::text), getdatabaseencoding())) END FROM {catalog} t"
        " WHERE {where}) l(line)"
    ).format(
        all=_SHA256_OF_LINES,
        initial=sql.SQL(_INITIAL.get(catalog, "t.xmin = '1'")),
        name=sql.Literal(catalog),
        row=row,
        catalog=sql.Identifier(catalog),
        where=sql.SQL(_ROWS[catalog]),
    )
