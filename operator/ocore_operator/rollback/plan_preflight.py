"""The checks before a rollback touches anything. Pure: each returns what it found and what to do about it.

GitOps applies a Rollback together with the objects that it names, in no order. So a missing object may still appear for
a minute.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.resources.environment import ProbeStatus
from ocore_crds.resources.preview import NEVER
from ocore_crds.resources.rollback import PreflightWarning, RollbackSpec, RollbackStatus
from ocore_crds.text.quantity import human
from ocore_operator import encryption, sources
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Note, Record, SetLock, Wait
from ocore_operator.kube.resources import Environment, Snapshot, project_of
from ocore_operator.rollback import neutralizing, plan_image, plan_safety, plan_undo, remote_source, source
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.preflight_warnings import warnings
from ocore_operator.rollback.snapshot_and_environment import (
    capacity_of,
    database_bytes,
    has_target_of_another,
    is_complete,
    is_rollback_ready,
    is_snapshot_ready,
    not_ready,
    probe_of,
    probed_at,
    server_read,
    taken_of,
)
from ocore_operator.rollback.transitions import already_executed, change, failing, join, passed, start_undo
from ocore_operator.rollback.world import Action, AskProbe, Do, UndoneView, World
from ocore_operator.workloads.quiesce import loses
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
    refusal = _first(_of_names(spec, world, now))
    if refusal is not None and refusal.patience and _queued(status, now) < APPEAR_SECONDS:
        return Wait(2, _waiting_reason(refusal), refusal.message)
    if refusal is not None:
        return _refuse(status, refusal, now)
    if world.snapshot is not None and source.unclaimed(status, world):
        return Record(change(status, **source.claim(world, world.snapshot)))
    if world.lock.state == "Other":
        return Wait(15, c.WAITING_FOR_OPERATION, f"Waiting for {world.lock.holder}, which has locked the environment.")
    if world.lock.state == "Free" and (status.environment_name or "") != world.environment_name:
        # What names the Environment may be deleted while the lock is held.
        return Record(change(status, environment_name=world.environment_name))
    if world.lock.state == "Free":
        return Do(SetLock(held=True))
    return _locked(status, spec, world, now)


def refusals(spec: RollbackSpec, world: World, now: datetime, *, probed: bool | None) -> tuple[Refusal, ...]:
    """Everything that :func:`preflight` would refuse the rollback for, the first one first. A preview lists it.
    `probed`: the Environment shows what a probe has found just now; False: none ended in time; None: none was waited
    for."""
    environment, snapshot = world.environment, world.snapshot
    found: list[Refusal | None] = []
    if world.executed_before:
        text = (
            "A rollback of this name and specification has run before, so this one would do nothing. Use another name."
        )
        found.append(Refusal(c.ALREADY_EXECUTED, text))
    found.extend(_of_names(spec, world, now))
    if environment is not None and has_target_of_another(environment):
        found.append(duplicate_target(environment))
    elif environment is not None and snapshot is not None and probed:
        found.extend(of_probe(spec, world, environment, snapshot))
    elif environment is not None and probed is False:
        found.append(_unprobed(environment, world))
    return tuple(refusal for refusal in found if refusal is not None)


def _of_names(spec: RollbackSpec, world: World, now: datetime) -> Iterator[Refusal | None]:
    """Checks of the objects, before the operation lock, in their order. A new check belongs here or into
    :func:`of_probe`, so that a preview lists it."""
    yield _expired(spec, now)
    yield _duplicate(world)
    if spec.undo is not None:
        yield plan_undo.refusal(spec, world, now)
    else:
        yield source.unreachable(spec, world)
        yield _named(spec, world)
        yield closed(spec, world)
        yield _existing(spec, world)
        yield _project(world)
        yield from _source(spec, world)
    yield _workloads(world)


def of_probe(
    spec: RollbackSpec, world: World, environment: Environment, snapshot: Snapshot
) -> Iterator[Refusal | None]:
    """Checks of what a probe under the operation lock has found."""
    refusal, probe = _ready(environment, spec), server_read(environment)
    if environment.spec.database is None:
        yield refusal or _no_database(environment, snapshot)
    elif probe is None:
        yield refusal or Refusal(c.DATABASE_UNREACHABLE, _unreachable(environment, "The last probe has not read it"))
    else:
        yield refusal
        yield _versions(environment, snapshot, probe)
        yield _space(environment, snapshot, probe)
    yield plan_safety.refusal(spec, environment)
    yield plan_image.refusal(spec, snapshot, world)


def _first(found: Iterable[Refusal | None]) -> Refusal | None:
    return next((refusal for refusal in found if refusal is not None), None)


def found_warnings(spec: RollbackSpec, world: World) -> tuple[PreflightWarning, ...]:
    """What blocks nothing."""
    environment, snapshot = world.environment, world.snapshot
    if environment is None or snapshot is None:
        return warnings(world)
    image = plan_image.wanted(spec, snapshot)
    found = (
        *neutralizing.warnings(spec, environment, snapshot, world.workloads),
        *warnings(world, image),
        *plan_image.warnings(image, world),
        *remote_source.warning(world.source.remote),
    )
    reason, message = not_ready(environment)
    if reason == c.PROOF_FAILED:
        found = (*found, PreflightWarning(reason=reason, message=message))
    return found


def is_probed(environment: Environment, since: datetime) -> bool:
    """Whether a probe that began at `since` or later has ended."""
    probed = probed_at(environment)
    return probed is not None and probed >= since


def _locked(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    environment, snapshot = world.environment, world.snapshot
    if environment is not None and world.undone is not None:
        return _start_undo(status, spec, environment, world.undone, now)
    if environment is None or snapshot is None:  # pragma: no cover - _of_names refuses these
        raise AssertionError("_of_names is checked before the operation lock is taken")
    since = world.lock.since or world.created
    if has_target_of_another(environment):  # it is not probed
        return _refuse(status, duplicate_target(environment), now)
    plan = neutralizing.planned(spec, environment, snapshot, world.workloads)
    joined = change(join(status, spec, environment, snapshot, now, plan), **source.recorded(world, snapshot))
    if not is_probed(environment, since) and may_join(spec, world, environment, snapshot):
        return Record(joined)
    if not is_probed(environment, since):
        asked = probe(environment, world, since, PROBE_SECONDS, now)
        return _refuse(status, asked, now) if isinstance(asked, Refusal) else asked
    refusal = _first(of_probe(spec, world, environment, snapshot))
    if refusal is not None:
        return _refuse(status, refusal, now)
    found = found_warnings(spec, world)
    fresh = change(passed(joined, spec, now), warnings=found, image=plan_image.wanted(spec, snapshot))
    return Record(fresh, started_notes(environment, snapshot, found))


def may_join(spec: RollbackSpec, world: World, environment: Environment, snapshot: Snapshot) -> bool:
    """Whether the restore's Job makes the preflight, too (plan_joined.py): the last probe, of the present spec, has
    found nothing at all, and the Job mounts what a probe does, and no volume that must be made first, and its log can
    be read. Else a probe of its own answers sooner."""
    in_place = world.source.store is None and world.source.remote is None and not world.source.namespace
    clean = probe_of(environment) is not None and is_rollback_ready(environment) and is_snapshot_ready(environment)
    return (
        clean
        and in_place
        and not world.logs_unreadable
        and environment.spec.scratch.storage_class_name is None
        and environment.spec.store_ref.name == snapshot.status.store_name
        and _first(of_probe(spec, world, environment, snapshot)) is None
    )


def started_notes(environment: Environment, snapshot: Snapshot, found: Iterable[PreflightWarning]) -> tuple[Note, ...]:
    """That the preflight has passed, and with which warnings."""
    text = f"Restoring snapshot {snapshot.meta.name} beside environment {environment.meta.name}."
    return Note("Normal", "Started", text), *(Note("Warning", w.reason, w.message) for w in found)


def _start_undo(
    status: RollbackStatus, spec: RollbackSpec, environment: Environment, undone: UndoneView, now: datetime
) -> Action:
    """Without a probe: an undo restores nothing, and its switch Job checks sessions, rights and replication before the
    workloads are stopped."""
    if has_target_of_another(environment):
        return _refuse(status, duplicate_target(environment), now)
    text = f"Undoing Rollback {undone.name} of environment {environment.meta.name}."
    fresh = start_undo(status, spec, environment, undone, now)
    if fresh.undo is not None:
        workloads = plan_image.for_undo(undone.status)
        fresh = change(fresh, undo=fresh.undo.model_copy(update={"workloads": workloads}))
    return Record(fresh, (Note("Normal", "Started", text),))


def probe(environment: Environment, world: World, since: datetime, limit: float, now: datetime) -> Do | Wait | Refusal:
    """A probe of its own, which has `limit` seconds from `since` on."""
    if (now - max(since, world.watched_since or since)).total_seconds() > limit:
        return _unprobed(environment, world)
    if not world.probe_asked:
        return Do(AskProbe())
    return Wait(2, c.WAITING_FOR_ENVIRONMENT, waits_for_probe(environment.meta.name, world))


def waits_for_probe(name: str, world: World) -> str:
    """That a probe is waited for, and why it does not run yet."""
    return f"Waiting for a probe of environment {name}{f': {world.probe_waits}' if world.probe_waits else '.'}"


def _unprobed(environment: Environment, world: World) -> Refusal:
    why = world.probe_waits or not_ready(environment)[1] or "see the Jobs with the label ocore.dev/command=probe"
    message = f"No probe of environment {environment.meta.name} ended within {PROBE_SECONDS} s: {why}"
    return Refusal(c.ENVIRONMENT_NOT_READY, message)


def duplicate_target(environment: Environment) -> Refusal:
    """Another Environment has its database or filestore."""
    return Refusal(*not_ready(environment))


def _refuse(status: RollbackStatus, refusal: Refusal, now: datetime) -> Record[RollbackStatus]:
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
    if spec.dry_run and spec.not_after == NEVER:  # it is for operators that do not know dryRun
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
    """The Snapshot exists and is restorable."""
    snapshot = world.snapshot
    if snapshot is None and world.source.namespace:
        return None  # source.unreachable reports it
    if snapshot is None:
        name = spec.snapshot_ref.name if spec.snapshot_ref is not None else ""
        text = f"There is no Snapshot {name} in this namespace. Correct snapshotRef in a new Rollback."
        return Refusal(c.SNAPSHOT_NOT_FOUND, text, patience=True)
    if not is_complete(snapshot):
        text = f"Snapshot {snapshot.meta.name} is not Complete, so it cannot be restored. Choose one that is Complete."
        return Refusal(c.SNAPSHOT_NOT_COMPLETE, text, patience=not c.is_true(snapshot.status.conditions, c.FAILED))
    damage = sources.damage_of(snapshot)
    if damage is not None and not remote_source.is_readable(world, snapshot):
        text = f"Snapshot {snapshot.meta.name} is damaged: {damage} Choose another one."
        return Refusal(c.VERIFICATION_FAILED, text)
    if world.source.other_store:
        text = f"Snapshot {snapshot.meta.name} cannot be read: {world.source.other_store}"
        return Refusal(c.OTHER_STORE, text, patience=True)
    if world.source.corrupt_base and not remote_source.is_readable(world, snapshot):
        text = (
            f"Snapshot {snapshot.meta.name} is a differential, and {world.source.corrupt_base}, the full Snapshot that"
            " it needs, is corrupt. Choose another one that does not need it."
        )
        return Refusal(c.VERIFICATION_FAILED, text)
    return None


def closed(spec: RollbackSpec, world: World) -> Refusal | None:
    """The Snapshot is encrypted, and nothing is named that opens it."""
    snapshot = world.snapshot
    if snapshot is None:
        return None
    own = world.source.into if world.source.namespace else snapshot.meta.namespace
    if not encryption.is_closed(snapshot, spec.identity_secret_ref, own):
        return None
    return Refusal(c.IDENTITY_MISSING, encryption.identity_missing(snapshot, "a new Rollback"))


def _existing(spec: RollbackSpec, world: World) -> Refusal | None:
    """The Environment of the Snapshot exists."""
    snapshot, environment = world.snapshot, world.environment
    if snapshot is not None and (environment is None or environment.status.id is None):
        text = (
            f"Environment {world.environment_name}, of which snapshot {snapshot.meta.name} was taken, does not exist."
            " Create it."
        )
        if spec.target_environment_ref is not None:
            text = (
                f"Environment {world.environment_name}, the target, does not exist in this namespace. Create it, or"
                " correct targetEnvironmentRef."
            )
        return Refusal(c.ENVIRONMENT_NOT_FOUND, text, patience=True)
    return None


def _project(world: World) -> Refusal | None:
    """Snapshot and Environment are of one project."""
    snapshot, environment = world.snapshot, world.environment
    if snapshot is None or environment is None or not is_complete(snapshot):  # what it was taken of is not known yet
        return None
    ours, theirs = project_of(environment), taken_of(snapshot).project_id
    if theirs != ours:
        text = (
            f"Snapshot {snapshot.meta.name} belongs to project {theirs}, environment {environment.meta.name} to"
            f" {ours}. A rollback stays within a project."
        )
        return Refusal(c.OTHER_PROJECT, text)
    return None


def _source(spec: RollbackSpec, world: World) -> Iterator[Refusal | None]:
    """The Snapshot may be restored into this Environment, and can be read."""
    snapshot, environment = world.snapshot, world.environment
    if snapshot is not None and environment is not None and environment.status.id is not None and is_complete(snapshot):
        yield from source.misfits(spec, world, snapshot, environment)


def _workloads(world: World) -> Refusal | None:
    refusal = next((w.refusal for w in world.workloads if w.refusal is not None), None)
    if refusal is not None:
        return Refusal(refusal.reason, refusal.message, patience=True)
    lost = loses(world.workloads)
    if lost is not None:
        return Refusal(lost.reason, lost.message)
    missing = [w for w in world.workloads if not w.exists]
    if missing:
        text = (
            f"{labels(missing)} of environment {world.environment_name} does not exist. Create it or correct"
            " spec.workloads."
        )
        return Refusal(c.WORKLOAD_NOT_FOUND, text, patience=True)
    return None


def _ready(environment: Environment, spec: RollbackSpec) -> Refusal | None:
    if is_rollback_ready(environment):
        return None
    reason, message = not_ready(environment)
    if reason == c.REPLICATION_ACTIVE and spec.allow_replication_loss:
        return _replication_rights(environment)
    if reason == c.DATABASE_UNREACHABLE:
        return Refusal(reason, _unreachable(environment, message))
    reason, message = reason or c.ENVIRONMENT_NOT_READY, message or "its condition RollbackReady is not True"
    return Refusal(reason, f"Environment {environment.meta.name} is not ready for a rollback: {message}")


def _unreachable(environment: Environment, message: str) -> str:
    return (
        f"The database server of environment {environment.meta.name} cannot be reached: {message.rstrip('.')}. Check"
        " the host and port in its Secret, the Service and the network policies, then create a new Rollback."
    )


def _no_database(environment: Environment, snapshot: Snapshot) -> Refusal | None:
    if not snapshot.status.server_major:
        return None
    text = (
        f"Snapshot {snapshot.meta.name} has a database, and environment {environment.meta.name} names none. Set"
        " spec.database of the Environment, or choose another snapshot."
    )
    return Refusal(c.ENVIRONMENT_NOT_READY, text)


def _replication_rights(environment: Environment) -> Refusal | None:
    probe = probe_of(environment)
    if probe is None or probe.replication is None or not probe.replication.missing_rights:
        return None
    text = (
        f"Logical replication of environment {environment.meta.name} cannot be ended:"
        f" {' '.join(probe.replication.missing_rights)} Then create a new Rollback."
    )
    return Refusal(c.MISSING_GRANTS, text)


def _versions(environment: Environment, snapshot: Snapshot, probe: ProbeStatus) -> Refusal | None:
    now, then = probe.server_major, snapshot.status.server_major or 0
    if now >= then:
        return None
    text = (
        f"Snapshot {snapshot.meta.name} was dumped from PostgreSQL {then}; the server of {environment.meta.name}"
        f" is {now}. A dump cannot be restored into an older server: upgrade the server, or choose"
        " an older snapshot."
    )
    return Refusal(c.UNSUPPORTED_SERVER, text)


def _space(environment: Environment, snapshot: Snapshot, probe: ProbeStatus) -> Refusal | None:
    """The database volume holds both databases: a full disk would stop the live one."""
    if database_bytes(snapshot) == 0:
        return None
    capacity, used, wanted = capacity_of(environment), probe.database_used_bytes, space_wanted(snapshot)
    if capacity is None:
        text = (
            f"The capacity of the database volume of {environment.meta.name} is unknown, so a restore might fill it. "
            "Set spec.database.capacity of the Environment, for example 100Gi."
        )
        return Refusal(c.CAPACITY_UNKNOWN, text)
    total = used + wanted
    if total <= capacity:
        return None
    text = (
        f"The server uses {human(used)} and the restored copy needs up to {human(wanted)}"
        f" ({SPACE_FACTOR} times {human(database_bytes(snapshot))}): {human(total)} together, but the volume holds"
        f" {human(capacity)} (spec.database.capacity). Free or add at least"
        f" {human(total - capacity)}."
    )
    return Refusal(c.INSUFFICIENT_CAPACITY, text)


def space_wanted(snapshot: Snapshot) -> int:
    """Bytes for the restored copy and for building its indexes."""
    return int(database_bytes(snapshot) * SPACE_FACTOR)
