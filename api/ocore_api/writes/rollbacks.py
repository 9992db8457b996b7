"""Rollbacks: started. Created with POST: what a server-side apply creates is a GitOps tool's, which the history limit
leaves alone."""

import asyncio
from dataclasses import dataclass
from typing import Any

from ocore_api.cache import Cache, EnvironmentEntry, RollbackEntry, SnapshotEntry
from ocore_api.errors import Problem
from ocore_api.views.values import Resource
from ocore_api.writes import keys
from ocore_api.writes.client import Client, Object, read_live
from ocore_api.writes.creation import OPEN, Creation, create, need_same_request
from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.rules import locking
from ocore_kube.types import ENVIRONMENTS, OPERATIONS, ROLLBACKS, SNAPSHOTS, STORES

#: Seconds between two reads of an operation lock whose holder has ended. The operator releases it after the terminal
#: status, so that a crash in between leaves a lock that it takes over.
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True)
class Request:
    """A rollback that was asked for. `environment`: of the path; it owns `snapshot`. `target`: what is replaced; the
    caller may see it, and it has the same project. `body`: the parsed body, for the comparison of two requests with one
    key."""

    environment: EnvironmentEntry
    snapshot: SnapshotEntry
    target: EnvironmentEntry
    create_safety_snapshot: bool
    body: dict[str, Any]


@dataclass(frozen=True)
class Started:
    """An accepted Rollback. `id`: the deploymentId; `environment_id`: the target's."""

    name: str
    id: str
    environment_id: str
    snapshot_id: str


def started(found: Resource) -> Started:
    """What a Rollback of the facade says of itself: the annotations count until the operator has read it."""
    recorded = found.meta["annotations"]
    return Started(
        name=found.meta["name"],
        id=found.id,
        environment_id=found.status.get("environmentId") or recorded[naming.ANNOTATION_TARGET_ID],
        snapshot_id=found.status.get("snapshotId") or recorded.get(naming.ANNOTATION_SNAPSHOT_ID, ""),
    )


async def repeated(
    cache: Cache, client: Client, subject: str, environment_id: str, key: str | None, body: dict[str, Any]
) -> Started | None:
    """What a request with the same key has started; None where there was none. Asked before everything else: by now the
    snapshot may be deleted, and the operation that runs may be this one.

    Raises IdempotencyKeyReused where it had another body.
    """
    if key is None:
        return None
    identity = keys.identity("Rollback", subject, environment_id, key)
    entry = await cache.find(RollbackEntry, identity.id)
    if entry is None:
        return None
    found = await client.get(ROLLBACKS, entry.namespace, entry.name)
    if found is None or found["metadata"]["uid"] != entry.uid:
        return None
    need_same_request(found, subject, body)
    return started(Resource(found))


async def start(client: Client, cache: Cache, request: Request, subject: str, key: str | None) -> Started:
    """Creates the Rollback in the namespace of the target.

    Raises Problem where the snapshot is not complete (SnapshotNotComplete), an operation runs on the target
    (OperationRunning), or its namespace may not restore the snapshot (AccessNotGranted, StoreNotFound).
    """
    identity, target = keys.identity("Rollback", subject, request.environment.id, key), request.target
    wanted = Creation(ROLLBACKS, target.namespace, identity.name(target.name), subject, request.body)
    await need_idle(client, cache, target, wanted.name)
    spec: Object = {
        **await restored(client, request),
        "id": identity.id,
        "createSafetySnapshot": request.create_safety_snapshot,
    }
    ids = {naming.ANNOTATION_TARGET_ID: target.id, naming.ANNOTATION_SNAPSHOT_ID: request.snapshot.id}
    return started(await create(client, cache, wanted, spec, ids))


async def restored(client: Client, request: Request) -> Object:
    """The part of the spec that says what is restored, and where. Raises Problem where that is not possible."""
    snapshot, target = await complete(client, request.snapshot), request.target
    spec: Object = {
        "snapshotRef": {"name": request.snapshot.name},
        # Always named: the target stays the one that was checked, whatever is created under the name that the
        # Snapshot has recorded.
        "targetEnvironmentRef": {"name": target.name},
    }
    if request.snapshot.namespace != target.namespace:
        spec["snapshotRef"]["namespace"] = request.snapshot.namespace
        source_store = await _source_store(client, request, snapshot)
        if source_store is not None:
            spec["sourceStoreRef"] = {"name": source_store}
    return spec


