"""recoveryEvidence of a Rollback through the real plan and its transitions, in the model world."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.rollback import RollbackStatus
from ocore_operator import summarize
from ocore_operator.frame.actions import Record
from ocore_operator.rollback import plan
from ocore_operator.rollback import world as v
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.plan_after_end import READ_POSITION_SECONDS
from support.operator.rollback_machine import Operator, RollbackMachine
from support.operator.rollback_model import ROLLBACK_ID, Model
from support.operator.rollback_objects import rollback
from support.operator.undo_model import UndoModel


def evidence_of(model: Model, status: RollbackStatus | None = None) -> RecoveryEvidence:
    """As the API server stores it after the write of this status."""
    shown = summarized(
        status or model.status, generation=1, deleting=model.deleting, reason="", message="", now=model.now()
    )
    asked = replace(rollback(), spec=model.spec)
    body = json.loads(json.dumps(summarize.applied(summarize.evidenced(asked, shown))))
    found = RollbackStatus.model_validate(body).recovery_evidence
    assert found is not None
    return found


def run(model: Model, *, until: str = "Ended") -> RecoveryEvidence:
    operator = Operator(model)
    for _ in range(3000):
        if model.status.stage == until:
            return evidence_of(model)
        if not operator.act(*operator.decide()):
            model.advance(1, 2)
    raise AssertionError(model.status)


def test_an_undo_is_green_without_a_restore() -> None:
    model = UndoModel()
    model.undone_runs = True
    found = run(model)
    assert found.can_write_clean_success, found.why_not_green
    assert found.required_steps == ("Preflight", "Quiesce", "Switch", "Resume", "HealthCheck")
    assert "Rollback r1 is undone: what it had kept is live again." in found.why_green
    undone = evidence_of(model, model.undone)
    assert not undone.can_write_clean_success, "the environment does not run on its snapshot any more"


def test_an_undo_that_has_not_switched_is_not_green() -> None:
    model = UndoModel()
    found = run(model, until="Drain")
    assert "Switch" in found.missing_steps
    assert "RestoreDatabase" not in found.missing_steps


def test_from_its_creation_to_green() -> None:
    model = Model()
    operator = Operator(model)
    done = 0
    seen: dict[str, RecoveryEvidence] = {}
    for _ in range(3000):
        if model.status.stage is not None:
            found = evidence_of(model)
            assert found.progress.done >= done, "a step that was done is not done any more"
            done = found.progress.done
            assert found.can_write_clean_success == (model.status.stage == "Ended")
            seen[model.status.stage] = found
        if model.status.stage == "Ended":
            break
        if not operator.act(*operator.decide()):
            model.advance(1, 2)
    assert (seen["Preflight"].status, seen["Restore"].status) == ("pending", "running")
    assert seen["Restore"].missing_steps[0] == "RestoreDatabase"
    assert "Step Switch is not done (Running)." in seen["Switch"].why_not_green
    assert "Not recorded: record: in status.executedRollbacks." in seen["Finish"].why_not_green
    end = seen["Ended"]
    assert (end.status, end.reason, end.progress.done) == ("completed", c.SUCCEEDED, 8)
    assert end.optional_failed_steps == end.blocking_steps == ()
    assert "The Environment remembers that it ran." in end.why_green


def test_it_stays_green_through_its_cleanup() -> None:
    model = Model(undo_window=60)
    run(model)
    operator = Operator(model)
    for _ in range(200):
        operator.work()
        assert evidence_of(model).can_write_clean_success
        model.advance(5, 4)
    assert model.status.residue == "None"
    assert "previousDatabase" not in evidence_of(model).artifact_paths


def test_one_that_was_switched_back_is_not_green() -> None:
    found = run(Model(new_is_healthy=False))
    assert (found.status, found.reason) == ("failed", c.SWITCHED_BACK)
    assert set(found.blocking_steps) == {"HealthCheck", "SwitchBack"}
    assert "switch: position New" in found.missing_evidence
    assert found.why_not_green[0].startswith("SwitchedBack: ")


def test_one_that_was_aborted_is_not_green() -> None:
    model = Model()
    run(model, until="Prepare")
    model.deleting, model.version = True, model.version + 1
    found = run(model)
    assert (found.status, found.reason) == ("failed", c.CANCELLED)
    assert "Switch" in found.missing_steps
    assert not found.can_write_clean_success


@pytest.mark.parametrize("healthy", [True, False])
def test_a_database_that_did_not_exist(healthy: bool) -> None:
    found = run(Model(missing=True, new_is_healthy=healthy))
    assert found.can_write_clean_success == healthy
    assert found.blocking_steps == (() if healthy else ("HealthCheck",))


def test_files_that_were_lost_before_the_snapshot_are_missing() -> None:
    model = Model()
    model.lost_files = ("ab/abcd",)
    found = run(model)
    assert (found.status, found.can_write_clean_success) == ("completed", False)
    assert found.missing_evidence == ("filestore: lost files that the database names (1 listed, for example ab/abcd)",)


def test_an_environment_that_does_not_remember_it() -> None:
    """The Environment was deleted during the switch: the Rollback would run again on another one."""
    model = Model()
    run(model, until="HealthCheck")
    model.environment, model.holder = False, None
    found = run(model)
    assert (found.status, found.missing_evidence) == ("completed", ("record: in status.executedRollbacks",))


def test_one_that_ran_before_is_not_green() -> None:
    model = Model()
    run(model, until="Restore")
    failure = Failure(reason=c.ALREADY_EXECUTED, message="It has run before.")
    job = v.JobView("restore", model.status.attempt, "restore-x", ended=True, failure=failure)
    world = replace(model.see(model.time).world, jobs=(job,))
    action = plan.decide(model.status, model.spec, world, ROLLBACK_ID, model.now())
    assert isinstance(action, Record)
    found = evidence_of(model, action.status)
    assert (found.status, found.reason, found.progress.done) == ("completed", c.ALREADY_EXECUTED, 0)
    assert found.why_not_green[0].startswith("Nothing was done")


def test_switched_by_hand_it_never_gets_green_again() -> None:
    """Back, and forward again: the operator has not checked the workloads since."""
    model = Model(undo_window=10 * READ_POSITION_SECONDS)
    assert run(model).can_write_clean_success

    def found_later(position: str) -> RecoveryEvidence:
        """What the next read of the position leads to."""
        operator = Operator(model)
        for _ in range(READ_POSITION_SECONDS):
            operator.work()
            if model.status.position == position:
                return evidence_of(model)
            model.advance(5, 4)
        raise AssertionError(model.status)

    model.switch_by_hand()
    back = found_later("Old")
    assert (back.status, back.reason) == ("completed", c.SWITCHED_BACK)
    assert "was switched back by hand" in back.why_not_green[0]
    assert back.blocking_steps == ("SwitchBack",)
    model.switch_by_hand()
    forward = found_later("New")
    assert (model.status.phase, model.status.position) == ("Complete", "New")
    assert (forward.status, forward.can_write_clean_success) == ("completed", False)
    assert forward.blocking_steps == ("SwitchBack",)
    assert forward.why_not_green[0].startswith("It was switched back and forward again by hand.")


class EvidenceMachine(RollbackMachine):
    """Under all faults at once: green is never a lie."""

    @invariant()
    def green_is_true(self) -> None:
        model, status = self.model, self.model.status
        if status.stage is None:
            return
        found = evidence_of(model)
        assert found.can_write_clean_success == (
            not (found.missing_steps or found.blocking_steps or found.missing_evidence)
        )
        if found.can_write_clean_success:
            assert status.phase == "Complete"
            assert model.backs == 0
            assert model.switches == 1
            assert model.executed or not model.environment
            assert model.data.live == "new" or model.by_hand_at is not None
        assert not (model.backs and found.can_write_clean_success)


TestEvidenceMachine = EvidenceMachine.TestCase
TestEvidenceMachine.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
