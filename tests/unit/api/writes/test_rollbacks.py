"""Rollbacks: who may start which, and how often one request starts one."""

from typing import Any

import pytest

from ocore_api.writes import rollbacks
from ocore_crds.resources.rollback import RollbackSpec
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS, SNAPSHOTS
from support.api.api_server import Object
from support.api.writes import (
    COMPLETE,
    COPY,
    FAILED,
    FOREIGN,
    OF_COPY,
    OTHER_PROJECT,
    PROJECT,
    SHOP,
    SNAPSHOT,
    STAGING,
    STORE_ID,
    Site,
    condition,
    environment,
    named,
    reason,
    snapshot,
)

KEY = {"Idempotency-Key": "one"}
UNKNOWN = "77777777-0000-4000-8000-000000000001"


def start(site: Site, *, headers: Any = None, subject: str = "alice", environment_id: str = SHOP, **body: Any) -> Any:
    body = {"snapshotId": SNAPSHOT, **body}
    return site.send("POST", f"{environment_id}/rollback", json=body, headers=headers or {}, subject=subject)


def made(site: Site) -> list[Any]:
    return site.server.of(ROLLBACKS)


def test_a_rollback_is_started(site: Site) -> None:
    answer = start(site)
    assert answer.status_code == 202
    (rollback,) = made(site)
    name, spec = rollback["metadata"]["name"], rollback["spec"]
    assert answer.json() == {
        "deploymentId": spec["id"],
        "environmentId": SHOP,
        "message": f"Rollback {name} was created.",
        "snapshotId": SNAPSHOT,
    }
    assert rollback["metadata"]["namespace"] == "apps"
    assert spec == {
        "id": spec["id"],
        "snapshotRef": {"name": "before"},
        "targetEnvironmentRef": {"name": "shop"},
        "createSafetySnapshot": False,
        "requestedBy": "alice",
    }
    RollbackSpec.model_validate(spec)
    assert site.server.writes() == [("POST", ROLLBACKS.path("apps"))], "an applied one would be a GitOps tool's"
    assert site.cache.taken == [("Rollback", name)]
    (line,) = site.served.audit_lines()
    assert (line["name"], line["object"], line["target"]) == (name, spec["id"], SHOP)


def test_a_safety_snapshot_and_another_target(site: Site) -> None:
    answer = start(site, createSafetySnapshot=True, targetEnvironmentId=COPY)
    assert (answer.status_code, answer.json()["environmentId"]) == (202, COPY)
    (rollback,) = made(site)
    assert rollback["spec"]["createSafetySnapshot"] is True
    assert rollback["spec"]["targetEnvironmentRef"] == {"name": "copy"}
    assert "namespace" not in rollback["spec"]["snapshotRef"]
    assert rollback["metadata"]["name"].startswith("copy-")


def test_the_environment_of_the_path_may_be_named_as_target(site: Site) -> None:
    assert start(site, targetEnvironmentId=SHOP.upper()).json()["environmentId"] == SHOP


@pytest.mark.parametrize("unset", ["", None])
def test_a_target_that_is_not_set_is_the_environment_of_the_path(site: Site, unset: str | None) -> None:
    answer = start(site, targetEnvironmentId=unset, createSafetySnapshot=None)
    assert (answer.status_code, answer.json()["environmentId"]) == (202, SHOP)


# --- who may ---------------------------------------------------------------------------------------------------------


def test_the_environment_of_the_path_owns_the_snapshot(site: Site) -> None:
    assert reason(start(site, snapshotId=OF_COPY)) == (404, "NotFound")
    assert reason(start(site, snapshotId=OF_COPY, targetEnvironmentId=COPY)) == (404, "NotFound")
    assert reason(start(site, snapshotId=UNKNOWN)) == (404, "NotFound")
    assert made(site) == []


def test_a_target_that_is_not_visible_is_unknown(site: Site) -> None:
    hidden, unknown = (start(site, targetEnvironmentId=each) for each in (FOREIGN, UNKNOWN))
    assert reason(hidden) == reason(unknown) == (404, "NotFound")
    assert hidden.json()["detail"].replace(FOREIGN, "") == unknown.json()["detail"].replace(UNKNOWN, "")
    assert made(site) == []


