"""Waits for what ends by itself: a program, and sessions that were ended."""

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_mover.database import sessions
from ocore_mover.database.programs import Running
from ocore_mover.database.sessions import Session
from ocore_mover.deadline import Token


def test_a_program_is_not_asked_again_and_again_whether_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pauses between, each restore ends up to 50 ms late. The program runs until the third tick."""
    pauses: list[float] = []
    monkeypatch.setattr(subprocess, "time", SimpleNamespace(sleep=pauses.append))
    monkeypatch.chdir(tmp_path)
    paused: list[int] = []

    def tick() -> None:
        paused.append(len(pauses))
        if len(paused) == 3:
            Path("end").touch()

    running = Running(["/bin/sh", "-c", "while [ ! -e end ]; do sleep 0.02; done; exit 3"], environment={})
    try:
        assert running.wait(Token(60), tick, interval=0.05) == 3
    finally:
        running.close()
    assert paused[:3] == [0, 0, 0]


def test_a_program_that_has_closed_its_stderr_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        Path("end").touch()

    script = "exec 2>&-; while [ ! -e end ]; do sleep 0.02; done; exit 4"
    running = Running(["/bin/sh", "-c", script], environment={})
    try:
        assert running.wait(Token(60), tick, interval=0.05) == 4
    finally:
        running.close()
    assert ticks


def test_sessions_that_end_soon_are_soon_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application is stopped while they end."""
    pauses: list[float] = []
    monkeypatch.setattr(sessions, "time", SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic))
    left = Session(7, "shop", "app", "odoo", superuser=False)
    reads = iter([[left]] * 6 + [[]])
    monkeypatch.setattr(sessions, "others", lambda *_: next(reads))
    monkeypatch.setattr(sessions, "prepared", lambda *_: [])

    class Ending:
        def execute(self, *_: Any) -> None:
            pass

    assert sessions.end_all(cast(Any, Ending()), ("shop",)) == 1
    assert pauses == [0.005, 0.01, 0.02, 0.04, 0.05, 0.05]
