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
from ocore_api.cache.queries import Served
from ocore_api.views.console import environments, rollbacks
from ocore_api.views.console.rollbacks import Control
from ocore_api.views.values import Object, Resource, encode


def environment_row(served: Served, entry: EnvironmentEntry) -> Object:
    """:class:`ocore_api.views.console.models.EnvironmentRow`."""
    policy = served.policies.get((entry.namespace, entry.name)) or {}
    return {
        **from_json(entry.row),
        "operation": _operation(served, entry),
        "newestComplete": _short(served.newest(entry, COMPLETE)),
        "newestVerified": _short(served.newest(entry, VERIFIED)),
        "newestRestoreTested": _short(served.newest(entry, RESTORE_TESTED)),
        "nextSnapshotAt": (policy.get("status") or {}).get("nextScheduleTime"),
        "snapshots": len(served.of(SnapshotEntry, entry.id)),
    }


def environment_details(served: Served, entry: EnvironmentEntry, now: str) -> Object:
    """:class:`ocore_api.views.console.models.EnvironmentDetails`."""
    policy = served.policies.get((entry.namespace, entry.name))
    return {
        **environment_row(served, entry),
        **from_json(decompress(entry.details)),
        "policy": environments.policy(Resource(policy)) if policy is not None else None,
        "undoWindows": [
            {
                "deploymentId": each.id,
                "until": each.control.kept_until,
                "completedAt": from_json(each.encoded)["completedAt"],
            }
            for each in served.of(RollbackEntry, entry.id)
            if each.control.kept_until and not undo_refusal(served, each, each.control, now)
        ],
    }


def rank(served: Served, entry: EnvironmentEntry) -> int:
    """The worse, the lower: not ready, no rollback possible, nothing to return to, not known, all is well."""
    if entry.ready is False:
        return 0
    if entry.rollback_ready is False:
        return 1
    if served.newest(entry, COMPLETE) is None:
        return 2
    return 3 if entry.ready is None or entry.rollback_ready is None else 4


def rollback_details(served: Served, entry: RollbackEntry, now: str) -> Object:
    """:class:`ocore_api.views.console.models.RollbackDetails`."""
    by = served.at((ROLLBACK, entry.namespace, entry.control.undone_by))
    return {
        **from_json(entry.console),
        "deploymentId": served.deployment_of(entry),
        **rollbacks.decided(entry.control, undo_refusal(served, entry, entry.control, now)),
        "undoneById": by.id if by is not None and by.environment_id == entry.environment_id else None,
    }


def undo_refusal(served: Served, entry: RollbackEntry, control: Control, now: str) -> str:
    """Why a Rollback cannot be undone: as `control` says, or because the newest one into the same environment that ran
    after it keeps something; empty where it can."""
    refusal = control.undo_refusal(now)
    for each in served.of(RollbackEntry, entry.environment_id):
        if refusal or each is entry or each.order <= entry.order:
            break
        if each.control.switched_at and not each.control.undone_by:
            refusal = (
                f"Rollback {each.name} ran after it: an undo would lose what that one did. Undo {each.name} first."
            )
    return refusal


def changed_object(served: Served, change: Change, now: str) -> bytes | None:
    """The JSON of what a change is about; None where it does not exist any more, or is of another environment."""
    entry = served.find(change.type, change.id)
    if entry is None or (entry.environment_id, entry.project_id) != (change.environment_id, change.project_id):
        return None
    if isinstance(entry, EnvironmentEntry):
        return encode(environment_row(served, entry))
    if isinstance(entry, RollbackEntry):
        return encode(rollback_details(served, entry, now))
    return entry.console if isinstance(entry, OperationEntry) else None


def _short(entry: SnapshotEntry | None) -> Object | None:
    return {"id": entry.id, "name": entry.name, "time": entry.time} if entry is not None else None


def _operation(served: Served, entry: EnvironmentEntry) -> Object | None:
    """What has the operation lock. Its id is shown where it is of this environment."""
    if entry.operation is None:
        return None
    kind, name = entry.operation
    found = served.at((kind, entry.namespace, name))
    known = isinstance(found, OperationEntry) and found.environment_id == entry.id
    event = event_of(found.progress) if isinstance(found, OperationEntry) and known else {"step": None, "percent": 0}
    return {
        "kind": kind.lower(),
        "id": found.id if found is not None and known else None,
        "name": name,
        "since": entry.operation_since,
        "step": event["step"],
        "percent": event["percent"],
    }
