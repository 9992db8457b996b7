"""``switch``, ``cleanup`` and ``inspect --rollback-id``: the seconds that count."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from ocore_crds import conditions, failpoints
from ocore_crds.protocol import CleanupResult, Signal, Step, SwitchResult
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switcher import Switcher
from ocore_mover.database.connect import Server
from ocore_mover.database.switch import cleanup as database_cleanup
from ocore_mover.database.switch.cleanup import What
from ocore_mover.errors import Cancelled, MoverError
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.odoo.hold import HoldSet
from ocore_mover.filestore.plain import switch as plain_switch

log = structlog.get_logger()

_POLL = 0.05


@dataclass(frozen=True)
class SwitchOptions:
    """How the switch is told to go."""

    signal_file: Path | None
    ready_file: Path | None
    wait: float  # seconds for the first signal
    now: bool
    back: bool


def switch(runtime: Runtime, switcher: Switcher, options: SwitchOptions) -> SwitchResult:
    """Switches at once, or waits for its signals. Returns the position at its end.

    A restarted one first puts right what the killed one left, and obeys the signal that it finds.
    """
    try:
        if options.now:
            return _at_once(runtime, switcher, back=options.back)
        assert options.signal_file is not None  # noqa: S101 - the command line was checked
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
    return _reported(runtime, Step.SWITCH, switcher)


def _back(runtime: Runtime, switcher: Switcher) -> SwitchResult:
    return _reported(runtime, Step.SWITCH_BACK, switcher)


def _reported(runtime: Runtime, step: Step, switcher: Switcher) -> SwitchResult:
    """The interim answer is a step report whose message is the result (docs/architecture.md)."""
    runtime.reporter.step(step, "Running")
    try:
        result = switcher.forward() if step is Step.SWITCH else switcher.back()
    except MoverError as error:
        runtime.reporter.step(step, "Failed", error.message)
        raise
    failpoints.hit("switch-done")
    runtime.reporter.step(step, "Done", json.dumps(result.wire(), separators=(",", ":")))
    return result


def _by_signals(runtime: Runtime, switcher: Switcher, options: SwitchOptions, signal_file: Path) -> SwitchResult:
    if options.ready_file is not None:
        options.ready_file.unlink(missing_ok=True)  # of the container before this one, in the same pod
    now = switcher.repair()
    switcher.prepare()
    if options.ready_file is not None:
        options.ready_file.touch()
    runtime.reporter.ready()
    failpoints.hit("switch-ready")
    if now.position == "New":
        # Switched before this container's start, and perhaps nobody was told.
        runtime.reporter.step(Step.SWITCH, "Done", json.dumps(now.wire(), separators=(",", ":")))
    until = time.monotonic() + options.wait
    while True:
        signal = read_signal(signal_file)
        if signal is None or (signal.action == "Switch" and now.position == "New"):
            if now.position == "Old" and time.monotonic() >= until:
                raise _no_signal(options.wait)
            runtime.token.sleep(_POLL)
            continue
        log.info("signal", action=signal.action, position=now.position)
        if signal.action == "Finish":
            return switcher.look()
        if signal.action == "SwitchBack":
            return _back(runtime, switcher)
        now = _forward(runtime, switcher)


def _no_signal(seconds: float) -> MoverError:
    return Cancelled(
        conditions.DEADLINE_EXCEEDED,
        f"no signal within {seconds:.0f} s, nothing was changed; the operator gives it by the annotation ocore.dev/signal",
        retryable=True,
    )


def read_signal(path: Path) -> Signal | None:
    """The signal in the downward-API file; None where there is none, it is torn, or it came too late."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not text:
        return None
    try:
        signal = Signal.model_validate_json(text)
    except ValidationError:
        log.warning("not a signal", text=text[:200])
        return None
    return signal if time.time() <= signal.not_after else None


def cleanup(
    runtime: Runtime,
    switcher: Switcher,
    server: Server | None,
    folders: ClaimFolders | None,
    layout: str,
    rollback_id: str,
    what: What,
) -> CleanupResult:
    """Removes what a rollback keeps: database first, then folders. Raises MoverError where that would leave half."""
    try:
        later = what == "previous" and server is not None and database_cleanup.superseded(server, rollback_id)
        position = "New" if later else switcher.repair().position
    finally:
        switcher.close()
    dropped: tuple[str, ...] = ()
    runtime.token.check()
    if server is not None:
        dropped = database_cleanup.cleanup(server, rollback_id, what)
    elif position != ("New" if what == "previous" else "Old"):
        raise MoverError(
            conditions.SWITCH_FAILED,
            f"the position is {position}: what --what {what} would remove is what the environment runs on",
        )
    failpoints.hit("cleanup-database-dropped")
    removed: list[str] = []
    if folders is not None and layout == "Odoo" and HoldSet(folders, rollback_id).remove():
        removed.append(str(folders.hold(rollback_id)))
    if folders is not None and layout == "Plain":
        previous = what == "previous"
        remove = plain_switch.remove_previous if previous else plain_switch.remove_stage
        if remove(folders, rollback_id):
            removed.append(str(folders.previous(rollback_id) if previous else folders.stage(rollback_id)))
    return CleanupResult(databases_dropped=dropped, folders_removed=tuple(removed))


def inspect_rollback(switcher: Switcher, *, repair: bool) -> SwitchResult:
    """The position, and with `repair` everything put in order that a killed switch left."""
    try:
        return switcher.repair() if repair else switcher.look()
    finally:
        switcher.close()
