"""``kubectl ocore doctor --probe``: what it asks for, and what is an answer."""

import io
from typing import Any

import pytest
from rich.console import Console

from ocore_cli import probing
from ocore_cli.errors import TimedOut
from ocore_crds.kinds import ENVIRONMENT
from support.cli import NOW, FakeObjects, Object, at, condition


def observed(ready: str = "False", began: float = -300, measured: float | None = None) -> Object:
    """The Environment, whose last probe began then; the operator writes whole seconds."""
    found: Object = {"conditions": [condition("Ready"), condition("RollbackReady", ready)]}
    found["probe"] = {"time": at(began + 5), "startedAt": f"{at(began)[:19]}Z", "generation": 1}
    if measured is not None:
        found["sizes"] = {"measuredAt": at(measured)}
    return {"metadata": {"name": "shop"}, "spec": {}, "status": found}


def ask(objects: FakeObjects, timeout: float = 120) -> Any:
    """The request, once it was answered."""
    passed = [0.0]
    probing.probe(
        objects,  # type: ignore[arg-type]
        Console(file=io.StringIO()),
        ["shop"],
        timeout,
        NOW,
        clock=lambda: passed[0],
        sleep=lambda s: passed.__setitem__(0, passed[0] + s),
    )
    ((kind, name, body),) = objects.patched
    assert (kind, name) == (ENVIRONMENT, "shop")
    return body["metadata"]["annotations"]["ocore.dev/probe-requested"]


def test_a_probe_that_began_since_is_the_answer() -> None:
    states = [observed(), observed(), observed(began=1)]
    objects = FakeObjects(environment=[*states])
    assert ask(objects)[:19] == at(1)[:19]
    assert len(objects.states["environment"]) == 1, "nothing earlier was one"


def test_a_probe_that_began_in_the_same_second_is_no_answer() -> None:
    """It may have begun before the command: its time has no fractions of a second."""
    objects = FakeObjects(environment=[observed(), observed(began=0), observed(began=1)])
    assert ask(objects)[:19] == at(1)[:19]
    assert len(objects.states["environment"]) == 1


def test_an_older_probe_and_the_sizes_of_what_is_not_ready_are_no_answer() -> None:
    with pytest.raises(TimedOut, match="environment shop was not probed within 5 s"):
        ask(FakeObjects(environment=[observed(measured=10)]), timeout=5)


def test_of_what_is_ready_the_sizes_are_an_answer() -> None:
    ask(FakeObjects(environment=[observed("True"), observed("True", measured=2)]))


def test_a_clock_that_is_late_takes_no_old_probe_for_an_answer() -> None:
    """The operator's clock is five minutes ahead of this machine's."""
    objects = FakeObjects(environment=[observed(began=300), observed(began=300), observed(began=330)])
    assert ask(objects)[:19] == at(301)[:19]
    assert len(objects.states["environment"]) == 1
