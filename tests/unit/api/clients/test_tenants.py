"""Every route of the served document, for two tenants: what is not the caller's does not exist for it."""

import json
from dataclasses import astuple
from typing import Any

import pytest

from support.api.matrix import Ids, routes
from support.api.serving import Serving
from support.api.world import World


@pytest.fixture
def tenants(world: World, served: Serving) -> tuple[Ids, Ids]:
    """Two tenants, with a Snapshot and a Rollback each."""
    return served.call(world.tenant, "mine"), served.call(world.tenant, "other")


def problem(answer: tuple[int, str], ids: Ids) -> tuple[int, Any]:
    """Status and problem, without the ids of the request and the id of the request itself."""
    status, text = answer
    for id_ in astuple(ids):
        text = text.replace(id_, "ID")
    return status, {k: v for k, v in json.loads(text).items() if k not in ("instance", "requestId")}


def test_row_45_foreign_objects_answer_as_unknown_ones(world: World, served: Serving, tenants: tuple[Ids, Ids]) -> None:
    mine, other = tenants
    nothing = mine.unknown()
    before = dict(world.server.objects)
    with (
        served.client("by-project", projects=(mine.project,)) as by_project,
        served.client("by-environment", environments=(mine.environment,)) as by_environment,
    ):
        found = routes(by_project)
        assert len([route for route in found if route.path.startswith("/api/")]) == 14
        for route in (route for route in found if route.names_objects):
            unknown = route.send(by_project, nothing)
            assert unknown[0] == 404, (route, unknown)
            for client in (by_project, by_environment):
                assert problem(route.send(client, other), other) == problem(unknown, nothing), route
                for ids in route.foreign_parts(mine, other):
                    assert route.send(client, ids)[0] == 404, route
        into = {"snapshotId": mine.snapshot, "targetEnvironmentId": other.environment}
        assert by_project.post(f"/api/environments/{mine.environment}/rollback", json=into).status_code == 404
    assert world.server.objects == before
    assert world.server.writes() == []


def test_a_caller_reaches_all_of_its_own(served: Serving, tenants: tuple[Ids, Ids]) -> None:
    """The counterpart: no route refuses the owner, whichever claim names what is owned."""
    mine, _ = tenants
    for claims in ({"projects": (mine.project,)}, {"environments": (mine.environment,)}):
        with served.client("ann", **claims) as client:
            for route in routes(client):
                if route.method != "delete" or route.path.endswith("/pin"):
                    status, text = route.send(client, mine)
                    # A rollback of the first round may refuse what comes later: it runs, or ran after another one.
                    refused = "OperationRunning" in text or "UndoNotPossible" in text
                    assert status in (200, 202) or (status == 409 and refused), (route, status, text)


def test_a_scope_is_needed_by_every_route(world: World, served: Serving, tenants: tuple[Ids, Ids]) -> None:
    mine, _ = tenants
    scopes = ("read", "snapshot", "rollback", "admin")
    with served.anonymous() as anonymous:
        for route in routes(anonymous):
            assert route.send(anonymous, mine)[0] == 401, route
            if not route.scope:
                continue
            lacking = " ".join(s for s in scopes if s not in (route.scope, "admin"))
            with served.client("ann", projects=(mine.project,), scope=lacking) as client:
                assert route.send(client, mine)[0] == 403, (route, lacking)
    assert world.server.writes() == []


def test_row_45_lists_and_logs_have_only_what_the_caller_sees(world: World, served: Serving) -> None:
    """Two environments of one project: a caller of one of them sees neither the other one's snapshots nor its rollbacks
    of a common snapshot."""
    ids = served.call(world.tenant, "mine")
    sibling = served.call(world.environment, ids.project, "sibling")
    served.call(world.snapshot, "sibling", "sibling-1")
    into = served.call(world.rollback, "sibling", "sibling-1", "mine-1")
    snapshot = f"/api/environments/{ids.environment}/snapshots/{ids.snapshot}"
    with served.client("whole", projects=(ids.project,)) as client:
        listed = client.get(f"/api/projects/{ids.project}/snapshots").json()
        assert listed["total"] == len(listed["snapshots"]) == 2
        assert {log["id"] for log in client.get(snapshot).json()["rollbackLogs"]} == {ids.deployment, into}
    with served.client("part", environments=(ids.environment,)) as client:
        listed = client.get(f"/api/projects/{ids.project}/snapshots").json()
        assert ([s["id"] for s in listed["snapshots"]], listed["total"]) == ([ids.snapshot], 1)
        assert [log["id"] for log in client.get(snapshot).json()["rollbackLogs"]] == [ids.deployment]
        assert client.get(f"/api/deployments/{into}/rollback/progress").status_code == 404
        assert client.get(f"/api/environments/{sibling}/rollback-logs").status_code == 404
