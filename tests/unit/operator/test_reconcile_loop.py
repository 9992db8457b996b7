"""The loop of a reconcile: one action at a time, each on a fresh observation, and a bound on their number."""

import asyncio

import pytest

from ocore_operator import reconcile_loop
from ocore_operator.reconcile_loop import Requeue


class Counter:
    """A world that is a number; each action adds one to it, until it is `target`."""

    def __init__(self, target: int, after: float | None = 7.0) -> None:
        self.value = 0
        self.target = target
        self.after = after
        self.observed: list[int] = []

    async def observe(self) -> int | None:
        self.observed.append(self.value)
        return self.value

    def decide(self, value: int) -> str:
        return "add" if value < self.target else "wait"

    async def carry_out(self, value: int, action: str) -> Requeue | None:
        assert value == self.value
        if action == "wait":
            return Requeue(self.after)
        self.value += 1
        return None

    def run(self, max_actions: int = 10) -> float | None:
        return asyncio.run(
            reconcile_loop.run("Counter", self.observe, self.decide, self.carry_out, max_actions=max_actions)
        )


@pytest.mark.parametrize("after", [7.0, 0.0, None])
def test_it_observes_before_every_action_and_returns_the_delay(after: float | None) -> None:
    counter = Counter(3, after)
    assert counter.run() == after
    assert counter.observed == [0, 1, 2, 3]


def test_a_gone_object_ends_it_without_an_action() -> None:
    counter = Counter(3)

    async def gone() -> int | None:
        return None

    assert asyncio.run(reconcile_loop.run("Gone", gone, counter.decide, counter.carry_out, max_actions=1)) is None
    assert counter.value == 0


def test_actions_that_undo_each_other_are_an_error_with_the_objects_name() -> None:
    counter = Counter(10**6)
    with pytest.raises(RuntimeError, match="Counter: no end after 10 actions"):
        counter.run()
    assert counter.value == 10
    assert Counter(9).run(max_actions=10) == 7.0