def test_a_target_of_another_project_is_refused_even_if_it_is_visible(site: Site) -> None:
    with site.client(projects=[PROJECT, OTHER_PROJECT]) as client:
        body = {"snapshotId": SNAPSHOT, "targetEnvironmentId": FOREIGN}
        answer = client.post(f"/api/environments/{SHOP}/rollback", json=body)
    assert reason(answer) == (422, "OtherProject")
    assert made(site) == []


def test_an_environment_that_is_not_the_callers(site: Site) -> None:
    assert reason(start(site, environment_id=FOREIGN)) == (404, "NotFound")
    with site.client(projects=[], environments=[COPY]) as client:
        body = {"snapshotId": SNAPSHOT, "targetEnvironmentId": COPY}
        assert reason(client.post(f"/api/environments/{SHOP}/rollback", json=body)) == (404, "NotFound")
    assert made(site) == []


@pytest.mark.parametrize("scope", ["read", "snapshot", "admin", ""])
def test_it_needs_the_scope_rollback(site: Site, scope: str) -> None:
    with site.client(scope=scope) as client:
        answer = client.post(f"/api/environments/{SHOP}/rollback", json={"snapshotId": SNAPSHOT})
    assert reason(answer) == (403, "MissingScope")
    assert site.server.writes() == []


# --- when ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [{}, {"phase": "Running", "conditions": []}, FAILED, {**COMPLETE, "phase": "Corrupt"}],
)
def test_a_snapshot_that_is_not_complete(site: Site, status: Any) -> None:
    site.server.put(snapshot("before", SNAPSHOT, status))
    assert reason(start(site)) == (409, "SnapshotNotComplete")
    assert made(site) == []


def test_a_snapshot_that_is_being_deleted_or_replaced(site: Site) -> None:
    gone = snapshot("before", SNAPSHOT, COMPLETE)
    gone["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    site.cache.late.add("Snapshot")
    site.server.put(gone)
    assert reason(start(site)) == (404, "NotFound")

    def replaced(method: str, path: str, body: Any) -> None:
        if path == SNAPSHOTS.path("apps", "before"):
            again = snapshot("before", SNAPSHOT, COMPLETE)
            again["metadata"]["uid"] = "another"
            site.server.put(again)

    site.server.put(snapshot("before", SNAPSHOT, COMPLETE))
    site.server.before.append(replaced)
    assert reason(start(site)) == (404, "NotFound")
    assert made(site) == []


def lock(site: Site, kind: str, status: Object) -> None:
    """An operation has the lock of the target."""
    spec = {"environmentRef": {"name": "shop"}, "snapshotRef": {"name": "before"}}
    site.server.put(named(kind, "apps", "holder", spec, status, uid=UNKNOWN))
    operation = {"kind": kind, "name": "holder", "uid": UNKNOWN, "since": "2026-03-01T12:00:00Z"}
    site.server.set_status(ENVIRONMENTS, "apps", "shop", {"operation": operation})


def reads_of_the_lock(site: Site) -> int:
    return [path for method, path, *_ in site.server.requests if method == "GET"].count(
        ENVIRONMENTS.path("apps", "shop")
    )


ENDED = {"phase": "Complete", "conditions": [condition("Complete")]}


def test_what_has_ended_is_not_in_the_way(site: Site) -> None:
    """The terminal status comes before the release of the lock: a client that reads it may start the next operation at
    once."""
    lock(site, "Snapshot", ENDED)
    assert start(site).status_code == 202
    assert reads_of_the_lock(site) == 1


def test_a_holder_that_does_not_exist_is_not_in_the_way(site: Site) -> None:
    """The operator takes its lock over."""
    lock(site, "Snapshot", {"phase": "Running", "conditions": []})
    site.server.objects.pop(SNAPSHOTS.path("apps", "holder"))
    assert start(site).status_code == 202


def test_a_rollback_that_has_ended_releases_its_lock_in_a_moment(site: Site) -> None:
    lock(site, "Rollback", {**ENDED, "residue": "Pending"})

    def released(method: str, path: str, _: Any) -> None:
        if reads_of_the_lock(site) == 3:
            site.server.set_status(ENVIRONMENTS, "apps", "shop", {"operation": None})

    site.server.before.append(released)
    assert start(site).status_code == 202


def test_a_rollback_that_cleans_up_is_waited_for_a_bounded_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollbacks, "PAUSES", (0.01, 0.01))
    lock(site, "Rollback", {**ENDED, "residue": "Pending"})
    answer = start(site)
    assert reason(answer) == (409, "OperationRunning")
    assert "Rollback holder has ended, and cleans up" in answer.json()["detail"]
    assert reads_of_the_lock(site) == 3


