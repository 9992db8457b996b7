"""Settings: created at the first read, changed without force."""

from typing import Any

import pytest

from ocore_kube.errors import Invalid
from ocore_kube.types import POLICIES
from support.api.writes import FOREIGN, SHOP, Site, named, reason

DEFAULTS = {
    "autoEnabled": True,
    "environmentId": SHOP,
    "failurePolicy": "block",
    "maxPinned": 10,
    "retentionDays": 30,
    "timeoutSeconds": 3600,
}


def get(site: Site, **how: Any) -> Any:
    return site.send("GET", f"{SHOP}/snapshot-settings", **how)


def put(site: Site, **body: Any) -> Any:
    return site.send("PUT", f"{SHOP}/snapshot-settings", json=body)


def spec(site: Site) -> Any:
    return site.server.live(POLICIES, "apps", "shop")["spec"]


def test_the_first_read_creates_the_policy_with_the_reference_only(site: Site) -> None:
    answer = get(site)
    assert answer.status_code == 200
    made = site.server.live(POLICIES, "apps", "shop")
    assert made["spec"] == {"environmentRef": {"name": "shop"}}
    found = answer.json()
    assert found["id"] == made["metadata"]["uid"]
    assert {k: v for k, v in found.items() if k not in ("id", "createdAt", "updatedAt")} == DEFAULTS
    (line,) = site.served.audit_lines()
    assert (line["method"], line["name"]) == ("GET", "shop")
    assert get(site).json() == found
    assert len(site.server.writes()) == 1
    assert len(site.served.audit_lines()) == 1


def test_a_policy_that_the_cache_has_not_seen_is_not_touched(site: Site) -> None:
    put(site, retentionDays=7)
    writes = len(site.server.writes())
    site.cache.store.remove("SnapshotPolicy", "apps", "shop")
    assert get(site).json()["retentionDays"] == 7
    assert len(site.server.writes()) == writes


def test_two_first_reads_and_a_change_at_once_lose_nothing(site: Site) -> None:
    """The policy appears, with a field that the facade has applied, between the look and the creation."""
    once = [True]

    def appears(method: str, path: str, body: Any) -> None:
        if method == "PATCH" and once:
            once.clear()
            query = {"fieldManager": "ocore-api"}
            given = {"metadata": body["metadata"], "kind": "SnapshotPolicy", "apiVersion": "ocore.dev/v1alpha1"}
            site.server._apply(path, query, {**given, "spec": {"environmentRef": {"name": "shop"}, "retentionDays": 7}})

    site.server.before.append(appears)
    assert get(site).json()["retentionDays"] == 7
    assert spec(site)["retentionDays"] == 7


def test_a_change_keeps_what_was_changed_before(site: Site) -> None:
    assert put(site, retentionDays=7).json()["retentionDays"] == 7
    answer = put(site, timeoutSeconds=60, failurePolicy="Continue")
    assert answer.status_code == 200
    assert answer.json() | {"retentionDays": 7, "timeoutSeconds": 60, "failurePolicy": "continue"} == answer.json()
    assert spec(site) == {
        "environmentRef": {"name": "shop"},
        "retentionDays": 7,
        "timeoutSeconds": 60,
        "failurePolicy": "Continue",
    }
    assert site.served.audit_lines()[-1]["fields"] == "failurePolicy,timeoutSeconds"


def test_two_changes_at_once_lose_nothing(site: Site) -> None:
    put(site, maxPinned=3)
    once = [True]

    def other(method: str, path: str, body: Any) -> None:
        if method == "PATCH" and once:
            once.clear()
            query = {"fieldManager": "ocore-api"}
            given = {"metadata": {k: body["metadata"][k] for k in ("name", "namespace")}}
            site.server._apply(path, query, {**given, "spec": {"maxPinned": 3, "autoEnabled": False}})

    site.server.before.append(other)
    assert put(site, retentionDays=7).status_code == 200
    assert spec(site) == {
        "environmentRef": {"name": "shop"},
        "maxPinned": 3,
        "autoEnabled": False,
        "retentionDays": 7,
    }


