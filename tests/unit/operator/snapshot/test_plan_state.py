"""When the state objects of a Complete Snapshot are written again."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds.commands.table import WRITE_STATE
from ocore_crds.protocol import CopyResult, Failure, StateResult
from ocore_crds.stored.snapshot_state import StoredState
from ocore_kube.types import JOBS, STORES
from ocore_operator import remote_status
from ocore_operator.errors import Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object
from ocore_operator.snapshot import plan_state
from ocore_operator.snapshot.effects import carry_out
from ocore_operator.snapshot.entry import idle
from ocore_operator.snapshot.observe_remote import state_blocked
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import RemoteView, StartDelete, StartState, StartVerify
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.jobs import request_of
from support.operator.objects import OTHER_UID, SETTINGS, UID, at, moment, obj, snapshot_object, started, store
from support.operator.terminal_snapshot import FAILURE, RUNNING, condition, job_named, said, world

DEFAULTS = {"retention": "Keep", "deletionPolicy": "Retain"}
COPIED = CopyResult(store_id="far", manifest_key="k", manifest_sha256="a" * 64)
PINNED = {"pin": {"label": "audit"}, **DEFAULTS}


def complete(
    spec: Object,
    stored: Object | None,
    *,
    generation: int = 2,
    observed: int = 2,
    remote: Object | None = None,
    **meta: Any,
) -> Object:
    status = started(
        phase="Complete",
        completedAt=at(60),
        observedGeneration=observed,
        conditions=[condition("Complete"), condition("Verified", status="Unknown")],
        manifestKey="k",
        residue="None",
        **({"storedState": stored} if stored is not None else {}),
        **({"remote": remote} if remote is not None else {}),
    )
    return snapshot_object(spec, status, finalizers=["ocore.dev/data"], generation=generation, **meta)


def seen(obj: Object, jobs: dict[str, Object] | None = None, *, writable: bool = True, **fields: Any) -> Any:
    return world(resources.snapshot(obj), jobs, store_writable=writable, **fields)


def test_a_change_is_written_once() -> None:
    obj = complete(PINNED, DEFAULTS)
    wanted = StoredState(pin_label="audit")
    assert not idle(obj)
    assert decide(seen(obj)) == StartState(1, wanted)
    assert isinstance(decide(seen(obj, {job_named("write-state", 1): RUNNING})), Idle)
    action = decide(seen(obj, {job_named("write-state", 1): said(StateResult(state=wanted))}))
    assert isinstance(action, Record)
    assert action.status.stored_state == wanted
    written = complete(PINNED, {"pinLabel": "audit", **DEFAULTS})
    assert idle(written)
    assert decide(seen(written, {job_named("write-state", 1): said(StateResult(state=wanted))})).seconds is None  # type: ignore[union-attr]


def test_a_pin_that_was_set_and_removed_while_its_job_ran_is_removed_from_the_store() -> None:
    """The spec is as the status says the store is. Forgotten, the store's pin would keep the data of the deleted
    Snapshot, as another cluster's does."""
    unpinned = complete({}, DEFAULTS, generation=3)
    assert not idle(unpinned)
    assert decide(seen(unpinned, {job_named("write-state", 1): RUNNING})) == Idle(POLL)
    pinned = StoredState(pin_label="audit")
    action = decide(seen(unpinned, {job_named("write-state", 1): said(StateResult(state=pinned))}))
    assert isinstance(action, Record)
    assert action.status.stored_state == pinned
    known = complete({}, {"pinLabel": "audit", **DEFAULTS}, generation=3)
    assert decide(seen(known, {job_named("write-state", 1): said(StateResult(state=pinned))})) == StartState(
        2, StoredState()
    )


def test_changes_while_a_job_runs_are_written_together() -> None:
    obj = complete({**PINNED, "deletionPolicy": "Delete"}, {"pinLabel": "audit", **DEFAULTS})
    earlier = said(StateResult(state=StoredState(pin_label="audit")))
    wanted = StoredState(pin_label="audit", deletion_policy="Delete")
    assert decide(seen(obj, {job_named("write-state", 1): earlier})) == StartState(2, wanted)


