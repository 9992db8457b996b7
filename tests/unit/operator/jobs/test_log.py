"""Progress and steps from a Job's log."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.base import Model
from ocore_crds.protocol import SNAPSHOT_STEPS, ProgressReport, Step, StepReport
from ocore_crds.snapshot import Progress
from ocore_kube.types import SNAPSHOTS
from ocore_operator.jobs.log import Followers, LogState, summary
from ocore_operator.jobs.percent import MOST, percent
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key
from support.operator.api import ApiServer
from support.operator.objects import NOW, OTHER_UID, snapshot_object

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


OWNER = Key("Snapshot", "shop", "before")
HALF = Progress(step="Dump", percent=50, updated_at="2026-03-01T12:00:00Z")


@pytest.fixture
def api() -> ApiServer:
    """With a Snapshot that runs."""
    found = ApiServer()
    found.put(SNAPSHOTS, snapshot_object(status={"phase": "Running"}))
    return found


def report(api: ApiServer, catalog: Catalog, progress: Progress) -> int:
    """Writes a figure; the resourceVersion of the object with it."""
    followers = Followers(api.client(), catalog, lambda _: None, lambda: NOW)
    assert asyncio.run(followers._patch(OWNER, progress))
    written = api.read(SNAPSHOTS, "shop", "before")
    assert written["status"]["progress"]["percent"] == progress.percent
    return int(written["metadata"]["resourceVersion"])


def test_a_figure_makes_no_reconcile(api: ApiServer) -> None:
    """Its event brings nothing that the catalog does not know."""
    catalog = Catalog()
    catalog.put("Snapshot", api.read(SNAPSHOTS, "shop", "before"))
    for percent_ in (50, 60):
        version = report(api, catalog, HALF.model_copy(update={"percent": percent_}))
        known = catalog.get(OWNER)
        assert known is not None
        assert known.version == version


def test_a_figure_hides_no_change_of_another_client(api: ApiServer) -> None:
    """A person cancelled in that moment, and the event of it is still on its way."""
    catalog = Catalog()
    before = catalog.put("Snapshot", api.read(SNAPSHOTS, "shop", "before"))
    api.put(SNAPSHOTS, snapshot_object({"cancel": True}, {"phase": "Running"}))
    report(api, catalog, HALF)
    assert catalog.get(OWNER) == before


def test_a_figure_of_an_unknown_object_is_not_taken(api: ApiServer) -> None:
    catalog = Catalog()
    report(api, catalog, HALF)
    assert catalog.get(OWNER) is None
    stranger = snapshot_object(uid=OTHER_UID)
    stranger["metadata"]["resourceVersion"] = "1"
    before = catalog.put("Snapshot", stranger)
    report(api, catalog, HALF.model_copy(update={"percent": 60}))
    assert catalog.get(OWNER) == before
