"""Snapshots: take, delete, pin, unpin."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ocore_api.http.audit import note
from ocore_api.http.middleware import API
from ocore_api.routes.access import AdminCaller, SnapshotCaller, client_of, facade_of, owned_environment, owned_snapshot
from ocore_api.routes.parameters import EnvironmentId, IdempotencyKey, SnapshotId, location
from ocore_api.views.models import MessageAnswer, SnapshotAccepted
from ocore_api.views.requests import PinRequest
from ocore_api.writes import pins, snapshots

_LOCATION = location(
    "Path of the snapshot that was created. It ends with the snapshot's id; with `/progress` it is the path of its"
    " stream.",
    f"{API}/environments/497f6eca-6276-4993-bfeb-53cbbbba6f08/snapshots/0c7a6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11",
)

router = APIRouter(prefix=API, tags=["Snapshots"])


@router.post(
    "/environments/{environmentId}/snapshots",
    status_code=202,
    response_model=SnapshotAccepted,
    summary="Create manual snapshot",
    responses=_LOCATION,
)
async def create_snapshot(
    request: Request, environment_id: EnvironmentId, caller: SnapshotCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Enqueues a manual snapshot creation job for the environment."""
    facade, client = facade_of(request), client_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    taken = await snapshots.take(client, facade.cache, environment, caller.subject, idempotency_key)
    note(request.scope, namespace=environment.namespace, name=taken.name, object=taken.id)
    path = f"{API}/environments/{environment.id}/snapshots/{taken.id}"
    body = {"environmentId": environment.id, "message": f"Snapshot {taken.name} was created."}
    return JSONResponse(body, 202, headers={"Location": path})


@router.delete("/environments/{environmentId}/snapshots/{snapshotId}", status_code=204, summary="Delete a snapshot")
async def delete_snapshot(
    request: Request, environment_id: EnvironmentId, snapshot_id: SnapshotId, caller: AdminCaller
) -> Response:
    """Deletes a snapshot. Pinned snapshots and snapshots referenced by differentials cannot be deleted."""
    facade, client = facade_of(request), client_of(request)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    note(request.scope, namespace=snapshot.namespace, name=snapshot.name)
    await snapshots.delete(client, facade.cache, snapshot)
    return Response(status_code=204)


@router.delete(
    "/environments/{environmentId}/snapshots/{snapshotId}/pin",
    response_model=MessageAnswer,
    summary="Unpin a snapshot",
)
async def unpin_snapshot(
    request: Request, environment_id: EnvironmentId, snapshot_id: SnapshotId, caller: AdminCaller
) -> Response:
    """Removes the pin from a snapshot, allowing automatic deletion."""
    facade, client = facade_of(request), client_of(request)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    note(request.scope, namespace=snapshot.namespace, name=snapshot.name)
    await pins.unpin(client, facade.cache, snapshot)
    return JSONResponse({"message": f"Snapshot {snapshot.name} is not pinned."})


@router.put(
    "/environments/{environmentId}/snapshots/{snapshotId}/pin", response_model=MessageAnswer, summary="Pin a snapshot"
)
async def pin_snapshot(
    request: Request, environment_id: EnvironmentId, snapshot_id: SnapshotId, body: PinRequest, caller: AdminCaller
) -> Response:
    """Pins a snapshot to prevent automatic deletion, with an optional label."""
    facade, client = facade_of(request), client_of(request)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    note(request.scope, namespace=snapshot.namespace, name=snapshot.name)
    await pins.pin(client, facade.cache, snapshot, body.label)
    return JSONResponse({"message": f"Snapshot {snapshot.name} is pinned."})
