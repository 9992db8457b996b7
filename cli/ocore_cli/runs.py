"""A Snapshot or a Rollback as an operation: what both have in common. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ocore_crds import conditions
from ocore_crds.conditions import Condition
from ocore_crds.kinds import ROLLBACK, SNAPSHOT, Kind
from ocore_crds.reports.base import ROLLBACK_STEPS, SNAPSHOT_STEPS
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SAFETY_TRIGGER, Progress, SnapshotSpec, SnapshotStatus, StepStatus
from ocore_crds.text import timestamps
from ocore_crds.text.quantity import counted, human, span
from ocore_crds.text.sentences import sentence

#: Seconds after `status.deadline` within which the operator guarantees a terminal state (docs/decisions/0004).
_GRACE = 60
#: Seconds that this machine's clock may differ from the operator's, which wrote the deadline.
_CLOCK_DIFFERENCE = 30
#: Reasons of Verified for which a Snapshot cannot be restored.
_CORRUPT = (conditions.CORRUPT, conditions.BASE_CORRUPT)


@dataclass(frozen=True)
class Run:
    """One operation in its current state."""

    kind: Kind
    name: str
    namespace: str
    environment: str
    status: SnapshotStatus | RollbackStatus
    created: datetime
    #: `spec.timeoutSeconds`, or its default.
    timeout: int
    #: Whether it is a safety snapshot.
    safety: bool = False

    @property
    def phase(self) -> str:
        """The summary that `kubectl get` shows."""
        return self.status.phase or "Pending"

    @property
    def outcome(self) -> conditions.End | None:
        """How it ended; None while it is not terminal."""
        return conditions.outcome(self.status.conditions)

    @property
    def refused(self) -> bool:
        """Whether a Rollback failed in its preflight, so that it changed nothing."""
        return self.kind is ROLLBACK and any(s.name == "Preflight" and s.state == "Failed" for s in self.status.steps)

    @property
    def good(self) -> bool:
        """Whether a Snapshot is a state to return to. A safety snapshot can be restored, but shows what a Rollback
        replaced."""
        return self.restorable and not self.safety

    @property
    def restorable(self) -> bool:
        """Whether a Snapshot can be rolled back to, as far as is known: Complete, and not found to be corrupt, or with
        a whole copy in a remote store."""
        verified = conditions.find(self.status.conditions, conditions.VERIFIED)
        whole = verified is None or verified.reason not in _CORRUPT
        return self.outcome == "Complete" and (whole or conditions.is_true(self.status.conditions, conditions.READY))

    def not_undoable(self, now: datetime) -> str:
        """Why a Rollback cannot be undone, as far as its own status shows; empty where it can. The operator knows more,
        and decides."""
        status = self.status
        if not isinstance(status, RollbackStatus) or self.outcome is None:
            return f"is {self.phase}, not finished: to stop it, delete it"
        if status.undone_by is not None:
            return f"was undone by {status.undone_by} already: to go forth again, undo {status.undone_by}"
        until = parse_time(status.undo_until)
        if status.switched_at is None or until is None:
            return "has nothing to undo: it keeps no previous database"
        if status.residue != "Pending" or until <= now:
            return f"cannot be undone any more: its undo window ended at {status.undo_until}"
        return ""

    @property
    def remote_copy_only(self) -> Condition | None:
        """The condition Ready of a Snapshot that can be restored from its remote copy only; None for all others."""
        ready = conditions.find(self.status.conditions, conditions.READY)
        return ready if ready is not None and ready.reason == conditions.REMOTE_COPY_ONLY else None

    @property
    def progress(self) -> Progress | None:
        """Progress of the running step; None if nothing was reported."""
        return self.status.progress

    @property
    def steps(self) -> tuple[StepStatus, ...]:
        """All steps in order; later ones are Pending. A preview has none."""
        if self.phase in ("Previewing", "Previewed"):
            return ()
        known = {s.name: s for s in self.status.steps}
        if self.kind is ROLLBACK and known:
            return self.status.steps  # with those that its spec asks for, in order
        order = ROLLBACK_STEPS if self.kind is ROLLBACK else SNAPSHOT_STEPS
        planned = [known.pop(s, StepStatus(name=s, state="Pending")) for s in order]
        return (*planned, *known.values())

    def ended(self) -> datetime | None:
        """When it became terminal; None while it runs."""
        return parse_time(self.status.completed_at)

    def elapsed(self, now: datetime) -> float:
        """Seconds from its creation until it became terminal, or until now."""
        return max(0.0, ((self.ended() or now) - self.created).total_seconds())

    def seconds_left(self, now: datetime) -> float | None:
        """Seconds until it is terminal at the latest; negative if that time has passed. None while it is queued.

        The wait for another operation is bounded by that operation's deadline, which is not known here.
        """
        deadline = parse_time(self.status.deadline)
        if deadline is None:
            if self.status.conditions:
                return None
            deadline = self.created + timedelta(seconds=self.timeout)
        return (deadline - now).total_seconds() + _GRACE + _CLOCK_DIFFERENCE

    def waits_for(self) -> str:
        """What it does or waits for; empty if nothing was reported."""
        if not self.status.conditions:
            return "the operator has not observed it yet"
        found = conditions.find(self.status.conditions, conditions.RECONCILING)
        return found.message if found is not None and found.status == "True" else ""

    def problems(self) -> tuple[Condition, ...]:
        """The conditions that say why it is stalled or has failed."""
        return problem_conditions(self.status.conditions)

    def warnings(self) -> tuple[str, ...]:
        """What was found that blocks nothing: by the preflight of a Rollback, or by the Job of a Snapshot."""
        if isinstance(self.status, RollbackStatus):
            return tuple(w.message for w in self.status.warnings)
        return tuple(sentence(w) for w in self.status.evidence.warnings) if self.status.evidence is not None else ()

    def result(self) -> str:
        """The result in one line; empty if there is none."""
        return (
            _rollback_result(self.status) if isinstance(self.status, RollbackStatus) else _snapshot_result(self.status)
        )


def run_of(kind: Kind, obj: dict[str, Any]) -> Run:
    """The operation in an object of the API server."""
    metadata, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status") or {}
    parsed: SnapshotStatus | RollbackStatus
    if kind is SNAPSHOT:
        parsed = SnapshotStatus.model_validate(status)
        environment = spec.get("environmentRef", {}).get("name", "")
    else:
        parsed = RollbackStatus.model_validate(status)
        environment = parsed.environment_name or ""
    created = parse_time(metadata.get("creationTimestamp")) or datetime.now(UTC)
    started = parse_time(parsed.started_at)
    if started is not None:
        created = min(created, started)  # one that was imported is older than its object
    default = (SnapshotSpec if kind is SNAPSHOT else RollbackSpec).model_fields["timeout_seconds"].default
    return Run(
        kind,
        metadata["name"],
        metadata.get("namespace", ""),
        environment,
        parsed,
        created,
        int(spec.get("timeoutSeconds", default)),
        spec.get("trigger") == SAFETY_TRIGGER,
    )


def parse_time(text: str | None) -> datetime | None:
    """The time of an RFC 3339 text; None where it is missing, or no time to calculate with: tenants write some."""
    try:
        timestamps.check(str(text))
        return timestamps.parse(str(text))
    except ValueError:
        return None


def problem_conditions(found: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Abnormal-true conditions that are true, then normal-true ones that are false. After a failure, only `Failed`."""
    if conditions.is_true(found, conditions.FAILED):  # Stalled and Ready repeat its message
        return tuple(c for c in found if c.type == conditions.FAILED)
    normal = (conditions.READY, conditions.ROLLBACK_READY, conditions.VERIFIED)
    abnormal = (conditions.STALLED, conditions.PREFLIGHT_WARNINGS, conditions.INCOMPLETE)
    stalled = [c for c in found if c.type in abnormal and c.status == "True"]
    negative = [c for c in found if c.type in normal and c.status == "False" and c.reason not in _NO_PROBLEM]
    return (*stalled, *negative)