def test_an_operation_that_runs_on_the_target(site: Site) -> None:
    lock(site, "Snapshot", {"phase": "Running", "conditions": []})
    answer = start(site)
    assert reads_of_the_lock(site) == 1
    assert reason(answer) == (409, "OperationRunning")
    assert "Snapshot holder runs" in answer.json()["detail"]
    assert start(site, targetEnvironmentId=COPY).status_code == 202, "only the target is locked"


def test_a_rollback_that_waits_for_the_target(site: Site) -> None:
    assert start(site).status_code == 202
    assert reason(start(site)) == (409, "OperationRunning")
    assert start(site, targetEnvironmentId=COPY).status_code == 202
    name = made(site)[0]["metadata"]["name"]
    site.server.set_status(ROLLBACKS, "apps", name, {"phase": "Complete", "conditions": [condition("Complete")]})
    assert start(site).status_code == 202


# --- how often -------------------------------------------------------------------------------------------------------


def test_the_same_key_starts_one_rollback_for_ever(site: Site) -> None:
    first = start(site, headers=KEY)
    again = start(site, headers=KEY, targetEnvironmentId=SHOP, createSafetySnapshot=False)
    assert (again.status_code, again.json()) == (202, first.json()), "it runs, and is not in its own way"
    name = made(site)[0]["metadata"]["name"]
    site.server.set_status(ROLLBACKS, "apps", name, {"phase": "Failed", "conditions": [condition("Failed")]})
    site.server.objects.pop(SNAPSHOTS.path("apps", "before"))
    assert start(site, headers=KEY).json() == first.json(), "it has ended, and its snapshot is deleted"
    assert len(made(site)) == 1


@pytest.mark.parametrize(
    "other", [{"createSafetySnapshot": True}, {"targetEnvironmentId": COPY}, {"targetEnvironmentId": STAGING}]
)
def test_the_same_key_with_another_body(site: Site, other: Any) -> None:
    """Also where the other rollback would be in another namespace."""
    start(site, headers=KEY)
    assert reason(start(site, headers=KEY, **other)) == (422, "IdempotencyKeyReused")
    assert len(made(site)) == 1


def test_a_key_is_one_subjects_and_one_environments(site: Site) -> None:
    mine = start(site, headers=KEY)
    other = start(site, headers=KEY, subject="bob", targetEnvironmentId=COPY)
    assert (mine.status_code, other.status_code) == (202, 202)
    assert mine.json()["deploymentId"] != other.json()["deploymentId"]
    assert reason(start(site, headers=KEY, environment_id=COPY, snapshotId=OF_COPY)) == (409, "OperationRunning")


def test_the_same_key_at_the_same_moment_on_another_replica(site: Site) -> None:
    first = start(site, headers=KEY)
    site.cache.store.remove("Rollback", "apps", made(site)[0]["metadata"]["name"])
    assert (start(site, headers=KEY).status_code, start(site, headers=KEY).json()) == (202, first.json())
    assert reason(start(site, headers=KEY, createSafetySnapshot=True)) == (422, "IdempotencyKeyReused")
    assert len(made(site)) == 1


