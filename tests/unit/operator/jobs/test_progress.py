"""status.progress of operations under way: what is written, by which steps, and when it stops."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import ProgressReport, Step, StepReport
from ocore_crds.resources.snapshot import Progress
from ocore_kube.types import OURS, SNAPSHOTS
from ocore_operator.jobs.reporting import progress as progress_module
from ocore_operator.jobs.reporting.log import Followers, LogState
from ocore_operator.jobs.reporting.progress import ProgressWriter, progress
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog, Work
from ocore_operator.kube.resources import Key, Object
from support.operator.api import ApiServer
from support.operator.catalogs import asking, new_catalog
from support.operator.objects import NOW, OTHER_UID, at, obj, snapshot_object

OWNER = Key("Snapshot", "shop", "before")


def condition(type_: str, reason: str) -> Object:
    return {"type": type_, "status": "True", "reason": reason, "message": "", "lastTransitionTime": at(0)}


def step(name: Step, state: str, start: float | None = None, end: float | None = None) -> Object:
    times = {"startedAt": at(start) if start is not None else None, "completedAt": at(end) if end is not None else None}
    return {"name": name.value, "state": state, **{k: v for k, v in times.items() if v is not None}}


def running(reason: str = c.RUNNING, **status: Any) -> Object:
    return {"phase": "Running", "startedAt": at(0), "conditions": [condition(c.RECONCILING, reason)], **status}


def rollback_object(name: str = "back", **status: Any) -> Object:
    spec = {"snapshotRef": {"name": "before"}}
    return obj(
        "Rollback",
        name,
        spec,
        {**running(), "phase": "Restoring", "stage": "Restore", "environmentName": "shop", **status},
    )


def reported(*lines: StepReport | ProgressReport) -> LogState:
    state = LogState()
    for line in lines:
        state.take(line.model_dump_json(by_alias=True))
    return state


def figures(step_: Step, done: int, total: int, seconds: float) -> ProgressReport:
    return ProgressReport(step=step_, bytes_done=done, bytes_total=total, time=at(seconds))


def began(step_: Step, seconds: float) -> StepReport:
    return StepReport(step=step_, state="Running", time=at(seconds))


def of(raw: Object, *logs: LogState, seconds: float = 10) -> Progress | None:
    kind = raw["kind"]
    return progress(resources.any_kind(kind, raw), logs, None, NOW + timedelta(seconds=seconds))


def test_step_and_bytes_belong_together() -> None:
    """Of two steps side by side the first one is shown, whichever has reported last."""
    log = reported(
        began(Step.DUMP_DATABASE, 1), began(Step.COPY_FILESTORE, 1),
        figures(Step.DUMP_DATABASE, 5, 9, 2), figures(Step.COPY_FILESTORE, 70, 80, 3),
    )  # fmt: skip
    found = of(snapshot_object(status=running()), log)
    assert found is not None
    assert (found.step, found.bytes_done, found.bytes_total) == ("DumpDatabase", 5, 9)
    log.take(StepReport(step=Step.DUMP_DATABASE, state="Done", time=at(4)).model_dump_json(by_alias=True))
    found = of(snapshot_object(status=running()), log)
    assert found is not None
    assert (found.step, found.bytes_done, found.bytes_total) == ("CopyFilestore", 70, 80)


def test_a_step_that_a_job_repeats_is_not_shown_again() -> None:
    """The restore's Job checks once more what the preflight has checked, and neutralising comes later."""
    steps = [step(Step.PREFLIGHT, "Done", 0, 2), step(Step.RESTORE_DATABASE, "Running", 3), step(Step.CHECK, "Pending")]
    log = reported(began(Step.PREFLIGHT, 4), figures(Step.PREFLIGHT, 1, 2, 4), figures(Step.RESTORE_DATABASE, 3, 7, 5))
    found = of(rollback_object(steps=steps), log)
    assert found is not None
    assert (found.step, found.bytes_done, found.bytes_total) == ("RestoreDatabase", 3, 7)


def test_a_step_began_when_the_status_says_and_not_with_its_pod() -> None:
    """A step that began between both would be shown, and this one again after it."""
    steps = [step(Step.SAFETY_SNAPSHOT, "Running", 4), step(Step.RESTORE_DATABASE, "Running", 3)]
    found = of(rollback_object(steps=steps), reported(began(Step.RESTORE_DATABASE, 6)))
    assert found is not None
    assert found.step == "RestoreDatabase"


def test_between_two_steps_the_last_one_stays_with_its_figures() -> None:
    steps = [step(Step.PREFLIGHT, "Done", 0, 2), step(Step.CHECK, "Done", 3, 4), step(Step.QUIESCE, "Pending")]
    old = {"step": "Check", "bytesDone": 4, "bytesTotal": 4, "percent": 61, "updatedAt": at(5)}
    found = of(rollback_object(steps=steps, progress=old))
    assert found is not None
    assert (found.step, found.bytes_done) == ("Check", 4)
    assert found.percent >= 61


