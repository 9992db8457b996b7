"""Runs a command: its deadline and signals, its report lines, its result, its exit code."""

import errno
import gc
import importlib
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ocore_crds import conditions
from ocore_crds.commands.base import Command, Request
from ocore_crds.reports.base import Failure, Step
from ocore_mover.cancellable import GuardedCounter, GuardedStore, PatientStore
from ocore_mover.commands import opening
from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, MoverError, UsageError
from ocore_mover.report import Counter, Reporter, configure_logging
from ocore_mover.store.interface import Store

if TYPE_CHECKING:
    from ocore_crds.protocol import Payload

log = logging.getLogger(__name__)

#: Seconds for the removal of partial objects and folders.
CLEANUP = 10.0
EXIT_OK, EXIT_FAILED = 0, 1
#: Failures and findings that say what a store has or lacks. They count only for the store that the request names.
ABOUT_A_STORE = frozenset(
    {
        conditions.CORRUPT,
        conditions.SNAPSHOT_NOT_FOUND,
        conditions.OBJECTS_MISSING,
        conditions.REMOTE_COPY_LOST,
        conditions.REMOTE_COPY_CONFLICT,
        conditions.BASE_GONE,
        conditions.BASE_NOT_COPIED,
        conditions.HAS_DEPENDENTS,
        conditions.PINNED,
        conditions.ORPHANS_CHANGED,
    }
)

First = TypeVar("First")
Second = TypeVar("Second")


