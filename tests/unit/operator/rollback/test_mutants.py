"""The machine can fail: each of these small damages to the plan must be found by it."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from ocore_operator.rollback import plan, plan_after_end, plan_image, plan_safety, plan_switch, transitions
from ocore_operator.workloads import view

from .machine import RollbackMachine

#: Stage where the faults begin, what is wrong, and the change.
MUTANTS: list[tuple[str, str, ModuleType, str, str]] = [
    ("Drain", "a workload that was scaled up again is not noticed", plan, "    if scaled_up:\n", "    if False:\n"),
    (
        "Drain",
        "switches an environment that names another claim by now",
        plan,
        "environment.target != status.target:",
        "False:",
    ),
    ("", "does not wait for the pods", plan, "    if left:\n", "    if False:\n"),
    (
        "Switch",
        "the deadline counts after the signal too",
        plan,
        "if status.stage in BEFORE_THE_SWITCH:",
        'if status.stage in (*BEFORE_THE_SWITCH, "Switch"):',
    ),
    (
        "Restore",
        "leaves the Jobs of an aborted rollback alone",
        plan,
        "    live = world.live()\n",
        "    live = ()\n",
    ),
    (
        "Drain",
        "an aborted rollback forgets the workloads",
        plan,
        '"Resume" if status.workloads',
        '"Finish" if status.workloads',
    ),
    (
        "",
        "replicas are not remembered before the quiesce",
        view,
        "replicas=w.replicas)",
        "replicas=0)",
    ),
    (
        "Restore",
        "prepares the switch to a copy that is not neutralised",
        transitions,
        "    if status.neutralize is not None:\n        fresh = enter(",
        "    if False:\n        fresh = enter(",
    ),
    (
        "Restore",
        "switches before the safety snapshot is Complete",
        plan_safety,
        "return spec.create_safety_snapshot and not complete(status)",
        "return False",
    ),
    (
        "Await",
        "an aborted rollback lets its safety snapshot run",
        plan_safety,
        "    if found is None or not found.ours or found.complete or found.failed:\n",
        "    if True:\n",
    ),
    (
        "HealthCheck",
        "the image is not put back after a switch back",
        plan_image,
        'if status.position == "New":\n        return goal\n',
        "if True:\n        return goal\n",
    ),
    (
        "Resume",
        "an operator that was away gives up before it has tried",
        transitions,
        "max(since, world.watched_since or since)",
        "since",
    ),
    (
        "Switch",
        "two writers: inspects while the switch may go on",
        plan_switch,
        '    writers = world.live("switch")\n',
        "    writers = ()\n",
    ),
    (
        "Switch",
        "scales up while the switch Job's pod mounts the claim",
        plan_switch,
        "        if held is not None:\n",
        "        if False:\n",
    ),
    (
        "Switch",
        "waits without a limit for a pod that a sidecar keeps running",
        plan_switch,
        "j.stopping for j in holding) and elapsed(status, world, now) <= RELEASE_SECONDS:",
        "j.stopping for j in holding):",
    ),
    (
        "Switch",
        "a lost switch is taken for none",
        plan_switch,
        "return _to_inspect(status, job, now)",
        'return Record(failing(status, c.SWITCH_FAILED, "lost", now))',
    ),
    ("Switch", "inspects without an end", plan_switch, "timed_out(status, world, now, INSPECT_SECONDS)", "False"),
    ("", "the Environment does not remember that it ran", plan_switch, "not environment.executed", "False"),
    (
        "HealthCheck",
        "not ready, but not switched back",
        plan_switch,
        "return Record(unhealthy(status, text, now)",
        "return Record(healthy(status, now)",
    ),
    (
        "HealthCheck",
        "an autoscaler makes it switch back",
        plan_switch,
        "return min(saved, workload.replicas)",
        "return workload.replicas",
    ),
    (
        "BackJob",
        "what was switched back is dropped at once",
        plan_switch,
        "status.position is not None and status.switched_at is not None",
        'status.position == "New"',
    ),
    (
        "Ended",
        "what was live until someone switched by hand is dropped at once",
        transitions,
        "undo_until=stamp(now + timedelta(seconds=undo_window)),\n        cleanup_attempt=0",
        "cleanup_attempt=0",
    ),
    ("", "the undo window is not kept", plan_after_end, "times.append(status.undo_until)", "pass"),
    (
        "",
        "the operation lock is released while the switch Job runs",
        plan_after_end,
        "    if leftover is not None:\n",
        "    if False:\n",
    ),
    ("Ended", "cleans up without the operation lock", plan_after_end, 'if world.lock.state == "Free":', "if False:"),
    (
        "",
        "never releases the operation lock",
        plan_after_end,
        'if world.lock.state == "Ours":\n        return Do(ReleaseLock())',
        "if False:\n        pass",
    ),
]


@contextmanager
def damaged(module: ModuleType, old: str, new: str) -> Iterator[None]:
    """The module's functions with the code of a changed source."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {module.__name__}"
    tree = compile(ast.parse(source.replace(old, new)), module.__file__ or "", "exec")
    changed: dict[str, object] = {"__name__": module.__name__, "__package__": module.__package__}
    exec(tree, changed)  # noqa: S102 - our own source
    saved = {
        n: f.__code__
        for n, f in vars(module).items()
        if isinstance(f, FunctionType) and f.__module__ == module.__name__
    }
    try:
        for name in saved:
            function = changed[name]
            assert isinstance(function, FunctionType)
            getattr(module, name).__code__ = function.__code__
        yield
    finally:
        for name, code in saved.items():
            getattr(module, name).__code__ = code


def find_out(machine: type[RuleBasedStateMachine], focus: str, most: int) -> None:
    """Runs at most so many examples of the machine, with that focus."""
    run_state_machine_as_test(
        type("Focused", (machine,), {"focus": focus}),
        settings=settings(
            max_examples=most,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(("focus", "what", "module", "old", "new"), MUTANTS, ids=[m[1] for m in MUTANTS])
def test_a_damaged_plan_is_found_out(focus: str, what: str, module: ModuleType, old: str, new: str) -> None:
    with damaged(module, old, new), pytest.raises((AssertionError, BaseExceptionGroup)):
        find_out(RollbackMachine, focus, 4000)
