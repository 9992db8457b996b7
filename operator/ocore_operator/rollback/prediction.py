"""How long a rollback would take, from what was recorded: earlier rollbacks of the environment, else the snapshot's own times. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ocore_crds.preview import PreviewPrediction
from ocore_crds.quantity import human, span
from ocore_crds.rollback import RollbackStatus
from ocore_operator.clock import parse

#: Earlier rollbacks that count: the newest ones.
LATEST = 5
#: Seconds of a rollback that do not grow with the database: Jobs that start, checks.
FIXED_SECONDS = 6.0
#: A restore takes this many times as long as the dump: indexes are built, and the copy is analyzed. Measured: 1.9 to 2.6 (docs/performance.md).
RESTORE_PER_DUMP = 2.5


@dataclass(frozen=True)
class PastRollback:
    """One that switched and whose workloads became ready."""

    ended: str
    #: Seconds from its start until the workloads stopped: the part that grows with the database.
    restore_seconds: float
    #: Seconds from the stop of the workloads until they were ready; None: it stopped none.
    downtime_seconds: float | None
    #: Size of its snapshot's database; None: the Snapshot does not exist any more.
    database_bytes: int | None = None


@dataclass(frozen=True)
class SnapshotRates:
    """What the snapshot recorded about itself. Seconds are None where the step did not run."""

    database_bytes: int = 0
    dump_seconds: float | None = None
    filestore_bytes: int = 0
    copy_seconds: float | None = None


def past_of(status: RollbackStatus, database_bytes: int | None) -> PastRollback | None:
    """The figures of a finished Rollback; None where it did not restore a snapshot and stay on it."""
    if status.undo is not None or status.switched_at is None or status.switched_back_at is not None:
        return None
    if status.started_at is None or status.quiesced_at is None or status.ready_at is None:
        return None
    stopped = parse(status.quiesced_at)
    down = (parse(status.ready_at) - stopped).total_seconds()
    return PastRollback(
        ended=status.ready_at,
        restore_seconds=max((stopped - parse(status.started_at)).total_seconds(), 0.0),
        downtime_seconds=down if any(w.replicas for w in status.workloads) else None,
        database_bytes=database_bytes,
    )


def predict(past: Sequence[PastRollback], rates: SnapshotRates, bytes_to_move: int | None) -> PreviewPrediction:
    """The prediction. `bytes_to_move`: of files; None: unknown."""
    newest = sorted(past, key=lambda p: p.ended, reverse=True)[:LATEST]
    downs = [p.downtime_seconds for p in newest if p.downtime_seconds is not None]
    down = round(median(downs), 1) if downs else None
    if newest:
        restore = median(_scaled(p, rates.database_bytes) for p in newest)
        text = f"Median of the last {len(newest)} rollbacks of this environment" if len(newest) > 1 else "The last one"
        size = f", the restore scaled to a database of {human(rates.database_bytes)}" if rates.database_bytes else ""
        return PreviewPrediction(
            duration_seconds=round(restore + (down or 0.0), 1),
            duration_source="Rollbacks",
            downtime_seconds=down,
            downtime_source="Rollbacks" if down is not None else "Unknown",
            rollbacks=len(newest),
            explanation=f"{text}{size}.",
        )
    found = _from_snapshot(rates, bytes_to_move)
    if found is None:
        return PreviewPrediction(
            explanation="No rollback of this environment has run yet, and the snapshot recorded no times."
        )
    seconds, how = found
    return PreviewPrediction(
        duration_seconds=round(seconds, 1),
        duration_source="Snapshot",
        explanation=f"No rollback of this environment has run yet. The duration is estimated from the snapshot: {how}. The downtime is unknown.",
    )


def _scaled(past: PastRollback, database_bytes: int) -> float:
    """Seconds of the restore, had its database been of this size."""
    if not past.database_bytes or not database_bytes:
        return past.restore_seconds
    fixed = min(FIXED_SECONDS, past.restore_seconds)
    return fixed + (past.restore_seconds - fixed) * database_bytes / past.database_bytes


def _from_snapshot(rates: SnapshotRates, bytes_to_move: int | None) -> tuple[float, str] | None:
    """Database and files are restored in parallel: the longer one counts."""
    parts: list[tuple[float, str]] = []
    if rates.dump_seconds is not None and rates.database_bytes:
        parts.append(
            (rates.dump_seconds * RESTORE_PER_DUMP, f"its dump took {span(rates.dump_seconds)}, a restore takes {RESTORE_PER_DUMP} times as long")
        )  # fmt: skip
    move = rates.filestore_bytes if bytes_to_move is None else bytes_to_move
    if rates.copy_seconds is not None and rates.filestore_bytes and move:
        seconds = rates.copy_seconds * move / rates.filestore_bytes
        parts.append(
            (seconds, f"its {human(rates.filestore_bytes)} of files were copied in {span(rates.copy_seconds)}")
        )
    if not parts:
        return None
    seconds, how = max(parts)
    return FIXED_SECONDS + seconds, how
