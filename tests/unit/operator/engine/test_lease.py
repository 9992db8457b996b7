"""The Lease: one leader, and no write after it has expired, also by a process that was stopped and continued.

The API server is a stand-in here, because what is tested is time: the real one is in tests/integration.
"""

import asyncio
import json
import subprocess
import sys
from typing import Any, cast

import pytest

from ocore_kube.errors import AlreadyExists, Conflict, Unavailable
from ocore_operator.engine import lease
from ocore_operator.engine.lease import Lease
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object


def as_sent(obj: Object | None) -> Object | None:
    """As it comes over the network: nothing is the same object."""
    found: Object | None = json.loads(json.dumps(obj))
    return found


class Server:
    """One Lease object with resource versions."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.down = False

    def _answer(self) -> None:
        if self.down:
            raise Unavailable(0, "NoAnswer", "cut off")

    async def get(self, *_: Any) -> Object | None:
        self._answer()
        return as_sent(self.lease)

    async def create(self, _: Any, obj: Object) -> Object:
        self._answer()
        if self.lease is not None:
            raise AlreadyExists(409, "AlreadyExists", "there")
        self.lease = as_sent(obj)
        assert self.lease is not None
        self.lease["metadata"]["resourceVersion"] = "1"
        return self.lease

    async def merge_patch(self, _: Any, __: str, ___: str, patch: Object) -> Object | None:
        self._answer()
        assert self.lease is not None
        if patch["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "moved on")
        self.lease["metadata"]["resourceVersion"] = str(int(self.lease["metadata"]["resourceVersion"]) + 1)
        self.lease["spec"].update(patch["spec"])
        return self.lease


class Lost(Exception):
    """Stands for the end of the process."""


class Contender:
    """A process with a clock of its own."""

    def __init__(self, server: Server, name: str) -> None:
        self.clock = 1000.0
        self.lease = Lease(
            cast(Kube, server),
            namespace="ns",
            name="lease",
            identity=name,
            duration=15,
            renew=0.01,
            monotonic=lambda: self.clock,
            lost=self._lost,
        )

    def _lost(self, message: str) -> None:
        raise Lost(message)

    async def tries(self) -> bool:
        return await self.lease._try()


def test_one_leader_at_a_time() -> None:
    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        assert await one.tries()
        assert not await two.tries()
        one.lease.guard()
        with pytest.raises(Lost):
            two.lease.guard()
        two.clock += 14
        assert not await two.tries()
        assert await one.tries()  # renewed: for the other one the wait begins again
        two.clock += 14
        assert not await two.tries()
        two.clock += 16
        assert await two.tries()

    asyncio.run(main())


def test_a_process_that_was_stopped_and_continues_writes_nothing() -> None:
    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        assert await one.tries()
        assert not await two.tries()
        one.clock += 16  # SIGSTOP: the clock continues
        with pytest.raises(Lost):
            one.lease.guard()
        two.clock += 16
        assert await two.tries()
        with pytest.raises(Lost):
            await one.tries()

    asyncio.run(main())


def test_the_lease_counts_from_before_the_request() -> None:
    async def main() -> None:
        server = Server()
        one = Contender(server, "one")
        original = server.create

        async def slow(type_: Any, obj: Object) -> Object:
            one.clock += 10
            return await original(type_, obj)

        server.create = slow  # type: ignore[method-assign]
        assert await one.tries()
        one.clock += 6
        assert not one.lease.held()

    asyncio.run(main())


def test_a_short_outage_is_survived_and_a_long_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY_PAUSE", 0.01)

    async def main() -> None:
        server = Server()
        one = Contender(server, "one")
        assert await one.tries()
        server.down = True
        one.clock += 10
        assert not await one.tries()
        assert one.lease.held()
        server.down = False
        assert await one.tries()
        server.down = True
        one.clock += 16
        with pytest.raises(Lost):
            async with asyncio.timeout(5):
                await one.lease.keep()

    asyncio.run(main())


def test_a_released_lease_is_free_at_once() -> None:
    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        assert await one.tries()
        await one.lease.release()
        assert not one.lease.held()
        assert await two.tries()

    asyncio.run(main())


def test_a_restarted_container_acquires_its_own_lease_again() -> None:
    async def main() -> None:
        server = Server()
        assert await Contender(server, "pod_uid").tries()
        assert await Contender(server, "pod_uid").tries()

    asyncio.run(main())


def spec(server: Server) -> Object:
    assert server.lease is not None
    found: Object = server.lease["spec"]
    return found


def test_of_two_that_saw_it_free_one_is_the_leader() -> None:
    """Both have read the same version; the second write is refused."""

    async def main() -> None:
        server = Server()
        assert await Contender(server, "old").tries()
        one, two = Contender(server, "one"), Contender(server, "two")
        for contender in (one, two):
            assert not await contender.tries()
            contender.clock += 16
        read = await server.get()
        assert await one.tries()
        fresh, server.get = server.get, lambda *_: as_read(read)  # type: ignore[method-assign]
        assert not await two.tries()
        server.get = fresh  # type: ignore[method-assign]
        assert (one.lease.held(), two.lease.held(), spec(server)["holderIdentity"]) == (True, False, "one")

    async def as_read(obj: Object | None) -> Object | None:
        return obj

    asyncio.run(main())


def test_of_two_that_create_it_one_is_the_leader() -> None:
    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        create = server.create

        async def late(type_: Any, obj: Object) -> Object:
            server.create = create  # type: ignore[method-assign]
            assert await one.tries()
            return await create(type_, obj)

        server.create = late  # type: ignore[method-assign]
        assert not await two.tries()
        assert (one.lease.held(), two.lease.held()) == (True, False)

    asyncio.run(main())


def test_it_is_held_for_its_duration_and_taken_only_after_it() -> None:
    """At the same moment of both clocks no one has it: never two."""

    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        assert await one.tries()
        assert not await two.tries()
        for contender in (one, two):
            contender.clock += 15
        assert not one.lease.held()
        assert not await two.tries()
        two.clock += 0.001
        assert await two.tries()

    asyncio.run(main())


def test_another_holder_is_another_record() -> None:
    """The wait begins again, also where its name comes earlier in the alphabet."""

    async def main() -> None:
        server = Server()
        first, second, third = (Contender(server, name) for name in ("zoe", "amy", "max"))
        assert await first.tries()
        assert not await third.tries()
        assert not await second.tries()
        second.clock += 16
        assert await second.tries()
        third.clock += 16
        assert not await third.tries(), "amy holds it since a moment ago"
        third.clock += 16
        assert await third.tries()

    asyncio.run(main())


def test_the_duration_of_the_holder_counts() -> None:
    """It was started with another setting."""

    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        assert await one.tries()
        spec(server)["leaseDurationSeconds"] = 60
        assert not await two.tries()
        two.clock += 59
        assert not await two.tries()
        two.clock += 2
        assert await two.tries()

    asyncio.run(main())


def test_transitions_are_counted() -> None:
    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        assert await one.tries()
        assert await one.tries()
        assert spec(server)["leaseTransitions"] == 0
        assert not await two.tries()
        two.clock += 16
        assert await two.tries()
        assert spec(server)["leaseTransitions"] == 1
        await two.lease.release()
        # The API server refuses a duration below 1.
        assert (spec(server)["holderIdentity"], spec(server)["leaseDurationSeconds"]) == ("", 1)
        assert await one.tries()
        assert spec(server)["leaseTransitions"] == 2

    asyncio.run(main())


@pytest.mark.parametrize("other", ["amy", "zoe"])
def test_the_lease_of_another_is_not_released(other: str) -> None:
    """By our clock we hold it; by its record, another operator does."""

    async def main() -> None:
        server = Server()
        one = Contender(server, "one")
        assert await one.tries()
        spec(server)["holderIdentity"] = other
        await one.lease.release()
        assert spec(server)["holderIdentity"] == other

    asyncio.run(main())


def test_a_release_that_fails_does_not_prevent_the_end() -> None:
    async def main() -> None:
        server = Server()
        one = Contender(server, "one")
        assert await one.tries()
        server.down = True
        await one.lease.release()
        assert not one.lease.held()

    asyncio.run(main())


def test_a_lost_lease_ends_the_process_as_a_failure() -> None:
    program = "from ocore_operator.engine.lease import hard_exit; hard_exit('lost')"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 1


def test_acquiring_waits_for_the_other_leader() -> None:
    async def main() -> None:
        server = Server()
        one, two = Contender(server, "one"), Contender(server, "two")
        await one.lease.acquire()
        assert one.lease.held()
        waiting = asyncio.create_task(two.lease.acquire())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        assert not two.lease.held()
        await one.lease.release()
        async with asyncio.timeout(5):
            await waiting
        assert two.lease.held()

    asyncio.run(main())


def test_it_is_renewed_at_its_pace_while_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY_PAUSE", 3600)

    async def main() -> None:
        server = Server()
        one = Contender(server, "one")
        assert await one.tries()
        assert server.lease is not None
        keeping = asyncio.create_task(one.lease.keep())
        async with asyncio.timeout(5):
            while int(server.lease["metadata"]["resourceVersion"]) < 4:  # noqa: ASYNC110 - the server is a stand-in
                await asyncio.sleep(0.01)
        keeping.cancel()

    asyncio.run(main())
