"""Rollbacks: start."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ocore_api.http.audit import note
from ocore_api.http.middleware import API
from ocore_api.routes.access import (
    RollbackCaller,
    client_of,
    facade_of,
    owned_environment,
    owned_snapshot,
    owned_target,
)
from ocore_api.routes.parameters import EnvironmentId, IdempotencyKey
from ocore_api.views.models import RollbackAccepted
from ocore_api.views.requests import RollbackRequest
from ocore_api.writes import rollbacks

router = APIRouter(prefix=API, tags=["Snapshots"])


@router.post(
    "/environments/{environmentId}/rollback",
    status_code=202,
    response_model=RollbackAccepted,
    summary="Rollback to snapshot",
)
async def start_rollback(
    request: Request,
    environment_id: EnvironmentId,
    body: RollbackRequest,
    caller: RollbackCaller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Initiates a rollback to a specific snapshot, optionally to a different environment within the same project."""
    facade, client = facade_of(request), client_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    given = {
        "snapshotId": body.snapshot_id,
        "targetEnvironmentId": body.target_environment_id or environment.id,
        "createSafetySnapshot": bool(body.create_safety_snapshot),
    }
    started = await rollbacks.repeated(facade.cache, client, caller.subject, environment.id, idempotency_key, given)
    if started is None:
        wanted = rollbacks.Request(
            environment=environment,
            snapshot=await owned_snapshot(facade, caller, environment_id, body.snapshot_id),
            target=await owned_target(facade, caller, environment, body.target_environment_id),
            create_safety_snapshot=bool(body.create_safety_snapshot),
            body=given,
        )
        started = await rollbacks.start(client, facade.cache, wanted, caller.subject, idempotency_key)
    note(
        request.scope, name=started.name, object=started.id, target=started.environment_id, snapshot=started.snapshot_id
    )
    answer = {
        "deploymentId": started.id,
        "environmentId": started.environment_id,
        "message": f"Rollback {started.name} was created.",
        "snapshotId": started.snapshot_id,
    }
    return JSONResponse(answer, 202)
