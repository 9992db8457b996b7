"""The operations that only read: lists of snapshots, one snapshot, rollback logs. They are answered from the cache."""

from fastapi import APIRouter, Request, Response

from ocore_api.cache import RollbackEntry, of_snapshots
from ocore_api.http.list_response import listed
from ocore_api.http.middleware import API
from ocore_api.routes.access import ReadCaller, facade_of, owned_environment, owned_snapshot, visible_project
from ocore_api.routes.fast_reads import RepeatedRead
from ocore_api.routes.parameters import (
    PAGE,
    EnvironmentId,
    Limit,
    Offset,
    ProjectId,
    SnapshotId,
    StatusFilter,
    TypeFilter,
)
from ocore_api.views.models import ProjectSnapshotPage, RollbackLogs, SnapshotDetails, SnapshotPage

#: Rollback logs of one answer: the newest ones.
MAX_LOGS = 1000

router = APIRouter(prefix=API, tags=["Snapshots"], route_class=RepeatedRead)


@router.get("/environments/{environmentId}/rollback-logs", response_model=RollbackLogs, summary="List rollback logs")
async def list_rollback_logs(request: Request, caller: ReadCaller, environment_id: EnvironmentId) -> Response:
    """Returns all rollback log entries for an environment, ordered by most recent."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    found = facade.cache.served.of(RollbackEntry, environment.id)
    shown = found[:MAX_LOGS]
    return listed(request, facade.cache.served.logs(b'{"rollbackLogs":[', shown, b'],"total":%d}' % len(shown)))


@router.get(
    "/environments/{environmentId}/snapshots", response_model=SnapshotPage, summary="List environment snapshots"
)
async def list_environment_snapshots(
    request: Request, caller: ReadCaller, environment_id: EnvironmentId, limit: Limit = PAGE, offset: Offset = 0
) -> Response:
    """Returns a paginated list of snapshots for an environment."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    found = facade.cache.served.environment_page(environment.id, limit, offset)
    return listed(request, found)


@router.get(
    "/environments/{environmentId}/snapshots/{snapshotId}",
    response_model=SnapshotDetails,
    summary="Get snapshot details",
)
async def get_snapshot(
    request: Request, caller: ReadCaller, environment_id: EnvironmentId, snapshot_id: SnapshotId
) -> Response:
    """Returns a single snapshot by ID including rollback logs."""
    facade = facade_of(request)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    found = facade.cache.served.rollbacks_to(snapshot.id)
    seen = [e for e in found if caller.may_see(e.project_id, e.environment_id)][:MAX_LOGS]
    return listed(request, facade.cache.served.logs(snapshot.encoded[:-1] + b',"rollbackLogs":[', seen, b"]}"))


@router.get("/projects/{projectId}/snapshots", response_model=ProjectSnapshotPage, summary="List project snapshots")
async def list_project_snapshots(
    request: Request,
    caller: ReadCaller,
    project_id: ProjectId,
    environment_type: TypeFilter = None,
    status: StatusFilter = None,
    limit: Limit = PAGE,
    offset: Offset = 0,
) -> Response:
    """Returns all snapshots across all environments in a project with optional filtering by environment type and
    status."""
    facade = facade_of(request)
    project = await visible_project(facade, caller, project_id)
    whole = project in caller.projects
    entries, total = facade.cache.served.project_page(
        project,
        offset,
        limit,
        visible=None if whole else caller.environments.__contains__,
        environment_type=environment_type,
        status=status,
    )
    return listed(request, of_snapshots(b'{"snapshots":[', entries, b'],"total":%d}' % total))
