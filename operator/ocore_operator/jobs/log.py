"""Follows the logs of running Jobs: reports become status.progress, at most one patch a second, and steps of the main status.

There is one task per Job. Every reconcile of a running Job ensures it, so an operator that was restarted reads the log again from its beginning,
with all steps. After a broken connection the task continues at the time of the last line.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ocore_crds import conditions as c
from ocore_crds.protocol import ProgressReport, ReadyReport, Result, Step, StepReport, parse_line
from ocore_crds.snapshot import Progress, StepStatus
from ocore_crds.text import shortened
from ocore_kube.errors import ApiError, Conflict
from ocore_kube.types import OURS
from ocore_operator import clock
from ocore_operator.jobs.percent import percent
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.client import MANAGER_PROGRESS, Kube
from ocore_operator.kube.resources import Key

#: Seconds between two patches of status.progress.
PATCH_INTERVAL = 1.0
#: Seconds until a log is requested again after a broken connection.
RECONNECT = 1.0
#: Seconds to read the log of a pod that has ended.
WHOLE_LOG = 10.0
#: Conflicts in a row after which one patch is dropped; the next report has newer figures.
MAX_CONFLICTS = 5

_log = structlog.get_logger()


@dataclass
class LogState:
    """What a Job's log has reported so far."""

    steps: dict[Step, StepReport] = field(default_factory=dict)
    started: dict[Step, str] = field(default_factory=dict)
    progress: dict[Step, ProgressReport] = field(default_factory=dict)
    latest: Step | None = None
    ready: bool = False
    result: Result | None = None

    def take(self, text: str) -> bool:
        """Reads one line. Returns whether the main status shows it: a step that began or ended, readiness, or the result."""
        report = parse_line(text)
        if isinstance(report, ProgressReport):
            self.progress[report.step] = report
            self.latest = report.step
            return False
        if isinstance(report, StepReport):
            if report.state == "Running":
                self.started.setdefault(report.step, report.time)
            if report.state == "Running" or self.latest is None:
                self.latest = report.step
            self.steps[report.step] = report
            return True
        if isinstance(report, ReadyReport):
            self.ready = True
            return True
        if isinstance(report, Result):
            self.result = report
            return True
        return False

    def step_statuses(self, order: Iterable[Step]) -> tuple[StepStatus, ...]:
        """The reported steps, in the operation's order."""
        return tuple(self._status(step) for step in order if step in self.steps)

    def _status(self, step: Step) -> StepStatus:
        report = self.steps[step]
        return StepStatus(
            name=step.value,
            state=report.state,
            started_at=self.started.get(step, report.time),
            completed_at=report.time if report.state != "Running" else None,
            message=shortened(report.message, 1024),
        )


@dataclass
class _Follower:
    task: asyncio.Task[None]
    state: LogState


