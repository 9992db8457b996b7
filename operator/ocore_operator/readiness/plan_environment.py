"""The next action of an Environment: its references exist, its id is unique, and a probe Job finds whether a snapshot
and a rollback would work. Beside it, sizes that are requested, and the proof that a rollback works. Pure."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.commands.table import MEASURE, PROVE
from ocore_crds.conditions import Condition
from ocore_crds.protocol import Failure, Finding, ProbeResult, ProofResult, SizesResult
from ocore_crds.resources.environment import ANY_USER, EnvironmentStatus, connection_of
from ocore_operator import clock
from ocore_operator.entries import targets
from ocore_operator.entries.environments import Target
from ocore_operator.entries.operations import rollback_near
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.building.inputs import OF_WORKLOADS, JobInputs
from ocore_operator.jobs.observing import attempts
from ocore_operator.jobs.observing.attempts import Done, Due, Series, Waits
from ocore_operator.jobs.observing.outcome import POLL, finished
from ocore_operator.kube.resources import Environment, Store, project_of
from ocore_operator.readiness import entry, proof, schedule, sizing
from ocore_operator.readiness.plan_probe import LastProbe, Probed, due_in, probe
from ocore_operator.readiness.verdict import catalogs_agree, found, probe_failed, proven, unprobed
from ocore_operator.readiness.world import (
    EnvironmentAction,
    EnvironmentWorld,
    ReleaseLock,
    Start,
    Step,
)

#: Seconds until it is checked again whether the SnapshotStore is ready; its own reconcile comes sooner.
STORE_PAUSE = 30.0
#: Seconds until a proof that is due is tried again beside an operation; the end of the operation comes sooner.
PROOF_PAUSE = 30.0


class EnvironmentProbe(Probed[EnvironmentWorld, EnvironmentStatus, ProbeResult]):
    """What is special about the probe of an Environment."""

    command = "probe"
    before_probe = (
        c.PROBING,
        c.NODE_NOT_RESPONDING,
        c.WAITING_FOR_JOB_SLOT,
        c.STORE_NOT_FOUND,
        c.STORE_NOT_READY,
        c.STORE_READ_ONLY,
        c.CLAIM_NOT_FOUND,
        c.CLAIM_IN_USE,
        c.CONFIG_NOT_FOUND,
        *OF_WORKLOADS,
        c.JOB_TEMPLATE_REFUSED,
        c.RECIPIENT_INVALID,
        *c.OF_CLUSTER,
        c.JOB_PENDING,
        c.DUPLICATE_ID,
        c.DUPLICATE_TARGET,
    )
    does = "A probe Job checks the database and the filestore."
    result = ProbeResult

    def last_probe(self, status: EnvironmentStatus) -> LastProbe:
        """From status.probe."""
        last = status.probe
        return LastProbe(last.time, last.started_at, last.generation) if last is not None else LastProbe()

    def wanted(self, world: EnvironmentWorld) -> str:
        """Asked for directly, or by an operation that waits because a condition is not True."""
        wanted, conditions = world.requested, world.obj.status.conditions
        if c.is_true(conditions, c.READY) and store_problem(world) is not None:
            wanted = clock.text(world.now)  # Ready is not true any more, and RollbackReady stays
        rollback = c.find(conditions, c.ROLLBACK_READY)
        if rollback is not None and _disagrees(rollback, world.loses):
            wanted = clock.text(world.now)
        for waiting in world.operations:
            needs = (c.READY, c.ROLLBACK_READY) if waiting.key.kind == "Rollback" else (c.READY,)
            if not all(c.is_true(conditions, t) for t in needs):
                wanted = max(wanted, waiting.created)
        return wanted

    def asked(self, world: EnvironmentWorld) -> bool:
        """By a Rollback that waits, or by a request since the last probe began."""
        last = self.last_probe(world.obj.status)
        rollback = any(waiting.key.kind == "Rollback" for waiting in world.operations)
        return rollback or world.requested > (last.began or last.ended or "") or super().asked(world)

    def watched(self, status: EnvironmentStatus) -> tuple[str, ...]:
        """A capacity that is missing in the spec does not appear by probing more often."""
        rollback = c.find(status.conditions, c.ROLLBACK_READY)
        if rollback is not None and rollback.reason == c.CAPACITY_UNKNOWN:
            return (c.READY,)
        return (c.READY, c.ROLLBACK_READY)

    def found(self, world: EnvironmentWorld, result: ProbeResult, began: str) -> EnvironmentStatus:
        """See verdict.py. What the probe found may show that another Environment has the same database."""
        status = found(
            world.environment,
            result,
            world.settings.mover_majors,
            began=began,
            now=clock.text(world.now),
            without_store=store_problem(world),
            loses=world.loses,
            has_remote=has_remote_store(world),
        )
        status = sizing.probed(world.obj.spec, status, result, began=began)
        try:
            need_own_target(world, status)
        except Stalled as end:
            return unprobed(world.obj.with_status(status), end, world.stamp)
        return _with_others(world, status)

    def failed(self, world: EnvironmentWorld, failure: Failure, began: str) -> EnvironmentStatus:
        """See verdict.py."""
        return probe_failed(world.obj, failure.reason, failure.message, began=began, now=clock.text(world.now))


def _disagrees(rollback: Condition, loses: Failure | None) -> bool:
    """Whether RollbackReady does not show what stopping the workloads would delete, or shows what passed."""
    return rollback.status == "True" if loses is not None else rollback.reason == c.SCALING_DELETES_CLAIM


PROBE = EnvironmentProbe()


def decide(world: EnvironmentWorld) -> EnvironmentAction:
    """The next action."""
    if world.stale_lock:
        return ReleaseLock()
    try:
        inputs = _inputs(world)
        step = _probed_elsewhere(world) or probe(PROBE, world, inputs)
    except Outcome as end:
        status = unprobed(world.obj, end, world.stamp)
        return Idle(end.after if isinstance(end, (Waiting, Stalled)) else None, status)
    return follow(world, inputs, step) if isinstance(step, Idle) else step


def _probed_elsewhere(world: EnvironmentWorld) -> Record[EnvironmentStatus] | None:
    """The result of a probe that the Job of a Rollback has made, where it is of the present spec and newer than the
    last one."""
    other, last = world.other_probe, PROBE.last_probe(world.obj.status)
    if (
        other is None
        or other.generation != world.obj.meta.generation
        or other.began <= (last.began or last.ended or "")
    ):
        return None
    return Record(PROBE.found(world, other.result, other.began))


def needs_jobs(world: EnvironmentWorld) -> bool:
    """Whether the next action depends on Jobs: only then they are read."""
    try:
        _inputs(world)
    except Outcome:
        return False
    status = world.obj.status
    if due_in(PROBE, world) <= 0 or _sizes_due_in(world, status) is not None:
        return True
    due = _proof_due_in(world, status)
    return due is not None and due <= 0


def follow(world: EnvironmentWorld, inputs: JobInputs, wait: Idle[EnvironmentStatus]) -> Step[EnvironmentStatus]:
    """While nothing is to be done for the probe: sizes that were requested, then the proof that a rollback works."""
    for what in (measure, prove):
        step = what(world, inputs, wait.status or world.obj.status)
        match step:
            case Record() | StopJob():
                return step
            case Idle():
                wait = _sooner(wait, step)
            case Start():
                return replace(step, then=_sooner(wait, step.then))
    return wait


def _sooner(wait: Idle[EnvironmentStatus], other: Idle[EnvironmentStatus]) -> Idle[EnvironmentStatus]:
    """The status of the other one, at the earlier time."""
    after = min((t for t in (wait.seconds, other.seconds) if t is not None), default=None)
    return Idle(after, other.status, wait.why or other.why)


def final(obj: Environment, status: EnvironmentStatus) -> EnvironmentStatus:
    """With the fields that every status has: its id and project."""
    cnpg = obj.spec.database is not None and obj.spec.database.cnpg is not None
    update = {
        "id": obj.id,
        "project_id": project_of(obj),
        "observed_generation": obj.meta.generation,
        "connection": connection_of(obj.spec, obj.status) if cnpg else None,
    }
    return status.model_copy(update=update)


# --- what the probe needs --------------------------------------------------------------------------------------------


def _inputs(world: EnvironmentWorld) -> JobInputs:
    """The store is ready, the claim, ConfigMap and workloads exist, and no other Environment has the target. Raises
    Outcome where something is missing."""
    if isinstance(world.needs, Outcome):
        raise world.needs
    if world.needs.user_unknown:  # its store, if on a claim, waits for the same
        need_filestore_to_propose_user(world.obj)
    else:
        _need_a_store(world, world.needs.store)
    need_own_target(world, world.obj.status)
    return world.needs


def need_filestore_to_propose_user(obj: Environment) -> None:
    """Raises Stalled(JobUserUnknown) where the store's claim is the only one: no file of the application shows its
    user. Pure."""
    if obj.spec.filestore is None:
        raise Stalled(
            c.JOB_USER_UNKNOWN,
            "The user of the Jobs is unknown: spec.jobs.runAsUser is not set, and the first Deployment or"
            " StatefulSet of spec.workloads, if there is one, sets none but"
            f" root. Set spec.jobs.runAsUser and runAsGroup of Environment {obj.meta.name} to"
            f" {ANY_USER.run_as_user}, or to"
            f" the owner of the files on the claim of SnapshotStore {obj.spec.store_ref.name}. Where that claim"
            f" belongs to"
            " root, add fsGroup as well.",
        )


def _need_a_store(world: EnvironmentWorld, store: Store) -> None:
    """Raises Waiting or Stalled (need_store) where neither the own store nor the remote one is ready."""
    try:
        need_store(store)
    except Waiting:
        if not has_remote_store(world):
            raise
    except Stalled as end:
        if end.reason != c.STORE_NOT_READY or not has_remote_store(world):
            raise


def need_store(store: Store) -> None:
    """Raises Stalled(StoreReadOnly), or StoreNotReady: Stalled where a person must change the store, Waiting where that
    may pass. Pure."""
    if store.spec.access == "ReadOnly":
        raise Stalled(
            c.STORE_READ_ONLY,
            f"SnapshotStore {store.meta.name} has access ReadOnly, and snapshots are written to storeRef. Name one with"
            " access ReadWrite. A ReadOnly store can be the sourceStoreRef of a Rollback.",
        )
    ready, stalled = (c.find(store.status.conditions, t) for t in (c.READY, c.STALLED))
    if ready is not None and ready.status == "True":
        return
    why = f"{ready.reason}: {ready.message}" if ready is not None else "it has not been probed yet."
    message = f"SnapshotStore {store.meta.name} is not ready: {why}"
    if stalled is not None and stalled.status == "True":
        raise Stalled(c.STORE_NOT_READY, message)
    raise Waiting(c.STORE_NOT_READY, message, STORE_PAUSE)


def has_remote_store(world: EnvironmentWorld) -> bool:
    """Whether Snapshots can be restored though the Environment's own store is not ready: then everything else is
    probed."""
    ref = world.obj.spec.remote_store_ref
    entry = world.stores.get(ref.name) if ref is not None else None
    return entry is not None and entry.ready == "True"


def store_problem(world: EnvironmentWorld) -> Finding | None:
    """What prevents snapshots, and not rollbacks: the own store is not ready, and the remote one is."""
    name = world.obj.spec.store_ref.name
    entry = world.stores.get(name)
    if entry is None or entry.ready == "True" or not has_remote_store(world):
        return None
    text = (
        f"SnapshotStore {name} is not ready ({entry.ready_reason or 'not probed yet'}). Snapshots that have a remote"
        " copy can be restored from it."
    )
    return Finding(reason=c.STORE_NOT_READY, message=text)


def target_of(obj: Environment, status: EnvironmentStatus) -> Target:
    """What the Environment's rollbacks replace, as this status describes it."""
    return entry.target_of({"spec": obj.spec.wire(), "status": status.wire()})


