"""An undo: what is refused, what it takes over and gives back, what both Rollbacks report. The machine of an undo
covers crashes."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import CleanupResult, Failure, SwitchResult
from ocore_crds.resources.environment import UndoneRollback
from ocore_crds.resources.rollback import ImageStatus, ImportedRollback, RollbackSpec, RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import SavedContainer, SavedImage, SavedWorkload
from ocore_kube.errors import Conflict
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS
from ocore_operator.entries.operations import operations
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, Wait
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key
from ocore_operator.rollback import effects, executed, observe, plan, plan_undo, reconcile
from ocore_operator.rollback.memory import Memories, Memory
from ocore_operator.rollback.snapshot_and_environment import target_of
from ocore_operator.rollback.transitions import change, stamp, start_undo
from ocore_operator.rollback.world import (
    Action,
    Do,
    JobView,
    OperationLock,
    RecordExecuted,
    SettleUndo,
    StartJob,
    TakenOver,
    TakeOver,
    UndoneView,
    World,
)
from ocore_operator.workloads.view import WorkloadView
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ENVIRONMENT_ID, PROJECT_ID, START
from support.operator.rollback_objects import conditions, time_at
from support.operator.rollback_seen import altered_environment
from support.operator.undo_model import UNDONE_ID, WINDOW, UndoModel, finished

SPEC = RollbackSpec.model_validate({"undo": {"rollbackRef": {"name": "r1"}}, "undoWindowSeconds": 600})
IMPORTED = ImportedRollback(at=stamp(START), store_name="store", name="r1", spec_hash="0" * 32)
UNDO_ID = "22223333-0000-4000-8000-000000000003"


def world(**changes: Any) -> World:
    """The first look of an undo that may start."""
    seen = UndoModel().see(0).world
    return replace(seen, finalizer=True, lock=OperationLock("Ours", "Rollback u1", START), **changes)


def view(**changes: Any) -> UndoneView:
    return UndoneView(name="r1", id=UNDONE_ID, status=finished(**changes))


def preflight(seen: World, seconds: float = 10, spec: RollbackSpec = SPEC) -> Action:
    known = {"id": UNDO_ID, "environment_name": seen.environment_name}
    status = RollbackStatus(stage="Preflight", queued_at=stamp(START), stage_since=stamp(START), **known)
    return plan.decide(status, spec, seen, UNDO_ID, time_at(seconds))


def recorded(action: Action) -> RollbackStatus:
    assert isinstance(action, Record), action
    return action.status


def begun(**changes: Any) -> RollbackStatus:
    """An undo at the stage Prepare."""
    return change(recorded(preflight(world())), **changes)


def decide(status: RollbackStatus, seen: World, seconds: float = 10) -> Action:
    return plan.decide(status, SPEC, seen, UNDO_ID, time_at(seconds))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("undone", "reason", "says"),
    [
        (replace(view(), taken_by="u0"), c.ALREADY_UNDONE, "undo u0"),
        (view(switched_at=None, position="Old", phase="Failed", residue="None"), c.NOTHING_TO_UNDO, "has not switched"),
        (view(switched_at=None, position=None, residue="None"), c.NOTHING_TO_UNDO, "has not switched"),
        (view(position=None), c.POSITION_UNKNOWN, "unknown"),
        (view(residue=None, imported=IMPORTED), c.NOTHING_TO_UNDO, "was imported"),
        (view(live_missing=True, previous_database=None), c.NOTHING_TO_UNDO, "did not exist before"),
        (view(residue="None"), c.UNDO_WINDOW_OVER, "to a snapshot instead"),
        (view(residue="Unknown"), c.UNDO_WINDOW_OVER, "to a snapshot instead"),
        (view(cleanup_attempt=1), c.UNDO_WINDOW_OVER, "to a snapshot instead"),
        (view(undo_until=stamp(time_at(10))), c.UNDO_WINDOW_OVER, stamp(time_at(10))),
        (view(undo_until=stamp(time_at(9))), c.UNDO_WINDOW_OVER, stamp(time_at(9))),
        (view(undo_until=None), c.UNDO_WINDOW_OVER, "to a snapshot instead"),
        (replace(view(), deleting=True), c.UNDO_WINDOW_OVER, "to a snapshot instead"),
        (view(environment_id=PROJECT_ID), c.OTHER_ENVIRONMENT, "set its spec.id"),
        (view(environment_id="0"), c.OTHER_ENVIRONMENT, "set its spec.id"),
        (view(environment_id="z"), c.OTHER_ENVIRONMENT, "set its spec.id"),
        (view(target=None), c.ENVIRONMENT_CHANGED, "Change it back"),
        (replace(view(), later="r2"), c.OTHER_ROLLBACK_SINCE, "Undo r2 first"),
    ],
)
def test_refused_at_once(undone: UndoneView, reason: str, says: str) -> None:
    """Also with the operation lock, so that nothing can change after the check."""
    for lock in ("Free", "Ours"):
        status = recorded(preflight(replace(world(undone=undone), lock=OperationLock(lock))))  # type: ignore[arg-type]
        assert (status.phase, status.failure_reason) == ("Failed", reason)
        assert says in (status.failure_message or "")
        assert (status.residue, status.undo, status.switch_attempt, status.started_at) == ("None", None, 0, None)


@pytest.mark.parametrize("layout", ["Plain", "Odoo"])
@pytest.mark.parametrize("workloads", [(), (WorkloadView("Deployment", "w0", replicas=1),)])
def test_row_126_an_undo_replaces_no_folder_under_an_application(
    layout: Literal["Plain", "Odoo"], workloads: tuple[WorkloadView, ...]
) -> None:
    """The workloads were taken out of the spec after the rollback."""
    seen = world(workloads=workloads)
    assert seen.environment is not None
    target = target_of(seen.environment).model_copy(update={"layout": layout})
    environment = altered_environment(seen.environment, target=target)
    seen = replace(seen, environment=environment, undone=view(target=target))
    status = recorded(preflight(seen))
    wanted = c.WRITERS_NOT_STOPPED if layout == "Plain" and not workloads else None
    assert status.failure_reason == wanted
    assert (status.stage == "Prepare") == (wanted is None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"undone": None}, c.ROLLBACK_NOT_FOUND),
        ({"undone": view(stage="HealthCheck", phase="Resuming")}, c.ROLLBACK_NOT_FINISHED),
        ({"undone": view(stage="BackDrain", phase="SwitchingBack")}, c.ROLLBACK_NOT_FINISHED),
        ({"environment": None}, c.ENVIRONMENT_NOT_FOUND),
        ({"workloads": (WorkloadView("Deployment", "w0", exists=False),)}, c.WORKLOAD_NOT_FOUND),
    ],
)
def test_what_may_still_appear_is_waited_for_a_minute(changes: dict[str, Any], reason: str) -> None:
    assert isinstance(preflight(world(**changes)), Wait)
    assert recorded(preflight(world(**changes), 61)).failure_reason == reason


@pytest.mark.parametrize(
    ("phase", "position", "refused"),
    [("Failed", "Old", True), ("Failed", "New", False), ("SwitchedBack", "Old", False), ("Complete", "New", False)],
)
def test_an_undo_that_was_switched_back_kept_nothing_of_its_own(phase: str, position: str, refused: bool) -> None:
    """What it had switched to belongs to the rollback that it should have undone."""
    undo = {"rollbackName": "r0", "rollbackId": ENVIRONMENT_ID, "namesId": ENVIRONMENT_ID, "to": "Old"}
    undone_ = view(undo=undo, phase=phase, position=position)
    status = recorded(preflight(world(undone=undone_)))
    assert (status.failure_reason == c.NOTHING_TO_UNDO) == refused
    assert (status.stage == "Prepare") == (not refused)


def test_it_knows_the_replicas_from_before_the_undone_rollback() -> None:
    saved = (SavedWorkload(kind="Deployment", name="w0", replicas=5),)
    status = recorded(preflight(world(undone=view(workloads=saved))))
    assert status.undo is not None
    assert status.undo.workloads == saved


def test_it_sets_the_images_that_a_rollback_which_was_switched_back_had_set() -> None:
    containers = (SavedContainer(name="app", image="registry/shop:3"),)
    saved = SavedWorkload(kind="Deployment", name="w0", replicas=2, image=SavedImage(containers=containers))
    image = ImageStatus(mode="Always", reference="registry/shop:1")
    back = view(phase="SwitchedBack", position="Old", workloads=(saved,), image=image)
    status = recorded(preflight(world(undone=back)))
    assert status.undo is not None
    (found,) = status.undo.workloads
    assert found.image is not None
    assert [x.image for x in found.image.containers] == ["registry/shop:1"]


def test_it_ran_before() -> None:
    status = recorded(preflight(world(executed_before=True, undone=None)))
    assert (status.phase, conditions(status)["Complete"][1]) == ("Complete", c.ALREADY_EXECUTED)


def test_it_needs_the_lock_and_no_probe() -> None:
    """An Environment that is not ready for a rollback does not prevent an undo: nothing is restored, and the switch Job
    checks what it needs."""
    free = replace(world(), lock=OperationLock("Free"))
    assert preflight(free) == Do(SetLock(held=True))
    assert free.environment is not None
    unready = altered_environment(
        free.environment, rollback_ready=False, not_ready_reason=c.CAPACITY_UNKNOWN, probed_at=None
    )
    assert recorded(preflight(world(environment=unready))).stage == "Prepare"
    twin = altered_environment(unready, not_ready_reason=c.DUPLICATE_TARGET)
    assert recorded(preflight(world(environment=twin))).failure_reason == c.DUPLICATE_TARGET


# --- which way it goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "undo_to", "to"),
    [("New", None, "Old"), ("Old", None, "New"), ("New", "Old", "New"), ("Old", "Old", "Old"), ("New", "New", "Old")],
)
def test_it_goes_to_the_other_position_of_the_first_rollback(position: Any, undo_to: Any, to: str) -> None:
    """`undo_to`: what is undone is an undo itself, of the rollback that restored the databases."""
    other = UndoStatus(rollback_name="r0", rollback_id="x", names_id="99998888-0000-4000-8000-000000000009", to="Old")
    undo = other.model_copy(update={"to": undo_to}) if undo_to else None
    seen = world(undone=view(position=position, undo=undo, phase="SwitchedBack" if position == "Old" else "Complete"))
    status = recorded(preflight(seen))
    assert status.undo is not None
    digits = "99998888" if undo_to else "11112222"
    assert (status.undo.to, status.undo.names_id[:8]) == (to, digits)
    beside, previous = f"shop_rb_{digits}", f"shop_prev_{digits}"
    wanted = (previous, beside) if to == "Old" else (beside, previous)
    assert (status.restored_database, status.previous_database) == wanted
    assert (status.position, status.residue, status.stage) == ("Old", "None", "Prepare")
    assert {s.name: s.state for s in status.steps if s.state != "Pending"} == {
        "Preflight": "Done", "RestoreDatabase": "Skipped", "RestoreFilestore": "Skipped", "Check": "Skipped",
        "Neutralize": "Skipped",
    }  # fmt: skip
    done = SwitchResult(position=to, restored_database=beside, previous_database="")  # type: ignore[arg-type]
    seen_by_it = plan_undo.as_seen_by(status, done)
    assert seen_by_it.position == "New"
    assert (seen_by_it.previous_database == beside) == (to == "Old")


def test_the_workloads_get_their_replicas_from_before_the_undone_rollback() -> None:
    """But one that runs now is not left stopped, and where the undo does not switch, all is as it was."""
    status = begun(stage="Resume", position="New", switched_at=stamp(START))
    assert status.undo is not None
    before = tuple(SavedWorkload(kind="Deployment", name=n, replicas=r) for n, r in (("w0", 3), ("w1", 0), ("gone", 1)))
    now = tuple(SavedWorkload(kind="Deployment", name=n, replicas=r) for n, r in (("w0", 0), ("w1", 2), ("w2", 1)))
    status = change(status, undo=status.undo.model_copy(update={"workloads": before}), workloads=now)
    stopped = tuple(WorkloadView("Deployment", n) for n in ("w0", "w1", "w2"))
    action = decide(status, world(workloads=stopped))
    assert isinstance(action, Do)
    assert {w.name: n for w, n in action.effect.targets} == {"w0": 3, "w1": 2, "w2": 1}  # type: ignore[union-attr]
    back = change(status, position="Old", failure_reason=c.SWITCH_FAILED, failure_message="m")
    action = decide(back, world(workloads=stopped))
    assert isinstance(action, Do)
    assert {w.name: n for w, n in action.effect.targets} == {"w1": 2, "w2": 1}  # type: ignore[union-attr]


def test_a_second_run_is_found_by_the_record() -> None:
    for reason, phase in ((c.ALREADY_EXECUTED, "Complete"), (c.SWITCHED_BACK, "Failed"), (c.OUTCOME_UNKNOWN, "Failed")):
        job = JobView("switch", 1, "j", ended=True, failure=Failure(reason=reason, message="m"))
        status = recorded(decide(begun(), world(jobs=(job,))))
        while status.stage != "Ended":
            status = recorded(decide(status, world(jobs=(job,))))
        assert (status.phase, status.residue, status.undo_until) == (phase, "None", None)
        assert decide(status, replace(world(), lock=OperationLock("Free"))) == Do(SetFinalizer(present=False))


# --- who owns what is kept -------------------------------------------------------------------------------------------


def at_drain() -> tuple[RollbackStatus, JobView]:
    return begun(stage="Drain", stage_since=stamp(time_at(10))), JobView("switch", 1, "j", ready=True, pods=1)


def test_it_takes_over_before_the_signal() -> None:
    status, job = at_drain()
    down = tuple(WorkloadView("Deployment", n) for n in ("w0", "w1"))
    assert decide(status, world(jobs=(job,), workloads=down)) == Do(TakeOver(), after="operator-undo-taken-over")
    # Another undo was Returned: it is not ours.
    assert isinstance(decide(status, world(jobs=(job,), workloads=down, undo_state="Returned")), Do)
    switching = recorded(decide(status, world(jobs=(job,), workloads=down, undo_state="Running")))
    assert (switching.stage, switching.residue) == ("Switch", "Pending")


def test_an_undo_that_fails_before_the_switch_gives_back_at_once() -> None:
    status = begun(stage="Finish", failure_reason=c.WORKLOAD_SCALED_UP, failure_message="m", residue="Pending")
    assert decide(status, world(undo_state="Running")) == Do(SettleUndo("Returned"), after="operator-undo-settled")
    done = recorded(decide(status, world(undo_state="Returned")))
    assert (done.phase, done.residue, done.undo_until) == ("Failed", "None", None)
    assert not {"PreviousRetained", "SwitchedBackRetained"} & conditions(done).keys()
    # The API server refused it for too long: it is repeated after the end, before the finalizer goes.
    late = recorded(decide(status, world(undo_state="Running"), 200))
    assert late.stage == "Ended"
    assert decide(late, world(undo_state="Running"), 201) == Do(SettleUndo("Returned"), after="operator-undo-settled")
    assert decide(late, replace(world(undo_state="Returned"), lock=OperationLock("Free")), 202) == Do(
        SetFinalizer(present=False)
    )


def test_an_undo_that_was_switched_back_gives_back_for_another_window() -> None:
    status = begun(
        stage="Finish", failure_reason=c.SWITCHED_BACK, failure_message="m", residue="Pending", switched_at=stamp(START)
    )
    until = stamp(time_at(610))
    assert decide(status, world(undo_state="Running")) == Do(
        SettleUndo("Returned", until), after="operator-undo-settled"
    )
    done = recorded(decide(status, world(undo_state="Returned")))
    assert (done.phase, done.residue, done.undo_until) == ("Failed", "None", None)
    assert "SwitchedBackRetained" not in conditions(done)
    # The other one keeps it that long; but never shorter than it would have.
    other = finished(window=300)
    longer = recorded(undone(other, TakenOver("Returned", "u1", until)))
    assert longer.undo_until == until
    assert isinstance(undone(finished(window=3000), TakenOver("Returned", "u1", until)), Idle)


def test_a_complete_undo_owns_what_was_live_before() -> None:
    status = begun(stage="Finish", position="New", switched_at=stamp(START), residue="Pending")
    assert decide(status, world(undo_state="Running")) == Do(SettleUndo("Undone"), after="operator-undo-settled")
    assert decide(status, world(undo_state="Undone")) == Do(RecordExecuted())
    seen = world(executed=True, undo_state="Undone")
    done = recorded(decide(status, seen))
    assert (done.phase, done.residue, done.undo_until) == ("Complete", "Pending", stamp(time_at(610)))
    said = conditions(done)
    assert "Rollback r1 is undone: the environment runs on the data from before it" in said["Complete"][2]
    assert said["PreviousRetained"][0] == "True"
    assert "shop_rb_11112222 is kept until" in said["PreviousRetained"][2]
    # Its window ends: as for a rollback.
    seen = replace(seen, undo_state="Undone")
    begun_ = recorded(decide(done, seen, 700))
    read = JobView("inspect", 1, "i", ended=True, payload=SwitchResult(position="New"))
    begun_ = recorded(decide(begun_, replace(seen, jobs=(read,)), 701))
    assert decide(begun_, seen, 702) == Do(StartJob("cleanup-previous", 1), before="operator-rollback-cleanup")
    job = JobView("cleanup", 1, "c", ended=True, payload=CleanupResult(databases_dropped=("shop_rb_11112222",)))
    assert recorded(decide(begun_, replace(seen, jobs=(job,)), 703)).residue == "None"


def undone(status: RollbackStatus, entry: TakenOver | None, seconds: float = 10, **changes: Any) -> Action:
    """What the rollback that is undone decides."""
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}, "undoWindowSeconds": WINDOW})
    seen = replace(world(), **{"lock": OperationLock("Free"), "undone": None, "taken_over": entry, **changes})
    return plan.decide(status, spec, seen, UNDONE_ID, time_at(seconds))


def test_the_undone_rollback_touches_nothing_while_its_undo_runs() -> None:
    """Neither a read that shows the other position, nor the end of its window, nor its deletion."""
    running = TakenOver("Running", "u1")
    assert undone(finished(), running) == Idle(plan_undo.TAKEN_OVER_SECONDS)
    assert undone(finished(), running, lock=OperationLock("Ours", "r1", START)) == Do(SetLock(held=False))
    reading = finished(position_read_began=stamp(START), inspect_attempt=1)
    switched = JobView("inspect", 1, "i", ended=True, payload=SwitchResult(position="Old"))
    assert isinstance(undone(reading, running, jobs=(switched,)), Idle)
    # A cleanup that is due would go before one of the undo: it is postponed.
    over = recorded(undone(finished(window=5), running))
    assert over.cleanup_after == stamp(time_at(10 + plan_undo.POSTPONED_SECONDS))
    assert isinstance(undone(over, running), Idle)
    assert isinstance(undone(over, running, deleting=True), Idle)
    for residue in ("None", "Unknown"):
        assert isinstance(undone(finished(window=5, residue=residue), running), Idle), "there is no cleanup"


def test_the_undone_rollback_reports_it_and_has_nothing_left() -> None:
    status = recorded(undone(finished(), TakenOver("Undone", "u1")))
    assert (status.phase, status.position, status.residue, status.undone_by) == ("SwitchedBack", "Old", "None", "u1")
    said = conditions(status)
    assert said["Complete"][:2] == ("True", c.UNDONE)
    assert said["Ready"][:2] == ("False", c.UNDONE)
    assert said["Stalled"][:2] == ("True", c.UNDONE)
    assert "undo u1 within its undo window" in said["Ready"][2]
    assert said["PreviousRetained"][:2] == ("False", c.UNDONE)
    assert undone(status, TakenOver("Undone", "u1")) == Do(SetFinalizer(present=False))
    # One that had been switched back runs on its snapshot again.
    back = finished(phase="SwitchedBack", position="Old", switched_back_at=stamp(START))
    forth = recorded(undone(back, TakenOver("Undone", "u1")))
    assert (forth.phase, forth.position) == ("Complete", "New")
    assert conditions(forth)["Ready"][0] == "True"
    failed = finished(phase="Failed", position="Old", failure_reason=c.SWITCHED_BACK, failure_message="Not ready.")
    told = recorded(undone(failed, TakenOver("Undone", "u1")))
    assert (told.phase, told.position) == ("Failed", "New")
    assert "undone by Rollback u1 later" in (told.failure_message or "")


def test_a_position_that_is_found_later_settles_it() -> None:
    """The server did not answer; the Job that finds the position runs after the end."""
    ended = begun(
        stage="Ended", phase="Failed", position=None, residue="Pending", inspect_attempt=1, cleanup_attempt=1,
        failure_reason=c.POSITION_UNKNOWN, failure_message="m", stage_since=stamp(START),
    )  # fmt: skip
    old = JobView("inspect", 1, "i", ended=True, payload=SwitchResult(position="Old"))
    known = recorded(decide(ended, world(jobs=(old,), undo_state="Running")))
    assert (known.position, known.residue) == ("Old", "None")
    assert decide(known, world(undo_state="Running")) == Do(SettleUndo("Returned"), after="operator-undo-settled")
    new = JobView("inspect", 1, "i", ended=True, payload=SwitchResult(position="New"))
    seen = world(jobs=(new,), undo_state="Running")
    assert decide(ended, seen) == Do(RecordExecuted())
    seen = replace(seen, executed=True)
    known = recorded(decide(ended, seen))
    assert (known.position, known.residue, known.undo_until) == ("New", "Pending", stamp(time_at(610)))
    assert decide(known, seen) == Do(SettleUndo("Undone"), after="operator-undo-settled")


def test_from_the_beginning_to_the_end() -> None:
    model = UndoModel()
    model.undone_runs = True
    operator = Operator(model)
    for _ in range(400):
        operator.work()
        model.advance(10, 4)
    assert (model.status.phase, model.status.residue, model.undone.phase) == ("Complete", "None", "SwitchedBack")
    assert (model.data.live, model.data.folder, model.drops, model.switches) == ("new", "new", 1, 1)


# --- what the Environment remembers ----------------------------------------------------------------------------------


def rollback(name: str, uid: str, status: RollbackStatus, spec: dict[str, Any]) -> resources.Rollback:
    meta = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "1", "creationTimestamp": stamp(START)}
    return resources.rollback({"metadata": meta, "spec": spec, "status": status.wire()})


def environment_object(**status: Any) -> dict[str, Any]:
    meta = {
        "name": "shop",
        "namespace": "ns",
        "uid": ENVIRONMENT_ID,
        "resourceVersion": "1",
        "creationTimestamp": stamp(START),
    }
    spec = {
        "projectId": PROJECT_ID,
        "type": "production",
        "storeRef": {"name": "s"},
        "database": {"secretRef": {"name": "db"}},
    }
    return {"apiVersion": "ocore.dev/v1alpha1", "kind": "Environment", "metadata": meta, "spec": spec, "status": status}


def ran(name: str, seconds: float, undoes: str | None = None) -> dict[str, Any]:
    entry = {"name": name, "specHash": "h", "id": f"id-{name}", "completedAt": stamp(time_at(seconds))}
    return {**entry, "undoes": undoes} if undoes else entry


R1 = rollback("r1", UNDONE_ID, finished(), {"snapshotRef": {"name": "s1"}})


@pytest.mark.parametrize(
    ("entries", "later"),
    [
        ([], ""),
        ([ran("r0", -600)], ""),
        ([ran("r2", 5)], "r2"),
        # Undone since: its undo leaves the databases as they were.
        ([ran("r2", 5), ran("u2", 6, "id-r2")], ""),
        ([ran("r2", 5), ran("u2", 6, "id-r2"), ran("u3", 7, "id-r2")], "u3"),
        ([ran("r2", 5), ran("r3", 6), ran("u3", 7, "id-r3")], "r2"),
        # Its own undos.
        ([ran("u1", 5, UNDONE_ID)], ""),
        # Written to the second; the order counts, not the text.
        ([{**ran("r2", 0), "completedAt": "2026-01-01T00:00:01Z"}], "r2"),
    ],
)
def test_a_rollback_since_then_is_known_unless_it_was_undone(entries: list[dict[str, Any]], later: str) -> None:
    found = resources.environment(environment_object(executedRollbacks=entries))
    assert executed.later(found, R1) == later


def undo_of(status: RollbackStatus) -> resources.Rollback:
    return rollback("u1", UNDO_ID, status, {"undo": {"rollbackRef": {"name": "r1"}}})


def test_the_entry_of_an_undo() -> None:
    mine = undo_of(begun())
    found = resources.environment(environment_object())
    assert observe.undo_state(found, mine) is None
    entries = executed.with_undo(found, mine, "Running")
    after = resources.environment(environment_object(undoneRollbacks=[e.wire() for e in entries]))
    assert observe.undo_state(after, mine) == "Running"
    other = rollback("u2", PROJECT_ID, begun(), {"undo": {"rollbackRef": {"name": "r1"}}})
    assert observe.undo_state(after, other) is None
    assert [(e.id, e.by_name, e.state) for e in executed.with_undo(after, other, "Running")] == [
        (UNDONE_ID, "u2", "Running")
    ]
    many = [UndoneRollback(id=f"{i}", by_name="x", by_id="y", state="Undone").wire() for i in range(60)]
    assert (
        len(executed.with_undo(resources.environment(environment_object(undoneRollbacks=many)), mine, "Running")) == 50
    )
    assert executed.run_of(mine, PROJECT_ID).undoes == UNDONE_ID
    assert executed.remembered(after, mine, stamp(START))[-1].undoes == UNDONE_ID


def context(api: ApiServer) -> Any:
    return SimpleNamespace(kube=api.client(), now=lambda: START, catalog=new_catalog())


def observed(api: ApiServer, mine: resources.Rollback) -> observe.Observed:
    environment = resources.environment(api.read(ENVIRONMENTS, "ns", "shop"))
    return observe.Observed(mine, mine.status, replace(world(), environment=environment))


def test_the_environment_keeps_both_lists_and_refuses_a_stale_write() -> None:
    """One field manager owns both: a list that is left out would be dropped."""
    api = ApiServer()
    api.put(ENVIRONMENTS, environment_object(executedRollbacks=[ran("r0", -600)]))
    ctx, mine, memory = context(api), undo_of(begun()), Memory()
    stale = observed(api, mine)
    asyncio.run(effects.carry_out(ctx, stale, memory, TakeOver()))
    status = api.read(ENVIRONMENTS, "ns", "shop")["status"]
    assert [e["name"] for e in status["executedRollbacks"]] == ["r0"]
    assert status["undoneRollbacks"] == [{"id": UNDONE_ID, "byName": "u1", "byId": UNDO_ID, "state": "Running"}]
    with pytest.raises(Conflict):
        asyncio.run(effects.carry_out(ctx, stale, memory, TakeOver()))
    asyncio.run(effects.carry_out(ctx, observed(api, mine), memory, RecordExecuted()))
    asyncio.run(effects.carry_out(ctx, observed(api, mine), memory, SettleUndo("Returned", stamp(time_at(5)))))
    status = api.read(ENVIRONMENTS, "ns", "shop")["status"]
    assert [e["name"] for e in status["executedRollbacks"]] == ["r0", "u1"]
    assert status["undoneRollbacks"][0]["state"] == "Returned"
    # Another undo has taken over since: this one's outcome does not matter any more.
    other = rollback("u2", PROJECT_ID, begun(), {"undo": {"rollbackRef": {"name": "r1"}}})
    asyncio.run(effects.carry_out(ctx, observed(api, other), memory, TakeOver()))
    asyncio.run(effects.carry_out(ctx, observed(api, mine), memory, SettleUndo("Undone")))
    assert api.read(ENVIRONMENTS, "ns", "shop")["status"]["undoneRollbacks"][0]["byName"] == "u2"


def test_the_end_of_an_undo_is_recorded_with_what_it_has_undone() -> None:
    """In one write: the next operation of the environment must see both."""
    api = ApiServer()
    api.put(ENVIRONMENTS, environment_object(executedRollbacks=[ran("r0", -600)]))
    ctx, mine, memory = context(api), undo_of(begun()), Memory()
    for effect, names in ((TakeOver(), ["r0"]), (SettleUndo("Undone"), ["r0", "u1"])):
        asyncio.run(effects.carry_out(ctx, observed(api, mine), memory, effect))
        status = api.read(ENVIRONMENTS, "ns", "shop")["status"]
        assert [e["name"] for e in status["executedRollbacks"]] == names
    assert status["undoneRollbacks"][0]["state"] == "Undone"


def test_an_undo_that_vanished_owns_nothing() -> None:
    """Its finalizer was removed by hand: the rollback finds out by the databases' names what happened."""
    api = ApiServer()
    entry = {"id": UNDONE_ID, "byName": "u1", "byId": UNDO_ID, "state": "Running"}
    environment = resources.environment(api.put(ENVIRONMENTS, environment_object(undoneRollbacks=[entry])))
    ctx = context(api)
    assert asyncio.run(observe._taken_over(ctx, R1, environment)) is None
    mine = undo_of(begun())
    named = {"name": "u1", "namespace": "ns", "uid": UNDO_ID, "creationTimestamp": stamp(START)}
    spec = {"undo": {"rollbackRef": {"name": "r1"}}}
    api.put(ROLLBACKS, {"metadata": {**mine.meta.__dict__, **named}, "spec": spec})
    assert asyncio.run(observe._taken_over(ctx, R1, environment)) == TakenOver("Running", "u1")
    seen = asyncio.run(observe._undone(ctx, mine, R1, environment))
    assert seen is not None
    assert seen.taken_by == "u1"
    # One that is settled needs no object any more.
    settled = resources.environment(
        environment_object(undoneRollbacks=[{**entry, "state": "Undone", "byName": "gone"}])
    )
    assert asyncio.run(observe._taken_over(ctx, R1, settled)) == TakenOver("Undone", "gone")


