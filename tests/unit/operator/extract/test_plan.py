"""What an Extract does next: pure decisions."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.commands.table import REMOVE_EXTRACT
from ocore_crds.naming import FINALIZER_EXTRACT
from ocore_crds.protocol import ExtractRemoved
from ocore_operator import sources
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.extract import transitions
from ocore_operator.extract.entry import entry, idle
from ocore_operator.extract.plan import decide
from ocore_operator.extract.reconcile import neighbours
from ocore_operator.extract.world import Action, StartJob, World
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, StopJob, Wait
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.job import job_name
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object
from ocore_operator.summarize import applied
from support.operator.catalogs import new_catalog
from support.operator.jobs import job_inputs, request_of
from support.operator.objects import (
    SETTINGS,
    UID,
    at,
    ended,
    environment,
    environment_object,
    job,
    moment,
    obj,
    observation,
    pod,
    snapshot,
    started,
    store,
)

STORE: Object = {"snapshotRef": {"name": "before"}, "files": {"paths": ["a"]}, "target": {"store": {}}}
WHERE = [{"allOf": [{"column": "id", "operator": "In", "values": ["1"]}]}]
TABLES: Object = {
    "snapshotRef": {"name": "before"}, "tables": [{"name": "partner", "where": WHERE}], "target": {"store": {}},
}  # fmt: skip
CLAIM: Object = {**STORE, "target": {"claim": {"path": "restored"}}}
JOB, REMOVAL = "extract-111111112222-1", "remove-extract-111111112222-1"
COMPLETE = [{"type": "Complete", "status": "True", "reason": "Succeeded", "lastTransitionTime": at(0)}]
SNAPSHOT = snapshot(status={**started(), "phase": "Complete", "conditions": COMPLETE, "manifestSha256": "0" * 64})
QUEUED: Object = {"id": UID, "phase": "Pending", "queuedAt": at(0), "environmentName": "shop", "environmentId": UID}
RUNNING: Object = {
    **QUEUED, "phase": "Running", "startedAt": at(1), "deadline": at(3601), "attempt": 1, "residue": "Pending",
    "snapshotId": UID, "storeName": "store", "steps": [{"name": "Extract", "state": "Pending"}],
}  # fmt: skip
RESULT = (
    '{"type":"result","ok":true,"time":"2026-03-01T12:00:50Z","payload":{"kind":"extract","extracted":{"files":1,'
    '"bytes":3,"bytesRead":9,"key":"environments/x/extracts/y/files.tar","size":10240,"sha256":"%s"}}}' % ("0" * 64)
)
REMOVED = '{"type":"result","ok":true,"time":"2026-03-01T12:00:50Z","payload":{"kind":"remove-extract","objects":1}}'
REFUSED = (
    '{"type":"result","ok":false,"time":"2026-03-01T12:00:50Z","failure":{"reason":"FilesNotFound","message":'
    '"No such file."}}'
)
PASSING = (
    '{"type":"result","ok":false,"time":"2026-03-01T12:00:50Z","failure":{"reason":"StoreUnreachable","message":'
    '"No answer.","retryable":true}}'
)


def extract(spec: Object, status: Object | None = None, **meta: Any) -> resources.Extract:
    return resources.extract(obj("Extract", "one", spec, status, **{"finalizers": [FINALIZER_EXTRACT], **meta}))


def world(spec: Object, status: Object | None = None, *, seconds: float = 60, **changes: Any) -> World:
    meta = changes.pop("meta", {})
    snap = changes.get("snapshot", SNAPSHOT)
    made = World(
        extract=extract(spec, status, **meta),
        now=moment(seconds),
        seen=observation(),
        snapshot=SNAPSHOT,
        environment=environment(),
        store=store(),
        source=sources.source(snap) if snap is not None else None,
    )
    return replace(made, **changes)


def with_job(name: str, message: str | None, command: str = "extract", *, seconds: float = 60) -> Any:
    """A Job that runs, or has ended with that message."""
    state = {"running": {"startedAt": at(2)}} if message is None else ended(message, 0 if '"ok":true' in message else 1)
    phase = "Running" if message is None else "Succeeded"
    done = "" if message is None else "Complete"
    return observation([job(name, command, condition=done)], {name: [pod(name, state, phase=phase)]}, seconds=seconds)


def reason(action: Action) -> str:
    assert isinstance(action, Record), action
    found = c.find(action.status.conditions, c.FAILED)
    return found.reason if found is not None else ""


# --- before the start ------------------------------------------------------------------------------------------------


def test_it_is_queued_first() -> None:
    action = decide(world(STORE))
    assert isinstance(action, Record)
    assert (action.status.phase, action.status.id, action.status.queued_at) == ("Pending", UID, at(60))


def test_into_the_store_it_starts_without_the_lock() -> None:
    action = decide(world(STORE, QUEUED))
    assert isinstance(action, Record)
    status = action.status
    assert (status.phase, status.residue, status.attempt, status.claim_name) == ("Running", "Pending", 1, None)
    assert (status.store_name, status.manifest_sha256, status.deadline) == ("store", "0" * 64, at(3660))


def test_into_the_claim_it_takes_the_lock_before_it_starts() -> None:
    assert decide(world(CLAIM, QUEUED)) == SetLock(held=True)
    action = decide(world(CLAIM, QUEUED, locked=True))
    assert isinstance(action, Record)
    assert action.status.claim_name == "files"
    waits = Waiting(c.WAITING_FOR_OPERATION, "Rollback back holds it.", 40)
    assert decide(world(CLAIM, QUEUED, refusal=waits)) == Wait(40, c.WAITING_FOR_OPERATION, "Rollback back holds it.")


def test_the_finalizer_is_set_before_anything_is_made() -> None:
    assert decide(world(STORE, QUEUED, meta={"finalizers": []})) == SetFinalizer(present=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"snapshot": None}, c.SNAPSHOT_NOT_FOUND),
        ({"store": None, "source": sources.source(SNAPSHOT, stores={})}, c.STORE_NOT_FOUND),
        ({"environment": None}, c.ENVIRONMENT_NOT_FOUND),
    ],
)
def test_what_is_missing_may_appear_for_a_minute(changes: Object, expected: str) -> None:
    early = decide(world(CLAIM, QUEUED, seconds=59, **changes))
    assert isinstance(early, Wait)
    assert early.reason == expected
    assert reason(decide(world(CLAIM, QUEUED, seconds=60, **changes))) == expected


def test_it_waits_for_a_snapshot_that_runs() -> None:
    action = decide(world(STORE, QUEUED, seconds=900, snapshot=snapshot(status=started())))
    assert isinstance(action, Wait)
    assert action.reason == c.WAITING_FOR_SNAPSHOT


def changed_snapshot(*conditions: Object, **status: Any) -> resources.Snapshot:
    return snapshot(status={**started(), "phase": "Complete", "conditions": [*COMPLETE, *conditions], **status})


def test_a_snapshot_that_is_being_deleted_is_not_read() -> None:
    leaving = changed_snapshot()
    leaving = replace(leaving, meta=replace(leaving.meta, deleted=at(50)))
    action = decide(world(STORE, QUEUED, seconds=60, snapshot=leaving))
    assert reason(action) == c.SNAPSHOT_NOT_FOUND
    assert isinstance(action, Record)
    assert "is being deleted" in str(action.status.conditions)


FAILED = {"type": "Failed", "status": "True", "reason": "DumpFailed", "lastTransitionTime": at(0)}
DAMAGED = {"type": "Verified", "status": "False", "reason": "Corrupt", "lastTransitionTime": at(0)}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (snapshot(status={**started(), "conditions": [FAILED]}), c.SNAPSHOT_NOT_COMPLETE),
        (changed_snapshot(DAMAGED), c.CORRUPT),
        (changed_snapshot(parts=["Database"]), c.FILES_NOT_FOUND),
    ],
)
def test_a_snapshot_that_cannot_be_read(found: resources.Snapshot, expected: str) -> None:
    assert reason(decide(world(STORE, QUEUED, seconds=1, snapshot=found))) == expected


def test_nothing_is_written_to_a_store_that_is_read_only() -> None:
    read_only = store({"s3": {"bucket": "snapshots"}, "access": "ReadOnly"})
    assert reason(decide(world(STORE, QUEUED, store=read_only))) == c.STORE_READ_ONLY
    assert decide(world(CLAIM, QUEUED, store=read_only)) == SetLock(held=True)


def test_a_folder_in_the_filestore_of_another_environment_is_refused() -> None:
    refused = decide(world(CLAIM, QUEUED, locked=True, neighbours=("filestore/staging", "restored/x")))
    assert reason(refused) == c.TARGET_REFUSED
    assert isinstance(decide(world(CLAIM, QUEUED, locked=True, neighbours=("filestore/staging",))), Record)


def test_a_folder_that_an_environment_uses_since_is_not_removed() -> None:
    expired = {**DONE, "claimName": "files", "removalAttempt": 1}
    action = decide(world(CLAIM, expired, seconds=1001, neighbours=("restored",)))
    assert isinstance(action, Record)
    assert action.status.residue == "Unknown"


def test_neighbours_are_on_the_same_claim() -> None:
    catalog = new_catalog()
    for name, claim, path in (("shop", "files", "a"), ("staging", "files", "b"), ("test", "others", "c")):
        made = environment_object({"filestore": {"claimName": claim, "path": path}}, uid=name)
        made["metadata"]["name"] = name
        catalog.put("Environment", made)
    assert neighbours(catalog, environment({"filestore": {"claimName": "files", "path": "a"}})) == ("b",)


# --- tables ----------------------------------------------------------------------------------------------------------

DATABASE: Object = {"secretRef": {"name": "shop-db"}, "adminSecretRef": {"name": "shop-admin"}, "capacity": "10Gi"}
SERVER = environment({"database": DATABASE})


def test_tables_say_what_comes_before_they_are_loaded() -> None:
    named = decide(world(TABLES, {**QUEUED, "environmentName": None, "environmentId": None}, environment=SERVER))
    assert isinstance(named, Record)
    assert named.status.phase == "Pending"
    assert "Types of the application and of extensions become text." in str(named.status.contents)
    into_store = decide(world(STORE, {**QUEUED, "environmentName": None, "environmentId": None}))
    assert isinstance(into_store, Record)
    assert into_store.status.contents is None


BIG = {"column": "a", "operator": "In", "values": ["x" * 1024] * 70}


@pytest.mark.parametrize(
    ("changes", "where", "expected"),
    [
        ({"environment": None}, None, c.ENVIRONMENT_NOT_FOUND),
        ({"environment": environment({"database": None})}, None, c.TABLES_NOT_FOUND),
        ({"snapshot": changed_snapshot(parts=["Filestore"])}, None, c.TABLES_NOT_FOUND),
        ({}, [{"allOf": [BIG]}], c.ROW_FILTER_FAILED),
    ],
)
def test_tables_that_cannot_be_loaded(changes: Object, where: object, expected: str) -> None:
    spec = {**TABLES, "tables": [{"name": "partner", "where": where}]}
    assert reason(decide(world(spec, QUEUED, seconds=60, **{"environment": SERVER, **changes}))) == expected


def test_tables_need_no_administrator() -> None:
    poor = environment({"database": {**DATABASE, "adminSecretRef": None}})
    assert isinstance(decide(world(TABLES, QUEUED, environment=poor)), Record)


def test_row_111_tables_are_not_loaded_beside_a_rollback() -> None:
    for status in (QUEUED, RUNNING):
        waits = decide(world(TABLES, status, environment=SERVER, rollback_near=True))
        assert isinstance(waits, Wait)
        assert waits.reason == c.WAITING_FOR_OPERATION
    assert decide(world(TABLES, RUNNING, environment=SERVER)) == StartJob("extract", 1)
    assert decide(world(STORE, RUNNING, rollback_near=True)) == StartJob("extract", 1)


LIVE: Object = {**TABLES, "target": {"database": {}}}


def test_into_the_live_database_it_has_the_operation_lock() -> None:
    assert decide(world(LIVE, QUEUED, environment=SERVER)) == SetLock(held=True)
    started_ = decide(world(LIVE, QUEUED, environment=SERVER, locked=True))
    assert isinstance(started_, Record)
    assert started_.status.phase == "Running"
    assert decide(world(LIVE, RUNNING, environment=SERVER)) == SetLock(held=True)
    # A rollback that waits for this lock does not stop it.
    assert decide(world(LIVE, RUNNING, environment=SERVER, locked=True, rollback_near=True)) == StartJob("extract", 1)
    catalogued = entry(obj("Extract", "one", LIVE, QUEUED))
    assert catalogued.locks
    assert not entry(obj("Extract", "one", TABLES, QUEUED)).locks


def test_a_database_without_environment_ends_it() -> None:
    assert reason(decide(world(LIVE, RUNNING, environment=None, locked=True))) == c.ENVIRONMENT_NOT_FOUND


def test_row_129_the_schema_is_dropped_under_the_lock() -> None:
    """A snapshot between its export and pg_dump's locks would lose the tables."""
    due, job = {**DONE, "removalAttempt": 1}, with_job(REMOVAL, REMOVED, "remove-extract", seconds=1001)
    assert decide(world(LIVE, DONE, seconds=400, environment=SERVER, locked=True)) == SetLock(held=False)
    assert decide(world(LIVE, due, seconds=1001, environment=SERVER)) == SetLock(held=True)
    busy = Waiting(c.WAITING_FOR_OPERATION, "Snapshot s holds the operation lock.", 30.0)
    assert decide(world(LIVE, due, seconds=1001, environment=SERVER, refusal=busy)) == Idle(30.0)
    held = world(LIVE, due, seconds=1001, environment=SERVER, locked=True)
    assert decide(held) == StartJob("remove-extract", 1)
    assert isinstance(decide(replace(held, seen=job)), Record)
    pausing = {**due, "removalAfter": at(1100)}
    assert decide(world(LIVE, pausing, seconds=1001, environment=SERVER, locked=True)) == SetLock(held=False)
    gone = {**due, "residue": "None"}
    assert decide(world(LIVE, gone, seconds=1001, environment=SERVER, locked=True)) == SetLock(held=False)


