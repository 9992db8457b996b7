"""What a rollback reads from its Environment and its Snapshot, as the plan sees it. Pure."""

import hashlib
import json

from ocore_crds import conditions as c
from ocore_crds import quantity
from ocore_crds.environment import ExecutedRollback
from ocore_crds.rollback import RollbackSpec
from ocore_operator import clock, operation_lock
from ocore_operator.kube.resources import Environment, Rollback, Snapshot
from ocore_operator.rollback.world import EnvironmentView, OperationLock, SnapshotView

#: Rollbacks that an Environment remembers.
REMEMBERED = 50


def spec_hash(spec: RollbackSpec) -> str:
    """Names what a Rollback asks for. Defaults are left out: a field that a later version adds must not make an old rollback a new one."""
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


def environment_view(environment: Environment, rollback: Rollback) -> EnvironmentView:
    """The target."""
    spec, status, generation = environment.spec, environment.status, environment.meta.generation
    ready = c.find(status.conditions, c.ROLLBACK_READY)
    probe = status.probe if status.probe is not None and status.probe.generation == generation else None
    database = spec.database
    return EnvironmentView(
        name=environment.meta.name,
        id=status.id,
        project_id=spec.project_id,
        workloads=tuple((w.kind, w.name) for w in spec.workloads),
        has_database=database is not None,
        capacity=quantity.parse(database.capacity) if database is not None and database.capacity is not None else None,
        probed_at=clock.parse(probe.started_at or probe.time) if probe is not None else None,
        server_major=probe.server_major if probe is not None else 0,
        database_name=probe.database_name if probe is not None else "",
        used_bytes=probe.database_used_bytes if probe is not None else 0,
        rollback_ready=ready is not None and ready.status == "True" and status.observed_generation == generation,
        not_ready_reason=ready.reason if ready is not None and ready.status != "True" else "",
        not_ready_message=ready.message if ready is not None and ready.status != "True" else "",
        executed=any(e.id == rollback.id for e in status.executed_rollbacks),
    )


def snapshot_view(snapshot: Snapshot) -> SnapshotView:
    """What is restored."""
    status = snapshot.status
    verified = c.find(status.conditions, c.VERIFIED)
    source, sizes = status.source, status.sizes
    return SnapshotView(
        name=snapshot.meta.name,
        id=status.id,
        complete=c.is_true(status.conditions, c.COMPLETE),
        failed=c.is_true(status.conditions, c.FAILED),
        broken=verified.message if verified is not None and verified.status == "False" else "",
        environment_id=source.environment_id if source is not None else "",
        project_id=source.project_id if source is not None else "",
        manifest_sha256=status.manifest_sha256 or "",
        server_major=status.server_major or 0,
        database_bytes=sizes.database_bytes if sizes is not None else 0,
    )


def lock_view(environment: Environment | None, rollback: Rollback) -> OperationLock:
    """Who holds the environment."""
    operation = environment.status.operation if environment is not None else None
    if environment is None or operation is None:
        return OperationLock()
    ours = operation_lock.is_held_by(environment, rollback)
    return OperationLock(
        "Ours" if ours else "Other", f"{operation.kind} {operation.name}", clock.parse(operation.since)
    )
