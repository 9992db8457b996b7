"""When a store is swept, and what its status says about it. Pure."""

import hashlib
from datetime import datetime

from ocore_crds import naming
from ocore_crds.reports.stored_contents import OrphanFigures, OrphansResult, RemovedFigures, RemovedOrphans
from ocore_crds.resources.snapshotstore import OrphansStatus, RemovalStatus
from ocore_crds.text.quantity import human
from ocore_crds.text.sentences import shortened
from ocore_operator import clock
from ocore_operator.kube.resources import Store

#: Seconds until a sweep that failed is repeated, at most.
AGAIN = 3600.0
#: Seconds between two sweeps that renew locks, for each day of a lock: half of it has not passed after two of them.
RENEWAL = 86400.0 / 4


def due_in(store: Store, interval: float, now: datetime) -> float | None:
    """Seconds until the next sweep, 0 or less: now; None: only when asked. A new store has nothing that is old
    enough."""
    last = store.status.orphans
    since = last.checked_at if last is not None else store.meta.created
    if renews(store) and store.spec.s3 is not None and store.spec.s3.lock is not None:
        renewal = RENEWAL * store.spec.s3.lock.days
        interval = min(interval, renewal) if interval else renewal
    if clock.asked(store.meta.annotations.get(naming.ANNOTATION_SWEEP_REQUESTED, ""), since, now):
        return 0.0
    if last is not None and last.removal is not None and last.removal.finished_at > last.checked_at:
        return 0.0
    if last is not None and last.message:
        interval = min(interval, AGAIN) if interval else AGAIN
    return interval - clock.seconds_since(since, now) if interval else None


def renews(store: Store) -> bool:
    """Whether a sweep extends locks. Never where another cluster may own the store."""
    lock = store.spec.s3.lock if store.spec.s3 is not None else None
    return lock is not None and lock.renew and not _of_another_cluster(store)


def _of_another_cluster(store: Store) -> bool:
    return store.spec.import_ and not store.spec.take_over


def removal_wanted(store: Store) -> str | None:
    """The report whose orphans are to be removed; None: none. Never where another cluster may own the store, or nothing
    may be written."""
    last, spec = store.status.orphans, store.spec
    wanted = store.meta.annotations.get(naming.ANNOTATION_REMOVE_ORPHANS)
    if not wanted or last is None or last.report != wanted:
        return None
    if last.removal is not None and last.removal.report == wanted:
        return None
    if spec.access != "ReadWrite" or _of_another_cluster(store):
        return None
    return wanted


def attempt(store: Store, what: str) -> str:
    """The part of a Job's name that changes with each sweep and removal."""
    last = store.status.orphans
    since = last.checked_at if last is not None else ""
    removed = last.removal.finished_at if last is not None and last.removal is not None else ""
    asked = store.meta.annotations.get(naming.ANNOTATION_SWEEP_REQUESTED, "")
    return hashlib.sha256(f"{what} {since} {removed} {asked}".encode()).hexdigest()[:8]


def swept(store: Store, result: OrphansResult, claimed: int, now: datetime) -> OrphansStatus:
    """After a sweep. `claimed`: Snapshots that have their data in this store, in all namespaces."""
    last = store.status.orphans
    return OrphansStatus(
        checked_at=clock.text(now),
        **result.model_dump(include=set(OrphanFigures.model_fields)),
        unclaimed=max(result.manifests - claimed, 0),
        report=result.report or None,
        removal=last.removal if last is not None else None,
    )


def not_swept(store: Store, why: str, now: datetime) -> OrphansStatus:
    """After a sweep without a result: the last figures stay."""
    last = store.status.orphans
    old = last if last is not None else OrphansStatus(checked_at=clock.text(now))
    message = f"The sweep failed: {shortened(why, 800)}"
    return old.model_copy(update={"checked_at": clock.text(now), "message": message})


def removed(last: OrphansStatus, result: RemovedOrphans, now: datetime) -> OrphansStatus:
    """After a removal. Another sweep follows."""
    message = f"{result.objects} objects ({human(result.bytes)}) and {result.uploads} uploads were removed."
    if result.kept:
        message += f" {result.kept} stayed: they are named now, were changed, or were gone."
    return _with_removal(
        last,
        RemovalStatus(
            report=last.report or "",
            finished_at=clock.text(now),
            message=message,
            **result.model_dump(include=set(RemovedFigures.model_fields)),
        ),
    )


def not_removed(last: OrphansStatus, why: str, now: datetime) -> OrphansStatus:
    """After a removal that failed. It needs a new report: part of the old one may be gone."""
    message = f"The removal failed: {shortened(why, 800)}"
    return _with_removal(last, RemovalStatus(report=last.report or "", finished_at=clock.text(now), message=message))


def _with_removal(last: OrphansStatus, removal: RemovalStatus) -> OrphansStatus:
    return last.model_copy(update={"removal": removal})
