"""The console's probes, restore tests and extracts."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ocore_api.cache import ExtractEntry
from ocore_api.http.audit import note
from ocore_api.http.list_response import listed
from ocore_api.http.middleware import CONSOLE
from ocore_api.routes.access import (
    ReadCaller,
    RollbackCaller,
    SnapshotCaller,
    client_of,
    facade_of,
    owned,
    owned_environment,
    owned_snapshot,
)
from ocore_api.routes.parameters import (
    PAGE,
    EnvironmentId,
    ExtractId,
    IdempotencyKey,
    Limit,
    Offset,
    SnapshotId,
    location,
)
from ocore_api.views.console.models import (
    ExtractAccepted,
    ExtractPage,
    ExtractView,
    ProbeAccepted,
    RestoreCertificate,
    RestoreTestAccepted,
)
from ocore_api.views.console.requests import ExtractRequest
from ocore_api.writes import extracts, probes, restore_tests

router = APIRouter(prefix=CONSOLE, tags=["Console"])

_EXTRACT = location("Path of the extract.", f"{CONSOLE}/extracts/3e0f6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11")


@router.post(
    "/environments/{environmentId}/probe",
    status_code=202,
    response_model=ProbeAccepted,
    summary="Probe an environment",
)
async def start_probe(request: Request, environment_id: EnvironmentId, caller: SnapshotCaller) -> Response:
    """Has the operator probe the environment now, where a snapshot or a rollback would not work. Where both would, its
    sizes are measured. Nothing live is touched."""
    facade, client = facade_of(request), client_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    note(request.scope, namespace=environment.namespace, name=environment.name)
    asked = await probes.start(client, facade.cache, environment, datetime.now(UTC))
    answer = {
        "environmentId": environment.id,
        "requestedAt": asked,
        "message": f"A probe of environment {environment.name} is requested.",
    }
    return JSONResponse(answer, 202)


@router.get(
    "/environments/{environmentId}/snapshots/{snapshotId}/restore-test",
    response_model=RestoreCertificate,
    summary="Get the certificate of a snapshot's test restore",
)
async def get_restore_test(
    request: Request, environment_id: EnvironmentId, snapshot_id: SnapshotId, caller: ReadCaller
) -> Response:
    """Returns whether the snapshot was really restored as a test, every figure of it, and what to do where it was
    not."""
    facade, client = facade_of(request), client_of(request)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    return JSONResponse(await restore_tests.read(client, snapshot))


@router.post(
    "/environments/{environmentId}/snapshots/{snapshotId}/restore-test",
    status_code=202,
    response_model=RestoreTestAccepted,
    summary="Restore a snapshot as a test",
)
async def start_restore_test(
    request: Request,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    caller: SnapshotCaller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Has the operator restore the snapshot into a scratch database, and check it. Nothing live is touched."""
    facade, client = facade_of(request), client_of(request)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    note(request.scope, namespace=snapshot.namespace, name=snapshot.name)
    run = await restore_tests.start(client, facade.cache, snapshot, caller.subject, idempotency_key)
    answer = {
        "runId": run,
        "environmentId": snapshot.environment_id,
        "snapshotId": snapshot.id,
        "message": f"A test restore of snapshot {snapshot.name} is requested.",
    }
    return JSONResponse(answer, 202)


@router.post(
    "/environments/{environmentId}/snapshots/{snapshotId}/extracts",
    status_code=202,
    response_model=ExtractAccepted,
    summary="Extract files or tables of a snapshot",
    responses=_EXTRACT,
)
async def create_extract(
    request: Request,
    environment_id: EnvironmentId,
    snapshot_id: SnapshotId,
    body: ExtractRequest,
    caller: RollbackCaller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Extracts files, attachments or tables into the store, a new folder on the filestore's claim or a new schema of
    the database. What is live stays as it is."""
    facade, client = facade_of(request), client_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    made = await extracts.extract(
        client, facade.cache, environment, snapshot, body.spec(), caller.subject, idempotency_key
    )
    note(request.scope, name=made.name, extract=made.id)
    answer = {
        "extractId": made.id,
        "environmentId": environment.id,
        "snapshotId": snapshot.id,
        "message": f"Extract {made.name} was created.",
    }
    return JSONResponse(answer, 202, headers={"Location": f"{CONSOLE}/extracts/{made.id}"})


@router.get("/environments/{environmentId}/extracts", response_model=ExtractPage, summary="List extracts")
async def list_extracts(
    request: Request, environment_id: EnvironmentId, caller: ReadCaller, limit: Limit = PAGE, offset: Offset = 0
) -> Response:
    """Returns a page of the extracts of an environment's snapshots, newest first."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    found = facade.cache.served.of(ExtractEntry, environment.id)
    shown = b",".join(entry.console for entry in found[offset : offset + limit])
    head = b'{"limit":%d,"offset":%d,"extracts":[' % (limit, offset)
    return listed(request, head + shown + b'],"total":%d}' % len(found))


@router.get("/extracts/{extractId}", response_model=ExtractView, summary="Get an extract")
async def get_extract(request: Request, caller: ReadCaller, extract_id: ExtractId) -> Response:
    """Returns an extract, with its result once that is made."""
    return listed(request, (await owned(facade_of(request), caller, ExtractEntry, extract_id)).console)
