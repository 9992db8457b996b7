"""Reads everything that a decision about a rollback depends on.

The Rollback itself is read last: so its status is at least as new as everything that another operator did after writing
it (see ``world.py``).
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeVar, get_args

from ocore_crds import conditions as c
from ocore_crds.naming import ANNOTATION_IMPORT, FINALIZER_ROLLBACK, LABEL_MANAGED_BY, LABEL_UID, MANAGED_BY
from ocore_crds.protocol import (
    Failure,
    NeutralizeResult,
    PreviewResult,
    ProbeResult,
    RestoreResult,
    Step,
    SwitchResult,
)
from ocore_crds.resources.environment import UndoneRollback
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.resources.snapshot import StepStatus
from ocore_crds.resources.workloads import Target, targets
from ocore_crds.stored.manifest import Evidence
from ocore_kube.errors import Forbidden
from ocore_kube.types import CONFIG_MAPS, ENVIRONMENTS, NAMESPACES, PODS, ROLLBACKS, SNAPSHOTS
from ocore_operator import clock, operation_lock
from ocore_operator.context import Context
from ocore_operator.jobs import lifecycle, signals
from ocore_operator.jobs.building.inputs import config_digest
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.outcome import (
    Absent,
    JobFailed,
    JobState,
    NoResult,
    Observation,
    Running,
    Starting,
    Succeeded,
    claims_of,
    ends_with_mover,
    ever_ran,
    finished,
    moved,
    mover_ended,
    pod_ended,
    silent,
    unplaced_since,
)
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Entry
from ocore_operator.kube.resources import Environment, Meta, Object, Rollback, Snapshot
from ocore_operator.rollback import observe_source, orphan, plan_preview, preview_facts, switch_signal
from ocore_operator.rollback.executed import entry_about, executed, later, spec_hash
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.plan_undo import as_seen_by
from ocore_operator.rollback.safety import is_safety_snapshot, safety_name
from ocore_operator.rollback.transitions import change, unanswered
from ocore_operator.rollback.world import (
    AFTER_EFFECT,
    AFTER_STATUS,
    JobKind,
    JobView,
    OperationLock,
    SourceView,
    StartJob,
    TakenOver,
    UndoneView,
    World,
)
from ocore_operator.workloads import other_operations, scale
from ocore_operator.workloads.view import peer_of

#: Stages in which the switch Job's log is read for its answer.
ANSWERING = ("Switch",)
#: Stages in which the log of the restore's Job is followed.
FOLLOWING = ("Restore", "Prepare", "Stop", "Drain", "Switch", "Resume")
#: Stages at which the objects are compared that a rollback depends on.
CHECKING = ("Preview", "Preflight")
#: Between the clocks of a node and the operator.
_SKEW = timedelta(minutes=2)
PayloadT = TypeVar("PayloadT", bound=RestoreResult | NeutralizeResult | PreviewResult)

#: Stages in which the safety snapshot is created, waited for or cancelled.
SAVING = ("Restore", "Await", "Abort")
#: Stages in which nothing is decided by the workloads, and those in which they may be stopped: only for that is the
#: filestore's claim read.
WITHOUT_WORKLOADS = ("Neutralize", "Abort", "Inspect", "BackJob", "Finish", "Ended")
STOPPING = (None, *CHECKING, "Prepare", "Stop", "Drain", "Switch", "BackStop", "BackDrain")
#: What is read at the stage Prepare for what follows the start of its Job.
OPERATIONS = "other operations"
#: Steps that the restore Job's log reports.
RESTORE_STEPS = (Step.RESTORE_DATABASE, Step.RESTORE_FILESTORE, Step.CHECK)


@dataclass(frozen=True)
class Observed:
    """A world with the Rollback that it was read for."""

    rollback: Rollback
    #: The Rollback's status, with the steps that the restore Job's log reports while it runs.
    status: RollbackStatus
    world: World
    #: Its Jobs come from the last lists: only a decision to wait may rest on them.
    remembered: bool = False
    #: What of the world does not depend on the Rollback's status and its Jobs.
    others: World | None = None
    seen: Observation | None = None
    #: Where this operator has written something since: what may rest on the world with that (world.py).
    allowed: tuple[type[object], ...] | None = None


async def observe(
    ctx: Context, first: Rollback, memory: Memory, *, fresh: bool, others: World | None = None
) -> Observed | None:
    """The world as it is now; None where the Rollback does not exist. `first`: the Rollback as last read, which names
    the other objects. `fresh`: its Jobs are listed. `others`: what was read a moment ago, beside the last lists."""
    known = first
    while True:
        found = await _read(ctx, known, memory, others, fresh=fresh)
        if found is None or (_names(found.rollback), _reads(found.rollback)) == (_names(known), _reads(known)):
            return found
        known, others = found.rollback, None


def _names(rollback: Rollback, environment_name: str | None = None) -> tuple[object, ...]:
    """What of a Rollback names other objects that are read. `environment_name`: that was read where its status names
    none."""
    return rollback.status.environment_name or environment_name, rollback.status.workloads


def _reads(rollback: Rollback) -> frozenset[str]:
    """What is read of other objects beside its Jobs, at its stage."""
    status = rollback.status
    read = {
        "what is compared": _checks(rollback),
        "the safety snapshot": bool(safety_name(rollback)) and status.stage in SAVING,
        OPERATIONS: status.stage == "Prepare",
        "pods with the claim": status.stage == "Resume",
        "workloads": _depends_on_workloads(status),
        "the claim": status.stage in STOPPING,
        "the snapshot": status.stage not in observe_source.RESTORED,
    }
    return frozenset(what for what, is_read in read.items() if is_read)


def _checks(rollback: Rollback) -> bool:
    """Whether the objects are compared that the rollback depends on: also before its first status, which the preflight
    follows at once. A preview reads more by then."""
    status = rollback.status
    begins = status.stage is None and not rollback.spec.dry_run
    return begins or status.stage in CHECKING or unanswered(status)


def _depends_on_workloads(status: RollbackStatus) -> bool:
    """Whether anything is decided by the workloads at this stage."""
    if status.stage == "Restore":
        return unanswered(status)
    if status.stage == "Switch":
        return status.signal_deadline is None
    return status.stage not in WITHOUT_WORKLOADS


async def _read(
    ctx: Context, known: Rollback, memory: Memory, earlier: World | None, *, fresh: bool
) -> Observed | None:
    if await _terminating(ctx, known):
        return await _with_namespace(ctx, known)
    (seen, jobs), others = await asyncio.gather(_listed(ctx, known, fresh=fresh), _others(ctx, known, earlier))
    obj = await ctx.kube.get(ROLLBACKS, known.meta.namespace, known.meta.name)
    if obj is None or obj["metadata"]["uid"] != known.meta.uid:
        return None
    rollback = resources.rollback(obj)
    world = await _world(ctx, rollback, memory, others, jobs)
    status = _with_steps_of_log(ctx, rollback, world)
    return Observed(rollback, status, world, seen.remembered, others, seen)


async def with_status(ctx: Context, memory: Memory, observed: Observed, status: RollbackStatus) -> Observed | None:
    """The same observation once that status is written; None where objects decide then that were not read."""
    rollback, others, seen = observed.rollback.with_status(status), observed.others, observed.seen
    if others is None or seen is None:
        return None
    if _names(rollback) != _names(observed.rollback, others.environment_name):
        return None
    unread = _reads(rollback) - _reads(observed.rollback)
    if not unread <= {OPERATIONS}:
        return None
    world = await _world(ctx, rollback, memory, others, await _jobs(ctx, rollback, seen))
    status, allowed = _with_steps_of_log(ctx, rollback, world), (StartJob,) if unread else AFTER_STATUS
    return replace(observed, rollback=rollback, status=status, world=world, allowed=allowed)


async def with_environment(ctx: Context, memory: Memory, observed: Observed, written: Object | None) -> Observed | None:
    """The same observation with the Environment as this operator has just written it; None where it is gone."""
    if observed.others is None or written is None:
        return None
    others = replace(observed.others, environment=resources.environment(written))
    world = await _world(ctx, observed.rollback, memory, others, observed.world.jobs)
    return replace(observed, world=world, others=others, allowed=AFTER_EFFECT)


def with_finalizer(observed: Observed, written: Object | None) -> Observed | None:
    """The same observation with the finalizer that this operator has just added; None where the Rollback is gone."""
    if written is None:
        return None
    rollback = replace(observed.rollback, meta=Meta.of(written))
    return replace(observed, rollback=rollback, world=replace(observed.world, finalizer=True), allowed=AFTER_EFFECT)


async def _listed(ctx: Context, known: Rollback, *, fresh: bool) -> tuple[Observation, tuple[JobView, ...]]:
    """Its Jobs, as listed and as the plan sees them."""
    seen = await lifecycle.observe(ctx, known, fresh=fresh, yields=known.status.stage == "Restore")
    return seen, await _jobs(ctx, known, seen)


async def _others(ctx: Context, known: Rollback, read: World | None) -> World:
    """What is read beside the Rollback and its Jobs. `read`: what was read a moment ago."""
    if read is not None:
        return read
    (snapshot, source, undone, environment), safety, operations = await asyncio.gather(
        _sources(ctx, known), _safety(ctx, known), _operations(ctx, known)
    )
    wanted = _targets(known, environment)
    decisive = wanted if _depends_on_workloads(known.status) else []
    claim = _claim(known, environment) if known.status.stage in STOPPING else ""
    workloads, before, users, config, preview = await asyncio.gather(
        scale.observe(ctx, known.meta.namespace, decisive, claim),
        _executed_before(ctx, known, environment),
        _claim_users(ctx, known),
        _config(ctx, known, environment),
        preview_facts.read(ctx, known, environment),
    )
    return World(
        created=clock.parse(known.meta.created),
        environment=environment,
        snapshot=snapshot,
        environment_name=environment_name(known, snapshot, undone),
        source=source,
        safety=safety,
        undone=await _undone(ctx, known, undone, environment),
        executed_before=before,
        claim_users=users,
        workloads=workloads,
        peer=peer_of(known, operations, wanted),
        config_name=config[0],
        config_sha256=config[1],
        preview=preview,
    )


async def _world(ctx: Context, rollback: Rollback, memory: Memory, others: World, jobs: tuple[JobView, ...]) -> World:
    environment, elder = others.environment, ctx.catalog.elder(rollback.key)
    world = replace(
        others,
        awaits_import=ANNOTATION_IMPORT in rollback.meta.annotations and rollback.status.imported is None,
        safety_name=safety_name(rollback),
        owns_safety=others.safety is not None and is_safety_snapshot(others.safety, rollback),
        may_restore_image=ctx.settings.restore_image,
        listed_images=ctx.settings.application_images,
        undo_state=undo_state(environment, rollback),
        used_by=orphan.used_by(ctx.catalog, rollback, environment),
        under_way=orphan.under_way(ctx.catalog, rollback, environment),
        taken_over=await _taken_over(ctx, rollback, environment),
        executed=environment is not None and any(e.id == rollback.id for e in environment.status.executed_rollbacks),
        executed_before=others.executed_before or await _imported_before(ctx, rollback, elder),
        duplicate_of=f"{elder.key.namespace}/{elder.key.name}" if elder is not None else "",
        deleting=rollback.meta.deleted is not None,
        finalizer=FINALIZER_ROLLBACK in rollback.meta.finalizers,
        lock=lock_view(environment, rollback),
        jobs=jobs,
        refused_since=memory.refused_since,
        refusal_reason=memory.refusal_reason,
        refusal=memory.refusal,
        scale_refused=memory.scale_refused,
        probe_alone=memory.probe_alone,
        logs_unreadable=ctx.followers.unreadable(rollback.meta.namespace),
        watched_since=memory.watched_since,
    )
    return _with_probe(ctx, rollback, world)


def _with_probe(ctx: Context, rollback: Rollback, world: World) -> World:
    """With what is known of the Environment's probes."""
    if world.environment is None:
        return world
    key = world.environment.key
    if (reported := ctx.probes.reported(key)) is not None:
        world = replace(world, probe_reported=reported.began)
    since = plan_preview.since(rollback.status, world.created) if rollback.spec.dry_run else world.lock.since
    if since is None:
        return world
    return replace(world, probe_asked=ctx.probes.wanted(key) >= clock.text(since), probe_waits=ctx.probes.why(key))


