"""The answers of the console's API from the cache: an entry's own JSON with what depends on the time and on other
objects. JSON-ready; no I/O."""

from zlib import decompress

from pydantic_core import from_json

from ocore_api.cache.changes import Change
from ocore_api.cache.entries import (
    COMPLETE,
    RESTORE_TESTED,
    ROLLBACK,
    VERIFIED,
    EnvironmentEntry,
    OperationEntry,
    RollbackEntry,
    SnapshotEntry,
    event_of,
)
from ocore_api.cache.store import Store
from ocore_api.views.console import environments, rollbacks
from ocore_api.views.values import Object, encode


def environment_row(store: Store, entry: EnvironmentEntry) -> Object:
    """:class:`ocore_api.views.console.models.EnvironmentRow`."""
    policy = store.policy(entry.namespace, entry.name) or {}
    return {
        **from_json(entry.row),
        "operation": _operation(store, entry),
        "newestComplete": _short(store.newest(entry, COMPLETE)),
        "newestVerified": _short(store.newest(entry, VERIFIED)),
        "newestRestoreTested": _short(store.newest(entry, RESTORE_TESTED)),
        "nextSnapshotAt": (policy.get("status") or {}).get("nextScheduleTime"),
        "snapshots": len(store.snapshots_of(entry.id)),
    }


def environment_details(store: Store, entry: EnvironmentEntry, now: str) -> Object:
    """:class:`ocore_api.views.console.models.EnvironmentDetails`."""
    policy = store.policy(entry.namespace, entry.name)
    return {
        **environment_row(store, entry),
        **from_json(decompress(entry.details)),
        "policy": environments.policy(policy) if policy is not None else None,
        "undoWindows": [
            {
                "deploymentId": each.id,
                "until": each.control.kept_until,
                "completedAt": from_json(each.encoded)["completedAt"],
            }
            for each in store.rollbacks_of(entry.id)
            if each.control.kept_until and not _undo_refusal(store, each, now)
        ],
    }


def rank(store: Store, entry: EnvironmentEntry) -> int:
    """The worse, the lower: not ready, no rollback possible, nothing to return to, not known, all is well."""
    if entry.ready is False:
        return 0
    if entry.rollback_ready is False:
        return 1
    if store.newest(entry, COMPLETE) is None:
        return 2
    return 3 if entry.ready is None or entry.rollback_ready is None else 4


def rollback_details(store: Store, entry: RollbackEntry, now: str) -> Object:
    """:class:`ocore_api.views.console.models.RollbackDetails`."""
    by = store.operation_at(ROLLBACK, entry.namespace, entry.control.undone_by)
    return {
        **from_json(entry.console),
        "deploymentId": store.deployment_of(entry),
        **rollbacks.decided(entry.control, entry.control.undo_refusal(now) or superseded(store, entry)),
        "undoneById": by.id if by is not None and by.environment_id == entry.environment_id else None,
    }


def superseded(store: Store, entry: RollbackEntry) -> str:
    """Why a Rollback cannot be undone before a later one; empty where there is none."""
    return rollbacks.superseded(found) if (found := later(store, entry)) else ""


def later(store: Store, entry: RollbackEntry) -> str:
    """Name of the newest Rollback into the same environment that ran after it and keeps something; empty: none."""
    for each in store.rollbacks_of(entry.environment_id):
        if each is entry or each.order <= entry.order:
            return ""
        if each.control.switched_at and not each.control.undone_by:
            return each.name
    return ""


def changed_object(store: Store, change: Change, now: str) -> bytes | None:
    """The JSON of what a change is about; None where it does not exist any more, or is of another environment."""
    entry: EnvironmentEntry | OperationEntry | None
    match change.kind:
        case "Environment":
            entry = store.environment(change.id)
        case "Snapshot":
            entry = store.snapshot(change.id)
        case "Rollback":
            entry = store.preview(change.id) if change.preview else store.rollback(change.id)
        case _:
            entry = store.extract(change.id)
    if entry is None or (entry.environment_id, entry.project_id) != (change.environment_id, change.project_id):
        return None
    if isinstance(entry, EnvironmentEntry):
        return encode(environment_row(store, entry))
    return encode(rollback_details(store, entry, now)) if isinstance(entry, RollbackEntry) else entry.console


def _undo_refusal(store: Store, entry: RollbackEntry, now: str) -> str:
    return entry.control.undo_refusal(now) or superseded(store, entry)


def _short(entry: SnapshotEntry | None) -> Object | None:
    return {"id": entry.id, "name": entry.name, "time": entry.time} if entry is not None else None


def _operation(store: Store, entry: EnvironmentEntry) -> Object | None:
    """What has the operation lock. Its id is shown where it is of this environment."""
    if entry.operation is None:
        return None
    kind, name = entry.operation
    found = store.operation_at(kind, entry.namespace, name)
    known = found is not None and found.environment_id == entry.id
    event = event_of(found.progress) if found is not None and known else {"step": None, "percent": 0}
    return {
        "kind": kind.lower(),
        "id": found.id if found is not None and known else None,
        "name": name,
        "since": entry.operation_since,
        "step": event["step"],
        "percent": event["percent"],
    }
