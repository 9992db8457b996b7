"""An undo under all faults at once: old or new, never half; what is kept is dropped exactly once, and only by its
owner."""

import pytest
from hypothesis import HealthCheck, settings

from support.operator.rollback_machine import RollbackMachine
from support.operator.undo_machine import UndoMachine

TestUndoMachine = UndoMachine.TestCase
TestUndoMachine.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def begun(machine: RollbackMachine, *, reached: str, replicas: tuple[int, ...], timeout: int) -> None:
    machine.begin(
        healthy=(True, True),
        replicas=replicas,
        undo_window=0,
        timeout=timeout,
        reached=reached,
        sidecars=False,
        missing=False,
        other=False,
        neutralize=False,
        safety=False,
        restore_image="Never",
    )


@pytest.mark.parametrize("machine_type", [RollbackMachine, UndoMachine])
def test_an_inspect_job_that_outlives_its_stage(machine_type: type[RollbackMachine]) -> None:
    """Without workloads nothing has stopped it when the rollback ends with an unknown position."""
    machine = machine_type()
    begun(machine, reached="Stop", replicas=(), timeout=60)
    machine.jobs_start_slowly(60)
    machine.server_is_down_for_long(lost=False)
    machine.teardown()


def test_a_cleanup_that_is_killed_after_it_has_dropped() -> None:
    """Its next run finds nothing to drop. That is one drop, not none."""
    machine = UndoMachine()
    begun(machine, reached="Switch", replicas=(2, 1), timeout=60)
    model = machine.model
    for _ in range(15):
        if not model.drops:
            machine.all_goes_well(1)
    assert model.drops == 1
    assert not model.data.previous
    assert [j.command for j in model.jobs.values() if j.alive] == ["cleanup-previous"]
    machine.job_dies(index=0, lost=False)
    machine.teardown()
    assert model.drops == 1
