"""Report lines on stdout, log events on stderr, and the termination message."""

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import structlog

from ocore_crds.base import Model
from ocore_crds.protocol import (
    TERMINATION_MESSAGE_PATH,
    Failure,
    Payload,
    ProgressReport,
    ReadyReport,
    Result,
    Step,
    StepReport,
)
from ocore_mover import redact

#: Progress is written at most this often (seconds): the operator patches its status at most once a second.
PROGRESS_INTERVAL = 0.5


def now() -> str:
    """The time in the protocol's format, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure_logging(verbose: bool = False) -> None:
    """Logs JSON lines on stderr: stdout is for the reports."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact.processor,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class Counter:
    """Counts bytes and files of one step for several threads. Reports at most every half second."""

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
                bytes_total=max(self.bytes_total, self.bytes_done),
                files_done=self.files_done,
                files_total=max(self.files_total, self.files_done),
                time=now(),
            )
        )


class Reporter:
    """Writes report lines. A lock keeps lines of several threads apart."""

    def __init__(self, termination_path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._termination = termination_path or Path(TERMINATION_MESSAGE_PATH)

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
        """Reports that the switch waits for its signal."""
        self.emit(ReadyReport(time=now()))

    def succeed(self, payload: Payload) -> None:
        """The command's last line."""
        self._finish(Result(ok=True, payload=payload, time=now()))

    def fail(self, failure: Failure) -> None:
        """The command's last line."""
        self._finish(Result(ok=False, failure=failure, time=now()))

    def _finish(self, result: Result) -> None:
        result = Result.model_validate(redact.report(result.wire()))
        self.emit(result)
        # Outside a pod this file does not exist, and it is not created.
        if self._termination.exists():
            self._termination.write_text(result.termination_message())
