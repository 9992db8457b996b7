"""Slots: limits hold, the one that has waited longest goes first, and what is urgent never waits."""

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_operator.context import Context
from ocore_operator.errors import Waiting
from ocore_operator.jobs import limits as limits_module
from ocore_operator.jobs.limits import Limits, load, owner_of
from ocore_operator.kube.resources import Key, Object
from support.operator.objects import at, job


class Jobs:
    """Stands for the API server's list of Jobs: nothing else of it is asked here."""

    def __init__(self) -> None:
        self.there: list[Object] = []

    async def list(self, *_: Any, **__: Any) -> list[Object]:
        return self.there


def context(jobs: Jobs) -> Context:
    class Fake:
        kube = jobs

    return cast(Context, Fake())


def new(number: int, command: str = "snapshot", store: str = "store") -> Object:
    made = job(f"{command}-{number}", command)
    made["metadata"]["labels"]["ocore.dev/store"] = store
    return made


async def ask(limits: Limits, jobs: Jobs, wanted: Object, since: float) -> bool:
    """Whether the Job may start; it exists then."""
    try:
        async with limits.slot(context(jobs), wanted, at(since)):
            jobs.there.append(wanted)
    except Waiting:
        return False
    return True


@given(st.integers(1, 5), st.lists(st.sampled_from(["snapshot", "restore", "verify"]), max_size=12))
def test_the_limit_holds(total: int, commands: list[str]) -> None:
    async def main() -> None:
        limits, jobs = Limits(total), Jobs()
        for number, command in enumerate(commands):
            await ask(limits, jobs, new(number, command), number)
        assert load(jobs.there, "heavy").total == min(total, len(commands))

    asyncio.run(main())


def test_a_store_has_a_limit_of_its_own() -> None:
    async def main() -> None:
        limits, jobs = Limits(10), Jobs()
        limits.set_store("shop", "small", 1)
        assert await ask(limits, jobs, new(1, store="small"), 1)
        assert not await ask(limits, jobs, new(2, store="small"), 2)
        assert await ask(limits, jobs, new(3, store="large"), 3)
        assert limits.waiting() == 1

    asyncio.run(main())


def test_the_oldest_goes_first() -> None:
    async def main() -> None:
        limits, jobs = Limits(1), Jobs()
        first = new(1)
        assert await ask(limits, jobs, first, 1)
        assert not await ask(limits, jobs, new(2), 2)
        assert not await ask(limits, jobs, new(3), 3)
        jobs.there.remove(first)
        assert not await ask(limits, jobs, new(3), 3)
        assert await ask(limits, jobs, new(2), 2)

    asyncio.run(main())


def test_a_waiter_for_a_full_store_does_not_delay_others() -> None:
    async def main() -> None:
        limits, jobs = Limits(2), Jobs()
        limits.set_store("shop", "small", 1)
        assert await ask(limits, jobs, new(1, store="small"), 1)
        assert not await ask(limits, jobs, new(2, store="small"), 2)
        assert await ask(limits, jobs, new(3, store="large"), 3)

    asyncio.run(main())


@pytest.mark.parametrize("command", ["switch", "cleanup"])
def test_what_is_urgent_never_waits(command: str) -> None:
    async def main() -> None:
        limits, jobs = Limits(1), Jobs()
        assert await ask(limits, jobs, new(1), 1)
        assert await ask(limits, jobs, new(2, "probe"), 1)
        assert not await ask(limits, jobs, new(3, "probe"), 2)
        assert await ask(limits, jobs, new(4, command), 3)

    asyncio.run(main())


def test_who_has_given_up_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "WAITER_TTL", -1)

    async def main() -> None:
        limits, jobs = Limits(1), Jobs()
        first = new(1)
        assert await ask(limits, jobs, first, 1)
        assert not await ask(limits, jobs, new(2), 2)
        jobs.there.remove(first)
        assert await ask(limits, jobs, new(3), 3)

    asyncio.run(main())


def test_jobs_that_are_over_do_not_count() -> None:
    jobs = [job("a", condition="Complete"), job("b", condition="Failed"), job("c"), job("d", "probe")]
    assert load(jobs, "heavy").total == 1


def test_whom_a_job_works_for() -> None:
    assert owner_of(job("a")) == Key("Snapshot", "shop", "before")
