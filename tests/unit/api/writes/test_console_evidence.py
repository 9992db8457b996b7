"""Test restores and extracts: what becomes an annotation or a custom resource, and what is refused."""

from typing import Any

import pytest

from ocore_api.views.console.models import (
    ExtractAccepted,
    ExtractPage,
    ExtractView,
    RestoreCertificate,
    RestoreTestAccepted,
)
from ocore_crds.naming import ANNOTATION_RESTORE_TEST_REQUESTED
from ocore_crds.resources.extract import ExtractSpec
from ocore_crds.resources.restore_test import open_run
from ocore_kube.types import EXTRACTS, SNAPSHOTS
from support.api.writes import COMPLETE, COPY, FAILED, OF_COPY, SHOP, SNAPSHOT, Site, condition, reason, snapshot

KEY = {"Idempotency-Key": "one"}
FILES = {"files": {"paths": ["documents/a.pdf", "b"]}}
OF = f"environments/{SHOP}/snapshots/{SNAPSHOT}"


def send(site: Site, method: str, path: str, **how: Any) -> Any:
    headers = how.pop("headers", {})
    with site.client() as client:
        return client.request(method, f"/console/v1/{path}", headers=headers, **how)


# --- test restores ------------------------------------------------------------------------------------------------


def certificate(site: Site) -> Any:
    answer = send(site, "GET", f"{OF}/restore-test")
    assert answer.status_code == 200, answer.text
    RestoreCertificate.model_validate(answer.json())
    return answer.json()


def test_a_test_restore_is_an_annotation(site: Site) -> None:
    found = certificate(site)
    assert (found["valid"], found["running"], found["test"]) == (False, False, None)
    assert "kubectl ocore certificate before --now" in found["problem"]
    answer = send(site, "POST", f"{OF}/restore-test")
    assert answer.status_code == 202, answer.text
    accepted = RestoreTestAccepted.model_validate(answer.json())
    live = site.server.live(SNAPSHOTS, "apps", "before")
    assert open_run(live) == accepted.run_id
    assert list(live["metadata"]["annotations"]) == [ANNOTATION_RESTORE_TEST_REQUESTED]
    found = certificate(site)
    assert (found["running"], found["runId"]) == (True, accepted.run_id)
    shown = send(site, "GET", OF).json()
    assert shown["restoreTest"]["result"] == "pending", "the caller reads its own write"


def test_one_test_restore_answers_every_request_while_it_runs(site: Site) -> None:
    runs = {send(site, "POST", f"{OF}/restore-test").json()["runId"] for _ in range(3)}
    assert len(runs) == 1
    assert len(site.server.writes()) == 1


def test_one_key_is_one_test_restore(site: Site) -> None:
    first = send(site, "POST", f"{OF}/restore-test", headers=KEY).json()["runId"]
    tested = {"answered": [first], "testedAt": "2026-03-01T12:00:00Z"}
    site.served.call(site.server.set_status, SNAPSHOTS, "apps", "before", {"restoreTest": tested})
    assert send(site, "POST", f"{OF}/restore-test", headers=KEY).json()["runId"] == first
    assert certificate(site)["running"] is False
    assert send(site, "POST", f"{OF}/restore-test").json()["runId"] != first


def test_a_certificate_as_the_command_prints_it(site: Site) -> None:
    digest = "9" * 64
    status = {
        "manifestSha256": digest,
        "manifestKey": "k",
        "conditions": [condition("Complete"), condition("RestoreTested")],
        "restoreTest": {
            "testedAt": "2026-03-01T12:00:00Z",
            "manifestSha256": digest,
            "durationSeconds": 60.0,
            "rows": 7,
        },
    }
    site.served.call(site.server.set_status, SNAPSHOTS, "apps", "before", status)
    found = certificate(site)
    assert (found["valid"], found["problem"], found["test"]["rows"]) == (True, "", 7)
    assert {"label": "Manifest", "value": f"k, SHA-256 {digest}"} in found["lines"]
    site.served.call(site.server.set_status, SNAPSHOTS, "apps", "before", {"manifestSha256": "8" * 64})
    assert certificate(site)["valid"] is False, "another manifest was tested"


