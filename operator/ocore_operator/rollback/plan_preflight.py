"""The checks before a rollback touches anything. Pure: each returns what it found and what to do about it.

GitOps applies a Rollback together with the objects that it names, in no order. So a missing object may still appear for a minute.
"""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.quantity import human
from ocore_crds.rollback import PreflightWarning, RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.reconcile_loop import Note
from ocore_operator.rollback import plan_undo, source
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.preflight_warnings import warnings
from ocore_operator.rollback.transitions import already_executed, change, failing, start, start_undo
from ocore_operator.rollback.world import (
    AcquireLock,
    Action,
    AskProbe,
    Do,
    EnvironmentView,
    Record,
    SnapshotView,
    UndoneView,
    Wait,
    World,
)
from ocore_operator.workloads.view import labels

#: Seconds in which a missing object may still appear.
APPEAR_SECONDS = 60
#: Seconds for a probe from its request to its end: its Job's start deadline, and its own.
PROBE_SECONDS = 180
#: Space for the restored copy and for building its indexes, as a multiple of the database's size in the manifest.
SPACE_FACTOR = 1.5


def preflight(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Checks, takes the operation lock, checks what another operation may have changed, then starts."""
    if world.executed_before:
        text = "A rollback of this name and specification has run before. Nothing was done."
        return Record(already_executed(status, now), (Note("Normal", c.ALREADY_EXECUTED, text),))
    if world.deleting:
        return _refuse(status, Refusal(c.CANCELLED, "The Rollback was deleted before it started."), now)
    refusal = _expired(spec, now) or _duplicate(world)
    if spec.undo is not None:
        refusal = refusal or plan_undo.refusal(spec, world, now) or _workloads(world)
    else:
        refusal = refusal or source.unreachable(spec, world) or _named(spec, world) or _fits(spec, world)
    if refusal is not None and refusal.patience and _queued(status, now) < APPEAR_SECONDS:
        return Wait(2, _waiting_reason(refusal), refusal.message)
    if refusal is not None:
        return _refuse(status, refusal, now)
    if world.snapshot is not None and source.unclaimed(status, world):
        return Record(change(status, **source.claim(world, world.snapshot)))
    if world.lock.state == "Other":
        return Wait(15, c.WAITING_FOR_OPERATION, f"Waiting for {world.lock.holder}, which has locked the environment.")
    if world.lock.state == "Free":
        return Do(AcquireLock())
    return _locked(status, spec, world, now)


def _locked(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    environment, snapshot = world.environment, world.snapshot
    if environment is not None and world.undone is not None:
        return _start_undo(status, spec, environment, world.undone, now)
    if environment is None or snapshot is None:  # pragma: no cover - _named refuses these
        raise AssertionError("_named is checked before the operation lock is taken")
    since = world.lock.since or world.created
    if environment.not_ready_reason == c.DUPLICATE_TARGET:  # it is not probed
        return _refuse(status, Refusal(c.DUPLICATE_TARGET, environment.not_ready_message), now)
    if environment.probed_at is None or environment.probed_at < since:
        return _probe(status, environment, world, since, now)
    refusal = _ready(environment, spec) or _versions(environment, snapshot) or _space(environment, snapshot)
    if refusal is not None:
        return _refuse(status, refusal, now)
    text = f"Restoring snapshot {snapshot.name} beside environment {environment.name}."
    found = warnings(world)
    if environment.proof_failed:
        found = (*found, PreflightWarning(reason=c.PROOF_FAILED, message=environment.proof_failed))
    notes = (Note("Normal", "Started", text), *(Note("Warning", w.reason, w.message) for w in found))
    fresh = change(start(status, spec, environment, snapshot, now), **source.recorded(world, snapshot))
    return Record(change(fresh, warnings=found), notes)


def _start_undo(
    status: RollbackStatus, spec: RollbackSpec, environment: EnvironmentView, undone: UndoneView, now: datetime
) -> Action:
    """Without a probe: an undo restores nothing, and its switch Job checks sessions, rights and replication before the workloads are stopped."""
    if environment.not_ready_reason == c.DUPLICATE_TARGET:
        return _refuse(status, Refusal(c.DUPLICATE_TARGET, environment.not_ready_message), now)
    text = f"Undoing Rollback {undone.name} of environment {environment.name}."
    fresh = start_undo(status, spec, environment, undone, now)
    return Record(fresh, (Note("Normal", "Started", text),))


def _probe(
    status: RollbackStatus, environment: EnvironmentView, world: World, since: datetime, now: datetime
) -> Action:
    if (now - max(since, world.watched_since or since)).total_seconds() > PROBE_SECONDS:
        why = environment.not_ready_message or "see the Jobs with the label ocore.dev/command=probe"
        message = f"No probe of environment {environment.name} ended within {PROBE_SECONDS} s: {why}"
        return _refuse(status, Refusal(c.ENVIRONMENT_NOT_READY, message), now)
    if not world.probe_asked:
        return Do(AskProbe())
    return Wait(2, c.WAITING_FOR_ENVIRONMENT, f"Waiting for a probe of environment {environment.name}.")


def _refuse(status: RollbackStatus, refusal: Refusal, now: datetime) -> Record:
    note = Note("Warning", refusal.reason, refusal.message)
    return Record(failing(status, refusal.reason, refusal.message, now), (note,))


def _queued(status: RollbackStatus, now: datetime) -> float:
    """Seconds since the rollback was first observed."""
    return (now - parse(status.queued_at)).total_seconds() if status.queued_at else 0.0


def _waiting_reason(refusal: Refusal) -> str:
    snapshot = refusal.reason in (c.SNAPSHOT_NOT_FOUND, c.SNAPSHOT_NOT_COMPLETE, c.ACCESS_NOT_GRANTED)
    return c.WAITING_FOR_SNAPSHOT if snapshot else c.WAITING_FOR_ENVIRONMENT


def _expired(spec: RollbackSpec, now: datetime) -> Refusal | None:
    if spec.not_after is None or now <= parse(spec.not_after):
        return None
    return Refusal(c.EXPIRED, f"notAfter ({spec.not_after}) has passed. Create a new Rollback if you still want it.")


def _duplicate(world: World) -> Refusal | None:
    """Databases and folders are named by the id: two rollbacks with the same id would use the same ones."""
    if not world.duplicate_of:
        return None
    return Refusal(
        c.DUPLICATE_ID,
        f"Rollback {world.duplicate_of} has the same id. Set another spec.id, or none, in a new Rollback.",
    )


def _named(spec: RollbackSpec, world: World) -> Refusal | None:
    """Snapshot and Environment exist, and the Snapshot is restorable."""
    snapshot, environment = world.snapshot, world.environment
    if snapshot is None:
        name = spec.snapshot_ref.name if spec.snapshot_ref is not None else ""
        text = f"There is no Snapshot {name} in this namespace. Correct snapshotRef in a new Rollback."
        return Refusal(c.SNAPSHOT_NOT_FOUND, text, patience=True)
    if not snapshot.complete:
        text = f"Snapshot {snapshot.name} is not Complete, so it cannot be restored. Choose one that is Complete."
        return Refusal(c.SNAPSHOT_NOT_COMPLETE, text, patience=not snapshot.failed)
    if snapshot.broken:
        text = f"Snapshot {snapshot.name} is damaged: {snapshot.broken} Choose another one."
        return Refusal(c.VERIFICATION_FAILED, text)
    if environment is None or environment.id is None:
        text = f"Environment {world.environment_name}, of which snapshot {snapshot.name} was taken, does not exist. Create it."
        if spec.target_environment_ref is not None:
            text = f"Environment {world.environment_name}, the target, does not exist in this namespace. Create it, or correct targetEnvironmentRef."
        return Refusal(c.ENVIRONMENT_NOT_FOUND, text, patience=True)
    return None


def _fits(spec: RollbackSpec, world: World) -> Refusal | None:
    """Snapshot and Environment belong together, and the workloads exist."""
    snapshot, environment = world.snapshot, world.environment
    if snapshot is None or environment is None:  # pragma: no cover - _named refuses these
        return None
    if snapshot.project_id != environment.project_id:
        text = (
            f"Snapshot {snapshot.name} belongs to project {snapshot.project_id}, environment {environment.name} to "
            f"{environment.project_id}. A rollback stays within a project."
        )
        return Refusal(c.OTHER_PROJECT, text)
    return source.misfit(spec, world, snapshot, environment) or _workloads(world)


def _workloads(world: World) -> Refusal | None:
    missing = [w for w in world.workloads if not w.exists]
    if missing:
        text = f"{labels(missing)} of environment {world.environment_name} does not exist. Create it or correct spec.workloads."
        return Refusal(c.WORKLOAD_NOT_FOUND, text, patience=True)
    return None


def _ready(environment: EnvironmentView, spec: RollbackSpec) -> Refusal | None:
    if environment.rollback_ready:
        return None
    if environment.not_ready_reason == c.REPLICATION_ACTIVE and spec.allow_replication_loss:
        return _replication_rights(environment)
    reason = environment.not_ready_reason or c.ENVIRONMENT_NOT_READY
    message = environment.not_ready_message or "its condition RollbackReady is not True"
    return Refusal(reason, f"Environment {environment.name} is not ready for a rollback: {message}")


def _replication_rights(environment: EnvironmentView) -> Refusal | None:
    if not environment.replication_rights:
        return None
    text = (
        f"Logical replication of environment {environment.name} cannot be ended: {' '.join(environment.replication_rights)} "
        "Then create a new Rollback."
    )
    return Refusal(c.MISSING_GRANTS, text)


def _versions(environment: EnvironmentView, snapshot: SnapshotView) -> Refusal | None:
    if environment.server_major >= snapshot.server_major:
        return None
    text = (
        f"Snapshot {snapshot.name} was dumped from PostgreSQL {snapshot.server_major}; the server of {environment.name} is "
        f"{environment.server_major}. A dump cannot be restored into an older server: upgrade the server, or choose an older snapshot."
    )
    return Refusal(c.UNSUPPORTED_SERVER, text)


def _space(environment: EnvironmentView, snapshot: SnapshotView) -> Refusal | None:
    """The database volume holds both databases: a full disk would stop the live one."""
    if not environment.has_database or snapshot.database_bytes == 0:
        return None
    if environment.capacity is None:
        text = (
            f"The capacity of the database volume of {environment.name} is unknown, so a restore might fill it. "
            "Set spec.database.capacity of the Environment, for example 100Gi."
        )
        return Refusal(c.CAPACITY_UNKNOWN, text)
    wanted = int(snapshot.database_bytes * SPACE_FACTOR)
    total = environment.used_bytes + wanted
    if total <= environment.capacity:
        return None
    text = (
        f"The server uses {human(environment.used_bytes)} and the restored copy needs up to {human(wanted)} "
        f"({SPACE_FACTOR} times {human(snapshot.database_bytes)}): {human(total)} together, but the volume holds "
        f"{human(environment.capacity)} (spec.database.capacity). Free or add at least {human(total - environment.capacity)}."
    )
    return Refusal(c.INSUFFICIENT_CAPACITY, text)