def test_an_undo_waits_in_the_queue_of_the_environment() -> None:
    """Before its status names it: by the Rollback that it undoes."""
    catalog = new_catalog()
    meta = {"namespace": "ns", "resourceVersion": "1", "creationTimestamp": stamp(START)}
    catalog.put(
        "Rollback",
        {"metadata": {**meta, "name": "r1", "uid": UNDONE_ID}, "spec": {}, "status": {"environmentName": "shop"}},
    )
    undo = {"undo": {"rollbackRef": {"name": "r1"}}}
    catalog.put("Rollback", {"metadata": {**meta, "name": "u1", "uid": UNDO_ID}, "spec": undo, "status": {}})
    assert "u1" in [e.key.name for e in operations(catalog, "ns", "shop")]


def test_start_undo_needs_no_database() -> None:
    """An environment that has only files."""
    seen = world()
    assert seen.environment is not None
    other = UndoneView(name="r1", id=UNDONE_ID, status=finished(live_database=None))
    status = start_undo(RollbackStatus(id=UNDO_ID), SPEC, seen.environment, other, START)
    assert (status.live_database, status.restored_database, status.previous_database) == (None, None, None)


def test_the_undone_rollback_is_woken() -> None:
    """It is idle for up to half an hour, and its own object does not change."""
    api = ApiServer()
    api.put(ENVIRONMENTS, environment_object())
    ctx, mine, memories = context(api), undo_of(begun()), Memories()
    queued: list[Key] = []
    ctx.queue = SimpleNamespace(add=queued.append)
    key = Key("Rollback", "ns", "r1")
    memories.of(key, UNDONE_ID).set_idle("1", None)
    for effect in (TakeOver(), SettleUndo("Undone")):
        observer = reconcile._Observer(ctx, Memory(), mine)
        asyncio.run(reconcile._carry_out(ctx, memories, observer, observed(api, mine), Do(effect)))
        assert queued == [key]
        assert not memories.of(key, UNDONE_ID).is_idle("1", START)
        queued.clear()
        memories.of(key, UNDONE_ID).set_idle("1", None)


def test_a_longer_window_is_recorded_once_and_only_for_what_is_kept() -> None:
    back = TakenOver("Returned", "u1", stamp(time_at(10 + 2 * WINDOW)))
    longer = recorded(undone(finished(), back))
    assert longer.undo_until == back.keep_until
    assert not isinstance(undone(longer, back), Record)
    for residue in ("None", "Unknown"):
        assert not isinstance(undone(finished(residue=residue), back), Record)
