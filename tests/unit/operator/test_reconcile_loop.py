"""The loop of a reconcile: one action at a time, each on a fresh observation, and a bound on their number."""

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from ocore_operator.errors import Outcome, Waiting
from ocore_operator.frame import loop
from ocore_operator.frame.loop import Requeue


class Counter:
    """A world that is a number; each action adds one to it, until it is `target`."""

    def __init__(self, target: int, after: float | None = 7.0) -> None:
        self.value = 0
        self.target = target
        self.after = after
        self.observed: list[int] = []

    async def observe(self, _: bool) -> int | None:
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
        return asyncio.run(loop.run("Counter", self.observe, self.decide, self.carry_out, max_actions=max_actions))


@pytest.mark.parametrize("after", [7.0, 0.0, None])
def test_it_observes_before_every_action_and_returns_the_delay(after: float | None) -> None:
    counter = Counter(3, after)
    assert counter.run() == after
    assert counter.observed == [0, 1, 2, 3]


def test_a_gone_object_ends_it_without_an_action() -> None:
    counter = Counter(3)

    async def gone(_: bool) -> int | None:
        return None

    assert asyncio.run(loop.run("Gone", gone, counter.decide, counter.carry_out, max_actions=1)) is None
    assert counter.value == 0


def test_actions_that_undo_each_other_are_an_error_with_the_objects_name() -> None:
    counter = Counter(10**6)
    with pytest.raises(RuntimeError, match="Counter: no end after 10 actions"):
        counter.run()
    assert counter.value == 10
    assert Counter(9).run(max_actions=10) == 7.0


class Cached:
    """A number that others change; what was said of it last may be older. It must become 2."""

    def __init__(self, said: int, true: int) -> None:
        self.said = said
        self.true = true
        self.done: list[tuple[int, str]] = []
        self.reads: list[bool] = []

    async def observe(self, fresh: bool) -> tuple[int, bool] | None:
        self.reads.append(fresh)
        if fresh and self.true < 0:
            return None
        return (self.true, False) if fresh else (self.said, True)

    async def carry_out(self, world: tuple[int, bool], action: str) -> Requeue | None:
        self.done.append((world[0], action))
        if action == "wait":
            return Requeue(7.0)
        self.true += 1
        return None

    def run(self) -> float | None:
        return asyncio.run(
            loop.run(
                "Cached",
                self.observe,
                lambda world: "add" if world[0] < 2 else "wait",
                self.carry_out,
                may_rest=lambda world, action: action == "wait" or not world[1],
                max_actions=5,
            )
        )


def test_what_acts_is_decided_again_on_what_was_read_for_it() -> None:
    """What was said before is out of date: nothing is left to do."""
    found = Cached(said=1, true=2)
    assert found.run() == 7.0
    assert found.done == [(2, "wait")]
    assert found.reads == [False, True]


def test_a_wait_may_rest_on_what_was_said() -> None:
    found = Cached(said=2, true=0)
    assert found.run() == 7.0
    assert (found.done, found.reads) == ([(2, "wait")], [False])


def test_after_an_action_everything_is_read() -> None:
    found = Cached(said=0, true=0)
    assert found.run() == 7.0
    assert found.done == [(0, "add"), (1, "add"), (2, "wait")]
    assert found.reads == [False, True, True, True]


class Written(Cached):
    """A number that the object itself writes, and knows then. Others may change it in that moment."""

    def __init__(self, true: int, others: int = 0) -> None:
        super().__init__(true, true)
        self.others = others

    async def carry_out(self, world: tuple[int, bool], action: str) -> Requeue | loop.Follow[tuple[int, bool]] | None:  # type: ignore[override]
        end = await super().carry_out(world, action)
        self.true += self.others
        return end or loop.Follow((world[0] + 1, True))


def test_what_follows_is_decided_in_the_world_with_what_was_written() -> None:
    """What may rest on that world: else it is read first."""
    found = Written(true=1)
    assert found.run() == 7.0
    assert (found.done, found.reads) == ([(1, "add"), (2, "wait")], [False, True])
    found = Written(true=0, others=1)
    assert found.run() == 7.0
    assert (found.done, found.reads) == ([(0, "add"), (2, "wait")], [False, True, True])


def test_an_object_that_is_gone_when_it_is_read_is_left_alone() -> None:
    found = Cached(said=0, true=-1)
    assert found.run() is None
    assert found.done == []


@dataclass(frozen=True)
class Refusable:
    """A world in which the first action may be refused."""

    refusal: Outcome | None = None


@pytest.mark.parametrize("asks", [True, False])
def test_what_cannot_be_carried_out_is_decided_again(asks: bool) -> None:
    """Where the kind asks for it; else the queue repeats the reconcile."""
    busy = Waiting("WaitingForJobSlot", "busy", 7.0)

    async def observe(_: bool) -> Refusable:
        return Refusable()

    def decide(world: Refusable) -> float | None:
        return busy.after if world.refusal is busy else None

    async def carry_out(_: Refusable, action: float | None) -> Requeue | None:
        if action is None:
            raise busy
        return Requeue(action)

    refused = loop.refused if asks else None
    ran = loop.run("R", observe, decide, carry_out, refused=refused, max_actions=3)
    with nullcontext() if asks else pytest.raises(Waiting):
        assert asyncio.run(ran) == 7.0
