"""The series of Jobs of a Snapshot: what each deletes, writes or copies. Pure."""

from enum import StrEnum

from ocore_crds.commands.table import COPY_REMOTE, DELETE, SNAPSHOT, WRITE_STATE
from ocore_crds.protocol import CopyResult, DeleteResult, SnapshotResult, StateResult
from ocore_crds.resources.remote_copy import CopyPlace, RemoteCopy
from ocore_operator import clock
from ocore_operator.jobs.observing.attempts import Series
from ocore_operator.kube.resources import Snapshot


class Deletes(StrEnum):
    """What a delete Job deletes. The value begins what its name ends with."""

    #: The whole snapshot in its own store.
    ALL = ""
    #: What failed attempts left there, and the manifest does not name.
    LEFTOVERS = "left"
    #: The data in the Snapshot's own store, while the remote copy stays.
    LOCAL = "local"
    #: The remote copy.
    COPY = "remote"
    #: A remote copy that another one has replaced.
    REPLACED = "replaced"


def moment(place: RemoteCopy | CopyPlace) -> int:
    """When the copy was requested, in seconds since the epoch: Jobs of an earlier copy of the same Snapshot may still
    exist."""
    return int(clock.parse(place.requested_at).timestamp())


def attempts(snapshot: Snapshot) -> Series[SnapshotResult]:
    """The Jobs that take the snapshot. The status has the number of the attempt."""
    return Series(SNAPSHOT, snapshot.meta.uid, SnapshotResult, "The Job")


def deletion(snapshot: Snapshot, deletes: Deletes) -> Series[DeleteResult]:
    """The Jobs that delete that. Raises ValueError where there is no such copy."""
    remote, prefix = snapshot.status.remote, str(deletes)
    if deletes in (Deletes.LOCAL, Deletes.COPY, Deletes.REPLACED):
        place = remote.replaces if remote is not None and deletes is Deletes.REPLACED else remote
        if place is None:
            raise ValueError(f"{snapshot.key} has no remote copy of the kind {deletes.name}")
        prefix = f"{deletes}-{moment(place)}-"
    return Series(DELETE, snapshot.meta.uid, DeleteResult, "The deletion", prefix)


def state_writing(snapshot: Snapshot, *, remote: bool) -> Series[StateResult]:
    """The Jobs that write the state object beside the data in the Snapshot's own store, or beside its remote copy."""
    copy = snapshot.status.remote
    prefix = f"remote-{moment(copy)}-" if remote and copy is not None else ""
    return Series(WRITE_STATE, snapshot.meta.uid, StateResult, "The Job that writes the state", prefix)


def copying(snapshot: Snapshot) -> Series[CopyResult]:
    """The Jobs that make the remote copy. Raises ValueError where none is asked for."""
    remote = snapshot.status.remote
    if remote is None:
        raise ValueError(f"{snapshot.key} has no remote copy")
    return Series(COPY_REMOTE, snapshot.meta.uid, CopyResult, "The Job of the copy", f"{moment(remote)}-")