def need_own_target(world: EnvironmentWorld, status: EnvironmentStatus) -> None:
    """Raises Stalled(DuplicateTarget) where an older Environment of the namespace has the same database or
    filestore."""
    found_ = targets.first(world.environments, world.obj.key, target_of(world.obj, status))
    if found_ is not None:
        first, what = found_
        raise Stalled(
            c.DUPLICATE_TARGET,
            f"Environment {first.key.name} has {what}, too. A rollback of one would replace what the other one runs on."
            " Delete one of the two Environments, or correct its spec.database or spec.filestore.",
        )


def _with_others(world: EnvironmentWorld, status: EnvironmentStatus) -> EnvironmentStatus:
    """With a warning where an Environment of another namespace has the same database. Which one is not for everyone to
    know."""
    probe, target = status.probe, target_of(world.obj, status)
    if probe is None or not targets.is_elsewhere(world.environments, world.obj.key, target):
        return status
    text = (
        f"Another namespace has an Environment of database {target.database} of this server, by its system identifier"
        " and start. If that is true, a rollback of one replaces what the other one runs on. A cluster administrator"
        " finds it by status.probe of the Environments."
    )
    return status.model_copy(update={"probe": probe.model_copy(update={"warnings": (text, *probe.warnings)[:20]})})


# --- beside the probe ------------------------------------------------------------------------------------------------


