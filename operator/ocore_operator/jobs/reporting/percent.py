"""How far an operation is, as the share of its time that has passed. Pure.

An earlier operation of the environment says how long each step takes and which steps run side by side; the figures of a
running step say whether it is faster or slower this time. Where no earlier one is known, rough weights of the steps
decide.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt

from ocore_crds.protocol import ProgressReport, Step
from ocore_crds.resources.snapshot import StepStatus
from ocore_crds.rules.shown_step import Begun, shown_step
from ocore_operator.clock import parse

#: Rough shares of an operation's time, where no earlier one says better.
WEIGHTS: dict[Step, int] = {
    Step.PREPARE: 2,
    Step.DUMP_DATABASE: 45,
    Step.COPY_FILESTORE: 40,
    Step.CAPTURE_CONFIG: 1,
    Step.PUBLISH: 4,
    Step.VERIFY: 8,
    Step.PREFLIGHT: 2,
    Step.SAFETY_SNAPSHOT: 30,
    Step.RESTORE_DATABASE: 50,
    Step.RESTORE_FILESTORE: 25,
    Step.CHECK: 5,
    Step.NEUTRALIZE: 5,
    Step.QUIESCE: 4,
    Step.SWITCH: 3,
    Step.RESTORE_IMAGE: 1,
    Step.RESUME: 3,
    Step.HEALTH_CHECK: 5,
    Step.SWITCH_BACK: 3,
    Step.CLEANUP: 3,
    Step.COPY_REMOTE: 1,
    Step.EXTRACT: 1,
}
#: Never 100 before the operation has ended: a bar at 100 that still runs is misleading (velero#7798).
MOST = 99
#: Points that the percentage may grow by in a second: what was estimated wrongly is caught up in several.
MOST_AT_ONCE = 10
#: An operation of a few seconds may grow by more: by this many times the points of one second.
HASTE = 1.5
#: A step that takes longer than the last time needs this many times as long as it is late.
OVERDUE = 0.4
#: Part of a step after which its speed is known: its first bytes come late.
SPEED_KNOWN = 0.02
#: Seconds that are no pause between two steps: what ends within them has ended before.
_SAME = 0.05
_ENDED = ("Done", "Skipped", "Failed")


@dataclass(frozen=True)
class Span:
    """When a step ran, in seconds since its operation began, and the bytes and files that it counted; 0: none."""

    start: float
    end: float
    bytes: int = 0
    files: int = 0


@dataclass(frozen=True)
class Timeline:
    """What is known of an operation that has ended: its steps and its seconds in all."""

    spans: Mapping[Step, Span]
    seconds: float


@dataclass(frozen=True)
class Running:
    """An operation under way. `figures`: the newest of each step, of a Job that runs. `working`: since when the Job
    works at a step; its pod starts before."""

    began: datetime
    steps: Mapping[Step, StepStatus]
    figures: Mapping[Step, ProgressReport]
    working: Mapping[Step, str] = field(default_factory=dict)


def began(steps: Collection[StepStatus], started_at: str | None) -> datetime | None:
    """When an operation began to work: with its first step, or before. None: not yet."""
    times = [parse(s.started_at) for s in steps if s.started_at] + ([parse(started_at)] if started_at else [])
    return min(times, default=None)


def timeline(steps: Collection[StepStatus], started_at: str | None, completed_at: str | None) -> Timeline | None:
    """Of an operation that has ended. None where its times are not known, as those of an imported one."""
    start = began(steps, started_at)
    if start is None or completed_at is None:
        return None
    seconds = (parse(completed_at) - start).total_seconds()
    spans = {
        Step(s.name): Span(
            (parse(s.started_at) - start).total_seconds(),
            (parse(s.completed_at) - start).total_seconds(),
            s.bytes_done or 0,
            s.files_done or 0,
        )
        for s in steps
        if s.state == "Done" and s.started_at and s.completed_at and parse(s.completed_at) <= parse(completed_at)
    }
    return Timeline(spans, seconds) if spans and seconds > 0 else None


def fraction(report: ProgressReport | None) -> float | None:
    """How much of a step is done, 0 to 1, by bytes, else by files; None where no total is known."""
    if report is None:
        return None
    for done, total in ((report.bytes_done, report.bytes_total), (report.files_done, report.files_total)):
        if total > 0:
            return min(max(done / total, 0.0), 1.0)
    return None


def percent(
    order: Sequence[Step], running: Running, past: Timeline | None, now: datetime, floor: int, since: datetime
) -> int:
    """The percentage of the whole operation, 0 to 99: never below `floor`, the last one, and never far above it.
    `since`: when that was shown. Figures give way while an application is stopped."""
    passed = (now - running.began).total_seconds()
    if past is None:
        share, most = _by_weights(order, running), MOST_AT_ONCE
    elif passed <= 0:
        share, most = 0.0, MOST_AT_ONCE
    else:
        seconds = passed + _remaining(order, running, past, now)
        share, most = passed / seconds, max(MOST_AT_ONCE, int(HASTE * 100 / seconds))
    return max(floor, min(int(100 * share), MOST, floor + int(most * max((now - since).total_seconds(), 1.0))))


def _by_weights(order: Sequence[Step], running: Running) -> float:
    total = sum(WEIGHTS[s] for s in order)
    reached = sum(
        WEIGHTS[s] * (1.0 if _has_ended(running, s) else fraction(running.figures.get(s)) or 0.0) for s in order
    )
    return reached / total if total else 0.0


def _remaining(order: Sequence[Step], running: Running, past: Timeline, now: datetime) -> float:
    """Seconds that remain: those of the running step whose end, with all that comes after it, is the farthest."""
    open_ = [s for s in order if not _has_ended(running, s)]
    active = [s for s in open_ if _state(running, s) == "Running"]
    waiting = [past.spans[s] for s in open_ if s not in active and s in past.spans]
    if active:
        return max(_of_step(running, s, past, now) + _after(past.spans.get(s), waiting, past) for s in active)
    return past.seconds - min((w.start for w in waiting), default=past.seconds)


def _after(span: Span | None, waiting: Collection[Span], past: Timeline) -> float:
    """Seconds from the end of a step to the end of the operation, with the pause before its next steps. What had begun
    before its end does not wait for it."""
    next_ = min((w.start for w in waiting if span is None or w.start >= span.end - _SAME), default=past.seconds)
    last_end = max((s.end for s in past.spans.values() if s.start < next_ and s.end <= next_ + _SAME), default=next_)
    return max(past.seconds - min(last_end, next_), 0.0)


def _of_step(running: Running, step: Step, past: Timeline, now: datetime) -> float:
    """Seconds that a running step still needs, by the last time and by its own speed.

    A step that is behind is slower this time. One that is ahead may be so only because its bytes are read before its
    indexes are built.
    """
    started = running.steps[step].started_at
    taken = (now - parse(started)).total_seconds() if started else 0.0
    figures, span = running.figures.get(step), past.spans.get(step)
    done = fraction(figures)
    working = running.working.get(step, started)
    by_speed = (now - parse(working)).total_seconds() * (1 - done) / done if done and working else None
    if span is None:
        return by_speed if by_speed is not None else taken
    expected = (span.end - span.start) * _growth(figures, span)
    by_last = expected - taken if taken <= expected else OVERDUE * (taken - expected)
    if done is None or by_speed is None or done < SPEED_KNOWN:
        return by_last
    weight = sqrt(done) if by_speed > by_last else done / 3
    return weight * by_speed + (1 - weight) * by_last


def _growth(figures: ProgressReport | None, span: Span) -> float:
    """How many times as much as the last time the step has to do; 1 where it is not known."""
    if figures is None:
        return 1.0
    for total, last in ((figures.bytes_total, span.bytes), (figures.files_total, span.files)):
        if total > 0 and last > 0:
            return total / last
    return 1.0


def _state(running: Running, step: Step) -> str:
    found = running.steps.get(step)
    return found.state if found is not None else "Pending"


def _has_ended(running: Running, step: Step) -> bool:
    return _state(running, step) in _ENDED


def shown(order: Sequence[Step], running: Running, last: Step | None) -> Step | None:
    """The step to show: see :func:`ocore_crds.rules.shown_step.shown_step`. `last`: the one of the last figure.
    None: none has begun."""
    if last is not None and _state(running, last) == "Pending":
        last = None  # another attempt has begun
    known = [running.steps[s] for s in order if s in running.steps]
    name = shown_step([Begun(s.name, s.state, s.started_at, s.completed_at) for s in known], last)
    return Step(name) if name is not None else None
