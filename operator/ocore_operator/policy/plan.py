"""The plan of a SnapshotPolicy: a pure function from what is observed to the next single action.

Also for an environment without a policy, whose Snapshots are kept by the defaults. Slots come first, then pins, test
restores, explanations, then deletions of Snapshots, then of Rollbacks.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ocore_crds.resources.environment import PinCount
from ocore_crds.resources.snapshotpolicy import SnapshotPolicyStatus
from ocore_crds.rules import cron, history, retention
from ocore_crds.rules.cron import Schedule, ScheduleError
from ocore_crds.rules.retention import Listed, Verdict
from ocore_operator import clock
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.frame.actions import Idle, Note, Record
from ocore_operator.kube.resources import Key, Policy
from ocore_operator.policy import copies, restore_tests, transitions
from ocore_operator.policy.world import Action, CountPins, Create, Delete, DeleteRollbacks, Explain, World
from ocore_operator.summarize import Stamp

#: Snapshots whose status is written, or that are deleted, by one action.
BATCH = 20
#: Longest pause, in seconds: what was missed is found then.
MAX_PAUSE = 600.0
#: Seconds until a slot is looked at again that waits for the Snapshot of an earlier one; its end comes sooner.
BUSY_PAUSE = 60.0


def decide(world: World) -> Action:
    """The next action."""
    policy = world.policy
    if policy is not None and policy.meta.deleted is not None:
        return Idle(None)
    try:
        schedule = _schedule(world)
    except ScheduleError as error:
        return _without_schedule(world, str(error))
    action = _slot(world, schedule)
    action = action or _pins(world) or restore_tests.decide(world)
    if action is not None:
        return action
    verdicts = retention.judged(
        _listed(world), world.safeties, world.spec, schedule.zone, world.now, told=world.policy is None
    )
    return _retention(world, verdicts) or copies.decide(world) or _history(world) or _end(world, schedule, verdicts)


def _schedule(world: World) -> Schedule:
    spec = world.spec
    offset = cron.spread(world.environment_id or "", spec.spread_minutes)
    return cron.parse(spec.schedule, spec.time_zone, offset)


def _without_schedule(world: World, message: str) -> Action:
    """Nothing is created, and nothing is deleted by rules whose days cannot be told."""
    policy = world.policy
    if policy is None:
        raise ValueError(f"{world.key}: the defaults have no valid schedule: {message}")
    record = _record(policy, transitions.invalid(policy, message, world.now))
    return record or _pins(world) or copies.decide(world) or _history(world) or Idle(None)


# --- slots -----------------------------------------------------------------------------------------------------


def _slot(world: World, schedule: Schedule) -> Action | None:
    """Creates the Snapshot of the newest slot that is due, or leaves it out. At most one, however long the operator did
    not run."""
    policy = world.policy
    if policy is None:
        return None
    status = transitions.scheduled(policy, world.now)
    if status.schedule_hash != policy.status.schedule_hash:
        return Record(status)
    if world.environment_id is None:
        return _record(policy, transitions.without_environment(policy, world.now))
    slot = due(world, schedule, status)
    if slot is None:
        return None
    late = (world.now - schedule.begin(slot)).total_seconds()
    limit = policy.spec.starting_deadline_seconds
    if limit is not None and late > limit:
        message = f"The snapshot of {clock.text(slot)} is left out: it could not be created for {limit} s."
        return Record(transitions.dealt_with(status, slot, None), (Note("Warning", "MissedSchedule", message),))
    if _unfinished(world) is not None:
        return None
    name = cron.snapshot_name(policy.meta.name, policy.meta.uid, slot)
    return Create(name, transitions.dealt_with(status, slot, name))


def due(world: World, schedule: Schedule, status: SnapshotPolicyStatus) -> datetime | None:
    """The slot that a Snapshot is due for. None: none."""
    if world.spec.suspend or status.scheduled_from is None:
        return None
    done = clock.parse(status.last_schedule_time) if status.last_schedule_time is not None else None
    return schedule.due(world.now, clock.parse(status.scheduled_from), done)


def _unfinished(world: World) -> SnapshotEntry | None:
    """A scheduled Snapshot that has not ended: the next one waits for it, so that they do not pile up."""
    return next(
        (e for e in world.snapshots if e.retention.trigger == "Scheduled" and not e.terminal and not e.deleting),
        None,
    )


# --- pins ------------------------------------------------------------------------------------------------------


def _pins(world: World) -> Action | None:
    """Without a policy the default limit holds, and admission finds the number of pins in the Environment. With one it
    is in the policy."""
    if world.environment_id is None:
        return None
    count = transitions.pinned(world.snapshots) if world.policy is None else 0
    wanted = PinCount(pinned=count, limit=world.spec.max_pinned) if count else None
    return CountPins(wanted) if wanted != world.pins else None


# --- retention -------------------------------------------------------------------------------------------------


def _listed(world: World) -> list[Listed]:
    """The environment's Snapshots; of those that the rules are about, which ones a Rollback uses."""
    found = ((e, e.retention.candidate) for e in world.snapshots)
    return [
        Listed(
            e.key.name,
            replace(c, in_use=e.key.name in world.used) if c is not None else None,
            e.pairing.needs,
            e.retention.told,
        )
        for e, c in found
    ]


