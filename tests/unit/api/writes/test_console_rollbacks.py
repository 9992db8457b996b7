"""Previews, undo and cancellation: what becomes a custom resource, and what is refused."""

from typing import Any

import pytest

from ocore_api.views.console.models import PreviewAccepted, RollbackDetails, RollbackPreview, UndoAccepted
from ocore_crds.resources.preview import NEVER
from ocore_crds.resources.rollback import RollbackSpec
from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from support.api.api_server import Object
from support.api.writes import FOREIGN, SHOP, SNAPSHOT, STAGING, STORE_ID, Site, condition, named, reason

KEY = {"Idempotency-Key": "one"}
BACK, LATER = (f"66666666-0000-4000-8000-00000000000{n}" for n in (1, 2))
FAR = "2099-01-01T00:00:00Z"


def send(site: Site, method: str, path: str, **how: Any) -> Any:
    headers = how.pop("headers", {})
    with site.client(how.pop("subject", "alice")) as client:
        return client.request(method, f"/console/v1/{path}", headers=headers, **how)


def preview(site: Site, *, subject: str = "alice", headers: Any = None, **body: Any) -> Any:
    body = {"snapshotId": SNAPSHOT, **body}
    path = f"environments/{SHOP}/rollback-previews"
    return send(site, "POST", path, json=body, headers=headers or {}, subject=subject)


