"""What the catalog keeps of a Rollback, from its raw JSON: a resync reads thousands of objects. Pure."""

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.rules.history import finished_of
from ocore_crds.rules.retention import named_snapshot, safety_of, snapshot_used_by
from ocore_operator.entries.rollbacks import RollbackEntry
from ocore_operator.kube.catalog import Work, common, shared
from ocore_operator.kube.resources import Object
from ocore_operator.rollback.plan_after_end import cleanup_times

#: Stages in which the workloads are stopped or are being stopped, and those of them in which the database may refuse
#: connections.
SWITCHING = ("Switch", "Inspect", "BackJob")
STOPPED = (*SWITCHING, "Stop", "Drain", "Abort", "Resume", "BackStop", "BackDrain")


def entry(obj: Object) -> RollbackEntry:
    """Its entry."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    reconciling: Object = next((x for x in status.get("conditions") or () if x["type"] == c.RECONCILING), {})
    return RollbackEntry(
        **common("Rollback", obj, work),
        began=(status.get("phase") or "Pending") != "Pending" or status.get("startedAt") is not None,
        started=status.get("startedAt") or meta["creationTimestamp"],
        waits_for_lock=reconciling.get("status") == "True" and reconciling.get("reason") == c.WAITING_FOR_OPERATION,
        environment=shared(spec.get("targetEnvironmentRef", {}).get("name") or status.get("environmentName") or ""),
        completed=status.get("completedAt") or "",
        snapshot=named_snapshot(obj),
        restores=snapshot_used_by(obj),
        safety=safety_of(obj),
        preview=bool(spec.get("dryRun")),
        undoes=((spec.get("undo") or {}).get("rollbackRef") or {}).get("name") or "",
        cleanup_due=_cleanup_due(obj),
        finished=finished_of(obj),
    )


def work(obj: Object) -> Work:
    """What it asks of the operator."""
    stops = critical(obj)
    return Work(idle=idle(obj), urgent=stops or under_way(obj), critical=stops, arriving=is_half(obj))


def idle(obj: Object) -> bool:
    """Whether a Rollback needs no reconcile: terminal, without remaining cleanup."""
    status, meta = obj.get("status") or {}, obj["metadata"]
    remains = status.get("residue") == "Pending" and status.get("imported") is None
    terminal = status.get("stage") == "Ended" and not remains
    return terminal and naming.FINALIZER_ROLLBACK not in (meta.get("finalizers") or ())


def under_way(obj: Object) -> bool:
    """Whether the Rollback has the operation lock and has not ended."""
    status = obj.get("status") or {}
    return status.get("startedAt") is not None and status.get("stage") != "Ended"


def critical(obj: Object) -> bool:
    """Whether the Rollback has stopped the application, or is about to switch, and has not started it again."""
    status = obj.get("status") or {}
    return status.get("stage") in STOPPED and (bool(status.get("workloads")) or status.get("stage") in SWITCHING)


def is_half(obj: Object) -> bool:
    """Whether an import has created the Rollback and was killed before it wrote the status."""
    annotated = naming.ANNOTATION_IMPORT in (obj["metadata"].get("annotations") or {})
    return annotated and not (obj.get("status") or {}).get("imported")


def _cleanup_due(rollback: Object) -> str:
    """When its cleanup may begin: at the times of the plan, and not before it ended or its deletion was requested.
    Empty: none remains."""
    meta, status = rollback["metadata"], rollback.get("status", {})
    if status.get("stage") != "Ended" or status.get("residue") != "Pending":
        return ""
    deleted = meta.get("deletionTimestamp")
    times = cleanup_times(
        status.get("cleanupAfter"),
        status.get("cleanupAttempt") or 0,
        status.get("undoUntil"),
        deleting=deleted is not None,
    )
    return str(max((t for t in (*times, status.get("completedAt"), deleted) if t), default=meta["creationTimestamp"]))