@pytest.mark.parametrize(
    ("spec", "payload", "said"),
    [
        ("CLAIM", {"folder": True}, "The folder restored is removed."),
        ("CLAIM", {}, "so nothing was removed"),
        ("LIVE", {"schemaDropped": True}, "is dropped."),
        ("LIVE", {}, "so nothing was dropped"),
        ("STORE", {"objects": 1}, "The result is removed."),
        ("STORE", {"kept": {"versions": 2, "until": at(9999)}}, "the store keeps 2 versions of it until"),
        ("STORE", {"kept": {}}, "the store keeps versions of it."),
    ],
)
def test_what_was_removed_is_said(spec: str, payload: Object, said: str) -> None:
    found = ExtractRemoved.model_validate({"kind": "remove-extract", **payload})
    expired = world({"CLAIM": CLAIM, "LIVE": LIVE, "STORE": STORE}[spec], DONE, seconds=1001, environment=SERVER)
    ready = c.find(transitions.removed(expired, found).conditions, c.READY)
    assert ready is not None
    assert said in ready.message


def test_lost_attachments_are_named() -> None:
    message = RESULT.replace('"bytesRead"', '"missing":4,"missingNames":["42-a.pdf"],"bytesRead"')
    action = decide(world(STORE, RUNNING, seen=with_job(JOB, message)))
    assert isinstance(action, Record)
    found = c.find(action.status.conditions, c.COMPLETE)
    assert found is not None
    assert "Of 4 attachments the snapshot has no file: 42-a.pdf." in found.message


