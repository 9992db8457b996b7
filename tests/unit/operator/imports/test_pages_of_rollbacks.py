"""Rollback logs come back: from the records in the store's folder to the REST API's answer, with the real mover and an
API server in memory."""

import asyncio
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ocore_api.cache import RollbackEntry
from ocore_api.cache.store import Store as ApiStore
from ocore_api.views import models
from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import Failure
from ocore_crds.reports import stored_contents
from ocore_crds.resources.preview import NEVER
from ocore_crds.resources.rollback import RollbackSpec
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.rollback_record import RecordState, RollbackRun
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS
from ocore_mover import rollback_history
from ocore_mover.commands import list_manifests
from ocore_operator.entries.operations import operations
from ocore_operator.entries.rollbacks import finished as finished_of
from ocore_operator.imports import pages, rollbacks, rules
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key
from ocore_operator.rollback import observe, plan_preflight
from ocore_operator.rollback.entry import idle
from ocore_operator.rollback.executed import run_of
from support.mover import records
from support.mover.contents import ENVIRONMENT, OTHER, PROJECT, add, at, put, snapshot_id
from support.operator.contents import Place
from support.operator.objects import SETTINGS, obj

EVIDENCE = Evidence(required=("database",), proven=("database",))
SPEC = {"snapshotRef": {"name": "snapshot-1"}, "requestedBy": "ada@example.com", "createSafetySnapshot": True}
STATUS = {
    "startedAt": at(100),
    "environmentName": "shop",
    "environmentId": ENVIRONMENT,
    "snapshotName": "snapshot-1",
    "snapshotId": snapshot_id(1),
    "manifestSha256": "a" * 64,
    "safetySnapshotName": "safety",
    "safetySnapshotId": snapshot_id(9),
    "safetySnapshotAt": at(100.1),
    "liveDatabase": "shop",
    "previousDatabase": "shop_prev_x",
    "neutralize": {"required": True, "ownIdentity": False, "provenAt": at(100.2)},
    "steps": [
        {"name": "Preflight", "state": "Done"},
        {"name": "Quiesce", "state": "Pending"},
        {"name": "HealthCheck", "state": "Pending"},
    ],
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    add(found.store, 1)
    return found


def id_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def recorded(
    place: Place,
    name: str,
    *states: RecordState,
    hours: float = 101,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    project: str = PROJECT,
    old: bool = False,
    failure: Failure | None = None,
    **fields: Any,
) -> RollbackRun:
    """What the Jobs of a Rollback on the lost cluster have written: each state 36 s after the one before."""
    ran = resources.rollback(
        obj(
            "Rollback", name, {**SPEC, **(spec or {})}, {"id": id_of(name), **STATUS, **(status or {})},
            uid=str(uuid.uuid4()), creationTimestamp=at(99),
        )
    )  # fmt: skip
    run = run_of(ran, project).model_copy(update={"rollback_id": id_of(name), "attempt": str(uuid.uuid4()), **fields})
    if old:
        run = run.model_copy(update={"rollback": None})
    for number, state in enumerate(states):
        evidence = EVIDENCE if state == "restored" else None
        records.write(place.store, run, state, at(hours + number / 100), evidence, failure)
    return run


def imported(place: Place) -> Any:
    status = place.read_store().status.import_
    assert status is not None
    assert status.state == "Done", status
    return status.rollbacks


def condition(found: Any, type_: str) -> tuple[str, str, str]:
    each = next(x for x in found["status"]["conditions"] if x["type"] == type_)
    return each["status"], each["reason"], each["message"]


def log(place: Place, name: str) -> dict[str, Any]:
    """As the REST API shows it."""
    cache = ApiStore()
    cache.put("Environment", {**place.api.read(ENVIRONMENTS, "shop", "shop"), "status": {"id": ENVIRONMENT}})
    for kind, found in (("Snapshot", place.snapshots()), ("Rollback", place.rollbacks())):
        for each in found.values():
            cache.put(kind, each)
    rows = json.loads(b"".join(cache.served.logs(b"[", cache.served.of(RollbackEntry, ENVIRONMENT), b"]").pieces()))
    row = next(row for row in rows if row["id"] == id_of(name))
    models.RollbackLog.model_validate(row)
    return row


SWITCHED: tuple[RecordState, ...] = ("restored", "started", "switched")


def test_a_rollback_log_comes_back_with_all_its_fields(place: Place) -> None:
    recorded(place, "to-monday", *SWITCHED)
    place.run()
    found = log(place, "to-monday")
    evidence = found.pop("recoveryEvidence")
    assert found == {
        "completedAt": at(101.02),
        "createdAt": at(100),
        "deploymentId": "55555555-5555-4555-8555-555555555555",
        "environmentId": ENVIRONMENT,
        "errorMessage": None,
        "id": id_of("to-monday"),
        "neutralizationTriggered": True,
        "performedBy": "ada@example.com",
        "rollbackDeploymentId": id_of("to-monday"),
        "safetySnapshotCreated": True,
        "safetySnapshotId": snapshot_id(9),
        "snapshotId": snapshot_id(1),
        "startedAt": at(100),
        "status": "completed",
    }
    # What came after the switch is not known, so it is no clean success.
    assert evidence["canWriteCleanSuccess"] is False
    assert "HealthCheck" in evidence["missingSteps"]
    assert "Quiesce" not in evidence["missingSteps"]
    assert "previousDatabase" not in evidence["artifactPaths"]


def test_the_resource_is_terminal_and_says_where_it_is_from(place: Place) -> None:
    recorded(place, "to-monday", *SWITCHED)
    place.run()
    found = place.rollbacks()[id_of("to-monday")]
    assert found["metadata"]["name"] == "to-monday"
    assert found["spec"] == {**SPEC, "id": id_of("to-monday"), "notAfter": NEVER}
    assert found["metadata"]["annotations"] == {naming.ANNOTATION_IMPORT: place.read_store().meta.uid}
    assert "finalizers" not in found["metadata"]
    status = found["status"]
    assert (status["phase"], status["stage"], status["position"]) == ("Complete", "Ended", "New")
    assert status["evidence"]["proven"] == ["database"]
    assert condition(found, c.COMPLETE)[:2] == ("True", "Succeeded")
    assert condition(found, c.IMPORTED)[:2] == ("True", "Succeeded")
    assert "whether the workloads were ready" in condition(found, c.IMPORTED)[2]
    assert condition(found, c.PREVIOUS_RETAINED)[:2] == ("Unknown", "ImportIncomplete")
    assert idle(found)
    assert operations(place.catalog, "shop", "shop") == []
    counts = imported(place)
    assert (counts.found, counts.imported, counts.existing, counts.unfinished) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("states", "phase", "reason", "says"),
    [
        (("restored", "started", "not-switched"), "Failed", "SessionsRemain", "a session stayed"),
        (
            ("restored", "started", "switched", "switched-back"),
            "Failed",
            "SwitchedBack",
            "Deployment shop was not ready.",
        ),
    ],
)
def test_a_failed_one_says_why(
    place: Place, states: tuple[RecordState, ...], phase: str, reason: str, says: str
) -> None:
    why = {"failureReason": "WorkloadNotReady", "failureMessage": "Deployment shop was not ready."}
    failure = Failure(reason="SessionsRemain", message="a session stayed") if states[-1] == "not-switched" else None
    recorded(place, "bad", *states, status=why if failure is None else None, failure=failure)
    place.run()
    found = place.rollbacks()[id_of("bad")]
    assert (found["status"]["phase"], found["status"]["failureReason"]) == (phase, reason)
    assert condition(found, c.FAILED)[:2] == ("True", reason)
    assert (found["status"]["position"], "switchedAt" in found["status"]) == ("Old", "switched" in states)
    assert says.lower() in log(place, "bad")["errorMessage"].lower()
    assert log(place, "bad")["status"] == "failed"