def test_what_git_owns_is_refused_with_its_owner(site: Site) -> None:
    policy = named("SnapshotPolicy", "apps", "shop", {"environmentRef": {"name": "shop"}, "retentionDays": 30})
    site.server.put(policy, manager="argocd-controller")
    answer = put(site, retentionDays=7, maxPinned=3)
    assert reason(answer) == (409, "FieldOwned")
    assert (answer.json()["manager"], answer.json()["field"]) == ("argocd-controller", "spec.retentionDays")
    assert spec(site) == policy["spec"], "nothing of the request was applied"
    assert put(site, maxPinned=3).status_code == 200
    assert put(site, retentionDays=30).status_code == 200, "the same value is no conflict"


def test_a_status_that_moves_all_the_time_is_no_error(site: Site) -> None:
    put(site, maxPinned=3)
    left = [4]

    def moves(method: str, path: str, body: Any) -> None:
        if method == "PATCH" and left[0]:
            left[0] -= 1
            site.server.set_status(POLICIES, "apps", "shop", {"pinned": left[0]})

    site.server.before.append(moves)
    assert put(site, maxPinned=4).status_code == 200
    left[0] = 1000
    assert reason(put(site, maxPinned=5)) == (409, "Conflict")


def test_an_empty_change_changes_nothing(site: Site) -> None:
    put(site, maxPinned=3)
    before = len(site.server.writes())
    assert put(site).json()["maxPinned"] == 3
    assert put(site, maxPinned=None).json()["maxPinned"] == 3
    assert len(site.server.writes()) == before


def test_the_zero_values_of_a_client_change_nothing_where_they_are_no_values(site: Site) -> None:
    put(site, failurePolicy="continue", timeoutSeconds=60, maxPinned=3, retentionDays=7)
    before = len(site.server.writes())
    found = put(site, failurePolicy="", timeoutSeconds=0, autoEnabled=None).json()
    assert (found["failurePolicy"], found["timeoutSeconds"]) == ("continue", 60)
    assert len(site.server.writes()) == before
    found = put(site, failurePolicy="", timeoutSeconds=0.0, maxPinned=0, retentionDays=0).json()
    assert (found["maxPinned"], found["retentionDays"], found["timeoutSeconds"]) == (0, 0, 60)


def test_what_get_answers_can_be_sent_back(site: Site) -> None:
    before = get(site).json()
    answer = put(site, **{**before, "maxPinned": 3, "id": FOREIGN, "environmentId": FOREIGN, "createdAt": 5})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {**before, "maxPinned": 3, "updatedAt": answer.json()["updatedAt"]}
    assert spec(site)["environmentRef"] == {"name": "shop"}
    assert "id" not in spec(site)


@pytest.mark.parametrize(
    "body",
    [
        {"retentionDays": -1},
        {"maxPinned": 10001},
        {"timeoutSeconds": 29},
        {"timeoutSeconds": False},
        {"failurePolicy": " "},
        {"timeoutSeconds": 604801},
        {"failurePolicy": "stop"},
        {"autoEnabled": "yes"},
        {"schedule": ["@daily"]},
    ],
)
def test_a_value_that_is_not_allowed(site: Site, body: Any) -> None:
    answer = site.send("PUT", f"{SHOP}/snapshot-settings", json=body)
    assert reason(answer) == (422, "InvalidValue")
    assert next(iter(body)) in answer.json()["errors"][0]["field"]
    assert site.server.writes() == []


def test_a_rule_of_the_api_server(site: Site) -> None:
    def refused(method: str, path: str, body: Any) -> None:
        if method == "PATCH" and "maxPinned" in body["spec"]:
            raise Invalid(422, "Invalid", "x", ({"field": "spec.maxPinned", "message": "too large"},))

    site.server.before.append(refused)
    answer = put(site, maxPinned=3)
    assert reason(answer) == (422, "InvalidValue")
    assert answer.json()["errors"] == [{"field": "spec.maxPinned", "message": "too large"}]


def test_scopes_and_ownership(site: Site) -> None:
    with site.client(scope="read") as client:
        assert client.get(f"/api/environments/{SHOP}/snapshot-settings").status_code == 200
        writes = len(site.server.writes())
        assert reason(client.put(f"/api/environments/{SHOP}/snapshot-settings", json={})) == (403, "MissingScope")
    assert reason(site.send("GET", f"{FOREIGN}/snapshot-settings")) == (404, "NotFound")
    assert reason(site.send("PUT", f"{FOREIGN}/snapshot-settings", json={})) == (404, "NotFound")
    assert len(site.server.writes()) == writes
