"""What is decided for a Snapshot that is terminal or is being deleted: leftovers, reading back, its data."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import DeleteResult, Failure, KeptVersions, VerifyResult
from ocore_operator.errors import Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.plan_after_end import STOP_WITHIN
from ocore_operator.snapshot.world import Action, Cascade, GiveUp, LetGo, StartDelete, StartVerify, World
from support.operator.objects import SETTINGS, at, on_a_lost_node, snapshot, started
from support.operator.terminal_snapshot import FAILURE, RUNNING, condition, job_named, said, terminal, world

TIMEOUT = SETTINGS.cleanup_timeout
REMOVED = DeleteResult(objects=3)


# --- leftovers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "deletes"), [("Failed", Deletes.ALL), ("Complete", Deletes.LEFTOVERS)])
def test_leftovers_are_deleted_by_a_job(how: str, deletes: Deletes) -> None:
    snap = terminal(how)
    snap = snap.with_status(snap.status.model_copy(update={"residue": "Pending"}))
    assert decide(world(snap)) == StartDelete(1, deletes)
    running = decide(world(snap, {job_named("delete", 1, deletes): RUNNING}))
    assert running == Idle(10.0)
    done = decide(world(snap, {job_named("delete", 1, deletes): said(REMOVED)}))
    assert isinstance(done, Record)
    assert done.status.residue == "None"
    again = decide(world(snap, {job_named("delete", 1, deletes): said(FAILURE)}, seconds=101))
    assert again == StartDelete(2, deletes)


def test_the_attempts_job_is_stopped_before_its_leftovers_are_deleted() -> None:
    snap = terminal("Failed", residue="Pending", jobName=job_named("snapshot", 1))
    assert decide(world(snap, {job_named("snapshot", 1): RUNNING})) == StopJob(job_named("snapshot", 1))
    assert isinstance(decide(world(snap, {job_named("snapshot", 1): said(FAILURE)})), StartDelete)


def test_the_leftovers_of_an_adopted_snapshot_have_their_time_from_the_adoption() -> None:
    """Its completedAt is that of the old cluster."""
    known = snapshot(status={"conditions": [condition("Complete", since=1000)]}).status.conditions
    snap = terminal("Complete", residue="Pending")
    adopted = snap.with_status(snap.status.model_copy(update={"conditions": known}))
    refusal = Stalled(c.STORE_NOT_FOUND, "There is no SnapshotStore store.")
    assert isinstance(decide(world(adopted, seconds=1000 + TIMEOUT - 1, refusal=refusal)), Idle)
    assert isinstance(decide(world(adopted, seconds=1000 + TIMEOUT, refusal=refusal)), Record)


def test_leftovers_that_cannot_be_deleted_are_named() -> None:
    snap = terminal("Failed", residue="Pending")
    refusal = Stalled(c.STORE_NOT_FOUND, "There is no SnapshotStore store.")
    early = decide(world(snap, seconds=61, refusal=refusal))
    assert isinstance(early, Idle)
    late = decide(world(snap, seconds=60 + TIMEOUT, refusal=refusal))
    assert isinstance(late, Record)
    assert late.status.residue == "Unknown"
    (note,) = late.notes
    assert (note.type, note.reason) == ("Warning", "ResidueLeft")
    assert "There is no SnapshotStore store." in note.message


# --- reading back ----------------------------------------------------------------------------------------------


def test_a_complete_snapshot_is_read_back_when_asked() -> None:
    snap = terminal("Complete", condition("Verified", status="Unknown"), spec={"verify": "Full"})
    assert decide(world(snap)) == StartVerify(1)
    running = decide(world(snap, {job_named("verify", 1): RUNNING}))
    assert isinstance(running, Idle)
    assert running.status is not None
    read = decide(world(snap, {job_named("verify", 1): said(VerifyResult(objects=2, bytes_read=9))}))
    assert isinstance(read, Record)
    assert c.is_true(read.status.conditions, c.VERIFIED)
    for reason in (c.CORRUPT, c.SNAPSHOT_NOT_FOUND):
        bad = decide(world(snap, {job_named("verify", 1): said(Failure(reason=reason, message="differs"))}))
        assert isinstance(bad, Record)
        found = c.find(bad.status.conditions, c.VERIFIED)
        assert found is not None
        assert (found.status, found.message) == ("False", "differs.")
        assert c.is_true(bad.status.conditions, c.STALLED)


def test_a_store_that_does_not_answer_says_nothing_against_the_snapshot() -> None:
    snap = terminal("Complete", condition("Verified", status="Unknown"), spec={"verify": "Full"})
    waits = decide(world(snap, {job_named("verify", 1): said(FAILURE)}, seconds=61))
    assert isinstance(waits, Idle)
    assert waits.status is not None
    assert not c.is_true(waits.status.conditions, c.STALLED)
    assert decide(world(snap, {job_named("verify", 1): said(FAILURE)}, seconds=63)) == StartVerify(2)
    rare = {job_named("verify", n): said(FAILURE) for n in (1, 2, 3)}
    assert isinstance(decide(world(snap, rare, seconds=200)), Idle)
    assert decide(world(snap, rare, seconds=61 + SETTINGS.probe_interval)) == StartVerify(4)


def test_nothing_remains() -> None:
    idle = decide(world(terminal("Complete")))
    assert isinstance(idle, Idle)
    assert idle.seconds is None


def test_a_full_one_whose_differentials_are_only_in_the_store_keeps_its_data() -> None:
    """They were deleted with deletionPolicy Retain, or belong to another cluster. Nothing that a stored manifest needs
    is deleted."""
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    refused = Failure(reason=c.HAS_DEPENDENTS, message="2 differentials in s3://b need it")
    decision = decide(world(snap, {job_named("delete", 1): said(refused)}))
    assert isinstance(decision, LetGo)
    assert decision.note is not None
    assert (decision.note.type, decision.note.reason) == ("Warning", "DataRetained")
    assert "2 differentials in s3://b need it" in decision.note.message
    assert "is kept for them" in decision.note.message


# --- deletion --------------------------------------------------------------------------------------------------


def test_data_is_kept_or_deleted_as_its_policy_says() -> None:
    kept = decide(world(terminal("Complete", deleted=True, spec={"deletionPolicy": "Retain"})))
    assert isinstance(kept, LetGo)
    assert kept.note is not None
    assert (kept.note.type, kept.note.reason) == ("Normal", "DataRetained")
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    assert decide(world(snap)) == StartDelete(1)
    assert decide(world(snap, {job_named("delete", 1): said(REMOVED)})) == LetGo()
    assert decide(world(terminal("Failed", residue="None", deleted=True))) == LetGo()


@pytest.mark.parametrize("cascade", [Cascade.NAMESPACE, Cascade.CRD])
def test_row_08_a_cascade_keeps_the_data_and_waits_for_nothing(cascade: Cascade) -> None:
    pinned: Object = {"deletionPolicy": "Delete", "pin": {"label": "audit"}}
    decision = decide(world(terminal("Complete", deleted=True, spec=pinned), cascade=cascade, used_by="back"))
    assert isinstance(decision, LetGo)
    assert decision.note is not None
    assert cascade.value in decision.note.message
    assert decision.note.type == "Normal"
    assert decide(world(terminal("Failed", residue="None", deleted=True), cascade=cascade)) == LetGo(cascade=True)


def test_a_pin_and_a_rollback_stop_the_deletion() -> None:
    pinned = terminal("Complete", deleted=True, spec={"pin": {"label": "audit"}, "deletionPolicy": "Delete"})
    decision = decide(world(pinned))
    assert isinstance(decision, Idle)
    assert decision.seconds is None
    assert decision.status is not None
    found = c.find(decision.status.conditions, c.STALLED)
    assert found is not None
    assert found.reason == c.PINNED
    used = decide(world(terminal("Complete", deleted=True, spec={"deletionPolicy": "Retain"}), used_by="back"))
    assert isinstance(used, Idle)
    assert used.status is not None
    found = c.find(used.status.conditions, c.STALLED)
    assert found is not None
    assert found.reason == c.IN_USE
    assert "back" in found.message


def test_data_that_cannot_be_deleted_is_left_with_a_warning() -> None:
    """The message of the store is free text: whatever it says, this is a Warning, and a kept backup is none."""
    spec: Object = {"deletionPolicy": "Delete"}
    refusal = Waiting(c.JOB_REFUSED, "exceeded quota; the deletion is fine otherwise", 10)
    since = condition("Reconciling", c.DELETING, since=100)
    snap = terminal("Complete", since, deleted=True, spec=spec)
    early = decide(world(snap, seconds=100 + TIMEOUT, refusal=refusal))
    assert isinstance(early, Idle)
    assert early.seconds == 10
    assert early.status is not None
    ready = c.find(early.status.conditions, c.READY)
    assert ready is not None
    assert ready.status == "False"  # it must not be restored any more
    late = decide(world(snap, seconds=101 + TIMEOUT, refusal=refusal))
    assert isinstance(late, LetGo)
    assert late.note is not None
    assert (late.note.type, late.note.reason) == ("Warning", "DataLeft")
    kept = terminal("Complete", deleted=True, spec={"deletionPolicy": "Retain"}, storeName="could-not-be-worse")
    decision = decide(world(kept))
    assert isinstance(decision, LetGo)
    assert decision.note is not None
    assert decision.note.type == "Normal"


def test_the_time_of_a_pin_does_not_count_as_trying() -> None:
    """Only the reasons of the removal itself start its clock."""
    waited = condition("Reconciling", c.WAITING_FOR_OPERATION, since=0)
    snap = terminal("Complete", waited, deleted=True, spec={"deletionPolicy": "Delete"})
    decision = decide(world(snap, seconds=10 * TIMEOUT, refusal=Stalled(c.STORE_NOT_FOUND, "none")))
    assert isinstance(decision, Idle)
    assert decision.seconds == 30.0


# --- versioning and Object Lock --------------------------------------------------------------------------------------


def kept_of(**fields: Any) -> DeleteResult:
    return DeleteResult(objects=3, kept=KeptVersions(**fields))


def following(snap: Snapshot, decision: Action) -> Snapshot:
    """The Snapshot after the status of a decision was written."""
    assert isinstance(decision, Record | Idle)
    assert decision.status is not None
    return snap.with_status(decision.status)


def reason_of(snap: Snapshot, type_: str) -> tuple[str, str]:
    found = c.find(snap.status.conditions, type_)
    assert found is not None
    return found.status, found.reason


def test_data_that_a_retention_keeps_is_reported_and_deleted_when_it_ends() -> None:
    deleting = condition("Reconciling", c.DELETING, since=100)
    snap = terminal("Complete", deleting, deleted=True, spec={"deletionPolicy": "Delete"})
    done = {job_named("delete", 1): said(kept_of(versions=2, bytes=2048, until=at(5000)))}
    snap = following(snap, decide(world(snap, done)))
    kept = snap.status.kept_in_store
    assert kept is not None
    assert (kept.versions, kept.bytes, kept.until, kept.legal_hold) == (2, 2048, at(5000), False)
    waits = decide(world(snap, done))
    assert isinstance(waits, Idle)
    assert waits.seconds == pytest.approx(5000 + 5 - 101)
    snap = following(snap, waits)
    assert reason_of(snap, c.STALLED) == ("True", c.RETAINED_BY_STORE)
    assert reason_of(snap, c.READY) == ("False", c.RETAINED_BY_STORE)
    assert c.find(snap.status.conditions, c.RECONCILING) is None
    stalled = c.find(snap.status.conditions, c.STALLED)
    assert stalled is not None
    assert "2 versions (2.0 KiB)" in stalled.message
    assert f"retention until {at(5000)}" in stalled.message
    # Long after the Job and its result are gone, and longer than any deletion may take: it still waits, and starts no
    # Job.
    late = decide(world(snap, {}, seconds=5004))
    assert isinstance(late, Idle)
    assert late.seconds == pytest.approx(1)
    assert decide(world(snap, {}, seconds=5006)) == StartDelete(1)
    assert decide(world(snap, done, seconds=5006)) == StartDelete(2), "the first Job still exists"
    runs = decide(world(snap, {job_named("delete", 1): RUNNING}, seconds=5006 + 10 * TIMEOUT))
    assert isinstance(runs, Idle), "the time of the retention does not count as trying"
    assert decide(world(snap, {job_named("delete", 1): said(REMOVED)}, seconds=5006)) == LetGo()


def test_a_store_whose_clock_is_late_is_not_asked_all_the_time() -> None:
    """The retention has ended by our clock, and the store still refuses."""
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    done = {job_named("delete", 1): said(kept_of(versions=1, until=at(90)))}
    snap = following(snap, decide(world(snap, done)))
    for found in ({}, done):
        waits = decide(world(snap, found, seconds=101))
        assert isinstance(waits, Idle)
        assert waits.seconds is not None
        assert waits.seconds > 15


def test_a_retention_that_was_extended_is_waited_for_again() -> None:
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    snap = following(snap, decide(world(snap, {job_named("delete", 1): said(kept_of(versions=1, until=at(200)))})))
    again = {job_named("delete", 1): said(kept_of(versions=1, until=at(9000)))}
    snap = following(snap, decide(world(snap, again, seconds=300)))
    waits = decide(world(snap, {}, seconds=300))
    assert isinstance(waits, Idle)
    assert waits.seconds == pytest.approx(9005 - 300)


def test_a_legal_hold_is_looked_at_every_hour() -> None:
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    snap = following(snap, decide(world(snap, {job_named("delete", 1): said(kept_of(versions=1, legal_hold=True))})))
    waits = decide(world(snap, {}, seconds=1000))
    assert isinstance(waits, Idle)
    assert waits.status is not None
    stalled = c.find(waits.status.conditions, c.STALLED)
    assert stalled is not None
    assert "legal hold" in stalled.message
    assert decide(world(snap, {}, seconds=101 + 3600)) == StartDelete(1)


def test_a_retention_of_years_needs_no_timer_of_years() -> None:
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    snap = following(snap, decide(world(snap, {job_named("delete", 1): said(kept_of(versions=1, until=at(10**8)))})))
    waits = decide(world(snap, {}, seconds=1000))
    assert isinstance(waits, Idle)
    assert waits.seconds == 86400


def test_the_object_may_go_before_its_data() -> None:
    """A person sets Retain: the Event says until when the data is kept. A cascade does not wait either."""
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    snap = following(snap, decide(world(snap, {job_named("delete", 1): said(kept_of(versions=1, until=at(5000)))})))
    gone = decide(world(snap, {}, cascade=Cascade.NAMESPACE))
    assert isinstance(gone, LetGo)
    freed = replace(snap, spec=snap.spec.model_copy(update={"deletion_policy": "Retain"}))
    gone = decide(world(freed, {}))
    assert isinstance(gone, LetGo)
    assert gone.note is not None
    assert (gone.note.type, gone.note.reason) == ("Normal", "DataRetained")
    failed = replace(freed, status=freed.status.model_copy(update={"conditions": terminal("Failed").status.conditions}))
    gone = decide(world(failed, {}))
    assert isinstance(gone, LetGo)
    assert gone.note is not None
    assert at(5000) in gone.note.message


def test_versions_that_the_credentials_may_not_delete_are_left_with_a_warning() -> None:
    deleting = condition("Reconciling", c.DELETING, since=100)
    snap = terminal("Complete", deleting, deleted=True, spec={"deletionPolicy": "Delete"})
    done = {job_named("delete", 1): said(kept_of(versions=3, bytes=10))}
    early = decide(world(snap, done, seconds=70))
    assert isinstance(early, Idle)
    assert early.status is not None
    assert early.status.kept_in_store is None
    reconciling = c.find(early.status.conditions, c.RECONCILING)
    assert reconciling is not None
    assert "3 versions (10 B) of the deleted objects remain" in reconciling.message
    assert decide(world(snap, done, seconds=200)) == StartDelete(2), "the rights may be granted by now"
    ended_late = said(kept_of())
    late = world(snap, {job_named("delete", 1): ended_late}, seconds=101 + TIMEOUT)
    pods = late.seen.pods[job_named("delete", 1)]
    pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = at(100 + TIMEOUT)
    left = decide(late)
    assert isinstance(left, LetGo)
    assert left.note is not None
    assert (left.note.type, left.note.reason) == ("Warning", "DataLeft")
    assert "The bucket has versioning, and older versions of the deleted objects remain" in left.note.message


def test_leftovers_that_a_retention_keeps_are_named_in_bounded_time() -> None:
    snap = terminal("Failed", residue="Pending")
    done = {job_named("delete", 1): said(kept_of(versions=1, until=at(10**7)))}
    early = decide(world(snap, done, seconds=100))
    assert isinstance(early, Idle)
    assert early.seconds == pytest.approx(TIMEOUT - 100)
    late = decide(world(snap, done, seconds=TIMEOUT))
    assert isinstance(late, Record)
    assert late.status.residue == "Unknown"
    assert at(10**7) in late.notes[0].message


def test_a_running_snapshot_is_cancelled_first() -> None:
    running = snapshot(
        {}, started(jobName=job_named("snapshot", 1)), finalizers=["ocore.dev/data"], deletionTimestamp=at(100)
    )
    live = {job_named("snapshot", 1): RUNNING}
    assert decide(world(running, live)) == StopJob(job_named("snapshot", 1))
    stopping = world(running, live)
    stopping.seen.jobs[job_named("snapshot", 1)]["metadata"]["deletionTimestamp"] = at(101)
    assert decide(stopping) == Idle(1.0)
    late = decide(world(running, live, seconds=100 + STOP_WITHIN))
    assert isinstance(late, GiveUp)
    assert (late.failure.reason, late.stored) == (c.CANCELLED, True)
    waiting = snapshot({}, {"phase": "Pending"}, finalizers=["ocore.dev/data"], deletionTimestamp=at(100))
    gone = decide(world(waiting))
    assert isinstance(gone, GiveUp)
    assert not gone.stored


def test_without_the_finalizer_there_is_nothing_to_do() -> None:
    snap = terminal("Complete", deleted=True, spec={"deletionPolicy": "Delete"})
    assert decide(world(replace(snap, meta=replace(snap.meta, finalizers=())))) == Idle()


# --- a node that is lost -----------------------------------------------------------------------------------------


def off(found: World) -> World:
    return replace(found, seen=on_a_lost_node(found.seen))


def test_row_102_a_check_on_a_node_that_does_not_respond_says_what_to_do() -> None:
    snap = terminal("Complete", condition("Verified", status="Unknown"), spec={"verify": "Full"})
    waits = decide(off(world(snap, {job_named("verify", 1): RUNNING})))
    assert isinstance(waits, Idle)
    assert waits.status is not None
    found = c.find(waits.status.conditions, c.VERIFIED)
    assert found is not None
    assert (found.status, found.reason) == ("Unknown", c.NODE_NOT_RESPONDING)
    assert "kubectl delete node node1" in found.message


def test_row_102_a_deletion_on_a_node_that_does_not_respond_says_what_to_do() -> None:
    """And is given up as late as any other one."""
    snap = terminal("Failed", spec={"deletionPolicy": "Delete"}, residue="Pending", deleted=True)
    jobs = {job_named("delete", 1): RUNNING}
    waits = decide(off(world(snap, jobs)))
    assert isinstance(waits, Idle)
    assert waits.status is not None
    found = c.find(waits.status.conditions, c.RECONCILING)
    assert found is not None
    assert found.reason == c.NODE_NOT_RESPONDING
    assert "kubectl delete node node1" in found.message
    late = decide(off(world(snap.with_status(waits.status), jobs, seconds=102 + TIMEOUT)))
    assert isinstance(late, LetGo)
