"""``switch``: puts the restored copy in the place of the live environment, or back.

A switch that waited for its signal ends after the switch: its pod must not hold the filestore's claim while the
workloads start. A switch back is another run, with ``--now --back`` (docs/decisions/0012). The process of a restore may
make the first attempt (:func:`after_restore`).
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ocore_crds import conditions, failpoints
from ocore_crds.commands.parts import Signal, SignalWait
from ocore_crds.commands.switch import RENAMED_WITHIN, SwitchRequest, SwitchResult
from ocore_crds.reports.base import Failure, Step
from ocore_crds.stored.rollback_record import RecordState
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switcher import Switcher
from ocore_mover.database.position import RollbackMark
from ocore_mover.errors import Cancelled, MoverError, StoreError
from ocore_mover.rollback_records import RollbackRecords
from ocore_mover.signals import SignalFile, is_expired
from ocore_mover.store.interface import Store

if TYPE_CHECKING:
    from ocore_crds.commands.restore import RestoreRequest

log = logging.getLogger(__name__)

#: Reasons of a switch that has not happened, and that another try would give again: the application starts at once.
_FINAL = (
    conditions.SESSIONS_REMAIN,
    conditions.REPLICATION_ACTIVE,
    conditions.MISSING_GRANTS,
    conditions.NOT_NEUTRALIZED,
)
#: Seconds at the end for outcomes that are still being written. The application waits for the end of this process.
_OUTCOME_SECONDS = 10.0
#: Seconds that a process which has restored has for the switch, beside the wait for its signal: until no Job may rename
#: any more, and to report it.
SWITCH_SECONDS = 30.0 + RENAMED_WITHIN + _OUTCOME_SECONDS + 30.0
#: Seconds that an undo waits for the store. It must work when the store does not.
_STORE_SECONDS = 10.0


class _Outcomes:
    """Writes to the store that the switch starts, and how it ended.

    An outcome is written beside the work: a store that does not answer delays the end by a few seconds only. One that
    is lost is in the comment of the live database.
    """

    def __init__(self, switcher: Switcher, request: SwitchRequest, records: RollbackRecords | None) -> None:
        """With `back` the switch that is reversed has written `started`."""
        self._switcher = switcher
        self._records = records
        self._goal, self._undoes = request.goal, request.undo_to is not None
        self._started = self._back = request.back
        self._writers: list[threading.Thread] = []

    def start(self) -> None:
        """Writes `started`. Raises MoverError where the store does not confirm it: then there must be no switch.

        An undo does not depend on the store: without the kept database it cannot run again, whatever the record says.
        """
        if self._records is None:
            return
        if not self._undoes:
            self._records.write("started")
        self._started = True
        if self._undoes:
            self.write("started")
            self._writers[-1].join(_STORE_SECONDS)

    def write(self, state: RecordState, failure: Failure | None = None) -> None:
        """Begins to write an outcome. `failure`: of `not-switched`."""
        records = self._records
        if records is None or not self._started:
            return
        writer = threading.Thread(target=lambda: self._try(records, state, failure), name="record", daemon=True)
        writer.start()
        self._writers.append(writer)

    @staticmethod
    def _try(records: RollbackRecords, state: RecordState, failure: Failure | None) -> None:
        try:
            records.write(state, failure=failure)
        except Exception as error:
            log.warning("outcome not written to the store", extra={"state": state, "error": str(error)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the writes. A Job that is stopped before its switch writes that it has not switched: its container
        is not started again."""
        cancelled = isinstance(error, Cancelled) and error.reason == conditions.CANCELLED
        if cancelled and not self._back and self._is_unswitched():
            self.write("not-switched")
        until = time.monotonic() + _OUTCOME_SECONDS
        for writer in self._writers:
            writer.join(max(until - time.monotonic(), 0))

    def _is_unswitched(self) -> bool:
        try:
            return self._switcher.read_position().position != self._goal
        except MoverError as error:
            log.warning("position not read", extra={"reason": error.reason, "error": error.message})
            return False