async def _with_namespace(ctx: Context, known: Rollback) -> Observed | None:
    """Of a Rollback that is deleted with its namespace, only the object itself. Nothing else may be readable: an
    operator that watches some namespaces has its rights by their Roles, which are deleted, too."""
    obj = await ctx.kube.get(ROLLBACKS, known.meta.namespace, known.meta.name)
    if obj is None or obj["metadata"]["uid"] != known.meta.uid:
        return None
    rollback = resources.rollback(obj)
    world = World(
        created=clock.parse(rollback.meta.created),
        environment=None,
        snapshot=None,
        deleting=True,
        finalizer=FINALIZER_ROLLBACK in rollback.meta.finalizers,
        namespace_terminating=True,
    )
    return Observed(rollback, rollback.status, world)


async def _sources(
    ctx: Context, rollback: Rollback
) -> tuple[Snapshot | None, SourceView, Rollback | None, Environment | None]:
    """The Snapshot and where it comes from, or the Rollback that is undone, and the Environment. An undo needs the
    other Rollback only until it has started."""
    namespace, spec = rollback.meta.namespace, rollback.spec
    undone: Rollback | None = None
    name = environment_name(rollback, None, None)
    (snapshot, source), found = await asyncio.gather(
        observe_source.snapshot_of(ctx, rollback), ctx.kube.get(ENVIRONMENTS, namespace, name)
    )
    if spec.undo is not None and rollback.status.undo is None:
        obj = await ctx.kube.get(ROLLBACKS, namespace, spec.undo.rollback_ref.name)
        undone = resources.rollback(obj) if obj is not None else None
    if not name:
        found = await ctx.kube.get(ENVIRONMENTS, namespace, environment_name(rollback, snapshot, undone))
    environment = resources.environment(found) if found is not None else None
    source = await observe_source.with_places(ctx, rollback, snapshot, source)
    store = await observe_source.store_of(ctx, rollback, snapshot, environment, source.remote)
    account = await observe_source.account_of(ctx, environment) if store is not None and environment is not None else ""
    return snapshot, replace(source, store=store, record_account=account), undone, environment


