"""Which Snapshots of an environment are copied to its remote store next. Pure.

A copy that was not checked for a week is checked again; one that is in another store than the Environment names now is
made again there.

A new Snapshot at once, whatever waits. Of those that exist already (the Environment has just got a remote store), the
newest first, a few at a time.
"""

from collections.abc import Iterable
from datetime import timedelta

from ocore_operator import clock
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.policy.world import CheckCopies, RequestCopies, World

#: Copies of older Snapshots that are wanted at the same time, per environment.
BACKFILL = 4
#: How often a remote store is asked whether it still has a copy, and of how many at the same time, per environment.
CHECK_EVERY = timedelta(days=7)
CHECKS = 4
#: Requested by one action.
BATCH = 20


def decide(world: World) -> RequestCopies | CheckCopies | None:
    """None: there is nothing to request now."""
    return _wanted(world) or _due(world)


def _due(world: World) -> CheckCopies | None:
    """The copies whose store was not asked for a week, those longest ago first, a few at a time."""
    if sum(e.remote is not None and e.remote.busy and not e.remote.lost for e in world.snapshots) >= CHECKS:
        return None
    before = clock.text(world.now - CHECK_EVERY)
    due = [
        (e.remote.checked, e.key)
        for e in world.snapshots
        if e.remote is not None
        and e.remote.state == "Completed"
        and not e.deleting
        and not e.remote.busy
        and e.remote.checked <= before
    ]
    keys = [key for _, key in sorted(due, key=lambda pair: (pair[0], pair[1].name))]
    return CheckCopies(tuple(keys[:CHECKS])) if keys else None


def _wanted(world: World) -> RequestCopies | None:
    if not world.remote_store or world.environment_id is None:
        return None
    # One whose own data is damaged waits for nothing: it must not hold up the others.
    running = [
        e for e in world.snapshots if e.remote is not None and e.remote.state != "Completed" and e.verified != "False"
    ]
    newest = max((_age_order(e) for e in running), default=None)
    wanted: list[SnapshotEntry] = []
    for e in sorted(_without_copy(world), key=_age_order, reverse=True)[:BATCH]:
        if len(running) + len(wanted) < BACKFILL or (newest is not None and _age_order(e) > newest):
            wanted.append(e)
    keys = [e.key for e in (*wanted, *_bases(world, (*running, *wanted)))]
    return RequestCopies(tuple(dict.fromkeys(keys)), world.remote_store) if keys else None


def _age_order(entry: SnapshotEntry) -> tuple[str, str, str]:
    """By the end of the Snapshot: of an adopted one, when its data was stored."""
    return entry.completed, *entry.age_order


def _without_copy(world: World) -> Iterable[SnapshotEntry]:
    """Complete Snapshots whose data is whole, as far as is known, and whose copy would be kept: without a copy, or with
    one in another store."""
    days = world.spec.remote_retention_days
    for e in world.snapshots:
        if e.phase != "Complete" or e.deleting or e.verified == "False" or not _lacks_copy(world, e):
            continue
        candidate = e.retention.candidate
        if candidate is None or not days or candidate.time + timedelta(days=days) > world.now:
            yield e


def _lacks_copy(world: World, entry: SnapshotEntry) -> bool:
    """Whether no copy is wanted yet, or the complete one is in another store than the Environment names now, which is
    ready. A copy that is the only data stays where it is."""
    remote = entry.remote
    if remote is None:
        return True
    if remote.state != "Completed" or remote.only or remote.busy or not world.remote_store_id:
        return False
    return remote.store_id != world.remote_store_id


def _bases(world: World, entries: Iterable[SnapshotEntry]) -> Iterable[SnapshotEntry]:
    """The fulls that differentials among the entries need: they are copied first, whatever their age."""
    by_id = {e.id: e for e in world.snapshots if e.phase == "Complete" and not e.deleting and _lacks_copy(world, e)}
    needed = {e.pairing.needs for e in entries}
    return [by_id[n] for n in sorted(needed) if n in by_id]
