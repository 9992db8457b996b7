"""Headings, waits with visible progress, tables."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Seconds between two looks.
_INTERVAL = 1.0
#: Without a terminal, a wait whose words do not change says so again after this many seconds.
_REMIND = 20.0


class StepFailed(Exception):
    """A step did not work; the message says what happened, `look_at` holds commands that tell more."""

    def __init__(self, message: str, *look_at: str) -> None:
        super().__init__(message)
        self.look_at = look_at


class Unavailable(StepFailed):
    """It did not answer just now; a wait looks again."""


@dataclass(frozen=True)
class Look:
    """What a wait saw: whether it is over, and words for people."""

    done: bool
    words: str


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
        """Something has been shown to hold."""
        self.say(f"✓ {text}", "green")

    def wait(self, what: str, look: Callable[[], Look], seconds: float, *look_at: str) -> None:
        """Looks every second until it is over. Raises StepFailed at the deadline with the last words."""
        started = time.monotonic()
        if not self.live:
            self.say(f"waiting for {what}")
            seen = self._poll(look, seconds, self._lines())
        else:
            with self.console.status(Text(f"waiting for {what}")) as status:
                seen = self._poll(look, seconds, lambda words, _: status.update(Text(f"{what}: {words}")))
        if not seen.done:
            raise StepFailed(f"{what}: not within {seconds:.0f} s; last seen: {seen.words}", *look_at)
        self.good(f"{what}: {seen.words} ({time.monotonic() - started:.1f} s)")

    @staticmethod
    def _poll(look: Callable[[], Look], seconds: float, show: Callable[[str, float], None]) -> Look:
        deadline = time.monotonic() + seconds
        while True:
            try:
                seen = look()
            except Unavailable as error:
                seen = Look(False, str(error))
            if seen.done or time.monotonic() >= deadline:
                return seen
            show(seen.words, time.monotonic())
            time.sleep(_INTERVAL)

    def _lines(self) -> Callable[[str, float], None]:
        last, said = "", 0.0

        def show(words: str, now: float) -> None:
            nonlocal last, said
            if words != last or now - said >= _REMIND:
                self.say(f"  {words}")
                last, said = words, now

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
