"""Follows the logs of running Jobs: their reports become steps of the main status, and the figures of status.progress
(jobs/reporting/progress.py).

There is one task per Job. Every reconcile of a running Job ensures it, so an operator that was restarted reads the log
again from its beginning, with all steps. After a broken connection the task continues at the time of the last line.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ocore_crds.protocol import (
    ProbedReport,
    ProbeResult,
    ProgressReport,
    ReadyReport,
    RestoredReport,
    RestoreResult,
    Result,
    Step,
    StepReport,
    parse_line,
)
from ocore_crds.resources.snapshot import StepStatus
from ocore_crds.text.sentences import shortened
from ocore_kube.errors import ApiError
from ocore_kube.transport import Pace
from ocore_operator import clock
from ocore_operator.kube.client import FOLLOWED, LOG_RATE, WHOLE_LOG, Kube
from ocore_operator.kube.resources import Key

#: Seconds until a log is requested again after a broken connection.
RECONNECT = 1.0
#: Seconds until a status shows a step. Steps come in bursts; each reconcile reads all that an operation depends on.
SHOWN = 0.5
#: Steps at whose end the application starts.
SWITCHES = (Step.SWITCH, Step.SWITCH_BACK)
#: Seconds to read the log of a pod that has ended.
READ_SECONDS = 10.0

_log = structlog.get_logger()


@dataclass
class LogState:
    """What a Job's log has reported so far."""

    steps: dict[Step, StepReport] = field(default_factory=dict)
    started: dict[Step, str] = field(default_factory=dict)
    progress: dict[Step, ProgressReport] = field(default_factory=dict)
    ready: bool = False
    switched: bool = False
    probe: ProbeResult | None = None
    restored: RestoreResult | None = None
    result: Result | None = None

    def take(self, text: str) -> float | None:
        """Reads one line. Returns the seconds within which the owner is reconciled for it: none for readiness, a probe,
        a restore, a switch and the result, which it acts on; SHOWN for a step that began or ended, which its status
        shows. None: not for it. What is repeated does not wake it each time: anyone who may run programs in the pod can
        repeat it without end."""
        report = parse_line(text)
        if isinstance(report, ProgressReport):
            self.progress[report.step] = report
            return None
        if isinstance(report, StepReport):
            if report.state == "Running":
                self.started.setdefault(report.step, report.time)
            self.steps[report.step] = report
            if report.step in SWITCHES and report.state == "Done" and not self.switched:
                self.switched = True
                return 0.0
            return SHOWN
        if isinstance(report, ReadyReport):
            known, self.ready = self.ready, True
            return None if known else 0.0
        if isinstance(report, ProbedReport):
            first, self.probe = self.probe is None, self.probe or report.probe
            return 0.0 if first else None
        if isinstance(report, RestoredReport):
            first, self.restored = self.restored is None, self.restored or report.result
            return 0.0 if first else None
        if isinstance(report, Result):
            before, self.result = self.result, report
            return SHOWN if before is not None else 0.0
        return None

    def step_statuses(self, order: Iterable[Step]) -> tuple[StepStatus, ...]:
        """The reported steps, in the operation's order."""
        return tuple(self._status(step) for step in order if step in self.steps)

    def _status(self, step: Step) -> StepStatus:
        report, figures = self.steps[step], self.progress.get(step)
        ended = report.state != "Running"
        return StepStatus(
            name=step.value,
            state=report.state,
            started_at=self.started.get(step, report.time),
            completed_at=report.time if ended else None,
            bytes_done=(figures.bytes_done or None) if ended and figures is not None else None,
            files_done=(figures.files_done or None) if ended and figures is not None else None,
            message=shortened(report.message, 1024),
        )


@dataclass
class _Follower:
    owner: Key
    task: asyncio.Task[None]
    state: LogState


class Followers:
    """All followed logs."""

    def __init__(self, kube: Kube, wake: Callable[[Key, float], None]) -> None:
        """`wake`: called with the owner's key, and the seconds within which it is reconciled."""
        self._kube = kube
        self._wake = wake
        self._followers: dict[tuple[str, str], _Follower] = {}
        self._unreadable: set[str] = set()

    def __len__(self) -> int:
        return sum(not f.task.done() for f in self._followers.values())

    def ensure(self, owner: Key, pod: str, since: datetime | None = None) -> LogState:
        """Follows the log of a pod that exists, for the owner, from that time on where it is not followed yet. Returns
        the state so far."""
        name = (owner.namespace, pod)
        found = self._followers.get(name)
        # A task that has ended without the result is begun again: a kubelet that has not seen the pod yet says that
        # there is none.
        if found is None or (found.task.done() and found.state.result is None):
            state = found.state if found is not None else LogState()
            task = asyncio.create_task(self._follow(owner, pod, state, since), name=f"log {pod}")
            found = self._followers[name] = _Follower(owner, task, state)
        return found.state

    def of(self, owner: Key) -> list[LogState]:
        """What the owner's Jobs have reported, the newest Job last."""
        return [f.state for f in self._followers.values() if f.owner == owner]

    def unreadable(self, namespace: str) -> bool:
        """Whether the last attempt to read the log of a container in that namespace has failed."""
        return namespace in self._unreadable

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
            async for line in self._kube.follow_log(
                namespace, pod, follow=False, seconds=READ_SECONDS, pace=Pace(LOG_RATE, WHOLE_LOG)
            ):
                state.take(line.text)
        except ApiError as error:
            _log.debug("log not read", pod=pod, error=str(error))
        return state if state.steps or followed is None else followed

    def forget(self, namespace: str, pod: str) -> None:
        """Stops following the pod's log."""
        found = self._followers.pop((namespace, pod), None)
        if found is not None:
            found.task.cancel()

    def forget_owner(self, owner: Key) -> None:
        """The same for all pods of the object's Jobs."""
        for where, pod in [name for name, found in self._followers.items() if found.owner == owner]:
            self.forget(where, pod)

    async def stop(self) -> None:
        """Stops all tasks, at shutdown."""
        tasks = [f.task for f in self._followers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one log --------------------------------------------------------------------------------------------
    async def _follow(self, owner: Key, pod: str, state: LogState, since: datetime | None) -> None:
        pace = Pace(LOG_RATE, FOLLOWED)  # of all connections together: a line that is too long ends one
        while state.result is None:
            try:
                async for line in self._kube.follow_log(owner.namespace, pod, since=since, pace=pace):
                    self._unreadable.discard(owner.namespace)
                    since = _moment(line.time) or since
                    within = state.take(line.text)
                    if within is not None:
                        self._wake(owner, within)
            except ApiError as error:
                if error.status == 404:
                    return
                if error.status != 400:  # its container has not started yet
                    self._unreadable.add(owner.namespace)
                _log.debug("log not followed", pod=pod, error=str(error))
            await asyncio.sleep(RECONNECT)


def _moment(value: str) -> datetime | None:
    """The time just after a log line: `sinceTime` includes lines of its own time. None where it cannot be parsed."""
    try:
        return clock.parse(value[:26].rstrip("Z") + "Z") + timedelta(microseconds=1)
    except ValueError:
        return None