@pytest.mark.parametrize("states", [("restored",), ("restored", "started")])
def test_what_has_no_end_is_counted_and_not_imported(place: Place, states: tuple[RecordState, ...]) -> None:
    recorded(place, "open", *states)
    place.run()
    assert place.rollbacks() == {}
    assert (imported(place).found, imported(place).unfinished) == (0, 1)


def test_a_second_import_changes_nothing(place: Place) -> None:
    for name in ("a", "b"):
        recorded(place, name, *SWITCHED)
    recorded(place, "old", "switched", old=True)
    place.run()
    before = place.rollbacks()
    place.now += timedelta(hours=1)
    place.set_store({naming.ANNOTATION_IMPORT_REQUESTED: "2026-03-01T12:30:00Z"}, **{"import": True})
    place.run()
    assert place.rollbacks() == before
    assert (imported(place).imported, imported(place).existing) == (0, 3)


def test_an_existing_rollback_of_the_id_is_not_touched(place: Place) -> None:
    recorded(place, "to-monday", *SWITCHED)
    mine = obj("Rollback", "mine", {**SPEC, "id": id_of("to-monday")}, {"phase": "Failed"})
    before = place.api.put(ROLLBACKS, mine)
    place.run()
    assert list(place.rollbacks().values()) == [before]


