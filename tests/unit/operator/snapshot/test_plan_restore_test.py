"""Test restores of a terminal Snapshot: once for each request, never beside a Rollback, and what each end means."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import Failure, Finding, Payload, RestoreTestResult, VerifyResult
from ocore_crds.resources.restore_test import run_of
from ocore_operator import damage, sources
from ocore_operator.errors import Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import restore_tests
from ocore_operator.snapshot.entry import idle
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.plan_restore_test import MAX_TURNS, refused
from ocore_operator.snapshot.world import Cascade, RestoreTest, StartRestoreTest, World
from support.operator.objects import (
    SETTINGS,
    UID,
    at,
    job,
    moment,
    observation,
    on_a_lost_node,
    pod,
    snapshot_object,
    started,
)
from support.operator.terminal_snapshot import RUNNING, condition, job_named, said, terminal

RUN = "0badcafe"
GOOD = RestoreTestResult(
    manifest_sha256="a" * 64,
    server="db:5432",
    server_version="17.2",
    duration_seconds=12.0,
    download_seconds=1,
    load_seconds=5,
    check_seconds=2,
    files_seconds=3,
    tables=4,
    rows=99,
    indexes=7,
    constraints=3,
    attachments=2,
    files=2,
    file_bytes=10,
    bytes=1000,
)
LOST = Failure(reason=c.DATABASE_UNREACHABLE, message="the server does not answer", retryable=True)
RIGHTS = Failure(reason=c.MISSING_GRANTS, message="ALTER ROLE app CREATEDB")


def name(number: int, run: str = RUN) -> str:
    return job_named("test-restore", number, f"{run}-")


def asked(*conditions: Object, **status: Any) -> Snapshot:
    return terminal(
        "Complete", *conditions, restoreTestRequest={"run": RUN, "slot": at(0)}, manifestSha256="a" * 64, **status
    )


def world(
    snap: Snapshot, jobs: dict[str, Object] | None = None, *, rollback: bool = False, seconds: float = 200, **more: Any
) -> World:
    """`jobs`: Job name → state of its container."""
    found, pods = [], {}
    for each, state in (jobs or {}).items():
        over = "terminated" in state
        found.append(job(each, "test-restore", condition="Failed" if over else ""))
        pods[each] = [pod(each, state, phase="Failed" if over else "Running")]
    test = RestoreTest(RUN, rollback)
    return World(
        snap, moment(seconds), SETTINGS, observation(found, pods, seconds=seconds), **{"restore_test": test, **more}
    )


def recorded(snap: Snapshot, ended: Payload | Failure, number: int = 1, **more: Any) -> Snapshot:
    action = decide(world(snap, {name(number): said(ended)}, **more))
    assert isinstance(action, Record)
    return snap.with_status(action.status)


def verdict_of(snap: Snapshot) -> tuple[str, str]:
    found = c.find(snap.status.conditions, c.RESTORE_TESTED)
    assert found is not None
    return found.status, found.reason


def test_a_request_starts_one_job_that_is_named_by_it() -> None:
    snap = asked()
    assert decide(world(snap)) == StartRestoreTest(RUN, 1)
    running = decide(world(snap, {name(1): RUNNING}))
    assert isinstance(running, Idle)
    assert running.status is not None
    assert verdict_of(snap.with_status(running.status)) == ("Unknown", c.TESTING)
    assert decide(world(snap, restore_test=None)) == Idle(
        None, snap.status.model_copy(update={"observed_generation": 1})
    )


def test_a_good_result() -> None:
    snap = recorded(asked(), GOOD)
    assert verdict_of(snap) == ("True", c.SUCCEEDED)
    test = snap.status.restore_test
    assert test is not None
    assert (test.answered, test.manifest_sha256, test.rows, test.bytes) == ((RUN,), "a" * 64, 99, 1000)
    assert test.predicted_rollback_seconds == 14.0  # the database is slower than the files
    assert snap.status.phase == "Complete"


@pytest.mark.parametrize(
    ("reason", "phase"),
    [
        (c.CORRUPT, "Corrupt"),
        (c.SNAPSHOT_NOT_FOUND, "Corrupt"),
        (c.VERIFICATION_FAILED, "Complete"),
        (c.RESTORE_FAILED, "Complete"),
        (c.ASSERTION_FAILED, "Complete"),
    ],
)
def test_only_wrong_bytes_make_a_snapshot_corrupt(reason: str, phase: str) -> None:
    findings = (Finding(reason=c.ASSERTION_FAILED, message="a row"), Finding(reason=reason, message="why"))
    snap = recorded(asked(), GOOD.model_copy(update={"findings": findings}))
    assert verdict_of(snap)[0] == "False"
    assert snap.status.phase == phase
    assert (verdict_of(snap)[1] == reason) == (phase == "Corrupt" or reason == c.ASSERTION_FAILED)
    test = snap.status.restore_test
    assert test is not None
    assert test.predicted_rollback_seconds is None
    verified = c.find(snap.status.conditions, c.VERIFIED)
    assert (verified is not None and verified.status == "False") == (phase == "Corrupt")


@pytest.mark.parametrize("finding", [True, False])
def test_row_91_damage_of_the_copy_that_a_test_has_read(*, finding: bool) -> None:
    """Its own data was known to be damaged: nothing whole is left. And it is not said to be restorable from the
    copy."""
    copy = {"state": "Completed", "storeName": "far", "storeId": "far", "requestedAt": at(1), "attempts": 1}
    snap = asked(condition(c.VERIFIED, c.CORRUPT, "False"), remote=copy)
    wrong = GOOD.model_copy(update={"findings": (Finding(reason=c.CORRUPT, message="pack-0 differs."),)})
    snap = recorded(snap, wrong if finding else Failure(reason=c.CORRUPT, message="pack-0 differs."))
    assert snap.status.phase == "Corrupt"
    assert not c.is_true(snap.status.conditions, c.READY)
    assert snap.status.remote is not None
    assert snap.status.remote.state == "Pending"


def test_failures_of_the_server_are_no_verdict_on_the_bytes() -> None:
    snap = recorded(asked(), RIGHTS)
    assert verdict_of(snap) == ("False", c.MISSING_GRANTS)
    assert (snap.status.phase, c.is_true(snap.status.conditions, c.READY)) == ("Complete", False)
    assert c.find(snap.status.conditions, c.STALLED) is None


def test_row_61_a_test_waits_for_its_turn_on_the_server() -> None:
    """Another test restore runs there. Its turn is no failed attempt, and the wait has an end."""
    busy = Failure(reason=c.WAITING_FOR_OPERATION, message="another test restore runs", retryable=True)
    snap = asked()
    waits = decide(world(snap, {name(7): said(busy)}, seconds=200))
    assert isinstance(waits, Idle)
    assert waits.status is not None
    assert verdict_of(snap.with_status(waits.status)) == ("Unknown", c.WAITING_FOR_OPERATION)
    assert decide(world(snap, {name(7): said(busy)}, seconds=10_000)) == StartRestoreTest(RUN, 8)
    assert isinstance(decide(world(snap, {name(MAX_TURNS): said(busy)}, seconds=10_000)), Record)


def test_what_may_pass_is_tried_again_a_few_times() -> None:
    snap = asked()
    assert isinstance(decide(world(snap, {name(1): said(LOST)}, seconds=60)), Idle)
    assert decide(world(snap, {name(1): said(LOST)}, seconds=300)) == StartRestoreTest(RUN, 2)
    assert decide(world(snap, {name(2): said(LOST)}, seconds=300)) == StartRestoreTest(RUN, 3)
    assert verdict_of(recorded(snap, LOST, 3)) == ("False", c.DATABASE_UNREACHABLE)


def test_a_rollback_stops_it_and_it_begins_again_after_that() -> None:
    snap = asked()
    assert decide(world(snap, {name(1): RUNNING}, rollback=True)) == StopJob(name(1))
    assert decide(world(snap, {name(2): said(LOST)}, rollback=True)) == StopJob(name(2))
    waiting = decide(world(snap, rollback=True))
    assert isinstance(waiting, Idle)
    assert waiting.status is not None
    assert verdict_of(snap.with_status(waiting.status)) == ("Unknown", c.WAITING_FOR_OPERATION)
    assert decide(world(snap)) == StartRestoreTest(RUN, 1)
    assert verdict_of(recorded(snap, GOOD, rollback=True)) == ("True", c.SUCCEEDED)  # it had ended before


def test_a_job_that_is_being_removed_is_waited_for() -> None:
    snap, stopping = asked(), name(1)
    there = world(snap, {stopping: said(LOST)})
    gone = job(stopping, "test-restore")
    gone["metadata"]["deletionTimestamp"] = at(150)
    seen = replace(there.seen, jobs={stopping: gone})
    waiting = decide(replace(there, seen=seen))
    assert isinstance(waiting, Idle)
    assert waiting.seconds == 1.0


def test_the_verdict_of_an_earlier_test_stays_while_another_one_runs() -> None:
    snap = asked(condition(c.RESTORE_TESTED, c.SUCCEEDED))
    running = decide(world(snap, {name(1): RUNNING}))
    assert isinstance(running, Idle)
    assert running.status == snap.status


def test_what_prevents_the_start() -> None:
    snap = asked()
    wanted = world(snap)
    waits = decide(refused(wanted, decide(wanted), Waiting(c.WAITING_FOR_JOB_SLOT, "10 Jobs run", 5.0)))
    assert isinstance(waits, Idle)
    assert waits.seconds == 5.0
    ends = decide(refused(wanted, decide(wanted), Stalled(c.ENVIRONMENT_NOT_FOUND, "gone")))
    assert isinstance(ends, Record)
    assert verdict_of(snap.with_status(ends.status)) == ("False", c.ENVIRONMENT_NOT_FOUND)
    assert ends.status.restore_test is not None
    assert ends.status.restore_test.answered == (RUN,)


def test_it_comes_after_everything_else() -> None:
    snap = asked(residue="Pending")
    assert not isinstance(decide(world(snap)), StartRestoreTest)
    refused_otherwise = decide(world(asked(), refusal=Stalled(c.STORE_NOT_FOUND, "for another action")))
    assert not isinstance(refused_otherwise, StartRestoreTest)


def test_it_waits_while_another_job_of_the_snapshot_runs() -> None:
    snap = asked()
    snap = replace(snap, spec=snap.spec.model_copy(update={"verify": "Full"}))
    verifying = replace(world(snap), seen=observation([job(job_named("verify", 1), "verify")], {}, seconds=150))
    waiting = decide(verifying)
    assert isinstance(waiting, Idle)
    assert waiting.status is not None
    assert c.find(waiting.status.conditions, c.VERIFIED) is not None
    ended = job(job_named("verify", 1), "verify", condition="Complete")
    over = replace(world(asked()), seen=observation([ended], {}, seconds=200))
    assert decide(over) == StartRestoreTest(RUN, 1)


def test_what_the_others_report_goes_with_it() -> None:
    """The remote store may be away for days: that delays no test, and both are in the status."""
    snap = asked()
    snap = replace(snap, spec=snap.spec.model_copy(update={"verify": "Full"}))
    failed = {job_named("verify", 3): said(Failure(reason=c.STORE_UNREACHABLE, message="away", retryable=True))}
    found, pods = [job(job_named("verify", 3), "verify", condition="Failed")], {}
    pods[job_named("verify", 3)] = [pod(job_named("verify", 3), failed[job_named("verify", 3)], phase="Failed")]
    found.append(job(name(1), "test-restore"))
    pods[name(1)] = [pod(name(1), RUNNING, phase="Running")]
    both = decide(replace(world(snap), seen=observation(found, pods, seconds=200)))
    assert isinstance(both, Idle)
    assert both.status is not None
    assert verdict_of(snap.with_status(both.status)) == ("Unknown", c.TESTING)
    verified = c.find(both.status.conditions, c.VERIFIED)
    assert verified is not None
    assert verified.reason == c.STORE_UNREACHABLE


def test_a_deletion_stops_it_first() -> None:
    snap = terminal(
        "Complete", deleted=True, spec={"deletionPolicy": "Delete"}, restoreTestRequest={"run": RUN, "slot": at(0)}
    )
    busy = world(snap, {name(1): RUNNING}, restore_test=None)
    assert decide(busy) == StopJob(name(1))
    assert decide(replace(busy, cascade=Cascade.NAMESPACE)) != StopJob(name(1))
    over = world(snap, {name(1): said(GOOD)}, restore_test=None)
    assert not isinstance(decide(over), StopJob)


def test_the_answer_of_another_program_is_an_internal_error() -> None:
    assert verdict_of(recorded(asked(), VerifyResult(objects=1, bytes_read=1))) == ("False", c.INTERNAL_ERROR)


def raw(annotation: str = "", **status: Any) -> Object:
    full = started(
        phase="Complete", completedAt=at(60), observedGeneration=1, conditions=[condition("Complete")], **status
    )
    notes = {naming.ANNOTATION_RESTORE_TEST_REQUESTED: annotation} if annotation else {}
    return snapshot_object({}, full, annotations=notes)


def test_a_request_is_open_until_it_is_answered() -> None:
    request = {"run": RUN, "slot": at(0)}
    by_hand = run_of("annotation", "now")
    answered = lambda *runs: {"answered": list(runs), "testedAt": at(0)}  # noqa: E731
    assert idle(raw())
    assert not idle(raw(restoreTestRequest=request))
    assert idle(raw(restoreTestRequest=request, restoreTest=answered(RUN)))
    assert not idle(raw("now", restoreTestRequest=request, restoreTest=answered(RUN)))
    assert idle(raw("now", restoreTestRequest=request, restoreTest=answered(RUN, by_hand)))
    assert idle(raw("now", restoreTest=answered(by_hand)))
    corrupt = raw("now")
    corrupt["status"]["phase"] = "Corrupt"
    assert idle(corrupt)


def test_the_answers_to_both_requests_are_remembered() -> None:
    snap = asked(restoreTest={"answered": ["older", "slot"], "testedAt": at(0)})
    status = restore_tests.tested(snap, RUN, GOOD, at(10), moment(10))
    assert status.restore_test is not None
    assert status.restore_test.answered == ("older", "slot", RUN)


def test_the_job_s_name_fits() -> None:
    assert len(job_named("test-restore", 99, f"{RUN}-")) <= 63
    assert name(1).startswith(f"test-restore-{UID.replace('-', '')[:12]}")


def test_row_90_the_status_has_what_was_checked_and_what_was_not() -> None:
    result = GOOD.model_copy(update={"checked": ("files: 2",), "not_checked": ("whether it starts",)})
    test = restore_tests.tested(asked(), RUN, result, at(10), moment(10)).restore_test
    assert test is not None
    assert (test.checked, test.not_checked) == (("files: 2",), ("whether it starts",))


def test_row_102_a_test_restore_on_a_node_that_does_not_respond_says_what_to_do() -> None:
    found = world(asked(), {name(1): RUNNING})
    waits = decide(replace(found, seen=on_a_lost_node(found.seen)))
    assert isinstance(waits, Idle)
    assert waits.status is not None
    shown = c.find(waits.status.conditions, c.RESTORE_TESTED)
    assert shown is not None
    assert shown.reason == c.NODE_NOT_RESPONDING
    assert "kubectl delete node node1" in shown.message


def test_row_121_a_test_that_reads_whole_data_revises_the_verdict() -> None:
    """The objects were brought back, from the bucket's versions or another store."""
    snap = asked()
    snap = snap.with_status(damage.corrupt(snap, "a differs.", moment(5)))
    assert isinstance(decide(world(snap)), StartRestoreTest)
    status = restore_tests.tested(snap, RUN, GOOD, at(10), moment(10))
    assert (status.phase, sources.is_damaged(snap.with_status(status))) == ("Complete", False)
    ready = c.find(status.conditions, c.READY)
    assert ready is not None
    assert ready.status == "True"
    assert c.find(status.conditions, c.STALLED) is None
