"""The heart: a rollback under all faults at once keeps its promises (README, "What is promised", points 3 to 5)."""

from hypothesis import HealthCheck, settings

from support.operator.rollback_machine import RollbackMachine

TestRollbackMachine = RollbackMachine.TestCase
TestRollbackMachine.settings = settings(
    max_examples=250, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