class SwitchRun:
    """One run of the command."""

    def __init__(
        self, runtime: Runtime, switcher: Switcher, request: SwitchRequest, records: RollbackRecords | None = None
    ) -> None:
        """`records`: None: from a shell, without a record."""
        self._runtime = runtime
        self._request = request
        self._records = records
        self.switcher = switcher
        self.outcomes = _Outcomes(switcher, request, records)

    def run(self) -> SwitchResult:
        """Switches at once, or waits for the signal. Returns the final position. Closes the switcher.

        After a restart of the container it first completes or undoes an interrupted switch, then obeys the signal that
        it finds. Raises MoverError SwitchFailed, SessionsRemain, DeadlineExceeded (no signal within the time to wait).
        """
        signal = self._request.signal
        with closing(self.switcher):
            if signal is None:
                return self._at_once()
            with self.outcomes:
                now = self.prepared(signal)
                return self.obeyed(now, self.awaited(signal, SignalFile(signal, "Switch")))

    def _at_once(self) -> SwitchResult:
        left = self._runtime.token.seconds_left
        if left is not None:
            self.switcher.rename_until(time.time() + left)
        self.switcher.repair()
        if self._request.back:
            with self.outcomes:
                now = self._against_goal()
                self.outcomes.write("switched-back")
                return now
        self.switcher.prepare()
        return self._to_goal()

    def _to_goal(self) -> SwitchResult:
        return self._reported(Step.SWITCH, self.switcher.forward if self._request.goal == "New" else self.switcher.back)

    def _against_goal(self) -> SwitchResult:
        if self._request.goal == "New":
            return self._reported(Step.SWITCH_BACK, self.switcher.back)
        self.switcher.prepare_forward()
        return self._reported(Step.SWITCH_BACK, self.switcher.forward)

    def _reported(self, step: Step, change: Callable[[], SwitchResult]) -> SwitchResult:
        """Reports the step; the message of the final step report is the result as JSON (docs/architecture.md)."""
        reporter = self._runtime.reporter
        reporter.step(step, "Running")
        try:
            result = change()
        except MoverError as error:
            reporter.step(step, "Failed", error.message)
            raise
        failpoints.hit("switch-done")
        reporter.step(step, "Done", json.dumps(result.wire(), separators=(",", ":")))
        return result

    def prepared(self, signal: SignalWait, early: SignalFile | None = None) -> SwitchResult:
        """Checks that the switch can work, writes that it starts, and reports that it is ready. Returns the position.
        `early`: of which what came before that is ignored."""
        ready_file = opening.optional_path(signal.ready_file)
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)  # an earlier container of this pod may have left it
        now = self.switcher.repair()
        if self._request.undo_to is not None and self._records is not None:
            check_runs_once(self._records, self.switcher.marks())  # a rollback's restore has done this
        self.switcher.prepare()
        self.outcomes.start()
        if early is not None:
            early.ignore()
        if ready_file is not None:
            ready_file.touch()
        self._runtime.reporter.ready()
        failpoints.hit("switch-ready")
        return now

    def awaited(self, wait: SignalWait, signals: SignalFile) -> Signal:
        """The signal. Raises Cancelled where none arrives in time."""
        found = signals.awaited(self._runtime.token)
        if found is None:
            raise Cancelled(
                conditions.DEADLINE_EXCEEDED,
                f"no signal arrived within {wait.wait:.0f} s and nothing was changed; the operator sends it in the"
                " pod's annotation ocore.dev/signal",
                retryable=True,
            )
        return found

    def obeyed(self, now: SwitchResult, signal: Signal) -> SwitchResult:
        """The position after the signal, from the one before it."""
        log.info("signal", extra={"action": signal.action, "position": now.position})
        if now.position == self._request.goal:
            # An earlier container switched, and its report may be lost.
            self._runtime.reporter.step(Step.SWITCH, "Done", json.dumps(now.wire(), separators=(",", ":")))
            self.outcomes.write("switched")
            return now
        if is_expired(signal):
            return self._not_switched(_expired(signal))
        self.switcher.rename_until(signal.not_after + RENAMED_WITHIN)
        try:
            now = self._to_goal()
        except MoverError as error:
            if error.reason not in _FINAL:
                raise  # the restarted container tries again while its signal is valid
            return self._not_switched(error)
        self.outcomes.write("switched")
        return now

    def _not_switched(self, error: MoverError) -> SwitchResult:
        """The answer of a Job that will not switch any more: with it the Job ends, and the operator starts the
        application at once. Raises `error` where the environment is not as it was before."""
        found = self.switcher.read_position()
        if found.position == self._request.goal or not found.accepting_connections:
            raise error
        failure = error.failure()
        self.outcomes.write("not-switched", failure)
        return found.model_copy(update={"failure": failure})