def test_the_schema_is_removed_when_no_rollback_renames_databases() -> None:
    expired = {**DONE, "removalAttempt": 1}
    assert decide(world(LIVE, expired, seconds=1001, environment=SERVER, rollback_near=True)) == Idle(10.0)
    gone = decide(world(LIVE, expired, seconds=1001, environment=None))
    assert isinstance(gone, Record)
    assert gone.status.residue == "Unknown"
    assert "The schema restored_" in gone.notes[0].message


def test_the_message_names_the_schema() -> None:
    message = RESULT.replace('"key":"environments/x/extracts/y/files.tar"', '"schema":"restored_11111111","rows":7')
    done = decide(world(LIVE, RUNNING, environment=SERVER, locked=True, seen=with_job(JOB, message)))
    assert isinstance(done, Record)
    found = c.find(done.status.conditions, c.COMPLETE)
    assert found is not None
    assert "with 7 rows are in the schema restored_11111111 of the live database" in found.message


def test_a_listing_of_tables_needs_a_database() -> None:
    listing = {"snapshotRef": {"name": "before"}, "listing": {"tables": True}, "target": {"store": {}}}
    files = changed_snapshot(parts=["Filestore"])
    assert reason(decide(world(listing, QUEUED, seconds=1, snapshot=files))) == c.TABLES_NOT_FOUND
    assert isinstance(decide(world(listing, QUEUED, snapshot=changed_snapshot(parts=["Database"]))), Record)


