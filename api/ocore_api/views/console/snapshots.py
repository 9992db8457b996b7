"""Snapshots for the console, from raw objects: what the view of existing clients lacks. Pure; JSON-ready."""

from ocore_api.views.values import FINAL, Object, Resource, identity
from ocore_crds import conditions as c
from ocore_crds.resources import remote_copy
from ocore_crds.resources.restore_test import open_run
from ocore_crds.resources.snapshot import SAFETY_TRIGGER

#: Reasons of Verified: the bytes were not read again.
_UNREAD = (c.NOT_READ, c.CHECKSUMS_ONLY)
_TRUTH = {"True": True, "False": False}


def additions(obj: Resource, progress: Object) -> Object:
    """The fields of :class:`ocore_api.views.console.models.ConsoleSnapshot` that a SnapshotView lacks. `progress`: the
    data of its event."""
    spec, status = obj.spec, obj.status
    kept, verified = status.get("keptBy"), obj.conditions.get(c.VERIFIED, {})
    remote = _remote(status, status["remote"]) if status.get("remote") else None
    return {
        "name": obj.meta["name"],
        "isIncomplete": obj.conditions.get(c.INCOMPLETE, {}).get("status") == "True",
        "isSafety": spec.get("trigger") == SAFETY_TRIGGER,
        "image": (status.get("source") or {}).get("image") or None,
        "consistentAt": status.get("consistentAt") or None,
        "requestedBy": spec.get("requestedBy") or None,
        "step": progress["step"],
        "percent": progress["percent"],
        "filestoreFiles": (status.get("sizes") or {}).get("filestoreFiles"),
        "baseId": identity(status.get("base") or {}, "id"),
        "dependents": len(status.get("dependents") or ()),
        "verified": _TRUTH.get(str(verified.get("status"))) if verified.get("reason") not in _UNREAD else None,
        "retention": (spec.get("retention") or "Keep").lower(),
        "deletionPolicy": (spec.get("deletionPolicy") or "Retain").lower(),
        "keptBy": list(kept) if kept is not None else None,
        "ruleEnds": dict(status.get("ruleEnds") or {}),
        "deletedNext": kept is not None and not kept and not (remote or {}).get("keptBy"),
        "remote": remote,
        "restoreTest": _restore_test(obj) if obj.state in FINAL else None,
        "storeName": status.get("storeName") or None,
        "manifestSha256": status.get("manifestSha256") or None,
        "serverVersion": status.get("serverVersion") or None,
        "warnings": list((status.get("evidence") or {}).get("warnings") or ()),
    }


def _remote(status: Object, found: Object) -> Object:
    kept = status.get("remoteKeptBy")
    return {
        "state": remote_copy.named(found.get("state")),
        "storeName": str(found.get("storeName") or ""),
        "message": str(found.get("message") or ""),
        "completedAt": found.get("completedAt") or None,
        "bytes": int(found.get("bytes") or 0),
        "bytesDone": int(found.get("bytesDone") or 0),
        "keptBy": list(kept) if kept is not None else None,
        "expiresAt": status.get("remoteExpiresAt") or None,
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
        "testedAt": test.get("testedAt") or None,
        "durationSeconds": test.get("durationSeconds"),
        "predictedRollbackSeconds": test.get("predictedRollbackSeconds"),
    }
