"""Every route, for two tenants and with every scope, on a real server. A new route only needs its row in SCOPE."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from ocore_api.auth import SCOPES
from ocore_api.main import ROUTERS
from support.api.objects import (
    ENVIRONMENT,
    OTHER_ENVIRONMENT,
    OTHER_PROJECT,
    PROJECT,
    complete,
    environment,
    extract,
    rollback,
    rolled_back,
    source,
    uid_of,
)
from support.api.serving import Serving, serving

UNKNOWN = "99999999-0000-4000-8000-000000000009"
#: Method and path → the scope that it needs.
SCOPE = {
    "DELETE /console/v1/rollback-previews/{previewId}": "rollback",
    "DELETE /console/v1/rollbacks/{deploymentId}": "rollback",
    "GET /console/v1/rollback-previews/{previewId}": "read",
    "GET /console/v1/rollbacks/{deploymentId}": "read",
    "POST /console/v1/environments/{environmentId}/probe": "snapshot",
    "POST /console/v1/environments/{environmentId}/rollback-previews": "rollback",
    "POST /console/v1/rollbacks/{deploymentId}/undo": "rollback",
    "GET /console/v1/environments": "read",
    "GET /console/v1/environments/{environmentId}/rollbacks": "read",
    "GET /console/v1/environments/{environmentId}/extracts": "read",
    "GET /console/v1/environments/{environmentId}/snapshots/{snapshotId}/restore-test": "read",
    "GET /console/v1/events": "read",
    "GET /console/v1/extracts/{extractId}": "read",
    "POST /console/v1/environments/{environmentId}/snapshots/{snapshotId}/extracts": "rollback",
    "POST /console/v1/environments/{environmentId}/snapshots/{snapshotId}/restore-test": "snapshot",
    "GET /console/v1/environments/{environmentId}": "read",
    "GET /console/v1/environments/{environmentId}/retention": "read",
    "GET /console/v1/environments/{environmentId}/snapshots": "read",
    "GET /console/v1/environments/{environmentId}/snapshots/{snapshotId}": "read",
    "GET /console/v1/me": "",
    "GET /api/deployments/{deploymentId}/rollback/progress": "read",
    "POST /api/environments/{environmentId}/rollback": "rollback",
    "GET /api/environments/{environmentId}/rollback-logs": "read",
    "GET /api/environments/{environmentId}/snapshot-settings": "read",
    "PUT /api/environments/{environmentId}/snapshot-settings": "admin",
    "GET /api/environments/{environmentId}/snapshot-size": "read",
    "GET /api/environments/{environmentId}/snapshots": "read",
    "POST /api/environments/{environmentId}/snapshots": "snapshot",
    "GET /api/environments/{environmentId}/snapshots/{snapshotId}": "read",
    "DELETE /api/environments/{environmentId}/snapshots/{snapshotId}": "admin",
    "DELETE /api/environments/{environmentId}/snapshots/{snapshotId}/pin": "admin",
    "PUT /api/environments/{environmentId}/snapshots/{snapshotId}/pin": "admin",
    "GET /api/environments/{environmentId}/snapshots/{snapshotId}/progress": "read",
    "GET /api/projects/{projectId}/snapshots": "read",
}
ROUTES = sorted(
    f"{method} {route.path}"
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in route.methods or ()
)
READ_AT_THE_API_SERVER = ("snapshot-settings", "snapshot-size", "restore-test")
#: Those that name an object in their path; the others answer every caller with what is its own.
NAMING = [route for route in ROUTES if "{" in route]
MINE = {
    "projectId": PROJECT,
    "environmentId": ENVIRONMENT,
    "snapshotId": uid_of("Snapshot/apps/before"),
    "deploymentId": uid_of("Rollback/apps/back"),
    "previewId": uid_of("Rollback/apps/preview"),
    "extractId": uid_of("Extract/apps/extract"),
}
FOREIGN = {
    "projectId": OTHER_PROJECT,
    "environmentId": OTHER_ENVIRONMENT,
    "snapshotId": uid_of("Snapshot/apps/foreign"),
    "deploymentId": uid_of("Rollback/apps/foreign-back"),
    "previewId": uid_of("Rollback/apps/foreign-preview"),
    "extractId": uid_of("Extract/apps/foreign-extract"),
}
NOWHERE = dict.fromkeys(MINE, UNKNOWN)
OBJECTS = (
    environment("shop", ENVIRONMENT, PROJECT),
    environment("other", OTHER_ENVIRONMENT, OTHER_PROJECT),
    complete("before"),
    complete("foreign", of=source(OTHER_ENVIRONMENT, OTHER_PROJECT, "other")),
    rolled_back("back"),
    rolled_back("foreign-back", status={"environmentId": OTHER_ENVIRONMENT, "environmentName": "other"}),
    rollback("preview", {"snapshotRef": {"name": "before"}, "dryRun": True}),
    extract("extract", "before"),
    extract("foreign-extract", "foreign"),
    rollback("foreign-preview", {"snapshotRef": {"name": "foreign"}, "dryRun": True}),
)


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving(objects=OBJECTS, rate_per_second=10_000, rate_burst=10_000, anonymous_rate_burst=10_000) as served:
        yield served


def ask(client: httpx.Client, route: str, ids: dict[str, str]) -> httpx.Response:
    """A request that is right but for its ids. A stream is read to its end: the operations are complete."""
    method, path = route.split(" ", 1)
    bodies: dict[str, Any] = {
        "rollback": {"snapshotId": ids["snapshotId"]},
        "rollback-previews": {"snapshotId": ids["snapshotId"]},
        "snapshot-settings": {"retentionDays": 3},
        "pin": {"label": "x"},
        "extracts": {"files": {"paths": ["a"]}},
    }
    body = bodies.get(path.rsplit("/", 1)[1]) if method in ("POST", "PUT") else None
    if path.endswith("/events"):  # a stream without end
        with client.stream(method, path) as answer:
            return answer
    return client.request(method, path.format(**ids), json=body)


def test_the_table_has_every_route() -> None:
    assert sorted(SCOPE) == ROUTES


@pytest.mark.parametrize("route", NAMING)
def test_no_route_serves_another_tenant(route: str, served: Serving) -> None:
    """The answer for another tenant's ids is the one for unknown ids."""
    for claims in ({"projects": (PROJECT,)}, {"environments": (ENVIRONMENT,)}, {}):
        with served.client("alice", **claims) as client:
            foreign, unknown = ask(client, route, FOREIGN), ask(client, route, NOWHERE)
        assert (foreign.status_code, unknown.status_code) == (404, 404), route
        assert _comparable(foreign, FOREIGN) == _comparable(unknown, NOWHERE)


