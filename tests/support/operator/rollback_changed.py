"""What is decided for a rollback that may start, in a world with one change."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from ocore_crds.resources.rollback import RollbackStatus
from ocore_operator.frame.actions import Record
from ocore_operator.rollback import plan
from ocore_operator.rollback import world as v
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ROLLBACK_ID, Model
from support.operator.rollback_seen import altered_environment, altered_snapshot


def ready() -> Model:
    """A model whose rollback holds the environment and has a fresh probe: the next decision starts it."""
    model = Model()
    operator = Operator(model)
    for _ in range(50):
        seen, action = operator.decide()
        if isinstance(action, Record) and action.status.stage == "Restore":
            return model
        if not operator.act(seen, action):
            model.advance(1, 1)
    raise AssertionError("it does not start")


def decided(
    change: Callable[[v.World], v.World], *, later: float = 0, **spec: object
) -> tuple[v.Action, RollbackStatus]:
    """What is decided in a changed world, so many seconds later."""
    model = ready()
    now = model.now() + timedelta(seconds=later)
    wanted = type(model.spec).model_validate({**model.spec.wire(), **spec})
    action = plan.decide(model.status, wanted, change(model.see(model.time).world), ROLLBACK_ID, now)
    return action, action.status if isinstance(action, Record) else model.status


def environment(**changes: object) -> Callable[[v.World], v.World]:
    def change(world: v.World) -> v.World:
        return replace(world, environment=altered_environment(world.environment, **changes))

    return change


def snapshot(**changes: object) -> Callable[[v.World], v.World]:
    def change(world: v.World) -> v.World:
        return replace(world, snapshot=altered_snapshot(world.snapshot, **changes))

    return change
