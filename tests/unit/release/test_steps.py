"""A step of the local cluster: its output goes into a log, and what it does is shown every few seconds."""

import os
import subprocess
from pathlib import Path

from support.cluster.cluster import REPOSITORY

COMMON = REPOSITORY / "localcluster/lib/common.sh"
#: The pauses between two lines of progress are short.
SLEEP = "#!/bin/sh\nexec /bin/sleep 0.1\n"


def step(folder: Path, command: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command as a step; the last line of the output is `reached` where the script goes on."""
    (folder / "sleep").write_text(SLEEP)
    (folder / "sleep").chmod(0o755)
    script = f"set -euo pipefail; source {COMMON}; step 'building' {command}; echo reached"
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "OCORE_CACHE": str(folder / "cache")}
    return subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_step_that_prints_nothing_for_a_while_succeeds(tmp_path: Path) -> None:
    """An image build on a busy machine was silent for five seconds: `cluster images` ended with code 1 and no word."""
    done = step(tmp_path, "/bin/sleep 1")
    assert "... building" in done.stderr  # its progress was shown while it had printed nothing
    assert (done.returncode, done.stdout) == (0, "reached\n")


def test_the_last_line_of_a_step_is_its_progress(tmp_path: Path) -> None:
    done = step(tmp_path, "sh -c 'echo layer 3; /bin/sleep 1'")
    assert "s: layer 3" in done.stderr
    assert (done.returncode, done.stdout) == (0, "reached\n")


def test_a_step_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    done = step(tmp_path, "sh -c 'echo no space left; exit 3'")
    assert "no space left" in done.stderr
    assert "failed: building (whole log:" in done.stderr
    assert (done.returncode, done.stdout) == (1, "")