def environment_name(rollback: Rollback, snapshot: Snapshot | None, undone: Rollback | None) -> str:
    """The Environment's name; empty where it is unknown."""
    if rollback.status.environment_name:
        return rollback.status.environment_name
    if rollback.spec.target_environment_ref is not None:
        return rollback.spec.target_environment_ref.name
    if undone is not None:
        return undone.status.environment_name or ""
    return snapshot.spec.environment_ref.name if snapshot is not None else ""


# --- undos -----------------------------------------------------------------------------------------------------------


async def _undone(
    ctx: Context, rollback: Rollback, undone: Rollback | None, environment: Environment | None
) -> UndoneView | None:
    if undone is None or rollback.spec.undo is None:
        return None
    taken = await _owner_of(ctx, undone, environment)
    return UndoneView(
        name=undone.meta.name,
        id=undone.id,
        status=undone.status,
        deleting=undone.meta.deleted is not None,
        taken_by=taken.by_name if taken is not None and taken.state != "Returned" else "",
        later=later(environment, undone) if environment is not None else "",
    )


async def _taken_over(ctx: Context, rollback: Rollback, environment: Environment | None) -> TakenOver | None:
    """An undo of this rollback, once it is finished."""
    if rollback.status.stage != "Ended":
        return None
    entry = await _owner_of(ctx, rollback, environment)
    return TakenOver(entry.state, entry.by_name, entry.keep_until) if entry is not None else None


