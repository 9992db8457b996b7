"""The percentage is the share of an operation's time that has passed: simulated operations, a second at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.protocol import ROLLBACK_STEPS, SNAPSHOT_STEPS, ProgressReport, Step
from ocore_crds.resources.snapshot import StepStatus
from ocore_operator import clock
from ocore_operator.jobs.reporting.percent import (
    MOST,
    MOST_AT_ONCE,
    WEIGHTS,
    Running,
    Timeline,
    percent,
    shown,
    timeline,
)
from support.operator.objects import NOW
from support.operator.traces import Shown, farthest, largest_jump

ROLLBACK = tuple(s for s in ROLLBACK_STEPS if s != Step.CLEANUP)


@dataclass(frozen=True)
class Part:
    """A step of a simulated operation. `read`: the part of its time after which all of its bytes are read; 0: it
    reports no figures."""

    step: Step
    start: float
    seconds: float
    bytes: int = 0
    read: float = 1.0

    @property
    def end(self) -> float:
        return self.start + self.seconds


def at(seconds: float) -> str:
    return clock.exact(NOW + timedelta(seconds=seconds))


def state_at(parts: Sequence[Part], now: float) -> Running:
    steps, figures = dict[Step, StepStatus](), dict[Step, ProgressReport]()
    for part in parts:
        if now < part.start:
            continue
        ended = now >= part.end
        steps[part.step] = StepStatus(
            name=part.step,
            state="Done" if ended else "Running",
            started_at=at(part.start),
            completed_at=at(part.end) if ended else None,
            bytes_done=part.bytes or None if ended else None,
        )
        if part.bytes:
            done = min((now - part.start) / (part.seconds * part.read), 1.0)
            figures[part.step] = ProgressReport(
                step=part.step, bytes_done=int(done * part.bytes), bytes_total=part.bytes, time=at(now)
            )
    return Running(NOW, steps, figures)


def past(parts: Sequence[Part]) -> Timeline:
    end = max(p.end for p in parts)
    found = timeline(list(state_at(parts, end).steps.values()), at(0), at(end))
    assert found is not None
    return found


def shares(order: Sequence[Step], parts: Sequence[Part], before: Timeline | None) -> Iterator[Shown]:
    """Of each second: the share of the time that has passed, and the percentage."""
    end, floor = max(p.end for p in parts), 0
    for second in range(1, int(end)):
        now = NOW + timedelta(seconds=second)
        floor = percent(order, state_at(parts, second), before, now, floor, now - timedelta(seconds=1))
        yield Shown(100 * second / end, floor, "")


def faster(parts: Sequence[Part], factor: float) -> list[Part]:
    return [replace(p, start=p.start * factor, seconds=p.seconds * factor) for p in parts]


def larger(parts: Sequence[Part], factor: int) -> list[Part]:
    """With so many times the bytes; what comes after a longer step begins later."""
    more = [p.end + (factor - 1) * p.seconds for p in parts if p.bytes]
    shift = max(more) - max(p.end for p in parts if p.bytes)
    first_end = max(p.end for p in parts if p.bytes)
    return [
        replace(p, bytes=p.bytes * factor, seconds=p.seconds * factor)
        if p.bytes
        else replace(p, start=p.start + (shift if p.start >= first_end else 0))
        for p in parts
    ]


GIB = 1024**3
#: Five shapes of operations, with the pauses between steps in which Jobs and pods start.
SHAPES: dict[str, tuple[tuple[Step, ...], list[Part]]] = {
    "a large database, without figures of the files": (
        SNAPSHOT_STEPS,
        [
            Part(Step.PREPARE, 3, 1),
            Part(Step.DUMP_DATABASE, 4, 60, 8 * GIB),
            Part(Step.COPY_FILESTORE, 4, 6),
            Part(Step.CAPTURE_CONFIG, 64, 0.1),
            Part(Step.PUBLISH, 64.1, 1),
            Part(Step.VERIFY, 65.1, 4),
        ],
    ),
    "many files": (
        SNAPSHOT_STEPS,
        [
            Part(Step.PREPARE, 2, 5),
            Part(Step.DUMP_DATABASE, 7, 3, 10**8),
            Part(Step.COPY_FILESTORE, 7, 90, 10**9),
            Part(Step.CAPTURE_CONFIG, 97, 0.1),
            Part(Step.PUBLISH, 97.1, 2),
            Part(Step.VERIFY, 99.1, 0.5),
        ],
    ),
    "indexes take half of the restore": (
        ROLLBACK,
        [
            Part(Step.PREFLIGHT, 0, 2),
            Part(Step.RESTORE_DATABASE, 5, 60, 4 * GIB, read=0.5),
            Part(Step.RESTORE_FILESTORE, 5, 20, GIB),
            Part(Step.CHECK, 65, 5),
            Part(Step.QUIESCE, 72, 3),
            Part(Step.SWITCH, 75, 1),
            Part(Step.RESUME, 76, 1),
            Part(Step.HEALTH_CHECK, 77, 15),
        ],
    ),
    "a safety snapshot": (
        (ROLLBACK[0], Step.SAFETY_SNAPSHOT, *ROLLBACK[1:]),
        [
            Part(Step.PREFLIGHT, 0, 1),
            Part(Step.SAFETY_SNAPSHOT, 1, 40),
            Part(Step.RESTORE_DATABASE, 44, 30, GIB),
            Part(Step.CHECK, 74, 1),
            Part(Step.QUIESCE, 76, 10),
            Part(Step.SWITCH, 86, 1),
            Part(Step.RESUME, 87, 1),
            Part(Step.HEALTH_CHECK, 88, 6),
        ],
    ),
    "a staging copy of many files": (
        ROLLBACK,
        [
            Part(Step.PREFLIGHT, 0, 4),
            Part(Step.RESTORE_DATABASE, 6, 15, GIB),
            Part(Step.RESTORE_FILESTORE, 6, 100, 20 * GIB),
            Part(Step.CHECK, 106, 3),
            Part(Step.NEUTRALIZE, 112, 8),
            Part(Step.QUIESCE, 121, 1),
            Part(Step.SWITCH, 122, 2),
            Part(Step.HEALTH_CHECK, 124, 4),
        ],
    ),
}
SHAPE = pytest.mark.parametrize(("order", "parts"), SHAPES.values(), ids=list(SHAPES))


@SHAPE
@pytest.mark.parametrize("speed", [0.9, 1.0, 1.15])
def test_from_the_second_operation_on_it_is_the_share_of_the_time(
    order: tuple[Step, ...], parts: list[Part], speed: float
) -> None:
    """Within 10 points, although this one is somewhat faster or slower."""
    found = list(shares(order, faster(parts, speed), past(parts)))
    assert farthest(found) <= 10
    assert largest_jump(found) <= 15


@pytest.mark.parametrize(
    "shape", ["a large database, without figures of the files", "indexes take half of the restore"]
)
@pytest.mark.parametrize("growth", [2, 5])
def test_a_database_that_has_grown(shape: str, growth: int) -> None:
    """Steps that report figures have a total that says so."""
    order, parts = SHAPES[shape]
    found = list(shares(order, larger(parts, growth), past(parts)))
    assert farthest(found) <= 10
    assert largest_jump(found) <= 15


@SHAPE
@pytest.mark.parametrize("speed", [0.3, 1.0, 4.0])
def test_it_never_falls_and_never_says_100(order: tuple[Step, ...], parts: list[Part], speed: float) -> None:
    for before in (None, past(parts)):
        values = [s.percent for s in shares(order, faster(parts, speed), before)]
        assert values == sorted(values)
        assert max(values) <= MOST
        assert all(b - a <= MOST_AT_ONCE for a, b in pairwise(values))


@pytest.mark.parametrize("seconds", [3, 5, 8])
def test_an_operation_of_a_few_seconds_is_as_true_as_a_long_one(seconds: int) -> None:
    """With a limit of ten points a second it would end at 10 to 40."""
    order, parts = SHAPES["a large database, without figures of the files"]
    short = faster(parts, seconds / max(p.end for p in parts))
    found = list(shares(order, short, past(short)))
    assert farthest(found) <= 10
    assert found[-1].percent >= 100 - 100 / seconds - 10


def test_what_passed_without_a_figure_is_caught_up_at_once() -> None:
    """Figures give way while an application is stopped: a rollback of 20 s would be at 26 when it starts again."""
    parts = [Part(Step.RESTORE_DATABASE, 0, 6), Part(Step.SWITCH, 6, 8), Part(Step.RESUME, 14, 6)]
    order, before = tuple(p.step for p in parts), past(parts)
    now = NOW + timedelta(seconds=15)
    assert percent(order, state_at(parts, 15), before, now, 30, NOW + timedelta(seconds=6)) == 75
    assert percent(order, state_at(parts, 15), before, now, 30, NOW + timedelta(seconds=14)) == 30 + MOST_AT_ONCE


def test_a_short_one_that_takes_ten_times_as_long_does_not_run_ahead() -> None:
    order, parts = SHAPES["a large database, without figures of the files"]
    found = list(shares(order, larger(parts, 10), past(parts)))
    assert largest_jump(found) <= 15


State = Literal["Running", "Done", "Failed", "Skipped"]
#: What a Job's log may say in a second: states of steps, and bytes that are done, and all, of up to two.
SAID = st.tuples(
    st.dictionaries(st.sampled_from(SNAPSHOT_STEPS), st.sampled_from(get_args(State))),
    st.dictionaries(
        st.sampled_from(SNAPSHOT_STEPS), st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), max_size=2
    ),
)


@given(st.booleans(), st.lists(SAID, min_size=29, max_size=29))
def test_any_states_and_figures(known: bool, said: list[tuple[dict[Step, State], dict[Step, tuple[int, int]]]]) -> None:
    """Monotonic, whatever a Job's log says."""
    parts = SHAPES["a large database, without figures of the files"][1]
    before = past(parts) if known else None
    floor = 0
    for second, (states, bytes_) in enumerate(said, 1):
        steps = {s: StepStatus(name=s, state=state, started_at=at(second / 2)) for s, state in states.items()}
        figures = {
            s: ProgressReport(step=s, bytes_done=done, bytes_total=total, time="t")
            for s, (done, total) in bytes_.items()
        }
        now = NOW + timedelta(seconds=second)
        new = percent(SNAPSHOT_STEPS, Running(NOW, steps, figures), before, now, floor, now - timedelta(seconds=1))
        assert floor <= new <= MOST
        floor = new


