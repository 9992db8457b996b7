"""A switch that waits for its signals."""

import time
from collections.abc import Callable
from pathlib import Path

from support.mover import beside
from support.mover.beside import Finished
from support.mover.forked import Mover


def until(predicate: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.05)


class WaitingSwitch:
    """A switch that waits for its signals."""

    def __init__(self, process: Mover, files: Path) -> None:
        self.process = process
        self._files = files

    @property
    def is_ready(self) -> bool:
        return (self._files / "ready").exists()

    def signal(self, action: str) -> None:
        (self._files / "signal").write_text(f'{{"action": "{action}", "notAfter": {time.time() + 60}}}')

    def finish(self) -> Finished:
        return beside.finish(self.process, timeout=60)
