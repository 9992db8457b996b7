"""What the rows of Odoo's tables say about a snapshot: attachments that it does not have, modules in the middle of an
upgrade."""

from dataclasses import dataclass

from psycopg import sql

from ocore_mover.database.connect import Connection
from ocore_mover.database.dump.export import find_attachments
from ocore_mover.database.neutralize.odoo import columns, schemas

URI = "^[A-Za-z][A-Za-z0-9+.-]*://"
_NEEDED = ("id", "store_fname", "type", "url", "file_size")
#: Types of columns that hold contents: db_datas, and the large objects of some modules.
_CONTENTS = ("bytea", "oid", "lo")
#: States of a module whose installation, upgrade or removal has begun and not ended. Odoo continues at its next start.
UNFINISHED = ("to install", "to upgrade", "to remove")


@dataclass(frozen=True)
class Outside:
    """Attachments whose contents are neither in the database nor in the filestore, by what shows it."""

    uris: int = 0  # store_fname is a URI
    types: int = 0  # of another type than binary or link, with a URL
    lost: int = 0  # a size, and no contents

    @property
    def count(self) -> int:
        return self.uris + self.types + self.lost

    @property
    def how(self) -> str:
        """For people."""
        parts = (
            (self.uris, "with a URI in store_fname"),
            (self.types, "of another type than binary"),
            (self.lost, "with a size and no contents"),
        )
        return ", ".join(f"{count} {text}" for count, text in parts if count)


def outside(connection: Connection, *, sample: int | None = None) -> Outside:
    """Counts them, whatever module has written the rows. `sample`: only so many of the oldest and of the newest rows.

    An attachment of type `url` without a size is a link, whose contents were never the application's.
    """
    table = find_attachments(connection)
    if table is None:
        return Outside()
    known = _columns(connection, table)
    if sample is not None and "id" not in known:
        return Outside()
    uri, of_type, lost = _conditions(known)
    # From the catalog, quoted by quote_ident.
    rows: sql.Composable = sql.SQL(table)
    if sample is not None:
        used = [name for name, kind in known.items() if name in _NEEDED or kind in _CONTENTS]
        names = sql.SQL(", ").join(map(sql.Identifier, used))
        ends = [
            sql.SQL("(SELECT {} FROM {} ORDER BY id {} LIMIT {})").format(
                names, sql.SQL(table), sql.SQL(order), sql.Literal(sample)
            )
            for order in ("ASC", "DESC")
        ]
        # Not UNION, which would compare contents.
        rows = sql.SQL("(SELECT DISTINCT ON (id) * FROM ({} UNION ALL {}) u)").format(*ends)
    found = connection.execute(
        sql.SQL(
            "SELECT count(*) FILTER (WHERE {uri}), count(*) FILTER (WHERE NOT {uri} AND {of_type}),"
            " count(*) FILTER (WHERE NOT {uri} AND NOT {of_type} AND {lost}) FROM {rows} a"
        ).format(uri=uri, of_type=of_type, lost=lost, rows=rows)
    ).fetchone()
    return Outside(*(int(count) for count in found)) if found else Outside()


def _columns(connection: Connection, table: str) -> dict[str, str]:
    """Name → type."""
    found = connection.execute(
        "SELECT attname::text, pg_catalog.format_type(atttypid, NULL) FROM pg_catalog.pg_attribute"
        " WHERE attrelid = %s::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped",
        [table],
    )
    return {str(name): str(kind) for name, kind in found}


def _conditions(known: dict[str, str]) -> tuple[sql.Composable, sql.Composable, sql.Composable]:
    """Of an attachment: its store_fname is a URI; its type and URL lead elsewhere; it has a size and nothing else."""
    never: sql.Composable = sql.SQL("false")
    uri = sql.SQL("coalesce(a.store_fname::text, '') ~ {}").format(sql.Literal(URI))
    nowhere: list[sql.Composable] = [sql.SQL("coalesce(a.store_fname::text, '') = ''")]
    nowhere += [
        sql.SQL("coalesce(pg_catalog.octet_length(a.{}), 0) = 0").format(sql.Identifier(name))
        if kind == "bytea"
        else sql.SQL("a.{} IS NULL").format(sql.Identifier(name))
        for name, kind in known.items()
        if kind in _CONTENTS
    ]
    empty = sql.SQL("(") + sql.SQL(" AND ").join(nowhere) + sql.SQL(")")
    of_type = lost = never
    if {"type", "url"} <= known.keys():
        of_type = sql.SQL(
            "({} AND coalesce(a.type::text, 'binary') NOT IN ('binary', 'url') AND coalesce(a.url::text, '') <> '')"
        ).format(empty)
    if known.get("file_size") in ("smallint", "integer", "bigint"):
        lost = sql.SQL("({} AND coalesce(a.file_size, 0) > 0)").format(empty)
    return sql.SQL("({})").format(uri), of_type, lost


def unfinished_modules(connection: Connection) -> int:
    """Modules in the middle of an installation, upgrade or removal."""
    count = 0
    for schema in schemas(connection, "ir_module_module"):
        if "state" not in columns(connection, schema, "ir_module_module"):
            continue
        table = sql.Identifier(schema, "ir_module_module")
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE state::text = ANY(%s)").format(table), [list(UNFINISHED)]
        ).fetchone()
        count += int(row[0]) if row else 0
    return count


def unfinished_warning(count: int) -> str:
    """For people."""
    return (
        f"Odoo was in the middle of an upgrade: {count} modules are to be installed, upgraded or removed. On this"
        " snapshot Odoo continues with that at its next start. Take another one when the upgrade has ended"
    )
