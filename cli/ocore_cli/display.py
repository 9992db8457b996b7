"""Progress on a terminal (redrawn in place) and in a log (one line for each change)."""

from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ocore_crds import conditions
from ocore_crds.resources.snapshot import StepStatus
from ocore_crds.text.sentences import shortened

from .runs import Run, amounts, duration, parse_time

#: Seconds between progress lines in a log while nothing else changes.
_PROGRESS_EVERY = 5.0
#: Characters of a step's message. The end prints the whole failure.
_STEP_MESSAGE = 120
MARKS = {"Pending": "·", "Done": "✓", "Skipped": "-", "Failed": "✗"}
COLOURS = {"Pending": "dim", "Running": "cyan", "Done": "green", "Skipped": "dim", "Failed": "bold red"}


class Display:
    """Shows the progress of an operation."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, run: Run) -> None:
        """Called for every observation, changed or not."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Shows a message about the wait itself."""
        raise NotImplementedError


def display_for(console: Console) -> Display:
    """Redraws in place on a terminal, prints lines elsewhere."""
    in_place = console.is_terminal and not console.is_dumb_terminal
    return LiveDisplay(console) if in_place else PlainDisplay(console)


def step_seconds(step: StepStatus, now: datetime) -> float | None:
    """Seconds that a step has taken; None before it began."""
    started = parse_time(step.started_at)
    if started is None:
        return None
    return max(0.0, ((parse_time(step.completed_at) or now) - started).total_seconds())


class PlainDisplay(Display):
    """One line for each change of a step, and of progress every five seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, str] = {}
        self._waiting = ""
        self._warned: set[str] = set()
        self._progress_at = float("-inf")

    def show(self, run: Run) -> None:
        now = datetime.now(UTC)
        elapsed = run.elapsed(now)
        for step in run.steps:
            if step.state != "Pending" and self._seen.get(step.name) != step.state:
                self._seen[step.name] = step.state
                self._progress_at = elapsed
                self._line(elapsed, step.name, step.state, _step_note(run, step, now))
        for warning in run.warnings():
            if warning not in self._warned:
                self._warned.add(warning)
                self._line(elapsed, "Warning", "", warning)
        waiting = run.waits_for()
        # A new object has no conditions for a moment; that is normal.
        noticed = bool(run.status.conditions) or elapsed >= _PROGRESS_EVERY
        if run.phase == "Pending" and waiting and waiting != self._waiting and noticed:
            self._line(elapsed, "Waiting", "", waiting)
            self._waiting = waiting
        if run.progress is not None and run.outcome is None and elapsed - self._progress_at >= _PROGRESS_EVERY:
            self._progress_at = elapsed
            self._line(elapsed, run.progress.step, f"{run.progress.percent} %", amounts(run.progress))

    def note(self, text: str) -> None:
        self._console.print(Text(text))

    def _line(self, elapsed: float, what: str, state: str, note: str) -> None:
        self._console.print(Text(f"[{elapsed:7.1f} s] {what:<17} {state:<8} {note}".rstrip()), soft_wrap=True)


def _step_message(run: Run, step: StepStatus) -> str:
    """The step's message; empty if the failure, printed at the end, has the same one."""
    failed = next((c.message for c in run.problems() if c.type == conditions.FAILED), "")
    return "" if step.message and step.message.rstrip(".") in failed else shortened(step.message, _STEP_MESSAGE)


def _step_note(run: Run, step: StepStatus, now: datetime) -> str:
    seconds = step_seconds(step, now)
    took = duration(seconds) if seconds is not None and step.state != "Running" else ""
    return "  ".join(part for part in (took, _step_message(run, step)) if part)


class LiveDisplay(Display):
    """All steps with their states, the running one with its bytes, and a bar of the whole; redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=False)
        self._spinner = Spinner("dots", style="cyan")
        self._note = ""

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, run: Run) -> None:
        self._note = ""
        self._live.update(self._draw(run, datetime.now(UTC)), refresh=True)

    def note(self, text: str) -> None:
        if text != self._note:
            self._live.console.print(Text(text, style="yellow"))
        self._note = text

    def _draw(self, run: Run, now: datetime) -> RenderableType:
        warned = (Text(f"Warning: {w}", style="yellow") for w in run.warnings())
        return Group(self._head(run, now), self._steps(run, now), *warned, Text(run.waits_for(), style="dim"))

    def _head(self, run: Run, now: datetime) -> RenderableType:
        percent = 100 if run.outcome == "Complete" else (run.progress.percent if run.progress else 0)
        colour = {"Complete": "green", "Failed": "red"}.get(run.outcome or "", "cyan")
        table = Table.grid(padding=(0, 2))
        table.add_row(
            Text(f"{run.kind.kind} {run.name}", style="bold"),
            Text(run.phase, style=colour),
            Text(duration(run.elapsed(now)), no_wrap=True),
            Text(f"{percent:3d} %", no_wrap=True),
            # Last: a bar takes all the width that is left.
            ProgressBar(total=100, completed=percent, width=30, complete_style=colour, finished_style=colour),
        )
        return table

    def _steps(self, run: Run, now: datetime) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for step in run.steps:
            seconds = step_seconds(step, now)
            running = step.state == "Running"
            progress = run.progress if run.progress is not None and run.progress.step == step.name else None
            note = amounts(progress) if running and progress is not None else _step_message(run, step)
            table.add_row(
                self._spinner if running else Text(MARKS[step.state], style=COLOURS[step.state]),
                Text(step.name, style=COLOURS[step.state]),
                Text(duration(seconds) if seconds is not None else "", justify="right"),
                Text(note, style="dim", overflow="ellipsis", no_wrap=True),
            )
        return table