def back(site: Site, name: str = "back", id_: str = BACK, **status: Any) -> Object:
    """A Rollback of `shop` that can be undone."""
    ended = {
        "id": id_,
        "phase": "Complete",
        "stage": "Ended",
        "conditions": [condition("Complete"), condition("PreviousRetained")],
        "environmentId": SHOP,
        "environmentName": "shop",
        "snapshotId": SNAPSHOT,
        "snapshotName": "before",
        "switchedAt": "2026-03-01T12:00:00Z",
        "undoUntil": FAR,
        "position": "New",
    }
    spec = {"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "shop"}}
    return site.served.call(site.server.put, named("Rollback", "apps", name, spec, {**ended, **status}, uid=id_))


def running(site: Site, stage: str | None, **meta: Any) -> Object:
    """A Rollback of `shop` at a stage."""
    status = {"id": BACK, "phase": "Restoring", "conditions": [condition("Reconciling")], "environmentId": SHOP}
    found = {**status, "environmentName": "shop", **({"stage": stage} if stage else {})}
    spec = {"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "shop"}}
    return site.served.call(site.server.put, named("Rollback", "apps", "back", spec, found, uid=BACK, **meta))


def made(site: Site) -> list[Object]:
    return [each for each in site.server.of(ROLLBACKS) if each["metadata"]["name"] not in ("back", "later")]


# --- previews -----------------------------------------------------------------------------------------------------


def test_a_preview_is_a_rollback_that_never_runs(site: Site) -> None:
    answer = preview(site)
    assert answer.status_code == 202, answer.text
    (found,) = made(site)
    accepted = PreviewAccepted.model_validate(answer.json())
    assert accepted.preview_id == found["metadata"]["uid"]
    assert answer.headers["location"] == f"/console/v1/rollback-previews/{accepted.preview_id}"
    assert found["spec"] == {
        "snapshotRef": {"name": "before"},
        "targetEnvironmentRef": {"name": "shop"},
        "requestedBy": "alice",
        "dryRun": True,
        "timeoutSeconds": 300,
        "notAfter": NEVER,
    }
    RollbackSpec.model_validate(found["spec"])
    assert found["metadata"]["annotations"]["ocore.dev/temporary"] == "true", "the operator removes it"
    read = send(site, "GET", f"rollback-previews/{accepted.preview_id}").json()
    RollbackPreview.model_validate(read)
    assert (read["status"], read["report"], read["snapshotId"]) == ("pending", None, SNAPSHOT)
    assert site.served.audit_lines()[-1]["object"] == accepted.preview_id


def test_a_preview_is_no_rollback_of_the_14(site: Site) -> None:
    id_ = preview(site).json()["previewId"]
    assert site.send("GET", f"{SHOP}/rollback-logs").json()["total"] == 0
    with site.client() as client:
        assert client.get(f"/api/deployments/{id_}/rollback/progress").status_code == 404
        assert client.get(f"/console/v1/rollbacks/{id_}").status_code == 404
        assert client.delete(f"/console/v1/rollbacks/{id_}").status_code == 404


def test_a_report_has_every_field(site: Site) -> None:
    id_ = preview(site).json()["previewId"]
    (found,) = made(site)
    status = {
        "id": id_,
        "phase": "Previewed",
        "conditions": [condition("Previewed")],
        "environmentId": SHOP,
        "environmentName": "shop",
        "snapshotId": SNAPSHOT,
        "preview": {
            "createdAt": "2026-03-01T12:00:00Z",
            "wouldRun": False,
            "refusals": [{"reason": "A", "message": "B."}],
        },
    }
    site.served.call(site.server.set_status, ROLLBACKS, "apps", found["metadata"]["name"], status)
    read = send(site, "GET", f"rollback-previews/{id_}").json()
    RollbackPreview.model_validate(read)
    assert (read["status"], read["errorMessage"]) == ("completed", None)
    assert read["report"]["refusals"] == [{"reason": "A", "message": "B."}]
    assert read["report"]["prediction"] is None


def test_one_key_makes_one_preview(site: Site) -> None:
    first, second = preview(site, headers=KEY), preview(site, headers=KEY)
    assert first.json() == second.json()
    assert len(made(site)) == 1
    other = preview(site, headers=KEY, targetEnvironmentId=None, snapshotId=SNAPSHOT.upper())
    assert other.json() == first.json(), "the same request in other words"
    site.served.call(site.server.put, {**site.server.of(SNAPSHOTS)[0], "metadata": {"namespace": "apps", "name": "b"}})
    site.server.requests.clear()
    assert preview(site, headers=KEY).json() == first.json()
    assert site.server.writes() == []


def test_row_115_a_flood_of_previews_is_refused(site: Site) -> None:
    answers = [preview(site) for _ in range(5)]
    assert [a.status_code for a in answers] == [202, 202, 202, 409, 409]
    assert reason(answers[-1]) == (409, "TooManyPreviews")
    assert len(made(site)) == 3


def test_row_115_a_caller_has_a_limit_over_all_environments(site: Site) -> None:
    """And no one can use it up with the caller's name in an environment that the caller does not see."""
    for n, (namespace, target) in enumerate(3 * (("apps", "foreign"), ("test", "staging"))):
        of = {"snapshotRef": {"namespace": "apps", "name": "before"}, "targetEnvironmentRef": {"name": target}}
        spec = {**of, "dryRun": True, "requestedBy": "alice"}
        site.served.call(site.server.put, named("Rollback", namespace, f"p{n}", spec))
    assert [preview(site).status_code for _ in range(2)] == [202, 202]
    answer = preview(site)
    assert (reason(answer), "of this caller" in answer.json()["detail"]) == ((409, "TooManyPreviews"), True)
    assert preview(site, subject="bob").status_code == 202


def test_a_preview_that_no_one_reads_is_ended(site: Site) -> None:
    id_ = preview(site).json()["previewId"]
    assert send(site, "DELETE", f"rollback-previews/{id_}", params={"environmentId": STAGING}).status_code == 404
    answer = send(site, "DELETE", f"rollback-previews/{id_}", params={"environmentId": SHOP})
    assert answer.status_code == 202, answer.text
    (found,) = made(site)
    assert "deletionTimestamp" in found["metadata"], "the operator stops its Job, then removes it"
    line = site.served.audit_lines()[-1]
    assert (line["object"], line["subject"]) == (id_, "alice")
    assert send(site, "DELETE", f"rollback-previews/{BACK}").status_code == 404


def test_an_address_that_names_another_environment_shows_nothing(site: Site) -> None:
    back(site)
    for method, path in (("GET", ""), ("POST", "/undo"), ("DELETE", "")):
        wrong = send(site, method, f"rollbacks/{BACK}{path}", params={"environmentId": STAGING})
        assert reason(wrong) == (404, "NotFound")
    assert send(site, "GET", f"rollbacks/{BACK}", params={"environmentId": SHOP}).status_code == 200
    assert site.server.writes() == []


def test_a_preview_into_another_environment_needs_what_the_rollback_needs(site: Site) -> None:
    assert preview(site, targetEnvironmentId=FOREIGN).status_code == 404
    assert reason(preview(site, targetEnvironmentId=STAGING)) == (409, "StoreNotFound")
    store = named("SnapshotStore", "test", "far", {"access": "ReadOnly"}, {"storeId": STORE_ID})
    site.served.call(site.server.put, store)
    answer = preview(site, targetEnvironmentId=STAGING)
    assert answer.json()["environmentId"] == STAGING
    (found,) = made(site)
    assert found["metadata"]["namespace"] == "test"
    assert (found["spec"]["snapshotRef"]["namespace"], found["spec"]["sourceStoreRef"]) == ("apps", {"name": "far"})


# --- details and undo ---------------------------------------------------------------------------------------------


def details(site: Site, id_: str = BACK) -> Any:
    answer = send(site, "GET", f"rollbacks/{id_}")
    assert answer.status_code == 200, answer.text
    RollbackDetails.model_validate(answer.json())
    return answer.json()


def test_a_rollback_says_what_can_be_done(site: Site) -> None:
    back(site, quiescedAt="2026-03-01T12:00:00Z", readyAt="2026-03-01T12:00:08.5Z", refusedSeconds=1.5)
    found = details(site)
    assert found["downtime"]["seconds"] == 8.5
    assert (found["undo"]["possible"], found["undo"]["until"]) == (True, FAR)
    assert "2026-03-01T12:00:00Z" in found["undo"]["setsAside"]
    assert (found["cancel"]["possible"], found["position"], found["kind"]) == (False, "new", "rollback")


def test_an_undo_is_a_rollback(site: Site) -> None:
    back(site)
    answer = send(site, "POST", f"rollbacks/{BACK}/undo")
    assert answer.status_code == 202, answer.text
    (found,) = made(site)
    accepted = UndoAccepted.model_validate(answer.json())
    assert accepted.deployment_id == found["spec"]["id"]
    assert found["spec"] == {
        "id": accepted.deployment_id,
        "undo": {"rollbackRef": {"name": "back"}},
        "requestedBy": "alice",
    }
    RollbackSpec.model_validate(found["spec"])
    assert answer.headers["location"] == f"/console/v1/rollbacks/{accepted.deployment_id}"
    assert details(site, accepted.deployment_id)["kind"] == "undo"
    assert reason(send(site, "POST", f"rollbacks/{BACK}/undo")) == (409, "OperationRunning")


def test_one_key_undoes_once(site: Site) -> None:
    back(site)
    back(site, "later", LATER, switchedAt=None)
    first, second = (send(site, "POST", f"rollbacks/{BACK}/undo", headers=KEY) for _ in range(2))
    assert (first.status_code, first.json()) == (202, second.json())
    assert len(made(site)) == 1
    assert reason(send(site, "POST", f"rollbacks/{LATER}/undo", headers=KEY)) == (422, "IdempotencyKeyReused")
    assert reason(site.send("POST", f"{SHOP}/rollback", json={"snapshotId": SNAPSHOT}, headers=KEY)) == (
        422,
        "IdempotencyKeyReused",
    )


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"undoUntil": "2026-03-01T13:00:00Z"}, "window ended at 2026-03-01T13:00:00Z"),
        ({"undoneBy": "other"}, "undone by rollback `other`"),
        ({"conditions": [condition("Complete"), condition("PreviousRetained", "False")]}, "from before it is not kept"),
        ({"conditions": [condition("Failed")], "phase": "Failed", "switchedAt": None}, "switched nothing, so"),
        ({"conditions": [condition("Reconciling")], "phase": "Switching", "stage": "Switch"}, "has not ended"),
    ],
)
def test_what_cannot_be_undone_is_refused_with_the_reason(site: Site, status: Any, text: str) -> None:
    back(site, **status)
    assert text in details(site)["undo"]["reason"]
    answer = send(site, "POST", f"rollbacks/{BACK}/undo")
    assert reason(answer) == (409, "UndoNotPossible")
    assert text in answer.json()["detail"]
    assert made(site) == []