def test_only_a_complete_snapshot_is_tested(site: Site) -> None:
    site.served.call(site.server.put, snapshot("before", SNAPSHOT, FAILED))
    assert reason(send(site, "POST", f"{OF}/restore-test")) == (409, "SnapshotNotComplete")
    assert site.server.writes() == []


def test_a_snapshot_that_was_made_again_has_no_certificate_of_the_earlier_one(site: Site) -> None:
    """The cache may be late: the object that has the name now is another one."""
    site.cache.late.add("Snapshot")
    site.served.call(site.server.put, snapshot("before", "77777777-0000-4000-8000-000000000001", COMPLETE))
    assert reason(send(site, "GET", f"{OF}/restore-test")) == (404, "NotFound")


# --- extracts -----------------------------------------------------------------------------------------------------


def extract(site: Site, body: Any = FILES, **how: Any) -> Any:
    return send(site, "POST", f"{OF}/extracts", json=body, **how)


def test_an_extract_into_the_store(site: Site) -> None:
    answer = extract(site)
    assert answer.status_code == 202, answer.text
    accepted = ExtractAccepted.model_validate(answer.json())
    (found,) = site.server.of(EXTRACTS)
    assert found["metadata"]["uid"] == accepted.extract_id
    assert found["spec"] == {
        "files": {"paths": ["documents/a.pdf", "b"]},
        "target": {"store": {}},
        "snapshotRef": {"name": "before"},
        "requestedBy": "alice",
    }
    ExtractSpec.model_validate(found["spec"])
    assert answer.headers["location"] == f"/console/v1/extracts/{accepted.extract_id}"
    read = send(site, "GET", f"extracts/{accepted.extract_id}").json()
    ExtractView.model_validate(read)
    assert (read["environmentId"], read["snapshotId"], read["status"]) == (SHOP, SNAPSHOT, "pending")
    page = send(site, "GET", f"environments/{SHOP}/extracts").json()
    ExtractPage.model_validate(page)
    assert (page["total"], page["extracts"]) == (1, [read])
    assert site.served.audit_lines()[-1]["extract"] == accepted.extract_id


def test_attachments_into_a_folder_of_the_claim(site: Site) -> None:
    body = {
        "attachments": {"model": "res.partner", "recordId": 7.0, "name": "contract.pdf"},
        "target": "claim",
        "folder": "restored-now",
        "expiresAfterSeconds": 600,
    }
    assert extract(site, body).status_code == 202
    (found,) = site.server.of(EXTRACTS)
    spec = ExtractSpec.model_validate(found["spec"])
    assert spec.attachments is not None
    assert (spec.attachments.record_id, spec.attachments.name, spec.expires_after_seconds) == (7, "contract.pdf", 600)
    assert spec.target.claim is not None
    assert spec.target.claim.path == "restored-now"


def test_rows_of_tables(site: Site) -> None:
    where = [{"allOf": [{"column": "id", "operator": "LessThan", "values": ["10"]}]}]
    tables = [{"schema": "public", "name": "res_partner", "where": where}, {"name": 'we"ird'}]
    id_ = extract(site, {"tables": tables, "format": "sql"}).json()["extractId"]
    (found,) = site.server.of(EXTRACTS)
    spec = ExtractSpec.model_validate(found["spec"])
    assert spec.tables is not None
    assert [(t.schema_name, t.name) for t in spec.tables] == [("public", "res_partner"), ("public", 'we"ird')]
    assert spec.target.store is not None
    assert spec.target.store.format == "SQL"
    read = send(site, "GET", f"extracts/{id_}").json()
    ExtractView.model_validate(read)
    assert (read["format"], [t["name"] for t in read["tables"]]) == ("sql", ["res_partner", 'we"ird'])
    assert [t["where"] for t in read["tables"]] == [where, None]


