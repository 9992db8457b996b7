"""A plan with a small damage, and the search of a machine for it."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


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


#: Examples of one search. One that has found nothing by then seldom finds it later; one from another seed often does.
EXAMPLES = 100


def find_out(machine: type[RuleBasedStateMachine], focus: str, most: int, begin: int = 0) -> None:
    """Runs at most so many examples of the machine, with that focus, in searches from one seed after the other.
    `begin`: the first seed."""
    for number in range(begin, begin + most // EXAMPLES):
        focused = seed(number)(type("Focused", (machine,), {"focus": focus}))
        run_state_machine_as_test(
            focused,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
