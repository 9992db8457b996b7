"""Snapshots for the console, from raw objects: what the view of existing clients lacks. Pure; JSON-ready."""

from ocore_api.views.values import Object, Resource, identity, text
from ocore_crds import conditions as c
from ocore_crds.resources import remote_copy
from ocore_crds.resources.restore_test import open_run


def additions(obj: Resource, progress: Object) -> Object:
    """The fields of :class:`ocore_api.views.console.models.ConsoleSnapshot` that a SnapshotView lacks. `progress`: the
    data of its event."""
    spec, status = obj.spec, obj.status
    kept, remote = status.get("keptBy"), _remote(status)
    return {
        "name": obj.meta["name"],
        "consistentAt": text(status, "consistentAt"),
        "requestedBy": text(spec, "requestedBy"),
        "step": progress["step"],
        "percent": progress["percent"],
        "filestoreFiles": (status.get("sizes") or {}).get("filestoreFiles"),
        "baseId": identity(status.get("base") or {}, "id"),
        "dependents": len(status.get("dependents") or ()),
        "verified": _verified(obj),
        "retention": (spec.get("retention") or "Keep").lower(),
        "deletionPolicy": (spec.get("deletionPolicy") or "Retain").lower(),
        "keptBy": list(kept) if kept is not None else None,
        "ruleEnds": dict(status.get("ruleEnds") or {}),
        "deletedNext": kept is not None and not kept and not (remote or {}).get("keptBy"),
        "remote": remote,
        "restoreTest": _restore_test(obj),
        "storeName": text(status, "storeName"),
        "manifestSha256": text(status, "manifestSha256"),
        "serverVersion": text(status, "serverVersion"),
        "warnings": list((status.get("evidence") or {}).get("warnings") or ()),
    }


def shown_time(obj: Resource) -> str:
    """The point in time that a Snapshot shows."""
    status = obj.status
    return str(status.get("consistentAt") or status.get("completedAt") or obj.meta["creationTimestamp"])


def _verified(obj: Resource) -> bool | None:
    found = obj.conditions.get(c.VERIFIED, {})
    if found.get("reason") in (c.NOT_READ, c.CHECKSUMS_ONLY):
        return None
    return {"True": True, "False": False}.get(str(found.get("status")))


def _remote(status: Object) -> Object | None:
    found = status.get("remote")
    if not found:
        return None
    kept = status.get("remoteKeptBy")
    return {
        "state": remote_copy.named(found.get("state")),
        "storeName": str(found.get("storeName") or ""),
        "message": str(found.get("message") or ""),
        "completedAt": text(found, "completedAt"),
        "bytes": int(found.get("bytes") or 0),
        "bytesDone": int(found.get("bytesDone") or 0),
        "keptBy": list(kept) if kept is not None else None,
        "expiresAt": text(status, "remoteExpiresAt"),
        "onlyCopy": bool(found.get("only")),
    }


def _restore_test(obj: Resource) -> Object | None:
    """`pending` while a request has no answer; else by the condition."""
    test, condition = obj.status.get("restoreTest"), obj.conditions.get(c.RESTORE_TESTED, {})
    pending = open_run(obj.raw) is not None
    if not test and not condition and not pending:
        return None
    test = test or {}
    failed = "failed" if test.get("findings") or condition.get("status") == "False" else "pending"
    ended = "succeeded" if condition.get("status") == "True" else failed
    return {
        "result": "pending" if pending else ended,
        "reason": str(condition.get("reason") or ""),
        "message": str(condition.get("message") or ""),
        "testedAt": text(test, "testedAt"),
        "durationSeconds": test.get("durationSeconds"),
        "predictedRollbackSeconds": test.get("predictedRollbackSeconds"),
    }
