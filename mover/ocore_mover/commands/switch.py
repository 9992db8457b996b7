"""``switch``: puts the restored copy in the place of the live environment, and back."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from ocore_crds import conditions, failpoints
from ocore_crds.protocol import Failure, Signal, Step, SwitchResult
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switcher import Switcher
from ocore_mover.errors import Cancelled, MoverError

log = structlog.get_logger()

_POLL = 0.05


@dataclass(frozen=True)
class SwitchOptions:
    """When to switch, and in which direction."""

    signal_file: Path | None  # None: switch at once
    ready_file: Path | None
    wait: float  # seconds for the first signal
    back: bool  # at once, to the previous database


def switch(runtime: Runtime, switcher: Switcher, options: SwitchOptions) -> SwitchResult:
    """Switches at once, or waits for signals. Returns the final position.

    After a restart of the container it first completes or undoes an interrupted switch, then obeys the signal that it finds.
    Raises MoverError SwitchFailed, SessionsRemain, DeadlineExceeded (no signal within `wait` seconds).
    """
    try:
        if options.signal_file is None:
            return _at_once(runtime, switcher, back=options.back)
        return _by_signals(runtime, switcher, options, options.signal_file)
    finally:
        switcher.close()


def _at_once(runtime: Runtime, switcher: Switcher, *, back: bool) -> SwitchResult:
    switcher.repair()
    if back:
        return _back(runtime, switcher)
    switcher.prepare()
    return _forward(runtime, switcher)


def _forward(runtime: Runtime, switcher: Switcher) -> SwitchResult:
    return _reported(runtime, Step.SWITCH, switcher.forward)


def _back(runtime: Runtime, switcher: Switcher) -> SwitchResult:
    return _reported(runtime, Step.SWITCH_BACK, switcher.back)


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


def _by_signals(runtime: Runtime, switcher: Switcher, options: SwitchOptions, signal_file: Path) -> SwitchResult:
    if options.ready_file is not None:
        options.ready_file.unlink(missing_ok=True)  # an earlier container of this pod may have left it
    now = switcher.repair()
    switcher.prepare()
    if options.ready_file is not None:
        options.ready_file.touch()
    runtime.reporter.ready()
    failpoints.hit("switch-ready")
    if now.position == "New":
        # An earlier container switched, and its report may be lost.
        runtime.reporter.step(Step.SWITCH, "Done", json.dumps(now.wire(), separators=(",", ":")))
    until = time.monotonic() + options.wait
    while True:
        signal = read_signal(signal_file)
        if signal is not None and is_expired(signal):
            if signal.action == "Switch" and now.position == "Old":
                return _not_switched(switcher, _expired(signal))
            signal = None
        if signal is None or (signal.action == "Switch" and now.position == "New"):
            if now.position == "Old" and time.monotonic() >= until:
                raise _no_signal(options.wait)
            runtime.token.sleep(_POLL)
            continue
        log.info("signal", action=signal.action, position=now.position)
        if signal.action == "Finish":
            return switcher.read_position()
        if signal.action == "SwitchBack":
            return _back(runtime, switcher)
        try:
            now = _forward(runtime, switcher)
        except MoverError as error:
            if error.reason != conditions.SESSIONS_REMAIN:
                raise  # the restarted container tries again while its signal is valid
            return _not_switched(switcher, error)


def _not_switched(switcher: Switcher, error: MoverError) -> SwitchResult:
    """The answer of a Job that will not switch any more: with it the Job ends, and the operator starts the application at once. Raises `error` where
    the environment is not as it was before."""
    found = switcher.read_position()
    if found.position != "Old" or not found.accepting_connections:
        raise error
    failure = Failure(reason=error.reason, message=error.message, retryable=error.retryable)
    return found.model_copy(update={"failure": failure})


def _expired(signal: Signal) -> MoverError:
    late = time.time() - signal.not_after
    return MoverError(
        conditions.SWITCH_FAILED,
        f"the signal to switch expired {late:.1f} s ago and nothing was changed; if no container or node was restarted at that time, "
        "compare the clocks of the nodes. Then create a new Rollback",
        retryable=True,
    )


def _no_signal(seconds: float) -> MoverError:
    return Cancelled(
        conditions.DEADLINE_EXCEEDED,
        f"no signal arrived within {seconds:.0f} s and nothing was changed; the operator sends it in the pod's annotation ocore.dev/signal",
        retryable=True,
    )


def read_signal(path: Path) -> Signal | None:
    """The signal in the downward-API file, which may have expired; None where there is none, or it is not valid."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not text:
        return None
    try:
        return Signal.model_validate_json(text)
    except ValidationError:
        log.warning("ignoring an invalid signal", text=text[:200])
        return None


def is_expired(signal: Signal) -> bool:
    """Whether the signal must not be obeyed any more."""
    return time.time() > signal.not_after