def test_thousands_of_an_earlier_version_start_no_job() -> None:
    obj = complete({"retention": "Policy", "deletionPolicy": "Delete"}, None)
    assert idle(obj)
    assert isinstance(decide(seen(obj)), Idle)


def test_one_of_an_earlier_version_that_is_changed_is_written() -> None:
    obj = complete({"retention": "Policy", "deletionPolicy": "Delete"}, None, generation=3)
    assert not idle(obj)
    action = decide(seen(obj))
    assert isinstance(action, Record)
    assert action.status.stored_state == StoredState()
    assert action.status.observed_generation == 2


def test_a_store_that_cannot_be_written_gets_no_job() -> None:
    action = decide(seen(complete(PINNED, DEFAULTS), writable=False))
    assert isinstance(action, Idle)
    assert action.seconds == plan_state.CHECK_PAUSE


@pytest.mark.parametrize(
    ("number", "failure", "pause"),
    [
        (1, FAILURE, plan_state.RETRY_PAUSE),
        (WRITE_STATE.attempts, FAILURE, plan_state.LATER_PAUSE),
        (1, Failure(reason="StoreAccessDenied", message="no"), plan_state.LATER_PAUSE),
    ],
)
def test_a_failed_job_is_repeated_after_a_pause(number: int, failure: Failure, pause: float) -> None:
    obj, jobs = complete(PINNED, DEFAULTS), {job_named("write-state", number): said(failure)}
    action = decide(seen(obj, jobs, seconds=61))  # it ended at second 60
    assert isinstance(action, Idle)
    assert action.seconds == pytest.approx(pause - 1)
    assert decide(seen(obj, jobs, seconds=60 + pause)) == StartState(number + 1, StoredState(pin_label="audit"))


def test_what_fails_does_not_delay_the_reading_back() -> None:
    obj = complete({**PINNED, "verify": "Full"}, DEFAULTS)
    assert decide(seen(obj, {job_named("write-state", 1): said(FAILURE)}, seconds=61)) == StartVerify(1)


def test_without_a_slot_it_waits() -> None:
    refusal = Waiting("WaitingForJobSlot", "all are in use", 5)
    action = decide(seen(complete(PINNED, DEFAULTS), refusal=refusal))
    assert isinstance(action, Idle)
    assert action.seconds == plan_state.RETRY_PAUSE


def test_a_deletion_stops_the_job_first() -> None:
    obj = complete({"deletionPolicy": "Delete"}, DEFAULTS, deletionTimestamp=at(90))
    assert decide(seen(obj, {job_named("write-state", 1): RUNNING})) == StopJob(job_named("write-state", 1))
    assert decide(seen(obj)) == StartDelete(1)


# --- beside the remote copy ------------------------------------------------------------------------------------------

AUDIT = {"pinLabel": "audit", **DEFAULTS}
WANTED = StoredState(pin_label="audit")
#: Requested at second 61.
SERIES = f"remote-{int(moment(61).timestamp())}-"


def copied(stored: Object | None, state: str = "Completed", **more: Any) -> Object:
    found = {"state": state, "storeName": "far", "requestedAt": at(61), "attempts": 1, **more}
    return found | ({"storedState": stored} if stored is not None else {})


def both(obj: Object, jobs: dict[str, Object] | None = None, *, blocked: Any = None, **fields: Any) -> Any:
    return seen(obj, jobs, remote=RemoteView(blocked=blocked), **fields)


