"""One token per command. The deadline, SIGTERM and the failure of a parallel part all cancel the command through it.

Code calls :meth:`Token.check` between its steps and waits with :meth:`Token.sleep`. Code that blocks in a query or a
program registers with :meth:`Token.on_cancel` how to interrupt it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ocore_crds import conditions
from ocore_mover.errors import Cancelled, MoverError

log = logging.getLogger(__name__)


class Token:
    """Thread-safe. `seconds` is the command's deadline from now; None is no deadline."""

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
        """Cancels the command; the first error counts. Safe in a signal handler."""
        if self._error is None:
            self._error = error or Cancelled(
                conditions.CANCELLED, "cancelled by SIGTERM before it finished; nothing partial is kept", retryable=True
            )
        self._event.set()

    @property
    def ends(self) -> bool:
        """Whether there is a deadline."""
        return self._ends is not None

    @property
    def cancelled(self) -> bool:
        """Whether the command is cancelled."""
        return self._event.is_set()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline; None: there is none."""
        return max(0.0, self._ends - time.monotonic()) if self._ends is not None else None

    def check(self) -> None:
        """Raises Cancelled if the command is cancelled."""
        if self._event.is_set():
            raise self._cancellation()

    def sleep(self, seconds: float) -> None:
        """Waits. Raises Cancelled as soon as the command is cancelled."""
        if self._event.wait(seconds):
            raise self._cancellation()

    @contextmanager
    def on_cancel(self, callback: Callable[[], object]) -> Iterator[None]:
        """Calls back in another thread if the command is cancelled within the block."""
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

    def restart(self, seconds: float) -> None:
        """Another part of the command begins, which has so many seconds from now. Nothing where there is no deadline,
        or the command is cancelled."""
        if self._ends is not None:
            self._ends, self._seconds = time.monotonic() + seconds, seconds

    @contextmanager
    def within(self, seconds: float) -> Iterator["Token"]:
        """A token for a part of the command: cancelled with this one, or after `seconds`."""
        part = Token(seconds)
        with self.on_cancel(lambda: part.cancel(self._cancellation())):
            yield part

    def _cancellation(self) -> MoverError:
        error = self._error
        assert error is not None  # noqa: S101 - the event is set after the error
        # A new one each time: several threads raise it, and each needs its own traceback.
        return Cancelled(error.reason, error.message, retryable=error.retryable)

    def _watch(self) -> None:
        while not self._event.wait(self.seconds_left):
            if self.seconds_left:  # restarted since
                continue
            self.cancel(
                Cancelled(
                    conditions.DEADLINE_EXCEEDED,
                    f"not finished within the deadline of {self._seconds:.0f} s. Increase the timeout, or find the slow"
                    " step in the log.",
                )
            )
        with self._lock:
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # the other callbacks must run too
                log.warning("a running query or program could not be interrupted", extra={"error": str(error)})
