"""The machine of an undo can fail: each of these small damages to the plan must be found by it."""

from types import ModuleType

import pytest

from ocore_operator.rollback import plan, plan_undo, transitions
from support.operator.damaged_plan import damaged, find_out
from support.operator.undo_machine import UndoMachine

#: Stage where the faults begin, what is wrong, and the change.
MUTANTS: list[tuple[str, str, ModuleType, str, str]] = [
    ("", "switches before it has taken over", plan, "    if taking is not None:\n", "    if False:\n"),
    (
        "Switch",
        "the undone rollback cleans up while the undo runs",
        plan_undo,
        'if entry.state == "Running":',
        "if False:",
    ),
    (
        "Ended",
        "the undone rollback cleans up what belongs to its undo",
        plan_undo,
        'if entry.state == "Undone":',
        "if False:",
    ),
    ("", "the outcome is never entered", plan_undo, 'or world.undo_state != "Running" or', "or True or"),
    (
        "Abort",
        "an undo that did not switch keeps what it took over",
        transitions,
        'if status.undo is None or status.position != "Old":',
        "if True:",
    ),
]


@pytest.mark.parametrize(("focus", "what", "module", "old", "new"), MUTANTS, ids=[m[1] for m in MUTANTS])
def test_a_damaged_plan_is_found_out(focus: str, what: str, module: ModuleType, old: str, new: str) -> None:
    with damaged(module, old, new), pytest.raises((AssertionError, BaseExceptionGroup)):
        find_out(UndoMachine, focus, 2000)