def test_a_change_reaches_both_stores() -> None:
    obj = complete(PINNED, DEFAULTS, remote=copied(DEFAULTS))
    assert not idle(obj)
    assert decide(both(obj)) == StartState(1, WANTED)
    done = {job_named("write-state", 1): said(StateResult(state=WANTED))}
    first = decide(both(obj, done))
    assert isinstance(first, Record)
    half = complete(PINNED, AUDIT, remote=copied(DEFAULTS))
    assert not idle(half)
    assert first.status == resources.snapshot(half).status
    assert decide(both(half, done)) == StartState(1, WANTED, remote=True)
    done[job_named("write-state", 1, SERIES)] = said(StateResult(state=WANTED))
    second = decide(both(half, done))
    assert isinstance(second, Record)
    whole = complete(PINNED, AUDIT, remote=copied(AUDIT))
    assert second.status.remote == resources.snapshot(whole).status.remote
    assert idle(whole)
    assert decide(both(whole, done)) == Idle(None, resources.snapshot(whole).status)


def test_what_the_copy_took_along_is_not_written_again() -> None:
    """A pin that is set while the copy runs is written afterwards, else nothing is."""
    for taken, expected in ((WANTED, True), (StoredState(), False)):
        obj = complete(PINNED, AUDIT, remote=copied(None, "Copying"))
        status = remote_status.completed(
            resources.snapshot(obj), COPIED.model_copy(update={"state": taken}), moment(70)
        )
        assert idle({**obj, "status": status.wire()}) == expected
    assert status.remote is not None
    assert status.remote.stored_state == StoredState()


def test_a_copy_without_a_state_object_has_the_defaults() -> None:
    """Unless the Snapshot's own store has none either: thousands of an earlier version start no Job."""
    for stored, expected in ((AUDIT, StoredState()), (None, None)):
        obj = complete(PINNED, stored, remote=copied(None, "Copying"))
        remote = remote_status.completed(resources.snapshot(obj), COPIED, moment(70)).remote
        assert remote is not None
        assert remote.stored_state == expected


def test_an_unfinished_copy_has_no_state() -> None:
    obj = complete(PINNED, AUDIT, remote=copied(None, "Pending"))
    assert not plan_state.differs_raw(obj)
    assert plan_state.differing(resources.snapshot(obj)) == ()


def test_one_of_an_earlier_version_that_is_changed_is_written_to_both() -> None:
    obj = complete(PINNED, None, generation=3, remote=copied(None))
    action = decide(both(obj))
    assert isinstance(action, Record)
    assert action.status.stored_state == StoredState()
    assert action.status.remote is not None
    assert action.status.remote.stored_state == StoredState()


def test_the_stores_do_not_wait_for_each_other() -> None:
    obj = complete(PINNED, DEFAULTS, remote=copied(DEFAULTS))
    down = {job_named("write-state", 1): said(FAILURE)}
    assert decide(both(obj, down, seconds=61)) == StartState(1, WANTED, remote=True)
    assert decide(both(obj, writable=False)) == StartState(1, WANTED, remote=True)
    far = {job_named("write-state", 1, SERIES): said(FAILURE)}
    reported = decide(both(complete(PINNED, AUDIT, remote=copied(DEFAULTS)), far, seconds=61))
    assert isinstance(reported, Record)
    assert decide(both(obj, far, seconds=61)) == StartState(1, WANTED)


def test_row_54_a_remote_store_that_is_down_gets_the_pin_when_it_is_back() -> None:
    """Each failed Job is reported and repeated; while its SnapshotStore is not Ready, no Job is created."""
    obj, seconds, pauses = complete(PINNED, AUDIT, remote=copied(DEFAULTS)), 60.0, []
    for number in range(1, 6):
        assert decide(both(obj, _failed(number - 1), seconds=seconds)) == StartState(number, WANTED, remote=True)
        report = decide(both(obj, _failed(number), seconds=60))
        if isinstance(report, Record):
            assert report.status.remote is not None
            assert "far has an older pin" in report.status.remote.message
            assert FAILURE.message in report.status.remote.message
            obj = {**obj, "status": report.status.wire()}
        waits = decide(both(obj, _failed(number), seconds=60))
        assert isinstance(waits, Idle)
        assert waits.seconds is not None
        pauses.append(waits.seconds)
        seconds = 60 + waits.seconds
    assert pauses == [10, 10, 600, 600, 600]
    down = Waiting("StoreNotReady", "SnapshotStore far is not ready: it is down.", 30.0)
    report = decide(both(obj, _failed(5), seconds=99999, blocked=down))
    assert isinstance(report, Record)
    obj = {**obj, "status": report.status.wire()}
    waits = decide(both(obj, _failed(5), seconds=99999, blocked=down))
    assert isinstance(waits, Idle)
    assert waits.seconds == 30
    assert decide(both(obj, _failed(5), seconds=99999)) == StartState(6, WANTED, remote=True)
    written = decide(both(obj, {job_named("write-state", 6, SERIES): said(StateResult(state=WANTED))}))
    assert isinstance(written, Record)
    assert written.status.remote is not None
    assert (written.status.remote.stored_state, written.status.remote.message) == (WANTED, "")