def test_a_record_of_an_earlier_version_says_what_it_lacks(place: Place) -> None:
    recorded(place, "to-monday", *SWITCHED, old=True)
    place.run()
    found = place.rollbacks()[id_of("to-monday")]
    # Under its own name Git could not apply its spec any more.
    assert found["metadata"]["name"] == f"imported-{id_of('to-monday')}"
    assert found["spec"] == {
        "id": id_of("to-monday"),
        "notAfter": NEVER,
        "snapshotRef": {"name": "snapshot-1"},
        "targetEnvironmentRef": {"name": "shop"},
    }
    assert condition(found, c.IMPORTED)[:2] == ("False", "ImportIncomplete")
    assert "who asked for it" in condition(found, c.IMPORTED)[2]
    assert found["status"]["imported"]["name"] == "to-monday"
    row = log(place, "to-monday")
    assert (row["performedBy"], row["safetySnapshotId"], row["startedAt"]) == (None, None, at(101))
    assert (row["status"], row["snapshotId"]) == ("completed", snapshot_id(1))


def test_an_old_failure_without_a_reason_says_so(place: Place) -> None:
    recorded(place, "bad", "started", "not-switched", old=True)
    place.run()
    found = place.rollbacks()[id_of("bad")]
    assert "Why is not in its record" in found["status"]["failureMessage"]
    assert "why it failed" in found["status"]["imported"]["missing"]


def test_an_undo_and_what_it_undid(place: Place) -> None:
    first = recorded(place, "to-monday", *SWITCHED, hours=101)
    undo = {
        "snapshotRef": None,
        "requestedBy": "bob",
        "createSafetySnapshot": False,
        "undo": {"rollbackRef": {"name": "to-monday"}},
    }
    status = {
        "undo": {
            "rollbackName": "to-monday",
            "rollbackId": first.rollback_id,
            "namesId": first.rollback_id,
            "to": "Old",
        },
        "steps": [],
    }
    recorded(place, "back", "started", "switched", hours=102, spec=undo, status=status)
    recorded(place, "old-back", "started", "switched", hours=103, undoes=first.rollback_id, old=True)
    place.run()
    every = place.rollbacks()
    assert (every[id_of("to-monday")]["status"]["phase"], every[id_of("to-monday")]["status"]["undoneBy"]) == (
        "SwitchedBack",
        "back",
    )
    assert every[id_of("back")]["spec"]["undo"] == {"rollbackRef": {"name": "to-monday"}}
    assert every[id_of("back")]["status"]["undoneBy"] == "old-back"
    assert every[id_of("old-back")]["spec"]["undo"] == {"rollbackRef": {"name": "to-monday"}}
    assert every[id_of("old-back")]["status"]["phase"] == "Complete"
    assert log(place, "back")["status"] == "completed"


# --- what belongs here, and how much ---------------------------------------------------------------------------------


def test_records_of_another_project_or_environment_get_nothing(place: Place) -> None:
    recorded(place, "theirs", *SWITCHED, project=OTHER)
    recorded(place, "elsewhere", *SWITCHED, environment_id=OTHER)
    place.run()
    assert place.rollbacks() == {}
    status = place.read_store().status.import_
    assert status is not None
    assert status.skipped == 1
    assert f"it is of project {OTHER}" in status.skipped_examples[0]


def test_another_project_is_refused_by_the_operator_too(place: Place) -> None:
    run = recorded(place, "to-monday", *SWITCHED)
    entry = rollback_history.read(place.store, ENVIRONMENT, 1).ended[0]
    assert entry.run.uid == run.uid
    assert rollbacks.belongs(entry, {ENVIRONMENT: rules.Place("shop", PROJECT)}) is not None
    assert rollbacks.belongs(entry, {ENVIRONMENT: rules.Place("shop", OTHER)}) is None
    assert rollbacks.belongs(entry, {OTHER: rules.Place("shop", PROJECT)}) is None


