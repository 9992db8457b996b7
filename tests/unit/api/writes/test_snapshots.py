"""Snapshots: taken, deleted, pinned."""

import re
from typing import Any

import pytest

from ocore_api.cache import SnapshotEntry
from ocore_crds import naming
from ocore_crds.text.timestamps import parse
from ocore_kube.errors import Forbidden
from ocore_kube.types import SNAPSHOTS
from support.api.api_server import refuse_admission
from support.api.writes import COMPLETE, COPY, FAILED, FOREIGN, OF_COPY, SHOP, SNAPSHOT, Site, named, reason, snapshot

KEY = {"Idempotency-Key": "one"}


# --- taken ------------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_taken(site: Site) -> None:
    answer = site.send("POST", f"{SHOP}/snapshots")
    assert answer.status_code == 202
    (made,) = [o for o in site.server.of(SNAPSHOTS) if o["metadata"]["name"].startswith("shop-")]
    assert answer.json() == {"environmentId": SHOP, "message": f"Snapshot {made['metadata']['name']} was created."}
    assert answer.headers["location"] == f"/api/environments/{SHOP}/snapshots/{made['metadata']['uid']}"
    assert made["metadata"]["namespace"] == "apps"
    assert parse(made["metadata"]["annotations"][naming.ANNOTATION_REQUESTED_AT]).microsecond % 1000 == 0
    assert made["spec"] == {
        "environmentRef": {"name": "shop"},
        "trigger": "Manual",
        "retention": "Policy",
        "deletionPolicy": "Delete",
        "requestedBy": "alice",
    }
    assert site.cache.taken == [("Snapshot", made["metadata"]["name"])]
    (line,) = site.served.audit_lines()
    assert (line["name"], line["object"]) == (made["metadata"]["name"], made["metadata"]["uid"])


def test_its_time_limit_is_that_of_the_policy(site: Site) -> None:
    policy = named("SnapshotPolicy", "apps", "shop", {"environmentRef": {"name": "shop"}, "timeoutSeconds": 99})
    site.server.put(policy)
    site.send("POST", f"{SHOP}/snapshots", headers=KEY)
    (made,) = [o for o in site.server.of(SNAPSHOTS) if o["metadata"]["name"].startswith("shop-")]
    assert made["spec"]["timeoutSeconds"] == 99


def test_without_a_key_every_request_takes_one(site: Site) -> None:
    before = len(site.server.of(SNAPSHOTS))
    assert (
        site.send("POST", f"{SHOP}/snapshots").headers["location"]
        != site.send("POST", f"{SHOP}/snapshots").headers["location"]
    )
    assert len(site.server.of(SNAPSHOTS)) == before + 2


def test_the_same_key_gets_the_same_answer_also_after_the_end(site: Site) -> None:
    first = site.send("POST", f"{SHOP}/snapshots", headers=KEY)
    name = first.json()["message"].split()[1]
    site.server.set_status(SNAPSHOTS, "apps", name, FAILED)
    before = len(site.server.of(SNAPSHOTS))
    second = site.send("POST", f"{SHOP}/snapshots", headers=KEY)
    assert (second.status_code, second.json()) == (202, first.json())
    assert second.headers["location"] == first.headers["location"]
    assert len(site.server.of(SNAPSHOTS)) == before


def test_a_key_is_one_subjects_and_one_environments(site: Site) -> None:
    answers = [
        site.send("POST", f"{SHOP}/snapshots", headers=KEY),
        site.send("POST", f"{SHOP}/snapshots", headers=KEY, subject="bob"),
        site.send("POST", f"{COPY}/snapshots", headers=KEY),
    ]
    assert [a.status_code for a in answers] == [202] * 3
    assert len({a.headers["location"] for a in answers}) == 3


def test_a_name_that_another_client_has_taken_is_not_ours(site: Site) -> None:
    first = site.send("POST", f"{SHOP}/snapshots", headers=KEY)
    name = first.json()["message"].split()[1]
    theirs = site.server.live(SNAPSHOTS, "apps", name)
    del theirs["metadata"]["annotations"]
    site.server.put(theirs)
    assert reason(site.send("POST", f"{SHOP}/snapshots", headers=KEY)) == (422, "IdempotencyKeyReused")
    theirs["metadata"] |= {"annotations": {naming.ANNOTATION_REQUEST: "0"}, "deletionTimestamp": "2026-03-01T12:00:00Z"}
    site.server.put(theirs)
    assert reason(site.send("POST", f"{SHOP}/snapshots", headers=KEY)) == (409, "BeingDeleted")


