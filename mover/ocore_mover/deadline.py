"""One token per command: its deadline, SIGTERM, and the failure of its other half all end it in the same way.

Code asks :meth:`Token.check` between its steps and waits by :meth:`Token.sleep`; what blocks elsewhere (a query, a
program) registers how it is ended by :meth:`Token.on_cancel`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from ocore_crds import conditions
from ocore_mover.errors import Cancelled, MoverError

log = structlog.get_logger()


class Token:
    """Thread-safe. `seconds` is the command's deadline from now; None has no end (a person's shell)."""

    def __init__(self, seconds: float | None = None) -> None:
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._error: MoverError | None = None
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._next = 0
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def cancel(self, error: MoverError | None = None) -> None:
        """Ends the command; the first error counts. Safe in a signal handler."""
        if self._error is None:
            self._error = error or Cancelled(
                conditions.CANCELLED, "ended by SIGTERM before it was done; nothing partial is kept", retryable=True
            )
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether it is over."""
        return self._event.is_set()

    def check(self) -> None:
        """Raises what ended the command, if anything did."""
        if self._event.is_set():
            raise self._cancellation()

    def sleep(self, seconds: float) -> None:
        """Waits; raises as :meth:`check` as soon as the command is ended."""
        if self._event.wait(seconds):
            raise self._cancellation()

    @contextmanager
    def on_cancel(self, callback: Callable[[], object]) -> Iterator[None]:
        """Calls back, in another thread, when the command is ended within the block."""
        with self._lock:
            key = self._next
            self._next += 1
            self._callbacks[key] = callback
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._callbacks.pop(key, None)

    def _cancellation(self) -> MoverError:
        error = self._error
        assert error is not None  # noqa: S101 - the event is set after the error
        # A new one each time: several threads raise it, and a traceback belongs to one.
        return Cancelled(error.reason, error.message, retryable=error.retryable)

    def _watch(self) -> None:
        timeout = None if self._ends is None else max(0.0, self._ends - time.monotonic())
        if not self._event.wait(timeout):
            self.cancel(
                Cancelled(
                    conditions.DEADLINE_EXCEEDED,
                    f"not done within the deadline of {self._seconds:.0f} s; raise the timeout, or look in the log for what was slow",
                )
            )
        with self._lock:
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # the others must be called too
                log.warning("could not end", error=str(error))
