"""Checks that every attachment that the database names exists with the right content. Reads every byte.

Works on the live database under load and on a restored copy beside it: what seems missing is checked again, because a
row may be deleted, and its file collected, between reading the one and the other.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .database import Connection
from .filestore import Filestore

_BATCH = 1000
_EXAMPLES = 20


@dataclass(frozen=True)
class Fault:
    """One row whose file is not what it should be."""

    id: int
    store_fname: str
    kind: Literal["missing", "size", "sha1", "name"]
    detail: str


@dataclass
class CheckReport:
    """What was checked and what is wrong."""

    database: str
    rows: int = 0
    files: int = 0
    bytes: int = 0
    skipped_uris: int = 0
    faults: list[Fault] = field(default_factory=list)
    #: Orders that do not have the number of attachments that they were committed with: a torn database.
    torn_orders: list[int] = field(default_factory=list)
    orders: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is missing and nothing is wrong."""
        return not self.faults and not self.torn_orders

    def wire(self) -> dict[str, Any]:
        """For JSON, with at most twenty examples."""
        counts = {k: sum(f.kind == k for f in self.faults) for k in ("missing", "size", "sha1", "name")}
        return {
            "ok": self.ok,
            "database": self.database,
            "rows": self.rows,
            "files": self.files,
            "bytes": self.bytes,
            "skipped_uris": self.skipped_uris,
            "orders": self.orders,
            **counts,
            "torn_orders": len(self.torn_orders),
            "examples": [asdict(f) for f in self.faults[:_EXAMPLES]],
            "torn_order_examples": self.torn_orders[:_EXAMPLES],
        }


Row = tuple[int, str, int, str]


def check(connection: Connection, filestore: Filestore, *, threads: int = 4) -> CheckReport:
    """Checks every row. Raises psycopg.Error if the database cannot be read."""
    report = CheckReport(database=connection.info.dbname)
    suspects: list[int] = []
    seen: set[str] = set()
    with ThreadPoolExecutor(threads) as executor, connection.transaction():
        for rows in _rows(connection, report):
            report.rows += len(rows)
            for row, fault in zip(rows, executor.map(lambda r: examine(filestore, r), rows), strict=True):
                if fault is not None:
                    suspects.append(row[0])
                elif row[1] not in seen:
                    seen.add(row[1])
                    report.files += 1
                    report.bytes += row[2]
        report.torn_orders = [r[0] for r in connection.execute(_TORN).fetchall()]
        report.orders = sum(r[0] for r in connection.execute("SELECT count(*) FROM sale_order").fetchall())
    report.faults = _again(connection, filestore, suspects)
    return report


_TORN = (
    "SELECT o.id FROM sale_order o LEFT JOIN ir_attachment a ON a.res_model = 'sale.order' AND a.res_id = o.id"
    " GROUP BY o.id HAVING count(a.id) <> o.attachment_count ORDER BY o.id"
)
_SELECT = "SELECT id, store_fname, file_size, checksum FROM ir_attachment WHERE store_fname IS NOT NULL"


def _rows(connection: Connection, report: CheckReport) -> Iterator[list[Row]]:
    with connection.cursor(name="check") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(f"{_SELECT} ORDER BY id")
        while batch := cursor.fetchmany(_BATCH):
            # Some installations keep attachments in object storage: the name is a URI, there is no file.
            local = [(r[0], r[1], r[2], r[3]) for r in batch if "://" not in r[1]]
            report.skipped_uris += len(batch) - len(local)
            yield local


def _again(connection: Connection, filestore: Filestore, ids: Sequence[int]) -> list[Fault]:
    """The faults of the rows that still exist, in a transaction that sees their current state."""
    if not ids:
        return []
    with connection.transaction():
        # Pauses garbage collection while the files are checked: the file of a current row must exist now.
        connection.execute("LOCK ir_attachment IN ROW EXCLUSIVE MODE")
        rows = connection.execute(f"{_SELECT} AND id = ANY(%s) ORDER BY id", [list(ids)]).fetchall()
        found = (examine(filestore, (r[0], r[1], r[2], r[3])) for r in rows)
        return [fault for fault in found if fault is not None]


def examine(filestore: Filestore, row: Row) -> Fault | None:
    """The row's fault. None if the file exists, has the right size, and its SHA-1 is both its name and the row's
    checksum."""
    row_id, fname, size, checksum = row
    if fname != f"{checksum[:2]}/{checksum}":
        return Fault(row_id, fname, "name", f"the row's checksum is {checksum}")
    digest = hashlib.sha1(usedforsecurity=False)
    length = 0
    try:
        with filestore.path(fname).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                length += len(chunk)
    except FileNotFoundError:
        return Fault(row_id, fname, "missing", "the file is not there")
    if length != size:
        return Fault(row_id, fname, "size", f"{length} bytes, not {size}")
    if digest.hexdigest() != checksum:
        return Fault(row_id, fname, "sha1", f"the content's SHA-1 is {digest.hexdigest()}")
    return None
