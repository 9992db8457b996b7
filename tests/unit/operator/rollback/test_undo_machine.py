"""An undo under all faults at once: old or new, never half; what is kept is dropped exactly once, and only by its owner."""

from hypothesis import HealthCheck, settings

from .undo_machine import UndoMachine

TestUndoMachine = UndoMachine.TestCase
TestUndoMachine.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
