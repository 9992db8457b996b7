"""How many Jobs a rollback needs. Users wait for pods more than for data: each Job costs seconds."""

from ocore_operator.rollback import world as v
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import Model
from support.operator.undo_model import UndoModel

#: Steps of an operator in which every rollback of the model ends.
STEPS = 400


def jobs(model: Model) -> list[str]:
    """Commands of the Jobs until the rollback is Complete, a probe's among them."""
    operator, made = Operator(model), dict[str, str]()
    for _ in range(STEPS):
        seen, action = operator.decide()
        if isinstance(action, v.Do) and isinstance(action.effect, v.AskProbe):
            made["probe"] = "probe"
        again = operator.act(seen, action)
        made |= {name: job.command for name, job in model.jobs.items()}
        if model.status.phase == "Complete":
            return sorted(made.values())
        if not again:
            model.advance(1, 1)
    raise AssertionError(f"it does not end: {model.status}")


def test_a_rollback_in_place_needs_two_jobs_at_most() -> None:
    assert len(jobs(Model(probed=True))) <= 2


def test_a_staging_copy_needs_one_job_more_which_neutralises() -> None:
    assert jobs(Model(probed=True, neutralize=True)) == sorted(["neutralize", "restore", "switch"])


def test_a_staging_copy_from_another_namespace_is_probed_alone() -> None:
    """The restore reads another store than the one that a probe asks."""
    assert jobs(Model(probed=True, neutralize=True, other=True)) == sorted(["neutralize", "probe", "restore", "switch"])


def test_an_undo_needs_one_job() -> None:
    assert jobs(UndoModel()) == ["switch"]