# --- while it runs ---------------------------------------------------------------------------------------------------


def test_it_creates_its_job_and_waits_for_it() -> None:
    assert decide(world(STORE, RUNNING)) == StartJob("extract", 1)
    waits = decide(world(STORE, RUNNING, seen=with_job(JOB, None)))
    assert isinstance(waits, Wait)
    assert waits.pod == f"{JOB}-x"


def test_a_lost_lock_is_taken_again_before_the_job() -> None:
    claim = {**RUNNING, "claimName": "files"}
    assert decide(world(CLAIM, claim)) == SetLock(held=True)
    assert decide(world(CLAIM, claim, locked=True)) == StartJob("extract", 1)


def test_it_is_complete_with_its_evidence() -> None:
    action = decide(world(STORE, RUNNING, seen=with_job(JOB, RESULT)))
    assert isinstance(action, Record)
    status = action.status
    assert (status.phase, status.result_expires_at) == ("Complete", at(60 + 86400))
    assert status.result is not None
    assert (status.result.files, status.result.bytes_read) == (1, 9)
    assert status.steps[0].state == "Done"


def test_a_result_counts_also_after_the_deadline() -> None:
    action = decide(world(STORE, RUNNING, seconds=9000, seen=with_job(JOB, RESULT, seconds=9000)))
    assert isinstance(action, Record)
    assert action.status.phase == "Complete"


