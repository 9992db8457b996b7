"""A session that the switch Job cannot end: found before the workloads are stopped, and never the cause of a long
downtime (issue 9, item 23)."""

import pytest

from ocore_crds import conditions as c
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import Model

#: Seconds from the signal until the workloads have their replicas again.
DOWN_SECONDS = 10


def run(model: Model, operator: Operator, *, until: str, seconds: float = 300) -> None:
    """Until a stage is reached; time and the Jobs move on where the plan waits."""
    end = model.time + seconds
    while model.status.stage != until:
        assert model.time < end, f"stage {until} was not reached: {model.status}"
        if not operator.act(*operator.decide()):
            model.advance(0.5, 1)


def test_a_session_is_found_before_the_workloads_are_stopped() -> None:
    model = Model()
    operator = Operator(model)
    run(model, operator, until="Prepare")
    model.session = True
    run(model, operator, until="Ended")
    assert model.status.failure_reason == c.SESSIONS_REMAIN
    assert "superuser" in (model.status.failure_message or "")
    assert model.status.quiesced_at is None
    assert [w.replicas for w in model.workloads] == list(model.saved)
    assert model.switches == 0


def test_a_session_that_ends_in_time_prevents_nothing() -> None:
    model = Model()
    operator = Operator(model)
    run(model, operator, until="Prepare")
    model.session = True
    for _ in range(20):
        operator.work()
        model.advance(0.5, 1)
    assert model.status.stage == "Prepare"
    model.session = False
    run(model, operator, until="Ended")
    assert model.status.phase == "Complete"


def test_a_session_that_comes_later_costs_seconds() -> None:
    model = Model()
    operator = Operator(model)
    run(model, operator, until="Drain")
    model.session = True
    run(model, operator, until="Switch")
    since = model.time
    run(model, operator, until="Finish")
    assert model.time - since < DOWN_SECONDS
    assert [w.replicas for w in model.workloads] == list(model.saved)
    operator.work()
    assert (model.status.failure_reason, model.status.position) == (c.SESSIONS_REMAIN, "Old")
    assert "The environment is as it was." in (model.status.failure_message or "")


@pytest.mark.parametrize("restarted_after", [1, 29])
def test_a_signal_that_expired_is_the_end(restarted_after: float) -> None:
    """The container was killed with the signal in its hands, and is back when the signal has expired."""
    model = Model(safety=True)  # the switch has a Job of its own
    operator = Operator(model)
    run(model, operator, until="Switch")
    operator.work()
    (job,) = [j for j in model.jobs.values() if j.command == "switch"]
    assert job.signal is not None
    job.ready = False
    model.time += restarted_after
    model.kill(job)
    model.time += 31 - restarted_after
    since = model.time
    run(model, operator, until="Finish")
    assert model.time - since < DOWN_SECONDS
    assert model.status.failure_reason == c.SWITCH_FAILED
    assert [w.replicas for w in model.workloads] == list(model.saved)
    assert model.switches == 0