def _failed(number: int) -> dict[str, Object]:
    return {job_named("write-state", number, SERIES): said(FAILURE)} if number else {}


def test_a_pod_that_still_copies_goes_first() -> None:
    """Its Job was deleted, and it could write an older state."""
    obj = complete(PINNED, AUDIT, remote=copied(DEFAULTS))
    lingering = job_named("copy-remote", 1, SERIES.removeprefix("remote-"))
    found = both(obj, {lingering: RUNNING})
    found.seen.jobs.pop(lingering)
    assert decide(found) == Idle(1.0)


def test_data_that_was_let_go_of_gets_no_state() -> None:
    only = copied(AUDIT, only=True, localDeletedAt=at(70))
    obj = complete(PINNED, DEFAULTS, remote=only)
    assert idle(obj)
    assert plan_state.differing(resources.snapshot(obj)) == ()


def test_a_deletion_stops_the_jobs_of_both_stores() -> None:
    obj = complete({"deletionPolicy": "Delete"}, DEFAULTS, remote=copied(DEFAULTS), deletionTimestamp=at(90))
    running = job_named("write-state", 1, SERIES)
    assert decide(seen(obj, {running: RUNNING})) == StopJob(running)


def test_which_remote_stores_take_a_state() -> None:
    ready = {"conditions": [{**condition("Ready"), "status": "True"}]}
    assert state_blocked("far", store(name="far", status=ready)) is None
    for spec, status, expected in (
        ({"access": "ReadOnly"}, ready, Stalled),
        ({"import": True}, ready, Stalled),
        ({}, {"conditions": [{**condition("Ready"), "status": "False"}]}, Waiting),
        ({}, {}, Waiting),
    ):
        assert isinstance(state_blocked("far", store(spec, name="far", status=status)), expected)
    assert isinstance(state_blocked("far", None), Stalled)


class Slots:
    """A slot is free for each Job."""

    def slot(self, *_: Any) -> "Slots":
        return self

    def set_store(self, *_: Any) -> None: ...

    async def __aenter__(self) -> Callable[[Object], None]:
        return lambda _: None

    async def __aexit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(("remote", "series", "bucket"), [(False, "", "near"), (True, SERIES, "far")])
def test_each_job_writes_to_its_store(remote: bool, series: str, bucket: str) -> None:
    server = ApiServer()
    for each in ("near", "far"):
        spec = {"s3": {"bucket": each, "credentialsSecretRef": {"name": "s3"}}}
        server.put(STORES, obj("SnapshotStore", each, spec, {"storeId": OTHER_UID if each == "near" else UID}))
    ctx: Any = SimpleNamespace(
        kube=server.client(),
        catalog=new_catalog(),
        remembered=Remembered(lambda _: True),
        slots=Slots(),
        settings=SETTINGS,
        now=lambda: moment(101),
    )
    found = complete(PINNED, DEFAULTS, remote=copied(DEFAULTS, storeId=UID))
    found["status"]["storeName"] = "near"
    asyncio.run(carry_out(ctx, both(found), StartState(2, WANTED, remote)))
    started_job = server.read(JOBS, "shop", job_named("write-state", 2, series))
    request = request_of(started_job)
    assert request["store"]["url"] == f"s3://{bucket}"
    assert StoredState.model_validate(request["state"]) == WANTED
