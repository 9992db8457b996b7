"""The console's reads: the caller, environments, snapshots, what rules of retention would do."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ocore_api.cache import SnapshotEntry, console, retention
from ocore_api.cache.standing import ordered, standing, summary
from ocore_api.errors import Problem
from ocore_api.http.list_response import listed
from ocore_api.http.middleware import CONSOLE
from ocore_api.routes.access import (
    ReadCaller,
    TokenCaller,
    facade_of,
    owned_environment,
    owned_snapshot,
    visible_project,
)
from ocore_api.routes.parameters import (
    PAGE,
    EnvironmentId,
    Limit,
    Offset,
    OptionalProjectId,
    SnapshotId,
    StatusFilter,
    unset,
)
from ocore_api.views.console.models import (
    ConsoleSnapshot,
    ConsoleSnapshotPage,
    EnvironmentDetails,
    EnvironmentPage,
    Me,
    RetentionPlan,
    Sort,
    State,
)
from ocore_api.views.models import EnvironmentType, Trigger
from ocore_api.views.values import encode
from ocore_crds.text.timestamps import text as timestamp

router = APIRouter(prefix=CONSOLE, tags=["Console"])

_TIME = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z)?$"
Begin = Annotated[str, Query(alias="from", pattern=_TIME, description="Created at this time or later.")]
End = Annotated[str, Query(alias="to", pattern=_TIME, description="Created before this time.")]
ReadyFilter = Annotated[
    bool | None, unset, Query(description="Only those that are ready, or only those that are not, or not known to be.")
]
KindFilter = Annotated[EnvironmentType | None, unset, Query(alias="type", description="Filter by type.")]
TextFilter = Annotated[
    str,
    Query(alias="text", max_length=200, description="A part of the name, namespace or id. Case does not matter."),
]
StateFilter = Annotated[
    list[State] | None,
    BeforeValidator(lambda values: [each for each in values or () if each] or None),
    Query(description="Only environments in this state. May be repeated."),
]
RunningFilter = Annotated[
    bool | None, unset, Query(description="Only those on which an operation runs, or only those on which none runs.")
]
SortBy = Annotated[
    Sort,
    BeforeValidator(lambda value: value or "state"),
    Query(description="What the list is sorted by, the smallest first; `-` before it reverses."),
]
TriggerFilter = Annotated[Trigger | None, unset, Query(description="Filter by what caused it.")]


Days = Annotated[Annotated[int, Field(ge=0, le=36500)] | None, unset]
Count = Annotated[Annotated[int, Field(ge=0, le=1000)] | None, unset]


class TriedRules(BaseModel):
    """Rules of retention to try, and the page of the answer."""

    model_config = ConfigDict(alias_generator=to_camel)

    retention_days: Days = Field(default=None, description="Days to try; 0: no limit.")
    keep_last: Count = Field(default=None, description="Newest snapshots to try.")
    keep_hourly: Count = Field(default=None, description="Hours to try.")
    keep_daily: Count = Field(default=None, description="Days to try.")
    keep_weekly: Count = Field(default=None, description="Weeks to try.")
    keep_monthly: Count = Field(default=None, description="Months to try.")
    keep_yearly: Count = Field(default=None, description="Years to try.")
    limit: Limit = PAGE
    offset: Offset = 0


@router.get("/me", response_model=Me, summary="Get the caller")
async def get_me(request: Request, caller: TokenCaller) -> Response:
    """Returns what the token states: subject, scopes, projects, environments, and when it expires."""
    expires = caller.expires_at - facade_of(request).settings.jwt_leeway
    body = {
        "subject": caller.subject,
        "scopes": sorted(caller.scopes),
        "projects": sorted(caller.projects),
        "environments": sorted(caller.environments),
        "expiresAt": timestamp(datetime.fromtimestamp(min(max(expires, 0), 253402300799), UTC)),
        "time": timestamp(datetime.now(UTC)),
    }
    return JSONResponse(body)


@router.get("/environments", response_model=EnvironmentPage, summary="List environments")
async def list_environments(
    request: Request,
    caller: ReadCaller,
    project_id: OptionalProjectId = None,
    ready: ReadyFilter = None,
    type_: KindFilter = None,
    search: TextFilter = "",
    state: StateFilter = None,
    running: RunningFilter = None,
    sort: SortBy = "state",
    limit: Limit = PAGE,
    offset: Offset = 0,
) -> Response:
    """Returns the environments that the caller may see: the worst first unless `sort` says otherwise, then by name. Of
    those that are overdue, the one that is late for the longest comes first."""
    facade = facade_of(request)
    project = await visible_project(facade, caller, project_id) if project_id is not None else None
    served, wanted, now = facade.cache.served, search.lower(), datetime.now(UTC)
    every = [
        standing(served, e, now)
        for e in served.environments()
        if caller.may_see(e.project_id, e.environment_id)
        and project in (None, e.project_id)
        and type_ in (None, e.environment_type)
        and (wanted in e.name or wanted in e.namespace or wanted in e.id)
    ]
    found = [
        s
        for s in every
        if (ready is None or (s.entry.ready is True) == ready)
        and (state is None or s.state in state)
        and (running is None or (s.entry.operation is not None) == running)
    ]
    page = ordered(found, sort)[offset : offset + limit]
    shown = [console.environment_row(served, s) for s in page]
    body = {"limit": limit, "offset": offset, "summary": summary(every), "environments": shown, "total": len(found)}
    return listed(request, encode(body))


@router.get("/environments/{environmentId}", response_model=EnvironmentDetails, summary="Get an environment")
async def get_environment(request: Request, caller: ReadCaller, environment_id: EnvironmentId) -> Response:
    """Returns an environment with its conditions and what fixes them, its sizes, policy and open undo windows."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    return listed(request, encode(console.environment_details(facade.cache.served, environment, datetime.now(UTC))))


