"""Waiting for a terminal state, with a deadline."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from .display import Display
from .errors import CliError, TimedOut, Unreachable
from .interrupts import pause
from .runs import Run, duration

#: Seconds between two reads: the operator writes progress at most once a second.
INTERVAL = 0.5
#: Seconds without an answer from the API server after which a wait ends that has no other limit.
NO_ANSWER = 600.0
#: Seconds that a wait without a timeout lasts at least: an operator that was away continues after the deadline.
AT_LEAST = 90.0


def follow(
    read: Callable[[], Run | None],
    display: Display,
    timeout: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = pause,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Run:
    """The operation in its terminal state.

    Waits `timeout` seconds; None waits until the operation must be terminal (:meth:`Run.seconds_left`), which moves
    with its status. Retries while the API server does not answer: the operation continues without it. Raises CliError
    when the time is over, or if the object does not exist.
    """
    started = clock()
    limit = started + (NO_ANSWER if timeout is None else timeout)
    last: Run | None = None
    with display:
        while True:
            try:
                run = read()
            except Unreachable as error:
                display.note(f"{error}; retrying")
            else:
                if run is None:
                    raise CliError(_deleted(last))
                last = run
                display.show(run)
                if run.outcome is not None:
                    return run
                if timeout is None:
                    left = run.seconds_left(now())
                    limit = max(started + AT_LEAST, clock() + (NO_ANSWER if left is None else left))
            if clock() >= limit:
                raise TimedOut(_too_late(last, clock() - started))
            sleep(min(INTERVAL, max(0.0, limit - clock())))


def _deleted(last: Run | None) -> str:
    if last is None:
        return "the object does not exist"
    return f"{last.kind.singular} {last.name} was deleted while it ran, which cancels it"


def _too_late(last: Run | None, waited: float) -> str:
    if last is None:
        return f"the API server did not answer for {duration(waited)}"
    waiting = last.waits_for()
    return (
        f"{last.kind.singular} {last.name} is not terminal after a wait of {duration(waited)} (phase {last.phase}"
        + (f": {waiting}" if waiting else "")
        + f"). It continues in the cluster. Follow it: kubectl ocore watch {last.kind.singular} {last.name} --timeout"
        " SECONDS"
    )