def test_the_same_key_at_the_same_moment_is_not_in_its_own_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request has asked what the key started before the first one created it, and sees it afterwards."""
    first = start(site, headers=KEY)

    async def nothing_yet(*_: object) -> None:
        return None

    monkeypatch.setattr("ocore_api.writes.rollbacks.repeated", nothing_yet)
    again = start(site, headers=KEY)
    assert (again.status_code, again.json()) == (202, first.json()), again.text
    name = made(site)[0]["metadata"]["name"]
    operation = {"kind": "Rollback", "name": name, "uid": UNKNOWN, "since": "2026-03-01T12:00:00Z"}
    site.server.set_status(ENVIRONMENTS, "apps", "shop", {"operation": operation})
    assert start(site, headers=KEY).json() == first.json()
    assert len(made(site)) == 1


def test_the_key_is_the_callers_alone(site: Site) -> None:
    """No one learns what a key of another subject has started: the id is derived from the subject."""
    start(site, headers=KEY)
    with site.client("mallory", projects=[OTHER_PROJECT]) as client:
        body = {"snapshotId": SNAPSHOT}
        answer = client.post(f"/api/environments/{SHOP}/rollback", json=body, headers=KEY)
    assert reason(answer) == (404, "NotFound")


# --- another namespace -----------------------------------------------------------------------------------------------


def store(namespace: str, name: str, store_id: str, access: str = "ReadWrite") -> Any:
    return named("SnapshotStore", namespace, name, {"access": access}, {"storeId": store_id})


def test_into_another_namespace(site: Site) -> None:
    site.server.put(store("test", "store", STORE_ID))
    assert start(site, targetEnvironmentId=STAGING).json()["environmentId"] == STAGING
    (rollback,) = made(site)
    assert rollback["metadata"]["namespace"] == "test"
    assert rollback["spec"]["snapshotRef"] == {"name": "before", "namespace": "apps"}
    assert rollback["spec"]["targetEnvironmentRef"] == {"name": "staging"}
    assert "sourceStoreRef" not in rollback["spec"], "the target's own store is the snapshot's"
    RollbackSpec.model_validate(rollback["spec"])


def test_the_store_that_is_read_from_in_the_targets_namespace(site: Site) -> None:
    site.server.put(store("test", "store", "another"))
    assert reason(start(site, targetEnvironmentId=STAGING)) == (409, "StoreNotFound")
    site.server.put(store("test", "a-writable", STORE_ID))
    site.server.put(store("test", "production", STORE_ID, "ReadOnly"))
    site.server.put(store("apps", "elsewhere", STORE_ID, "ReadOnly"))
    assert start(site, targetEnvironmentId=STAGING).status_code == 202
    assert made(site)[0]["spec"]["sourceStoreRef"] == {"name": "production"}


def test_a_namespace_without_a_grant(site: Site) -> None:
    site.server.put(store("test", "store", STORE_ID))
    site.server.put(environment("apps", "shop", SHOP, allowRollbackTo=[{"namespace": "other"}]))
    answer = start(site, targetEnvironmentId=STAGING)
    assert reason(answer) == (409, "AccessNotGranted")
    assert "Add test to spec.allowRollbackTo" in answer.json()["detail"]
    assert made(site) == []


@pytest.mark.parametrize(
    "body",
    [
        {}, {"snapshotId": "x"}, {"snapshotId": ""}, {"snapshotId": SNAPSHOT, "force": True},
        {"snapshotId": SNAPSHOT, "createSafetySnapshot": "yes"},
        {"snapshotId": SNAPSHOT, "targetEnvironmentID": COPY}, {"snapshotId": SNAPSHOT, "targetEnvironmentId": " "},
        {"snapshotId": SNAPSHOT, "targetEnvironmentId": 0}, {"snapshotId": SNAPSHOT, "targetEnvironmentId": []},
    ],
)  # fmt: skip
def test_a_body_that_is_not_allowed(site: Site, body: Any) -> None:
    """A mistyped target must not roll back the environment of the path."""
    assert reason(site.send("POST", f"{SHOP}/rollback", json=body)) == (422, "InvalidValue")
    assert made(site) == []


def test_a_key_that_is_not_allowed(site: Site) -> None:
    assert reason(start(site, headers={"Idempotency-Key": "two words"})) == (422, "InvalidIdempotencyKey")
