"""The console's reads: the caller, environments, snapshots, what rules of retention would do."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from ocore_api.cache import SnapshotEntry, console, retention
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
)
from ocore_api.views.models import EnvironmentType, Trigger
from ocore_api.views.values import encode
from ocore_crds.text.timestamps import text as timestamp

router = APIRouter(prefix=CONSOLE, tags=["Console"])

_TIME = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z)?$"
Moment = Annotated[str, Query(pattern=_TIME)]
ReadyFilter = Annotated[
    bool | None, unset, Query(description="Only those that are ready, or only those that are not, or not known to be.")
]
KindFilter = Annotated[EnvironmentType | None, unset, Query(alias="type", description="Filter by type.")]
TextFilter = Annotated[
    str,
    Query(alias="text", max_length=200, description="A part of the name, namespace or id. Case does not matter."),
]
TriggerFilter = Annotated[Trigger | None, unset, Query(description="Filter by what caused it.")]


_RULES = ("retentionDays", "keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly")
_Days = Annotated[int, Field(ge=0, le=36500)]
_Count = Annotated[int, Field(ge=0, le=1000)]
RetentionDays = Annotated[_Days | None, unset, Query(alias="retentionDays", description="Days to try; 0: no limit.")]
KeepLast = Annotated[_Count | None, unset, Query(alias="keepLast", description="Newest snapshots to try.")]
KeepHourly = Annotated[_Count | None, unset, Query(alias="keepHourly", description="Hours to try.")]
KeepDaily = Annotated[_Count | None, unset, Query(alias="keepDaily", description="Days to try.")]
KeepWeekly = Annotated[_Count | None, unset, Query(alias="keepWeekly", description="Weeks to try.")]
KeepMonthly = Annotated[_Count | None, unset, Query(alias="keepMonthly", description="Months to try.")]
KeepYearly = Annotated[_Count | None, unset, Query(alias="keepYearly", description="Years to try.")]


def now_text() -> str:
    """The time of this request."""
    return timestamp(datetime.now(UTC))


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
        "time": now_text(),
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
    limit: Limit = PAGE,
    offset: Offset = 0,
) -> Response:
    """Returns the environments that the caller may see: the worst first, then by name."""
    facade = facade_of(request)
    project = await visible_project(facade, caller, project_id) if project_id is not None else None
    served, wanted = facade.cache.served, search.lower()
    found = [
        e
        for e in served.environments()
        if caller.may_see(e.project_id, e.environment_id)
        and project in (None, e.project_id)
        and type_ in (None, e.environment_type)
        and (ready is None or (e.ready is True) == ready)
        and (wanted in e.name or wanted in e.namespace or wanted in e.id)
    ]
    found.sort(key=lambda e: (console.rank(served, e), e.name, e.namespace))
    shown = [console.environment_row(served, e) for e in found[offset : offset + limit]]
    return listed(request, encode({"limit": limit, "offset": offset, "environments": shown, "total": len(found)}))


@router.get("/environments/{environmentId}", response_model=EnvironmentDetails, summary="Get an environment")
async def get_environment(request: Request, caller: ReadCaller, environment_id: EnvironmentId) -> Response:
    """Returns an environment with its conditions and what fixes them, its sizes, policy and open undo windows."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    return listed(request, encode(console.environment_details(facade.cache.served, environment, now_text())))


@router.get(
    "/environments/{environmentId}/snapshots",
    response_model=ConsoleSnapshotPage,
    summary="List snapshots with what keeps and proves them",
)
async def list_console_snapshots(
    request: Request,
    caller: ReadCaller,
    environment_id: EnvironmentId,
    begin: Annotated[Moment, Query(alias="from", description="Created at this time or later.")] = "",
    end: Annotated[Moment, Query(alias="to", description="Created before this time.")] = "",
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
    retention_days: RetentionDays = None,
    keep_last: KeepLast = None,
    keep_hourly: KeepHourly = None,
    keep_daily: KeepDaily = None,
    keep_weekly: KeepWeekly = None,
    keep_monthly: KeepMonthly = None,
    keep_yearly: KeepYearly = None,
    limit: Limit = PAGE,
    offset: Offset = 0,
) -> Response:
    """Returns what these rules would keep and delete, with the values of the policy for those that are not given. Saves
    nothing."""
    facade = facade_of(request)
    environment = await owned_environment(facade, caller, environment_id)
    values = (retention_days, keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    given = {n: v for n, v in zip(_RULES, values, strict=True) if v is not None}
    store, policy = facade.cache.store, facade.cache.policy_of(environment)
    question = retention.Question(
        environment_id=environment.id,
        namespace=environment.namespace,
        snapshots=store.snapshots_named(environment.namespace, environment.name),
        rollbacks=store.rollbacks_known(),
        shown=frozenset(e.id for e in facade.cache.served.of(SnapshotEntry, environment.id)),
        policy=policy["spec"] if policy is not None else None,
        given=given,
    )
    try:
        async with facade.plans.turn(caller.subject):
            found = await asyncio.to_thread(retention.plan, question, datetime.now(UTC), offset, limit)
    except (KeyError, ValueError, OSError):
        zone = (policy or {}).get("spec", {}).get("timeZone")
        raise Problem(
            "TimeZoneUnknown",
            f"The policy's time zone {zone!r} is unknown. Correct spec.timeZone of the SnapshotPolicy.",
        ) from None
    return listed(request, encode(found))