def test_an_environment_that_is_not_the_callers(site: Site) -> None:
    assert reason(site.send("POST", f"{FOREIGN}/snapshots")) == (404, "NotFound")
    assert site.server.writes() == []


@pytest.mark.parametrize("scope", ["read", "rollback", "admin", ""])
def test_taking_needs_the_scope_snapshot(site: Site, scope: str) -> None:
    with site.client(scope=scope) as client:
        assert reason(client.post(f"/api/environments/{SHOP}/snapshots")) == (403, "MissingScope")
    assert site.server.writes() == []


def test_a_quota_that_is_full(site: Site) -> None:
    def full(method: str, path: str, body: Any) -> None:
        if method == "POST":
            raise Forbidden(403, "Forbidden", 'snapshots "x" is forbidden: exceeded quota: few, used: 9, limited: 9')

    site.server.before.append(full)
    assert reason(site.send("POST", f"{SHOP}/snapshots")) == (403, "QuotaExceeded")


def test_the_one_just_taken_is_the_newest(site: Site) -> None:
    """Many of one second: the first page of one row shows the last one that was taken."""
    for _ in range(20):
        id_ = site.send("POST", f"{SHOP}/snapshots").headers["location"].rsplit("/", 1)[1]
        (first,) = site.send("GET", f"{SHOP}/snapshots?limit=1").json()["snapshots"]
        assert first["id"] == id_
        assert re.fullmatch(r"[0-9T:-]{19}\.[0-9]{3}Z", first["createdAt"])


# --- deleted ----------------------------------------------------------------------------------------------------------


def delete(site: Site, snapshot_id: str = SNAPSHOT, environment_id: str = SHOP, **how: Any) -> Any:
    return site.send("DELETE", f"{environment_id}/snapshots/{snapshot_id}", **how)


def visible(site: Site) -> bool:
    return site.served.run(site.cache.find(SnapshotEntry, SNAPSHOT)) is not None


def test_a_snapshot_is_deleted_with_a_precondition_and_hidden(site: Site) -> None:
    answer = delete(site)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "deletionTimestamp" in site.server.live(SNAPSHOTS, "apps", "before")["metadata"]
    assert not visible(site)
    assert [method for method, _ in site.server.writes()] == ["DELETE"], "the policy is Delete already"
    assert reason(delete(site)) == (404, "NotFound")


