"""What the application does with its data: orders with attachments, deletion, garbage collection.

Every function here is one transaction, in the order that Odoo has: rows first, then files, then COMMIT.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Literal

from psycopg import errors, sql

from .database import Connection
from .filestore import Filestore, sha1

#: Seconds that garbage collection waits for writers before it gives up until its next run. As in Odoo.
GC_LOCK_TIMEOUT = 10.0
#: Names asked for in one query.
_CHUNK = 1000

# Not set_config(): a SELECT before LOCK would fix the transaction's snapshot too early.
_SET_LOCK_TIMEOUT = sql.SQL("SET LOCAL lock_timeout TO {}")

OrderState = Literal["draft", "sale"]


class GarbageCollectionBusyError(Exception):
    """The lock was not acquired in time. Nothing was removed; the next run retries."""


class OrderConfirmedError(Exception):
    """A confirmed order cannot be deleted."""


@dataclass(frozen=True)
class NewAttachment:
    """A file to keep."""

    name: str
    data: bytes
    mimetype: str = "application/octet-stream"


@dataclass(frozen=True)
class Attachment:
    """A row of ir_attachment."""

    id: int
    name: str
    store_fname: str
    file_size: int
    checksum: str
    mimetype: str


@dataclass(frozen=True)
class Order:
    """A row of sale_order with its attachments."""

    id: int
    state: OrderState
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True)
class GcReport:
    """What one garbage collection did."""

    checked: int
    removed: int
    seconds: float


def _attach(
    connection: Connection, filestore: Filestore, new: NewAttachment, res_model: str | None, res_id: int | None
) -> Attachment:
    digest = sha1(new.data)
    row = connection.execute(
        "INSERT INTO ir_attachment (name, res_model, res_id, mimetype, store_fname, file_size, checksum)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [new.name, res_model, res_id, new.mimetype, f"{digest[:2]}/{digest}", len(new.data), digest],
    ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING of one row
    fname = filestore.write(new.data)
    return Attachment(row[0], new.name, fname, len(new.data), digest, new.mimetype)


def add_attachment(connection: Connection, filestore: Filestore, new: NewAttachment) -> Attachment:
    """Keeps a file that belongs to no order."""
    with connection.transaction():
        return _attach(connection, filestore, new, None, None)


def place_order(
    connection: Connection,
    filestore: Filestore,
    partner: str,
    amount: Decimal,
    state: OrderState,
    attachments: Sequence[NewAttachment],
) -> Order:
    """An order with its attachments, all or nothing."""
    with connection.transaction():
        row = connection.execute(
            "INSERT INTO sale_order (partner_name, amount_total, state, attachment_count) VALUES (%s, %s, %s, %s)"
            " RETURNING id",
            [partner, amount, state, len(attachments)],
        ).fetchone()
        assert row is not None  # noqa: S101 - RETURNING of one row
        kept = tuple(_attach(connection, filestore, new, "sale.order", row[0]) for new in attachments)
    return Order(row[0], state, kept)


def delete_order(connection: Connection, filestore: Filestore, order_id: int) -> bool:
    """Deletes a draft and its attachments' rows; the files go with the next garbage collection. False if there is none.

    Raises OrderConfirmedError for a confirmed one.
    """
    with connection.transaction():
        row = connection.execute("SELECT state FROM sale_order WHERE id = %s FOR UPDATE", [order_id]).fetchone()
        if row is None:
            return False
        if row[0] != "draft":
            raise OrderConfirmedError(f"order {order_id} is confirmed: it cannot be deleted")
        connection.execute("DELETE FROM sale_order WHERE id = %s", [order_id])
        rows = connection.execute(
            "DELETE FROM ir_attachment WHERE res_model = 'sale.order' AND res_id = %s RETURNING store_fname", [order_id]
        ).fetchall()
        for (fname,) in rows:
            filestore.mark_for_gc(fname)
    return True


def collect_garbage(connection: Connection, filestore: Filestore, *, lock_timeout: float = GC_LOCK_TIMEOUT) -> GcReport:
    """Unlinks the files on the checklist that no row names.

    The lock is the transaction's first statement, so that its snapshot is taken after every writer has ended. Raises
    GarbageCollectionBusyError where writers (or a snapshot) hold the table for `lock_timeout` seconds.
    """
    started = time.monotonic()
    removed = 0
    try:
        with connection.transaction():
            connection.execute(_SET_LOCK_TIMEOUT.format(int(lock_timeout * 1000)))
            connection.execute("LOCK ir_attachment IN SHARE MODE")
            checklist = filestore.checklist()
            for names in _chunks(checklist):
                rows = connection.execute(
                    "SELECT store_fname FROM ir_attachment WHERE store_fname = ANY(%s)", [names]
                ).fetchall()
                named = {row[0] for row in rows}
                for fname in names:
                    if fname not in named:
                        removed += filestore.unlink(fname)
                    checklist[fname].unlink(missing_ok=True)
    except errors.LockNotAvailable as error:
        raise GarbageCollectionBusyError(f"ir_attachment was busy for {lock_timeout:.0f} s; nothing removed") from error
    return GcReport(len(checklist), removed, time.monotonic() - started)


def _chunks(names: Iterable[str]) -> Iterable[list[str]]:
    iterator = iter(names)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
