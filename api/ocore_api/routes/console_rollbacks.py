"""The console's rollbacks: previews, details, undo, cancellation."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ocore_api.cache import PreviewEntry, RollbackEntry, console
from ocore_api.http.audit import note
from ocore_api.http.list_response import listed
from ocore_api.http.middleware import CONSOLE
from ocore_api.routes.access import (
    ReadCaller,
    RollbackCaller,
    client_of,
    facade_of,
    owned,
    owned_environment,
    owned_snapshot,
    owned_target,
)
from ocore_api.routes.console_reads import Begin, End
from ocore_api.routes.parameters import (
    PAGE,
    DeploymentId,
    EnvironmentId,
    IdempotencyKey,
    Limit,
    Offset,
    OnlyOf,
    PreviewId,
    location,
)
from ocore_api.views.console.models import (
    PreviewAccepted,
    RollbackDetails,
    RollbackDetailsPage,
    RollbackPreview,
    UndoAccepted,
)
from ocore_api.views.console.requests import PreviewRequest
from ocore_api.views.models import MessageAnswer
from ocore_api.views.values import encode
from ocore_api.writes import previews, rollbacks, undo

router = APIRouter(prefix=CONSOLE, tags=["Console"])


_PREVIEW = location("Path of the preview.", f"{CONSOLE}/rollback-previews/5a0f6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11")
_UNDO = location("Path of the undo.", f"{CONSOLE}/rollbacks/7d0a3f52-1c44-4a5e-8a53-2f7b9e6c4d20")


@router.post(
    "/environments/{environmentId}/rollback-previews",
    status_code=202,
    response_model=PreviewAccepted,
    summary="Preview a rollback",
    responses=_PREVIEW,
)
async def start_preview(
    request: Request,
    environment_id: EnvironmentId,
    body: PreviewRequest,
    caller: RollbackCaller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Has the operator report what a rollback would do, and what would refuse it. Changes nothing."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    wanted = rollbacks.Request(
        environment=environment,
        snapshot=await owned_snapshot(facade, caller, environment_id, body.snapshot_id),
        target=await owned_target(facade, caller, environment, body.target_environment_id),
        create_safety_snapshot=False,
        body={"snapshotId": body.snapshot_id, "targetEnvironmentId": body.target_environment_id or environment.id},
    )
    made = await previews.start(client_of(request), facade.cache, wanted, caller, idempotency_key)
    note(request.scope, name=made.name, object=made.id, target=wanted.target.id, snapshot=wanted.snapshot.id)
    answer = {
        "previewId": made.id,
        "environmentId": wanted.target.id,
        "snapshotId": wanted.snapshot.id,
        "message": f"Preview {made.name} was created.",
    }
    return JSONResponse(answer, 202, headers={"Location": f"{CONSOLE}/rollback-previews/{made.id}"})


@router.get("/rollback-previews/{previewId}", response_model=RollbackPreview, summary="Get a preview")
async def get_preview(request: Request, caller: ReadCaller, preview_id: PreviewId, of: OnlyOf = None) -> Response:
    """Returns a preview, with its report once that is made."""
    return listed(request, (await owned(facade_of(request), caller, PreviewEntry, preview_id, of)).console)


@router.delete("/rollback-previews/{previewId}", status_code=202, response_model=MessageAnswer, summary="End a preview")
async def end_preview(request: Request, preview_id: PreviewId, caller: RollbackCaller, of: OnlyOf = None) -> Response:
    """Ends a preview that no one reads any more, and removes it. Its Job is stopped."""
    entry = await owned(facade_of(request), caller, PreviewEntry, preview_id, of)
    note(request.scope, namespace=entry.namespace, name=entry.name, object=entry.id)
    await previews.end(client_of(request), entry)
    return JSONResponse({"message": f"Preview {entry.name} is being removed."}, 202)


@router.get(
    "/environments/{environmentId}/rollbacks",
    response_model=RollbackDetailsPage,
    summary="List rollbacks with what can be done about them",
)
async def list_console_rollbacks(
    request: Request,
    caller: ReadCaller,
    environment_id: EnvironmentId,
    begin: Begin = "",
    end: End = "",
    limit: Limit = PAGE,
    offset: Offset = 0,
) -> Response:
    """Returns a page of the rollbacks into an environment and of their undos, newest first."""
    facade, now = facade_of(request), datetime.now(UTC)
    environment = await owned_environment(facade, caller, environment_id)
    served = facade.cache.served
    found = served.of(RollbackEntry, environment.id).between(begin[:19], end[:19])
    shown = [console.rollback_details(served, each, now) for each in found[offset : offset + limit]]
    return listed(request, encode({"limit": limit, "offset": offset, "rollbacks": shown, "total": len(found)}))


@router.get("/rollbacks/{deploymentId}", response_model=RollbackDetails, summary="Get a rollback")
async def get_rollback(
    request: Request, caller: ReadCaller, deployment_id: DeploymentId, of: OnlyOf = None
) -> Response:
    """Returns a rollback with its steps and downtime, and whether it can be undone or cancelled."""
    facade = facade_of(request)
    entry = await owned(facade, caller, RollbackEntry, deployment_id, of)
    return listed(request, encode(console.rollback_details(facade.cache.served, entry, datetime.now(UTC))))


@router.post(
    "/rollbacks/{deploymentId}/undo",
    status_code=202,
    response_model=UndoAccepted,
    summary="Undo a rollback",
    responses=_UNDO,
)
async def undo_rollback(
    request: Request,
    deployment_id: DeploymentId,
    caller: RollbackCaller,
    of: OnlyOf = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Makes the data live again that the rollback has replaced. What is live now is kept for the undo's own window."""
    facade = facade_of(request)
    entry = await owned(facade, caller, RollbackEntry, deployment_id, of)
    target = await owned_environment(facade, caller, entry.environment_id)
    made = await undo.undo(client_of(request), facade.cache, entry, target, caller.subject, idempotency_key)
    note(request.scope, name=made.name, object=made.id, target=target.id, undoes=entry.id)
    answer = {
        "deploymentId": made.id,
        "environmentId": target.id,
        "undoesId": entry.id,
        "message": f"Rollback {made.name} was created. It undoes {entry.name}.",
    }
    return JSONResponse(answer, 202, headers={"Location": f"{CONSOLE}/rollbacks/{made.id}"})


@router.delete("/rollbacks/{deploymentId}", status_code=202, response_model=MessageAnswer, summary="Cancel a rollback")
async def cancel_rollback(
    request: Request, deployment_id: DeploymentId, caller: RollbackCaller, of: OnlyOf = None
) -> Response:
    """Cancels a rollback that has not begun to switch. The environment stays as it is; then the rollback is removed."""
    facade = facade_of(request)
    entry = await owned(facade, caller, RollbackEntry, deployment_id, of)
    note(request.scope, namespace=entry.namespace, name=entry.name, object=entry.id)
    await undo.cancel(client_of(request), entry)
    text = f"Rollback {entry.name} is being cancelled. The environment stays as it is; then the rollback is removed."
    return JSONResponse({"message": text}, 202)