async def _owner_of(ctx: Context, undone: Rollback, environment: Environment | None) -> UndoneRollback | None:
    """The entry about undos of this rollback; None also for one that runs by its entry, but does not exist any more
    (its finalizer was removed by hand): the rollback then owns what it kept again, and finds out by the databases'
    names what happened."""
    entry = entry_about(environment, undone.id)
    if entry is None or entry.state != "Running":
        return entry
    obj = await ctx.kube.get(ROLLBACKS, undone.meta.namespace, entry.by_name)
    return entry if obj is not None and resources.rollback(obj).id == entry.by_id else None


def undo_state(environment: Environment | None, rollback: Rollback) -> Literal["Running", "Undone", "Returned"] | None:
    """See World.undo_state. Pure."""
    undo = rollback.status.undo
    entry = entry_about(environment, undo.rollback_id) if undo is not None else None
    return entry.state if entry is not None and entry.by_id == rollback.id else None


def _targets(rollback: Rollback, environment: Environment | None) -> list[Target]:
    """The saved workloads once they are saved: the Environment may have changed since."""
    saved = rollback.status.workloads
    if saved:
        return targets(saved)
    return targets(environment.spec.workloads) if environment is not None else []


def _claim(rollback: Rollback, environment: Environment | None) -> str:
    """The filestore's claim that the rollback was started for, else the Environment's; empty without one."""
    target = rollback.status.target
    if target is not None:
        return target.claim_name or ""
    filestore = environment.spec.filestore if environment is not None else None
    return filestore.claim_name if filestore is not None else ""