def test_a_passing_failure_is_repeated_and_another_one_is_the_end() -> None:
    action = decide(world(STORE, RUNNING, seen=with_job(JOB, PASSING)))
    assert isinstance(action, Record)
    assert (action.status.attempt, action.status.phase) == (2, "Running")
    assert reason(decide(world(STORE, RUNNING, seen=with_job(JOB, REFUSED)))) == c.FILES_NOT_FOUND


def test_it_fails_at_its_deadline() -> None:
    late = decide(world(STORE, RUNNING, seconds=3601, seen=with_job(JOB, None, seconds=3601)))
    assert reason(late) == c.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, c.ENVIRONMENT_NOT_FOUND),
        (environment({"filestore": {"claimName": "other", "path": "filestore/shop"}}), c.ENVIRONMENT_CHANGED),
        (environment({"filestore": {"claimName": "files", "path": "restored"}}), c.TARGET_REFUSED),
    ],
)
def test_an_environment_that_has_changed_ends_it(found: resources.Environment | None, expected: str) -> None:
    claim = {**RUNNING, "claimName": "files"}
    assert reason(decide(world(CLAIM, claim, environment=found, locked=True))) == expected
    into_store = decide(world(STORE, RUNNING, environment=found))
    assert into_store == StartJob("extract", 1)