def test_a_rollback_that_was_undone_needs_no_person(site: Site) -> None:
    conditions = [condition("Complete"), condition("Stalled")]
    back(site, conditions=conditions)
    assert details(site)["stalledReason"] == "Succeeded"
    back(site, conditions=conditions, undoneBy="other")
    assert details(site)["stalledReason"] is None


def test_a_later_rollback_is_undone_first(site: Site) -> None:
    back(site)
    site.served.call(
        site.server.put,
        named(
            "Rollback",
            "apps",
            "later",
            {"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "shop"}},
            {**site.server.live(ROLLBACKS, "apps", "back")["status"], "id": LATER},
            uid=LATER,
            creationTimestamp="2098-01-01T00:00:00Z",
        ),
    )
    assert "Undo `later` first" in (details(site)["undo"]["reason"] or "")
    assert reason(send(site, "POST", f"rollbacks/{BACK}/undo")) == (409, "UndoNotPossible")
    assert details(site, LATER)["undo"]["possible"] is True


# --- cancellation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [None, "Preflight", "Restore", "Neutralize", "Await", "Prepare", "Stop", "Drain"])
def test_a_rollback_is_cancelled_before_the_switch(site: Site, stage: str | None) -> None:
    live = running(site, stage)
    assert details(site)["cancel"] == {"possible": True, "reason": None}
    answer = send(site, "DELETE", f"rollbacks/{BACK}")
    assert answer.status_code == 202, answer.text
    assert site.server.writes() == [("DELETE", ROLLBACKS.path("apps", "back"))]
    wanted = {"uid": BACK, "resourceVersion": live["metadata"]["resourceVersion"]}
    assert site.server.requests[-1][3]["preconditions"] == wanted
    assert details(site)["isCancelling"] is True
    assert send(site, "DELETE", f"rollbacks/{BACK}").status_code == 202, "once more"
    assert len(site.server.writes()) == 1


@pytest.mark.parametrize("stage", ["Switch", "Inspect", "Abort", "Resume", "HealthCheck", "Finish", "BackStop"])
def test_nothing_is_cancelled_from_the_switch_on(site: Site, stage: str) -> None:
    running(site, stage)
    assert details(site)["cancel"]["possible"] is False
    assert reason(send(site, "DELETE", f"rollbacks/{BACK}")) == (409, "CancelNotPossible")
    assert site.server.writes() == []


def test_a_rollback_that_has_ended_is_never_deleted(site: Site) -> None:
    """Its deletion would drop the data that an undo needs."""
    back(site)
    answer = send(site, "DELETE", f"rollbacks/{BACK}")
    assert reason(answer) == (409, "CancelNotPossible")
    assert "undo it" in answer.json()["detail"]
    assert site.server.writes() == []


def test_row_113_a_rollback_that_ends_at_that_moment_is_not_deleted(site: Site) -> None:
    """The deletion is of the version that was checked."""
    running(site, "Drain")
    ended = {"stage": "Ended", "phase": "Complete", "conditions": [condition("Complete")], "undoUntil": FAR}

    def ends(method: str, path: str, body: Any) -> None:
        if method == "DELETE":
            site.server.before.clear()
            site.server.set_status(ROLLBACKS, "apps", "back", ended)

    site.server.before.append(ends)
    assert reason(send(site, "DELETE", f"rollbacks/{BACK}")) == (409, "CancelNotPossible")
    assert "deletionTimestamp" not in site.server.live(ROLLBACKS, "apps", "back")["metadata"]


def test_a_progress_at_that_moment_does_not_prevent_the_cancellation(site: Site) -> None:
    running(site, "Restore")
    left = [1, 2, 3]

    def progresses(method: str, path: str, body: Any) -> None:
        if method == "DELETE" and left:
            site.server.set_status(ROLLBACKS, "apps", "back", {"progress": {"step": "A", "percent": left.pop()}})

    site.server.before.append(progresses)
    assert send(site, "DELETE", f"rollbacks/{BACK}").status_code == 202


def test_a_rollback_that_was_made_again_is_not_cancelled_for_the_earlier_one(site: Site) -> None:
    running(site, "Restore")
    site.cache.late.add("Rollback")
    again = site.server.live(ROLLBACKS, "apps", "back")
    site.served.call(site.server.put, {**again, "metadata": {**again["metadata"], "uid": LATER}})
    assert reason(send(site, "DELETE", f"rollbacks/{BACK}")) == (404, "NotFound")
    assert site.server.writes() == []