def _rollback_near(world: EnvironmentWorld) -> bool:
    return rollback_near(world.obj.status.operation, world.operations)


def _sizes_due_in(world: EnvironmentWorld, status: EnvironmentStatus) -> float | None:
    """Seconds until requested sizes are measured; None where none are requested, or no probe has ended yet."""
    if status.probe is None or PROBE.asked_in(world) is not None:  # a probe measures as well
        return None
    return sizing.due_in(world.now, status.sizes, schedule.requested(world.obj.meta.annotations))


def measure(world: EnvironmentWorld, inputs: JobInputs, status: EnvironmentStatus) -> Step[EnvironmentStatus]:
    """Sizes that were requested, by a Job that only measures. Never beside a Rollback, whose workloads may wait for the
    claim."""
    obj, seen = world.obj, world.seen
    due = _sizes_due_in(world, status)
    if due is None:
        return Idle(None, status)
    series = Series(MEASURE, obj.meta.uid, SizesResult, "The Job that measures", f"{sizing.attempt_name(status)}-")
    match series.next(seen, world.now, attempts.once):
        case Due(number=number):
            others = (*seen.of_command("probe"), *seen.of_command("measure"))
            if due > 0:
                return Idle(due, status)
            if _rollback_near(world) or any(finished(seen.jobs[other]) is None for other in others):
                return Idle(POLL, status)
            # The newest in its namespace: probes and inspections, which decide whether operations run, go first.
            now, attempt = clock.text(world.now), series.attempt(number)
            return _start(
                world, inputs, status, "measure", attempt, now, partial(sizing.not_measured, status, ended=now)
            )
        case Waits(job=job):
            return _beside(world, status, job)
        case Done(result=result, finished=ended, job=job):
            return Record(sizing.measured(status, result, ended=ended), job=job)
        case attempts.Failed(failure=failure, finished=ended, job=job):
            return Record(sizing.not_measured(status, f"{failure.reason}: {failure.message}", ended=ended), job=job)


