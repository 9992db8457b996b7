"""Snapshots: taken and deleted."""

from dataclasses import dataclass

from ocore_api.cache import Cache, EnvironmentEntry, SnapshotEntry
from ocore_api.errors import Conflict, NotFound, Problem
from ocore_api.writes import keys
from ocore_api.writes.client import Client, Object
from ocore_api.writes.refusals import translated
from ocore_crds import naming
from ocore_crds.conditions import is_terminal
from ocore_kube.errors import AlreadyExists
from ocore_kube.types import SNAPSHOTS

#: Statuses of an operation that has not ended.
OPEN = ("pending", "running")


@dataclass(frozen=True)
class Taken:
    """An accepted Snapshot."""

    name: str
    id: str


async def take(client: Client, cache: Cache, environment: EnvironmentEntry, subject: str, key: str | None) -> Taken:
    """Creates a Snapshot, or finds the one that the same key has created before. It may have ended by now; once it is
    deleted, the key counts again.

    Raises Problem: InvalidIdempotencyKey and IdempotencyKeyReused, AdmissionRefused, QuotaExceeded.
    """
    identity = keys.identity("Snapshot", subject, environment.id, key)
    body = _snapshot(environment, cache.policy_of(environment), identity.name(environment.name), subject)
    with translated():
        try:
            made = await client.create(SNAPSHOTS, body)
        except AlreadyExists:
            made = await _before(client, body)
    cache.store.put("Snapshot", made)
    return Taken(made["metadata"]["name"], made["spec"].get("id") or made["metadata"]["uid"])


def _snapshot(environment: EnvironmentEntry, policy: Object | None, name: str, subject: str) -> Object:
    spec: Object = {
        "environmentRef": {"name": environment.name},
        "trigger": "Manual",
        "retention": "Policy",
        "deletionPolicy": "Delete",
        "requestedBy": subject,
    }
    timeout = (policy or {}).get("spec", {}).get("timeoutSeconds")
    if timeout is not None:
        spec["timeoutSeconds"] = timeout
    # POST has no body.
    annotations = {naming.ANNOTATION_REQUEST: keys.body_digest({}), naming.ANNOTATION_REQUESTED_AT: keys.now()}
    metadata = {"namespace": environment.namespace, "name": name, "annotations": annotations}
    return {"apiVersion": SNAPSHOTS.api_version, "kind": SNAPSHOTS.kind, "metadata": metadata, "spec": spec}


async def _before(client: Client, body: Object) -> Object:
    """The object that a request with the same key has created. Raises IdempotencyKeyReused where it is not of such a
    request."""
    metadata = body["metadata"]
    found = await client.get(SNAPSHOTS, metadata["namespace"], metadata["name"])
    if found is None or "deletionTimestamp" in found["metadata"]:
        raise being_deleted()
    if not same_request(found, body):
        raise keys.reused()
    return found


def same_request(found: Object, body: Object) -> bool:
    """Whether an object that exists is of the same request as `body`: the digest of the request, and who sent it."""
    annotations = found["metadata"].get("annotations") or {}
    wanted = body["metadata"]["annotations"][naming.ANNOTATION_REQUEST]
    same_subject = (found.get("spec") or {}).get("requestedBy") == body["spec"]["requestedBy"]
    return bool(annotations.get(naming.ANNOTATION_REQUEST) == wanted and same_subject)


def being_deleted() -> Problem:
    """The object of the key is just being deleted."""
    return Conflict(
        "BeingDeleted", "What this Idempotency-Key created is being deleted. Repeat the request, or send another key."
    )


async def delete(client: Client, cache: Cache, snapshot: SnapshotEntry) -> None:
    """Deletes a Snapshot and its data. The operator removes the data after the answer; the Snapshot is hidden from now
    on.

    Raises Problem: NotFound; Conflict where it is pinned (SnapshotPinned), runs (SnapshotRunning), differentials need
    it (SnapshotHasDependents), a rollback uses it (SnapshotInUse), Git owns `deletionPolicy` and wants the data kept
    (FieldOwned), or admission refuses it.
    """
    with translated():
        live = await client.get(SNAPSHOTS, snapshot.namespace, snapshot.name)
        if live is None or live["metadata"]["uid"] != snapshot.uid or "deletionTimestamp" in live["metadata"]:
            cache.store.hide("Snapshot", snapshot.uid)
            raise _gone()
        _need_deletable(live)
        _need_unused(cache, snapshot)
        if live["spec"].get("deletionPolicy") != "Delete":
            # Admission is asked first: a refused deletion must not leave the data of a Snapshot that stays marked for
            # removal.
            await client.delete(SNAPSHOTS, snapshot.namespace, snapshot.name, uid=snapshot.uid, dry_run=True)
            if await client.apply_with_owned(SNAPSHOTS, live, {"deletionPolicy": "Delete"}) is None:
                raise _gone()
        await client.delete(SNAPSHOTS, snapshot.namespace, snapshot.name, uid=snapshot.uid)
    cache.store.hide("Snapshot", snapshot.uid)


def _gone() -> NotFound:
    return NotFound("NotFound", "The snapshot was deleted.")


def _need_deletable(live: Object) -> None:
    if (live.get("spec") or {}).get("pin") is not None:
        raise Conflict("SnapshotPinned", "The snapshot is pinned. Remove the pin first: DELETE …/pin.")
    if not is_terminal((live.get("status") or {}).get("conditions") or ()):
        raise Conflict("SnapshotRunning", "The snapshot is not finished. Wait until it is completed or failed.")
    needing = len((live.get("status") or {}).get("dependents") or ())
    if needing:
        text = f"{needing} differential snapshots need this full one. Delete them first."
        raise Conflict("SnapshotHasDependents", text)


def _need_unused(cache: Cache, snapshot: SnapshotEntry) -> None:
    """No Rollback that has not ended restores it. One of another namespace counts once it runs: before that, its claim
    to the snapshot is not proven. One that is newer than the cache is protected by the operator: the Snapshot then
    stays until its end."""
    for rollback in cache.served.rollbacks_to(snapshot.id):
        if rollback.status == "running" or (rollback.status == "pending" and rollback.namespace == snapshot.namespace):
            raise Conflict(
                "SnapshotInUse", "A rollback that has not ended restores this snapshot. Delete the snapshot afterwards."
            )
