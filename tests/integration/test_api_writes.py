"""What the facade writes, on the real API server: with the rights of the chart's account and under the chart's
admission policies.

No operator runs: the tests write the statuses.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_crds.text.timestamps import text
from support.api import document
from support.api.process import FacadeProcess, running_facade
from support.cluster.chart import Helm
from support.cluster.cluster import GROUP, Cluster, Object, condition, wait_for
from support.cluster.operator import NAMESPACE, RELEASE

PROJECT, OTHER_PROJECT = (f"6a1c3a52-6f3e-4bb0-9a55-00000000000{n}" for n in (1, 2))
KEY = {"Idempotency-Key": "d2f1"}


@dataclass
class Site:
    """A facade over two namespaces: `shop` and `copy` in one, `staging` in the other one."""

    cluster: Cluster
    facade: FacadeProcess
    namespace: str
    other: str
    shop: str
    copy: str
    staging: str

    def send(self, method: str, path: str, *, environment: str = "", subject: str = "alice", **how: Any) -> Any:
        """A request about an environment, of a caller with all scopes. An answer that is no error is as the document of
        the API says."""
        with self.facade.client(subject, projects=[PROJECT]) as client:
            answer = client.request(method, f"/api/environments/{environment or self.shop}{path}", **how)
        if answer.is_success:
            document.compare_with_document(answer)
        return answer

    def status(self, kind: str, name: str, namespace: str = "", **status: Any) -> None:
        """Writes a status, as the operator."""
        self.cluster.patch_status(kind, name, namespace or self.namespace, status)

    def snapshot(self, name: str, *, manager: str = "argocd-controller", of: str = "shop", **spec: Any) -> str:
        """A Complete Snapshot that a GitOps tool applied; its id. The facade sees it."""
        body = {"environmentRef": {"name": of}, **spec}
        self.cluster.apply(object_("Snapshot", self.namespace, name, body), manager=manager)
        uid = str(self.live("Snapshot", name)["metadata"]["uid"])
        self.status("Snapshot", name, id=uid, phase="Complete", conditions=[done("Complete"), done("Ready")])
        environment = self.shop if of == "shop" else self.copy
        with self.facade.client(projects=[PROJECT]) as client:
            wait_for(
                "the snapshot in the cache",
                lambda: (
                    client.get(f"/api/environments/{environment}/snapshots/{uid}").json().get("status") == "completed"
                ),
                20,
            )
        return uid

    def live(self, kind: str, name: str, namespace: str = "") -> Object:
        """The object as it is now."""
        found = self.cluster.get(kind, name, namespace or self.namespace)
        assert found is not None
        return found


def object_(kind: str, namespace: str, name: str, spec: Object) -> Object:
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def done(type_: str) -> Object:
    return {
        "type": type_,
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": text(datetime.now(UTC)),
        "observedGeneration": 1,
    }


def reason(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


@pytest.fixture(scope="module")
def site(crds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    Helm(crds).uninstall(RELEASE, NAMESPACE)  # its policies and its operator would answer, too
    namespace, other = crds.namespace("writes"), crds.namespace("staging")
    ids = {}
    for place, name in ((namespace, "shop"), (namespace, "copy"), (other, "staging")):
        spec: Object = {
            "projectId": PROJECT,
            "type": "staging",
            "storeRef": {"name": "store"},
            "database": {"secretRef": {"name": "db"}},
        }
        if name == "shop":
            spec["allowRollbackTo"] = [{"namespace": other}]
        crds.apply(object_("Environment", place, name, spec), manager="argocd-controller")
        found = crds.get("Environment", name, place)
        assert found is not None
        ids[name] = found["metadata"]["uid"]
        crds.patch_status("Environment", name, place, {"id": ids[name]})
    with running_facade(crds, tmp_path_factory.mktemp("facade"), [namespace, other]) as facade:
        yield Site(crds, facade, namespace, other, **ids)
    for place in (namespace, other):
        for kind in ("Snapshot", "Rollback"):
            for obj in crds.objects(kind, place):
                crds.patch(
                    kind,
                    obj["metadata"]["name"],
                    place,
                    {"metadata": {"finalizers": None}, "spec": {"pin": None}}
                    if kind == "Snapshot"
                    else {"metadata": {"finalizers": None}},
                )
        crds.delete("Namespace", place)


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_taken_and_read_at_once(site: Site) -> None:
    answer = site.send("POST", "/snapshots")
    assert answer.status_code == 202, answer.text
    name = answer.json()["message"].split()[1]
    live = site.live("Snapshot", name)
    assert answer.headers["location"].endswith(live["metadata"]["uid"])
    spec = live["spec"]
    assert (spec["trigger"], spec["retention"], spec["deletionPolicy"]) == ("Manual", "Policy", "Delete")
    assert spec["requestedBy"] == "alice", "admission lets the facade name its caller"
    with site.facade.client(projects=[PROJECT]) as client:
        read = client.get(answer.headers["location"])
        assert (read.status_code, read.json()["status"]) == (200, "pending")
        rows = client.get(f"/api/environments/{site.shop}/snapshots").json()["snapshots"]
    assert rows[0]["id"] == live["metadata"]["uid"]


def test_one_key_one_snapshot(site: Site) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: site.send("POST", "/snapshots", headers=KEY), range(4)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.headers["location"] for a in answers}) == 1
    assert (
        site.send("POST", "/snapshots", headers=KEY, subject="bob").headers["location"]
        != answers[0].headers["location"]
    )


def test_a_deleted_snapshot_is_gone_for_readers_before_its_data_is(site: Site) -> None:
    id_ = site.snapshot("deleted")
    site.cluster.patch("Snapshot", "deleted", site.namespace, {"metadata": {"finalizers": ["ocore.dev/data"]}})
    assert site.live("Snapshot", "deleted")["spec"]["deletionPolicy"] == "Retain", "the default"
    assert site.send("DELETE", f"/snapshots/{id_}").status_code == 204
    live = site.live("Snapshot", "deleted")
    assert live["metadata"]["deletionTimestamp"]
    assert live["spec"]["deletionPolicy"] == "Delete"
    assert site.send("GET", f"/snapshots/{id_}").status_code == 404
    assert reason(site.send("DELETE", f"/snapshots/{id_}")) == (404, "NotFound")
    site.cluster.patch("Snapshot", "deleted", site.namespace, {"metadata": {"finalizers": None}})


def test_what_git_retains_is_not_deleted(site: Site) -> None:
    id_ = site.snapshot("retained", deletionPolicy="Retain")
    answer = site.send("DELETE", f"/snapshots/{id_}")
    assert reason(answer) == (409, "FieldOwned"), answer.text
    assert (answer.json()["manager"], answer.json()["field"]) == ("argocd-controller", "spec.deletionPolicy")
    assert "deletionTimestamp" not in site.live("Snapshot", "retained")["metadata"]


def test_a_pin_protects_and_is_removed(site: Site) -> None:
    id_ = site.snapshot("pinned")
    assert site.send("PUT", f"/snapshots/{id_}/pin", json={"label": "audit"}).status_code == 200
    read = site.send("GET", f"/snapshots/{id_}").json()
    assert (read["isPinned"], read["pinLabel"]) == (True, "audit")
    assert reason(site.send("DELETE", f"/snapshots/{id_}")) == (409, "SnapshotPinned")
    assert site.send("PUT", f"/snapshots/{id_}/pin", json={"label": "other"}).status_code == 200
    assert site.live("Snapshot", "pinned")["spec"]["pin"] == {"label": "other"}
    assert site.send("PUT", f"/snapshots/{id_}/pin", json={}).status_code == 200
    read = site.send("GET", f"/snapshots/{id_}").json()
    assert (read["isPinned"], read["pinLabel"]) == (True, None)
    assert site.send("DELETE", f"/snapshots/{id_}/pin").status_code == 200
    assert "pin" not in site.live("Snapshot", "pinned")["spec"]


def test_a_pin_of_kubectl_is_removed_and_one_of_git_keeps_its_label(site: Site) -> None:
    id_ = site.snapshot("pinned-by-git", pin={"label": "legal"})
    answer = site.send("PUT", f"/snapshots/{id_}/pin", json={"label": "mine"})
    assert reason(answer) == (409, "FieldOwned")
    assert answer.json()["field"] == "spec.pin.label"
    assert site.send("PUT", f"/snapshots/{id_}/pin", json={}).status_code == 200
    assert site.live("Snapshot", "pinned-by-git")["spec"]["pin"] == {"label": "legal"}
    assert site.send("DELETE", f"/snapshots/{id_}/pin").status_code == 200
    assert "pin" not in site.live("Snapshot", "pinned-by-git")["spec"]


def test_more_pins_than_allowed_are_refused_by_admission(site: Site) -> None:
    id_ = site.snapshot("one-too-many", of="copy")
    site.status("Environment", "copy", pins={"pinned": 10, "limit": 10})
    answer = wait_for(
        "admission",
        lambda: (
            a
            if (a := site.send("PUT", f"/snapshots/{id_}/pin", environment=site.copy, json={})).status_code == 409
            else None
        ),
        20,
    )
    assert reason(answer) == (409, "AdmissionRefused")
    assert "the default limit is 10" in answer.json()["detail"]


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_created_and_changed_without_force(site: Site) -> None:
    path = "/snapshot-settings"
    first = site.send("GET", path)
    assert first.status_code == 200, first.text
    policy = site.live("SnapshotPolicy", "shop")
    assert first.json()["id"] == policy["metadata"]["uid"]
    owners = {m["manager"]: set(m["fieldsV1"]["f:spec"]) for m in policy["metadata"]["managedFields"]}
    assert owners == {"ocore-api-defaults": {"f:environmentRef"}}, "a GitOps tool can set everything else"
    assert site.send("PUT", path, json={"retentionDays": 7}).json()["retentionDays"] == 7
    again = site.send("PUT", path, json={"timeoutSeconds": 90, "failurePolicy": "Continue"}).json()
    assert (again["retentionDays"], again["timeoutSeconds"], again["failurePolicy"]) == (7, 90, "continue")
    git = object_("SnapshotPolicy", site.namespace, "shop", {"environmentRef": {"name": "shop"}, "maxPinned": 5})
    site.cluster.apply(git, manager="argocd-controller")
    answer = site.send("PUT", path, json={"maxPinned": 9, "retentionDays": 8})
    assert reason(answer) == (409, "FieldOwned")
    assert (answer.json()["manager"], answer.json()["field"]) == ("argocd-controller", "spec.maxPinned")
    spec = site.live("SnapshotPolicy", "shop")["spec"]
    assert (spec["maxPinned"], spec["retentionDays"], spec["timeoutSeconds"]) == (5, 7, 90)
    assert site.send("PUT", path, json={"retentionDays": 8}).status_code == 200


def test_changes_at_the_same_moment_lose_nothing(site: Site) -> None:
    path, wanted = (
        "/snapshot-settings",
        {"maxPinned": 3, "retentionDays": 4, "timeoutSeconds": 50, "autoEnabled": False},
    )
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda i: site.send("PUT", path, environment=site.copy, json=dict([i])), wanted.items())
        )
    assert [a.status_code for a in answers] == [200] * 4, [a.text for a in answers]
    assert site.send("GET", path, environment=site.copy).json().items() >= wanted.items()


# --- rollbacks -------------------------------------------------------------------------------------------------------


def test_a_rollback_is_started_once(site: Site) -> None:
    id_ = site.snapshot("base")
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: site.send("POST", "/rollback", json={"snapshotId": id_}, headers=KEY), range(4))
        )
    assert [a.status_code for a in answers] == [202] * 4, [a.text for a in answers]
    (answer,) = {json.dumps(a.json()) for a in answers}
    found = json.loads(answer)
    (rollback,) = [
        r for r in site.cluster.objects("Rollback", site.namespace) if r["spec"]["id"] == found["deploymentId"]
    ]
    assert rollback["spec"]["requestedBy"] == "alice"
    assert rollback["metadata"]["managedFields"][0]["operation"] == "Update", "not applied: it is no GitOps tool's"
    logs = site.send("GET", "/rollback-logs").json()["rollbackLogs"]
    assert [log["id"] for log in logs] == [found["deploymentId"]]
    assert (logs[0]["performedBy"], logs[0]["snapshotId"], logs[0]["status"]) == ("alice", id_, "pending")
    assert reason(site.send("POST", "/rollback", json={"snapshotId": id_})) == (409, "OperationRunning")
    other = {"snapshotId": id_, "createSafetySnapshot": True}
    assert reason(site.send("POST", "/rollback", json=other, headers=KEY)) == (422, "IdempotencyKeyReused")
    name = rollback["metadata"]["name"]
    site.status("Rollback", name, phase="Failed", conditions=[done("Failed"), done("Stalled")])
    wait_for("the end", lambda: site.send("GET", "/rollback-logs").json()["rollbackLogs"][0]["status"] == "failed")
    assert json.dumps(site.send("POST", "/rollback", json={"snapshotId": id_}, headers=KEY).json()) == answer


def test_a_rollback_into_another_namespace(site: Site) -> None:
    id_ = site.snapshot("source")
    store_id = "99999999-2222-4333-8444-555555555555"
    site.status("Snapshot", "source", storeId=store_id)
    body = {"snapshotId": id_, "targetEnvironmentId": site.staging}
    assert reason(site.send("POST", "/rollback", json=body)) == (409, "StoreNotFound")
    store = {"claim": {"claimName": "backups"}, "access": "ReadOnly"}
    site.cluster.apply(object_("SnapshotStore", site.other, "production", store))
    site.status("SnapshotStore", "production", site.other, storeId=store_id)
    answer = site.send("POST", "/rollback", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["environmentId"] == site.staging
    (rollback,) = site.cluster.objects("Rollback", site.other)
    spec = rollback["spec"]
    assert spec["snapshotRef"] == {"name": "source", "namespace": site.namespace}
    assert (spec["targetEnvironmentRef"], spec["sourceStoreRef"]) == ({"name": "staging"}, {"name": "production"})
    with site.facade.client(projects=[PROJECT]) as client:
        logs = client.get(f"/api/environments/{site.staging}/rollback-logs").json()["rollbackLogs"]
    assert [log["id"] for log in logs] == [answer.json()["deploymentId"]]
    assert condition(rollback, "Complete") is None


# --- size ------------------------------------------------------------------------------------------------------------


def test_the_size_is_measured_on_request(site: Site) -> None:
    """The test answers as the operator does."""
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(site.send, "GET", "/snapshot-size") for _ in range(2)]
        wait_for(
            "the request",
            lambda: (site.live("Environment", "shop")["metadata"].get("annotations") or {}).get(
                ANNOTATION_PROBE_REQUESTED
            ),
            20,
        )
        now = text(datetime.now(UTC))
        site.status(
            "Environment",
            "shop",
            sizes={"databaseBytes": 5, "filestoreBytes": 2, "measuredAt": now, "attemptedAt": now},
        )
        for answer in answers:
            assert answer.result().json() == {"dbSizeBytes": 5, "filestoreSizeBytes": 2, "totalSizeBytes": 7}


# --- the API of the page ---------------------------------------------------------------------------------------------


def console(site: Site, method: str, path: str, **how: Any) -> Any:
    with site.facade.client("alice", projects=[PROJECT]) as client:
        answer = client.request(method, f"/console/v1/{path}", **how)
    assert answer.is_success, answer.text
    return answer.json()


def test_the_page_previews_cancels_and_undoes(site: Site) -> None:
    snapshot = site.snapshot("paged", of="copy")
    body = {"snapshotId": snapshot}
    preview = console(site, "POST", f"environments/{site.copy}/rollback-previews", json=body)
    read = console(site, "GET", f"rollback-previews/{preview['previewId']}")
    assert (read["status"], read["snapshotId"], read["environmentId"]) == ("pending", snapshot, site.copy)
    assert site.live("Rollback", read["name"])["spec"]["dryRun"] is True

    id_ = site.send("POST", "/rollback", environment=site.copy, json=body).json()["deploymentId"]
    name = console(site, "GET", f"rollbacks/{id_}")["name"]
    site.cluster.patch("Rollback", name, site.namespace, {"metadata": {"finalizers": ["ocore.dev/rollback"]}})
    status = {
        "id": id_,
        "phase": "Restoring",
        "stage": "Restore",
        "environmentId": site.copy,
        "environmentName": "copy",
    }
    site.status("Rollback", name, **status)
    console(site, "DELETE", f"rollbacks/{id_}")
    assert site.live("Rollback", name)["metadata"]["deletionTimestamp"]
    wait_for("the cancellation in the cache", lambda: console(site, "GET", f"rollbacks/{id_}")["isCancelling"], 20)
    site.cluster.patch("Rollback", name, site.namespace, {"metadata": {"finalizers": None}})

    ended = {**status, "phase": "Complete", "stage": "Ended", "snapshotId": snapshot, "snapshotName": "paged"}
    wait_for("the end of it", lambda: site.cluster.get("Rollback", name, site.namespace) is None, 20)
    site.send("GET", "/rollback-logs", environment=site.copy)
    spec: Object = {"snapshotRef": {"name": "paged"}, "targetEnvironmentRef": {"name": "copy"}}
    site.cluster.apply(object_("Rollback", site.namespace, "back", spec), manager="argocd-controller")
    back = str(site.live("Rollback", "back")["metadata"]["uid"])
    kept = {"switchedAt": "2026-03-01T12:00:00Z", "undoUntil": "2099-01-01T00:00:00Z"}
    conditions = [done("Complete"), done("PreviousRetained")]
    site.status("Rollback", "back", **{**ended, **kept, "id": back, "conditions": conditions})
    path = f"rollbacks/{back}"
    with site.facade.client("alice", projects=[PROJECT]) as client:
        wait_for(
            "the rollback in the cache",
            lambda: client.get(f"/console/v1/{path}").json().get("undo", {}).get("possible"),
            20,
        )
        answer = client.delete(f"/console/v1/{path}")
    assert reason(answer) == (409, "CancelNotPossible")
    undo = console(site, "POST", f"{path}/undo")["deploymentId"]
    assert console(site, "GET", f"rollbacks/{undo}")["kind"] == "undo"


def test_the_page_tests_and_extracts(site: Site) -> None:
    snapshot = site.snapshot("evident")
    of = f"environments/{site.shop}/snapshots/{snapshot}"
    run = console(site, "POST", f"{of}/restore-test")["runId"]
    assert console(site, "GET", f"{of}/restore-test")["runId"] == run
    extract = console(site, "POST", f"{of}/extracts", json={"files": {"paths": ["a/b.pdf"]}}, headers=KEY)
    assert console(site, "POST", f"{of}/extracts", json={"files": {"paths": ["a/b.pdf"]}}, headers=KEY) == extract
    read = console(site, "GET", f"extracts/{extract['extractId']}")
    assert (read["status"], read["requestedBy"], read["snapshotId"]) == ("pending", "alice", snapshot)
    tables = {
        "tables": [
            {"name": "res_partner", "where": [{"allOf": [{"column": "id", "operator": "LessThan", "values": ["3"]}]}]}
        ],
        "format": "sql",
    }
    console(site, "POST", f"{of}/extracts", json=tables)
    assert console(site, "GET", f"environments/{site.shop}/extracts")["total"] == 2
