"""Workers that share one source."""

import threading
from collections.abc import Iterator

import pytest

from ocore_mover.workers import run_workers


@pytest.mark.parametrize("count", [0, 1, 4])
def test_every_item_is_taken_once(count: int) -> None:
    taken: list[int] = []

    def work(items: Iterator[int]) -> None:
        for item in items:
            taken.append(item)

    run_workers(count, range(1000), work)
    assert sorted(taken) == list(range(1000))


def test_the_others_stop_after_an_error() -> None:
    started = threading.Barrier(2, timeout=10)
    failed = threading.Event()
    taken = []

    def work(items: Iterator[int]) -> None:
        first = next(items)
        started.wait()
        if first == 0:
            failed.set()
            raise ValueError("first")
        assert failed.wait(10)
        for item in items:
            taken.append(item)
            threading.Event().wait(0.01)

    with pytest.raises(ValueError, match="first"):
        run_workers(2, range(10_000), work)
    assert len(taken) < 1000


def test_an_error_of_the_source_ends_all() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("source")

    with pytest.raises(LookupError, match="source"):
        run_workers(3, source(), lambda items: list(items) and None)
