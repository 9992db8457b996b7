"""A Rollback for the record in the store, as the operator gives it to the Jobs."""

import json
import uuid
from pathlib import Path

from ocore_crds import naming
from ocore_crds.protocol import Failure
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.rollback_record import RecordState, RollbackRecord, RollbackRun
from ocore_mover.store import Store

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


def write(
    store: Store,
    run: RollbackRun,
    state: RecordState,
    at: str,
    evidence: Evidence | None = None,
    failure: Failure | None = None,
) -> None:
    """One object of the record, written at that time."""
    record = RollbackRecord(state=state, run=run, time=at, evidence=evidence, failure=failure)
    names = (run.environment_id, run.name, run.spec_hash, run.uid, run.attempt)
    data = json.dumps(record.wire(), indent=1).encode() + b"\n"
    assert store.put_if_absent(naming.rollback_record_key(*names, state), data)
