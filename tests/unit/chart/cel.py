"""tests/cel: renders the chart, and compiles and evaluates its CEL as the oldest API server does that the chart allows.
`make cel` builds it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from support.built import make
from support.cluster.cluster import REPOSITORY

CHART = REPOSITORY / "charts/ocore-snapshots"
#: The chart names no registry of its own.
REGISTRY = {"global": {"imageRegistry": "registry.example.org"}}


def run(values: dict[str, Any], *, chart: Path = CHART) -> tuple[int, str]:
    """Exit code and output, for values by name."""
    done = _cel(str(chart), given={name: REGISTRY | each for name, each in values.items()})
    return done.returncode, done.stdout + done.stderr


def refusals(policy: str, *writes: dict[str, Any], more: dict[str, Any] | None = None) -> list[list[str]]:
    """What the validations of a policy say to each write: `user`, `oldObject`, `object`. `more`: values of the
    chart."""
    done = _cel(str(CHART), policy, given={"values": REGISTRY | (more or {}), "writes": writes})
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def _cel(*arguments: str, given: object) -> subprocess.CompletedProcess[str]:
    program = [make("cel"), *arguments]
    return subprocess.run(program, input=json.dumps(given), capture_output=True, text=True, timeout=120, check=False)