def _beside(world: EnvironmentWorld, status: EnvironmentStatus, job: str) -> Step[EnvironmentStatus]:
    """While the Job runs: it gives way to a Rollback."""
    return StopJob(job) if _rollback_near(world) and not world.seen.stopping(job) else Idle(POLL, status)


def _start(
    world: EnvironmentWorld,
    inputs: JobInputs,
    status: EnvironmentStatus,
    command: Literal["measure", "prove"],
    attempt: str,
    since: str,
    lost: Callable[[str], EnvironmentStatus],
) -> Step[EnvironmentStatus]:
    """Where the Job must wait for a slot or a quota, the next reconcile tries again: nothing depends on it. `lost`: the
    status where it cannot be created, with why."""
    refusal = world.refused.get(command)
    if isinstance(refusal, Failed):
        return Idle(POLL, lost(f"{refusal.reason}: {refusal.message}"))
    if refusal is not None:
        return Idle(POLL, status)
    # It runs the tools of the server's version.
    of_server = replace(inputs, server_major=_server_major(status))
    return Start(command, attempt, of_server, since, Idle(POLL, status))


def prove(world: EnvironmentWorld, inputs: JobInputs, status: EnvironmentStatus) -> Step[EnvironmentStatus]:
    """The proof that a rollback works: a Job that restores the schema into a scratch database. Never beside a
    Rollback."""
    due = _proof_due_in(world, status)
    if due is None or due > 0:
        return Idle(due, status)
    return _prove(world, inputs, status)