async def _operations(ctx: Context, rollback: Rollback) -> list[Rollback | Snapshot]:
    """All other operations that may stop workloads. Read only at the stage Prepare."""
    if rollback.status.stage != "Prepare":
        return []
    return await other_operations.others(ctx, rollback.meta.namespace, rollback.meta.uid)


async def _claim_users(ctx: Context, rollback: Rollback) -> tuple[str, ...]:
    """See World.claim_users. Read only at the stage Resume."""
    target = rollback.status.target
    if rollback.status.stage != "Resume" or target is None or target.claim_name is None:
        return ()
    pods = await ctx.kube.list(PODS, rollback.meta.namespace, labels=f"{LABEL_MANAGED_BY}={MANAGED_BY}")
    return claim_users(pods, target.claim_name, rollback.meta.uid)


def claim_users(pods: Iterable[Object], claim: str, uid: str) -> tuple[str, ...]:
    """Names of the pods that mount the claim and have not ended, but for those of the object with that uid. Pure."""
    others = [p for p in pods if p["metadata"]["labels"].get(LABEL_UID) != uid and not pod_ended(p)]
    return tuple(p["metadata"]["name"] for p in others if claim in claims_of(p))


async def _executed_before(ctx: Context, rollback: Rollback, environment: Environment | None) -> bool:
    """Whether an Environment remembers a rollback of this name and spec. Where the Snapshot, which names the
    Environment, does not exist, all are asked."""
    if rollback.status.stage not in (None, *CHECKING):
        return False
    # A preview never ran. It asks whether the rollback that it is about has.
    rollback = replace(rollback, spec=rollback.spec.model_copy(update={"dry_run": False}))
    if environment is not None:
        return executed(environment, rollback)
    listed = await ctx.kube.list(ENVIRONMENTS, rollback.meta.namespace)
    return any(executed(resources.environment(obj), rollback) for obj in listed)


async def _imported_before(ctx: Context, rollback: Rollback, elder: Entry | None) -> bool:
    """Whether the Rollback that has its id was imported from the record of one of this name and spec that switched."""
    if elder is None or rollback.status.stage not in (None, *CHECKING):
        return False
    obj = await ctx.kube.get(ROLLBACKS, elder.key.namespace, elder.key.name)
    status = resources.rollback(obj).status if obj is not None else RollbackStatus()
    found = status.imported
    same = found is not None and (found.name, found.spec_hash) == (rollback.meta.name, spec_hash(rollback.spec))
    return same and status.phase in ("Complete", "SwitchedBack")


async def _safety(ctx: Context, rollback: Rollback) -> Snapshot | None:
    """See World.safety."""
    name = safety_name(rollback)
    if not name or rollback.status.stage not in SAVING:
        return None
    obj = await ctx.kube.get(SNAPSHOTS, rollback.meta.namespace, name)
    return resources.snapshot(obj) if obj is not None else None


