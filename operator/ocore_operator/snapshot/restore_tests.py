"""Transitions of a Snapshot's status by its test restores. Pure: each returns a new status."""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.commands.test_restore import RestoreTestFigures
from ocore_crds.protocol import Failure, Finding, RestoreTestResult
from ocore_crds.resources.restore_test import RestoreTestFinding, RestoreTestStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.text.quantity import human, span
from ocore_operator import clock, damage, sources, summarize
from ocore_operator.kube.resources import Snapshot
from ocore_operator.summarize import Stamp

#: Seconds of a rollback that do not grow with the database: Jobs that start, checks, the switch.
FIXED_SECONDS = 6.0
#: Characters of each message, and warnings, that the status keeps.
_MESSAGE, _WARNINGS = 2000, 20


def tested(snapshot: Snapshot, run: str, result: RestoreTestResult, ended: str, now: datetime) -> SnapshotStatus:
    """A test gave a verdict. Where stored bytes are wrong, the Snapshot is Corrupt, as if it had been read back."""
    found = _status(snapshot, run, result.findings, ended or clock.text(now)).model_copy(
        update={
            **{name: getattr(result, name) for name in RestoreTestFigures.model_fields},
            "predicted_rollback_seconds": None if result.findings else predicted(result),
            "warnings": tuple(w[:_MESSAGE] for w in result.warnings[:_WARNINGS]),
            "checked": tuple(text[:_MESSAGE] for text in result.checked[:_WARNINGS]),
            "not_checked": tuple(text[:_MESSAGE] for text in result.not_checked[:_WARNINGS]),
        }
    )
    status = snapshot.status.model_copy(update={"restore_test": found})
    if not result.findings:
        status = _with(snapshot, status, "True", c.SUCCEEDED, _summary(result), now)
        own = sources.is_damaged(snapshot) and not damage.read_place(snapshot).is_copy
        return damage.read_whole(snapshot.with_status(status), now) if own else status
    first = next((f for f in result.findings if f.reason in damage.STORED_BYTES), result.findings[0])
    status = _with(snapshot, status, "False", first.reason, first.message, now)
    if first.reason in damage.STORED_BYTES:
        return _damaged(snapshot.with_status(status), first.message, now)
    return status


def without_verdict(snapshot: Snapshot, run: str, failure: Failure, now: datetime) -> SnapshotStatus:
    """No attempt could test it: because of the server, its rights, its space, or the Job. This says nothing about what
    is stored, unless the bytes of the manifest itself are wrong."""
    found = _status(snapshot, run, (failure,), clock.text(now))
    status = snapshot.status.model_copy(update={"restore_test": found})
    status = _with(snapshot, status, "False", failure.reason, failure.message, now)
    if failure.reason in damage.STORED_BYTES:
        return _damaged(snapshot.with_status(status), failure.message, now)
    return status


def _damaged(snapshot: Snapshot, message: str, now: datetime) -> SnapshotStatus:
    """Of the place that the test has read."""
    return damage.found(snapshot, message, now, in_copy=damage.read_place(snapshot).is_copy)


def pending(snapshot: Snapshot, reason: str, message: str, now: datetime) -> SnapshotStatus:
    """A test runs or waits. The verdict of an earlier one stays until then."""
    found = c.find(snapshot.status.conditions, c.RESTORE_TESTED)
    if found is not None and found.status != "Unknown":
        return snapshot.status.model_copy(update={"observed_generation": snapshot.meta.generation})
    return _with(snapshot, snapshot.status, "Unknown", reason, message, now)


def predicted(result: RestoreTestResult) -> float:
    """Seconds that a rollback would take at most: it restores database and files in parallel, and only the files that
    are missing."""
    database = result.download_seconds + result.load_seconds + result.check_seconds
    return round(FIXED_SECONDS + max(database, result.files_seconds), 1)


def _status(
    snapshot: Snapshot, run: str, findings: tuple[Finding, ...] | tuple[Failure, ...], at: str
) -> RestoreTestStatus:
    before = snapshot.status.restore_test
    # A slot and an annotation at most are asked at a time: what was answered before them is not asked again.
    answered = tuple(dict.fromkeys((*(before.answered if before is not None else ()), run)))[-4:]
    return RestoreTestStatus(
        answered=answered,
        tested_at=at,
        findings=tuple(RestoreTestFinding(reason=f.reason, message=f.message[:_MESSAGE]) for f in findings),
    )


def _summary(result: RestoreTestResult) -> str:
    parts = []
    if result.server:
        where = "a server of its own" if result.separate_server else "the environment's server"
        parts.append(
            f"{result.tables} tables with {result.rows} rows and {result.indexes} valid indexes were restored on"
            f" {where} ({result.server})"
        )
    if result.files:
        parts.append(f"{result.files} files ({human(result.file_bytes)}) match their digests")
    return f"{', '.join(parts) or 'Every byte was read'}, in {span(result.duration_seconds)}."


def _with(
    snapshot: Snapshot, status: SnapshotStatus, value: str, reason: str, message: str, now: datetime
) -> SnapshotStatus:
    stamp = Stamp.of(snapshot.meta, now)
    return summarize.with_condition(status, c.RESTORE_TESTED, value, reason, message, stamp)  # type: ignore[arg-type]
