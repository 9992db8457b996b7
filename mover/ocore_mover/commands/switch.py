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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ValidationError

from ocore_crds import conditions, failpoints
from ocore_crds.commands.switch import RENAMED_WITHIN, Signal, SwitchRequest, SwitchResult
from ocore_crds.reports.base import Failure, Step
from ocore_crds.stored.rollback_record import RecordState
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switcher import Switcher
from ocore_mover.database.position import RollbackMark
from ocore_mover.errors import Cancelled, MoverError, StoreError
from ocore_mover.rollback_records import RollbackRecords

if TYPE_CHECKING:
    from ocore_crds.commands.parts import SignalWait
    from ocore_crds.commands.restore import RestoreRequest

log = logging.getLogger(__name__)

_POLL = 0.05
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


@dataclass(frozen=True)
class SwitchOptions:
    """When to switch, and in which direction."""

    signal_file: Path | None  # None: switch at once
    ready_file: Path | None
    wait: float  # seconds for the signal
    back: bool  # at once, against the goal: to the database from before
    job: str = ""  # the signal must name it
    records: RollbackRecords | None = None  # None: from a shell, without a record
    undo_to: Literal["Old", "New"] | None = None  # the position that an undo wants; None: not an undo

    @property
    def goal(self) -> Literal["Old", "New"]:
        """The position to reach, unless `back`."""
        return self.undo_to or "New"


def switch(runtime: Runtime, switcher: Switcher, options: SwitchOptions) -> SwitchResult:
    """Switches at once, or waits for the signal. Returns the final position.

    After a restart of the container it first completes or undoes an interrupted switch, then obeys the signal that it
    finds. Raises MoverError SwitchFailed, SessionsRemain, DeadlineExceeded (no signal within `wait` seconds).
    """
    try:
        if options.signal_file is None:
            return _at_once(runtime, switcher, options)
        with _Outcomes(switcher, options.records, options) as outcomes:
            return _by_signal(runtime, switcher, options, options.signal_file, outcomes)
    finally:
        switcher.close()


def _at_once(runtime: Runtime, switcher: Switcher, options: SwitchOptions) -> SwitchResult:
    left = runtime.token.seconds_left
    if left is not None:
        switcher.rename_until(time.time() + left)
    switcher.repair()
    if options.back:
        with _Outcomes(switcher, options.records, options) as outcomes:
            now = _against_goal(runtime, switcher, options)
            outcomes.write("switched-back")
            return now
    switcher.prepare()
    return _to_goal(runtime, switcher, options)


def _to_goal(runtime: Runtime, switcher: Switcher, options: SwitchOptions) -> SwitchResult:
    return _reported(runtime, Step.SWITCH, switcher.forward if options.goal == "New" else switcher.back)


def _against_goal(runtime: Runtime, switcher: Switcher, options: SwitchOptions) -> SwitchResult:
    if options.goal == "New":
        return _reported(runtime, Step.SWITCH_BACK, switcher.back)
    switcher.prepare_forward()
    return _reported(runtime, Step.SWITCH_BACK, switcher.forward)


def _reported(runtime: Runtime, step: Step, change: Callable[[], SwitchResult]) -> SwitchResult:
    """Reports the step; the message of the final step report is the result as JSON (docs/architecture.md)."""
    runtime.reporter.step(step, "Running")
    try:
        result = change()
    except MoverError as error:
        runtime.reporter.step(step, "Failed", error.message)
        raise
    failpoints.hit("switch-done")
    runtime.reporter.step(step, "Done", json.dumps(result.wire(), separators=(",", ":")))
    return result


class _Outcomes:
    """Writes to the store that the switch starts, and how it ended.

    An outcome is written beside the work: a store that does not answer delays the end by a few seconds only. One that
    is lost is in the comment of the live database.
    """

    def __init__(self, switcher: Switcher, records: RollbackRecords | None, options: SwitchOptions) -> None:
        """With `options.back` the switch that is reversed has written `started`."""
        self._switcher = switcher
        self._records = records
        self._goal, self._undoes = options.goal, options.undo_to is not None
        self._started = self._back = options.back
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


def _by_signal(
    runtime: Runtime, switcher: Switcher, options: SwitchOptions, signal_file: Path, outcomes: _Outcomes
) -> SwitchResult:
    now = _prepared(runtime, switcher, options, outcomes)
    signal = _awaited(runtime, options, Signals(signal_file, options.job))
    return _obeyed(runtime, switcher, options, outcomes, now, signal)


def _prepared(
    runtime: Runtime,
    switcher: Switcher,
    options: SwitchOptions,
    outcomes: _Outcomes,
    early: "Signals | None" = None,
) -> SwitchResult:
    """Checks that the switch can work, writes that it starts, and reports that it is ready. Returns the position.
    `early`: of which what came before that is ignored."""
    if options.ready_file is not None:
        options.ready_file.unlink(missing_ok=True)  # an earlier container of this pod may have left it
    now = switcher.repair()
    if options.undo_to is not None and options.records is not None:
        check_runs_once(options.records, switcher.marks())  # a rollback's restore has done this
    switcher.prepare()
    outcomes.start()
    if early is not None:
        early.ignore()
    if options.ready_file is not None:
        options.ready_file.touch()
    runtime.reporter.ready()
    failpoints.hit("switch-ready")
    return now


