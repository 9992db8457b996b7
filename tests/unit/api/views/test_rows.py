"""Snapshots and rollback logs as the API serves them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ocore_api.cache.store import Store
from ocore_api.views import models, rows
from ocore_api.views.events import progress_event
from ocore_api.views.requests import PinRequest, RollbackRequest, SettingsUpdate
from ocore_api.views.settings import settings_view
from ocore_api.views.values import Resource
from ocore_crds.naming import ANNOTATION_REQUESTED_AT
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.rules.evidence import of_snapshot
from support.api import objects as o

ORIGIN = rows.Origin(o.ENVIRONMENT, o.PROJECT, "shop", "production")


def view(obj: o.Object) -> o.Object:
    """The view; it has exactly the fields and types of the model."""
    found = rows.snapshot_view(Resource(obj), ORIGIN)
    assert models.SnapshotView.model_validate(found).model_dump(mode="json", by_alias=True) == found
    return found


def log(obj: o.Object, snapshot_id: str | None = None) -> o.Object:
    """With the id of the deployment, which the list adds."""
    found = {**rows.rollback_log(Resource(obj), o.ENVIRONMENT, snapshot_id), "deploymentId": o.uid_of("d")}
    assert models.RollbackLog.model_validate(found).model_dump(mode="json", by_alias=True) == found
    return found


def event(obj: o.Object) -> o.Object:
    found = progress_event(Resource(obj))
    assert models.ProgressEvent.model_validate(found).model_dump(mode="json", by_alias=True) == found
    return found


def test_a_complete_snapshot() -> None:
    obj = o.complete("a", {"pin": {"label": "before 18.0"}, "deploymentId": o.uid_of("d"), "trigger": "PreRollback"})
    obj["status"]["expiresAt"] = o.at(1000)
    found = view(obj)
    evidence = found.pop("recoveryEvidence")
    assert evidence == of_snapshot(
        SnapshotSpec.model_validate(obj["spec"]), SnapshotStatus.model_validate(obj["status"])
    ).model_dump(mode="json", by_alias=True)
    assert evidence["canWriteCleanSuccess"] is True
    assert found == {
        "commitSha": "c" * 40,
        "completedAt": o.at(61),
        "configPath": "a/config/config.json",
        "createdAt": o.at(0),
        "dbDumpPath": "a/database/",
        "dbSizeBytes": 2_000_000_000,
        "deploymentId": o.uid_of("d"),
        "durationMs": 60_000,
        "environmentId": o.ENVIRONMENT,
        "environmentName": "shop",
        "environmentType": "production",
        "errorMessage": None,
        "expiresAt": o.at(1000),
        "filestorePath": "a/filestore/index.json.zst",
        "filestoreSizeBytes": 5_000_000_000,
        "id": obj["metadata"]["uid"],
        "imageTag": "18.0",
        "isFullFilestore": True,
        "isPinned": True,
        "pinLabel": "before 18.0",
        "remoteStatus": "none",
        "startedAt": o.at(1),
        "status": "completed",
        "totalSizeBytes": 4_300_000_000,
        "trigger": "pre_rollback",
    }


def test_a_snapshot_that_the_operator_has_not_seen() -> None:
    obj = o.snapshot()
    found = view(obj)
    assert found["id"] == obj["metadata"]["uid"]
    assert found["status"] == "pending"
    assert found["recoveryEvidence"]["status"] == "pending"
    absent = (
        "commitSha",
        "completedAt",
        "configPath",
        "dbSizeBytes",
        "durationMs",
        "expiresAt",
        "pinLabel",
        "totalSizeBytes",
    )
    assert {name: found[name] for name in absent} == dict.fromkeys(absent)
    assert found["isPinned"] is False


@pytest.mark.parametrize("spec", [{"pin": {}}, {"pin": {"label": ""}}])
def test_a_pin_without_a_label(spec: o.Object) -> None:
    found = view(o.complete("a", spec))
    assert (found["isPinned"], found["pinLabel"]) == (True, None)


@pytest.mark.parametrize(("recorded", "shown"), [(True, True), (False, False), (None, True)])
def test_whether_it_stores_the_whole_filestore(recorded: bool | None, shown: bool) -> None:
    """None: it is not decided yet, or a version without differentials took it."""
    obj = o.complete()
    obj["status"] |= {} if recorded is None else {"fullFilestore": recorded}
    assert view(obj)["isFullFilestore"] is shown


def test_evidence_that_the_operator_wrote_is_shown_with_all_fields() -> None:
    obj = o.complete()
    obj["status"]["recoveryEvidence"] = {
        "operation": "snapshot",
        "status": "completed",
        "whyGreen": ["all"],
        "newer": 1,
        "progress": {"done": 5},
    }
    found = view(obj)["recoveryEvidence"]
    assert (found["whyGreen"], found["missingSteps"], found["artifactPaths"]) == (["all"], [], {})
    assert found["progress"] == {"step": "", "done": 5, "required": 0, "steps": {}}
    assert "newer" not in found


def test_a_spec_of_a_newer_version_has_no_derived_evidence() -> None:
    assert view(o.complete("a", {"newer": True}))["recoveryEvidence"] is None


def test_a_failed_snapshot_says_why() -> None:
    found = view(o.failed(message="pg_dump exited with code 1: disk full."))
    assert (found["status"], found["errorMessage"]) == ("failed", "pg_dump exited with code 1: disk full.")
    assert found["durationMs"] == 199_000


def test_a_corrupt_snapshot_is_failed() -> None:
    obj = o.complete()
    obj["status"]["phase"] = "Corrupt"
    obj["status"]["conditions"] = [
        o.condition("Complete"),
        o.condition("Ready", "False", "Corrupt", "database/1.dat differs. Take another snapshot."),
    ]
    found = view(obj)
    assert (found["status"], found["errorMessage"]) == ("failed", "database/1.dat differs. Take another snapshot.")
    assert found["recoveryEvidence"]["status"] == "failed"


def test_an_imported_snapshot_keeps_its_time() -> None:
    obj = o.complete(created=10)
    obj["metadata"]["creationTimestamp"] = o.at(100_000)
    assert view(obj)["createdAt"] == o.at(11)


@pytest.mark.parametrize(
    ("phase", "state"), [(None, "pending"), ("Pending", "pending"), ("Running", "running"), ("Complete", "completed")]
)
def test_status_of_each_phase(phase: str | None, state: str) -> None:
    obj = o.complete() if phase == "Complete" else o.running()
    obj["status"]["phase"] = phase
    assert view(obj)["status"] == state


@pytest.mark.parametrize("trigger", ["Manual", "Scheduled", "Deployment", "PreRollback"])
def test_every_trigger_has_a_value(trigger: str) -> None:
    view(o.snapshot(spec={"trigger": trigger}))


def test_a_rollback_log() -> None:
    status = {
        "neutralize": {"required": True, "ownIdentity": True},
        "safetySnapshotId": o.uid_of("safety"),
        "safetySnapshotAt": o.at(5),
    }
    obj = o.rolled_back("a", {"snapshotRef": {"name": "before"}, "requestedBy": "alice"}, status=status)
    found = log(obj)
    evidence = found.pop("recoveryEvidence")
    assert (evidence["operation"], evidence["status"]) == ("rollback", "completed")
    assert found == {
        "completedAt": o.at(90),
        "createdAt": o.at(0),
        "deploymentId": o.uid_of("d"),
        "environmentId": o.ENVIRONMENT,
        "errorMessage": None,
        "id": obj["metadata"]["uid"],
        "neutralizationTriggered": True,
        "performedBy": "alice",
        "rollbackDeploymentId": obj["metadata"]["uid"],
        "safetySnapshotCreated": True,
        "safetySnapshotId": o.uid_of("safety"),
        "snapshotId": o.uid_of("Snapshot/apps/before"),
        "startedAt": o.at(1),
        "status": "completed",
    }


def test_a_rollback_that_the_operator_has_not_seen() -> None:
    found = log(o.rollback(), snapshot_id=o.uid_of("s"))
    assert (found["status"], found["snapshotId"], found["performedBy"]) == ("pending", o.uid_of("s"), None)
    assert (found["neutralizationTriggered"], found["safetySnapshotCreated"]) == (False, False)


def test_a_copy_that_only_gets_an_identity_is_not_neutralised() -> None:
    obj = o.rolled_back(status={"neutralize": {"required": False, "ownIdentity": True}})
    assert log(obj)["neutralizationTriggered"] is False


def test_a_safety_snapshot_that_is_not_complete_does_not_count() -> None:
    found = log(o.rolled_back(status={"safetySnapshotId": o.uid_of("safety")}))
    assert (found["safetySnapshotCreated"], found["safetySnapshotId"]) == (False, o.uid_of("safety"))


def test_progress_of_a_running_snapshot() -> None:
    obj = o.running(percent=40)
    assert event(obj) == {
        "id": obj["metadata"]["uid"],
        "status": "running",
        "step": "DumpDatabase",
        "percent": 40,
        "bytesDone": 40_000,
        "bytesTotal": 100_000,
        "message": "The Job runs.",
        "time": o.at(140),
    }


def test_only_a_completed_operation_has_100_percent() -> None:
    assert event(o.running(percent=100))["percent"] == 99
    assert event(o.complete())["percent"] == 100
    assert event(o.failed())["percent"] < 100


def test_an_operation_that_waits_for_a_person_has_the_message_of_that() -> None:
    """It is not reconciling."""
    stalled = o.condition("Stalled", "True", "NodeNotResponding", "The node is away.")
    found = event(o.rolled_back(status={"phase": "Switching", "conditions": [stalled]}))
    assert (found["status"], found["message"]) == ("running", "The node is away.")


def test_the_final_event_of_a_failure_has_its_message() -> None:
    found = event(o.failed(message="disk full"))
    assert (found["status"], found["message"], found["time"]) == ("failed", "disk full", o.at(200))


@pytest.mark.parametrize(
    ("reported", "steps", "shown"),
    [
        ("Preflight", [("Preflight", "Done"), ("RestoreDatabase", "Running")], "RestoreDatabase"),
        ("RestoreFilestore", [("RestoreDatabase", "Running"), ("RestoreFilestore", "Running")], "RestoreFilestore"),
        ("Check", [("RestoreDatabase", "Done")], "Check"),
        ("RestoreDatabase", [("RestoreDatabase", "Done")], "RestoreDatabase"),
        ("", [("Quiesce", "Running")], "Quiesce"),
    ],
)
def test_the_step_does_not_go_back(reported: str, steps: list[tuple[str, str]], shown: str) -> None:
    """The restore Job reports its own check of the preflight after the rollback has left that step."""
    obj = o.running()
    obj["status"]["steps"] = [{"name": name, "state": state} for name, state in steps]
    obj["status"]["progress"]["step"] = reported
    assert event(obj)["step"] == shown


def test_bytes_are_those_of_the_step() -> None:
    obj = o.running()
    obj["status"]["steps"] = [{"name": "DumpDatabase", "state": "Done"}, {"name": "Publish", "state": "Running"}]
    found = event(obj)
    assert (found["step"], found["bytesDone"], found["bytesTotal"]) == ("Publish", 0, 0)


def test_the_step_without_a_figure_is_the_one_that_began_last() -> None:
    """Steps that have not begun are listed, too."""
    obj = o.running()
    names = [
        ("Preflight", "Done", o.at(1)),
        ("Quiesce", "Done", o.at(5)),
        ("Switch", "Done", o.at(5)),
        ("Cleanup", "Pending", ""),
    ]
    obj["status"]["steps"] = [
        {"name": name, "state": state, **({"startedAt": since} if since else {})} for name, state, since in names
    ]
    del obj["status"]["progress"]
    assert event(obj)["step"] == "Switch"


def test_between_two_steps_it_is_the_last_one_that_ran() -> None:
    """The figure of the step before it may be older."""
    obj = o.running()
    names = [("DumpDatabase", o.at(1)), ("CaptureConfig", o.at(5))]
    obj["status"]["steps"] = [{"name": name, "state": "Done", "startedAt": since} for name, since in names]
    found = event(obj)
    assert (found["step"], found["bytesDone"]) == ("CaptureConfig", 0)


def test_the_final_event_names_the_step_that_failed_or_the_last_one_of_the_operation() -> None:
    obj = o.rolled_back()
    obj["status"]["progress"] = {"step": "HealthCheck", "percent": 100, "updatedAt": o.at(70)}
    obj["status"]["steps"] = [{"name": "HealthCheck", "state": "Done"}, {"name": "Cleanup", "state": "Running"}]
    assert event(obj)["step"] == "HealthCheck"
    lost = o.failed()
    lost["status"]["steps"] = [{"name": "CopyFilestore", "state": "Failed"}, {"name": "Verify", "state": "Pending"}]
    assert event(lost)["step"] == "CopyFilestore"


def test_the_time_is_the_latest_moment() -> None:
    """As text, "05.900Z" comes before "05Z"."""
    obj = o.running()
    whole, later = o.at(150), o.at(150).replace("Z", ".900Z")
    obj["status"]["steps"] = [{"name": "Prepare", "state": "Done", "startedAt": whole, "completedAt": whole}]
    obj["status"]["progress"]["updatedAt"] = later
    assert event(obj)["time"] == later


def test_the_first_event_of_an_operation() -> None:
    found = event(o.snapshot())
    assert (found["status"], found["step"], found["percent"], found["time"]) == ("pending", None, 0, o.at(0))


# --- settings -----------------------------------------------------------------------------------------------------


def policy(spec: o.Object | None = None, **meta: Any) -> o.Object:
    return o.obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}, **(spec or {})}, **meta)


def test_settings_have_the_defaults_of_the_resource() -> None:
    found = settings_view(policy(), o.ENVIRONMENT)
    assert models.SettingsView.model_validate(found).model_dump(mode="json", by_alias=True) == found
    assert found == {
        "autoEnabled": True,
        "createdAt": o.at(0),
        "environmentId": o.ENVIRONMENT,
        "failurePolicy": "block",
        "id": policy()["metadata"]["uid"],
        "maxPinned": 10,
        "retentionDays": 30,
        "timeoutSeconds": 3600,
        "updatedAt": o.at(0),
    }


def test_zero_and_false_are_values() -> None:
    spec = {"autoEnabled": False, "failurePolicy": "Continue", "maxPinned": 0, "retentionDays": 0, "timeoutSeconds": 30}
    found = settings_view(policy(spec), o.ENVIRONMENT)
    assert (found["autoEnabled"], found["failurePolicy"], found["maxPinned"]) == (False, "continue", 0)
    assert (found["retentionDays"], found["timeoutSeconds"]) == (0, 30)


def test_rules_by_number_have_no_days() -> None:
    assert settings_view(policy({"keepDaily": 7}), o.ENVIRONMENT)["retentionDays"] is None


def test_settings_were_updated_when_the_spec_changed() -> None:
    fields = [
        {"manager": "kubectl", "time": o.at(50), "fieldsV1": {"f:spec": {}}},
        {"manager": "kubectl", "time": o.at(70), "fieldsV1": {"f:metadata": {}}},
        {"manager": "operator", "time": o.at(90), "subresource": "status", "fieldsV1": {"f:status": {}}},
    ]
    assert settings_view(policy(managedFields=fields), o.ENVIRONMENT)["updatedAt"] == o.at(50)


# --- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (RollbackRequest, {}),
        (RollbackRequest, {"snapshotId": "no uuid"}),
        (RollbackRequest, {"snapshotId": None}),
        (RollbackRequest, {"snapshotId": o.ENVIRONMENT, "createSafetySnapshot": "true"}),
        (RollbackRequest, {"snapshotId": o.ENVIRONMENT, "createSafetySnapshot": 1}),
        (RollbackRequest, {"snapshotId": o.ENVIRONMENT, "snapshot_id": o.ENVIRONMENT}),
        (RollbackRequest, {"snapshotId": o.ENVIRONMENT + "\n"}),
        (SettingsUpdate, {"unknown": 1}),
        (SettingsUpdate, {"retentionDays": "7"}),
        (SettingsUpdate, {"retentionDays": -1}),
        (SettingsUpdate, {"retentionDays": 7.5}),
        (SettingsUpdate, {"retentionDays": float("inf")}),
        (SettingsUpdate, {"timeoutSeconds": 29}),
        (SettingsUpdate, {"maxPinned": True}),
        (SettingsUpdate, {"failurePolicy": "stop"}),
        (PinRequest, {"label": "x" * 257}),
        (PinRequest, {"label": 5}),
    ],
)
def test_a_body_with_a_wrong_value_is_refused(model: Any, body: o.Object) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(body)


def test_values_of_bodies() -> None:
    found = RollbackRequest.model_validate({"snapshotId": o.ENVIRONMENT.upper(), "targetEnvironmentId": None})
    assert (found.snapshot_id, found.target_environment_id, bool(found.create_safety_snapshot)) == (
        o.ENVIRONMENT,
        None,
        False,
    )
    update = SettingsUpdate.model_validate({"failurePolicy": "BLOCK", "maxPinned": 0, "retentionDays": None})
    assert update.given() == {"failurePolicy": "block", "maxPinned": 0}
    whole = SettingsUpdate.model_validate_json('{"retentionDays": 7.0}').given()
    assert [(name, type(value)) for name, value in whole.items()] == [("retentionDays", int)]
    days = SettingsUpdate.model_json_schema()["properties"]["retentionDays"]["anyOf"][0]
    assert days == {"type": "integer", "minimum": 0, "maximum": 36500}
    assert PinRequest.model_validate({}).given() == {}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, "none"),
        ("Pending", "pending"),
        ("Copying", "copying"),
        ("Completed", "completed"),
        ("Failed", "failed"),
        ("OfANewerOperator", "pending"),
    ],
)
def test_the_state_of_the_remote_copy(state: str | None, expected: str) -> None:
    obj = o.snapshot()
    obj.setdefault("status", {})
    if state is not None:
        obj["status"]["remote"] = {"state": state}
    assert view(obj)["remoteStatus"] == expected


@pytest.mark.parametrize("text", ["x", "\u2028", o.uid_of("d").upper(), o.uid_of("d") + "\n"])
def test_row_77_what_is_no_id_is_not_shown_as_one(text: str) -> None:
    """A manifest in a bucket names any deployment, and a record any snapshot."""
    snapshot = o.complete()
    snapshot["status"]["source"] |= {"deploymentId": text, "environmentType": text}
    store = Store()
    store.put("Snapshot", snapshot)
    (entry,) = store.served.project_page(o.PROJECT, 0, 1)[0]
    row = json.loads(entry.encoded)
    assert (row["deploymentId"], row["environmentType"]) == (None, None)
    found = log(o.rolled_back(status={"snapshotId": text, "safetySnapshotId": text}))
    assert (found["snapshotId"], found["safetySnapshotId"]) == (None, None)


# --- createdAt, and the order of lists ----------------------------------------------------------------------------


def asked(name: str, when: str | None, created: float = 10, **status: Any) -> o.Object:
    """A Snapshot that another client created; with `when`, one of the facade."""
    annotations = {} if when is None else {ANNOTATION_REQUESTED_AT: when}
    return o.snapshot(name, status=status or None, created=created, annotations=annotations)


def test_what_the_facade_creates_has_milliseconds() -> None:
    exact = o.at(9).replace("Z", ".975Z")  # the facade's clock was a little behind
    found = view(asked("a", exact, startedAt=o.at(11)))
    assert found["createdAt"] == exact
    assert (
        log(o.obj("Rollback", "r", {}, annotations={ANNOTATION_REQUESTED_AT: exact}, created=10))["createdAt"] == exact
    )


@pytest.mark.parametrize("when", ["", "soon", "2026-13-01T00:00:00.000Z", o.at(10), o.at(71).replace("Z", ".000Z")])
def test_a_time_that_the_facade_cannot_have_written_does_not_count(when: str) -> None:
    assert view(asked("a", when))["createdAt"] == o.at(10)


def test_a_start_within_the_second_of_the_creation_is_no_import() -> None:
    assert view(asked("a", None, startedAt=o.at(10).replace("Z", ".200Z")))["createdAt"] == o.at(10)


def test_a_duration_has_milliseconds() -> None:
    obj = o.complete()
    obj["status"] |= {"startedAt": o.at(1).replace("Z", ".250Z"), "completedAt": o.at(2).replace("Z", ".001Z")}
    assert view(obj)["durationMs"] == 751


def test_the_order_within_a_second() -> None:
    """By when the facade was asked, else by the first time that the operator recorded; what has neither is older. Never
    by what changes later."""

    def exact(milliseconds: int, second: float = 10) -> str:
        return o.at(second).replace("Z", f".{milliseconds:03}Z")

    oldest_first = [
        asked("z", None, created=9),
        asked("t", None),
        asked("y", None, queuedAt=o.at(10), startedAt=o.at(90)),
        asked("x", exact(1), startedAt=exact(900)),
        asked("w", None, queuedAt=exact(100)),
        asked("v", exact(300), queuedAt=exact(400)),
        asked("u", None, startedAt=o.at(11)),
        asked("s", None, created=11, queuedAt=exact(0, 11)),
    ]
    assert sorted(oldest_first, key=lambda obj: Resource(obj).order) == oldest_first
