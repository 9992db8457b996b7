"""The copy of a Complete Snapshot in a remote store: attempts for days, crashes at each point, what retention lets go
of."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import CopyChecked, CopyResult, DeleteResult, Failure, SnapshotResult, VerifyResult
from ocore_crds.resources.remote_copy import CopyPlace, RemoteCopy, releases, state_of, work_remains
from ocore_operator import clock, damage, remote_status, sources
from ocore_operator.errors import Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.jobs.observing.snapshot_jobs import Deletes, copying, deletion
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import transitions
from ocore_operator.snapshot.entry import idle
from ocore_operator.snapshot.observe_remote import blocked
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.plan_remote import (
    CHECK_PAUSE,
    CHECK_RETRY,
    DELETE_PAUSE,
    REPLACED_WITHIN,
    USED_PAUSE,
)
from ocore_operator.snapshot.world import (
    Action,
    LetGo,
    RemoteView,
    StartCheckCopy,
    StartCopy,
    StartDelete,
    StartVerify,
    World,
)
from support.operator.objects import (
    SETTINGS,
    UID,
    at,
    job,
    moment,
    observation,
    on_a_lost_node,
    pod,
    snapshot,
    started,
    store,
)
from support.operator.remote_copies import DONE, copy
from support.operator.terminal_snapshot import RUNNING, said, terminal

DIGEST = "a" * 64
RESULT = CopyResult(store_id="far", manifest_key="k", manifest_sha256=DIGEST, objects=3, bytes=9)
DOWN = Failure(reason=c.STORE_UNREACHABLE, message="The store does not answer.", retryable=True)
VIEW = RemoteView(wanted="far")


def complete(
    remote: RemoteCopy | None, *, deleted: bool = False, spec: Object | None = None, **status: Any
) -> Snapshot:
    full = started(
        phase="Complete",
        completedAt=at(60),
        observedGeneration=1,
        conditions=[
            {"type": t, "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(60)}
            for t in (c.COMPLETE, c.READY)
        ],
        manifestKey="k",
        manifestSha256=DIGEST,
        residue="None",
        **({"remote": remote.wire()} if remote is not None else {}),
        **status,
    )
    meta = {"deletionTimestamp": at(100)} if deleted else {}
    more = {"retention": "Policy", "deletionPolicy": "Delete"} | (spec or {})
    return snapshot(more, full, finalizers=["ocore.dev/data"], generation=1, creationTimestamp=at(0), **meta)


def world(snap: Snapshot, jobs: dict[str, Object] | None = None, seconds: float = 101, **fields: Any) -> World:
    found, pods = [], {}
    for each, state in (jobs or {}).items():
        command = next(x for x in ("copy-remote", "check-copy", "delete", "verify") if each.startswith(x))
        found.append(job(each, command, condition="Failed" if "terminated" in state else ""))
        pods[each] = [pod(each, state, phase="Failed" if "terminated" in state else "Running")]
    fields = {"remote": VIEW} | fields
    return World(snap, moment(seconds), SETTINGS, observation(found, pods, seconds=seconds), **fields)


def named(snap: Snapshot, attempt: int) -> str:
    return copying(snap).job(attempt)


def delete_job(remote: RemoteCopy, deletes: Deletes) -> str:
    return deletion(complete(remote), deletes).job(1)


def recorded(action: Action) -> Record:
    assert isinstance(action, Record), action
    return action


def condition(status: Any) -> tuple[str, str]:
    found = c.find(status.conditions, c.REMOTE_COPIED)
    assert found is not None
    return found.status, found.reason


def is_ready(status: Any) -> bool:
    return c.is_true(status.conditions, c.READY) and c.find(status.conditions, c.STALLED) is None


# --- attempts --------------------------------------------------------------------------------------------------------


def test_without_a_wanted_copy_nothing_happens() -> None:
    assert decide(world(complete(None))) == Idle(None, complete(None).status)


def test_a_copy_is_made_and_reported() -> None:
    snap = complete(copy())
    assert snap.status.remote is not None
    assert (snap.status.remote.attempts, snap.status.remote.bytes, snap.status.remote.bytes_done) == (0, 0, 0)
    assert decide(world(snap)) == StartCopy(1)
    name = named(snap, 1)
    begun = recorded(decide(world(snap, {name: RUNNING})))
    assert begun.status.remote is not None
    assert (begun.status.remote.state, begun.status.remote.attempts, begun.status.remote.job_name) == (
        "Copying",
        1,
        name,
    )
    assert condition(begun.status) == ("Unknown", c.COPYING)
    snap = snap.with_status(begun.status)
    assert decide(world(snap, {name: RUNNING})) == Idle(10.0, snap.status)
    done = recorded(decide(world(snap, {name: said(RESULT)})))
    assert done.status.remote is not None
    assert (done.status.remote.state, done.status.remote.store_id, done.status.remote.bytes) == ("Completed", "far", 9)
    assert done.status.remote.manifest_sha256 == DIGEST
    assert condition(done.status) == ("True", c.SUCCEEDED)
    assert is_ready(done.status)
    assert not work_remains({"spec": {}, "status": done.status.wire()})


def test_progress_never_goes_back() -> None:
    snap = complete(copy("Copying", attempts=1, bytes=100, bytesDone=40))
    far = recorded(decide(world(snap, {named(snap, 1): RUNNING}, remote=replace(VIEW, bytes_done=70))))
    assert far.status.remote is not None
    assert far.status.remote.bytes_done == 70
    snap = snap.with_status(far.status)
    assert isinstance(decide(world(snap, {named(snap, 1): RUNNING}, remote=replace(VIEW, bytes_done=3))), Idle)


def test_a_job_that_was_created_before_a_crash_is_adopted() -> None:
    """Killed after the creation (failpoint operator-remote-job-created): the status still says Pending."""
    snap = complete(copy(attempts=2, nextAttemptAt=at(5000)))
    begun = recorded(decide(world(snap, {named(snap, 3): said(RESULT)})))
    assert begun.status.remote is not None
    assert (begun.status.remote.state, begun.status.remote.attempts) == ("Copying", 3)
    done = recorded(decide(world(snap.with_status(begun.status), {named(snap, 3): said(RESULT)})))
    assert state_of(done.status.remote) == "completed"


def test_the_jobs_of_an_earlier_copy_do_not_count() -> None:
    """The copy was deleted and is wanted again within the TTL of its Jobs."""
    old, new = complete(copy()), complete(copy(requestedAt=at(90)))
    assert decide(world(new, {named(old, 1): said(RESULT)})) == StartCopy(1)


@pytest.mark.parametrize("digest", ["0" * 64, "b" * 64])
def test_the_copy_of_another_manifest_is_not_accepted(digest: str) -> None:
    snap = complete(copy("Copying", attempts=1))
    other = RESULT.model_copy(update={"manifest_sha256": digest})
    end = recorded(decide(world(snap, {named(snap, 1): said(other)})))
    assert state_of(end.status.remote) == "pending"
    assert end.status.phase == "Complete"


def test_row_54_a_remote_store_that_is_down_for_days_loses_nothing() -> None:
    snap, seconds, attempts = complete(copy()), 101.0, 0
    pauses = []
    while seconds < 5 * 86400:
        assert decide(world(snap, seconds=seconds)) == StartCopy(attempts + 1)
        attempts += 1
        snap = snap.with_status(remote_status.copying(snap, attempts, named(snap, attempts), moment(seconds)))
        end = recorded(decide(world(snap, {named(snap, attempts): said(DOWN)}, seconds=seconds)))
        snap = snap.with_status(end.status)
        assert is_ready(snap.status), "a late copy does not make the Snapshot less restorable"
        assert snap.status.remote is not None
        # Late is reported, and does not end the attempts.
        assert snap.status.remote.state == ("Failed" if seconds - 61 > 3 * 86400 else "Pending")
        waits = decide(world(snap, seconds=seconds))
        assert isinstance(waits, Idle)
        assert waits.seconds is not None
        pauses.append(round(waits.seconds))
        seconds += waits.seconds
    assert pauses[:4] == [30, 60, 120, 240]
    assert max(pauses) == 3600
    back = decide(world(snap, seconds=seconds))
    assert back == StartCopy(attempts + 1)


def test_a_store_that_is_not_ready_costs_no_attempt() -> None:
    snap = complete(copy())
    why = Waiting(c.STORE_NOT_READY, "It does not answer.", 30.0)
    end = decide(world(snap, remote=replace(VIEW, blocked=why)))
    assert isinstance(end, Idle)
    assert end.status is not None
    assert end.status.remote is not None
    assert (end.seconds, end.status.remote.state, end.status.remote.message) == (30.0, "Pending", "It does not answer.")
    assert condition(end.status) == ("Unknown", c.STORE_NOT_READY)
    snap = snap.with_status(end.status)
    assert decide(world(snap)) == StartCopy(1)


def test_the_same_store_is_refused_until_it_is_corrected() -> None:
    snap = complete(copy())
    end = decide(world(snap, remote=replace(VIEW, blocked=Stalled(c.SAME_STORE, "The same."))))
    assert isinstance(end, Idle)
    assert end.status is not None
    assert condition(end.status) == ("False", c.SAME_STORE)
    assert state_of(end.status.remote) == "failed"
    assert decide(world(snap.with_status(end.status))) == StartCopy(1)


def test_waiting_for_a_slot_is_shown() -> None:
    end = decide(world(complete(copy()), refusal=Waiting(c.WAITING_FOR_JOB_SLOT, "Full.", 5.0)))
    assert isinstance(end, Idle)
    assert end.seconds == 5.0
    assert end.status is not None
    assert condition(end.status) == ("Unknown", c.WAITING_FOR_JOB_SLOT)


@pytest.mark.parametrize("reason", [c.CORRUPT, c.SNAPSHOT_NOT_FOUND])
def test_damage_that_a_copy_finds_is_damage_of_the_snapshot(reason: str) -> None:
    snap = complete(copy("Copying", attempts=1))
    end = recorded(decide(world(snap, {named(snap, 1): said(Failure(reason=reason, message="Other bytes."))})))
    assert end.status.phase == "Corrupt"
    assert state_of(end.status.remote) == "failed"
    assert not is_ready(end.status)


def test_a_failed_snapshot_is_not_copied() -> None:
    failed = terminal("Failed", residue="None", remote=copy().wire())
    assert isinstance(decide(world(failed)), Idle)


def test_each_failed_attempt_is_an_event() -> None:
    """The recorder drops those that repeat within minutes."""
    snap = complete(copy("Copying", attempts=2, message=DOWN.message))
    end = recorded(decide(world(snap, {named(snap, 2): said(DOWN)})))
    assert [(note.type, note.reason, note.message) for note in end.notes] == [
        ("Warning", "RemoteCopyFailed", DOWN.message)
    ]


def test_the_next_attempt_waits_for_its_time() -> None:
    snap = complete(copy(attempts=1, nextAttemptAt=at(131)))
    early = decide(world(snap, seconds=130))
    assert isinstance(early, Idle)
    assert early.seconds == 1.0
    assert decide(world(snap, seconds=131)) == StartCopy(2)


def test_a_lost_job_is_repeated() -> None:
    snap = complete(copy("Copying", attempts=1, jobName="x"))
    end = recorded(decide(world(snap)))
    assert state_of(end.status.remote) == "pending"
    assert decide(world(snap.with_status(end.status), seconds=140)) == StartCopy(2)


def test_a_copy_delays_no_verification_and_is_not_delayed_by_one() -> None:
    snap = complete(copy("Copying", attempts=1), spec={"verify": "Full"})
    assert decide(world(snap, {named(snap, 1): RUNNING})) == StartVerify(1)
    waiting = complete(copy(), spec={"verify": "Full"})
    assert decide(world(waiting)) == StartCopy(1)
    both = {named(snap, 1): RUNNING, job_name("verify", UID, 1): RUNNING}
    end = decide(world(snap, both))
    assert isinstance(end, Idle)
    assert end.seconds == 10.0


# --- the Environment names another store -----------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["", "other"])
def test_a_copy_that_is_not_wanted_any_more_is_removed(wanted: str) -> None:
    view = RemoteView(wanted=wanted)
    fresh = recorded(decide(world(complete(copy()), remote=view)))
    assert fresh.status.remote is None
    snap = complete(copy("Copying", attempts=1))
    assert decide(world(snap, {named(snap, 1): RUNNING}, remote=view)) == StopJob(named(snap, 1))
    remote = snap.status.remote
    assert remote is not None
    assert decide(world(snap, remote=view)) == StartDelete(1, Deletes.COPY)
    deleted = delete_job(remote, Deletes.COPY)
    end = recorded(decide(world(snap, {deleted: said(DeleteResult())}, remote=view)))
    assert end.status.remote is None
    assert c.find(end.status.conditions, c.REMOTE_COPIED) is None


@pytest.mark.parametrize("state", [RUNNING, said(RESULT)])
def test_a_job_that_was_created_before_a_crash_leaves_nothing_in_the_store_that_is_not_wanted(state: Object) -> None:
    """The status says that there was no attempt, and the remote store may have the whole copy."""
    snap, view = complete(copy()), RemoteView(wanted="")
    jobs = {named(snap, 1): state}
    begun = recorded(decide(world(snap, jobs, remote=view)))
    assert begun.status.remote is not None
    assert begun.status.remote.attempts == 1
    snap = snap.with_status(begun.status)
    if state is RUNNING:
        assert decide(world(snap, jobs, remote=view)) == StopJob(named(snap, 1))
    ended = {named(snap, 1): said(RESULT)}
    assert decide(world(snap, ended, remote=view)) == StartDelete(1, Deletes.COPY)


@pytest.mark.parametrize("wanted", ["", "other", None])
def test_a_copy_that_is_complete_stays_where_it_is(wanted: str | None) -> None:
    assert isinstance(decide(world(complete(copy("Completed", attempts=1)), remote=RemoteView(wanted=wanted))), Idle)


def test_without_an_environment_the_copy_goes_where_it_was_wanted() -> None:
    assert decide(world(complete(copy()), remote=RemoteView(wanted=None))) == StartCopy(1)


# --- retention -------------------------------------------------------------------------------------------------------


def test_the_data_goes_and_the_copy_stays() -> None:
    snap = complete(DONE, keptBy=[], remoteKeptBy=["forever"])
    first = recorded(decide(world(snap)))
    assert first.failpoint == "operator-remote-release-recorded"
    assert first.status.remote is not None
    assert (first.status.remote.only, first.status.remote.local_deleted_at) == (True, None)
    snap = snap.with_status(first.status)
    # Killed here, or later: the status says that nothing reads the data any more.
    assert decide(world(snap)) == StartDelete(1, Deletes.LOCAL)
    done = {delete_job(DONE, Deletes.LOCAL): said(DeleteResult(objects=3))}
    end = recorded(decide(world(snap, done)))
    assert end.status.remote is not None
    assert end.status.remote.local_deleted_at == at(101)
    assert isinstance(decide(world(snap.with_status(end.status))), Idle)
    assert is_ready(end.status)


def test_the_copy_goes_and_the_data_stays() -> None:
    snap = complete(DONE, keptBy=["keepLast"], remoteKeptBy=[])
    assert decide(world(snap)) == StartDelete(1, Deletes.COPY)
    done = {delete_job(DONE, Deletes.COPY): said(DeleteResult(objects=3))}
    assert recorded(decide(world(snap, done))).status.remote is None


@pytest.mark.parametrize(
    "jobs",
    [{job_name("verify", UID, 1): RUNNING}, {}],
)
def test_what_is_used_is_not_let_go_of(jobs: dict[str, Object]) -> None:
    snap = complete(DONE, keptBy=[], remoteKeptBy=["forever"])
    view = RemoteView(used_by="" if jobs else "rollback")
    assert isinstance(decide(world(snap, jobs, remote=view)), Idle)


def test_verification_reads_the_copy_that_is_left() -> None:
    """And finds damage there: nothing is left to restore from."""
    only = copy("Completed", attempts=1, only=True, localDeletedAt=at(70))
    snap = complete(only, spec={"verify": "Full"})
    assert decide(world(snap)) == StartVerify(1)
    bad = {job_name("verify", UID, 1): said(Failure(reason=c.CORRUPT, message="Other bytes."))}
    assert recorded(decide(world(snap, bad))).status.phase == "Corrupt"


def test_a_damaged_snapshot_with_a_whole_copy_stays_restorable() -> None:
    snap = complete(DONE, spec={"verify": "Full"})
    bad = {job_name("verify", UID, 1): said(Failure(reason=c.CORRUPT, message="Other bytes."))}
    end = recorded(decide(world(snap, bad)))
    assert is_ready(end.status)
    ready, verified = (c.find(end.status.conditions, t) for t in (c.READY, c.VERIFIED))
    assert ready is not None
    assert verified is not None
    assert (end.status.phase, ready.reason, verified.status) == ("Complete", c.REMOTE_COPY_ONLY, "False")
    assert "far" in ready.message
    good = {job_name("verify", UID, 1): said(VerifyResult(objects=1, bytes_read=1))}
    assert recorded(decide(world(snap, good))).status.phase == "Complete"


def stored(obj: Object) -> Object:
    """As a client reads it."""
    found: Object = json.loads(json.dumps(obj))
    return found


def test_row_54_the_last_whole_place_is_never_let_go_of() -> None:
    """Every combination of what the decision reads."""
    of_retention, of_remote = ([], ["keepLast"], None), ([], ["forever"], None)
    for state, gone, only, pinned, retention, damaged in product(
        ("Pending", "Copying", "Completed", "Failed", None),
        *[(False, True)] * 3,
        ("Keep", "Policy", None),
        (False, True),
    ):
        remote = {"state": state, "only": only} | ({"localDeletedAt": at(1)} if gone else {})
        spec = ({"retention": retention} if retention else {}) | ({"pin": {}} if pinned else {})
        conditions = [{"type": c.VERIFIED, "status": "False" if damaged else "True"}]
        may_go = state == "Completed" and not (gone or only or pinned) and retention == "Policy"
        for kept, kept_remotely in product(of_retention, of_remote):
            status = {"remote": remote, "conditions": conditions, "keptBy": kept, "remoteKeptBy": kept_remotely}
            expected = None
            if may_go and (kept, kept_remotely) == ([], ["forever"]):
                expected = "Local"
            if may_go and (kept, kept_remotely) == (["keepLast"], []) and not damaged:
                expected = "Remote"
            assert releases(stored({"spec": spec, "status": status})) == expected, (spec, status)
    assert releases({}) is None


@pytest.mark.parametrize("other", [c.READY, c.REMOTE_COPIED, "Z"])
def test_only_a_verification_finds_damage(other: str) -> None:
    conditions = [{"type": other, "status": "False"}, {"type": c.VERIFIED, "status": "Unknown"}]
    status = {"remote": {"state": "Completed"}, "conditions": conditions, "keptBy": ["keepLast"], "remoteKeptBy": []}
    assert releases(stored({"spec": {"retention": "Policy"}, "status": status})) == "Remote"


def test_row_54_the_copy_of_a_damaged_snapshot_stays() -> None:
    status = {"remote": {"state": "Completed"}, "conditions": [], "keptBy": ["keepLast"], "remoteKeptBy": []}
    obj = {"spec": {"retention": "Policy"}, "status": status}
    assert releases(obj) == "Remote"
    damaged = {**status, "conditions": [{"type": c.VERIFIED, "status": "False"}]}
    assert releases({**obj, "status": damaged}) is None


# --- the copy is asked for again -------------------------------------------------------------------------------------

LOST = Failure(reason=c.REMOTE_COPY_LOST, message="The copy in s3://far is not whole: the manifest is missing.")
BEFORE = CopyPlace(store_name="old", store_id="older", requested_at=at(5))
DOUBTS = [
    replace(VIEW, unreadable=Stalled(c.STORE_ID_CONFLICT, "It is another store.")),
    replace(VIEW, unreadable=Waiting(c.STORE_NOT_READY, "It does not answer.", 30.0)),
    replace(VIEW, unreadable=Stalled(c.STORE_NOT_FOUND, "It is gone.")),
]


@pytest.mark.parametrize("view", DOUBTS)
def test_row_59_the_data_stays_while_the_copy_is_in_doubt(view: RemoteView) -> None:
    snap = complete(DONE, keptBy=[], remoteKeptBy=["forever"])
    action = decide(world(snap, remote=view))
    assert not isinstance(action, StartDelete)
    if isinstance(action, Record):  # why it waits
        assert action.status.remote is not None
        assert (action.status.remote.only, action.status.remote.local_deleted_at) == (False, None)
        assert view.unreadable is not None
        assert action.status.remote.message == view.unreadable.message
        assert isinstance(decide(world(snap.with_status(action.status), remote=view)), Idle)


@pytest.mark.parametrize("view", DOUBTS)
def test_row_59_a_deletion_that_was_recorded_waits_for_the_copy(view: RemoteView) -> None:
    only = complete(copy("Completed", attempts=1, storeId="far", only=True))
    assert isinstance(decide(world(only)), StartDelete)
    assert not isinstance(decide(world(only, remote=view)), StartDelete)


def test_row_59_a_copy_that_the_deletion_finds_lost_is_made_again() -> None:
    remote = copy("Completed", attempts=1, storeId="far", only=True)
    snap = complete(remote, keptBy=[], remoteKeptBy=["forever"])
    job_ = delete_job(remote, Deletes.LOCAL)
    end = recorded(decide(world(snap, {job_: said(LOST)})))
    assert end.status.remote is not None
    assert (end.status.remote.state, end.status.remote.only) == ("Pending", False)
    assert condition(end.status) == ("Unknown", c.REMOTE_COPY_LOST)
    assert is_ready(end.status), "the data in its own store is whole"
    assert end.notes[0].reason == "RemoteCopyLost"
    again = snap.with_status(end.status)
    assert decide(world(again, {job_: said(LOST)})) == StartCopy(2), "and nothing is deleted until then"


@pytest.mark.parametrize("reason", [c.INTERNAL_ERROR, c.STORE_UNREACHABLE])
def test_row_59_any_other_failure_says_nothing_about_the_copy(reason: str) -> None:
    failure = Failure(reason=reason, message="It failed.")
    only = copy("Completed", attempts=1, storeId="far", only=True)
    deletes = delete_job(only, Deletes.LOCAL)
    for remote, name in ((only, deletes), (ASKED, CHECK)):
        action = decide(world(complete(remote), {name: said(failure)}, seconds=60))
        assert not isinstance(action, Record) or state_of(action.status.remote) == "completed"


ASKED = copy("Completed", attempts=1, storeId="far", checkRequestedAt=at(100))
CHECK = job_name("check-copy", UID, f"{int(moment(100).timestamp())}-1")


def test_row_59_a_copy_is_checked_when_that_is_asked_for() -> None:
    snap = complete(ASKED)
    started = decide(world(snap))
    assert isinstance(started, StartCheckCopy)
    assert job_name("check-copy", UID, started.attempt) == CHECK
    assert isinstance(decide(world(snap, {CHECK: RUNNING})), Idle)
    end = recorded(decide(world(snap, {CHECK: said(CopyChecked(objects=3))})))
    assert end.status.remote is not None
    assert (end.status.remote.checked_at, end.status.remote.check_requested_at) == (at(101), None)
    assert isinstance(decide(world(snap.with_status(end.status))), Idle)


def test_row_102_a_check_of_a_copy_on_a_node_that_does_not_respond_says_what_to_do() -> None:
    found = world(complete(ASKED), {CHECK: RUNNING})
    end = recorded(decide(replace(found, seen=on_a_lost_node(found.seen))))
    assert end.status.remote is not None
    assert "kubectl delete node node1" in end.status.remote.message


def test_row_59_a_copy_that_a_check_finds_lost_is_made_again() -> None:
    end = recorded(decide(world(complete(ASKED), {CHECK: said(LOST)})))
    assert state_of(end.status.remote) == "pending"
    assert is_ready(end.status)
    assert decide(world(complete(ASKED).with_status(end.status))) == StartCopy(2)


def test_row_59_a_lost_copy_that_was_the_only_one_is_reported() -> None:
    snap = complete(ASKED.model_copy(update={"only": True, "local_deleted_at": at(70)}))
    end = recorded(decide(world(snap, {CHECK: said(LOST)})))
    assert (end.status.phase, condition(end.status)) == ("Corrupt", ("False", c.REMOTE_COPY_LOST))
    assert not is_ready(end.status)
    assert isinstance(decide(world(snap.with_status(end.status))), Idle), "there is nothing to copy"


def test_row_121_a_copy_that_was_lost_and_is_the_only_data_is_asked_for_again() -> None:
    """The bucket comes back: from its versions, or another SnapshotStore had its name for a time."""
    snap = complete(ASKED.model_copy(update={"only": True, "local_deleted_at": at(70)}))
    lost = recorded(decide(world(snap, {CHECK: said(LOST)})))
    assert [note.reason for note in lost.notes] == ["RemoteCopyLost"]
    snap = snap.with_status(lost.status)
    assert not idle({"metadata": {"generation": 1}, "spec": {}, "status": snap.status.wire()})
    assert waits(decide(world(snap, seconds=101 + CHECK_PAUSE - 1))) == 1.0
    started = decide(world(snap, seconds=101 + CHECK_PAUSE))
    assert isinstance(started, StartCheckCopy)
    check = job_name("check-copy", UID, started.attempt)
    again = recorded(decide(world(snap, {check: said(LOST)}, seconds=30_000)))
    assert (again.status.phase, again.notes) == ("Corrupt", ())
    elsewhere = replace(VIEW, unreadable=Stalled(c.STORE_ID_CONFLICT, "It is another store."))
    assert not isinstance(decide(world(snap, seconds=101 + CHECK_PAUSE, remote=elsewhere)), StartCheckCopy)
    found = recorded(decide(world(snap, {check: said(CopyChecked(objects=3))}, seconds=30_000)))
    assert [note.reason for note in found.notes] == ["RemoteCopyFound"]
    assert (found.status.phase, condition(found.status)) == ("Complete", ("True", c.SUCCEEDED))
    assert is_ready(found.status)
    assert not sources.is_damaged(snap.with_status(found.status))
    assert isinstance(decide(world(snap.with_status(found.status), seconds=30_000)), Idle)


def test_a_check_that_cannot_be_made_changes_nothing() -> None:
    snap, down = complete(ASKED), replace(VIEW, unreadable=Waiting(c.STORE_NOT_READY, "It does not answer.", 30.0))
    for jobs, view in (({CHECK: said(DOWN)}, VIEW), ({}, down)):
        end = recorded(decide(world(snap, jobs, seconds=62, remote=view)))
        assert end.status.remote is not None
        assert (end.status.remote.state, end.status.remote.check_requested_at) == ("Completed", at(100))
        assert "does not answer" in end.status.remote.message
        waits = decide(world(snap.with_status(end.status), jobs, seconds=62, remote=view))
        assert isinstance(waits, Idle)
        assert waits.seconds
    later = decide(world(snap, {CHECK: said(DOWN)}, seconds=10_000))
    assert isinstance(later, StartCheckCopy)
    assert later.attempt.endswith("-2")


def waits(action: Action) -> float | None:
    assert isinstance(action, Idle), action
    return action.seconds


def test_a_check_is_repeated_soon_three_times_and_rarely_after_that() -> None:
    message = "The copy could not be checked; retrying: The store does not answer."
    snap = complete(ASKED.model_copy(update={"message": message}))
    for number, pause in ((1, CHECK_RETRY), (2, CHECK_RETRY), (3, CHECK_PAUSE), (4, CHECK_PAUSE)):
        jobs = {f"{CHECK[:-1]}{number}": said(DOWN)}  # it ended at second 60
        assert waits(decide(world(snap, jobs, seconds=60 + pause - 1))) == 1.0
        following = decide(world(snap, jobs, seconds=60 + pause))
        assert isinstance(following, StartCheckCopy)
        assert following.attempt.endswith(f"-{number + 1}")


def test_a_check_that_waits_for_a_slot_asks_again_soon() -> None:
    full = Waiting(c.WAITING_FOR_JOB_SLOT, "Full.", 5.0)
    snap = complete(ASKED.model_copy(update={"message": "The copy cannot be checked: Full."}))
    assert waits(decide(world(snap, refusal=full))) == 5.0
    down = replace(VIEW, unreadable=Waiting(c.STORE_NOT_READY, "Full.", 30.0))
    assert waits(decide(world(snap, remote=down))) == DELETE_PAUSE, "the store's own reconcile reports that it is ready"


@pytest.mark.parametrize("only", [False, True])
def test_a_copy_in_doubt_is_checked_again_as_soon_as_it_may_be_certain(only: bool) -> None:
    snap = complete(
        DONE.model_copy(update={"only": only, "message": "It is gone."}), keptBy=[], remoteKeptBy=["forever"]
    )
    for why, seconds in (
        (Waiting(c.STORE_NOT_READY, "It does not answer.", 30.0), 30.0),
        (Stalled(c.STORE_NOT_FOUND, "It is gone."), DELETE_PAUSE),
    ):
        assert waits(decide(world(snap, remote=replace(VIEW, unreadable=why)))) == seconds


@pytest.mark.parametrize("view", [RemoteView(used_by="rollback"), RemoteView(needed_by=("differential",))])
@pytest.mark.parametrize("kept", [([], ["forever"]), (["keepLast"], [])])
def test_retention_waits_for_what_reads_or_needs_a_copy(view: RemoteView, kept: tuple[list[str], list[str]]) -> None:
    snap = complete(DONE, keptBy=kept[0], remoteKeptBy=kept[1])
    used = replace(VIEW, used_by=view.used_by, needed_by=view.needed_by)
    assert waits(decide(world(snap, remote=used))) == USED_PAUSE
    reads = {job_name("verify", UID, 1): RUNNING}
    assert waits(decide(world(snap, reads))) == USED_PAUSE
    read = {job_name("verify", UID, 1): said(VerifyResult(objects=1, bytes_read=1))}
    found = world(snap, read)
    found.seen.jobs[job_name("verify", UID, 1)]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert isinstance(decide(found), (Record, StartDelete)), "it has ended"


def test_the_job_that_deletes_a_copy_does_not_hold_it_up() -> None:
    """It is waited for; a crash between its creation and the next reconcile changes nothing."""
    snap = complete(DONE, keptBy=["keepLast"], remoteKeptBy=[])
    running = {delete_job(DONE, Deletes.COPY): RUNNING}
    assert waits(decide(world(snap, running))) == POLL


def test_row_59_the_copy_of_a_differential_stays_while_its_full_is_damaged() -> None:
    """The data in its own store cannot be restored: it needs the damaged files of the full one."""
    snap = complete(DONE, keptBy=["keepLast"], remoteKeptBy=[])
    damaged = decide(world(snap, remote=replace(VIEW, damaged_base="full")))
    assert isinstance(damaged, Record)
    assert isinstance(decide(world(snap.with_status(damaged.status), remote=replace(VIEW, damaged_base="full"))), Idle)
    assert isinstance(decide(world(snap)), StartDelete)


# --- the remote store is replaced by another one ---------------------------------------------------------------------


def moved() -> Snapshot:
    """Its copy is in the store `old`, and one in `far` is wanted."""
    snap = complete(copy("Completed", attempts=1, storeId="older", storeName="old", requestedAt=at(5)))
    return snap.with_status(remote_status.requested_elsewhere(snap, "far", moment(61)))


def test_row_60_the_copy_in_the_store_before_counts_until_the_new_one_is_complete() -> None:
    snap = moved()
    remote = snap.status.remote
    assert remote is not None
    assert (remote.store_name, remote.state, remote.replaces, remote.readable) == ("far", "Pending", BEFORE, BEFORE)
    assert decide(world(snap)) == StartCopy(1)
    bad = damage.corrupt(snap, "Other bytes.", moment(62))
    ready = c.find(bad.conditions, c.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", c.REMOTE_COPY_ONLY)
    assert "old" in ready.message


def test_row_60_the_copy_in_the_store_before_goes_last() -> None:
    snap = moved()
    done = recorded(
        decide(
            world(
                snap.with_status(remote_status.copying(snap, 1, named(snap, 1), moment(70))),
                {named(snap, 1): said(RESULT)},
            )
        )
    )
    assert done.status.remote is not None
    snap = snap.with_status(done.status)
    assert decide(world(snap)) == StartDelete(1, Deletes.REPLACED)
    deleted = {delete_job(DONE.model_copy(update={"replaces": BEFORE}), Deletes.REPLACED): said(DeleteResult())}
    end = recorded(decide(world(snap, deleted)))
    assert end.status.remote is not None
    assert (end.status.remote.replaces, end.status.remote.store_name) == (None, "far")


@pytest.mark.parametrize(
    "view",
    [
        replace(VIEW, replaced_blocked=Stalled(c.STORE_ID_CONFLICT, "It is another store.")),
        replace(VIEW, replaced_blocked=Stalled(c.STORE_NOT_FOUND, "Gone.")),
    ],
)
def test_row_60_nothing_is_deleted_in_another_store_of_the_same_name(view: RemoteView) -> None:
    """It may be the new copy."""
    snap = complete(DONE.model_copy(update={"replaces": BEFORE, "completed_at": at(90)}))
    end = recorded(decide(world(snap, remote=view)))
    assert end.notes[0].reason == "DataLeft"
    assert end.status.remote is not None
    assert (end.status.remote.state, end.status.remote.replaces) == ("Completed", None)
    gone = complete(DONE.model_copy(update={"replaces": BEFORE}), deleted=True)
    deleted = {n: said(DeleteResult()) for n in (job_name("delete", UID, 1), delete_job(DONE, Deletes.COPY))}
    assert not isinstance(decide(world(gone, deleted, remote=view)), StartDelete)


def test_row_60_the_same_store_under_another_name_keeps_the_copy() -> None:
    same = BEFORE.model_copy(update={"store_id": "far"})
    snap = complete(DONE.model_copy(update={"replaces": same}))
    end = recorded(decide(world(snap, remote=VIEW)))
    assert end.status.remote is not None
    assert (end.status.remote.state, end.status.remote.replaces) == ("Completed", None)


def test_row_60_a_store_before_that_does_not_answer_is_left_after_days() -> None:
    snap = complete(DONE.model_copy(update={"replaces": BEFORE, "completed_at": at(90)}))
    down = replace(VIEW, replaced_blocked=Waiting(c.STORE_NOT_READY, "It does not answer.", 30.0))
    assert isinstance(decide(world(snap, remote=down)), Idle)
    end = recorded(decide(world(snap, remote=down, seconds=91 + REPLACED_WITHIN)))
    assert end.notes[0].reason == "DataLeft"


@pytest.mark.parametrize("completed", [at(90), None])
def test_row_60_how_long_the_store_before_is_waited_for(completed: str | None) -> None:
    """From the moment at which the new copy was complete, or was wanted."""
    snap = complete(DONE.model_copy(update={"replaces": BEFORE, "completed_at": completed}))
    since = 90 if completed is not None else 61
    down = replace(VIEW, replaced_blocked=Waiting(c.STORE_NOT_READY, "It does not answer.", 30.0))
    assert waits(decide(world(snap, remote=down, seconds=since + REPLACED_WITHIN))) == 30.0
    assert isinstance(decide(world(snap, remote=down, seconds=since + REPLACED_WITHIN + 1)), Record)


def test_row_60_a_deletion_in_the_store_before_that_is_refused_is_tried_for_days() -> None:
    """Another cluster has pinned it there: it may unpin it."""
    snap = complete(DONE.model_copy(update={"replaces": BEFORE, "completed_at": at(90)}))
    pinned = Failure(reason=c.PINNED, message="Another cluster has pinned it.")
    jobs = {delete_job(DONE.model_copy(update={"replaces": BEFORE}), Deletes.REPLACED): said(pinned)}
    assert waits(decide(world(snap, jobs))) == DELETE_PAUSE


def test_row_60_the_store_before_is_wanted_again() -> None:
    snap = moved()
    end = recorded(decide(world(snap, remote=replace(VIEW, wanted="old"))))
    remote = end.status.remote
    assert remote is not None
    assert (remote.state, remote.store_name, remote.store_id, remote.replaces) == ("Completed", "old", "older", None)
    assert remote.check_requested_at is not None, "the store is asked whether it still has it"


def test_row_60_deletion_removes_the_copy_in_the_store_before_too() -> None:
    snap = complete(DONE.model_copy(update={"replaces": BEFORE}), deleted=True)
    deleted = {n: said(DeleteResult()) for n in (job_name("delete", UID, 1), delete_job(DONE, Deletes.COPY))}
    assert decide(world(snap, deleted)) == StartDelete(1, Deletes.REPLACED)
    deleted[delete_job(DONE.model_copy(update={"replaces": BEFORE}), Deletes.REPLACED)] = said(DeleteResult())
    assert decide(world(snap, deleted)) == LetGo()


# --- another cluster has pinned it -----------------------------------------------------------------------------------


def test_row_68_what_another_cluster_has_pinned_is_kept() -> None:
    pinned = Failure(reason=c.PINNED, message="snapshot x is not deleted: another cluster has pinned it")
    end = decide(world(complete(None, deleted=True), {job_name("delete", UID, 1): said(pinned)}))
    assert isinstance(end, LetGo)
    assert end.note is not None
    assert (end.note.reason, "another cluster" in end.note.message) == ("DataRetained", True)
    released = complete(DONE, keptBy=["keepLast"], remoteKeptBy=[])
    stays = recorded(decide(world(released, {delete_job(DONE, Deletes.COPY): said(pinned)})))
    assert stays.status.remote is not None
    assert "another cluster" in stays.status.remote.message


# --- deletion --------------------------------------------------------------------------------------------------------


def test_deletion_removes_both() -> None:
    snap = complete(DONE, deleted=True)
    assert decide(world(snap)) == StartDelete(1)
    first = {job_name("delete", UID, 1): said(DeleteResult(objects=3))}
    assert decide(world(snap, first)) == StartDelete(1, Deletes.COPY)
    both = first | {delete_job(DONE, Deletes.COPY): said(DeleteResult(objects=3))}
    assert decide(world(snap, both)) == LetGo()


def test_deletion_removes_the_copy_that_is_left() -> None:
    only = copy("Completed", attempts=1, only=True, localDeletedAt=at(70))
    assert decide(world(complete(only, deleted=True))) == StartDelete(1, Deletes.COPY)


def test_deletion_stops_the_copy_first() -> None:
    snap = complete(copy("Copying", attempts=1), deleted=True)
    assert decide(world(snap, {named(snap, 1): RUNNING})) == StopJob(named(snap, 1))


@pytest.mark.parametrize("state", [RUNNING, said(RESULT)])
def test_deletion_removes_what_a_job_has_copied_that_was_created_before_a_crash(state: Object) -> None:
    """The status says that there was no attempt, and the remote store may have the whole copy."""
    snap = complete(copy(), deleted=True)
    jobs = {named(snap, 1): state}
    begun = recorded(decide(world(snap, jobs)))
    snap = snap.with_status(begun.status)
    if state is RUNNING:
        assert decide(world(snap, jobs)) == StopJob(named(snap, 1))
    assert begun.status.remote is not None
    jobs = {named(snap, 1): said(RESULT), job_name("delete", UID, 1): said(DeleteResult(objects=3))}
    assert decide(world(snap, jobs)) == StartDelete(1, Deletes.COPY)


def test_retain_keeps_both_and_says_where_they_are() -> None:
    end = decide(world(complete(DONE, deleted=True, spec={"deletionPolicy": "Retain"})))
    assert isinstance(end, LetGo)
    assert end.note is not None
    assert "far" in end.note.message


# --- what is read ----------------------------------------------------------------------------------------------------


def test_a_snapshot_whose_copy_remains_is_not_idle() -> None:
    for remote, expected in (
        (None, True),
        (copy(), False),
        (copy("Failed"), False),
        (DONE, True),
        (copy("Completed", only=True), False),
        (copy("Completed", only=True, localDeletedAt=at(1)), True),
        (copy("Failed", only=True, localDeletedAt=at(1)), True),
        (copy("Completed", checkRequestedAt=at(1)), False),
        (copy("Completed", only=True, localDeletedAt=at(1), checkRequestedAt=at(1)), False),
        (copy("Completed", replaces=BEFORE.wire()), False),
    ):
        snap = complete(remote)
        obj = {
            "metadata": {"generation": 1},
            "spec": snap.spec.wire(),
            "status": snap.status.wire() | {"observedGeneration": 1},
        }
        assert idle(obj) == expected, remote


def test_which_stores_allow_an_attempt() -> None:
    snap = complete(copy(), storeId="near")

    def reason(target: Any, source: Any) -> str:
        found = blocked(snap, copy(), target, source)
        return found.reason if found is not None else ""

    ready = store(name="far", status={"storeId": "far", "conditions": [_ready("True")]})
    near = store(name="near", status={"storeId": "near"})
    assert reason(ready, near) == ""
    assert reason(None, near) == reason(ready, None) == c.STORE_NOT_FOUND
    assert reason(store(name="far", status={"storeId": "near", "conditions": [_ready("True")]}), near) == c.SAME_STORE
    assert reason(store(name="far", status={"conditions": [_ready("False")]}), near) == c.STORE_NOT_READY
    assert reason(store({"access": "ReadOnly"}, name="far"), near) == c.STORE_READ_ONLY
    one, two = (
        store({"serviceAccountName": "a"}, name="far"),
        store({"serviceAccountName": "b"}, name="near", status={"storeId": "near"}),
    )
    assert reason(one, two) == c.SERVICE_ACCOUNT_CONFLICT


def _ready(status: str) -> Object:
    return {"type": "Ready", "status": status, "reason": "X", "message": "it is down", "lastTransitionTime": at(0)}


def test_a_copy_that_is_adopted_is_in_the_store_that_it_was_found_in() -> None:
    """On a rebuilt cluster the remote store may be the only one. The manifest has the id of the first."""
    found = SnapshotResult(
        attempt="a",
        manifest_key="k",
        manifest_sha256=DIGEST,
        store_id="near",
        started_at=at(0),
        consistent_at=at(0),
        completed_at=at(1),
    )
    snap = snapshot({}, started(storeId="far"))
    for imported, expected in ((True, "far"), (False, "near")):
        status = transitions.completed(snap, found, None, clean=True, imported=imported, now=moment(2))
        assert status.store_id == expected


def test_times_are_those_of_the_request() -> None:
    assert clock.text(moment(61)) == copy().requested_at