async def complete(client: Client, entry: SnapshotEntry) -> Object:
    """The Snapshot as it is now. Raises Problem where it is not Complete, or is known to be corrupt."""
    live = await read_live(client, SNAPSHOTS, entry, deleting=False)
    status = live.get("status") or {}
    if not c.is_true(_conditions(status), c.COMPLETE) or status.get("phase") == "Corrupt":
        raise Problem(
            "SnapshotNotComplete",
            "Only a completed snapshot can be restored. Wait until its status is `completed`, or choose another one.",
        )
    return live


def _conditions(status: Object) -> list[c.Condition]:
    return [c.Condition.model_validate(each) for each in status.get("conditions") or ()]


async def need_idle(client: Client, cache: Cache, target: EnvironmentEntry, own: str) -> None:
    """No operation runs on the target but the Rollback `own`: a request with the same key may have created it since
    `repeated`. Two requests at the same moment may both pass: the operator then runs one after the other."""
    for pause in (*PAUSES, None):
        holder = await _holder(client, target, own)
        if holder is None:
            break
        operation, ended = holder
        if pause is None or not ended:
            verb = "has ended, and cleans up" if ended else "runs"
            raise _running(f"{operation['kind']} {operation['name']} {verb} since {operation['since']}.")
        await asyncio.sleep(pause)
    others = (rollback for rollback in cache.served.of(RollbackEntry, target.id) if rollback.name != own)
    waiting = [rollback for rollback in others if rollback.status in OPEN]
    if waiting:
        raise _running(f"Rollback {waiting[0].name} has not ended.")


async def _holder(client: Client, target: EnvironmentEntry, own: str) -> tuple[Object, bool] | None:
    """The operation that the target waits for, and whether it has ended; None: there is none. A lock that its holder is
    done with is none: the operator takes it over."""
    operation = ((await read_live(client, ENVIRONMENTS, target)).get("status") or {}).get("operation")
    if operation is None or (operation["kind"], operation["name"]) == ("Rollback", own):
        return None
    found = await client.get(OPERATIONS[operation["kind"]], target.namespace, operation["name"])
    if found is None or locking.is_done(operation["kind"], operation["uid"], found):
        return None
    return operation, locking.is_terminal(found)


def _running(what: str) -> Problem:
    return Problem(
        "OperationRunning", f"{what} The target environment has one operation at a time: repeat the request later."
    )


async def _source_store(client: Client, request: Request, snapshot: Object) -> str | None:
    """Of a Snapshot in another namespace: the SnapshotStore of the target's namespace for the Snapshot's store; None
    where that is the target's own.

    Raises Problem where the target's namespace may not restore the Snapshot, or has no such SnapshotStore.
    """
    namespace = request.target.namespace
    source = await client.get(ENVIRONMENTS, request.environment.namespace, request.environment.name)
    grants = ((source or {}).get("spec") or {}).get("allowRollbackTo") or ()
    if all(grant.get("namespace") != namespace for grant in grants):
        raise Problem(
            "AccessNotGranted",
            f"The target environment is in another namespace. Add {namespace} to spec.allowRollbackTo of Environment"
            f" {request.environment.name}.",
        )
    target = await client.get(ENVIRONMENTS, namespace, request.target.name)
    own = ((target or {}).get("spec") or {}).get("storeRef", {}).get("name")
    wanted = (snapshot.get("status") or {}).get("storeId")
    same = await client.list(
        STORES, namespace, lambda s: bool(wanted) and (s.get("status") or {}).get("storeId") == wanted
    )
    stores: dict[str, Object] = {s["metadata"]["name"]: s for s in same}
    found = sorted(stores)
    if own in found:
        return None
    if not found:
        raise Problem(
            "StoreNotFound",
            f"Namespace {namespace} has no SnapshotStore for the snapshot's store. Create one there with access"
            " ReadOnly.",
        )
    # Keys that can only read are enough, and safer.
    return min(found, key=lambda name: (stores[name]["spec"].get("access") != "ReadOnly", name))
