"""Which rollbacks an Environment remembers (status.executedRollbacks), so that none runs twice. Pure."""

import hashlib
import json

from ocore_crds.environment import ExecutedRollback
from ocore_crds.rollback import RollbackSpec
from ocore_crds.rollback_record import RollbackRun
from ocore_operator.kube.resources import Environment, Rollback

#: Number of rollbacks that an Environment remembers.
REMEMBERED = 50


def spec_hash(spec: RollbackSpec) -> str:
    """Identifies what a Rollback asks for. Defaults are left out: a field that a later version adds must not make an old rollback a new one."""
    data = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def executed(environment: Environment, rollback: Rollback) -> bool:
    """Whether the Environment remembers a rollback of this name and specification."""
    name, hashed = rollback.meta.name, spec_hash(rollback.spec)
    return any(e.name == name and e.spec_hash == hashed for e in environment.status.executed_rollbacks)


def remembered(environment: Environment, rollback: Rollback, now: str) -> tuple[ExecutedRollback, ...]:
    """The Environment's list with this rollback, the newest last."""
    entry = ExecutedRollback(
        name=rollback.meta.name,
        spec_hash=spec_hash(rollback.spec),
        id=rollback.id,
        completed_at=rollback.status.switched_at or now,
    )
    others = [e for e in environment.status.executed_rollbacks if e.id != entry.id]
    return tuple(sorted([*others, entry], key=lambda e: e.completed_at)[-REMEMBERED:])


def run_of(rollback: Rollback) -> RollbackRun:
    """What the rollback's Jobs write to its record in the store, for a cluster that is rebuilt. The Job sets the attempt. The rollback has started."""
    status = rollback.status
    return RollbackRun(
        name=rollback.meta.name,
        spec_hash=spec_hash(rollback.spec),
        uid=rollback.meta.uid,
        rollback_id=rollback.id,
        environment_id=status.environment_id or "",
        snapshot_id=status.snapshot_id or "",
        manifest_sha256=status.manifest_sha256 or "",
        attempt="0",
    )