def test_a_step_without_a_job_has_no_bytes_of_another_step() -> None:
    steps = [step(Step.RESTORE_DATABASE, "Done", 0, 2), step(Step.QUIESCE, "Running", 3)]
    old = {"step": "RestoreDatabase", "bytesDone": 4, "bytesTotal": 4, "percent": 61, "updatedAt": at(5)}
    found = of(rollback_object(steps=steps, progress=old))
    assert found is not None
    assert (found.step, found.bytes_done, found.bytes_total) == ("Quiesce", 0, 0)


@pytest.mark.parametrize("reason", [c.WAITING_FOR_OPERATION, c.WAITING_FOR_ENVIRONMENT])
def test_an_operation_that_waits_has_no_progress(reason: str) -> None:
    steps = [step(Step.PREFLIGHT, "Running", 0)]
    assert of(rollback_object(steps=steps, conditions=[condition(c.RECONCILING, reason)])) is None
    assert of(rollback_object(steps=steps, conditions=[condition(c.STALLED, reason)])) is None
    assert of(snapshot_object(status={"phase": "Pending", "conditions": [condition(c.RECONCILING, c.RUNNING)]})) is None


# --- what is written ------------------------------------------------------------------------------------------------


class Clock:
    """A second passes with each reading."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        self.seconds += 1
        return NOW + timedelta(seconds=self.seconds)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    monkeypatch.setattr(progress_module, "INTERVAL", 0.001)
    found = ApiServer()
    found.put(SNAPSHOTS, snapshot_object(status=running()))
    return found


def written(api: ApiServer, key: Key = OWNER) -> Object:
    found: Object = api.read(OURS[key.kind], key.namespace, key.name)
    return found


def run(
    api: ApiServer, catalog: Catalog, until: Callable[[], bool], key: Key = OWNER, log: LogState | None = None
) -> ProgressWriter:
    """Writes until the condition holds; at most ten seconds."""
    followers = Followers(api.client(), lambda *_: None)
    if log is not None:
        followers.of = lambda _: [log]  # type: ignore[method-assign]  # as a Job's log has reported
    writer = ProgressWriter(api.client(), catalog, followers, Clock())

    async def main() -> None:
        writer.ensure(key)
        writer.ensure(key)
        assert len(writer._tasks) == 1
        async with asyncio.timeout(10):
            while not until():  # noqa: ASYNC110 - what is waited for is in the API server
                await asyncio.sleep(0.001)
        await writer.stop()

    asyncio.run(main())
    return writer


def known(api: ApiServer, *keys: Key) -> Catalog:
    catalog = new_catalog()
    for key in keys or (OWNER,):
        catalog.put(key.kind, written(api, key))
    return catalog


def percent_of(api: ApiServer, key: Key = OWNER) -> int:
    return int(written(api, key)["status"].get("progress", {}).get("percent", -1))


def patches(api: ApiServer) -> int:
    return sum(method == "PATCH" for method, _ in api.requests)


def test_a_figure_each_second_also_where_nothing_is_reported(api: ApiServer) -> None:
    """Between two figures the object is not read again: its newest state is the answer to the last one."""
    run(api, known(api), lambda: patches(api) >= 5)
    gets = sum(method == "GET" for method, _ in api.requests)
    assert gets == 1


def test_a_rollback_shows_the_bytes_of_its_safety_snapshot(api: ApiServer) -> None:
    """No Job of its own reports any then."""
    key = Key("Rollback", "shop", "back")
    found = {"step": "DumpDatabase", "bytesDone": 30, "bytesTotal": 90, "percent": 4, "updatedAt": at(5)}
    api.put(SNAPSHOTS, snapshot_object(status=running(progress=found)))
    steps = [step(Step.PREFLIGHT, "Done", 0, 1), step(Step.SAFETY_SNAPSHOT, "Running", 1)]
    waits = rollback_object(safetySnapshotName="before", steps=steps)
    waits["status"]["conditions"] = [condition(c.RECONCILING, c.WAITING_FOR_SNAPSHOT)]
    api.put(OURS[key.kind], waits)
    run(api, known(api, key), lambda: percent_of(api, key) >= 0, key)
    shown = written(api, key)["status"]["progress"]
    assert (shown["step"], shown["bytesDone"], shown["bytesTotal"]) == ("SafetySnapshot", 30, 90)


@pytest.mark.parametrize("critical", [True, False])
def test_a_figure_gives_way_while_an_application_is_stopped(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, critical: bool
) -> None:
    """As long as the reconciles write: a conflict would delay one of them."""
    monkeypatch.setattr(progress_module, "INTERVAL", 0.02)
    catalog, rounds = asking(lambda _: Work(critical=critical)), list[int]()
    catalog.put("Snapshot", written(api))

    def reconciled() -> bool:
        catalog.put("Snapshot", api.put(SNAPSHOTS, written(api)))
        rounds.append(1)
        return len(rounds) > 200

    run(api, catalog, reconciled)
    assert (patches(api) == 0) == critical
    run(api, catalog, lambda: patches(api) >= 2)  # nothing else writes


def test_a_figure_makes_no_reconcile(api: ApiServer) -> None:
    """Its event brings nothing that the catalog does not know."""
    catalog = known(api)
    run(api, catalog, lambda: patches(api) >= 3)
    entry = catalog.get(OWNER)
    assert entry is not None
    assert entry.version == int(written(api)["metadata"]["resourceVersion"])


def test_a_figure_hides_no_change_of_another_client(api: ApiServer) -> None:
    """A person cancelled in that moment, and the event of it is still on its way."""
    catalog = known(api)
    before = catalog.get(OWNER)
    api.put(SNAPSHOTS, snapshot_object({"cancel": True}, running()))
    run(api, catalog, lambda: patches(api) >= 3)
    assert catalog.get(OWNER) == before


def test_no_figure_after_the_end(api: ApiServer) -> None:
    """Where the catalog does not know of the end yet, too."""
    catalog = known(api)
    ended = running(conditions=[condition(c.COMPLETE, c.SUCCEEDED)], phase="Complete")
    api.put(SNAPSHOTS, snapshot_object(status=ended))
    writer = run(api, catalog, lambda: bool(api.requests))
    assert percent_of(api) == -1
    api.requests.clear()
    catalog.put("Snapshot", written(api))
    run(api, catalog, lambda: not writer._tasks)
    assert not api.requests


def test_an_end_between_reading_and_writing_wins(api: ApiServer) -> None:
    """The resourceVersion of what was read refuses the late figure."""
    catalog = known(api)
    ended = running(conditions=[condition(c.COMPLETE, c.SUCCEEDED)], phase="Complete")
    answer, ends = api.request, list[int]()

    async def request(method: str, path: str, **options: Any) -> Object:
        if method == "PATCH" and percent_of(api) >= 0:
            api.put(SNAPSHOTS, snapshot_object(status=ended))
            ends.append(1)
        found: Object = await answer(method, path, **options)
        return found

    api.request = request  # type: ignore[method-assign]
    run(api, catalog, lambda: bool(ends))
    assert percent_of(api) == -1


def test_a_deleted_object_ends_it(api: ApiServer) -> None:
    catalog = known(api)
    catalog.remove(OWNER)
    writer = ProgressWriter(api.client(), catalog, Followers(api.client(), lambda *_: None), Clock())

    async def main() -> None:
        writer.ensure(OWNER)
        async with asyncio.timeout(10):
            while writer._tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    asyncio.run(main())
    assert not api.requests


def test_another_object_of_the_same_name_is_another_operation(api: ApiServer) -> None:
    """Its percentage begins at its own."""
    catalog = known(api)
    run(api, catalog, lambda: percent_of(api) >= 0)
    api.put(
        SNAPSHOTS,
        snapshot_object(status=running(progress={"step": "Prepare", "percent": 7, "updatedAt": at(0)}), uid=OTHER_UID),
    )
    catalog.remove(OWNER)
    catalog.put("Snapshot", written(api))
    run(api, catalog, lambda: patches(api) >= 6)
    assert written(api)["metadata"]["uid"] == OTHER_UID
    assert percent_of(api) >= 7


def test_the_last_operation_says_how_long_the_steps_take(api: ApiServer) -> None:
    """Of the environment, of the same kind, that ended well."""
    steps = [
        step(Step.PREPARE, "Done", 0, 10),
        step(Step.DUMP_DATABASE, "Done", 10, 90),
        step(Step.PUBLISH, "Done", 90, 100),
    ]
    ended = {"phase": "Complete", "startedAt": at(0), "completedAt": at(100), "steps": steps, "fullFilestore": True}
    failed = {**ended, "phase": "Failed", "completedAt": at(130), "steps": [step(Step.PREPARE, "Done", 0, 1)]}
    keys = [OWNER]
    for name, status in (("earlier", ended), ("failed", failed)):
        old = snapshot_object(status=status, uid=f"{name:->36}")
        old["metadata"]["name"] = name
        api.put(SNAPSHOTS, old)
        keys.append(Key("Snapshot", "shop", name))
    values = list[int]()

    def seen() -> bool:
        if percent_of(api) >= 0 and (not values or percent_of(api) != values[-1]):
            values.append(percent_of(api))
        return percent_of(api) >= 30

    log = reported(began(Step.PREPARE, 0), began(Step.DUMP_DATABASE, 1))
    log.take(StepReport(step=Step.PREPARE, state="Done", time=at(1)).model_dump_json(by_alias=True))
    run(api, known(api, *keys), seen, log=log)
    # By weights nothing of this would be done: no figure has been reported.
    assert values == sorted(values)
    assert max(b - a for a, b in pairwise(values)) <= 3


def test_a_line_with_a_bad_time_does_not_end_it(api: ApiServer) -> None:
    """A log may have any text."""
    log = reported(StepReport(step=Step.PREPARE, state="Running", time="never"))
    tries = list[int]()

    def tried() -> bool:
        tries.append(1)
        return len(tries) > 20

    writer = run(api, known(api), tried, log=log)
    assert percent_of(api) == -1
    assert not any(t.done() and not t.cancelled() for t in writer._tasks.values())