def test_another_replica_also_answers_404(site: Site) -> None:
    """It has not seen the deletion yet."""
    site.cache.late.add("Snapshot")
    obj = site.server.live(SNAPSHOTS, "apps", "before")
    obj["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    site.server.put(obj)
    assert visible(site)
    assert reason(delete(site)) == (404, "NotFound")
    assert site.server.writes() == []
    assert not visible(site)


def test_the_data_of_one_that_retains_it_is_deleted_too(site: Site) -> None:
    site.server.put(snapshot("before", SNAPSHOT, COMPLETE, deletionPolicy="Retain"), manager="kubectl")
    path = SNAPSHOTS.path("apps", "before")
    site.server._owned[path] = {}
    assert delete(site).status_code == 204
    assert site.server.live(SNAPSHOTS, "apps", "before")["spec"]["deletionPolicy"] == "Delete"
    assert [method for method, _ in site.server.writes()] == ["DELETE dry-run", "PATCH", "DELETE"]


def test_what_git_wants_to_retain_stays(site: Site) -> None:
    site.server.put(snapshot("before", SNAPSHOT, COMPLETE, deletionPolicy="Retain"), manager="argocd-controller")
    answer = delete(site)
    assert reason(answer) == (409, "FieldOwned")
    assert (answer.json()["manager"], answer.json()["field"]) == ("argocd-controller", "spec.deletionPolicy")
    live = site.server.live(SNAPSHOTS, "apps", "before")
    assert live["spec"]["deletionPolicy"] == "Retain"
    assert "deletionTimestamp" not in live["metadata"]
    assert visible(site)


def test_a_pinned_one_is_not_deleted(site: Site) -> None:
    site.server.put(snapshot("before", SNAPSHOT, COMPLETE, pin={"label": "audit"}))
    assert reason(delete(site)) == (409, "SnapshotPinned")
    assert site.server.writes() == []


def test_one_that_differentials_need_is_not_deleted(site: Site) -> None:
    site.server.put(snapshot("before", SNAPSHOT, {**COMPLETE, "dependents": ["a", "b"]}))
    answer = delete(site)
    assert reason(answer) == (409, "SnapshotHasDependents")
    assert "2 differential snapshots need this full one" in answer.json()["detail"]
    assert site.server.writes() == []


def test_one_that_runs_is_not_deleted(site: Site) -> None:
    site.server.put(snapshot("before", SNAPSHOT, {"phase": "Running", "conditions": []}))
    assert reason(delete(site)) == (409, "SnapshotRunning")
    site.server.put(snapshot("before", SNAPSHOT, {}))
    assert reason(delete(site)) == (409, "SnapshotRunning")
    site.server.put(snapshot("before", SNAPSHOT, FAILED))
    assert delete(site).status_code == 204


@pytest.mark.parametrize(
    ("namespace", "target", "phase", "refused"),
    [
        ("apps", "copy", "Pending", True),
        ("apps", "shop", "Restoring", True),
        ("test", "staging", "Restoring", True),
        ("test", "staging", "Pending", False),  # anyone can name it from elsewhere
    ],
)
def test_one_that_a_rollback_restores_is_not_deleted(
    site: Site, namespace: str, target: str, phase: str, refused: bool
) -> None:
    ref = {"name": "before", "namespace": "apps"}
    spec = {"snapshotRef": ref, "targetEnvironmentRef": {"name": target}}
    site.server.put(named("Rollback", namespace, "back", spec, {"phase": phase}))
    answer = delete(site)
    assert (answer.status_code == 409) is refused
    if refused:
        assert reason(answer) == (409, "SnapshotInUse")
        site.server.put(named("Rollback", namespace, "back", spec, COMPLETE))
        assert delete(site).status_code == 204


def test_admission_is_asked_before_anything_is_changed(site: Site) -> None:
    """Pinned by another client since it was read, and its data would have been marked for removal."""
    site.server.put(snapshot("before", SNAPSHOT, COMPLETE, deletionPolicy="Retain"))
    site.server._owned[SNAPSHOTS.path("apps", "before")] = {}

    def pinned(method: str, path: str, body: Any) -> None:
        if method == "DELETE":
            raise refuse_admission("snapshot before is pinned: remove spec.pin first")

    site.server.before.append(pinned)
    answer = delete(site)
    assert reason(answer) == (409, "AdmissionRefused")
    assert "remove spec.pin first" in answer.json()["detail"]
    assert site.server.live(SNAPSHOTS, "apps", "before")["spec"]["deletionPolicy"] == "Retain"
    assert visible(site)


def test_an_object_that_was_created_again_under_the_name_is_not_deleted(site: Site) -> None:
    """Between the check and the deletion."""

    def replaced(method: str, path: str, body: Any) -> None:
        if method == "DELETE":
            again = snapshot("before", OF_COPY, COMPLETE)
            again["metadata"]["uid"] = "another"
            site.server.put(again)

    site.server.before.append(replaced)
    assert reason(delete(site)) == (409, "Conflict")
    assert "deletionTimestamp" not in site.server.live(SNAPSHOTS, "apps", "before")["metadata"]


OWNED_BY_ANOTHER = [("DELETE", ""), ("PUT", "/pin"), ("DELETE", "/pin")]


@pytest.mark.parametrize(("method", "suffix"), OWNED_BY_ANOTHER)
def test_the_environment_of_the_path_owns_the_snapshot(site: Site, method: str, suffix: str) -> None:
    how: dict[str, Any] = {"json": {}} if method == "PUT" else {}
    answer = site.send(method, f"{SHOP}/snapshots/{OF_COPY}{suffix}", **how)
    assert reason(answer) == (404, "NotFound")
    assert site.server.writes() == []


@pytest.mark.parametrize(("method", "suffix"), OWNED_BY_ANOTHER)
@pytest.mark.parametrize("scope", ["read snapshot rollback", ""])
def test_deleting_and_pinning_need_the_scope_admin(site: Site, method: str, suffix: str, scope: str) -> None:
    how: dict[str, Any] = {"json": {}} if method == "PUT" else {}
    with site.client(scope=scope) as client:
        answer = client.request(method, f"/api/environments/{SHOP}/snapshots/{SNAPSHOT}{suffix}", **how)
    assert reason(answer) == (403, "MissingScope")
    assert site.server.writes() == []


# --- pinned -----------------------------------------------------------------------------------------------------------


def pin(site: Site, body: Any) -> Any:
    return site.send("PUT", f"{SHOP}/snapshots/{SNAPSHOT}/pin", json=body)


def pinned(site: Site) -> Any:
    return site.server.live(SNAPSHOTS, "apps", "before")["spec"].get("pin")


def test_pin_change_the_label_unpin(site: Site) -> None:
    answer = pin(site, {"label": "audit"})
    assert (answer.status_code, answer.json()) == (200, {"message": "Snapshot before is pinned."})
    assert pinned(site) == {"label": "audit"}
    assert pin(site, {"label": "another"}).status_code == 200
    assert pinned(site) == {"label": "another"}
    answer = site.send("DELETE", f"{SHOP}/snapshots/{SNAPSHOT}/pin")
    assert (answer.status_code, answer.json()) == (200, {"message": "Snapshot before is not pinned."})
    assert pinned(site) is None
    assert site.cache.taken == [("Snapshot", "before")] * 3


@pytest.mark.parametrize("body", [{}, {"label": None}, {"label": ""}])
def test_a_pin_without_a_label_after_one_with_a_label_has_none(site: Site, body: Any) -> None:
    pin(site, {"label": "audit"})
    for _ in range(2):
        assert pin(site, body).status_code == 200
        found = site.send("GET", f"{SHOP}/snapshots/{SNAPSHOT}").json()
        assert (found["isPinned"], found["pinLabel"]) == (True, None)
    assert pin(site, {"label": "again"}).status_code == 200
    assert pinned(site) == {"label": "again"}


def test_a_label_that_another_client_has_set_too_stays(site: Site) -> None:
    site.server.put(snapshot("before", SNAPSHOT, COMPLETE, pin={"label": "legal"}), manager="argocd-controller")
    assert pin(site, {"label": "legal"}).status_code == 200
    assert pin(site, {}).status_code == 200
    assert pinned(site) == {"label": "legal"}


def test_unpinning_what_is_not_pinned_writes_nothing(site: Site) -> None:
    assert site.send("DELETE", f"{SHOP}/snapshots/{SNAPSHOT}/pin").status_code == 200
    assert site.server.writes() == []


def test_a_label_of_another_client_stays_unless_it_is_unpinned(site: Site) -> None:
    site.server.put(snapshot("before", SNAPSHOT, COMPLETE, pin={"label": "legal"}), manager="argocd-controller")
    answer = pin(site, {"label": "mine"})
    assert reason(answer) == (409, "FieldOwned")
    assert answer.json()["field"] == "spec.pin.label"
    assert pin(site, {}).status_code == 200
    assert pinned(site) == {"label": "legal"}
    assert site.send("DELETE", f"{SHOP}/snapshots/{SNAPSHOT}/pin").status_code == 200
    assert pinned(site) is None


def test_more_pins_than_allowed(site: Site) -> None:
    def too_many(method: str, path: str, body: Any) -> None:
        if method == "PATCH":
            raise refuse_admission(
                "10 snapshots of environment shop are pinned, and maxPinned of its SnapshotPolicy is 10"
            )

    site.server.before.append(too_many)
    answer = pin(site, {})
    assert reason(answer) == (409, "AdmissionRefused")
    assert "maxPinned of its SnapshotPolicy is 10" in answer.json()["detail"]


@pytest.mark.parametrize(
    "hidden", ["\x00", "\n", "\x1b[2J", "\x7f", "\u0085", "\u200f", "\u2028", "\u202e", "\u2066", "\u061c"]
)
def test_a_label_that_would_show_something_else_is_refused(site: Site, hidden: str) -> None:
    answer = pin(site, {"label": f"audit{hidden}2026"})
    assert reason(answer) == (422, "InvalidValue")
    assert "control characters" in answer.json()["errors"][0]["message"]
    assert site.server.writes() == []


def test_labels_in_any_language_and_those_that_others_have_set(site: Site) -> None:
    label = "Prüfung, 監査 مراجعة 👩‍💻"
    assert pin(site, {"label": label}).status_code == 200
    site.server.put(snapshot("copied", OF_COPY, COMPLETE, of="copy", pin={"label": "a\u202eb\n"}))
    for environment_id, id_, shown in ((SHOP, SNAPSHOT, label), (COPY, OF_COPY, "a\u202eb\n")):
        assert site.send("GET", f"{environment_id}/snapshots/{id_}").json()["pinLabel"] == shown


@pytest.mark.parametrize("body", [{"label": "x" * 257}, {"label": 1}, {"unknown": "x"}, []])
def test_a_pin_that_is_not_allowed(site: Site, body: Any) -> None:
    assert reason(pin(site, body))[0] == 422
    assert site.server.writes() == []


def test_a_snapshot_that_is_gone_is_not_pinned_and_not_created(site: Site) -> None:
    """A server-side apply without the uid would create it."""
    path = SNAPSHOTS.path("apps", "before")

    def gone(method: str, where: str, body: Any) -> None:
        if method == "PATCH":
            site.server.objects.pop(path, None)

    site.server.before.append(gone)
    assert reason(pin(site, {})) == (404, "NotFound")
    assert path not in site.server.objects
