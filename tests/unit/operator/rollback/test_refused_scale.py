"""Row 70: the API server refuses to start the workloads again."""

from itertools import pairwise

from ocore_crds import conditions as c
from ocore_operator.frame.actions import Wait
from ocore_operator.rollback.conditions import summarized
from ocore_operator.workloads.quiesce import PAUSE_SECONDS, RESUME_SECONDS
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import Model


def until(model: Model, operator: Operator, stage: str, seconds: int = 600) -> None:
    for _ in range(seconds):
        if model.status.stage == stage:
            return
        operator.work()
        model.advance(1, 2)
    raise AssertionError(f"{stage} was not reached: {model.status}")


def at_resume(model: Model) -> Operator:
    operator = Operator(model)
    for _ in range(2000):
        if model.status.stage == "Resume":
            return operator
        if not operator.act(*operator.decide()):
            model.advance(1, 1)
    raise AssertionError(model.status)


def test_row_70_a_rollback_never_ends_while_a_workload_cannot_be_started() -> None:
    model = Model(new_is_healthy=True)
    operator = at_resume(model)
    model.scales_refused = True
    for _ in range(200):
        waits = operator.work()
        model.advance(20, 2)
        assert model.status.stage == "Resume"
        assert model.holder == "ours"
    assert isinstance(waits, Wait)
    assert (waits.stalled, waits.reason) == (True, c.WORKLOAD_NOT_RESUMED)
    assert "the webhook does not answer" in waits.message
    assert "Deployment w0 to 2, Deployment w1 to 1" in waits.message
    assert model.status.position == "New"
    told = summarized(
        model.status,
        generation=1,
        deleting=False,
        reason=waits.reason,
        message=waits.message,
        now=model.now(),
        stalled=waits.stalled,
    )
    assert c.is_true(told.conditions, c.STALLED)
    model.scales_refused = False
    until(model, operator, "Ended")
    assert model.status.phase == "Complete"
    assert [w.replicas for w in model.workloads] == [2, 1]


def test_an_aborted_rollback_waits_as_well() -> None:
    model = Model()
    operator = Operator(model)
    until(model, operator, "Drain", seconds=60)
    model.scales_refused = model.deleting = True
    for _ in range(60):
        operator.work()
        model.advance(20, 2)
    assert (model.status.stage, model.status.failure_reason) == ("Resume", c.CANCELLED)
    model.scales_refused = False
    until(model, operator, "Ended")
    assert [w.replicas for w in model.workloads] == [2, 1]


def test_it_ends_where_someone_else_has_started_the_workload() -> None:
    model = Model(replicas=(2,), new_is_healthy=True)
    operator = at_resume(model)
    model.scales_refused = True
    for _ in range(20):
        operator.work()
        model.advance(20, 2)
    assert model.status.stage == "Resume"
    model.workloads[0].replicas, model.workloads[0].extra = 3, 1
    until(model, operator, "Ended")
    assert model.status.phase == "Complete"


def test_it_is_tried_again_with_a_pause_that_grows() -> None:
    model = Model()
    operator = at_resume(model)
    model.scales_refused = True
    tried = []
    for _ in range(1200):
        operator.work()
        if model.refused_scale_at == model.time:
            tried.append(model.time)
        model.advance(1, 2)
    pauses = [b - a for a, b in pairwise(tried)]
    assert pauses[0] == PAUSE_SECONDS[0]
    assert pauses[-1] == PAUSE_SECONDS[1]
    assert model.time > RESUME_SECONDS
