"""What an export of the database calls to freeze the files that the database names."""

from collections.abc import Callable, Iterable
from typing import Protocol


class Freezer(Protocol):
    """Freezes the files that attachment names name."""

    @property
    def linked(self) -> bool:
        """Whether it protects files before :meth:`finish`. If not, `finish` is called while garbage collection is
        paused."""

    def collect(self, names: Iterable[str]) -> Callable[[], None]:
        """Reads the names, sorted and without duplicates. The function that it returns protects their files."""

    def finish(self, names: Iterable[str]) -> None:
        """Freezes the names of the exported snapshot, sorted and without duplicates."""
