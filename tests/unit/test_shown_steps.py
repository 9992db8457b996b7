"""The step that clients see: the operator's figure of each second, and the facade's events of each change between two
of them."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ocore_api.views.events import progress_event
from ocore_api.views.values import Resource
from ocore_crds import conditions as c
from ocore_crds.protocol import SNAPSHOT_STEPS, Step, StepReport
from ocore_operator import clock
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.jobs.reporting.progress import progress
from ocore_operator.kube import resources
from support.operator.objects import NOW, Object, at, snapshot_object

#: A step with the seconds of its start and of its end.
Span = tuple[Step, float, float]


def exact(seconds: float) -> str:
    return clock.exact(NOW + timedelta(seconds=seconds))


def seen(spans: Sequence[Span], figures: Sequence[float], lag: Sequence[int]) -> list[str]:
    """The steps of all events of a Snapshot, each as often as it began to be shown. `figures`: when the operator writes
    one; `lag`: by how many lines of the log the status is behind, at each of them."""
    lines = sorted((when, state, step) for step, a, b in spans for when, state in ((a, "Running"), (b, "Done")))
    order = {name: i for i, name in enumerate(SNAPSHOT_STEPS)}
    lines.sort(key=lambda line: (line[0], line[1] == "Done", order[line[2]]))
    reconciling = {
        "type": c.RECONCILING,
        "status": "True",
        "reason": c.RUNNING,
        "message": "",
        "lastTransitionTime": at(0),
    }
    status: Object = {"phase": "Running", "startedAt": at(0), "conditions": [reconciling], "steps": []}
    found, shown, written = LogState(), list[str](), 0

    def sent() -> None:
        step = progress_event(Resource(snapshot_object(status=status)))["step"]
        if step is not None and (not shown or shown[-1] != step):
            shown.append(step)

    states: list[list[Object]] = [[]]
    moments = sorted([*((line[0], 0, i) for i, line in enumerate(lines)), *((when, 1, 0) for when in figures)])
    for when, is_figure, number in moments:
        if is_figure:
            resource = resources.any_kind("Snapshot", snapshot_object(status=status))
            new = progress(resource, [found], None, NOW + timedelta(seconds=when))
            if new is not None:
                status["progress"] = new.wire()
        else:
            _, state, step = lines[number]
            found.take(StepReport(step=step, state=state, time=exact(when)).model_dump_json(by_alias=True))  # type: ignore[arg-type]
            states.append([s.wire() for s in found.step_statuses(SNAPSHOT_STEPS)])
            written = max(written, len(states) - 1 - lag[number % len(lag)])
            status["steps"] = states[written]
        sent()
    return shown


def test_a_step_that_begins_in_the_first_second_hides_no_other_one() -> None:
    """The freeze is a part of copying. The dump begins after it, before the first figure (seen in a real snapshot:
    CopyFilestore, DumpDatabase, CopyFilestore)."""
    spans = [
        (Step.PREPARE, 0.0, 0.1),
        (Step.COPY_FILESTORE, 0.1, 0.9),
        (Step.DUMP_DATABASE, 0.2, 0.8),
        (Step.CAPTURE_CONFIG, 0.9, 0.95),
    ]
    assert seen(spans, [1.0], [0]) == ["Prepare", "CopyFilestore", "CaptureConfig"]
    assert seen(spans, [0.15, 1.0], [0]) == ["Prepare", "CopyFilestore", "CaptureConfig"]


def test_a_step_that_outlasts_the_shown_one_follows_it() -> None:
    spans = [(Step.COPY_FILESTORE, 0.0, 1.5), (Step.DUMP_DATABASE, 0.2, 9.0), (Step.PUBLISH, 9.0, 9.5)]
    assert seen(spans, [1, 2, 3, 9.2], [0]) == ["CopyFilestore", "DumpDatabase", "Publish"]


times = st.floats(0, 6, allow_nan=False).map(lambda x: round(x, 3))


@given(
    st.fixed_dictionaries({step: st.tuples(times, times) for step in SNAPSHOT_STEPS}),
    st.lists(times, max_size=8),
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
)
def test_no_step_comes_back(spans: dict[Step, tuple[float, float]], figures: list[float], lag: list[int]) -> None:
    """Whichever steps run side by side, whenever a figure is written, and however far the status is behind the log."""
    spans[Step.PREPARE] = (0, spans[Step.PREPARE][1])  # the first step begins first: a figure before it names it
    shown = seen([(s, min(x), max(x)) for s, x in spans.items()], figures, lag)
    assert len(shown) == len(set(shown)), shown
