"""`tests/in-memory`, which gives the unit tests temporary files that no disk can delay."""

import os
import subprocess
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY

PROGRAM = REPOSITORY / "tests/in-memory"
NAME_AND_WRITE = 'touch "$TMPDIR/file"; echo "$TMPDIR"; exit 3'


def run(tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """With these programs of the system replaced, and `tmp_path` for the usual folder of temporary files."""
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return subprocess.run(
        [PROGRAM, "sh", "-c", NAME_AND_WRITE],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )


def test_temporary_files_are_in_memory_and_removed_afterwards(tmp_path: Path) -> None:
    done = run(tmp_path, stat="echo tmpfs", df="echo 100", awk="echo 100")
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to("/dev/shm")
    assert not folder.exists()
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize(
    "programs",
    [{"stat": "echo overlayfs"}, {"stat": "echo no such folder >&2; exit 1"}, {"df": "echo 5"}, {"awk": "echo 5"}],
    ids=["no-tmpfs", "no-folder", "small-folder", "little-memory"],
)
def test_without_room_they_are_where_they_always_are(tmp_path: Path, programs: dict[str, str]) -> None:
    done = run(tmp_path, **{"stat": "echo tmpfs", "df": "echo 100", "awk": "echo 100", **programs})
    assert Path(done.stdout.strip()) == tmp_path
    assert (done.returncode, done.stderr) == (3, "")
