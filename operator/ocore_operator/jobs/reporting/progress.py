"""Writes status.progress of the operations under way, once a second each: from their steps, and from what their Jobs
report.

There is one task per operation. Every reconcile of an operation that runs ensures it, and what it needs to continue is
in the object: after a restart of the operator the percentage does not fall and the step does not go back.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import structlog

from ocore_crds import conditions as c
from ocore_crds.protocol import EXTRACT_STEPS, SNAPSHOT_STEPS, ProgressReport, Step
from ocore_crds.resources.snapshot import Progress, StepStatus
from ocore_kube.errors import ApiError, Conflict
from ocore_kube.types import OURS
from ocore_operator import clock
from ocore_operator.entries import snapshots
from ocore_operator.entries.operations import OperationEntry
from ocore_operator.entries.rollbacks import RollbackEntry
from ocore_operator.jobs.reporting import percent
from ocore_operator.jobs.reporting.log import Followers, LogState
from ocore_operator.jobs.reporting.percent import Running, Timeline
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.client import MANAGER_PROGRESS, Kube, read
from ocore_operator.kube.resources import Key, Object, Resource

#: Seconds between two figures.
INTERVAL = 1.0
#: Earlier operations that are read to find one with the same steps.
EARLIER = 3
#: Reasons of Reconciling with which an operation works; with others it waits for another one, or for what does not
#: exist yet.
WORKING = frozenset({c.RUNNING, c.WAITING_FOR_SNAPSHOT})

_log = structlog.get_logger()


class ProgressWriter:
    """All operations whose progress is written."""

    def __init__(self, kube: Kube, catalog: Catalog, followers: Followers, now: Callable[[], datetime]) -> None:
        self._kube = kube
        self._catalog = catalog
        self._followers = followers
        self._now = now
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def ensure(self, key: Key) -> None:
        """Writes the operation's progress until it has ended."""
        task = self._tasks.get(key)
        if task is None or task.done():
            self._tasks[key] = asyncio.create_task(self._write(key), name=f"progress {key}")
            self._tasks[key].add_done_callback(lambda done: self._forget(key, done))

    async def stop(self) -> None:
        """Stops all tasks, at shutdown."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: Key, done: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is done:
            del self._tasks[key]

    # --- one operation ----------------------------------------------------------------------------------------
    async def _write(self, key: Key) -> None:
        obj: Object | None = None
        past: Timeline | None = None
        asked, seen = False, 0
        while True:
            await asyncio.sleep(INTERVAL)
            entry = self._catalog.get(key)
            if entry is None or entry.terminal:
                return
            changed, seen = entry.version != seen, entry.version
            # Users wait for what the reconciles write now, and each conflict delays one.
            if entry.work.critical and changed:
                continue
            try:
                if (
                    obj is None
                    or obj["metadata"]["uid"] != entry.uid
                    or int(obj["metadata"]["resourceVersion"]) < entry.version
                ):
                    obj = await self._kube.get(OURS[key.kind], key.namespace, key.name)
                if obj is None:
                    return
                resource = resources.any_kind(key.kind, obj)
                if not asked:
                    past, asked = await self._past(resource), True
                beside = await self._safety_snapshot(resource)
                new = progress(resource, self._followers.of(key), past, self._now(), beside)
                if new is not None:
                    # The resourceVersion keeps a late figure out of a terminal status.
                    written = await self._kube.apply_status(resource, {"progress": new.wire()}, MANAGER_PROGRESS)
                    if written is not None:
                        # No reconcile follows from a figure. One each second, with all that it reads, was most of what
                        # the API server had to do.
                        self._catalog.put_own(key.kind, resource.meta, written)
                    obj = written
            except Conflict:
                obj = None
            except (ApiError, ValueError) as error:  # a line of a log may have any text as its time
                _log.debug("progress not written", owner=str(key), error=str(error))

    async def _safety_snapshot(self, resource: Resource[Any, Any]) -> Progress | None:
        """The progress of the Snapshot that a Rollback waits for."""
        running = (s.name for s in resource.status.steps if s.state == "Running")
        if Step.SAFETY_SNAPSHOT not in running:
            return None
        name = resource.status.safety_snapshot_name
        snapshot = await read(self._kube, resources.snapshot, resource.meta.namespace, name)
        return snapshot.status.progress if snapshot is not None else None

    async def _past(self, resource: Resource[Any, Any]) -> Timeline | None:
        """The newest earlier operation of the environment; rather one of the newest few that has the same steps."""
        order, newest = set(steps_of(resource)), None
        for earlier in self._earlier(resource):
            obj = await self._kube.get(OURS[earlier.kind], earlier.namespace, earlier.name)
            if obj is None:
                continue
            other = resources.any_kind(earlier.kind, obj)
            status = other.status
            timeline = percent.timeline(status.steps, status.started_at, status.completed_at)
            if timeline is not None and set(steps_of(other)) == order:
                return timeline
            newest = newest or timeline
        return newest

    def _earlier(self, resource: Resource[Any, Any]) -> list[Key]:
        """Complete operations like this one, the newest first."""
        namespace, status = resource.meta.namespace, resource.status
        if resource.kind.kind == "Snapshot":
            of_environment = snapshots.of_environment(self._catalog, namespace, resource.spec.environment_ref.name)
            has_base = status.base is not None
            alike: list[OperationEntry] = [e for e in of_environment if e.differential == has_base and not e.imported]
        elif resource.kind.kind == "Extract":  # two have nothing in common
            return []
        else:
            is_undo = resource.spec.undo is not None
            alike = [
                e
                for e in self._catalog.of_kind(RollbackEntry, namespace)
                if e.environment == status.environment_name and bool(e.undoes) == is_undo and not e.preview
            ]
        ended = [e for e in alike if e.phase == "Complete" and e.completed]
        return [e.key for e in sorted(ended, key=lambda e: e.completed, reverse=True)[:EARLIER]]


def steps_of(resource: Resource[Any, Any]) -> tuple[Step, ...]:
    """The steps of an operation in their order. The cleanup comes after its end."""
    if resource.kind.kind == "Snapshot":
        return SNAPSHOT_STEPS
    if resource.kind.kind == "Extract":
        return EXTRACT_STEPS
    return tuple(Step(s.name) for s in resource.status.steps if s.name != Step.CLEANUP)


def progress(
    resource: Resource[Any, Any],
    logs: Sequence[LogState],
    past: Timeline | None,
    now: datetime,
    beside: Progress | None = None,
) -> Progress | None:
    """status.progress of an operation that works; None where it waits, or has not begun. `beside`: of its safety
    snapshot."""
    status = resource.status
    began = percent.began(status.steps, status.started_at)
    if began is None or not works(resource):
        return None
    order, old = steps_of(resource), status.progress
    log = logs[-1] if logs else LogState()
    running = Running(began, _merged(resource, log), log.progress, log.started)
    last = Step(old.step) if old is not None and old.step in order else None
    step = percent.shown(order, running, last) or order[0]
    figures = log.progress.get(step) or (beside if step is Step.SAFETY_SNAPSHOT else None) or _figures(old, step)
    last_figure = clock.parse(old.updated_at) if old is not None else began
    return Progress(
        step=step.value,
        bytes_done=figures.bytes_done if figures is not None else 0,
        bytes_total=figures.bytes_total if figures is not None else 0,
        files_done=figures.files_done if figures is not None else 0,
        files_total=figures.files_total if figures is not None else 0,
        percent=percent.percent(order, running, past, now, old.percent if old is not None else 0, last_figure),
        updated_at=clock.exact(now),
    )


def works(resource: Resource[Any, Any]) -> bool:
    """Whether an operation makes progress now, and does not wait."""
    by_type = {x.type: x for x in resource.status.conditions}
    reconciling = by_type.get(c.RECONCILING)
    return reconciling is not None and reconciling.status == "True" and reconciling.reason in WORKING


def _merged(resource: Resource[Any, Any], log: LogState) -> dict[Step, StepStatus]:
    """The steps as the status has them, and newer ones of the log. A Job of a Rollback may repeat an early check: a
    step that has ended stays so."""
    known = {Step(s.name): s for s in resource.status.steps}
    reported = {Step(s.name): s for s in log.step_statuses(steps_of(resource))}
    if resource.kind.kind != "Rollback":
        return known | reported
    return known | {
        name: s.begun_with(known[name]) for name, s in reported.items() if known[name].state in ("Pending", "Running")
    }


def _figures(old: Progress | None, step: Step) -> Progress | ProgressReport | None:
    return old if old is not None and old.step == step else None