class Followers:
    """All followed logs."""

    def __init__(self, kube: Kube, catalog: Catalog, wake: Callable[[Key], None], now: Callable[[], datetime]) -> None:
        """`wake`: called with the owner's key when a step has changed."""
        self._kube = kube
        self._catalog = catalog
        self._wake = wake
        self._now = now
        self._followers: dict[tuple[str, str], _Follower] = {}

    def __len__(self) -> int:
        return sum(not f.task.done() for f in self._followers.values())

    def ensure(self, owner: Key, pod: str, order: tuple[Step, ...]) -> LogState:
        """Follows the pod's log for the owner. Returns the state so far. `order`: the operation's steps, for the percentage."""
        name = (owner.namespace, pod)
        found = self._followers.get(name)
        if found is None:
            state = LogState()
            task = asyncio.create_task(self._follow(owner, pod, order, state), name=f"log {pod}")
            found = self._followers[name] = _Follower(task, state)
        return found.state

    def state(self, namespace: str, pod: str) -> LogState | None:
        """What the pod's log has reported; None where it was not followed."""
        found = self._followers.get((namespace, pod))
        return found.state if found is not None else None

    async def whole(self, namespace: str, pod: str) -> LogState:
        """The whole log of a pod that has ended; where it cannot be read, what was followed so far."""
        followed = self.state(namespace, pod)
        if followed is not None and followed.result is not None:
            return followed
        state = LogState()
        try:
            async for line in self._kube.follow_log(namespace, pod, follow=False, seconds=WHOLE_LOG):
                state.take(line.text)
        except ApiError as error:
            _log.debug("log not read", pod=pod, error=str(error))
        return state if state.steps or followed is None else followed

    def forget(self, namespace: str, pod: str) -> None:
        """Stops following the pod's log and writing its progress."""
        found = self._followers.pop((namespace, pod), None)
        if found is not None:
            found.task.cancel()

    def forget_owner(self, namespace: str, job_prefix: str) -> None:
        """The same for all pods whose name begins with the prefix (Jobs of one object)."""
        for where, pod in [n for n in self._followers if n[0] == namespace and n[1].startswith(job_prefix)]:
            self.forget(where, pod)

    async def stop(self) -> None:
        """Stops all tasks, at shutdown."""
        tasks = [f.task for f in self._followers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one log --------------------------------------------------------------------------------------------
    async def _follow(self, owner: Key, pod: str, order: tuple[Step, ...], state: LogState) -> None:
        writer = asyncio.create_task(self._write(owner, order, state), name=f"progress {pod}")
        try:
            await self._read(owner, pod, state)
        finally:
            writer.cancel()

    async def _read(self, owner: Key, pod: str, state: LogState) -> None:
        since: datetime | None = None
        while state.result is None:
            try:
                async for line in self._kube.follow_log(owner.namespace, pod, since=since):
                    since = _moment(line.time) or since
                    if state.take(line.text):
                        self._wake(owner)
            except ApiError as error:
                if error.status == 404:
                    return
                _log.debug("log not followed", pod=pod, error=str(error))
            await asyncio.sleep(RECONNECT)

    async def _write(self, owner: Key, order: tuple[Step, ...], state: LogState) -> None:
        written: Progress | None = None
        while True:
            await asyncio.sleep(PATCH_INTERVAL)
            now = clock.text(self._now())
            new = summary(state, order, now, written.percent if written is not None else 0)
            if new is None or (written is not None and new == written.model_copy(update={"updated_at": now})):
                continue
            try:
                kept = await self._patch(owner, new)
            except ApiError as error:
                _log.debug("progress not written", owner=str(owner), error=str(error))
                continue
            if not kept:
                return
            written = new

    async def _patch(self, owner: Key, progress: Progress) -> bool:
        """Writes the progress. Returns False where the object is gone or terminal. The resourceVersion keeps a late report out of a terminal status."""
        for _ in range(MAX_CONFLICTS):
            obj = await self._kube.get(OURS[owner.kind], owner.namespace, owner.name)
            if obj is None:
                return False
            resource = resources.any_kind(owner.kind, obj)
            if c.is_terminal(resource.status.conditions):
                return False
            old = resource.status.progress
            if old is not None and old.percent > progress.percent:
                progress = progress.model_copy(update={"percent": old.percent})
            try:
                written = await self._kube.apply_status(resource, {"progress": progress.wire()}, MANAGER_PROGRESS)
            except Conflict:
                continue
            if written is not None:
                # No reconcile follows from a figure. One each second, with all that it reads, was most of what the API server had to do.
                self._catalog.put_own(owner.kind, obj, written)
            return True
        return True


def summary(state: LogState, order: tuple[Step, ...], now: str, floor: int) -> Progress | None:
    """status.progress from the log; None where it has reported nothing yet. The percentage is never below `floor`."""
    if state.latest is None:
        return None
    report = state.progress.get(state.latest) or ProgressReport(step=state.latest, time=now)
    done = {s for s, r in state.steps.items() if r.state in ("Done", "Skipped")}
    return Progress(
        step=state.latest.value,
        bytes_done=report.bytes_done,
        bytes_total=report.bytes_total,
        files_done=report.files_done,
        files_total=report.files_total,
        percent=max(percent(order, done, state.progress), floor),
        updated_at=now,
    )


def _moment(value: str) -> datetime | None:
    """The time just after a log line: `sinceTime` includes lines of its own time. None where it cannot be parsed."""
    try:
        return clock.parse(value[:26].rstrip("Z") + "Z") + timedelta(microseconds=1)
    except ValueError:
        return None