def _retention(world: World, verdicts: Mapping[str, Verdict]) -> Action | None:
    by_name = {e.key.name: e for e in world.snapshots}
    news = [(by_name[name].key, v) for name, v in sorted(verdicts.items()) if not _is_told(by_name[name], v)]
    if news:
        return Explain(tuple(news[:BATCH]))
    # Differentials go first. The end of the last one that is entered in a full Snapshot brings the next reconcile.
    expired = sorted(
        (by_name[name] for name, v in verdicts.items() if v.expired and not _has_dependents(world, by_name[name])),
        key=lambda e: e.data_order,
    )
    if not expired:
        return None
    return Delete(tuple(e.key for e in expired[:BATCH]), _protector(world.snapshots, verdicts))


def _has_dependents(world: World, full: SnapshotEntry) -> bool:
    """Whether a Snapshot needs it or is entered in it: it cannot be deleted."""
    entered = bool(full.pairing.dependents)
    return entered or any(e.pairing.needs == full.id for e in world.snapshots)


def _is_told(entry: SnapshotEntry, verdict: Verdict) -> bool:
    told = entry.retention.told
    return told is not None and retention.status_of(told) == retention.status_of(verdict)


def _protector(entries: tuple[SnapshotEntry, ...], verdicts: Mapping[str, Verdict]) -> Key | None:
    """The newest good Snapshot that the rules are about: it must be there before another one goes."""
    latest = [e for e in entries if retention.LATEST in verdicts.get(e.key.name, Verdict()).rules]
    return min(latest, key=lambda e: not e.good).key if latest else None


def _history(world: World) -> Action | None:
    """Removes Rollbacks beyond the history limit. Not without the Environment, which remembers what ran."""
    if world.environment_id is None:
        return None
    names = history.beyond(world.rollbacks, world.history_limit, world.now)
    return DeleteRollbacks(tuple(Key("Rollback", world.key.namespace, n) for n in names[:BATCH])) if names else None


# --- the end of a reconcile ------------------------------------------------------------------------------------


def _end(world: World, schedule: Schedule, verdicts: Mapping[str, Verdict]) -> Action:
    """The status, then the pause until something is due."""
    moments = [v.until for v in verdicts.values() if v.until is not None]
    policy = world.policy
    if policy is not None and world.environment_id is not None:
        following = None if policy.spec.suspend else schedule.next(world.now)
        begin = schedule.begin(following) if following is not None else None
        status = transitions.with_results(policy.status, world.snapshots, Stamp.of(policy.meta, world.now))
        status = restore_tests.with_results(status, world)
        numbers = transitions.kept(world.snapshots, verdicts)
        pinned = transitions.pinned(world.snapshots)
        action = _record(policy, transitions.active(policy, status, begin, numbers, pinned, world.now))
        if action is not None:
            return action
        tested = restore_tests.following(world)
        moments += [moment for moment in (begin, tested) if moment is not None]
        if due(world, schedule, policy.status) is not None:
            return Idle(BUSY_PAUSE)
    left = [(m - world.now).total_seconds() for m in moments]
    return Idle(max(0.1, min([*left, MAX_PAUSE])))


def _record(policy: Policy, status: SnapshotPolicyStatus) -> Record[SnapshotPolicyStatus] | None:
    """None where the status says so already."""
    return Record(status) if status != policy.status else None