def test_a_job_that_cannot_be_created() -> None:
    assert decide(world(STORE, RUNNING, refusal=Stalled("StoreNotFound", "No store."))) == Wait(
        10.0, "StoreNotFound", "No store."
    )
    assert reason(decide(world(STORE, RUNNING, refusal=Failed(c.JOB_REFUSED, "No.")))) == c.JOB_REFUSED


def test_row_101_an_attempt_whose_pod_may_still_start_is_stopped_first() -> None:
    """Two attempts never write the same result."""
    name = job_name("extract", UID, "1")
    late = pod(
        name, {}, phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "no node"}]
    )
    del late["spec"]["nodeName"]
    seen = observation([job(name, "extract")], {name: [late]}, seconds=200)
    assert decide(world(STORE, RUNNING, seconds=200, seen=seen)) == StopJob(name)
    orphan = decide(world(STORE, RUNNING, seconds=200, seen=replace(seen, jobs={})))
    assert orphan == Idle(1.0)
    stopped = observation([job(name, "extract", condition="Failed")], seconds=200)
    action = decide(world(STORE, RUNNING, seconds=200, seen=stopped))
    assert isinstance(action, Record)
    assert action.status.attempt == 2


# --- after the end ---------------------------------------------------------------------------------------------------

DONE: Object = {
    **RUNNING,
    "phase": "Complete",
    "conditions": COMPLETE,
    "resultExpiresAt": at(1000),
    "completedAt": at(50),
}
ENDED: Object = {**RUNNING, "phase": "Failed", "conditions": [FAILED], "completedAt": at(50)}


def test_all_of_the_status_is_written() -> None:
    """`status.expiresAt` of a Snapshot belongs to another field manager: a field of that name was never written, and
    the result was removed at once."""
    ended_ = decide(world(STORE, RUNNING, seen=with_job(JOB, RESULT)))
    assert isinstance(ended_, Record)
    assert applied(ended_.status) == ended_.status.wire()


def test_the_lock_is_released_at_the_end() -> None:
    assert decide(world(CLAIM, {**DONE, "claimName": "files"}, locked=True)) == SetLock(held=False)


def test_the_result_is_removed_when_it_expires() -> None:
    assert decide(world(STORE, DONE, seconds=400)) == Idle(600.0)
    first = decide(world(STORE, DONE, seconds=1000))
    assert isinstance(first, Record)
    assert first.status.removal_attempt == 1
    due = {**DONE, "removalAttempt": 1}
    assert decide(world(STORE, due, seconds=1000)) == StartJob("remove-extract", 1)
    action = decide(world(STORE, due, seconds=1000, seen=with_job(REMOVAL, REMOVED, "remove-extract", seconds=1000)))
    assert isinstance(action, Record)
    assert (action.status.phase, action.status.residue) == ("Expired", "None")
    assert c.is_true(action.status.conditions, c.READY)
    assert c.is_true(action.status.conditions, c.COMPLETE)


def test_what_a_failed_one_left_is_removed_at_once() -> None:
    action = decide(world(STORE, ENDED))
    assert isinstance(action, Record)
    assert action.status.removal_attempt == 1
    due = {**ENDED, "removalAttempt": 1}
    action = decide(world(STORE, due, seen=with_job(REMOVAL, REMOVED, "remove-extract")))
    assert isinstance(action, Record)
    assert (action.status.phase, action.status.residue) == ("Failed", "None")