@router.get(
    "/environments/{environmentId}/snapshots",
    response_model=ConsoleSnapshotPage,
    summary="List snapshots with what keeps and proves them",
)
async def list_console_snapshots(
    request: Request,
    caller: ReadCaller,
    environment_id: EnvironmentId,
    begin: Begin = "",
    end: End = "",
    trigger: TriggerFilter = None,
    status: StatusFilter = None,
    limit: Limit = PAGE,
    offset: Offset = 0,
) -> Response:
    """Returns a page of the snapshots of an environment, newest first."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    entries, total = facade.cache.served.snapshot_page(
        environment.id, offset, limit, begin=begin[:19], end=end[:19], trigger=trigger, status=status
    )
    head = b'{"limit":%d,"offset":%d,"snapshots":[' % (limit, offset)
    return listed(request, head + b",".join(e.console for e in entries) + b'],"total":%d}' % total)


@router.get(
    "/environments/{environmentId}/snapshots/{snapshotId}",
    response_model=ConsoleSnapshot,
    summary="Get a snapshot with what keeps and proves it",
)
async def get_console_snapshot(
    request: Request, caller: ReadCaller, environment_id: EnvironmentId, snapshot_id: SnapshotId
) -> Response:
    """Returns one snapshot."""
    facade = facade_of(request)
    snapshot = await owned_snapshot(facade, caller, environment_id, snapshot_id)
    return listed(request, snapshot.console)


@router.get("/environments/{environmentId}/retention", response_model=RetentionPlan, summary="Try rules of retention")
async def try_retention(
    request: Request,
    caller: ReadCaller,
    environment_id: EnvironmentId,
    tried: Annotated[TriedRules, Query()],
) -> Response:
    """Returns what these rules would keep and delete, with the values of the policy for those that are not given. Saves
    nothing."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    store, policy = facade.cache.store, facade.cache.policy_of(environment)
    question = retention.Question(
        environment_id=environment.id,
        namespace=environment.namespace,
        snapshots=store.snapshots_named(environment.namespace, environment.name),
        rollbacks=store.rollbacks_known(),
        shown=frozenset(e.id for e in facade.cache.served.of(SnapshotEntry, environment.id)),
        policy=policy["spec"] if policy is not None else None,
        given=tried.model_dump(by_alias=True, exclude_none=True, exclude={"limit", "offset"}),
    )
    try:
        async with facade.plans.turn(caller.subject):
            found = await asyncio.to_thread(retention.plan, question, datetime.now(UTC), tried.offset, tried.limit)
    except (KeyError, ValueError, OSError):
        zone = (policy or {}).get("spec", {}).get("timeZone")
        raise Problem(
            "TimeZoneUnknown",
            f"The policy's time zone {zone!r} is unknown. Correct spec.timeZone of the SnapshotPolicy.",
        ) from None
    return listed(request, encode(found))
