"""Snapshots: taken and deleted."""

from ocore_api.cache import Cache, EnvironmentEntry, SnapshotEntry
from ocore_api.errors import Problem
from ocore_api.views.values import Resource
from ocore_api.writes import keys
from ocore_api.writes.client import Client, Object, gone, read_live
from ocore_api.writes.creation import Creation, create
from ocore_crds.conditions import is_terminal
from ocore_kube.types import SNAPSHOTS


async def take(client: Client, cache: Cache, environment: EnvironmentEntry, subject: str, key: str | None) -> Resource:
    """Creates a Snapshot, or finds the one that the same key has created before.

    Raises Problem: InvalidIdempotencyKey and IdempotencyKeyReused, AdmissionRefused, QuotaExceeded.
    """
    identity = keys.identity("Snapshot", subject, environment.id, key)
    wanted = Creation(SNAPSHOTS, environment.namespace, identity.name(environment.name), subject, {})  # it has no body
    spec: Object = {
        "environmentRef": {"name": environment.name},
        "trigger": "Manual",
        "retention": "Policy",
        "deletionPolicy": "Delete",
    }
    timeout = (cache.policy_of(environment) or {}).get("spec", {}).get("timeoutSeconds")
    if timeout is not None:
        spec["timeoutSeconds"] = timeout
    return await create(client, cache, wanted, spec)


async def delete(client: Client, cache: Cache, snapshot: SnapshotEntry) -> None:
    """Deletes a Snapshot and its data. The operator removes the data after the answer; the Snapshot is hidden from now
    on.

    Raises Problem: NotFound; Conflict where it is pinned (SnapshotPinned), runs (SnapshotRunning), differentials need
    it (SnapshotHasDependents), a rollback uses it (SnapshotInUse), Git owns `deletionPolicy` and wants the data kept
    (FieldOwned), or admission refuses it.
    """
    try:
        live = await read_live(client, SNAPSHOTS, snapshot, deleting=False)
    except Problem:
        cache.store.hide("Snapshot", snapshot.uid)
        raise
    _need_deletable(live)
    _need_unused(cache, snapshot)
    if live["spec"].get("deletionPolicy") != "Delete":
        # Admission is asked first: a refused deletion must not leave the data of a Snapshot that stays marked for
        # removal.
        await client.delete(SNAPSHOTS, snapshot.namespace, snapshot.name, uid=snapshot.uid, dry_run=True)
        if await client.apply_with_owned(SNAPSHOTS, live, {"deletionPolicy": "Delete"}) is None:
            raise gone(snapshot)
    await client.delete(SNAPSHOTS, snapshot.namespace, snapshot.name, uid=snapshot.uid)
    cache.store.hide("Snapshot", snapshot.uid)


def _need_deletable(live: Object) -> None:
    if (live.get("spec") or {}).get("pin") is not None:
        raise Problem("SnapshotPinned", "The snapshot is pinned. Remove the pin first: DELETE …/pin.")
    if not is_terminal((live.get("status") or {}).get("conditions") or ()):
        raise Problem("SnapshotRunning", "The snapshot is not finished. Wait until it is completed or failed.")
    needing = len((live.get("status") or {}).get("dependents") or ())
    if needing:
        text = f"{needing} differential snapshots need this full one. Delete them first."
        raise Problem("SnapshotHasDependents", text)


def _need_unused(cache: Cache, snapshot: SnapshotEntry) -> None:
    """No Rollback that has not ended restores it. One of another namespace counts once it runs: before that, its claim
    to the snapshot is not proven. One that is newer than the cache is protected by the operator: the Snapshot then
    stays until its end."""
    for rollback in cache.served.rollbacks_to(snapshot.id):
        if rollback.status == "running" or (rollback.status == "pending" and rollback.namespace == snapshot.namespace):
            raise Problem(
                "SnapshotInUse", "A rollback that has not ended restores this snapshot. Delete the snapshot afterwards."
            )
