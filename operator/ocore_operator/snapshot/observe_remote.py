"""Reads what the copy of a Complete Snapshot in a remote store depends on."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import ProgressReport, Step, parse_line
from ocore_crds.resources.remote_copy import RemoteCopy, releases
from ocore_kube.errors import ApiError
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.entries.snapshots import SnapshotEntry, needing, of_environment
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.jobs.observing.attempts import Waits
from ocore_operator.jobs.observing.snapshot_jobs import copying
from ocore_operator.kube import resources
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Snapshot, Store
from ocore_operator.snapshot import plan_state
from ocore_operator.snapshot.plan_remote import STORE_PAUSE
from ocore_operator.snapshot.world import RemoteView, World
from ocore_operator.sources import Place, copy, elsewhere, own, replaced

#: Seconds of the log that are read for the progress, and to read them.
LOG_TAIL = 15.0
READ_SECONDS = 5.0


async def view(ctx: Context, world: World, used_by: Callable[[], Awaitable[str]]) -> RemoteView:
    """What the plan needs in the state that the copy is in."""
    snapshot = world.snapshot
    remote = snapshot.status.remote
    if remote is None:
        raise ValueError(f"{snapshot.key} has no remote copy")
    if remote.complete:
        differs = any(place.remote for place in plan_state.differing(snapshot))
        blocked_ = await _state_blocked(ctx, snapshot, remote) if differs else None
        view_ = await _with_stores(ctx, snapshot, RemoteView(blocked=blocked_))
        released = releases({"spec": snapshot.spec.wire(), "status": snapshot.status.wire()})
        if released is None:
            return view_
        return replace(
            view_,
            used_by=await used_by(),
            needed_by=tuple(_needing(ctx, snapshot, released)),
            damaged_base=_damaged_base(ctx, snapshot),
        )
    namespace, name = snapshot.meta.namespace, snapshot.spec.environment_ref.name
    environment = await read(ctx.kube, resources.environment, namespace, name)
    wanted: str | None = None
    if environment is not None:
        ref = environment.spec.remote_store_ref
        wanted = ref.name if ref is not None else ""
    if remote.state == "Copying":
        return RemoteView(wanted, bytes_done=await _copied(ctx, world, remote))
    if remote.only:  # it is lost, and asked for again
        return await _with_stores(ctx, snapshot, RemoteView(wanted))
    return await _blocked(ctx, snapshot, remote, RemoteView(wanted))


async def _with_stores(ctx: Context, snapshot: Snapshot, view_: RemoteView) -> RemoteView:
    """With the stores of the copy, and of the one that it replaces."""
    unreadable = await _unreadable(ctx, snapshot, copy(snapshot))
    return await with_replaced(ctx, snapshot, replace(view_, unreadable=unreadable))


async def with_replaced(ctx: Context, snapshot: Snapshot, view_: RemoteView) -> RemoteView:
    """With the store of the copy that is replaced, if one is."""
    return replace(view_, replaced_blocked=await _unreadable(ctx, snapshot, replaced(snapshot)))


async def _unreadable(ctx: Context, snapshot: Snapshot, place: Place | None) -> Outcome | None:
    """Why the store cannot be asked now: its SnapshotStore is missing, another store, or not ready."""
    if place is None:
        return None
    found = await read(ctx.kube, resources.store, snapshot.meta.namespace, place.store_name)
    other = elsewhere(place, found)
    return other if other is not None or found is None else _not_ready(found)


def _damaged_base(ctx: Context, snapshot: Snapshot) -> str:
    """Name of the full Snapshot of a differential, where that is damaged in its own store: the differential's data
    there cannot be restored alone."""
    base = snapshot.status.base
    known = ctx.catalog.of_id(SnapshotEntry, snapshot.meta.namespace, base.id) if base is not None else None
    return known.key.name if known is not None and known.verified == "False" else ""


def _needing(ctx: Context, full: Snapshot, released: Literal["Local", "Remote"]) -> Iterator[str]:
    """Names of the Snapshots that need this one and have data, as far as is known, in the store that retention has let
    go of."""
    for e in needing(ctx.catalog, full.meta.namespace, full.id):
        if released == "Remote" and e.remote is not None:
            yield e.key.name
        if released == "Local" and (e.remote is None or not e.remote.local_deleted):
            yield e.key.name


async def _state_blocked(ctx: Context, snapshot: Snapshot, remote: RemoteCopy) -> Outcome | None:
    target = await read(ctx.kube, resources.store, snapshot.meta.namespace, remote.store_name)
    found = state_blocked(remote.store_name, target)
    if isinstance(found, Waiting) and target is not None:
        ctx.queue.add(target.key)
    return found


def state_blocked(name: str, target: Store | None) -> Outcome | None:
    """Why the state object of a copy cannot be written now; None where it can be. Pure."""
    if target is None:
        return Stalled(c.STORE_NOT_FOUND, f"There is no SnapshotStore {name} any more. Create it again.")
    if not takes_states(target):
        text = f"SnapshotStore {name} has access ReadOnly, or only imports. Set access ReadWrite, or takeOver."
        return Stalled(c.STORE_READ_ONLY, text)
    return _not_ready(target)


def takes_states(store: Store) -> bool:
    """Whether this cluster may write state objects to it."""
    return store.spec.access == "ReadWrite" and (store.spec.take_over or not store.spec.import_)


def _not_ready(target: Store) -> Outcome | None:
    ready = c.find(target.status.conditions, c.READY)
    if ready is not None and ready.status == "True":
        return None
    why = ready.message if ready is not None else "it has not been probed yet."
    return Waiting(c.STORE_NOT_READY, f"SnapshotStore {target.meta.name} is not ready: {why}", STORE_PAUSE)


async def _copied(ctx: Context, world: World, remote: RemoteCopy) -> int:
    """Bytes that the running Job has reported last; 0: none, or its log cannot be read."""
    running = copying(world.snapshot).at(world.seen, remote.attempts)
    if not isinstance(running, Waits) or not running.pod:
        return 0
    since, found = clock.after(ctx.now(), -LOG_TAIL), 0
    lines = ctx.kube.follow_log(
        world.snapshot.meta.namespace, running.pod, since=since, follow=False, seconds=READ_SECONDS
    )
    try:
        async for line in lines:
            report = parse_line(line.text)
            if isinstance(report, ProgressReport) and report.step is Step.COPY_REMOTE:
                found = report.bytes_done
    except ApiError:
        return found
    return found


async def _blocked(ctx: Context, snapshot: Snapshot, remote: RemoteCopy, view_: RemoteView) -> RemoteView:
    """With why no attempt can be made now, and the id of the remote store."""
    namespace = snapshot.meta.namespace
    target = await read(ctx.kube, resources.store, namespace, remote.store_name)
    source = await read(ctx.kube, resources.store, namespace, snapshot.status.store_name)
    found = blocked(snapshot, remote, target, source)
    if found is None:
        found = _base(ctx, snapshot, remote)
    if isinstance(found, Waiting) and target is not None:
        ctx.queue.add(target.key)
    return replace(view_, blocked=found, target_id=(target.status.store_id or "") if target is not None else "")


def blocked(snapshot: Snapshot, remote: RemoteCopy, target: Store | None, source: Store | None) -> Outcome | None:
    """Why the two stores allow no attempt now; None where they do. Pure."""
    name = remote.store_name
    if target is None:
        text = (
            f"There is no SnapshotStore {name} in namespace {snapshot.meta.namespace}. Create it, or correct"
            " spec.remoteStoreRef of the Environment."
        )
        return Stalled(c.STORE_NOT_FOUND, text)
    other = elsewhere(own(snapshot), source)
    if other is not None or source is None:
        return other
    if target.spec.access == "ReadOnly":
        text = (
            f"SnapshotStore {name} has access ReadOnly, and copies are written to it. Name one with access ReadWrite in"
            " spec.remoteStoreRef."
        )
        return Stalled(c.STORE_READ_ONLY, text)
    if target.status.store_id is not None and target.status.store_id == snapshot.status.store_id:
        text = (
            f"SnapshotStore {name} is the store that the snapshot is in (id {target.status.store_id}): a copy there"
            " would be lost together with it. Name a store with another bucket, prefix or claim in spec.remoteStoreRef"
            " of the Environment."
        )
        return Stalled(c.SAME_STORE, text)
    accounts = [s.spec.service_account_name for s in (target, source) if s.spec.service_account_name]
    if len(set(accounts)) > 1:
        text = (
            f"One Job reads {source.meta.name} and writes {name}, and both have a serviceAccountName, but not the same."
            " Set the same one, or use static keys in one of them."
        )
        return Stalled(c.SERVICE_ACCOUNT_CONFLICT, text)
    return _not_ready(target)


def _base(ctx: Context, snapshot: Snapshot, remote: RemoteCopy) -> Outcome | None:
    """A differential is copied after the full that it needs, which goes first whatever its age."""
    base = snapshot.status.base
    if base is None:
        return None
    for e in of_environment(ctx.catalog, snapshot.meta.namespace, snapshot.spec.environment_ref.name):
        if (
            e.id == base.id
            and e.remote is not None
            and (e.remote.state, e.remote.store) == ("Completed", remote.store_name)
        ):
            return None
    text = f"The full snapshot with id {base.id}, which it needs, is copied first."
    return Waiting(c.BASE_NOT_COPIED, text, STORE_PAUSE)
