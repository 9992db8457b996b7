"""Waiting for a terminal state, with a deadline."""

import time
from collections.abc import Callable

from .display import Display
from .errors import CliError, Unreachable
from .runs import Run, duration

#: Seconds between two looks: the operator writes progress at most once a second.
INTERVAL = 0.5


def follow(
    read: Callable[[], Run | None],
    display: Display,
    timeout: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Run:
    """The run in its terminal state. Raises CliError at the deadline (seconds), or where the object is deleted meanwhile.

    An API server that does not answer for a while is waited for: the operation goes on by itself.
    """
    deadline = clock() + timeout
    last: Run | None = None
    with display:
        while True:
            try:
                run = read()
            except Unreachable as error:
                display.note(f"{error}; trying again")
            else:
                if run is None:
                    raise CliError(_gone(last))
                last = run
                display.show(run)
                if run.outcome is not None:
                    return run
            if clock() >= deadline:
                raise CliError(_too_late(last, timeout))
            sleep(min(INTERVAL, max(0.0, deadline - clock())))


def _gone(last: Run | None) -> str:
    if last is None:
        return "there is no such object"
    return f"{last.kind.singular} {last.name} was deleted while it ran, which cancels it"


def _too_late(last: Run | None, timeout: float) -> str:
    if last is None:
        return f"the API server did not answer for {duration(timeout)}"
    waiting = last.waits_for()
    return (
        f"{last.kind.singular} {last.name} is not over after {duration(timeout)} (phase {last.phase}"
        + (f": {waiting}" if waiting else "")
        + f"). It goes on by itself: kubectl ocore watch {last.kind.singular} {last.name} --timeout SECONDS"
    )