def test_rows_into_a_new_schema_of_the_database(site: Site) -> None:
    id_ = extract(site, {"tables": [{"name": "a"}], "target": "database"}).json()["extractId"]
    (found,) = site.server.of(EXTRACTS)
    assert ExtractSpec.model_validate(found["spec"]).target.database is not None
    read = send(site, "GET", f"extracts/{id_}").json()
    ExtractView.model_validate(read)
    assert (read["target"], read["format"], read["folder"]) == ("database", None, None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tables": []},
        {"tables": [{"name": "a", "where": "id < 10"}]},
        {"tables": [{"name": "a", "where": [{"allOf": [{"column": "id", "operator": "In"}]}]}]},
        {"tables": [{"name": "a", "where": [{"allOf": [{"column": "id", "operator": "IsNull", "values": ["1"]}]}]}]},
        {"tables": [{"name": "a\x00"}]},
        {"tables": [{"name": "a"}], "target": "claim", "folder": "x"},
        {"tables": [{"name": "a"}], "format": "xml"},
        {"tables": [{"name": "a"}], "format": "csv", "target": "database"},
        {**FILES, "target": "database"},
        {**FILES, "format": "csv"},
        {**FILES, "tables": [{"name": "a"}]},
        {"files": None, "attachments": None},
        {**FILES, "attachments": {"model": "a", "recordId": 1}},
        {"files": {"paths": []}},
        {"files": {"paths": ["../secret"]}},
        {"files": {"paths": ["/etc/passwd"]}},
        {"files": {"paths": ["a\nb"]}},
        {"attachments": {"model": "a'; DROP TABLE x; --", "recordId": 1}},
        {"attachments": {"model": "a", "recordId": 0}},
        {**FILES, "target": "claim"},
        {**FILES, "folder": "x"},
        {**FILES, "target": "store", "folder": "x"},
        {**FILES, "expiresAfterSeconds": 5},
        {**FILES, "snapshotRef": {"name": "other"}},
    ],
)
def test_what_is_no_extract_is_refused(site: Site, body: Any) -> None:
    assert extract(site, body).status_code == 422
    assert site.server.of(EXTRACTS) == []


def test_one_key_makes_one_extract(site: Site) -> None:
    first, second = (extract(site, headers=KEY).json() for _ in range(2))
    assert first == second
    assert len(site.server.of(EXTRACTS)) == 1
    assert reason(extract(site, {"files": {"paths": ["c"]}}, headers=KEY)) == (422, "IdempotencyKeyReused")


def test_row_115_a_flood_of_extracts_is_refused(site: Site) -> None:
    answers = [extract(site) for _ in range(6)]
    assert [a.status_code for a in answers] == [202] * 5 + [409]
    assert reason(answers[-1]) == (409, "TooManyExtracts")


def test_an_extract_of_another_environments_snapshot_is_not_found(site: Site) -> None:
    assert send(site, "POST", f"environments/{SHOP}/snapshots/{OF_COPY}/extracts", json=FILES).status_code == 404
    id_ = send(site, "POST", f"environments/{COPY}/snapshots/{OF_COPY}/extracts", json=FILES).json()["extractId"]
    with site.client(projects=[], environments=[SHOP]) as client:
        assert client.get(f"/console/v1/extracts/{id_}").status_code == 404
        assert client.get(f"/console/v1/environments/{SHOP}/extracts").json()["total"] == 0


def test_an_extract_stays_its_environments_when_the_snapshot_is_gone(site: Site) -> None:
    id_ = extract(site).json()["extractId"]
    (found,) = site.server.of(EXTRACTS)
    status = {"id": id_, "environmentId": SHOP, "environmentName": "shop", "snapshotId": SNAPSHOT, "phase": "Complete"}
    site.served.call(
        site.server.set_status,
        EXTRACTS,
        "apps",
        found["metadata"]["name"],
        {**status, "conditions": [condition("Complete")]},
    )
    site.served.call(site.cache.store.remove, "Snapshot", "apps", "before")
    read = send(site, "GET", f"extracts/{id_}").json()
    assert (read["environmentId"], read["snapshotId"], read["status"]) == (SHOP, SNAPSHOT, "completed")
