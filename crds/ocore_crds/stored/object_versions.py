"""The versions of one object in a bucket with versioning that can be what a Job stored. The mover reads by this rule,
and `kubectl ocore unhide` writes by it. Pure.

Not by their times: some servers list an older version with the time at which it was replaced (decision 223).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

#: Versions of one object that are compared: the oldest ones, which S3 lists last. No one can write an older one than
#: the Job did.
COMPARED = 100


class AnyVersion(Protocol):
    """What is listed of a version."""

    @property
    def newest(self) -> bool:
        """Whether a request without a version reads it."""


V = TypeVar("V", bound=AnyVersion)


@dataclass
class Candidates(Generic[V]):
    """To be filled in the order in which S3 lists them: the newest one first."""

    newest: V | None = None
    oldest: deque[V] = field(default_factory=lambda: deque(maxlen=COMPARED))

    def add(self, version: V) -> None:
        """Of which everything that is listed fits what was stored."""
        if version.newest:
            self.newest = version
        else:
            self.oldest.append(version)

    def ordered(self, *, oldest_first: bool = False) -> list[V]:
        """In the order in which they are compared: the newest one, then from the oldest one on; or the newest one
        last."""
        newest, oldest = [self.newest] if self.newest is not None else [], list(reversed(self.oldest))
        return oldest + newest if oldest_first else newest + oldest
