"""A switch Job whose switcher and store are recorded, not real."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

from ocore_crds.commands.parts import SignalWait
from ocore_crds.commands.switch import SwitchRequest
from ocore_crds.protocol import SwitchResult
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switch import SwitchRun
from ocore_mover.commands.switcher import Switcher
from ocore_mover.deadline import Token
from ocore_mover.report import Reporter
from ocore_mover.rollback_records import RollbackRecords

Goal = Literal["Old", "New"]
OTHER: dict[str, Goal] = {"Old": "New", "New": "Old"}
MARKS = ("what the live database remembers",)


#: Seconds until a store answers that does not: no test waits for so long.
NEVER = 60.0
#: Seconds for a test of a shortened limit: less than each limit that the module has.
SHORT = 5.0


class Store:
    """As RollbackRecords: `written` has the states. `error`: what the store answers. `patience`: seconds until then."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str | None]] = []
        self.error: Exception | None = None
        self.patience = 0.0
        self.marks: list[Any] = []

    def write(self, state: str, failure: Any = None) -> None:
        time.sleep(self.patience)
        if self.error is not None:
            raise self.error
        self.written.append((state, failure.reason if failure is not None else None))

    def check(self, marks: Any) -> None:
        time.sleep(self.patience)
        self.marks.append(("store", marks))
        if self.error is not None:
            raise self.error

    def check_marks(self, marks: Any) -> None:
        self.marks.append(("marks", marks))


class Lines(Reporter):
    """Keeps the report lines."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.steps: list[tuple[str, str, str]] = []
        self.waits = 0

    def step(self, step: Any, state: str, message: str = "") -> None:
        self.steps.append((step.value, state, message))

    def ready(self) -> None:
        self.waits += 1


class Job:
    """A switch Job with everything that it calls."""

    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []
        self.position: Goal = "Old"
        self.accepting = True
        self.latest: float | None = None
        self.fails: dict[str, Exception] = {}
        self.on: dict[str, Callable[[], object]] = {}
        self.lines = Lines()
        self.token = Token(60)
        self.store = Store()
        self.signal_file, self.ready_file = folder / "signal", folder / "ready"

    def _call(self, name: str, position: Goal | None = None) -> SwitchResult:
        self.calls.append(name)
        self.on.get(name, lambda: None)()
        if name in self.fails:
            raise self.fails[name]
        self.position = position or self.position
        return SwitchResult(position=self.position, accepting_connections=self.accepting)

    def repair(self) -> SwitchResult:
        return self._call("repair")

    def prepare(self) -> None:
        self._call("prepare")

    def prepare_forward(self) -> None:
        self._call("prepare_forward")

    def rename_until(self, moment: float) -> None:
        self.latest = moment

    def forward(self) -> SwitchResult:
        return self._call("forward", "New")

    def back(self) -> SwitchResult:
        return self._call("back", "Old")

    def read_position(self) -> SwitchResult:
        return self._call("read_position")

    def marks(self) -> Any:
        return MARKS

    def close(self) -> None:
        self.calls.append("close")

    def run(self, *, waits: bool = True, wait: float = 5, recorded: bool = True, **options: Any) -> SwitchResult:
        signal = SignalWait.model_construct(
            signal_file=str(self.signal_file), ready_file=str(self.ready_file), wait=wait, job=""
        )
        request = SwitchRequest.model_construct(signal=signal if waits else None, **options)
        records = cast(RollbackRecords, self.store) if recorded else None
        return SwitchRun(Runtime(self.lines, self.token), cast(Switcher, self), request, records).run()

    def signal(self, seconds: float = 60) -> None:
        self.signal_file.write_text(json.dumps({"action": "Switch", "notAfter": time.time() + seconds}))

    def reported(self) -> list[tuple[str, str]]:
        return [(step, state) for step, state, _ in self.lines.steps]

    def states(self) -> list[str]:
        return [state for state, _ in self.store.written]