#: Reasons of a False condition that is no problem: the operation has not come that far.
_NO_PROBLEM = frozenset(
    {
        conditions.PENDING,
        conditions.RUNNING,
        conditions.NOT_READ,
        conditions.CHECKSUMS_ONLY,
        conditions.WAITING_FOR_OPERATION,
        conditions.WAITING_FOR_JOB_SLOT,
    }
)


def duration(seconds: float) -> str:
    """``0.4 s``, ``12.3 s``, ``4 min 07 s``, ``1 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def amounts(progress: Progress) -> str:
    """``120.0 MiB of 222.0 MiB, 310 of 898 files``; empty if the step counts nothing."""
    parts = []
    if progress.bytes_total or progress.bytes_done:
        total = f" of {human(progress.bytes_total)}" if progress.bytes_total else ""
        parts.append(f"{human(progress.bytes_done)}{total}")
    if progress.files_total or progress.files_done:
        total = f" of {progress.files_total}" if progress.files_total else ""
        parts.append(f"{progress.files_done}{total} files" if total else counted(progress.files_done, "file"))
    return ", ".join(parts)


def _snapshot_result(status: SnapshotStatus) -> str:
    if status.sizes is None:
        return ""
    sizes = status.sizes
    parts = [f"stored {human(sizes.stored_bytes)}"]
    if sizes.database_bytes:
        parts.append(f"database {human(sizes.database_bytes)}")
    if sizes.filestore_files:
        parts.append(f"{counted(sizes.filestore_files, 'file')} of {human(sizes.filestore_bytes)}")
    if status.base is not None:
        parts.append(f"differential to {status.base.name or status.base.id}")
    elif status.full_filestore and status.filestore is not None:
        parts.append("full filestore")
    if status.consistent_at:
        parts.append(f"shows {status.consistent_at}")
    return ", ".join(parts)


def _rollback_result(status: RollbackStatus) -> str:
    parts = []
    if status.undo is not None and status.position is not None:
        done = (
            "is undone" if status.position == "New" else "is not undone: the environment runs on what it ran on before"
        )
        parts.append(f"rollback {status.undo.rollback_name} {done}")
    elif status.position is not None:
        parts.append(
            "the environment runs on the snapshot"
            if status.position == "New"
            else "the environment runs on its previous data"
            if not status.live_missing
            else "the environment has no database"
        )
    if status.position == "New" and status.live_missing:
        parts.append(f"database {status.live_database} did not exist and was created")
    if status.evidence is not None and status.undo is None:
        copy = (
            f"the remote copy in {status.remote.store_name}"
            if status.remote is not None
            else "the snapshot's own store"
        )
        parts.append(f"it was read from {copy}")
    stopped, ready = parse_time(status.quiesced_at), parse_time(status.ready_at)
    down = any(w.replicas for w in status.workloads) and stopped is not None and ready is not None
    if down and stopped is not None and ready is not None:
        parts.append(f"the application was down for {span((ready - stopped).total_seconds())}")
    if status.refused_seconds is not None:
        of_that = " of that" if down else ""
        parts.append(f"the database refused connections for {span(status.refused_seconds)}{of_that}")
    kept = status.previous_database if status.position == "New" else status.restored_database
    if status.safety_snapshot_at is not None:
        parts.append(f"safety snapshot {status.safety_snapshot_name} shows {status.safety_snapshot_at}")
    if status.undone_by is not None:
        parts.append(f"undone by rollback {status.undone_by}")
    elif status.undo_until and kept:
        parts.append(f"{kept} is kept until {status.undo_until}")
    return ", ".join(parts)
