"""What the application holds, for its page and its API."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import dict_row

from .database import Connection
from .filestore import Filestore

#: How long a count of missing files is valid (seconds): so many times its own duration, within these bounds. The upper
#: one is how long a person waits at most, also where the machine stood still during a count.
_SCAN_SHARE = 10.0
_SCAN_LEAST = 2.0
_SCAN_MOST = 15.0
_NEWEST = 8
#: What acts on the world. `neutralized` is Odoo's own flag.
_ACTING = """
SELECT (SELECT count(*) FROM ir_mail_server WHERE active AND smtp_host <> 'invalid') AS mail_servers,
       (SELECT count(*) FROM ir_cron WHERE active) AS jobs,
       (SELECT count(*) FROM payment_provider WHERE state = 'enabled') AS payment_providers,
       EXISTS (SELECT FROM ir_config_parameter WHERE key = 'database.is_neutralized' AND value = 'true') AS neutralized
"""


@dataclass(frozen=True)
class Scan:
    """Files that rows name and that are missing, or have the wrong size."""

    missing: int
    examples: tuple[str, ...]
    files: int
    waiting_for_gc: int


class Scanner:
    """Counts missing files; at most one count at a time, cached in proportion to its cost."""

    def __init__(self, filestore: Filestore) -> None:
        self._filestore = filestore
        self._lock = threading.Lock()
        self._last: Scan | None = None
        self._valid_until = 0.0

    def scan(self, connection: Connection) -> Scan:
        """A count that is at most a few seconds old."""
        with self._lock:
            if self._last is None or time.monotonic() >= self._valid_until:
                started = time.monotonic()
                self._last = self._count(connection)
                ended = time.monotonic()
                self._valid_until = ended + min(_SCAN_MOST, max(_SCAN_LEAST, _SCAN_SHARE * (ended - started)))
            return self._last

    def _count(self, connection: Connection) -> Scan:
        suspects = self._lacking(connection, None)
        if suspects:  # some may have been deleted and collected since the rows were read: again, with collection paused
            with connection.transaction():
                connection.execute("LOCK ir_attachment IN ROW EXCLUSIVE MODE")
                suspects = self._lacking(connection, suspects)
        return Scan(
            missing=len(suspects),
            examples=tuple(sorted(suspects)[:5]),
            files=sum(1 for _ in self._filestore.names()),
            waiting_for_gc=len(self._filestore.checklist()),
        )

    def _lacking(self, connection: Connection, among: list[str] | None) -> list[str]:
        rows = connection.execute(
            "SELECT DISTINCT store_fname, file_size FROM ir_attachment WHERE store_fname NOT LIKE '%%://%%'"
            " AND (%s::text[] IS NULL OR store_fname = ANY(%s))",
            [among, among],
        ).fetchall()
        return [fname for fname, size in rows if self._filestore.size(fname) != size]


def gather(connection: Connection, filestore: Filestore, scanner: Scanner, title: str) -> dict[str, Any]:
    """Everything at one point in time, JSON-ready (amounts of money as text)."""
    scan = scanner.scan(connection)
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        orders = cursor.execute(
            "SELECT count(*) AS count, count(*) FILTER (WHERE state = 'sale') AS confirmed,"
            " coalesce(sum(amount_total) FILTER (WHERE state = 'sale'), 0)::text AS revenue,"
            " max(id) AS last_id FROM sale_order"
        ).fetchone()
        attachments = cursor.execute(
            "SELECT count(*) AS count, coalesce(sum(file_size), 0) AS bytes FROM ir_attachment"
        ).fetchone()
        newest_orders = cursor.execute(
            "SELECT id, partner_name, amount_total::text, state, attachment_count, create_date::text"
            " FROM sale_order ORDER BY id DESC LIMIT %s",
            [_NEWEST],
        ).fetchall()
        newest_attachments = cursor.execute(
            "SELECT id, name, file_size, mimetype, store_fname, create_date::text FROM ir_attachment"
            " ORDER BY id DESC LIMIT %s",
            [_NEWEST],
        ).fetchall()
        acting = cursor.execute(_ACTING).fetchone()
    for row in newest_attachments:
        row["there"] = filestore.size(row["store_fname"]) == row["file_size"]
    return {
        "title": title,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "database": provenance(connection),
        "acting": acting,
        "orders": orders,
        "attachments": {
            **(attachments or {}),
            "bytes": int((attachments or {}).get("bytes", 0)),
            "missing": scan.missing,
            "missing_examples": list(scan.examples),
        },
        "filestore": {"files": scan.files, "waiting_for_gc": scan.waiting_for_gc},
        "newest_orders": newest_orders,
        "newest_attachments": newest_attachments,
    }


def provenance(connection: Connection) -> dict[str, Any]:
    """Which database this is, which rollback brought it here, and which databases exist beside it.

    A restored database says ``ocore.rollback_id=<id>`` in its comment; the previous one is kept as ``<name>_prev_<id>``
    for undo, and while a restore runs there is a ``<name>_rb_<id>``.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            "SELECT current_database() AS name, pg_database_size(current_database()) AS size_bytes,"
            " current_setting('server_version') AS server_version, substring(shobj_description((SELECT oid FROM"
            " pg_database WHERE datname = current_database()), 'pg_database')   FROM"
            " 'ocore[.]rollback_id=([0-9a-f-]{36})') AS rollback_id, (SELECT value FROM ir_config_parameter WHERE key ="
            " 'database.uuid') AS uuid"
        ).fetchone()
        beside = cursor.execute(
            "SELECT datname AS name, CASE WHEN pg_has_role(datdba, 'MEMBER') THEN pg_database_size(oid) END AS"
            " size_bytes, CASE WHEN starts_with(datname, current_database() || '_prev_') THEN 'previous' ELSE"
            " 'restored' END AS kind FROM pg_database WHERE starts_with(datname, current_database() || '_prev_') OR"
            " starts_with(datname, current_database() || '_rb_') ORDER BY datname"
        ).fetchall()
    return {**(found or {}), "beside": beside}


def orders_up_to(connection: Connection, last_id: int) -> dict[str, Any]:
    """A fingerprint of the confirmed orders up to an id: the same before and after means that all of them are back."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            "SELECT count(*) AS confirmed, coalesce(sum(amount_total), 0)::text AS revenue,"
            " md5(coalesce(string_agg(id || ' ' || partner_name || ' ' || amount_total, ',' ORDER BY id), ''))"
            " AS fingerprint FROM sale_order WHERE state = 'sale' AND id <= %s",
            [last_id],
        ).fetchone()
    return {"up_to": last_id, **(found or {})}