async def _config(ctx: Context, rollback: Rollback, environment: Environment | None) -> tuple[str, str]:
    """Name and digest of the Environment's ConfigMap, which the preflight compares with the snapshot's; empty where
    there is none."""
    config = environment.spec.config if environment is not None else None
    if not _checks(rollback) or config is None or config.config_map_ref is None:
        return "", ""
    name = config.config_map_ref.name
    return name, config_digest(await ctx.kube.get(CONFIG_MAPS, rollback.meta.namespace, name))


async def _terminating(ctx: Context, rollback: Rollback) -> bool:
    """Whether the namespace is being deleted. Read only where the Rollback is being deleted too: it would be soon."""
    if rollback.meta.deleted is None:
        return False
    try:
        obj = await ctx.kube.get(NAMESPACES, "", rollback.meta.namespace)
    except Forbidden:
        return False
    return obj is None or "deletionTimestamp" in obj["metadata"]


def lock_view(environment: Environment | None, rollback: Rollback) -> OperationLock:
    """Which operation has locked the environment. Pure."""
    operation = environment.status.operation if environment is not None else None
    if environment is None or operation is None:
        return OperationLock()
    ours = operation_lock.is_held_by(environment, rollback)
    return OperationLock(
        "Ours" if ours else "Other", f"{operation.kind} {operation.name}", clock.parse(operation.since)
    )


# --- Jobs ------------------------------------------------------------------------------------------------------------


async def _jobs(ctx: Context, rollback: Rollback, seen: Observation) -> tuple[JobView, ...]:
    views = []
    for name in dict.fromkeys((*seen.jobs, *seen.pods)):
        found = _parse(name, rollback)
        if found is not None:
            views.append(await _job(ctx, rollback, seen, name, *found))
    return tuple(v for v in views if v is not None)


def _parse(name: str, rollback: Rollback) -> tuple[JobKind, int] | None:
    for kind in get_args(JobKind):
        number = name.removeprefix(job_name(kind, rollback.meta.uid, ""))
        if number != name and number.isdigit():
            return kind, int(number)
    return None


async def _job(
    ctx: Context, rollback: Rollback, seen: Observation, name: str, kind: JobKind, attempt: int
) -> JobView | None:
    pod = newest_acting(seen, name)
    view = job_view(seen, name, kind, attempt)
    if view is None:
        return None
    namespace = rollback.meta.namespace
    if kind == "restore" and unanswered(rollback.status):
        view = replace(view, probe=await probe_of(ctx, rollback, seen, view))
    view = await with_log(ctx, rollback, seen, view)
    if isinstance(view.payload, SwitchResult):
        view = replace(view, payload=as_seen_by(rollback.status, view.payload))
    if isinstance(view.payload, (RestoreResult, NeutralizeResult)) and view.payload.evidence == Evidence():
        return replace(view, payload=await _whole(ctx, seen, namespace, name, view.payload))
    if isinstance(view.payload, PreviewResult) and len(view.payload.tables) < view.payload.table_count:
        return replace(view, payload=await _whole(ctx, seen, namespace, name, view.payload))
    asks = kind == "switch" and rollback.status.stage in ANSWERING and view.answer is None and view.signal is not None
    if asks and pod is not None and not view.ended:
        answer = await switch_signal.answer(ctx, namespace, pod["metadata"]["name"])
        return replace(view, answer=as_seen_by(rollback.status, answer) if answer is not None else None)
    return view


