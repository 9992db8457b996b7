"""Progress as server-sent events."""

from typing import Any

from fastapi import APIRouter, Request

from ocore_api.cache import RollbackEntry, SnapshotEntry
from ocore_api.http.middleware import API
from ocore_api.routes.access import ReadCaller, facade_of, owned, owned_snapshot
from ocore_api.routes.parameters import DeploymentId, EnvironmentId, LastEventId, SnapshotId
from ocore_api.streams import EventStream, ProgressReader

NOTHING_FOLLOWS: dict[int | str, dict[str, Any]] = {
    204: {"description": "The event in Last-Event-ID is the final one: nothing follows."}
}

router = APIRouter(prefix=API, tags=["Snapshots"])


@router.get(
    "/deployments/{deploymentId}/rollback/progress",
    summary="Stream rollback progress",
    description="Streams server-sent events with rollback progress until the rollback completes or fails.",
    response_description="SSE stream of rollback-progress events",
    response_class=EventStream,
    status_code=200,
    responses=NOTHING_FOLLOWS,
)
async def rollback_progress(
    request: Request,
    caller: ReadCaller,
    deployment_id: DeploymentId,
    last_event_id: LastEventId = None,
) -> EventStream:
    """Events of the rollback whose id POST has answered as `deploymentId`."""
    facade = facade_of(request)
    entry = await owned(facade, caller, RollbackEntry, deployment_id)
    return EventStream(facade.hub.reading, ProgressReader(caller, (RollbackEntry, entry.id), None, last_event_id))


@router.get(
    "/environments/{environmentId}/snapshots/{snapshotId}/progress",
    summary="Stream snapshot progress",
    description="Streams server-sent events with snapshot creation progress until the snapshot completes or fails.",
    response_description="SSE stream of snapshot-progress events",
    response_class=EventStream,
    status_code=200,
    responses=NOTHING_FOLLOWS,
)
async def snapshot_progress(
    request: Request,
    caller: ReadCaller,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    last_event_id: LastEventId = None,
) -> EventStream:
    """Events of a snapshot of the environment."""
    facade = facade_of(request)
    entry = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    reader = ProgressReader(caller, (SnapshotEntry, entry.id), entry.environment_id, last_event_id)
    return EventStream(facade.hub.reading, reader)
