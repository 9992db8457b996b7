"""Progress and steps from a Job's log."""

from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.base import Model
from ocore_crds.protocol import SNAPSHOT_STEPS, ProgressReport, Step, StepReport
from ocore_operator.jobs.log import LogState, summary
from ocore_operator.jobs.percent import MOST, percent

STEPS = st.sampled_from(SNAPSHOT_STEPS)
LINES = st.one_of(
    st.builds(
        StepReport, step=STEPS, state=st.sampled_from(["Running", "Done", "Skipped", "Failed"]), time=st.just("t")
    ),
    st.builds(
        ProgressReport,
        step=STEPS,
        bytes_done=st.integers(0, 10**12),
        bytes_total=st.integers(0, 10**12),
        files_done=st.integers(0, 10**6),
        files_total=st.integers(0, 10**6),
        time=st.just("t"),
    ),
)


def feed(state: LogState, *lines: Model) -> list[bool]:
    return [state.take(line.model_dump_json(by_alias=True)) for line in lines]


@given(st.lists(LINES, max_size=60))
def test_the_percentage_never_falls_and_never_says_100(lines: list[Model]) -> None:
    state, floor = LogState(), 0
    for line in lines:
        feed(state, line)
        found = summary(state, SNAPSHOT_STEPS, "2026-01-01T00:00:00Z", floor)
        assert found is not None
        assert floor <= found.percent <= MOST
        floor = found.percent


def test_all_steps_done_is_nearly_all() -> None:
    assert percent(SNAPSHOT_STEPS, set(SNAPSHOT_STEPS), {}) == MOST
    assert percent(SNAPSHOT_STEPS, (), {}) == 0
    half = ProgressReport(step=Step.DUMP_DATABASE, bytes_done=1, bytes_total=2, time="t")
    assert 0 < percent(SNAPSHOT_STEPS, {Step.PREPARE}, {Step.DUMP_DATABASE: half}) < 50


def test_steps_are_in_the_operations_order_with_their_times() -> None:
    state = LogState()
    woken = feed(
        state,
        StepReport(step=Step.COPY_FILESTORE, state="Running", time="2026-01-01T00:00:03Z"),
        StepReport(step=Step.PREPARE, state="Running", time="2026-01-01T00:00:01Z"),
        ProgressReport(step=Step.COPY_FILESTORE, bytes_done=3, bytes_total=9, time="2026-01-01T00:00:04Z"),
        StepReport(step=Step.PREPARE, state="Done", time="2026-01-01T00:00:05Z"),
    )
    assert woken == [True, True, False, True]
    first, second = state.step_statuses(SNAPSHOT_STEPS)
    assert (first.name, first.started_at, first.completed_at) == (
        "Prepare",
        "2026-01-01T00:00:01Z",
        "2026-01-01T00:00:05Z",
    )
    assert (second.name, second.completed_at) == ("CopyFilestore", None)


@given(st.text(max_size=300))
def test_stray_lines_say_nothing(line: str) -> None:
    state = LogState()
    assert not state.take(line)
    assert summary(state, SNAPSHOT_STEPS, "2026-01-01T00:00:00Z", 0) is None