def after_restore(runtime: Runtime, request: "RestoreRequest", signal: SignalWait, store: Store) -> SwitchResult | None:
    """The first attempt at the switch, in the process that has restored. None: it has not switched, and another Job
    may. What prevents the switch before the signal is for that Job to find and to report. `store`: the request's, as
    :func:`.opening.opened`; it is asked for its id again.

    Its container is never started again. So whatever the signal's file holds before it is ready is not of the operator.
    """
    runtime.token.restart(signal.wait + SWITCH_SECONDS)
    found = SwitchRequest(
        database=request.database,
        filestore=request.filestore,
        environment_id=request.environment_id,
        rollback_id=request.rollback_id,
        store=request.store if request.record is not None else None,
        signal=signal,
        record=request.record,
        allow_replication_loss=request.allow_replication_loss,
    )
    with ExitStack() as stack:
        outcomes: _Outcomes | None = None
        try:
            run = _opened(runtime, found, store)
            stack.enter_context(closing(run.switcher))
            outcomes = stack.enter_context(run.outcomes)
            signals = SignalFile(signal, "Switch")
            now = run.prepared(signal, signals)
            order = run.awaited(signal, signals)
        except Exception as error:
            log.warning("the restore's Job does not switch; another one may", extra={"error": str(error)})
            if outcomes is not None:
                outcomes.write("not-switched")
            return None
        return run.obeyed(now, order)


def check_runs_once(records: RollbackRecords, marks: tuple[RollbackMark, ...]) -> None:
    """Of an undo, which has no restore. Raises MoverError as :meth:`RollbackRecords.check`, but where the store does
    not answer the marks alone decide."""
    found: list[MoverError] = []
    answered = threading.Event()

    def read() -> None:
        try:
            records.check(marks)
        except StoreError as error:
            log.warning("the records of earlier runs were not read", extra={"error": error.message})
            return
        except MoverError as error:
            found.append(error)
        answered.set()

    reader = threading.Thread(target=read, name="record", daemon=True)
    reader.start()
    reader.join(_STORE_SECONDS)
    if not answered.is_set():
        records.check_marks(marks)
    elif found:
        raise found[0]


def _expired(signal: Signal) -> MoverError:
    late = time.time() - signal.not_after
    return MoverError(
        conditions.SWITCH_FAILED,
        f"the signal to switch expired {late:.1f} s ago and nothing was changed; if no container or node was restarted"
        " at that time, compare the clocks of the nodes. Then create a new Rollback",
        retryable=True,
    )


def execute(runtime: Runtime, request: SwitchRequest) -> SwitchResult:
    """As :meth:`SwitchRun.run`."""
    return _opened(runtime, request).run()


def _opened(runtime: Runtime, request: SwitchRequest, store: Store | None = None) -> SwitchRun:
    """What the request names. The database's Secrets are read now. `store`: the request's, where it is open already."""
    run = opening.run_of(request.record)
    records: RollbackRecords | None = None
    if run is not None and request.store is not None:
        if not request.now and request.undo_to is None:
            records = RollbackRecords(opening.store(request.store, store), run)
        elif request.back or request.undo_to is not None:
            records = opening.optional_records(request.store, run)
    target = opening.rollback_target(
        request,
        request.rollback_id,
        run=run,
        allow_replication_loss=request.allow_replication_loss,
        undo_to=request.undo_to,
        neutralized=request.neutralized,
    )
    return SwitchRun(runtime, Switcher(target, runtime.token), request, records)
