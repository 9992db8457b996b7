"""Report lines on stdout, log events on stderr, and the termination message."""

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pythonjsonlogger.json import JsonFormatter

from ocore_crds.model import Model
from ocore_crds.reports.base import (
    TERMINATION_MESSAGE_PATH,
    Failure,
    Outcome,
    ProgressReport,
    ReadyReport,
    Step,
    StepReport,
)
from ocore_mover import redact

if TYPE_CHECKING:
    from ocore_crds.commands.probe import ProbeResult
    from ocore_crds.commands.restore import RestoreResult
    from ocore_crds.protocol import Payload

#: Progress is written at most this often (seconds): the operator patches its status at most once a second.
PROGRESS_INTERVAL = 0.5


def now() -> str:
    """The time in the protocol's format, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Formatter(JsonFormatter):
    """A JSON line, with secrets masked before JSON's escapes would hide them."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        masked = redact.log_line(log_data)
        masked["level"] = masked["level"].lower()
        return masked


class _Stderr(logging.Handler):
    """Writes to what is stderr now: tests run commands in their own process."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


_stderr = _Stderr()
_stderr.setFormatter(
    _Formatter(
        ["message", "levelname"],
        rename_fields={"message": "event", "levelname": "level", "exc_info": "exception"},
        timestamp=True,
    )
)


def configure_logging(verbose: bool = False) -> None:
    """Logs JSON lines on stderr: stdout is for the reports. Warnings of libraries are logged the same way, so that
    secrets in them are masked."""
    root = logging.getLogger()
    root.addHandler(_stderr)  # once, however often
    root.setLevel(logging.WARNING)
    logging.getLogger("ocore_mover").setLevel(logging.DEBUG if verbose else logging.INFO)


class Counter:
    """Counts bytes and files of one step for several threads. Reports at most every half second. A total that is 0 is
    not known."""

    def __init__(self, reporter: "Reporter", step: Step, *, bytes_total: int = 0, files_total: int = 0) -> None:
        self._reporter = reporter
        self._step = step
        self._lock = threading.Lock()
        self._last = 0.0
        self.bytes_done = 0
        self.files_done = 0
        self.bytes_total = bytes_total
        self.files_total = files_total

    def add(self, *, bytes_: int = 0, files: int = 0) -> None:
        """Counts; thread-safe."""
        with self._lock:
            self.bytes_done += bytes_
            self.files_done += files
            due = time.monotonic() - self._last >= PROGRESS_INTERVAL
            if due:
                self._last = time.monotonic()
        if due:
            self.report()

    def report(self) -> None:
        """Writes a progress line now."""
        self._reporter.emit(
            ProgressReport(
                step=self._step,
                bytes_done=self.bytes_done,
                bytes_total=_total(self.bytes_total, self.bytes_done),
                files_done=self.files_done,
                files_total=_total(self.files_total, self.files_done),
                time=now(),
            )
        )

    def finish(self) -> None:
        """All is done: what was counted is the total. Writes a progress line."""
        self.bytes_total, self.files_total = self.bytes_done, self.files_done
        self.report()


def _total(known: int, done: int) -> int:
    """A total that grew with what is done would say that all of it is done."""
    return max(known, done) if known else 0


class Reporter:
    """Writes report lines. A lock keeps lines of several threads apart."""

    def __init__(self, termination_path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._termination = termination_path or Path(TERMINATION_MESSAGE_PATH)
        self._outcome: Outcome | None = None

    def emit(self, line: Model) -> str:
        """One JSON line on stdout, flushed. Returns it without its line end."""
        text = json.dumps(redact.report(line.wire()), separators=(",", ":"))
        with self._lock:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        return text

    def step(self, step: Step, state: Literal["Running", "Done", "Skipped", "Failed"], message: str = "") -> None:
        """Reports that a step started or ended."""
        self.emit(StepReport(step=step, state=state, message=message, time=now()))

    def counter(self, step: Step, *, bytes_total: int = 0, files_total: int = 0) -> Counter:
        """A counter for a step's progress."""
        return Counter(self, step, bytes_total=bytes_total, files_total=files_total)

    def ready(self) -> None:
        """Reports that the command waits for its signal to switch."""
        self.emit(ReadyReport(time=now()))

    def probed(self, found: "ProbeResult") -> None:
        """Reports what the probe of a restore has found, which goes on."""
        from ocore_crds.commands.probe import ProbedReport  # imported late: one command needs it

        self.emit(ProbedReport(probe=found, time=now()))

    def restored(self, result: "RestoreResult") -> None:
        """Reports the result of a restore, which goes on to the switch."""
        from ocore_crds.commands.restore import RestoredReport  # imported late: one command needs it

        self.emit(RestoredReport(result=result, time=now()))

    def succeed(self, payload: "Payload") -> None:
        """The command's last line. Called again, that of the command which followed it: it has both results."""
        masked = type(payload).model_validate(redact.report(payload.wire()))
        self._finish(Outcome(ok=True, payload=masked, time=now()))

    def fail(self, failure: Failure) -> None:
        """As :meth:`succeed`."""
        masked = Failure.model_validate(redact.report(failure.wire()))
        self._finish(Outcome(ok=False, failure=masked, time=now()))

    def _finish(self, found: Outcome) -> None:
        first = self._outcome
        outcome = self._outcome = found if first is None else first.model_copy(update={"then": found})
        self.emit(outcome)
        # Outside a pod this file does not exist, and it is not created.
        if self._termination.exists():
            self._termination.write_text(outcome.termination_message())
