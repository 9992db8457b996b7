"""How long a rollback would take, from what was measured last: an earlier rollback of the environment or a test
restore, else the snapshot's own times. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ocore_crds.protocol import Step
from ocore_crds.resources.preview import PreviewPrediction
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.resources.workloads import stop_sentence
from ocore_crds.text.quantity import human, span
from ocore_operator.clock import parse
from ocore_operator.workloads.view import WorkloadView

#: Earlier rollbacks that count: the newest ones.
LATEST = 5
#: Seconds of a rollback that do not grow with the database: Jobs that start, checks.
FIXED_SECONDS = 6.0
#: A restore takes this many times as long as the dump: indexes are built, and the copy is analyzed. Measured: 1.9 to
#: 2.6 (docs/performance.md).
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


@dataclass(frozen=True)
class MeasuredRestore:
    """The newest test restore of the environment that succeeded."""

    snapshot: str  # name of the Snapshot that was restored
    at: str
    #: Seconds to fetch the dump, load and check it; size of that Snapshot's database. Nothing for an environment
    #: without a database.
    database_seconds: float
    database_bytes: int
    #: Seconds to read all its files, and their bytes.
    files_seconds: float
    file_bytes: int
    #: Not on the environment's server, but on that of `verify.server`.
    separate_server: bool = False


def rates_of(status: SnapshotStatus) -> SnapshotRates:
    """What the Snapshot recorded about itself."""
    sizes = status.sizes
    return SnapshotRates(
        database_bytes=sizes.database_bytes if sizes is not None else 0,
        dump_seconds=_seconds(status, Step.DUMP_DATABASE),
        filestore_bytes=sizes.filestore_bytes if sizes is not None else 0,
        copy_seconds=_seconds(status, Step.COPY_FILESTORE),
    )


def _seconds(status: SnapshotStatus, step: Step) -> float | None:
    found = next((s for s in status.steps if s.name == step and s.state == "Done"), None)
    if found is None or found.started_at is None or found.completed_at is None:
        return None
    return (parse(found.completed_at) - parse(found.started_at)).total_seconds()


def measured_of(snapshot: str, status: SnapshotStatus) -> MeasuredRestore | None:
    """The figures of a Snapshot's newest test restore; None where it did not succeed."""
    test = status.restore_test
    if test is None or test.findings or test.predicted_rollback_seconds is None:
        return None
    return MeasuredRestore(
        snapshot=snapshot,
        at=test.tested_at,
        database_seconds=test.download_seconds + test.load_seconds + test.check_seconds,
        database_bytes=status.sizes.database_bytes if status.sizes is not None else 0,
        files_seconds=test.files_seconds,
        file_bytes=test.file_bytes,
        separate_server=test.separate_server,
    )


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


def predict(
    past: Sequence[PastRollback],
    tested: MeasuredRestore | None,
    rates: SnapshotRates,
    bytes_to_move: int | None,
    workloads: Sequence[WorkloadView] = (),
) -> PreviewPrediction:
    """The prediction. `bytes_to_move`: of files; None: unknown. The duration is from what was measured last; only
    rollbacks have a downtime. How long the workloads may take to stop is said in any case."""
    found = _measured(past, tested, rates, bytes_to_move)
    stops = stop_sentence({w.label: w.grace_seconds for w in workloads if w.target.has_template and w.replicas})
    return found.model_copy(update={"explanation": f"{found.explanation} {stops}".rstrip()})


def _measured(
    past: Sequence[PastRollback], tested: MeasuredRestore | None, rates: SnapshotRates, bytes_to_move: int | None
) -> PreviewPrediction:
    newest = sorted(past, key=lambda p: p.ended, reverse=True)[:LATEST]
    downs = [p.downtime_seconds for p in newest if p.downtime_seconds is not None]
    down = round(median(downs), 1) if downs else None
    if tested is not None and (not newest or parse(tested.at) > parse(newest[0].ended)):
        return PreviewPrediction(
            duration_seconds=round(_from_test(tested, rates, bytes_to_move) + (down or 0.0), 1),
            duration_source="TestRestore",
            downtime_seconds=down,
            downtime_source="Rollbacks" if down is not None else "Unknown",
            rollbacks=len(newest) if down is not None else 0,
            explanation=_of_test(tested, rates) + ("" if down is not None else " The downtime is unknown."),
        )
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
            explanation=(
                "No rollback and no test restore of this environment has run yet, and the snapshot recorded no times."
            )
        )
    seconds, how = found
    return PreviewPrediction(
        duration_seconds=round(seconds, 1),
        duration_source="Snapshot",
        explanation=(
            "No rollback and no test restore of this environment has run yet. The duration is estimated from the"
            f" snapshot: {how}. The downtime is unknown."
        ),
    )


def _scaled(past: PastRollback, database_bytes: int) -> float:
    """Seconds of the restore, had its database been of this size."""
    if not past.database_bytes or not database_bytes:
        return past.restore_seconds
    fixed = min(FIXED_SECONDS, past.restore_seconds)
    return fixed + (past.restore_seconds - fixed) * database_bytes / past.database_bytes


def _from_test(tested: MeasuredRestore, rates: SnapshotRates, bytes_to_move: int | None) -> float:
    """Seconds of a restore. Database and files are restored in parallel: the longer one counts."""
    database, files = tested.database_seconds, tested.files_seconds
    if tested.database_bytes and rates.database_bytes:
        database *= rates.database_bytes / tested.database_bytes
    move = rates.filestore_bytes if bytes_to_move is None else bytes_to_move
    if tested.file_bytes:
        files *= move / tested.file_bytes
    return FIXED_SECONDS + max(database, files)


def _of_test(tested: MeasuredRestore, rates: SnapshotRates) -> str:
    where = " on a server of its own" if tested.separate_server else ""
    scaled = bool(tested.database_bytes and rates.database_bytes)
    size = f", scaled to a database of {human(rates.database_bytes)}" if scaled else ""
    return f"Measured by the test restore of Snapshot {tested.snapshot} at {tested.at}{where}{size}."


def _from_snapshot(rates: SnapshotRates, bytes_to_move: int | None) -> tuple[float, str] | None:
    """Database and files are restored in parallel: the longer one counts."""
    parts: list[tuple[float, str]] = []
    if rates.dump_seconds is not None and rates.database_bytes:
        basis = f"its dump took {span(rates.dump_seconds)}, a restore takes {RESTORE_PER_DUMP} times as long"
        parts.append((rates.dump_seconds * RESTORE_PER_DUMP, basis))
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
