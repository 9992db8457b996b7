"""What the application says that it holds, where the machine is slow."""

from collections.abc import Iterator

import pytest

from demo_app import shop, state
from demo_app.database import Connection
from demo_app.filestore import Filestore
from demo_app.settings import Settings


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class Slow(Filestore):
    """A filestore that takes a minute to list."""

    clock: Clock

    def names(self) -> Iterator[str]:
        self.clock.now += 60
        return super().names()


def test_a_count_that_took_long_is_not_shown_for_ever(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that stood still for three seconds during a count, a missing file showed half a minute later
    only."""
    clock = Clock()
    monkeypatch.setattr(state, "time", clock)
    filestore = Slow(settings.filestore)
    filestore.clock = clock
    scanner = state.Scanner(filestore)
    made = shop.add_attachment(connection, filestore, shop.NewAttachment("a.txt", b"hello", "text/plain"))
    assert scanner.scan(connection).missing == 0
    filestore.unlink(made.store_fname)
    clock.now += 14.9
    assert scanner.scan(connection).missing == 0  # as counted before: counting takes a minute
    clock.now += 0.2
    assert scanner.scan(connection).missing == 1
