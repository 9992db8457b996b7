"""schemathesis on the served OpenAPI document: all checks, no failure. The seed is fixed: a failure can be repeated."""

import subprocess
import sys
from pathlib import Path

from support.api.matrix import Ids
from support.api.serving import Serving
from support.api.world import World

#: Ids that it uses instead of its own.
EXISTING = ("project", "environment", "snapshot", "deployment", "preview", "extract")


#: A stream without end, which it would read until its time is over: tests/unit/api/streams/test_changes.py.
STREAM = "stream_changes"


#: A body larger than the server reads is refused by its size. A key of Idempotency-Key that comes again with another
#: body is refused, too: schemathesis sends few keys.
CHECKS = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"]

""" + "".join(
    f"""
[[operations]]
include-operation-id = "{operation}"

[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429", "5xx"]
"""
    for operation in ("create_extract", "start_rollback")
)


def without(*operations: str) -> tuple[str, ...]:
    """Options that leave operations out."""
    return tuple(option for each in operations for option in ("--exclude-operation-id", each))


def run(served: Serving, ids: Ids, folder: Path, *options: str, existing: tuple[str, ...]) -> str:
    """Runs it, and returns its summary. `existing`: the parameters of paths that are ids of the caller's."""
    path = folder / "schemathesis.toml"
    path.write_text(
        "[parameters]\n" + "".join(f'"path.{name}Id" = "{getattr(ids, name)}"\n' for name in existing) + CHECKS
    )
    token = served.issuer.token("ann", projects=(ids.project,))
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(path), "run", f"{served.url}/openapi.json",
            "--checks", "all", "--generation-deterministic", "--seed", "1", "--no-color",
            "--continue-on-failure", "--max-examples", "20", "--request-timeout", "20",
            "-H", f"Authorization: Bearer {token}", *options,
        ],
        cwd=folder, text=True, capture_output=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    return done.stdout


def test_ids_of_objects_that_exist(world: World, served: Serving, tmp_path: Path) -> None:
    """Bodies, queries and headers of every kind, valid or not, for a snapshot and a rollback of the caller's, which
    stay."""
    ids = served.call(world.tenant, "mine")
    options = ("--phases", "coverage,fuzzing", *without("delete_snapshot", "cancel_rollback", "end_preview", STREAM))
    assert "Tested: 30" in run(served, ids, tmp_path, *options, existing=EXISTING)
    assert world.snapshots()


def test_any_id(world: World, served: Serving, tmp_path: Path) -> None:
    """Every operation, ids of every kind, valid or not, and sequences of requests that use each other's answers."""
    ids = served.call(world.tenant, "mine")
    assert "Tested: 33" in run(served, ids, tmp_path, *without(STREAM), existing=("project", "environment"))
