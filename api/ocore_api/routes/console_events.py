"""The console's stream of all changes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from ocore_api.http.middleware import CONSOLE
from ocore_api.routes.access import ReadCaller, facade_of, owned_environment, visible_project
from ocore_api.routes.parameters import LastEventId, OptionalProjectId, unset
from ocore_api.streams import ChangeReader, EventStream

router = APIRouter(prefix=CONSOLE, tags=["Console"])

OptionalEnvironmentId = Annotated[UUID | None, unset, Query(alias="environmentId", description="Environment ID")]


@router.get(
    "/events",
    summary="Stream all changes",
    description=(
        "Streams server-sent events with the newest state of every environment, snapshot, rollback, preview and extract"
        " that the caller may see, after each change. Of one project or environment where that is given."
    ),
    response_description="SSE stream of changes",
    response_class=EventStream,
    status_code=200,
)
async def stream_changes(
    request: Request,
    caller: ReadCaller,
    project_id: OptionalProjectId = None,
    environment_id: OptionalEnvironmentId = None,
    last_event_id: LastEventId = None,
) -> EventStream:
    """The first event is `reset`, unless the client names the last event that it has."""
    facade = facade_of(request)
    project = await visible_project(facade, caller, project_id) if project_id is not None else None
    environment = await owned_environment(facade, caller, environment_id) if environment_id is not None else None
    only = environment.id if environment is not None else None
    return EventStream(facade.hub.reading, ChangeReader(facade.cache.store, caller, project, only, last_event_id))
