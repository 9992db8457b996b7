"""Headings, waits with visible progress, tables."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Seconds between two observations.
_INTERVAL = 1.0
#: Without a terminal, an unchanged message is printed again after this many seconds.
_REMIND = 20.0


class StepFailed(Exception):
    """A step failed. The message says what happened; `look_at` holds commands that show details."""

    def __init__(self, message: str, *look_at: str) -> None:
        super().__init__(message)
        self.look_at = look_at


class Unavailable(StepFailed):
    """No answer at the moment; a wait retries."""


@dataclass(frozen=True)
class Observation:
    """What a wait observed: whether it is done, and a message."""

    done: bool
    message: str


class Output:
    """The terminal, or a log."""

    def __init__(self, *, ci: bool, steps: int) -> None:
        self.console = Console(highlight=False, no_color=ci or None, soft_wrap=True)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal and not ci
        self._steps = steps
        self._step = 0
        self._started = time.monotonic()

    def heading(self, title: str) -> None:
        """The next step begins."""
        self._step += 1
        elapsed = time.monotonic() - self._started
        self.console.print()
        self.console.print(Text(f"== {self._step}/{self._steps}  {title}  ({elapsed:.0f} s)", style="bold magenta"))

    def say(self, text: str, style: str = "") -> None:
        """A line."""
        self.console.print(Text(text, style=style))

    def good(self, text: str) -> None:
        """Prints a result that was verified."""
        self.say(f"✓ {text}", "green")

    def wait(self, what: str, observe: Callable[[], Observation], seconds: float, *look_at: str) -> None:
        """Observes every second until it is done. Raises StepFailed with the last message after `seconds`."""
        started = time.monotonic()
        if not self.live:
            self.say(f"waiting for {what}")
            seen = self._poll(observe, seconds, self._lines())
        else:
            with self.console.status(Text(f"waiting for {what}")) as status:
                seen = self._poll(observe, seconds, lambda message, _: status.update(Text(f"{what}: {message}")))
        if not seen.done:
            raise StepFailed(f"{what}: not done within {seconds:.0f} s; last message: {seen.message}", *look_at)
        self.good(f"{what}: {seen.message} ({time.monotonic() - started:.1f} s)")

    @staticmethod
    def _poll(observe: Callable[[], Observation], seconds: float, show: Callable[[str, float], None]) -> Observation:
        deadline = time.monotonic() + seconds
        while True:
            try:
                seen = observe()
            except Unavailable as error:
                seen = Observation(False, str(error))
            if seen.done or time.monotonic() >= deadline:
                return seen
            show(seen.message, time.monotonic())
            time.sleep(_INTERVAL)

    def _lines(self) -> Callable[[str, float], None]:
        last, said = "", 0.0

        def show(message: str, now: float) -> None:
            nonlocal last, said
            if message != last or now - said >= _REMIND:
                self.say(f"  {message}")
                last, said = message, now

        return show

    def table(self, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """A small table; all columns but the first are figures."""
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0)
        )
        for index, column in enumerate(columns):
            table.add_column(column, header_style="dim", justify="right" if index else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.console.print(table)