def test_an_id_of_another_namespace_is_not_taken(place: Place) -> None:
    recorded(place, "to-monday", *SWITCHED)
    place.catalog.put("Rollback", obj("Rollback", "x", {**SPEC, "id": id_of("to-monday")}, namespace="victim"))
    place.run()
    assert place.rollbacks() == {}


def test_hostile_records_are_counted(place: Place) -> None:
    run = recorded(place, "good", *SWITCHED)
    names = (ENVIRONMENT, "bad", run.spec_hash, run.uid, "a1")
    put(place.store, naming.rollback_record_key(*names, "switched"), b"[" * 50_000)
    stolen = (ENVIRONMENT, "stolen", run.spec_hash, run.uid, run.attempt)
    data = place.store.get(
        naming.rollback_record_key(ENVIRONMENT, run.name, run.spec_hash, run.uid, run.attempt, "switched")
    )
    put(place.store, naming.rollback_record_key(*stolen, "switched"), data or b"")
    place.run()
    assert set(place.rollbacks()) == {id_of("good")}
    status = place.read_store().status.import_
    assert status is not None
    assert status.skipped == 2


def test_a_changed_spec_in_a_record_is_not_applied(place: Place) -> None:
    """The hash in the key decides: the spec of a record is believed only where it is the one that ran."""
    run = recorded(place, "to-monday")
    assert run.rollback is not None
    bad = run.rollback.model_copy(update={"spec": {**run.rollback.spec, "requestedBy": "mallory"}})
    records.write(place.store, run.model_copy(update={"rollback": bad}), "switched", at(101))
    place.run()
    found = place.rollbacks()[id_of("to-monday")]
    assert "requestedBy" not in found["spec"]
    assert condition(found, c.IMPORTED)[:2] == ("False", "ImportIncomplete")


def test_the_history_limit_holds(tmp_path: Path) -> None:
    place = Place(tmp_path, SETTINGS.model_copy(update={"rollback_history_limit": 3}))
    for number in range(5):
        recorded(place, f"r{number}", *SWITCHED, hours=101 + number)
    there = obj("Rollback", "there", SPEC, {**STATUS, "completedAt": at(500), "residue": "None"}, uid=id_of("there"))
    there["status"]["conditions"] = [
        {"type": "Failed", "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(0)}
    ]
    place.catalog.put("Rollback", place.api.put(ROLLBACKS, there))
    place.run()
    assert {o["metadata"]["name"] for o in place.rollbacks().values()} == {"there", "r3", "r4"}
    assert (imported(place).imported, imported(place).older) == (2, 3)
    # The limit itself has nothing to remove then, so the next import has nothing to bring back.
    finished = list(finished_of(place.catalog, "shop", "shop"))
    assert len(finished) == 3
    assert all(each.removable for each in finished)


def test_a_listing_has_the_newest_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_contents, "PAGE_ROLLBACKS", 2)
    for number in range(4):
        recorded(place, f"r{number}", *SWITCHED, hours=101 + number)
    place.run()
    assert set(place.rollbacks()) == {id_of("r2"), id_of("r3")}
    assert (imported(place).found, imported(place).older) == (4, 2)


def test_rollbacks_follow_on_pages_of_their_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_manifests, "BATCH", 1)
    monkeypatch.setattr(stored_contents, "PAGE_SNAPSHOTS", 1)
    place.environment(OTHER, OTHER, name="second")
    recorded(place, "first", *SWITCHED)
    recorded(place, "second", *SWITCHED, project=OTHER, environment_id=OTHER)
    place.run()
    assert set(place.rollbacks()) == {id_of("first"), id_of("second")}
    status = place.read_store().status.import_
    assert status is not None
    assert (status.found, status.page) == (1, 3)


def test_a_name_that_is_taken_is_replaced(place: Place) -> None:
    recorded(place, "to-monday", *SWITCHED)
    place.api.put(ROLLBACKS, obj("Rollback", "to-monday", SPEC, {"phase": "Complete"}))
    place.run()
    assert place.rollbacks()[id_of("to-monday")]["metadata"]["name"] == f"imported-{id_of('to-monday')}"


