"""Rates and open streams."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Gauge

from ocore_api.errors import Problem
from ocore_api.http.limits import RateLimit, StreamLimit, Turns, address_key


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(2.0, 3, clock=clock)
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") == pytest.approx(0.5)
    clock.now += 0.4
    assert limit.take("a") == pytest.approx(0.1)
    clock.now += 0.1
    assert limit.take("a") == 0
    assert limit.take("a") > 0


def test_what_is_not_used_is_saved_up_to_the_burst() -> None:
    clock = Clock()
    limit = RateLimit(2.0, 3, clock=clock)
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    clock.now += 3600
    assert [bool(limit.take("a")) for _ in range(4)] == [False, False, False, True]


def test_refused_requests_do_not_extend_the_wait() -> None:
    clock = Clock()
    limit = RateLimit(1.0, 1, clock=clock)
    assert limit.take("a") == 0
    for _ in range(100):
        assert limit.take("a") == pytest.approx(1.0)
    clock.now += 1
    assert limit.take("a") == 0


def test_over_time_the_rate_holds() -> None:
    clock = Clock()
    limit = RateLimit(10.0, 5, clock=clock)
    accepted = 0
    for _ in range(10_000):
        clock.now += 0.01
        accepted += limit.take("a") == 0
    assert accepted == pytest.approx(100 * 10 + 5, abs=2)


def test_keys_do_not_share_and_their_number_is_bounded() -> None:
    clock = Clock()
    limit = RateLimit(1.0, 1, capacity=100, clock=clock)
    for n in range(1000):
        clock.now += 0.0001
        assert limit.take(f"k{n}") == 0
    assert len(limit._full_at) == 100
    assert limit.take("k999") > 0


def test_an_ipv6_network_is_one_client() -> None:
    assert address_key("2001:db8:1:2::1") == address_key("2001:db8:1:2:ffff::2")
    assert address_key("2001:db8:1:2::1") != address_key("2001:db8:1:3::1")
    assert address_key("203.0.113.1") != address_key("203.0.113.2")
    assert address_key("::ffff:203.0.113.1") != address_key("::ffff:203.0.113.2")
    assert address_key("unix") == "unix"


def streams(total: int, per_subject: int) -> StreamLimit:
    return StreamLimit(total, per_subject, Gauge("streams", "Open.", registry=CollectorRegistry()))


def test_streams_of_one_subject() -> None:
    limit = streams(10, 2)
    with limit.hold("alice"), limit.hold("alice"):
        with pytest.raises(Problem, match="TooMany") as caught, limit.hold("alice"):
            pass
        assert int(caught.value.headers["Retry-After"]) > 0
        with limit.hold("bob"):
            assert limit.count == 3
    assert limit.count == 0
    with limit.hold("alice"), limit.hold("alice"):
        assert limit.count == 2


def test_streams_of_all_subjects() -> None:
    limit = streams(2, 2)
    with limit.hold("alice"), limit.hold("bob"):
        with pytest.raises(Problem, match="TooManyStreams") as caught, limit.hold("carol"):
            pass
        assert int(caught.value.headers["Retry-After"]) > 0
        assert limit.count == 2
    with limit.hold("carol"):
        assert limit.count == 1


def test_a_stream_that_fails_is_not_counted_on() -> None:
    limit = streams(2, 2)
    with pytest.raises(RuntimeError), limit.hold("alice"):
        raise RuntimeError("lost")
    assert limit.count == 0
    assert limit._open == {}


def test_subjects_take_turns() -> None:
    """Twelve connections of one caller held up the plan of another one for 3.7 s."""
    order: list[str] = []

    async def work() -> None:
        turns, begun, go = Turns(waiting=12), asyncio.Event(), asyncio.Event()

        async def one(subject: str) -> None:
            async with turns.turn(subject):
                order.append(subject)
                begun.set()
                await go.wait()

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(one("many"))
            await begun.wait()
            other = group.create_task(one("other"))
            with pytest.raises(Problem, match="TooMany"):
                async with turns.turn("many"):
                    pass
            await asyncio.sleep(0)
            assert not other.done()
            go.set()
        async with turns.turn("many"):
            order.append("again")

    asyncio.run(work())
    assert order.index("other") == 1, order
    assert len(order) == 14