@pytest.mark.parametrize("route", [r for r in ROUTES if "{snapshotId}" in r])
def test_a_foreign_snapshot_is_not_reached_through_an_own_environment(route: str, served: Serving) -> None:
    with served.client("alice", projects=(PROJECT,)) as client:
        mixed = ask(client, route, {**MINE, "snapshotId": FOREIGN["snapshotId"]})
        unknown = ask(client, route, {**MINE, "snapshotId": UNKNOWN})
        assert (mixed.status_code, unknown.status_code) == (404, 404)
        assert _comparable(mixed, FOREIGN) == _comparable(unknown, NOWHERE)


@pytest.mark.parametrize(
    "route", [r for r in NAMING if r.startswith("GET ") and not r.endswith(READ_AT_THE_API_SERVER)]
)
def test_the_owner_is_served(route: str, served: Serving) -> None:
    """Without this, a test above could pass because a route serves no one."""
    for claims in ({"projects": (PROJECT,)}, {"environments": (ENVIRONMENT,)}):
        with served.client("alice", **claims) as client:
            answer = ask(client, route, MINE)
        assert answer.status_code == 200, answer.text
        for foreign in ("foreign", *FOREIGN.values()):
            assert foreign not in answer.text
        assert any(MINE[of] in answer.text for of in ("snapshotId", "deploymentId", "environmentId"))


@pytest.mark.parametrize("route", [r for r in ROUTES if SCOPE[r]])
def test_every_route_needs_its_scope(route: str, served: Serving) -> None:
    others = " ".join(sorted(SCOPES - {SCOPE[route]}))
    with served.client("alice", projects=(PROJECT,), scope=others) as client:
        answer = ask(client, route, MINE)
        assert answer.status_code == 403, route
        assert f'scope="{SCOPE[route]}"' in answer.headers["www-authenticate"]
        assert ask(client, route, NOWHERE).status_code == 403  # nothing is learnt of an id without the scope
    with served.client("alice", projects=(PROJECT,), scope=SCOPE[route]) as client:
        assert ask(client, route, NOWHERE).status_code == (404 if route in NAMING else 200)


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_needs_a_token(route: str, served: Serving) -> None:
    with served.anonymous() as client:
        assert ask(client, route, MINE).status_code == 401
        client.headers = httpx.Headers(served.issuer.bearer(lifetime=-3600))
        assert ask(client, route, MINE).status_code == 401


def _comparable(answer: httpx.Response, ids: dict[str, str]) -> tuple[Any, ...]:
    """An answer without its ids."""
    text = answer.text.replace(answer.headers["x-request-id"], "REQUEST")
    for value in ids.values():
        text = text.replace(value, "ID")
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date", "content-length")}
    return answer.status_code, text, headers
