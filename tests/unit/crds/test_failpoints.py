"""Failpoints: how often one fires, and that a `kill` is certain."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocore_crds import failpoints

POINT = "snapshot-frozen"
PROGRAM = """
from ocore_crds import failpoints
try:
    failpoints.hit("switch-renamed")
finally:
    print("still here", flush=True)
"""


@pytest.fixture(autouse=True)
def nothing_fired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_fired", set())


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What three hits of one process print."""
    for _ in range(3):
        failpoints.hit(POINT)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(("action", "times"), [("sleep:0", 1), ("delay:0", 3)])
def test_a_delay_fires_each_time_and_a_sleep_once(
    action: str, times: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A snapshot that fails is tried again in the same process: where a test needs the state at a failpoint to last, it
    must last in each of these tries."""
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, f"{POINT}={action}")
    assert lines(capsys) == [f"failpoint {POINT}: {action}"] * times


@pytest.mark.parametrize(("action", "times"), [("sleep:0", 0), ("delay:0", 3)])
def test_the_marks_of_an_earlier_container_count(
    action: str, times: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, f"{POINT}={action}")
    monkeypatch.setenv(failpoints.MARKS_VARIABLE, str(tmp_path))
    assert lines(capsys)
    monkeypatch.setattr(failpoints, "_fired", set())  # the next container
    assert len(lines(capsys)) == times


def test_an_action_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="use kill, error, sleep:SECONDS or delay:SECONDS"):
        failpoints.parse(f"{POINT}=wait:3")


@pytest.mark.parametrize("first", [False, True], ids=["any process", "first of its namespace"])
def test_nothing_runs_after_a_kill(first: bool) -> None:
    """Also not in the first process of a container, which is deaf to a SIGKILL of its own."""
    command = [sys.executable, "-c", PROGRAM]
    if first:
        command = ["unshare", "--pid", "--fork", *command]
        if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("needs the right to make a PID namespace")
    done = subprocess.run(
        command,
        env={**os.environ, "OCORE_FAILPOINTS": "switch-renamed=kill", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (-9, 137)
    assert "still here" not in done.stdout