def test_every_step_has_a_weight() -> None:
    assert set(WEIGHTS) == set(Step)


def test_the_first_operation_goes_by_weights() -> None:
    order, parts = SHAPES["a large database, without figures of the files"]
    found = list(shares(order, parts, None))
    assert 30 < found[len(found) // 2].percent < 80
    assert found[-1].percent > 90


def test_an_operation_whose_times_are_not_known_is_no_guide() -> None:
    assert timeline((), None, at(3)) is None
    assert timeline((), at(0), None) is None
    step = StepStatus(name=Step.PREPARE, state="Done", started_at=at(1), completed_at=at(2))
    assert timeline([step], at(0), None) is None
    assert timeline([step], at(0), at(5)) is not None


def test_of_steps_side_by_side_the_first_is_shown_until_it_has_ended() -> None:
    order, parts = SHAPES["a staging copy of many files"]
    last, seen = None, list[Step]()
    for second in range(130):
        last = shown(order, state_at(parts, second), last)
        if last is not None and (not seen or seen[-1] != last):
            seen.append(last)
    assert seen == [p.step for p in parts]


def test_a_step_before_the_last_one_is_not_shown_again() -> None:
    """A Job repeats an early check."""
    parts = [Part(Step.PREPARE, 0, 5), Part(Step.DUMP_DATABASE, 0, 1)]
    assert shown(SNAPSHOT_STEPS, state_at(parts, 2), Step.DUMP_DATABASE) == Step.DUMP_DATABASE


def test_between_two_steps_the_one_that_ended_last_is_shown() -> None:
    """Not the one before it, which was shown last: the step would go back at the next event."""
    parts = [Part(Step.PREPARE, 0, 1), Part(Step.DUMP_DATABASE, 1, 1), Part(Step.COPY_FILESTORE, 1, 0.5)]
    assert shown(SNAPSHOT_STEPS, state_at(parts, 3), Step.PREPARE) == Step.DUMP_DATABASE


def test_another_attempt_begins_again_with_its_own_steps() -> None:
    parts = [Part(Step.PREPARE, 0, 5)]
    assert shown(SNAPSHOT_STEPS, state_at(parts, 2), Step.PUBLISH) == Step.PREPARE
