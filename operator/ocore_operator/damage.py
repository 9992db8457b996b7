"""Bytes of a Snapshot that differ from its manifest, or are gone. The Snapshot's status reports it, whatever has found
it. Pure.

They are found by reading everything back, by a test restore, a remote copy or a rollback. The Snapshot stays Ready only
where another whole copy exists.
"""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.snapshot import SnapshotStatus
from ocore_operator import remote_status, summarize
from ocore_operator.errors import Stalled
from ocore_operator.kube.resources import Snapshot
from ocore_operator.summarize import Stamp

#: Failures that show that stored bytes are wrong or gone. All others say nothing about the store.
STORED_BYTES = frozenset((c.CORRUPT, c.SNAPSHOT_NOT_FOUND))


def is_known(snapshot: Snapshot) -> bool:
    """Whether the data in the Snapshot's own store is known to be damaged."""
    verified = c.find(snapshot.status.conditions, c.VERIFIED)
    return verified is not None and verified.status == "False"


def reads_copy(snapshot: Snapshot) -> bool:
    """Whether the Snapshot is read from its remote copy: its own data is gone, or is known to be damaged."""
    remote = snapshot.status.remote
    return remote is not None and (remote.only or (remote.complete and is_known(snapshot)))


def corrupt(snapshot: Snapshot, message: str, now: datetime) -> SnapshotStatus:
    """Bytes in the Snapshot's own store, or in the only one that it has, differ from the manifest: it must not be
    restored, but from a remote copy."""
    stamp = Stamp.of(snapshot.meta, now)
    status = summarize.with_condition(snapshot.status, c.VERIFIED, "False", c.CORRUPT, message, stamp)
    remote = status.remote
    copy = remote.readable if remote is not None and not remote.only else None
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
    if status.remote is not None and (status.remote.only or is_known(snapshot)):
        return corrupt(snapshot.with_status(status), message, now)
    return status
