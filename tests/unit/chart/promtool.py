"""promtool of Prometheus: `make promtool` unpacks it."""

import os
import subprocess
from pathlib import Path

from support.cluster.cluster import REPOSITORY


def program() -> Path:
    """Its path; fetches it where it is missing."""
    cache = Path(os.environ.get("OCORE_CACHE") or Path.home() / ".cache/ocore-snapshots")
    path = cache / "promtool/promtool"
    if not path.exists():
        subprocess.run(["make", "-C", str(REPOSITORY), "promtool"], check=True, timeout=300)
    return path


def run(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it; the exit code is the caller's matter."""
    # It allocates 128 MiB for the samples of each case: in memory (tests/in-memory) the kernel would clear them all.
    environment = {**os.environ, "TMPDIR": "/var/tmp", "GOMAXPROCS": "1"}
    return subprocess.run(
        [program(), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
