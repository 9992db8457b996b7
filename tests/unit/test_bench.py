"""The benchmarks, which no other test runs."""

import os
import subprocess
import sys

from support.cluster.cluster import REPOSITORY

BENCH = REPOSITORY / "bench"


def test_what_benchmarks_import_exists() -> None:
    names = sorted(file.stem for file in BENCH.glob("*.py"))
    assert "api_streams" in names
    code = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCH), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
