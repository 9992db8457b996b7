"""Threads that share one source of work."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run_workers(count: int, items: Iterable[T], work: Callable[[Iterator[T]], None]) -> None:
    """Runs `work` in `count` threads; each gets an iterator over the items that no other thread took.

    After the first error all iterators end. Raises the first error of any thread, after all threads have ended. The
    caller's thread does the work where `count` is 1 or less.
    """
    shared = _Shared(items)

    def run() -> None:
        try:
            work(shared)
        except BaseException:
            shared.stop()
            raise

    if count <= 1:
        run()
        return
    with ThreadPoolExecutor(count, thread_name_prefix="files") as executor:
        futures = [executor.submit(run) for _ in range(count)]
    for future in futures:
        future.result()


class _Shared(Iterator[T]):
    """An iterator for several threads. The source itself runs in one thread at a time."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()
        self._stopped = False

    def __next__(self) -> T:
        with self._lock:
            if self._stopped:
                raise StopIteration
            try:
                return next(self._items)
            except BaseException:
                self._stopped = True
                raise

    def stop(self) -> None:
        """Ends the iteration for every thread."""
        self._stopped = True