async def with_log(ctx: Context, rollback: Rollback, seen: Observation, view: JobView) -> JobView:
    """With what the log of the restore's Job says: that it has restored, waits for its signal, has switched; and of a
    switch Job, that it waits for its signal, and its answer. Its readiness probe says the one up to a second later."""
    status = rollback.status
    if status.stage in FOLLOWING and view.kind == "switch" and view.attempt == status.switch_attempt:
        # The log of an earlier container must not speak for the present one.
        if not view.has_log or view.ended or view.restarted or view.problem or _is_leaving(seen, view):
            return view
        log = ctx.followers.ensure(rollback.key, view.pod)
        view = replace(view, reported=_has_result(log, seen, view))
        return replace(view, ready=view.ready or log.ready, answer=_answer_in(log, status))
    if view.kind != "restore" or view.attempt != status.attempt or status.stage not in FOLLOWING:
        return view
    pods = seen.pods.get(view.name, ())
    if view.has_log and not view.ended:
        log = ctx.followers.ensure(rollback.key, view.pod, _before_the_wait(status))
        view = replace(view, reported=_has_result(log, seen, view))
    elif view.failure is not None and pods and status.stage == "Restore":  # killed: what it had done by then
        log = await ctx.followers.whole(rollback.meta.namespace, pods[-1]["metadata"]["name"])
    else:
        return replace(view, ready=False)
    return replace(view, restored=log.restored, ready=view.ready and log.ready, answer=_answer_in(log, status))


def _answer_in(log: LogState, status: RollbackStatus) -> SwitchResult | None:
    switched = log.steps.get(Step.SWITCH)
    answer = switch_signal.of_report(switched) if switched is not None else None
    return as_seen_by(status, answer) if answer is not None else None


def _has_result(log: LogState, seen: Observation, view: JobView) -> bool:
    """See JobView.reported. A failure is followed by another start of the container, where the Job allows that."""
    pod = newest_acting(seen, view.name)
    return log.result is not None and log.result.ok and pod is not None and ends_with_mover(pod)


def _is_leaving(seen: Observation, view: JobView) -> bool:
    """Whether its pod is being deleted, or its node does not report: it may not obey a signal."""
    pod = newest_acting(seen, view.name)
    return pod is None or "deletionTimestamp" in pod["metadata"] or silent(pod)


def _before_the_wait(status: RollbackStatus) -> datetime | None:
    """From when on the log of a Job that has restored matters: an operator that takes it over while the application is
    stopped does not read what it has reported for hours."""
    checked = next((s.started_at for s in status.steps if s.name == Step.CHECK), None)
    return clock.parse(checked) - _SKEW if checked is not None and status.stage != "Restore" else None


async def probe_of(ctx: Context, rollback: Rollback, seen: Observation, view: JobView) -> ProbeResult | None:
    """What the probe of the restore's Job has found; None where that is not known."""
    if isinstance(view.payload, ProbeResult):
        return view.payload
    if view.has_log and not view.ended:
        return ctx.followers.ensure(rollback.key, view.pod).probe
    pods = seen.pods.get(view.name, ())
    if view.payload is None or not pods:
        return None
    return (await ctx.followers.whole(rollback.meta.namespace, pods[-1]["metadata"]["name"])).probe


async def _whole(ctx: Context, seen: Observation, namespace: str, name: str, result: PayloadT) -> PayloadT:
    """The result with all its parts, from the log's last line: the termination message has no room for them."""
    pods = seen.pods.get(name, ())
    if not pods:
        return result
    log = await ctx.followers.whole(namespace, pods[-1]["metadata"]["name"])
    payload = log.result.payload if log.result is not None else None
    return payload if isinstance(payload, type(result)) else result


def newest_acting(seen: Observation, name: str) -> Object | None:
    """The newest pod of the Job that may still act."""
    pods = [p for p in seen.live_pods(name) if not mover_ended(p)]
    return max(pods, key=lambda p: str(p["metadata"]["creationTimestamp"]), default=None)


