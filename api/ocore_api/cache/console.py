"""The answers of the console's API from the cache: an entry's own JSON with what depends on the time and on other
objects. JSON-ready; no I/O."""

from datetime import datetime
from zlib import decompress

from pydantic_core import from_json

from ocore_api.cache.changes import Change
from ocore_api.cache.entries import (
    INCOMPLETE,
    RESTORE_TESTED,
    ROLLBACK,
    SAFETY,
    VERIFIED,
    EnvironmentEntry,
    OperationEntry,
    RollbackEntry,
    SnapshotEntry,
)
from ocore_api.cache.queries import Served
from ocore_api.cache.standing import Standing, standing
from ocore_api.views.console import environments, rollbacks
from ocore_api.views.console.rollbacks import Control
from ocore_api.views.values import Object, Resource, encode
from ocore_crds.text.timestamps import text


def environment_row(served: Served, of: Standing) -> Object:
    """:class:`ocore_api.views.console.models.EnvironmentRow`."""
    entry = of.entry
    overdue_at = text(of.overdue_at) if of.overdue_at is not None else None
    return {
        **from_json(entry.row),
        "state": of.state,
        "operation": _operation(served, entry),
        "lastGood": _good(of.last_good),
        "newestVerified": _short(served.newest(entry, VERIFIED)),
        "newestRestoreTested": _short(served.newest(entry, RESTORE_TESTED)),
        "safety": _short(served.newest(entry, SAFETY)),
        "overdueAt": overdue_at,
        "overdueSince": overdue_at if of.is_overdue else None,
        "expectedEverySeconds": int(of.every.total_seconds()) if of.every is not None else None,
        "nextSnapshotAt": of.next_at,
        "snapshots": len(served.of(SnapshotEntry, entry.id)),
        "sizeBytes": of.size,
    }


def environment_details(served: Served, entry: EnvironmentEntry, now: datetime) -> Object:
    """:class:`ocore_api.views.console.models.EnvironmentDetails`."""
    policy = served.policies.get((entry.namespace, entry.name))
    return {
        **environment_row(served, standing(served, entry, now)),
        **from_json(decompress(entry.details)),
        "policy": environments.policy(Resource(policy)) if policy is not None else None,
        "undoWindows": [
            _undo_window(served, each)
            for each in served.of(RollbackEntry, entry.id)
            if each.control.kept_until and not undo_refusal(served, each, each.control, now)
        ],
    }


def _undo_window(served: Served, entry: RollbackEntry) -> Object:
    known = from_json(entry.console)
    return {
        "deploymentId": entry.id,
        "kind": known["kind"],
        "switchedAt": known["switchedAt"],
        "snapshotAt": _restored_at(served, entry),
        "until": entry.control.kept_until,
        "completedAt": from_json(entry.encoded)["completedAt"],
    }


def _restored_at(served: Served, entry: RollbackEntry) -> str | None:
    """The state that a Rollback restores; None where its snapshot is not known, or of another environment."""
    id_ = from_json(entry.console)["snapshotId"]
    restored = served.find(SnapshotEntry, id_) if id_ else None
    own = restored is not None and restored.environment_id == entry.environment_id
    return restored.time if restored is not None and own else None


def rollback_details(served: Served, entry: RollbackEntry, now: datetime) -> Object:
    """:class:`ocore_api.views.console.models.RollbackDetails`."""
    by, known = served.at((ROLLBACK, entry.namespace, entry.control.undone_by)), from_json(entry.console)
    return {
        **known,
        "snapshotAt": _restored_at(served, entry),
        "deploymentId": served.deployment_of(entry),
        "direction": "back" if _undos(served, entry) % 2 == 0 else "forward",
        **rollbacks.decided(entry.control, undo_refusal(served, entry, entry.control, now)),
        "undoneById": by.id if by is not None and by.environment_id == entry.environment_id else None,
    }


def _undos(served: Served, entry: RollbackEntry) -> int:
    """Number of undos from a Rollback to what it undoes at last. One that is not known any more counts as no undo."""
    seen: set[str] = set()
    found: RollbackEntry | None = entry
    while found is not None and found.control.undoes and found.id not in seen:
        seen.add(found.id)
        of = served.at((ROLLBACK, found.namespace, found.control.undoes))
        found = of if isinstance(of, RollbackEntry) else None
    return len(seen)


def undo_refusal(served: Served, entry: RollbackEntry, control: Control, now: datetime) -> str:
    """Why a Rollback cannot be undone: as `control` says, or because the newest one into the same environment that ran
    after it keeps something; empty where it can."""
    refusal = control.undo_refusal(now)
    for each in served.of(RollbackEntry, entry.environment_id):
        if refusal or each is entry or each.order <= entry.order:
            break
        if each.control.switched_at and not each.control.undone_by:
            refusal = (
                f"Rollback `{each.name}` ran after it: an undo would lose what that one did. Undo `{each.name}` first."
            )
    return refusal


def changed_object(served: Served, change: Change, now: datetime) -> bytes | None:
    """The JSON of what a change is about; None where it does not exist any more, or is of another environment."""
    entry = served.find(change.type, change.id)
    if entry is None or (entry.environment_id, entry.project_id) != (change.environment_id, change.project_id):
        return None
    if isinstance(entry, EnvironmentEntry):
        return encode(environment_row(served, standing(served, entry, now)))
    if isinstance(entry, RollbackEntry):
        return encode(rollback_details(served, entry, now))
    return entry.console if isinstance(entry, OperationEntry) else None


def _short(entry: SnapshotEntry | None, **more: object) -> Object | None:
    return {"id": entry.id, "name": entry.name, "time": entry.time, **more} if entry is not None else None


def _good(entry: SnapshotEntry | None) -> Object | None:
    if entry is None:
        return None
    # What it lacks is missing after a restore too, however far the rest is proven.
    proofs = {INCOMPLETE: "incomplete", RESTORE_TESTED: "restoreTested", VERIFIED: "verified"}
    proof = next((shown for mark, shown in proofs.items() if mark in entry.marks), "complete")
    return _short(entry, label=entry.label, proof=proof)


def _operation(served: Served, entry: EnvironmentEntry) -> Object | None:
    """What has the operation lock. Its id is shown where it is of this environment."""
    if entry.operation is None:
        return None
    kind, name = entry.operation
    found = served.at((kind, entry.namespace, name))
    known = isinstance(found, OperationEntry) and found.environment_id == entry.id
    event = from_json(found.parts()[1]) if isinstance(found, OperationEntry) and known else {"step": None, "percent": 0}
    return {
        "kind": kind.lower(),
        "id": found.id if found is not None and known else None,
        "name": name,
        "since": entry.operation_since,
        "step": event["step"],
        "percent": event["percent"],
    }
