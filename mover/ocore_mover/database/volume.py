"""Space on the volume of a server's databases: what is used, what a restore needs, and a watch while it loads.

A full volume stops the live database. Used is what shares the volume with it: all tablespaces, and the WAL, which
replication slots may retain without an end.
"""

import time
from dataclasses import dataclass, field

import psycopg

from ocore_crds import conditions
from ocore_crds.text.quantity import human
from ocore_crds.text.sentences import shown
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError

#: The restored copy, and the files that building its indexes needs.
SPACE_FACTOR = 1.5
#: Share of the capacity that stays free for the live database, at most RESERVE_BYTES.
RESERVE_SHARE = 0.05
RESERVE_BYTES = 1 << 30
#: Seconds between two measurements at least; they take at most a tenth of the time.
_EVERY = 1.0
_SHARE_OF_TIME = 10

_TABLESPACES = "SELECT coalesce(sum(pg_tablespace_size(oid)), 0) FROM pg_tablespace"
#: What any role may read: its own tablespaces whole, of the others the databases that it may connect to.
_READABLE = """
SELECT greatest(
  (SELECT coalesce(sum(pg_tablespace_size(t.oid)), 0) FROM pg_tablespace t
   WHERE has_tablespace_privilege(t.oid, 'CREATE')
     OR t.oid = (SELECT dattablespace FROM pg_database WHERE datname = current_database())),
  (SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')))
"""
_WAL = "SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()"
_RETAINED = """
SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE
  (SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0) FROM pg_replication_slots) END
"""
_DOWN = (
    "SELECT slot_name::text FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL AND wal_status <>"
    " 'lost' ORDER BY 1"
)
_LIMITS = """
SELECT pg_size_bytes(current_setting('max_wal_size')),
       (SELECT CASE WHEN setting::bigint < 0 THEN NULL ELSE setting::bigint * 1048576 END
          FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
"""


@dataclass(frozen=True)
class Used:
    """Bytes of all tablespaces and of the WAL."""

    tables: int
    wal: int
    warnings: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Both."""
        return self.tables + self.wal


def used(connection: Connection) -> Used:
    """What is used now, with a warning where not all of it may be read. Raises psycopg.Error."""
    tables, all_tables = _first(connection, _TABLESPACES, _READABLE)
    wal, all_wal = _first(connection, _WAL, _RETAINED)
    user = connection.info.user
    warnings = []
    if not all_tables:
        warnings.append(
            f"the used space counts only the databases and tablespaces that {shown(user)} may read; a member of"
            " pg_read_all_stats counts all"
        )
    if not all_wal:
        warnings.append(
            "of the server's WAL only what replication slots retain is counted; a member of pg_monitor counts all"
        )
    return Used(tables, wal, tuple(warnings))


def check(connection: Connection, size_bytes: int, capacity: int, *, setting: str) -> tuple[str, ...]:
    """Raises MoverError InsufficientCapacity where a copy of `size_bytes` does not fit beside the rest. `setting`:
    where the capacity is from.

    Returns warnings. Raises psycopg.Error.
    """
    now = used(connection)
    growth, why = _wal_of(connection, size_bytes, now.wal)
    wanted = int(size_bytes * SPACE_FACTOR)
    if now.total + wanted + growth <= capacity - reserve(capacity):
        return now.warnings
    raise MoverError(
        conditions.INSUFFICIENT_CAPACITY,
        f"the server uses {human(now.total)} ({human(now.wal)} of it for WAL), and the restored copy needs up to"
        f" {human(wanted)} ({SPACE_FACTOR} times {human(size_bytes)}) and {human(growth)} of WAL{why}, but the volume"
        f" holds {human(capacity)} ({setting}), of which {human(reserve(capacity))} stay free. Enlarge the volume, or"
        " free space on it",
    )


def reserve(capacity: int) -> int:
    """Bytes that a restore leaves free."""
    return min(int(capacity * RESERVE_SHARE), RESERVE_BYTES)


def _wal_of(connection: Connection, size_bytes: int, wal: int) -> tuple[int, str]:
    """Bytes by which the WAL grows during a load, which writes about as much of it as data, and what retains it."""
    limit, keep = connection.execute(_LIMITS.encode()).fetchone() or (0, None)
    recycled = min(size_bytes, max(limit - wal, 0))
    down = [str(row[0]) for row in connection.execute(_DOWN.encode())]
    if not down:
        return recycled, ""
    retained = size_bytes if keep is None else min(size_bytes, max(keep - wal, 0))
    return max(
        recycled, retained
    ), f" (retained by replication slots without a client: {', '.join(map(shown, down[:5]))})"


def _first(connection: Connection, query: str, fallback: str) -> tuple[int, bool]:
    """The value, and whether the role may read all of it."""
    for text in (query, fallback):
        try:
            row = connection.execute(text.encode()).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            if text is fallback:
                raise
            continue
        return int(row[0]) if row is not None else 0, text is query
    raise AssertionError("unreachable")


@dataclass
class Watch:
    """Ends a load before it uses the reserve of the server's volume."""

    capacity: int
    database: str  # that is loaded, and dropped then
    _next: float = field(default=0.0, init=False)

    def __call__(self, connection: Connection) -> None:
        """Raises MoverError InsufficientCapacity. Measures at intervals; a server that does not answer is the load's
        matter."""
        began = time.monotonic()
        if began < self._next or connection.closed:
            return
        try:
            now = used(connection)
        except psycopg.Error:
            return
        finally:
            ended = time.monotonic()
            self._next = ended + max(_EVERY, (ended - began) * _SHARE_OF_TIME)
        if now.total > self.capacity - reserve(self.capacity):
            raise MoverError(
                conditions.INSUFFICIENT_CAPACITY,
                f"loading {self.database} was stopped, and it is dropped: the server uses {human(now.total)}"
                f" ({human(now.wal)} of it for WAL), and {human(reserve(self.capacity))} of the volume's"
                f" {human(self.capacity)} must stay free for the live database. Look for replication slots that retain"
                " WAL (pg_replication_slots) and archiving that fails (pg_stat_archiver), or enlarge the volume",
            )