def _proof_due_in(world: EnvironmentWorld, status: EnvironmentStatus) -> float | None:
    """Seconds until the next proof; None where there is none."""
    obj = world.obj
    if obj.spec.database is None or status.probe is None or not c.is_true(status.conditions, c.READY):
        return None
    if status.probe.generation != obj.meta.generation or not catalogs_agree(status):
        return None
    fingerprint = status.probe.schema_fingerprint
    return proof.due_in(world.settings, world.now, status.proof, fingerprint=fingerprint, image=_image(world, status))


def _prove(world: EnvironmentWorld, inputs: JobInputs, status: EnvironmentStatus) -> Step[EnvironmentStatus]:
    obj, now = world.obj, clock.text(world.now)
    since = status.proof.attempted_at if status.proof is not None else obj.meta.created

    def lost(why: str) -> EnvironmentStatus:
        return proven(obj, proof.not_made(status, why, now=now), now)

    series = Series(PROVE, obj.meta.uid, ProofResult, "The proof", f"{proof.attempt_name(status)}-")
    match series.next(world.seen, world.now, attempts.once):
        case Due(number=number):
            if obj.status.operation is not None or world.operations:
                return Idle(PROOF_PAUSE, status)
            rest = _rest(world, status)
            if rest > 0:
                return Idle(rest, status)
            return _start(world, inputs, status, "prove", series.attempt(number), since, lost)
        case Waits(job=job):
            return _beside(world, status, job)
        case Done(result=result, job=job):
            return Record(
                proven(obj, proof.recorded(status, result, image=_image(world, status), now=now), now), job=job
            )
        case attempts.Failed(failure=failure):
            return Record(lost(f"{failure.reason}: {failure.message}"))


def _rest(world: EnvironmentWorld, status: EnvironmentStatus) -> float:
    """Seconds until a proof that is due may start: the first operations follow soon after a probe, and a Rollback would
    stop it. After a rollback it waits for the probe that shows the new schema."""
    probed = status.probe.time if status.probe is not None else world.obj.meta.created
    return schedule.RENEWAL - clock.seconds_since(max(probed, world.outdated), world.now)


def _image(world: EnvironmentWorld, status: EnvironmentStatus) -> str:
    return world.settings.image(_server_major(status))


def _server_major(status: EnvironmentStatus) -> int:
    return status.probe.server_major if status.probe is not None else 0
