"""tests/cel: renders the chart and compiles its CEL as the oldest API server does that the chart allows. `make cel`
builds it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support.cluster.cluster import REPOSITORY

CHART = REPOSITORY / "charts/ocore-snapshots"
#: The chart names no registry of its own.
REGISTRY = {"global": {"imageRegistry": "registry.example.org"}}


def run(values: dict[str, Any], *, chart: Path = CHART) -> tuple[int, str]:
    """Exit code and output, for values by name."""
    built = subprocess.run(
        ["make", "-s", "-C", str(REPOSITORY), "cel"], check=True, timeout=1800, capture_output=True, text=True,
        env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    done = subprocess.run(
        [built.stdout.strip(), chart],
        input=json.dumps({name: REGISTRY | each for name, each in values.items()}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
