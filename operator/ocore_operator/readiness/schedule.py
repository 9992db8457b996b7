"""When an Environment or a SnapshotStore is probed. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ocore_crds import conditions as c
from ocore_crds.commands.base import Command
from ocore_crds.conditions import Condition
from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_operator import clock
from ocore_operator.jobs.observing.attempts import Failed
from ocore_operator.settings import Settings

#: Seconds from the end of a rollback to the probe that renews what was found before it. The application has just
#: started, and the next operation, which has a probe of its own, may follow at once.
RENEWAL = 60.0
#: Seconds from the end of one probe to the start of one that a person asks for, at least.
PAUSE = 10.0
#: Bounds of the seconds between two probes of what is not ready.
BACKOFF_MIN, BACKOFF_MAX = 15.0, 300.0
#: Seconds after which a request for a later time is checked again, at most.
HORIZON = 3600.0


def backoff(probed: str, since: str) -> float:
    """Seconds from the last probe to the next one while a condition is not True: as long as that has already lasted,
    between the bounds. So the pauses double without a counter, and a restart of the operator changes nothing."""
    lasted = clock.seconds_since(since, clock.parse(probed))
    return min(max(lasted, BACKOFF_MIN), BACKOFF_MAX)


def due_in(
    settings: Settings,
    now: datetime,
    *,
    probed: str | None,
    began: str | None,
    current: bool,
    wanted: str,
    outdated: str,
    conditions: Iterable[Condition],
    watched: Iterable[str],
) -> float:
    """Seconds until the next probe; 0 or less: now.

    `probed`, `began`: end and start of the last probe. `current`: it saw the present generation and all that it depends
    on. `wanted`: a probe that begins then or later is requested. `outdated`: what a probe found that began before then
    is out of date. `watched`: condition types that must be True; while one is not, probes come at shorter intervals.
    """
    if probed is None or not current:
        return 0.0
    if wanted and (began or probed) < wanted:
        return 0.0
    pause, unmet = settings.probe_interval, [x for t in watched if (x := c.find(conditions, t)) and x.status != "True"]
    for condition in unmet:
        pause = min(pause, backoff(probed, condition.last_transition_time))
    due = pause - clock.seconds_since(probed, now)
    if outdated and (began or probed) < outdated:
        return 0.0 if unmet else min(due, RENEWAL - clock.seconds_since(outdated, now))
    return due


def requested(annotations: Mapping[str, str]) -> datetime | None:
    """The time of the request that anyone who may write the object makes by an annotation, in whole seconds; None where
    there is none, or it is no RFC 3339 time with a time zone."""
    try:
        moment = clock.parse(annotations.get(ANNOTATION_PROBE_REQUESTED, ""))
        return moment.astimezone(UTC).replace(microsecond=0) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def asked_in(now: datetime, request: datetime | None, probed: str | None, began: str | None) -> float | None:
    """Seconds until the probe that a person asks for; None where none is, or where one has begun since. One request
    causes one probe at most, and there is a pause between two."""
    if request is None or probed is None or clock.parse(began or probed) >= request:
        return None
    due = max(-clock.seconds_since(clock.text(request), now), PAUSE - clock.seconds_since(probed, now))
    return min(due, HORIZON)


def again(command: Command[Any], failed: Failed) -> float | None:
    """Another probe by the command follows one that was evicted, killed or lost, or whose container the runtime could
    not create. What the mover reports is the verdict."""
    lost = failed.failure.retryable and failed.failure.reason in (c.JOB_FAILED, c.JOB_LOST, c.POD_NOT_STARTED)
    return 0.0 if lost and not failed.live and failed.number < command.attempts else None


def attempt_name(generation: int, probed: str | None) -> str:
    """Eight hexadecimal digits that name the next probe's Job: the same after a restart, different after each probe."""
    return hashlib.sha256(f"{generation} {probed}".encode()).hexdigest()[:8]
