"""A list of entries that is always sorted, newest first. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Generic, TypeVar, overload

from ocore_api.cache.entries import Entry

EntryT = TypeVar("EntryT", bound=Entry)
_ORDER = attrgetter("order")


class Newest(Sequence[EntryT], Generic[EntryT]):
    """Newest first: by creation, then by id. Adding and removing take logarithmic time, but for moving pointers."""

    __slots__ = ("_oldest_first",)

    def __init__(self) -> None:
        self._oldest_first: list[EntryT] = []

    def put(self, entry: EntryT) -> None:
        """Adds an entry, in the place of the one with its order and id."""
        found = self._oldest_first
        at = bisect_left(found, entry.order, key=_ORDER)
        found[at : at + (at < len(found) and found[at].order == entry.order)] = [entry]

    def discard(self, entry: EntryT) -> None:
        """Removes this very entry, unless another one has its place."""
        found = self._oldest_first
        at = bisect_left(found, entry.order, key=_ORDER)
        if at < len(found) and found[at] is entry:
            del found[at]

    def between(self, begin: str, end: str) -> list[EntryT]:
        """Those whose `order` begins with `begin` or later and before `end`, newest first. Empty: no limit."""
        found = self._oldest_first
        first = bisect_left(found, (begin, ""), key=_ORDER) if begin else 0
        last = bisect_left(found, (end, ""), key=_ORDER) if end else len(found)
        return found[first:last][::-1]

    def __len__(self) -> int:
        return len(self._oldest_first)

    def __iter__(self) -> Iterator[EntryT]:
        return reversed(self._oldest_first)

    @overload
    def __getitem__(self, index: int) -> EntryT: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[EntryT]: ...

    def __getitem__(self, index: int | slice) -> EntryT | Sequence[EntryT]:
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            return [self._oldest_first[-1 - n] for n in range(begin, end, step)]
        return self._oldest_first[-1 - index if index >= 0 else -index - 1]


def page(lists: Iterable[Newest[EntryT]], offset: int, limit: int) -> tuple[list[EntryT], int]:
    """A page of several lists together, newest first, and how many entries they have in all."""
    found = [each for each in lists if len(each)]
    total = sum(len(each) for each in found)
    if offset >= total:
        return [], total
    if len(found) == 1:
        return list(found[0][offset : offset + limit]), total
    return list(islice(merge(*found, key=_ORDER, reverse=True), offset, offset + limit)), total
