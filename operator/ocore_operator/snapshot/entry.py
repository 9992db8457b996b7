"""What the catalog keeps of a Snapshot, from its raw JSON: a resync reads thousands of objects. Pure."""

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.resources import read_back, remote_copy
from ocore_crds.resources.restore_test import open_run
from ocore_crds.rules.retention import candidate_of, told_of
from ocore_operator.entries import differentials
from ocore_operator.entries.signed import signed_of
from ocore_operator.entries.snapshots import RemoteFacts, RestoreTested, Retention, SnapshotEntry
from ocore_operator.kube.catalog import Work, common, shared
from ocore_operator.kube.resources import Object
from ocore_operator.snapshot import plan_state


def entry(obj: Object) -> SnapshotEntry:
    """Its entry."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    by_type = {x["type"]: x for x in status.get("conditions") or ()}
    reconciling = by_type.get(c.RECONCILING, {})
    sizes = status.get("sizes") or {}
    return SnapshotEntry(
        **common("Snapshot", obj, work),
        began=(status.get("phase") or "Pending") != "Pending",
        started=status.get("startedAt") or meta["creationTimestamp"],
        waits_for_lock=reconciling.get("status") == "True" and reconciling.get("reason") == c.WAITING_FOR_OPERATION,
        environment=shared(spec.get("environmentRef", {}).get("name") or ""),
        completed=status.get("completedAt") or "",
        store=shared(status.get("storeName") or ""),
        stored_bytes=int(sizes.get("storedBytes") or 0),
        filestore_bytes=int(sizes.get("filestoreStoredBytes") or 0),
        differential=status.get("fullFilestore") is False,
        imported=status.get("imported") is not None,
        retention=Retention(
            by_policy=spec.get("retention") == "Policy",
            trigger=shared(spec.get("trigger") or "Manual"),
            pinned=spec.get("pin") is not None,
            candidate=candidate_of(obj, used=()),
            told=told_of(obj),
        ),
        pairing=differentials.pairing_of(obj),
        signed=signed_of(obj),
        verified=shared(by_type.get(c.VERIFIED, {}).get("status", "Unknown")),
        of_corrupt=by_type.get(c.VERIFIED, {}).get("reason") == c.BASE_CORRUPT,
        verify_full=spec.get("verify") == "Full",
        restore=_restore(obj, by_type.get(c.RESTORE_TESTED, {})),
        remote=_remote(status),
    )


def work(obj: Object) -> Work:
    """What it asks of the operator."""
    stops = critical(obj)
    return Work(idle=idle(obj), urgent=stops, critical=stops, arriving=is_half(obj))


def idle(obj: Object) -> bool:
    """Whether a Snapshot needs no reconcile: it is terminal and nothing remains to be done."""
    status, meta, spec = obj.get("status") or {}, obj["metadata"], obj.get("spec") or {}
    conditions = status.get("conditions") or ()
    if "deletionTimestamp" in meta or not c.is_terminal(conditions) or status.get("residue") == "Pending":
        return False
    if status.get("observedGeneration") != meta.get("generation"):
        return False
    if c.outcome(conditions) == "Complete" and read_back.is_open(obj):
        return False
    if remote_copy.work_remains(obj) or open_run(obj) is not None:
        return False
    verified = c.raw_status(conditions, c.VERIFIED) != "Unknown"
    if c.outcome(conditions) != "Failed" and plan_state.differs_raw(obj):
        return False
    return c.outcome(conditions) == "Failed" or spec.get("verify") != "Full" or verified


def critical(obj: Object) -> bool:
    """Whether the Snapshot has stopped the application for its freeze, and has not started it again."""
    quiesce = (obj.get("status") or {}).get("quiesce") or {}
    return quiesce.get("stage") in ("Stop", "Drain", "Freeze", "Resume")


def is_half(obj: Object) -> bool:
    """Whether an import has created the Snapshot and was killed before it wrote the status. Reads raw JSON."""
    annotated = naming.ANNOTATION_IMPORT in (obj["metadata"].get("annotations") or {})
    return annotated and not (obj.get("status") or {}).get("phase")


def _remote(status: Object) -> RemoteFacts | None:
    found = status.get("remote")
    if not found:
        return None
    return RemoteFacts(
        state=shared(found.get("state") or ""),
        store=shared(found.get("storeName") or ""),
        requested=found.get("requestedAt") or "",
        local_deleted=bool(found.get("localDeletedAt")),
        only=bool(found.get("only")),
        store_id=shared(found.get("storeId") or ""),
        checked=found.get("checkedAt") or found.get("completedAt") or "",
        busy=bool(found.get("checkRequestedAt") or found.get("replaces")),
    )


def _restore(snapshot: Object, condition: Object) -> RestoreTested | None:
    status = snapshot.get("status", {})
    test, request = status.get("restoreTest") or {}, status.get("restoreTestRequest") or {}
    is_open = open_run(snapshot) is not None
    if not (test or request or condition or is_open):
        return None
    return RestoreTested(
        open=is_open,
        requested=request.get("run") or "",
        answered=tuple(test.get("answered") or ()),
        status=shared(condition.get("status", "Unknown")),
        reason=shared(condition.get("reason", "")),
        at=test.get("testedAt") or "",
    )
