"""A Rollback for the record in the store, as the operator gives it to the Jobs."""

import json
import uuid
from pathlib import Path

from ocore_crds.rollback_record import RollbackRun

HASH = "0123456789abcdef0123456789abcdef"


def run_of(rollback_id: str, environment_id: str, *, name: str = "to-monday", spec_hash: str = HASH) -> RollbackRun:
    """A Rollback object of its own: another uid each time."""
    return RollbackRun(
        name=name,
        spec_hash=spec_hash,
        uid=str(uuid.uuid4()),
        rollback_id=rollback_id,
        environment_id=environment_id,
        snapshot_id=str(uuid.uuid4()),
        attempt=str(uuid.uuid4()),
    )


def option(run: RollbackRun) -> list[str]:
    """The mover's option."""
    return ["--record", json.dumps(run.wire())]


def states(store: Path, run: RollbackRun) -> set[str]:
    """What the store's folder has of this run."""
    folder = store / "environments" / run.environment_id / "rollbacks" / run.name / run.spec_hash / run.uid
    return {path.stem for path in folder.rglob("*.json")} if folder.exists() else set()
