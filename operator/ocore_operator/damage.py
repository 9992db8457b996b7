"""Bytes of a Snapshot that differ from its manifest, or are gone. The Snapshot's status reports it, whatever has found
it. Pure.

They are found by reading everything back, by a test restore, a remote copy or a rollback. The Snapshot stays Ready only
where another whole copy exists.
"""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_operator import remote_status, sources, summarize
from ocore_operator.errors import Stalled
from ocore_operator.kube.resources import Snapshot
from ocore_operator.sources import Place
from ocore_operator.summarize import Stamp

#: Failures that show that stored bytes are wrong or gone. All others say nothing about the store.
STORED_BYTES = frozenset((c.CORRUPT, c.SNAPSHOT_NOT_FOUND))


def read_place(snapshot: Snapshot) -> Place:
    """The store that the Snapshot is read from, as far as is recorded; where none has it whole, the one that should."""
    found, copy, remote = sources.source(snapshot).place, sources.copy(snapshot), snapshot.status.remote
    return found or (copy if copy is not None and remote is not None and remote.only else sources.own(snapshot))


def corrupt(snapshot: Snapshot, message: str, now: datetime) -> SnapshotStatus:
    """Bytes in the Snapshot's own store, or in the only one that it has, differ from the manifest: it must not be
    restored, but from a remote copy."""
    stamp = Stamp.of(snapshot.meta, now)
    status = summarize.with_condition(snapshot.status, c.VERIFIED, "False", c.CORRUPT, message, stamp)
    copy = sources.source(snapshot.with_status(status)).place
    if copy is not None:
        text = f"Restorable from the remote copy in {copy.store_name} only: {message}"
        return summarize.ready(status, c.REMOTE_COPY_ONLY, text, stamp)
    return summarize.outcome(status, Stalled(c.CORRUPT, message), stamp).model_copy(update={"phase": "Corrupt"})


def found(snapshot: Snapshot, message: str, now: datetime, *, in_copy: bool) -> SnapshotStatus:
    """The same, found by someone who has read the Snapshot's own store, or (`in_copy`) its complete remote copy. A copy
    is made again from whole data."""
    if not in_copy:
        return corrupt(snapshot, message, now)
    status = remote_status.lost(snapshot, message, now)
    if status.remote is not None and (status.remote.only or sources.is_damaged(snapshot)):
        return corrupt(snapshot.with_status(status), message, now)
    return status


def copy_found(snapshot: Snapshot, now: datetime) -> SnapshotStatus:
    """The copy, which is the only data and was lost, is whole again: the Snapshot can be restored from it."""
    return read_whole(snapshot.with_status(remote_status.found_again(snapshot, now)), now)


def read_whole(
    snapshot: Snapshot, now: datetime, text: str = "It was found to be damaged before, and is whole again."
) -> SnapshotStatus:
    """The only data of a Snapshot that was known to be damaged matches its manifest: it can be restored."""
    stamp = Stamp.of(snapshot.meta, now)
    status = summarize.with_condition(snapshot.status, c.VERIFIED, "Unknown", c.CHECKSUMS_ONLY, text, stamp)
    return summarize.complete(status, c.SUCCEEDED, f"Restorable. {text}", stamp)
