"""The checks before a rollback touches anything. Pure: every one tells what it found and what to do about it.

A Rollback may be applied together with what it names (GitOps orders nothing), so what is missing may still come for a minute.
"""

from dataclasses import dataclass
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.quantity import human
from ocore_crds.rollback import RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.rollback.transitions import already_executed, failing, start
from ocore_operator.rollback.world import (
    AcquireLock,
    Action,
    AskProbe,
    Do,
    EnvironmentView,
    Note,
    Record,
    SnapshotView,
    Wait,
    World,
)

#: Seconds in which what the Rollback names may still arrive.
APPEAR_SECONDS = 60
#: Seconds that a probe may take from the moment it was asked for: its Job's start deadline, and its own.
PROBE_SECONDS = 180
#: The restored copy and its indexes while they are built, as a multiple of the live database's size in the manifest.
SPACE_FACTOR = 1.5


@dataclass(frozen=True)
class Refusal:
    """Why a rollback may not start; `patience` where waiting a little may mend it."""

    reason: str
    message: str
    patience: bool = False


def preflight(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Checks, takes the hold, checks again what another operation may have changed, starts."""
    if world.executed_before:
        note = Note(
            "Normal", c.ALREADY_EXECUTED, "A rollback of this name and specification has run before; nothing is done."
        )
        return Record(already_executed(status, now), (note,))
    if world.deleting:
        return _refuse(status, Refusal(c.CANCELLED, "The rollback was deleted before it started."), now)
    refusal = _expired(spec, now) or _duplicate(world) or _named(spec, world) or _fits(world)
    if refusal is not None and refusal.patience and _queued(status, now) < APPEAR_SECONDS:
        return Wait(2, _waiting_reason(refusal), refusal.message)
    if refusal is not None:
        return _refuse(status, refusal, now)
    if world.lock.state == "Other":
        return Wait(15, c.WAITING_FOR_OPERATION, f"Waits for {world.lock.holder}, which holds the environment.")
    if world.lock.state == "Free":
        return Do(AcquireLock())
    return _under_the_hold(status, spec, world, now)


def _under_the_hold(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    environment, snapshot = world.environment, world.snapshot
    if environment is None or snapshot is None:  # pragma: no cover - _named has seen to it
        raise AssertionError("checked before the hold was taken")
    since = world.lock.since or world.created
    if environment.probed_at is None or environment.probed_at < since:
        return _probe(status, environment, world, since, now)
    refusal = _ready(environment) or _versions(environment, snapshot) or _space(environment, snapshot)
    if refusal is not None:
        return _refuse(status, refusal, now)
    message = f"Restores snapshot {snapshot.name} beside environment {environment.name}."
    return Record(start(status, spec, environment, snapshot, now), (Note("Normal", "Started", message),))


def _probe(
    status: RollbackStatus, environment: EnvironmentView, world: World, since: datetime, now: datetime
) -> Action:
    if (now - max(since, world.watched_since or since)).total_seconds() > PROBE_SECONDS:
        why = environment.not_ready_message or "see the Jobs with the label ocore.dev/command=probe"
        message = f"No probe of environment {environment.name} has ended within {PROBE_SECONDS} s: {why}"
        return _refuse(status, Refusal(c.ENVIRONMENT_NOT_READY, message), now)
    if not world.probe_asked:
        return Do(AskProbe())
    return Wait(2, c.WAITING_FOR_ENVIRONMENT, f"Waits for a probe of environment {environment.name}.")


def _refuse(status: RollbackStatus, refusal: Refusal, now: datetime) -> Record:
    note = Note("Warning", refusal.reason, refusal.message)
    return Record(failing(status, refusal.reason, refusal.message, now), (note,))


def _queued(status: RollbackStatus, now: datetime) -> float:
    """Seconds since the rollback was first seen."""
    return (now - parse(status.queued_at)).total_seconds() if status.queued_at else 0.0


def _waiting_reason(refusal: Refusal) -> str:
    snapshot = refusal.reason in (c.SNAPSHOT_NOT_FOUND, c.SNAPSHOT_NOT_COMPLETE)
    return c.WAITING_FOR_SNAPSHOT if snapshot else c.WAITING_FOR_ENVIRONMENT


def _expired(spec: RollbackSpec, now: datetime) -> Refusal | None:
    if spec.not_after is None or now <= parse(spec.not_after):
        return None
    return Refusal(
        c.EXPIRED, f"notAfter, {spec.not_after}, has passed. Create a new Rollback where it is still wanted."
    )


def _duplicate(world: World) -> Refusal | None:
    """Databases and folders are named by the id: two rollbacks with the same one would take them from each other."""
    if not world.duplicate_of:
        return None
    return Refusal(
        c.DUPLICATE_ID, f"Rollback {world.duplicate_of} has the same id. Give this one another spec.id, or none."
    )


def _named(spec: RollbackSpec, world: World) -> Refusal | None:
    """What the Rollback names is there."""
    snapshot, environment = world.snapshot, world.environment
    if snapshot is None:
        text = (
            f"There is no Snapshot {spec.snapshot_ref.name} in this namespace. Correct snapshotRef in a new Rollback."
        )
        return Refusal(c.SNAPSHOT_NOT_FOUND, text, patience=True)
    if not snapshot.complete:
        text = f"Snapshot {snapshot.name} is not Complete, so it cannot be restored. Choose one that is."
        return Refusal(c.SNAPSHOT_NOT_COMPLETE, text, patience=not snapshot.failed)
    if snapshot.broken:
        text = f"Snapshot {snapshot.name} is damaged: {snapshot.broken} Choose another one."
        return Refusal(c.VERIFICATION_FAILED, text)
    if environment is None or environment.id is None:
        text = f"Environment {world.environment_name}, which snapshot {snapshot.name} was taken of, is not there."
        return Refusal(c.ENVIRONMENT_NOT_FOUND, text, patience=True)
    return None


def _fits(world: World) -> Refusal | None:
    """Snapshot and Environment belong together, and the workloads are there."""
    snapshot, environment = world.snapshot, world.environment
    if snapshot is None or environment is None:  # pragma: no cover - _named has seen to it
        return None
    if snapshot.project_id != environment.project_id:
        text = (
            f"Snapshot {snapshot.name} belongs to project {snapshot.project_id}, environment {environment.name} to "
            f"{environment.project_id}. A rollback stays within a project."
        )
        return Refusal(c.OTHER_PROJECT, text)
    if snapshot.environment_id != environment.id:
        text = (
            f"Snapshot {snapshot.name} was taken of the environment with id {snapshot.environment_id}; {environment.name} has id "
            f"{environment.id}. Give the Environment that id where it is the same one, rebuilt."
        )
        return Refusal(c.OTHER_ENVIRONMENT, text)
    missing = [w.label for w in world.workloads if not w.exists]
    if missing:
        text = (
            f"{', '.join(missing)} of environment {environment.name} is not there. Create it or correct spec.workloads."
        )
        return Refusal(c.WORKLOAD_NOT_FOUND, text, patience=True)
    return None


def _ready(environment: EnvironmentView) -> Refusal | None:
    if environment.rollback_ready:
        return None
    reason = environment.not_ready_reason or c.ENVIRONMENT_NOT_READY
    message = environment.not_ready_message or "its condition RollbackReady is not True"
    return Refusal(reason, f"Environment {environment.name} is not ready for a rollback: {message}")


def _versions(environment: EnvironmentView, snapshot: SnapshotView) -> Refusal | None:
    if environment.server_major >= snapshot.server_major:
        return None
    text = (
        f"Snapshot {snapshot.name} was dumped from PostgreSQL {snapshot.server_major}; the server of {environment.name} is "
        f"{environment.server_major}. A dump is not restored into an older server: upgrade it, or choose an older snapshot."
    )
    return Refusal(c.UNSUPPORTED_SERVER, text)


def _space(environment: EnvironmentView, snapshot: SnapshotView) -> Refusal | None:
    """Filling production's disk would stop it, so a rollback that may do so is refused before it starts."""
    if not environment.has_database or snapshot.database_bytes == 0:
        return None
    if environment.capacity is None:
        text = (
            f"Nobody said how much the database volume of {environment.name} holds, so a restore might fill it. "
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
