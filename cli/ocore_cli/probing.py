"""``kubectl ocore doctor --probe``: asks the operator to probe Environments now, and waits until it has.

The request is an annotation. An Environment that is not ready is probed; of one that is ready the sizes are measured.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Console
from rich.text import Text

from ocore_crds import conditions as c
from ocore_crds.kinds import ENVIRONMENT
from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_crds.resources.environment import EnvironmentStatus
from ocore_crds.text.timestamps import parse, second_after, text

from .errors import TimedOut
from .interrupts import pause
from .objects import Objects, needed

#: Seconds between two reads.
PAUSE = 1.0


def probe(
    objects: Objects,
    notes: Console,
    names: Sequence[str],
    timeout: float,
    now: datetime,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = pause,
) -> None:
    """Asks, and returns once each of the Environments was probed since. Raises TimedOut; the operator continues.

    Raises CliError where an Environment does not exist, or may not be changed.
    """
    until = clock() + timeout
    open_ = {name: _ask(objects, name, now) for name in names}
    for name in names:
        notes.print(Text(f"Waiting for a probe of environment {name}.", style="dim"))
    while True:
        open_ = {name: asked for name, asked in open_.items() if not _answered(_status(objects, name), asked)}
        if not open_:
            return
        if clock() >= until:
            raise TimedOut(
                f"environment {', '.join(open_)} was not probed within {timeout:.0f} s; what is shown is older. The"
                " operator continues: see the line Operator, or run the command again"
            )
        sleep(PAUSE)


def _ask(objects: Objects, name: str, now: datetime) -> datetime:
    """The time from which on a probe is an answer: later than now, and than the start of the last one, whatever this
    machine's clock says."""
    status = _status(objects, name)
    known = [parse(each) for each in (_began(status), *_measured(status)) if each is not None]
    asked = second_after(now, *known)
    objects.patch(ENVIRONMENT, name, {"metadata": {"annotations": {ANNOTATION_PROBE_REQUESTED: text(asked)}}})
    return asked


def _answered(status: EnvironmentStatus, asked: datetime) -> bool:
    ready = all(c.is_true(status.conditions, each) for each in (c.READY, c.ROLLBACK_READY))
    known = (_began(status), *(_measured(status) if ready else ()))
    return any(parse(each) >= asked for each in known if each is not None)


def _began(status: EnvironmentStatus) -> str | None:
    return (status.probe.started_at or status.probe.time) if status.probe is not None else None


def _measured(status: EnvironmentStatus) -> tuple[str | None, ...]:
    return (status.sizes.measured_at, status.sizes.attempted_at) if status.sizes is not None else ()


def _status(objects: Objects, name: str) -> EnvironmentStatus:
    return EnvironmentStatus.model_validate(needed(objects, ENVIRONMENT, name).get("status") or {})
