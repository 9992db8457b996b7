"""A clock of the operator that a test moves: the minute of a schedule comes at once. Its timers and the time of its
lease stay real.

As a program, it is the operator with that clock.
"""

import os
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ocore_operator import clock

VARIABLE = "TEST_CLOCK_AHEAD"


class MovedClock:
    """How far an operator's time is ahead of the real one, in a file that the operator reads."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock-ahead"
        self._ahead = timedelta()
        self._write()

    def now(self) -> datetime:
        """The operator's time."""
        return datetime.now(UTC) + self._ahead

    def next_minute(self) -> None:
        """To the first second of the next minute."""
        now = self.now()
        self._ahead += timedelta(minutes=1, seconds=1) - timedelta(seconds=now.second, microseconds=now.microsecond)
        self._write()

    def _write(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(str(self._ahead.total_seconds()))
        new.replace(self.file)


def main() -> None:
    """Runs the operator."""
    file, real = Path(os.environ[VARIABLE]), clock.now
    clock.now = lambda: real() + timedelta(seconds=float(file.read_text()))
    runpy.run_module("ocore_operator", run_name="__main__")


if __name__ == "__main__":
    main()
