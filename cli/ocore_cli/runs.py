"""A Snapshot or a Rollback as something that runs: what both have in common, for people. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ocore_crds import conditions
from ocore_crds.conditions import Condition
from ocore_crds.kinds import ROLLBACK, SNAPSHOT, Kind
from ocore_crds.protocol import ROLLBACK_STEPS, SNAPSHOT_STEPS
from ocore_crds.quantity import human
from ocore_crds.rollback import RollbackSpec, RollbackStatus
from ocore_crds.snapshot import Progress, SnapshotSpec, SnapshotStatus, StepStatus

#: What the operator promises beyond a deadline (seconds).
_GRACE = 60


@dataclass(frozen=True)
class Run:
    """One operation as it stands."""

    kind: Kind
    name: str
    environment: str
    status: SnapshotStatus | RollbackStatus
    created: datetime
    deleting: bool

    @property
    def phase(self) -> str:
        """The summary that `kubectl get` shows."""
        return self.status.phase or "Pending"

    @property
    def outcome(self) -> Literal["Complete", "Failed"] | None:
        """None while it runs."""
        return conditions.outcome(self.status.conditions)

    @property
    def progress(self) -> Progress | None:
        """How far the running step is; None when nothing was reported."""
        return self.status.progress

    @property
    def steps(self) -> tuple[StepStatus, ...]:
        """All steps in their order, those to come as Pending."""
        known = {s.name: s for s in self.status.steps}
        order = ROLLBACK_STEPS if self.kind is ROLLBACK else SNAPSHOT_STEPS
        planned = [known.pop(s, StepStatus(name=s, state="Pending")) for s in order]
        return (*planned, *known.values())

    def ended(self) -> datetime | None:
        """When it ended; None while it runs."""
        return parse_time(self.status.completed_at)

    def elapsed(self, now: datetime) -> float:
        """Seconds since it was asked for, until it ended."""
        return max(0.0, ((self.ended() or now) - self.created).total_seconds())

    def waits_for(self) -> str:
        """What it waits for or works at; empty where nobody said."""
        if not self.status.conditions:
            return "the operator has not taken notice of it yet"
        found = conditions.find(self.status.conditions, conditions.RECONCILING)
        return found.message if found is not None and found.status == "True" else ""

    def troubles(self) -> tuple[Condition, ...]:
        """The conditions that say why it does not get on or has failed."""
        return bad_conditions(self.status.conditions)

    def result(self) -> str:
        """One line on what came out."""
        return (
            _rollback_result(self.status) if isinstance(self.status, RollbackStatus) else _snapshot_result(self.status)
        )


def run_of(kind: Kind, obj: dict[str, Any]) -> Run:
    """From the API server's object."""
    metadata, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status") or {}
    parsed: SnapshotStatus | RollbackStatus
    if kind is SNAPSHOT:
        parsed = SnapshotStatus.model_validate(status)
        environment = spec.get("environmentRef", {}).get("name", "")
    else:
        parsed = RollbackStatus.model_validate(status)
        environment = parsed.environment_name or ""
    created = parse_time(metadata.get("creationTimestamp")) or datetime.now(UTC)
    return Run(kind, metadata["name"], environment, parsed, created, "deletionTimestamp" in metadata)


def patience(kind: Kind, spec: dict[str, Any]) -> float:
    """Seconds after its start within which it is over by itself, whatever happens."""
    if kind is SNAPSHOT:
        return float(spec.get("timeoutSeconds", _default(SnapshotSpec, "timeout_seconds")) + _GRACE)
    ready = spec.get("readyTimeoutSeconds", _default(RollbackSpec, "ready_timeout_seconds"))
    # Not ready in time: switched back, and the workloads get as long again.
    return float(spec.get("timeoutSeconds", _default(RollbackSpec, "timeout_seconds")) + 2 * ready + _GRACE)


def _default(model: type[SnapshotSpec] | type[RollbackSpec], field: str) -> int:
    return int(model.model_fields[field].default)


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339."""
    return datetime.fromisoformat(text) if text else None


def bad_conditions(found: Iterable[Condition]) -> tuple[Condition, ...]:
    """Abnormal-true conditions that are true, and normal-true ones that are false."""
    abnormal = (conditions.STALLED, conditions.FAILED)
    normal = (conditions.READY, conditions.ROLLBACK_READY, conditions.VERIFIED)
    found = tuple(found)
    failed = conditions.is_true(found, conditions.FAILED)
    return tuple(
        c
        for c in found
        if (c.type in abnormal and c.status == "True")
        # Failed says it all: Ready only repeats it.
        or (c.type in normal and c.status == "False" and not failed and c.reason not in _NO_TROUBLE)
    )


#: False without anything being wrong: it has not got that far.
_NO_TROUBLE = frozenset(
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
    """``120.0 MiB of 222.0 MiB, 310 of 898 files``; empty where the step counts nothing."""
    parts = []
    if progress.bytes_total or progress.bytes_done:
        total = f" of {human(progress.bytes_total)}" if progress.bytes_total else ""
        parts.append(f"{human(progress.bytes_done)}{total}")
    if progress.files_total or progress.files_done:
        total = f" of {progress.files_total}" if progress.files_total else ""
        parts.append(f"{progress.files_done}{total} files")
    return ", ".join(parts)


def _snapshot_result(status: SnapshotStatus) -> str:
    if status.sizes is None:
        return ""
    sizes = status.sizes
    parts = [f"stored {human(sizes.stored_bytes)}"]
    if sizes.database_bytes:
        parts.append(f"database {human(sizes.database_bytes)}")
    if sizes.filestore_files:
        parts.append(f"{sizes.filestore_files} files of {human(sizes.filestore_bytes)}")
    if status.consistent_at:
        parts.append(f"shows {status.consistent_at}")
    return ", ".join(parts)


def _rollback_result(status: RollbackStatus) -> str:
    parts = []
    if status.position is not None:
        parts.append("runs on what was restored" if status.position == "New" else "runs on what it ran on before")
    if status.refused_seconds is not None:
        parts.append(f"the database refused connections for {duration(status.refused_seconds)}")
    stopped, ready = parse_time(status.quiesced_at), parse_time(status.ready_at)
    if stopped is not None and ready is not None:
        parts.append(f"workloads were stopped for {duration((ready - stopped).total_seconds())}")
    if status.undo_until and status.previous_database:
        parts.append(f"{status.previous_database} is kept until {status.undo_until}")
    return ", ".join(parts)