def job_view(seen: Observation, name: str, kind: JobKind, attempt: int) -> JobView | None:
    """A Job as the plan sees it; None where neither the Job nor a pod of it exists. Pure."""
    state = seen.state(name)
    job, pod = seen.jobs.get(name), newest_acting(seen, name)
    base = JobView(
        kind=kind,
        attempt=attempt,
        name=name,
        pods=sum(not mover_ended(p) for p in seen.live_pods(name)),
        mounts=sum(not (mover_ended(p) and ends_with_mover(p)) for p in seen.live_pods(name)),
        closed=job is None or finished(job) is not None,
        # Pods of a Job that is gone are being deleted: no Job is left to delete.
        stopping=job is None or seen.stopping(name),
        stopping_since=_stopping_since(job, seen.live_pods(name)),
        moved=moved(job, seen.pods.get(name, ())),
        unplaced_since=unplaced_since(job, seen.pods.get(name, ())),
        silent_node=next((str(p["spec"].get("nodeName", "")) for p in seen.live_pods(name) if silent(p)), ""),
        created=job["metadata"]["creationTimestamp"] if job is not None else "",
        gives_way=seen.gives_way.get(name),
    )
    if pod is not None:
        meta = pod["metadata"]
        base = replace(
            base,
            pod=meta["name"],
            pod_version=meta["resourceVersion"],
            has_log=ever_ran(pod),
            signal=signals.sent(pod),
            repetition=signals.repetition_of(pod),
        )
    found = _with_state(base, state)
    if kind == "switch" and pod is not None and found is not None and not found.ended:
        failure = switch_signal.last_failure(pod)
        failure = _or_stopped(failure, found) if failure is not None else None
        final = failure is not None and not failure.retryable and not found.ready
        return replace(found, failure=failure, ended=final)
    return found


def _stopping_since(job: Object | None, pods: Sequence[Object]) -> datetime | None:
    """When the Job, or the last of its pods, was deleted; None where that has not happened. A pod's deletionTimestamp
    is the end of its grace period."""
    if job is not None:
        deleted = job["metadata"].get("deletionTimestamp")
        return clock.parse(deleted) if deleted else None
    found = [p["metadata"] for p in pods if "deletionTimestamp" in p["metadata"]]
    grace = [timedelta(seconds=meta.get("deletionGracePeriodSeconds") or 0) for meta in found]
    return max((clock.parse(m["deletionTimestamp"]) - g for m, g in zip(found, grace, strict=True)), default=None)


def _with_state(view: JobView, state: JobState) -> JobView | None:
    match state:
        case Starting(text=text, condition=reason):
            return replace(view, problem=f"Job {view.name} is starting: {text}", reason=reason or c.RUNNING)
        case Running(ready=ready, restarts=restarts, lost=""):
            return replace(view, ready=ready, restarted=restarts > 0)
        case Running(lost=lost):
            return replace(view, problem=lost, reason=c.NODE_NOT_RESPONDING)
        case Succeeded(payload=payload, finished=at_, then=then):
            probe = then.payload if then is not None and isinstance(then.payload, ProbeResult) else None
            return replace(view, ended=True, payload=payload, probe=probe, ended_at=clock.parse(at_) if at_ else None)
        case JobFailed(failure=failure, finished=at_):
            at = clock.parse(at_) if at_ else None
            return replace(view, ended=True, failure=_or_stopped(failure, view), ended_at=at)
        case NoResult(message=message, finished=at_):
            failure = Failure(reason=c.JOB_LOST, message=f"Job {view.name} left no result: {message}.", retryable=True)
            return replace(view, ended=True, failure=failure, ended_at=clock.parse(at_) if at_ else None)
        case Absent():
            return None


def _or_stopped(failure: Failure, view: JobView) -> Failure:
    """The failure; retryable where the pod was stopped, but not by us: a node was drained, or a person deleted the
    pod."""
    if failure.reason != c.CANCELLED or view.stopping:
        return failure
    return Failure(reason=c.JOB_FAILED, message=f"The Job's pod was stopped. {failure.message}", retryable=True)


def _with_steps_of_log(ctx: Context, rollback: Rollback, world: World) -> RollbackStatus:
    status = rollback.status
    job = world.job("restore", status.attempt)
    if status.stage != "Restore" or job is None or not job.has_log or job.ended:
        return status
    log = ctx.followers.ensure(rollback.key, job.pod)
    reported: dict[str, StepStatus] = {s.name: s for s in log.step_statuses(RESTORE_STEPS)}
    steps = tuple(reported[s.name].begun_with(s) if s.name in reported else s for s in status.steps)
    return status if steps == status.steps else change(status, steps=steps)
