"""Realistic damage: a script deletes orders, and files are removed from the filestore by hand."""

from dataclasses import dataclass

from psycopg import IsolationLevel

from .database import Connection
from .filestore import Filestore


@dataclass(frozen=True)
class DamageReport:
    """What is lost."""

    orders_deleted: int
    attachments_deleted: int
    files_unlinked: int


def damage(connection: Connection, filestore: Filestore) -> DamageReport:
    """Deletes two of three orders with their attachments' rows, and every second file of the remaining ones.

    In READ COMMITTED, as a script in psql: it waits for customers who delete the same rows, and then passes over them.
    In REPEATABLE READ it would fail. Orders before attachments, as the shop deletes them: in the other order the two
    would wait for each other (deadlock).
    """
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    with connection.transaction():
        orders = connection.execute("DELETE FROM sale_order WHERE id %% 3 <> 0 RETURNING id", []).fetchall()
        attachments = connection.execute(
            "DELETE FROM ir_attachment WHERE res_model = 'sale.order' AND res_id = ANY(%s) RETURNING store_fname",
            [[order_id for (order_id,) in orders]],
        ).fetchall()
        for (fname,) in attachments:
            filestore.mark_for_gc(fname)
    left = connection.execute("SELECT DISTINCT store_fname FROM ir_attachment ORDER BY store_fname").fetchall()
    unlinked = sum(filestore.unlink(fname) for (fname,) in left[::2])
    return DamageReport(len(orders), len(attachments), unlinked)
