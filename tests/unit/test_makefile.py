"""What the Makefile runs, and when."""

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
#: What brings up clusters or runs tests, and what is called by it.
PROGRAMS = ("tests/with-cluster", "tests/side-by-side", "tests/part.py", "tests/in-memory")


@pytest.mark.parametrize("target", ["lint", "test", "test-all", "test-guards", "test-cluster", "test-nodes"])
def test_make_n_starts_nothing(tmp_path: Path, target: str) -> None:
    """Make runs a line of a recipe that names the variable MAKE, also with -n. This shell notes it instead."""
    noted, shell = tmp_path / "noted", tmp_path / "shell"
    patterns = " | ".join(f"*{each}*" for each in PROGRAMS)
    shell.write_text(
        f'#!/bin/bash\ncase "$*" in {patterns}) printf "%s\\n" "$*" >>{noted} ;; *) exec /bin/bash "$@" ;; esac\n'
    )
    shell.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-n", f"SHELL={shell}", target], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any(each in done.stdout for each in PROGRAMS)
    assert not noted.exists(), noted.read_text()