class Runtime:
    """What one run of a command reports to, and what cancels it."""

    def __init__(self, reporter: Reporter, token: Token, *, patience: float = 0.0) -> None:
        """`patience`: see :class:`~ocore_crds.commands.base.Command`."""
        self.reporter = reporter
        self.token = token
        self._patience = patience
        self._lock = threading.Lock()
        self._running: list[Step] = []  # the newest last

    def guarded(self, store: Store, *, patience: float | None = None) -> Store:
        """The store, whose operations raise once the command is cancelled, and are repeated while the store fails:
        for the command's patience, or for `patience` seconds. Without a deadline an infinite patience is none."""
        limit = self._patience if patience is None else patience
        if not limit or (limit == math.inf and not self.token.ends):
            return GuardedStore(store, self.token)
        return PatientStore(store, self.token, limit=limit, report=self.say)

    def say(self, message: str, step: Step | None = None) -> None:
        """Reports what a running step waits for, or with an empty message that it waits no longer. `step`: None is the
        newest one."""
        with self._lock:
            named = step or (self._running[-1] if self._running else None)
            if named in self._running:
                self.reporter.step(named, "Running", message)

    def counter(self, step: Step) -> Counter:
        """A step's counter, which raises once the command is cancelled."""
        return GuardedCounter(self.reporter, step, self.token)

    @contextmanager
    def step(self, step: Step, message: str = "", *, ends: bool = True) -> Iterator[None]:
        """Reports that a step is running, and whether it is done or failed. `ends`: False where it continues after the
        block."""
        self.token.check()
        with self._lock:
            self._running.append(step)
            self.reporter.step(step, "Running", message)
        state: Literal["Done", "Failed"] = "Failed"
        try:
            yield
            state, message = "Done", ""
        except BaseException as error:
            message = as_failure(error).message
            raise
        finally:
            with self._lock:
                self._running.remove(step)
                if ends or state != "Done":
                    self.reporter.step(step, state, message)

    def both(self, first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
        """Runs both in parallel and returns their results. Where one fails, the other is cancelled and the first
        failure is raised."""
        with ThreadPoolExecutor(2, thread_name_prefix="half") as pool:
            one: Future[First] = pool.submit(first)
            two: Future[Second] = pool.submit(second)
            # The main thread stays free for signals.
            halves: tuple[Future[Any], Future[Any]] = (one, two)
            done, _ = wait(halves, return_when=FIRST_EXCEPTION)
            failed = next((future.exception() for future in done if future.exception() is not None), None)
            if failed is not None:
                failure = as_failure(failed)
                self.token.cancel(Cancelled(failure.reason, failure.message, retryable=failure.retryable))
                wait(halves)
                raise failed
            return one.result(), two.result()


def best_effort(what: str, work: Callable[[], object]) -> None:
    """Cleans up within :data:`CLEANUP` seconds. The next attempt or `delete` finds what remains."""

    def run() -> None:
        try:
            work()
        except Exception as error:
            log.warning("cleanup is incomplete", extra={"what": what, "error": str(error)})

    thread = threading.Thread(target=run, name="cleanup", daemon=True)
    thread.start()
    thread.join(CLEANUP)
    if thread.is_alive():
        log.warning("cleanup is incomplete", extra={"what": what, "error": f"not done within {CLEANUP:.0f} s"})


def as_failure(error: BaseException) -> Failure:
    """Converts any exception to the failure that the result reports."""
    if isinstance(error, MoverError):
        return error.failure()
    import psycopg  # imported late: commands that need no database start without it

    if isinstance(error, psycopg.Error):
        from ocore_mover.database.connect import query_failure

        return query_failure(error, default=conditions.INTERNAL_ERROR, doing="executing SQL").failure()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(reason=conditions.NO_SPACE, message=f"a volume is full: {error}; increase its size")
    return Failure(
        reason=conditions.INTERNAL_ERROR,
        message=f"{type(error).__name__}: {error}; the log (stderr) has the details",
        retryable=True,
    )


def execute(row: Command[Any], request: Request) -> int:
    """Runs the command and reports its result. Returns the exit code. Raises UsageError.

    Its module has the command's name. It is imported only now: a Job runs one command, and most of a short Job's time
    is its start.
    """
    module, following = _module(row.name), request.following

    def body(runtime: Runtime) -> "Payload":
        try:
            payload: Payload = module.execute(runtime, request)
        except MoverError as error:
            if error.reason in ABOUT_A_STORE:
                opening.ask_ids(request)
            raise
        if any(each.reason in ABOUT_A_STORE for each in getattr(payload, "findings", ())):
            opening.ask_ids(request)
        return payload

    then = None
    if following is not None:
        then = (lambda runtime: _module(following[0]).execute(runtime, following[1])), following[1].deadline or 0.0
    return run(
        body, deadline=request.deadline, verbose=request.verbose, grace=row.grace, patience=row.patience, then=then
    )


def _module(command: str) -> Any:
    return importlib.import_module(f"ocore_mover.commands.{command.replace('-', '_')}")


def run(
    body: Callable[[Runtime], "Payload"],
    *,
    deadline: float | None,
    verbose: bool = False,
    grace: float,
    patience: float = 0.0,
    then: "tuple[Callable[[Runtime], Payload], float] | None" = None,
) -> int:
    """Runs a command's body and reports its result. Returns the exit code. Raises UsageError.

    `then`: another command, which follows where this one has succeeded, and its deadline in seconds. By then the result
    of the first is reported, and whatever happens to the other one does not change it.
    """
    if not gc.isenabled():
        # What the start has made stays: neither the collector nor the end of the process need visit it.
        gc.freeze()
        gc.enable()
    configure_logging(verbose)
    reporter = Reporter()
    token = Token(deadline)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: token.cancel())
    ended = threading.Event()
    threading.Thread(target=_watchdog, args=(token, reporter, ended, grace), name="watchdog", daemon=True).start()
    try:
        payload = body(Runtime(reporter, token, patience=patience))
    except UsageError:
        ended.set()
        raise
    except Exception as error:
        failure = as_failure(error)
        if failure.reason == conditions.INTERNAL_ERROR:
            log.exception("failed")
        ended.set()
        reporter.fail(failure)
        return EXIT_FAILED
    ended.set()
    reporter.succeed(payload)
    if then is not None:
        _follow(reporter, token, grace, *then)
    return EXIT_OK


def _follow(
    reporter: Reporter, token: Token, grace: float, body: Callable[[Runtime], "Payload"], deadline: float
) -> None:
    """Runs the command that follows, and reports its result beside that of the first."""
    ended = threading.Event()
    with token.within(deadline) as part:
        threading.Thread(target=_watchdog, args=(part, reporter, ended, grace), name="watchdog", daemon=True).start()
        try:
            payload = body(Runtime(reporter, part))
        except Exception as error:
            ended.set()
            reporter.fail(as_failure(error))
        else:
            ended.set()
            reporter.succeed(payload)


def _watchdog(token: Token, reporter: Reporter, ended: threading.Event, grace: float) -> None:
    """Ends the process `grace` seconds after cancellation, and reports why: a hanging volume or server blocks the main
    thread."""
    while not token.cancelled:
        if ended.wait(0.5):
            return
    if ended.wait(grace):
        return
    log.error("the command did not end in time; exiting", extra={"grace_seconds": grace})
    try:
        token.check()
    except MoverError as error:
        reporter.fail(error.failure())
    os._exit(EXIT_FAILED)