def test_the_job_is_stopped_before_anything_is_removed() -> None:
    assert decide(world(STORE, ENDED, seen=with_job(JOB, None))) == StopJob(JOB)
    deleted = {"deletionTimestamp": at(55)}
    assert decide(world(STORE, RUNNING, seen=with_job(JOB, None), meta=deleted)) == StopJob(JOB)


def test_a_deletion_removes_the_result_and_then_the_finalizer() -> None:
    deleted = {"deletionTimestamp": at(55)}
    due = {**DONE, "removalAttempt": 1}
    assert decide(world(STORE, due, meta=deleted)) == StartJob("remove-extract", 1)
    assert decide(world(STORE, {**DONE, "residue": "None"}, meta=deleted)) == SetFinalizer(present=False)
    assert decide(world(STORE, QUEUED, meta=deleted)) == SetFinalizer(present=False)
    assert decide(world(STORE, QUEUED, meta={**deleted, "finalizers": []})) == Idle()


def test_a_namespace_that_is_being_deleted_does_not_wait() -> None:
    assert decide(world(STORE, DONE, terminating=True)) == SetFinalizer(present=False)


def test_a_removal_that_fails_is_repeated_with_pauses_and_given_up() -> None:
    number, seconds = 1, 1000.0
    while True:
        name = f"remove-extract-111111112222-{number}"
        status = {**DONE, "removalAttempt": number}
        seen = with_job(name, PASSING, "remove-extract", seconds=seconds)
        action = decide(world(STORE, status, seconds=seconds, seen=seen))
        assert isinstance(action, Record)
        if action.status.residue == "Unknown":
            break
        assert action.status.removal_attempt == number + 1
        waits = decide(world(STORE, {**action.status.wire(), "conditions": COMPLETE}, seconds=seconds))
        assert isinstance(waits, Idle)
        assert waits.seconds is not None
        assert 10 <= waits.seconds <= 300
        number += 1
    assert number == REMOVE_EXTRACT.attempts
    assert f"environments/{UID}/extracts/{UID}/" in action.notes[0].message
    assert action.notes[0].reason == c.REMOVAL_FAILED


def test_another_claim_is_not_touched() -> None:
    other = environment({"filestore": {"claimName": "other", "path": "filestore/shop"}})
    status = {**DONE, "claimName": "files", "removalAttempt": 1}
    action = decide(world(CLAIM, status, seconds=1000, environment=other))
    assert isinstance(action, Record)
    assert action.status.residue == "Unknown"


def test_the_job_is_asked_for_attachments() -> None:
    spec = {**STORE, "attachments": {"model": "res.partner", "recordId": 7, "name": "a.pdf"}}
    del spec["files"]
    made = JobBuilder(SETTINGS, job_inputs(), 1).extract(extract(spec, RUNNING), deadline=600)
    asked = request_of(made)
    assert (asked["model"], asked["record"], asked["name"]) == ("res.partner", 7, "a.pdf")
    assert "paths" not in asked


# --- the catalog -----------------------------------------------------------------------------------------------------


def test_what_the_catalog_knows() -> None:
    made = entry(obj("Extract", "one", CLAIM, RUNNING))
    assert (made.snapshot, made.environment, made.locks, made.began) == ("before", "shop", True, True)
    assert not entry(obj("Extract", "one", STORE, RUNNING)).locks


@pytest.mark.parametrize(
    ("status", "meta", "expected"),
    [
        (RUNNING, {}, False),
        (DONE, {}, False),
        ({**DONE, "residue": "None"}, {}, True),
        ({**DONE, "residue": "None"}, {"deletionTimestamp": at(1), "finalizers": [FINALIZER_EXTRACT]}, False),
    ],
)
def test_when_it_needs_no_reconcile(status: Object, meta: Object, *, expected: bool) -> None:
    assert idle(obj("Extract", "one", STORE, status, **meta)) is expected
