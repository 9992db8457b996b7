"""The console's reads, on a real server with a filled cache."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ocore_api.cache import Cache
from ocore_api.cache.standing import STATES
from ocore_api.views.console import models
from ocore_crds.text import timestamps
from support.api import objects as o
from support.api.filled import FOREIGN, SNAPSHOT, healthy
from support.api.serving import Serving, serving

#: As a session of the application makes it, by its `application_name`.
MISSING = "application 'ALTER ROLE \"shop\" SUPERUSER;' is connected to shop.\nfix: GRANT postgres TO shop;"
POLICY = o.obj(
    "SnapshotPolicy",
    "shop",
    {"environmentRef": {"name": "shop"}, "schedule": ["0 2 * * *"], "keepDaily": 1, "timeZone": "Europe/Berlin"},
    {"nextScheduleTime": "2026-02-01T01:00:00Z", "pinned": 1},
)
STATUS = {
    "conditions": [
        o.condition("Ready"),
        o.condition("RollbackReady", "False", "MissingGrants", MISSING, 60),
    ],
    "sizes": {"databaseBytes": 5, "filestoreBytes": 6, "filestoreFiles": 7, "measuredAt": o.at(0)},
    "probe": {
        "time": o.at(0),
        "generation": 1,
        "serverVersion": "17.6",
        "databaseName": "shop",
        "warnings": ["w"],
        "remedies": [{"right": "EndSessions", "role": "Application"}],
    },
    "operation": {"kind": "Snapshot", "name": "now", "uid": "u", "since": o.at(6)},
}


def kept(name: str, created: float, **spec: Any) -> o.Object:
    """A Complete Snapshot that the rules are about."""
    return o.complete(name, {"retention": "Policy", **spec}, created=created)


def proven(obj: o.Object, *types: str) -> o.Object:
    obj["status"]["conditions"] += [o.condition(t) for t in types]
    return obj


def undo(name: str, of: str, created: float) -> o.Object:
    return o.rolled_back(name, {"undo": {"rollbackRef": {"name": of}}}, created=created)


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    cache = Cache()
    back = o.rolled_back("r9", created=20, status={"undoUntil": "2099-01-01T00:00:00Z"})
    back["status"]["conditions"].append(o.condition("PreviousRetained"))
    for each in (
        *healthy(),
        o.environment(status=STATUS, version=9),
        POLICY,
        proven(kept("k1", 86_400 * 2), "Verified"),
        proven(kept("k2", 86_400 * 2 + 60), "RestoreTested"),
        kept("k3", 86_400 * 3, trigger="Scheduled", pin={"label": "before 18.0"}),
        o.complete("aside", {"trigger": "PreRollback"}, created=86_400 * 3 + 60),
        o.running("now", created=86_400 * 4),
        back,
        undo("forth", "r2", 14),
        undo("again", "forth", 15),
    ):
        cache.store.put(each["kind"], each)
    with serving(cache=cache) as found:
        yield found


@pytest.fixture
def project(served: Serving) -> Iterator[httpx.Client]:
    with served.client(projects=[o.PROJECT], environments=[]) as client:
        yield client


def get(client: httpx.Client, path: str, **params: Any) -> Any:
    answer = client.get(f"/console/v1{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_caller_learns_what_its_token_states(served: Serving) -> None:
    with served.client("ann", projects=[o.PROJECT], environments=[FOREIGN], scope="read", lifetime=600) as client:
        found = get(client, "/me")
    models.Me.model_validate(found)
    assert (found["subject"], found["scopes"]) == ("ann", ["read"])
    assert (found["projects"], found["environments"]) == ([o.PROJECT], [FOREIGN])
    left = (timestamps.parse(found["expiresAt"]) - timestamps.parse(found["time"])).total_seconds()
    assert 590 <= left <= 601, "without the leeway"


def test_environments_have_the_worst_first(project: httpx.Client) -> None:
    found = get(project, "/environments")
    models.EnvironmentPage.model_validate(found)
    assert [(e["name"], e["ready"], e["rollbackReady"]) for e in found["environments"]] == [
        ("shop", True, False),
        ("stage", None, None),
    ]
    shop = found["environments"][0]
    assert shop["problem"]["reason"] == "MissingGrants"
    assert shop["problem"]["since"] == o.at(60)
    assert "Do: " in shop["problem"]["fix"]["text"]
    assert shop["operation"] == {
        "kind": "snapshot",
        "id": o.uid_of("Snapshot/apps/now"),
        "name": "now",
        "since": o.at(6),
        "step": "DumpDatabase",
        "percent": 40,
    }
    assert [shop[f"newest{proof}"]["name"] for proof in ("Verified", "RestoreTested")] == ["k1", "k2"]
    assert (shop["nextSnapshotAt"], shop["snapshots"]) == ("2026-02-01T01:00:00Z", 8)
    assert (shop["state"], shop["sizeBytes"], shop["expectedEverySeconds"]) == ("overdue", 11, 86_400)
    assert shop["overdueSince"] == shop["overdueAt"] == "2026-02-04T02:00:00Z", "02:00 in Berlin, and an hour"
    assert shop["lastGood"] == {
        "id": o.uid_of("Snapshot/apps/k3"),
        "name": "k3",
        "label": "before 18.0",
        "time": o.at(86_400 * 3 + 2),
        "proof": "complete",
    }
    assert shop["safety"]["name"] == "aside"
    assert found["summary"] == dict.fromkeys(STATES, 0) | {"overdue": 1, "none": 0, "unknown": 1, "running": 1}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"ready": "true"}, ["shop"]),
        ({"ready": "false"}, ["stage"]),
        ({"type": "staging"}, ["stage"]),
        ({"text": "SHO"}, ["shop"]),
        ({"text": o.OTHER_ENVIRONMENT[:20]}, ["shop", "stage"]),
        ({"projectId": o.PROJECT}, ["shop", "stage"]),
        ({"limit": 1, "offset": 1}, ["stage"]),
        ({"ready": "", "type": "", "projectId": "", "text": "", "state": "", "sort": ""}, ["shop", "stage"]),
        ({"state": ["overdue", "fine"]}, ["shop"]),
        ({"state": "unknown"}, ["stage"]),
        ({"running": "true"}, ["shop"]),
        ({"running": "false"}, ["stage"]),
        ({"sort": "-name"}, ["stage", "shop"]),
    ],
)
def test_environments_are_filtered(project: httpx.Client, query: dict[str, Any], names: list[str]) -> None:
    assert [e["name"] for e in get(project, "/environments", **query)["environments"]] == names


def test_row_125_no_command_is_taken_from_a_message(project: httpx.Client) -> None:
    fix = get(project, "/environments")["environments"][0]["problem"]["fix"]
    assert fix["commands"] == ["GRANT pg_signal_backend TO <application>;", "kubectl ocore doctor"]
    assert "<application>: the user in Secret db." in fix["text"]
    assert "every database of the server" in fix["text"]


def test_row_45_environments_of_others_are_not_listed(served: Serving) -> None:
    with served.client(projects=[], environments=[o.OTHER_ENVIRONMENT]) as client:
        found = get(client, "/environments")
        assert ([e["name"] for e in found["environments"]], found["total"]) == (["stage"], 1)
        assert sum(found["summary"].values()) == 1, "counts of others are not shown"
        assert client.get("/console/v1/environments", params={"projectId": o.OTHER_PROJECT}).status_code == 404
    with served.client(projects=[], environments=[]) as client:
        found = get(client, "/environments")
        assert (found["total"], sum(found["summary"].values())) == (0, 0)


def test_an_environment_with_all_that_is_known(project: httpx.Client) -> None:
    found = get(project, f"/environments/{o.ENVIRONMENT}")
    models.EnvironmentDetails.model_validate(found)
    assert [(c["type"], c["fix"] is None) for c in found["conditions"]] == [("Ready", True), ("RollbackReady", False)]
    assert found["sizes"] == {"databaseBytes": 5, "filestoreBytes": 6, "filestoreFiles": 7, "measuredAt": o.at(0)}
    assert (found["databaseName"], found["serverVersion"], found["warnings"]) == ("shop", "17.6", ["w"])
    assert found["stores"] == [{"role": "store", "name": "store"}]
    assert (found["policy"]["keepDaily"], found["policy"]["retentionDays"]) == (1, None)
    assert found["policy"]["timeZone"] == "Europe/Berlin"
    (window,) = found["undoWindows"]
    shown = get(project, f"/rollbacks/{o.uid_of('Rollback/apps/r9')}?environmentId={o.ENVIRONMENT}")
    assert (window["deploymentId"], window["kind"]) == (shown["id"], "rollback")
    assert (window["switchedAt"], window["snapshotAt"]) == (shown["switchedAt"], shown["snapshotAt"])


def test_snapshots_are_filtered_by_time_trigger_and_status(project: httpx.Client) -> None:
    path = f"/environments/{o.ENVIRONMENT}/snapshots"

    def names(**query: Any) -> list[str]:
        found = get(project, path, **query)
        models.ConsoleSnapshotPage.model_validate(found)
        assert found["total"] == len(found["snapshots"])
        return [s["name"] for s in found["snapshots"]]

    assert names() == ["now", "aside", "k3", "k2", "k1", "s3", "s2", "s1"]
    assert names(**{"from": o.at(86_400 * 2), "to": o.at(86_400 * 3)}) == ["k2", "k1"]
    assert names(**{"from": o.at(3), "to": o.at(3)}) == []
    assert names(trigger="scheduled") == ["k3"]
    assert names(status="failed") == ["s3"]
    assert names(status="running", trigger="manual", **{"from": o.at(4)}) == ["now"]
    assert project.get(f"/console/v1{path}", params={"from": "yesterday"}).status_code == 422


def test_rollbacks_are_filtered_by_time_and_say_where_to(project: httpx.Client) -> None:
    path = f"/environments/{o.ENVIRONMENT}/rollbacks"

    def rows(**query: Any) -> list[tuple[str, str, str]]:
        found = get(project, path, **query)
        models.RollbackDetailsPage.model_validate(found)
        return [(r["name"], r["kind"], r["direction"]) for r in found["rollbacks"]]

    assert rows() == [
        ("r9", "rollback", "back"),
        ("again", "undo", "back"),
        ("forth", "undo", "forward"),
        ("r2", "rollback", "back"),
        ("r1", "rollback", "back"),
    ]
    assert [name for name, *_ in rows(**{"from": o.at(12), "to": o.at(15)})] == ["forth", "r2"]
    page = get(project, path, limit=1, offset=2)
    assert ([r["name"] for r in page["rollbacks"]], page["total"]) == (["forth"], 5)


def test_a_snapshot_of_the_console_is_the_one_of_the_14_and_more(project: httpx.Client) -> None:
    both = [
        project.get(f"{base}/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}") for base in ("/api", "/console/v1")
    ]
    old, new = (answer.json() for answer in both)
    del old["rollbackLogs"]
    assert {k: new[k] for k in old} == old
    models.ConsoleSnapshot.model_validate(new)
    assert set(new) > set(old)
    assert (new["isSafety"], new["image"]) == (False, "registry.example.org/shop:18.0")


def test_what_a_snapshot_proves_and_what_keeps_it() -> None:
    obj = o.complete("s", {"retention": "Policy", "requestedBy": "ann\x1b[31m\u202e"})
    obj["metadata"]["annotations"] = {"ocore.dev/restore-test-requested": o.at(5)}
    obj["status"] |= {
        "keptBy": [],
        "base": {"id": o.uid_of("full"), "name": "full"},
        "dependents": ["d"],
        "remote": {"state": "Copying", "storeName": "far", "requestedAt": o.at(1), "bytes": 9, "bytesDone": 4},
        "remoteKeptBy": ["latest"],
    }
    cache = Cache()
    cache.store.put("Environment", o.environment())
    cache.store.put("Snapshot", obj)
    with serving(cache=cache) as served, served.client(projects=[o.PROJECT]) as client:
        found = get(client, f"/environments/{o.ENVIRONMENT}/snapshots/{obj['metadata']['uid']}")
    assert found["requestedBy"] == "ann\x1b[31m\u202e", "as it is: the client shows it as text"
    assert (found["keptBy"], found["deletedNext"]) == ([], False), "its copy is kept"
    assert (found["remote"]["state"], found["remote"]["keptBy"]) == ("copying", ["latest"])
    assert (found["baseId"], found["dependents"]) == (o.uid_of("full"), 1)
    assert found["restoreTest"]["result"] == "pending"


def test_row_145_what_a_snapshot_lacks_counts_more_than_what_is_proven() -> None:
    obj = o.complete("s")
    obj["status"]["conditions"] += [o.condition("RestoreTested"), o.condition("Incomplete")]
    cache = Cache()
    cache.store.put("Environment", o.environment())
    cache.store.put("Snapshot", obj)
    with serving(cache=cache) as served, served.client(projects=[o.PROJECT]) as client:
        assert get(client, f"/environments/{o.ENVIRONMENT}/snapshots/{obj['metadata']['uid']}")["isIncomplete"] is True
        assert get(client, f"/environments/{o.ENVIRONMENT}")["lastGood"]["proof"] == "incomplete"


# --- retention ----------------------------------------------------------------------------------------------------


def plan(client: httpx.Client, **query: Any) -> Any:
    found = get(client, f"/environments/{o.ENVIRONMENT}/retention", **query)
    models.RetentionPlan.model_validate(found)
    return found


def test_the_rules_of_the_policy(project: httpx.Client) -> None:
    found = plan(project)
    assert (found["isTrial"], found["timeZone"], found["rules"]["keepDaily"]) == (False, "Europe/Berlin", 1)
    assert [(s["name"], s["keptBy"]) for s in found["snapshots"]] == [
        ("k3", ["latest", "pinned", "keepDaily"]),
        ("k2", ["latestRestoreTested"]),
        ("k1", ["latestVerified"]),
    ]
    assert (found["kept"], found["deleted"], found["unaffected"], found["total"]) == (3, 0, 5, 3)


def test_values_to_try_replace_those_of_the_policy_and_nothing_is_saved(project: httpx.Client, served: Serving) -> None:
    found = plan(project, keepDaily=0, keepLast=1)
    assert (found["isTrial"], found["rules"]["keepDaily"], found["rules"]["keepLast"]) == (True, 0, 1)
    assert found["snapshots"][0]["keptBy"] == ["latest", "pinned", "keepLast"]
    assert plan(project)["rules"]["keepDaily"] == 1
    page = plan(project, limit=1, offset=2)
    assert ([s["name"] for s in page["snapshots"]], page["total"]) == (["k1"], 3)


def test_what_is_deleted_comes_first() -> None:
    cache = Cache()
    for each in (o.environment(), *(kept(f"k{n}", 86_400 * n) for n in range(4))):
        cache.store.put(each["kind"], each)
    using = o.rollback("uses", {"snapshotRef": {"name": "k0"}}, created=5)
    cache.store.put("Rollback", using)
    with serving(cache=cache) as served, served.client(projects=[o.PROJECT]) as client:
        found = plan(client, keepLast=1)
    assert [(s["name"], s["deletedNext"], s["keptBy"]) for s in found["snapshots"]] == [
        ("k2", True, []),
        ("k1", True, []),
        ("k3", False, ["latest", "keepLast"]),
        ("k0", False, ["inUse"]),
    ]
    assert (found["deleted"], found["deletedBytes"]) == (2, 2 * 4_300_000_000)


def test_row_45_a_plan_shows_no_snapshot_of_an_earlier_environment_of_that_name() -> None:
    """It counts for the rules, which see names, and is not the caller's."""
    foreign = kept("foreign", 86_400)
    foreign["status"]["source"] |= {"environmentId": o.OTHER_ENVIRONMENT, "projectId": o.OTHER_PROJECT}
    objects = (o.environment(), kept("mine", 0), foreign)
    with serving(objects=objects) as served, served.client(projects=[o.PROJECT]) as client:
        found = plan(client, keepLast=1)
    assert ([s["name"] for s in found["snapshots"]], found["total"]) == (["mine"], 1)


def test_without_a_policy_what_the_statuses_say_counts_too() -> None:
    cache = Cache()
    old = kept("old", 0)
    old["status"] |= {"keptBy": ["keepYearly"], "expiresAt": "2099-01-01T00:00:00Z"}
    for each in (o.environment(), old, kept("new", 86_400)):
        cache.store.put(each["kind"], each)
    with serving(cache=cache) as served, served.client(projects=[o.PROJECT]) as client:
        assert [s["keptBy"] for s in plan(client)["snapshots"]] == [["latest"], ["keepYearly"]]
        assert plan(client, keepLast=1)["snapshots"][0]["deletedNext"] is True


def test_a_time_zone_that_does_not_exist_is_named() -> None:
    policy = o.obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}, "timeZone": "Mars/Olympus"})
    with serving(objects=(o.environment(), policy)) as served, served.client(projects=[o.PROJECT]) as client:
        answer = client.get(f"/console/v1/environments/{o.ENVIRONMENT}/retention")
    assert (answer.status_code, answer.json()["reason"]) == (422, "TimeZoneUnknown")
    assert "Mars/Olympus" in answer.json()["detail"]
