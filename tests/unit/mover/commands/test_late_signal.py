"""A signal that the switch Job reads too late is not obeyed, whatever the position is. Without a database: a switch
would be a failed test."""

import os
import time
from pathlib import Path
from typing import cast

import pytest

from ocore_crds import conditions
from ocore_crds.commands.parts import SignalWait
from ocore_crds.commands.switch import SwitchRequest
from ocore_crds.protocol import SwitchResult
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switch import SwitchRun
from ocore_mover.commands.switcher import Switcher
from ocore_mover.deadline import Token
from ocore_mover.report import Reporter


class Stopped:
    """Stands for a switcher: has a position and must not change it."""

    def __init__(self, position: str) -> None:
        self._found = SwitchResult.model_validate({"position": position, "acceptingConnections": True})

    def repair(self) -> SwitchResult:
        return self._found

    read_position = repair

    def prepare(self) -> None:
        pass

    def rename_until(self, moment: float) -> None:
        pass

    def close(self) -> None:
        pass

    def forward(self) -> SwitchResult:
        raise AssertionError("obeyed an expired signal to switch")

    def back(self) -> SwitchResult:
        raise AssertionError("obeyed an expired signal to switch back")


def run(position: str, action: str, late: float, folder: Path, *, seconds: float = 20) -> SwitchResult:
    """The Job with a signal that expired `late` seconds ago."""
    path = folder / "signal"
    path.write_text(f'{{"action": "{action}", "notAfter": {time.time() - late}}}')
    request = SwitchRequest.model_construct(signal=SignalWait(signal_file=str(path), wait=60))
    runtime = Runtime(Reporter(Path(os.devnull)), Token(seconds))
    return SwitchRun(runtime, cast(Switcher, Stopped(position)), request).run()


@pytest.mark.parametrize("late", [0.01, 3600])
def test_an_expired_signal_to_switch_ends_the_job(tmp_path: Path, late: float) -> None:
    found = run("Old", "Switch", late, tmp_path)
    assert found.failure is not None
    assert (found.position, found.failure.reason) == ("Old", conditions.SWITCH_FAILED)
    assert "nothing was changed" in found.failure.message


def test_an_expired_signal_after_the_switch_ends_the_job_with_its_position(tmp_path: Path) -> None:
    """An earlier container has switched, and its report may be lost."""
    found = run("New", "Switch", 0.01, tmp_path)
    assert (found.position, found.failure) == ("New", None)


def test_a_signal_in_time_is_obeyed(tmp_path: Path) -> None:
    """The tests above can fail."""
    with pytest.raises(AssertionError, match="obeyed an expired signal"):
        run("Old", "Switch", -60, tmp_path)
