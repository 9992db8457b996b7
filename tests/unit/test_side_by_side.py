"""`tests/side-by-side`, which runs the two halves of the cluster tests."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY

PROGRAM = REPOSITORY / "tests/side-by-side"


def run(*commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *commands], capture_output=True, text=True, timeout=30, check=False)


def test_the_output_comes_in_the_order_of_the_commands() -> None:
    done = run("sleep 0.3; echo one; sleep 0.1; echo two", "echo three")
    assert done.returncode == 0
    assert done.stdout.split() == [
        "==",
        *[
            "sleep",
            "0.3;",
            "echo",
            "one;",
            "sleep",
            "0.1;",
            "echo",
            "two",
            "one",
            "two",
            "==",
            "echo",
            "three",
            "three",
        ],
    ]


@pytest.mark.parametrize("commands", [("seq 30; false", "echo went on"), ("echo went on", "seq 30; exit 3")])
def test_one_that_fails_is_named_with_its_last_lines_and_the_other_goes_on(commands: tuple[str, str]) -> None:
    done = run(*commands)
    assert done.returncode == 1
    assert "\nwent on\n" in done.stdout
    failed = next(c for c in commands if "seq" in c)
    assert done.stderr.splitlines() == [f"failed: {failed}", *map(str, range(19, 31))]


def test_a_signal_takes_down_what_runs(tmp_path: Path) -> None:
    command = f"trap 'touch {tmp_path}/down; exit' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    with subprocess.Popen([PROGRAM, command], stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 20
        while not (tmp_path / "up").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert (tmp_path / "down").exists()


def test_a_log_that_is_not_written_yet_is_waited_for() -> None:
    """Seen on a loaded machine, once in 200 runs: `tail` looked for the log before the command's process had opened
    it."""
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda _: run("true", "true"), range(40)))
    assert [each.stderr for each in found if each.returncode != 0] == []