def _awaited(runtime: Runtime, options: SwitchOptions, signals: "Signals") -> Signal:
    until = time.monotonic() + options.wait
    while (signal := signals.read()) is None:
        if time.monotonic() >= until:
            raise _no_signal(options.wait)
        runtime.token.sleep(_POLL)
    return signal


def _obeyed(
    runtime: Runtime,
    switcher: Switcher,
    options: SwitchOptions,
    outcomes: _Outcomes,
    now: SwitchResult,
    signal: Signal,
) -> SwitchResult:
    log.info("signal", extra={"action": signal.action, "position": now.position})
    if now.position == options.goal:
        # An earlier container switched, and its report may be lost.
        runtime.reporter.step(Step.SWITCH, "Done", json.dumps(now.wire(), separators=(",", ":")))
        outcomes.write("switched")
        return now
    if is_expired(signal):
        return _not_switched(switcher, options, _expired(signal), outcomes)
    switcher.rename_until(signal.not_after + RENAMED_WITHIN)
    try:
        now = _to_goal(runtime, switcher, options)
    except MoverError as error:
        if error.reason not in _FINAL:
            raise  # the restarted container tries again while its signal is valid
        return _not_switched(switcher, options, error, outcomes)
    outcomes.write("switched")
    return now


def after_restore(runtime: Runtime, request: "RestoreRequest", signal: "SignalWait") -> SwitchResult | None:
    """The first attempt at the switch, in the process that has restored. None: it has not switched, and another Job
    may. What prevents the switch before the signal is for that Job to find and to report.

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
            switcher, options = _opened(runtime, found)
            stack.enter_context(closing(switcher))
            outcomes = stack.enter_context(_Outcomes(switcher, options.records, options))
            signals = Signals(Path(signal.signal_file), signal.job)
            now = _prepared(runtime, switcher, options, outcomes, signals)
            order = _awaited(runtime, options, signals)
        except Exception as error:
            log.warning("the restore's Job does not switch; another one may", extra={"error": str(error)})
            if outcomes is not None:
                outcomes.write("not-switched")
            return None
        return _obeyed(runtime, switcher, options, outcomes, now, order)


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


def _not_switched(switcher: Switcher, options: SwitchOptions, error: MoverError, outcomes: _Outcomes) -> SwitchResult:
    """The answer of a Job that will not switch any more: with it the Job ends, and the operator starts the application
    at once. Raises `error` where the environment is not as it was before."""
    found = switcher.read_position()
    if found.position == options.goal or not found.accepting_connections:
        raise error
    failure = Failure(reason=error.reason, message=error.message, retryable=error.retryable)
    outcomes.write("not-switched", failure)
    return found.model_copy(update={"failure": failure})


def _expired(signal: Signal) -> MoverError:
    late = time.time() - signal.not_after
    return MoverError(
        conditions.SWITCH_FAILED,
        f"the signal to switch expired {late:.1f} s ago and nothing was changed; if no container or node was restarted"
        " at that time, compare the clocks of the nodes. Then create a new Rollback",
        retryable=True,
    )


def _no_signal(seconds: float) -> MoverError:
    return Cancelled(
        conditions.DEADLINE_EXCEEDED,
        f"no signal arrived within {seconds:.0f} s and nothing was changed; the operator sends it in the pod's"
        " annotation ocore.dev/signal",
        retryable=True,
    )


class Signals:
    """The signal in the downward-API file."""

    def __init__(self, path: Path, job: str) -> None:
        """`job`: the signal must name it."""
        self._path, self._job = path, job
        self._ignored = ""

    def ignore(self) -> None:
        """What the file holds now is never obeyed."""
        self._ignored = self._text()
        if self._ignored:
            log.warning("ignoring a signal that came too early", extra={"text": self._ignored[:200]})

    def read(self) -> Signal | None:
        """The signal, which may have expired; None where there is none, or it is not valid or not for this Job."""
        text = self._text()
        if not text or text == self._ignored:
            return None
        try:
            signal = Signal.model_validate_json(text)
        except ValidationError:
            signal = None
        if signal is None or signal.job != self._job:
            log.warning("ignoring a signal that is not valid, or for another Job", extra={"text": text[:200]})
            self._ignored = text
            return None
        return signal

    def _text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""


def is_expired(signal: Signal) -> bool:
    """Whether the signal must not be obeyed any more."""
    return time.time() > signal.not_after


def execute(runtime: Runtime, request: SwitchRequest) -> SwitchResult:
    """As :func:`switch`."""
    return switch(runtime, *_opened(runtime, request))


def _opened(runtime: Runtime, request: SwitchRequest) -> tuple[Switcher, SwitchOptions]:
    """What the request names. The Secrets are read now."""
    run, signal = opening.run_of(request.record), request.signal
    records: RollbackRecords | None = None
    if run is not None and request.store is not None:
        if not request.now and request.undo_to is None:
            records = RollbackRecords(opening.store(request.store), run)
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
    options = SwitchOptions(
        signal_file=Path(signal.signal_file) if signal is not None else None,
        ready_file=opening.optional_path(signal.ready_file) if signal is not None else None,
        wait=signal.wait if signal is not None else 0.0,
        back=request.back,
        records=records,
        undo_to=request.undo_to,
        job=signal.job if signal is not None else "",
    )
    return Switcher(target, runtime.token), options
