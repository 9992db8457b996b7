"""When a state object of a Complete Snapshot is written again: pin, retention or deletionPolicy were changed. Pure.

There is one beside the data in the Snapshot's own store, and one beside its remote copy. `status.storedState` and
`status.remote.storedState` are what the stores have. So no Job runs without a change, changes while a Job runs are
written together by the next one, and a crash loses none: the difference remains until a Job has written it. The two
stores do not wait for each other.
"""

from dataclasses import dataclass
from functools import partial

from ocore_crds import conditions as c
from ocore_crds.commands.table import WRITE_STATE
from ocore_crds.protocol import StateResult
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.stored.snapshot_state import StoredState
from ocore_operator import remote_status
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing import attempts
from ocore_operator.jobs.observing.attempts import STOP_PAUSE, Done, Due, Series, Waits
from ocore_operator.jobs.observing.snapshot_jobs import state_writing
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot.world import Action, StartState, World

#: Seconds until a failed Job is retried: the first times, and later.
RETRY_PAUSE = 10.0
LATER_PAUSE = 600.0
#: Seconds after which it is checked again whether the store can be written.
CHECK_PAUSE = 3600.0


@dataclass(frozen=True)
class Place:
    """One of the two state objects."""

    remote: bool
    #: The Jobs that write it.
    series: Series[StateResult]
    #: What it has. None: unknown.
    stored: StoredState | None


def wanted(spec: SnapshotSpec) -> StoredState:
    """What a state object should have."""
    return StoredState(
        pin_label=spec.pin.label if spec.pin is not None else None,
        retention=spec.retention,
        deletion_policy=spec.deletion_policy,
    )


def places(snapshot: Snapshot) -> tuple[Place, ...]:
    """The state objects that exist, or should. None of them is written while another cluster may own the data."""
    status = snapshot.status
    remote, imported = status.remote, status.imported
    if imported is not None and not imported.taken_over:
        return ()
    found: list[Place] = []
    if remote is None or not remote.only:
        found.append(Place(False, state_writing(snapshot, remote=False), status.stored_state))
    if remote is not None and remote.complete:
        found.append(Place(True, state_writing(snapshot, remote=True), remote.stored_state))
    return tuple(found)


def differing(snapshot: Snapshot) -> tuple[Place, ...]:
    """Those that have another state than the Snapshot's spec, as far as that is known."""
    spec = wanted(snapshot.spec)
    return tuple(place for place in places(snapshot) if place.stored is not None and place.stored != spec)


def differs_raw(obj: Object) -> bool:
    """Whether one differs, over raw JSON: a resync asks it of thousands."""
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    imported, remote = status.get("imported"), status.get("remote") or {}
    if imported is not None and not imported.get("takenOver"):
        return False
    own = status.get("storedState") if not remote.get("only") else None
    copied = remote.get("storedState") if remote.get("state") == "Completed" else None
    pin = spec.get("pin")
    state = (
        pin.get("label", "") if pin is not None else None,
        spec.get("retention", "Keep"),
        spec.get("deletionPolicy", "Retain"),
    )
    stored = [s for s in (own, copied) if s is not None]
    return any((s.get("pinLabel"), s.get("retention"), s.get("deletionPolicy")) != state for s in stored)


def decide(world: World) -> Action | None:
    """The next action; None where there is none now.

    A Snapshot of an earlier version has no `storedState`: thousands of them start no Job. It is entered, as the
    defaults that an import assumes, when the spec changes for the first time. The difference to these is written then.
    """
    snapshot, status = world.snapshot, world.snapshot.status
    if not c.is_true(status.conditions, c.COMPLETE):
        return None
    unknown = [place for place in places(snapshot) if place.stored is None]
    if unknown and status.observed_generation != snapshot.meta.generation:
        for place in unknown:
            snapshot = snapshot.with_status(_stored(snapshot, place, StoredState()))
        return Record(snapshot.status)
    known = [place for place in places(snapshot) if place.stored is not None]
    steps = [*map(partial(_unrecorded, world), known), *map(partial(_write, world), differing(snapshot))]
    return next((step for step in steps if step is not None), None)


def seconds_left(world: World) -> float | None:
    """Seconds until a state is written, or until it is checked whether it can be; None: all are written."""
    return min((_pause(world, place) for place in differing(world.snapshot)), default=None)


def _blocked(world: World, place: Place) -> Outcome | None:
    """Why its store cannot be written now; None where it can be."""
    if place.remote:
        return world.remote.blocked if world.remote is not None else None
    return None if world.store_writable else Stalled(c.STORE_READ_ONLY, "The store takes no state object.")


def _unrecorded(world: World, place: Place) -> Action | None:
    """What a Job writes, or has written since the status was; None where the status has it. Also where the spec asks
    for nothing: a pin that was set and removed within a second is in the store, and would keep the data from being
    deleted."""
    match _next(world, place):
        case Done(result=StateResult(state=written)) if written != place.stored:
            return Record(_stored(world.snapshot, place, written))
        case Waits(paused=False, seconds=seconds):
            return Idle(seconds)
        case _:
            return None


def _write(world: World, place: Place) -> Action | None:
    snapshot = world.snapshot
    found, blocked = _next(world, place), _blocked(world, place)
    if blocked is not None:
        return _report(world, place, blocked.message)
    if isinstance(found, Waits):
        return _report(world, place, found.message)
    if world.refusal is not None:
        return Idle(RETRY_PAUSE)
    if place.remote and _copies(world):
        return Idle(STOP_PAUSE)  # it could still write an older state
    number = found.number if isinstance(found, Due) else found.number + 1
    return StartState(number, wanted(snapshot.spec), place.remote)


def _copies(world: World) -> bool:
    """Whether a pod of a Job lives that copies, and writes the object, too."""
    copies = job_name("copy-remote", world.snapshot.meta.uid, "")
    return any(world.seen.live_pods(name) for name in world.seen.pods if name.startswith(copies))


def _stored(snapshot: Snapshot, place: Place, state: StoredState) -> SnapshotStatus:
    if place.remote:
        return remote_status.state_stored(snapshot, state)
    return snapshot.status.model_copy(update={"stored_state": state})


def _report(world: World, place: Place, why: str) -> Action | None:
    """The copy's status says what the remote store lacks, and why; None where it does so already, and of the Snapshot's
    own store."""
    remote = world.snapshot.status.remote
    if remote is None or not place.remote:
        return None
    text = f"SnapshotStore {remote.store_name} has an older pin, retention or deletionPolicy; retrying: {why}"
    status = remote_status.unfinished(world.snapshot, text)
    return Record(status) if status != world.snapshot.status else None


def _pause(world: World, place: Place) -> float:
    """Seconds until it is written, or until it is checked whether it can be."""
    blocked = _blocked(world, place)
    if blocked is not None:
        return blocked.after if isinstance(blocked, Waiting) else CHECK_PAUSE
    found = _next(world, place)
    return found.seconds if isinstance(found, Waits) and found.paused else CHECK_PAUSE


def _next(world: World, place: Place) -> attempts.Answer[StateResult]:
    return place.series.next(world.seen, world.now, _retry_pause)


def _retry_pause(failed: attempts.Failed) -> float:
    soon = failed.failure.retryable and failed.number < WRITE_STATE.attempts
    return RETRY_PAUSE if soon else LATER_PAUSE
