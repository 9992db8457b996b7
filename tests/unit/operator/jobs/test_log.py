"""Progress and steps from a Job's log."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.model import Model
from ocore_crds.protocol import (
    SNAPSHOT_STEPS,
    ProbedReport,
    ProbeResult,
    ProgressReport,
    ReadyReport,
    Result,
    Step,
    StepReport,
)
from ocore_kube.errors import ApiError
from ocore_kube.transport import Pace
from ocore_operator.jobs.reporting import log
from ocore_operator.jobs.reporting.log import SHOWN, LogState
from ocore_operator.kube.client import Kube, LogLine
from ocore_operator.kube.resources import Key


def feed(state: LogState, *lines: Model) -> list[float | None]:
    return [state.take(line.model_dump_json(by_alias=True)) for line in lines]


def test_steps_are_in_the_operations_order_with_their_times() -> None:
    state = LogState()
    woken = feed(
        state,
        StepReport(step=Step.COPY_FILESTORE, state="Running", time="2026-01-01T00:00:03Z"),
        StepReport(step=Step.PREPARE, state="Running", time="2026-01-01T00:00:01Z"),
        ProgressReport(step=Step.COPY_FILESTORE, bytes_done=3, bytes_total=9, time="2026-01-01T00:00:04Z"),
        StepReport(step=Step.PREPARE, state="Done", time="2026-01-01T00:00:05Z"),
    )
    assert woken == [SHOWN, SHOWN, None, SHOWN]
    first, second = state.step_statuses(SNAPSHOT_STEPS)
    assert (first.name, first.started_at, first.completed_at) == (
        "Prepare",
        "2026-01-01T00:00:01Z",
        "2026-01-01T00:00:05Z",
    )
    assert (second.name, second.completed_at, second.bytes_done) == ("CopyFilestore", None, None)
    feed(state, StepReport(step=Step.COPY_FILESTORE, state="Done", time="2026-01-01T00:00:06Z"))
    assert [s.bytes_done for s in state.step_statuses(SNAPSHOT_STEPS)] == [None, 3]


def test_what_the_owner_acts_on_wakes_it_at_once() -> None:
    ended = Result(ok=False, time="2026-01-01T00:00:04Z")
    switched = StepReport(step=Step.SWITCH, state="Done", time="2026-01-01T00:00:04Z")
    assert feed(LogState(), ReadyReport(time="2026-01-01T00:00:03Z"), switched, ended) == [0.0, 0.0, 0.0]


def test_row_122_what_a_log_repeats_does_not_wake_its_owner_each_time() -> None:
    ready, ended = ReadyReport(time="2026-01-01T00:00:03Z"), Result(ok=False, time="2026-01-01T00:00:04Z")
    assert feed(LogState(), *[ready] * 3, *[ended] * 3) == [0.0, None, None, 0.0, SHOWN, SHOWN]
    probed = ProbedReport(probe=ProbeResult(warnings=("first",)), time="2026-01-01T00:00:01Z")
    other = ProbedReport(probe=ProbeResult(warnings=("second",)), time="2026-01-01T00:00:02Z")
    state = LogState()
    assert feed(state, probed, other) == [0.0, None]
    assert state.probe == probed.probe
    turns = [StepReport(step=Step.SWITCH, state=s, time="2026-01-01T00:00:01Z") for s in ("Done", "Running", "Done")]
    assert feed(LogState(), *turns) == [0.0, SHOWN, SHOWN]


def test_row_122_a_log_has_one_pace_over_all_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is too long ends a connection, and the next one may not begin with another burst."""
    paces: list[Pace] = []

    class Logs:
        async def follow_log(self, *_: str, since: datetime | None, pace: Pace) -> AsyncIterator[LogLine]:
            paces.append(pace)
            if len(paces) == 3:
                raise ApiError(404, "NotFound", "no pod")
            yield LogLine("", "a stray print")

    async def main() -> None:
        followers = log.Followers(cast("Kube", Logs()), lambda *_: None)
        followers.ensure(Key("Snapshot", "shop", "before"), "pod")
        (found,) = followers._followers.values()
        await found.task

    monkeypatch.setattr(log, "RECONNECT", 0)
    asyncio.run(main())
    assert len(paces) == 3
    assert len(set(paces)) == 1


@pytest.mark.parametrize(
    ("answers", "unreadable"),
    [([403], True), ([502], True), ([400], False), ([403, 0], False)],
    ids=["forbidden", "no kubelet", "its container starts", "readable again"],
)
def test_row_142_whether_logs_can_be_read_is_known_from_the_last_attempt(
    monkeypatch: pytest.MonkeyPatch, answers: list[int], *, unreadable: bool
) -> None:
    class Logs:
        async def follow_log(self, *_: object, **__: object) -> AsyncIterator[LogLine]:
            status = answers.pop(0) if answers else 404
            if status:
                raise ApiError(status, "", "")
            yield LogLine("", "a line")

    async def main() -> log.Followers:
        followers = log.Followers(cast("Kube", Logs()), lambda *_: None)
        followers.ensure(Key("Snapshot", "shop", "before"), "pod")
        (found,) = followers._followers.values()
        await found.task
        return followers

    monkeypatch.setattr(log, "RECONNECT", 0)
    followers = asyncio.run(main())
    assert (followers.unreadable("shop"), followers.unreadable("other")) == (unreadable, False)


@given(st.text(max_size=300))
def test_stray_lines_say_nothing(line: str) -> None:
    state = LogState()
    assert state.take(line) is None
    assert state == LogState()


def test_row_141_the_log_of_a_pod_that_the_kubelet_has_not_seen_yet_is_read_later() -> None:
    """The kubelet then answers that the pod does not exist."""
    result = Result(ok=True, time="t").model_dump_json(by_alias=True)
    answers: list[str | None] = [None, result]

    class Logs:
        async def follow_log(self, *_: object, **__: object) -> AsyncIterator[LogLine]:
            found = answers.pop(0)
            if found is None:
                raise ApiError(404, "NotFound", "pod not found")
            yield LogLine("", found)

    async def main() -> LogState:
        followers = log.Followers(cast("Kube", Logs()), lambda *_: None)
        for _ in range(3):  # what has been read whole is not read again
            state = followers.ensure(Key("Rollback", "shop", "before"), "pod")
            (found,) = followers._followers.values()
            await found.task
        return state

    assert asyncio.run(main()).result is not None
    assert answers == []
