"""The plan of a Snapshot: a pure function from what is observed to the next single action.

This module covers the time before the snapshot starts: finalizer, first status, unique id, the Environment, the
operation lock. :mod:`~ocore_operator.snapshot.plan_attempts` covers its Jobs until it is terminal,
:mod:`~ocore_operator.snapshot.plan_after_end` what remains after that, and deletion,
:mod:`~ocore_operator.snapshot.plan_restore_test` test restores.
"""

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import Failure
from ocore_crds.resources.snapshot import SAFETY_TRIGGER
from ocore_operator import clock
from ocore_operator.errors import Outcome, Waiting
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, Wait
from ocore_operator.kube.resources import Environment, Store
from ocore_operator.snapshot import plan_attempts, plan_quiesce, plan_restore_test, transitions
from ocore_operator.snapshot.world import Action, Begin, GiveUp, World, is_ready

#: Longest pause, in seconds, while an object that the Environment names does not exist.
MISSING_PAUSE = 5.0
#: The same while the Environment is probed.
PROBE_PAUSE = 10.0
#: Reasons of what is not ready because its probe has not ended.
PROBED_NOW = (c.PROBING, c.JOB_PENDING)
#: Seconds that a Snapshot waits for a probe of an Environment that was not ready when it was created.
PROBE_SECONDS = 300
#: Seconds in which an import completes what it has created, also after a restart of the operator.
IMPORT_WAIT = 300.0


def decide(world: World) -> Action:
    """The next action."""
    snapshot = world.snapshot
    if plan_quiesce.is_active(world):
        return plan_quiesce.decide(world)
    if snapshot.meta.deleted is not None or world.terminal:
        return plan_restore_test.decide(world)
    if world.refusal is not None:
        return _refused(world, world.refusal)
    waits = _awaits_import(world)
    if waits is not None:
        return waits
    if naming.FINALIZER_DATA not in snapshot.meta.finalizers:
        return SetFinalizer(present=True)  # nothing is stored before the finalizer that deletes it is set
    if snapshot.status.phase is None:
        return Record(transitions.queued(snapshot, world.now))
    if snapshot.status.started_at is None:
        return _before_start(world)
    return plan_attempts.decide(world)


def _awaits_import(world: World) -> Action | None:
    """The import that has just created it writes its status. After IMPORT_WAIT it is adopted as any other with an id
    that the store has."""
    snapshot = world.snapshot
    if naming.ANNOTATION_IMPORT not in snapshot.meta.annotations or snapshot.status.phase is not None:
        return None
    left = IMPORT_WAIT - clock.seconds_since(snapshot.meta.created, world.now)
    return Idle(left) if left > 0 else None


def _refused(world: World, refusal: Outcome) -> Action:
    """The action could not be carried out: wait for what it needs, or fail."""
    if isinstance(refusal, Waiting):
        return Wait(refusal.after, refusal.reason, refusal.message)
    failure = Failure(reason=refusal.reason, message=refusal.message)
    return GiveUp(failure, stored=plan_attempts.may_have_stored(world))


def _before_start(world: World) -> Action:
    """Waits until the Environment exists and is ready; then the snapshot begins."""
    snapshot = world.snapshot
    if world.elder:
        message = (
            f"Snapshot {world.elder} has the same id {snapshot.id}. Set another spec.id in a new Snapshot, or none."
        )
        return GiveUp(Failure(reason=c.DUPLICATE_ID, message=message), stored=False)
    if world.environment is None:
        name = snapshot.spec.environment_ref.name
        message = f"Environment {name} does not exist in namespace {snapshot.meta.namespace}."
        advice = f"{message} Create it, or name another Environment in a new Snapshot."
        return _missing(world, c.ENVIRONMENT_NOT_FOUND, f"{message} Waiting for it.", advice)
    if world.missing is not None:
        return _missing(world, world.missing.reason, world.missing.message, world.missing.message)
    if snapshot.spec.quiesce and not world.environment.spec.workloads:
        message = (
            f"quiesce needs workloads, and Environment {world.environment.meta.name} has none. Set its spec.workloads,"
            " or take a Snapshot without quiesce."
        )
        return GiveUp(Failure(reason=c.QUIESCE_FAILED, message=message), stored=False)
    if world.blocked is not None:
        return _refused(world, world.blocked)
    return _alone(world) or _not_ready(world, world.environment) or Begin()


def _alone(world: World) -> Action | None:
    """A safety snapshot runs under the operation lock of its Rollback, never without it. None: its Rollback waits for
    it, or it is no safety snapshot."""
    snapshot = world.snapshot
    if snapshot.spec.trigger != SAFETY_TRIGGER or world.rollback == "Waits":
        return None
    if world.rollback == "Creates":
        text = "Waiting until the Rollback that created this Snapshot names it."
        return Wait(MISSING_PAUSE, c.WAITING_FOR_OPERATION, text)
    text = (
        "No Rollback that is being prepared has created this Snapshot, and trigger PreRollback is for the operator"
        " only. Use another trigger in a new Snapshot."
    )
    return _missing(world, c.ROLLBACK_NOT_FOUND, "Waiting for the Rollback that this Snapshot belongs to.", text)


def _missing(world: World, reason: str, waiting: str, failed: str) -> Action:
    """An object that does not exist may be created in the same moment as the Snapshot: it gets a grace period."""
    left = world.settings.environment_wait - clock.seconds_since(world.snapshot.meta.created, world.now)
    if left <= 0:
        return GiveUp(Failure(reason=reason, message=failed), stored=False)
    return Wait(min(left, MISSING_PAUSE), reason, waiting)


def _not_ready(world: World, environment: Environment) -> Action | None:
    """None where the Environment is ready. Fails only on a probe that began after the Snapshot was created."""
    if is_ready(environment):
        return None
    ready = c.find(environment.status.conditions, c.READY)
    created, name = world.snapshot.meta.created, environment.meta.name
    if ready is None or not environment.is_current:
        message = f"Environment {name} has not been probed yet."
    else:
        message = f"Environment {name} is not ready: {ready.message}"
        evidence = _probed_at(world, environment, ready.reason)
        if evidence is not None and evidence >= created and ready.reason not in PROBED_NOW:
            return GiveUp(Failure(reason=ready.reason, message=message), stored=False)
    left = PROBE_SECONDS - clock.seconds_since(created, world.now)
    if left <= 0:
        message = f"Not ready within {PROBE_SECONDS} s. {message}"
        return GiveUp(Failure(reason=c.ENVIRONMENT_NOT_READY, message=message), stored=False)
    return Wait(min(left, PROBE_PAUSE), c.WAITING_FOR_ENVIRONMENT, message, wake=environment.key)


def _probed_at(world: World, environment: Environment, reason: str) -> str | None:
    """Start of the probe that found this reason (RFC 3339); None where there was none."""
    if reason in (c.DUPLICATE_ID, c.DUPLICATE_TARGET, c.STORE_READ_ONLY):  # found without a probe, and no probe follows
        return clock.text(world.now)
    if reason == c.STORE_NOT_READY:
        return _store_probed_at(world.inputs.store) if world.inputs is not None else None
    probe = environment.status.probe
    return probe.started_at if probe is not None else None


def _store_probed_at(store: Store) -> str | None:
    """Start of the probe that found the store not ready. None: it is ready or being probed, and the Environment has not
    seen that yet."""
    ready = c.find(store.status.conditions, c.READY)
    if ready is None or ready.status == "True" or ready.reason in PROBED_NOW:
        return None
    return store.status.last_probe_time
