"""The operations that only read, on a real server with a filled cache."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ocore_api.views import models
from support.api import objects as o
from support.api.filled import FOREIGN, SNAPSHOT, filled
from support.api.serving import Serving, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving(cache=filled()) as found:
        yield found


@pytest.fixture
def project(served: Serving) -> Iterator[httpx.Client]:
    """A client that sees the first project."""
    with served.client(projects=[o.PROJECT], environments=[]) as client:
        yield client


@pytest.fixture
def stage_only(served: Serving) -> Iterator[httpx.Client]:
    """A client that sees one environment of the project."""
    with served.client(projects=[], environments=[o.OTHER_ENVIRONMENT]) as client:
        yield client


def get(client: httpx.Client, path: str, **params: Any) -> Any:
    answer = client.get(f"/api{path}", params=params or None)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def ids(*names: str, kind: str = "Snapshot", namespace: str = "apps") -> list[str]:
    return [o.uid_of(f"{kind}/{namespace}/{n}") for n in names]


def test_the_snapshots_of_an_environment(project: httpx.Client) -> None:
    found = get(project, f"/environments/{o.ENVIRONMENT}/snapshots")
    models.SnapshotPage.model_validate(found)
    assert [s["id"] for s in found["snapshots"]] == ids("s3", "s2", "s1")
    assert (found["limit"], found["offset"], found["total"]) == (20, 0, 3)
    found = get(project, f"/environments/{o.ENVIRONMENT}/snapshots", limit=1, offset=1)
    assert [s["id"] for s in found["snapshots"]] == ids("s2")
    assert (found["limit"], found["offset"], found["total"]) == (1, 1, 3)
    assert get(project, f"/environments/{o.ENVIRONMENT}/snapshots", offset=10**30)["snapshots"] == []


def test_ids_in_upper_case_are_the_same(project: httpx.Client) -> None:
    assert get(project, f"/environments/{o.ENVIRONMENT.upper()}/snapshots")["total"] == 3


@pytest.mark.parametrize("path", [f"/environments/{o.ENVIRONMENT}/snapshots", f"/projects/{o.PROJECT}/snapshots"])
@pytest.mark.parametrize("params", [{"limit": -1}, {"limit": 101}, {"limit": "x"}, {"offset": -1}, {"offset": "1.5"}])
def test_a_page_outside_of_the_limits_is_refused(project: httpx.Client, path: str, params: dict[str, Any]) -> None:
    answer = project.get(f"/api{path}", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["field"] == f"query.{next(iter(params))}"


def test_an_empty_parameter_is_the_same_as_an_absent_one(project: httpx.Client) -> None:
    page = f"/environments/{o.ENVIRONMENT}/snapshots"
    assert get(project, f"{page}?limit=&offset=") == get(project, page)
    assert get(project, f"{page}?limit=&offset=")["limit"] == 20
    assert get(project, f"{page}?limit=0&offset=0") == get(project, page)
    whole = f"/projects/{o.PROJECT}/snapshots"
    assert get(project, f"{whole}?environmentType=&status=&limit=&offset=") == get(project, whole)
    assert get(project, f"{whole}?limit=0") == get(project, whole)


def test_the_largest_page(project: httpx.Client) -> None:
    assert get(project, f"/environments/{o.ENVIRONMENT}/snapshots", limit=100)["limit"] == 100


def test_a_snapshot_has_its_rollback_logs(project: httpx.Client) -> None:
    found = get(project, f"/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}")
    models.SnapshotDetails.model_validate(found)
    listed = get(project, f"/environments/{o.ENVIRONMENT}/snapshots")["snapshots"][1]
    logs = found.pop("rollbackLogs")
    assert found == listed
    assert [log["id"] for log in logs] == ids("copy", "r2", "r1", kind="Rollback")
    assert {log["deploymentId"] for log in logs} == {o.uid_of("d")}


def test_a_snapshot_shows_only_the_rollbacks_that_the_caller_may_see(served: Serving) -> None:
    with served.client(projects=[], environments=[o.ENVIRONMENT]) as client:
        found = get(client, f"/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}")
    assert [log["id"] for log in found["rollbackLogs"]] == ids("r2", "r1", kind="Rollback")


def test_rollback_logs_belong_to_the_target(project: httpx.Client) -> None:
    found = get(project, f"/environments/{o.ENVIRONMENT}/rollback-logs")
    models.RollbackLogs.model_validate(found)
    assert [log["id"] for log in found["rollbackLogs"]] == ids("r2", "r1", kind="Rollback")
    assert found["total"] == 2
    found = get(project, f"/environments/{o.OTHER_ENVIRONMENT}/rollback-logs")
    assert [(log["snapshotId"], log["status"]) for log in found["rollbackLogs"]] == [(SNAPSHOT, "pending")]


def test_the_snapshots_of_a_project(project: httpx.Client) -> None:
    found = get(project, f"/projects/{o.PROJECT}/snapshots")
    models.ProjectSnapshotPage.model_validate(found)
    assert [s["id"] for s in found["snapshots"]] == ids("t1", "s3", "s2", "s1")
    assert (set(found), found["total"]) == ({"snapshots", "total"}, 4)
    found = get(project, f"/projects/{o.PROJECT}/snapshots", limit=2, offset=1)
    assert ([s["id"] for s in found["snapshots"]], found["total"]) == (ids("s3", "s2"), 4)


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"status": "completed"}, ["t1", "s2", "s1"]),
        ({"status": "FAILED"}, ["s3"]),
        ({"environmentType": "Staging"}, ["t1"]),
        ({"environmentType": "production", "status": "completed"}, ["s2", "s1"]),
        ({"environmentType": "development"}, []),
    ],
)
def test_a_project_is_filtered(project: httpx.Client, params: dict[str, str], names: list[str]) -> None:
    found = get(project, f"/projects/{o.PROJECT}/snapshots", **params)
    assert ([s["id"] for s in found["snapshots"]], found["total"]) == (ids(*names), len(names))


@pytest.mark.parametrize("params", [{"status": "done"}, {"environmentType": "prod"}])
def test_a_filter_with_an_unknown_value_is_refused(project: httpx.Client, params: dict[str, str]) -> None:
    assert project.get(f"/api/projects/{o.PROJECT}/snapshots", params=params).status_code == 422


def test_a_token_of_one_environment_sees_only_that_part_of_the_project(stage_only: httpx.Client) -> None:
    for params in ({}, {"status": "completed"}):
        found = get(stage_only, f"/projects/{o.PROJECT}/snapshots", **params)
        assert ([s["id"] for s in found["snapshots"]], found["total"]) == (ids("t1"), 1)


@pytest.mark.parametrize(
    "path",
    [
        f"/environments/{FOREIGN}/snapshots",
        f"/environments/{FOREIGN}/rollback-logs",
        f"/environments/{FOREIGN}/snapshots/{ids('f1', namespace='other')[0]}",
        f"/environments/{o.ENVIRONMENT}/snapshots/{ids('f1', namespace='other')[0]}",
        f"/environments/{o.OTHER_ENVIRONMENT}/snapshots/{SNAPSHOT}",
        f"/projects/{o.OTHER_PROJECT}/snapshots",
    ],
)
def test_what_is_not_the_callers_is_unknown(project: httpx.Client, path: str) -> None:
    answer = project.get(f"/api{path}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")


def test_a_snapshot_of_an_earlier_owner_of_the_id_is_unknown() -> None:
    cache = filled()
    cache.store.remove("Environment", "apps", "shop")
    again = o.environment("again", o.ENVIRONMENT, o.OTHER_PROJECT, namespace="other", created=900)
    cache.store.put("Environment", again)
    with (
        serving(cache=cache) as served,
        served.client(projects=[o.PROJECT, o.OTHER_PROJECT], environments=[]) as client,
    ):
        assert get(client, f"/environments/{o.ENVIRONMENT}/snapshots")["total"] == 0
        assert client.get(f"/api/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}").status_code == 404


# --- the same request again (routes/fast_reads.py) ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        f"/environments/{o.ENVIRONMENT}/snapshots?limit=7",
        f"/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}?again",
        f"/environments/{o.ENVIRONMENT}/rollback-logs?again",
        f"/projects/{o.PROJECT}/snapshots?status=completed&limit=7",
    ],
)
def test_a_repeated_request_is_checked_for_each_caller(served: Serving, project: httpx.Client, path: str) -> None:
    first = get(project, path)
    assert get(project, path) == first
    with served.client(projects=[o.PROJECT], environments=[], scope="snapshot") as client:
        answer = client.get(f"/api{path}")
        assert answer.status_code == 403
        assert answer.json()["reason"] == "MissingScope"
    with served.client("bob", projects=[o.OTHER_PROJECT], environments=[]) as client:
        assert client.get(f"/api{path}").status_code == 404
    with served.anonymous() as client:
        assert client.get(f"/api{path}").status_code == 401
    assert get(project, path) == first


def test_a_repeated_request_has_its_own_parameters(project: httpx.Client) -> None:
    path = f"/environments/{o.ENVIRONMENT}/snapshots"
    for _ in range(2):
        assert get(project, f"{path}?limit=1&offset=0")["snapshots"][0]["id"] == ids("s3")[0]
        assert get(project, f"{path}?limit=1&offset=1")["snapshots"][0]["id"] == ids("s2")[0]
        assert get(project, f"/environments/{o.OTHER_ENVIRONMENT}/snapshots?limit=1&offset=0")["total"] == 1


def test_a_repeated_request_shows_what_is_new() -> None:
    cache = filled()
    with serving(cache=cache) as served, served.client(projects=[o.PROJECT], environments=[]) as client:
        path = f"/environments/{o.ENVIRONMENT}/snapshots"
        assert get(client, path)["total"] == 3
        served.call(cache.store.put, "Snapshot", o.complete("s9", created=9))
        assert [s["id"] for s in get(client, path)["snapshots"]][:1] == ids("s9")


def test_a_refused_request_is_refused_again(project: httpx.Client) -> None:
    for _ in range(3):
        assert project.get(f"/api/environments/{o.ENVIRONMENT}/snapshots?limit=101").status_code == 422
        assert project.get(f"/api/environments/{FOREIGN}/snapshots?limit=9").status_code == 404


def test_a_repeated_request_is_counted_for_its_route(served: Serving, project: httpx.Client) -> None:
    path = f"/api/environments/{o.ENVIRONMENT}/snapshots?limit=11"
    counted = 'route="/api/environments/{environmentId}/snapshots",status="200"}'

    def count() -> float:
        lines = served.metrics().splitlines()
        return sum(float(x.split()[-1]) for x in lines if x.startswith("ocore_api_requests_total") and counted in x)

    project.get(path).raise_for_status()
    before = count()
    for _ in range(3):
        project.get(path).raise_for_status()
    assert count() == before + 3


def test_another_method_of_a_repeated_path_is_routed(project: httpx.Client) -> None:
    path = f"/api/environments/{o.ENVIRONMENT}/snapshots?limit=12"
    assert project.get(path).status_code == project.get(path).status_code == 200
    assert project.put(path).status_code == 405
    assert project.head(path).status_code == 405
