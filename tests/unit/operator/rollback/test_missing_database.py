"""The live database does not exist: the rollback creates it, and there is nothing to go back to."""

import pytest

from ocore_crds import conditions as c
from ocore_crds.resources.rollback import RollbackStatus
from ocore_operator.rollback.conditions import summarized
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import Model


def run(model: Model, *, until: str = "Ended") -> RollbackStatus:
    operator = Operator(model)
    for _ in range(3000):
        if model.status.stage == until:
            return model.status
        operator.work()
        model.advance(1, 2)
    raise AssertionError(model.status)


def condition(model: Model, type_: str) -> c.Condition:
    status = summarized(model.status, generation=1, deleting=False, reason="", message="", now=model.now())
    found = c.find(status.conditions, type_)
    assert found is not None
    return found


def test_row_39_it_is_created_and_nothing_previous_is_promised() -> None:
    model = Model(missing=True)
    status = run(model)
    assert (status.phase, status.position, status.live_missing) == ("Complete", "New", True)
    assert status.previous_database is None
    assert "did not exist and was created" in condition(model, c.COMPLETE).message
    retained = condition(model, c.PREVIOUS_RETAINED)
    assert (retained.status, retained.reason) == ("False", c.NO_PREVIOUS)
    assert [w.replicas for w in model.workloads] == list(model.saved)
    assert model.executed


def test_row_39_workloads_that_do_not_become_ready_keep_the_restored_database() -> None:
    """A switch back would leave no database at all, and drop what users have written."""
    model = Model(missing=True, new_is_healthy=False)
    status = run(model)
    assert (status.phase, status.position, status.failure_reason) == ("Failed", "New", c.WORKLOAD_NOT_READY)
    assert "there is nothing to switch back to: the environment stays on the snapshot" in (status.failure_message or "")
    assert (model.switches, model.backs, model.data.live) == (1, 0, "new")
    assert [w.replicas for w in model.workloads] == list(model.saved)
    assert {s.name: s.state for s in status.steps}["HealthCheck"] == "Failed"
    assert condition(model, c.PREVIOUS_RETAINED).reason == c.NO_PREVIOUS
    # It ran: created again, it does nothing.
    assert model.executed
    run_cleanup(model)
    assert (model.status.residue, model.data.live) == ("None", "new")


def run_cleanup(model: Model) -> None:
    operator = Operator(model)
    for _ in range(400):
        operator.work()
        model.advance(5, 4)


@pytest.mark.parametrize("missing", [False, True])
def test_only_a_missing_database_prevents_the_switch_back(missing: bool) -> None:
    model = Model(missing=missing, new_is_healthy=False)
    status = run(model)
    assert (status.position, model.backs) == (("New", 0) if missing else ("Old", 1))


def test_deleted_before_the_switch_it_leaves_no_database() -> None:
    model = Model(missing=True)
    run(model, until="Prepare")
    model.deleting, model.version = True, model.version + 1
    status = run(model)
    assert (status.phase, status.position, status.failure_reason) == ("Failed", "Old", c.CANCELLED)
    run_cleanup(model)
    assert not model.exists
    assert not model.data.restored