def test_a_not_after_in_the_future_gets_another_name(place: Place) -> None:
    """Its own spec must not run, and Git could not apply that spec to what has another notAfter."""
    recorded(place, "later", *SWITCHED, spec={"notAfter": "2027-01-01T00:00:00Z"})
    recorded(place, "past", *SWITCHED, spec={"notAfter": "2026-02-01T00:00:00Z"})
    place.run()
    later, past = (place.rollbacks()[id_of(name)] for name in ("later", "past"))
    assert later["metadata"]["name"].startswith("imported-")
    assert (later["spec"]["notAfter"], past["spec"]["notAfter"]) == (NEVER, "2026-02-01T00:00:00Z")
    assert past["metadata"]["name"] == "past"


# --- it never runs ---------------------------------------------------------------------------------------------------


def test_what_a_crash_left_never_runs_and_is_completed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(place, "to-monday", *SWITCHED)
    real = pages.summarize.write_quietly

    async def killed(ctx: Any, found: Any, status: Any) -> Any:
        if found.kind.kind == "Rollback":
            raise RuntimeError("killed")
        return await real(ctx, found, status)

    with monkeypatch.context() as patch:
        patch.setattr(pages.summarize, "write_quietly", killed)
        with pytest.raises(BaseExceptionGroup):
            place.run()
    half = place.rollbacks()[id_of("to-monday")]
    assert "status" not in half or not half["status"].get("stage")
    place.run()
    assert place.rollbacks()[id_of("to-monday")]["status"]["phase"] == "Complete"


def test_the_end_that_a_late_reconcile_wrote_is_replaced(place: Place) -> None:
    """After 300 s without its import the operator ends it. The next import still completes it."""
    recorded(place, "to-monday", *SWITCHED)
    half = obj("Rollback", "to-monday", {**SPEC, "id": id_of("to-monday")}, {"phase": "Failed", "stage": "Ended"})
    half["metadata"]["annotations"] = {naming.ANNOTATION_IMPORT: "x"}
    place.api.put(ROLLBACKS, half)
    place.run()
    assert place.rollbacks()[id_of("to-monday")]["status"]["phase"] == "Complete"


def test_git_that_creates_it_again_with_its_id_finds_that_it_ran(place: Place) -> None:
    """Where the imported one has another name, because its record is old."""
    spec = {**SPEC, "id": id_of("to-monday")}
    recorded(place, "to-monday", *SWITCHED, spec={"id": id_of("to-monday")}, old=True)
    place.run()
    again = resources.rollback(obj("Rollback", "to-monday", spec, uid="again"))
    elder = place.catalog.get(Key("Rollback", "shop", f"imported-{id_of('to-monday')}"))
    assert asyncio.run(observe._imported_before(place.ctx, again, elder))
    other = resources.rollback(obj("Rollback", "to-tuesday", spec, uid="again"))
    assert not asyncio.run(observe._imported_before(place.ctx, other, elder))


def test_its_spec_alone_is_refused(place: Place) -> None:
    """A copy of the spec without annotation and status, for example by a backup tool, has expired."""
    recorded(place, "to-monday", *SWITCHED)
    place.run()
    spec = RollbackSpec.model_validate(place.rollbacks()[id_of("to-monday")]["spec"])
    found = plan_preflight._expired(spec, place.now)
    assert found is not None
    assert found.reason == "Expired"


def test_row_79_only_recorded_fields_are_taken(place: Place) -> None:
    """A record is written by anyone who can write to the bucket."""
    forged = {
        "residue": "Pending",
        "undoUntil": at(1),
        "cleanupAfter": at(1),
        "position": "Old",
        "attempt": 7,
        "undoneBy": "x",
    }
    target = {
        "databaseSecretName": "other",
        "adminSecretName": "root",
        "claimName": "files",
        "path": "",
        "layout": "Odoo",
    }
    run = recorded(place, "forged", "restored", "started", "switched")
    assert run.rollback is not None
    status = {**run.rollback.status, **forged, "target": target}
    run = run.model_copy(update={"rollback": run.rollback.model_copy(update={"status": status}), "attempt": "forged"})
    records.write(place.store, run, "switched", at(102))
    place.run()
    found = place.rollbacks()[id_of("forged")]["status"]
    assert found["liveDatabase"] == "shop"  # it is recorded
    assert not {"residue", "undoUntil", "cleanupAfter", "attempt", "undoneBy", "target"} & found.keys() - {"attempt"}
    assert found.get("attempt", 0) == 0
    assert found["position"] == "New"
    assert idle(place.rollbacks()[id_of("forged")])
