"""Series of Jobs: all attempts of one command for one object, one after the other. Their names differ by the number of
the attempt. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from ocore_crds.commands.table import COPY_REMOTE, DELETE, WRITE_STATE, Command
from ocore_crds.protocol import CopyResult, DeleteResult, StateResult
from ocore_crds.remote_copy import CopyPlace, RemoteCopy
from ocore_operator import clock
from ocore_operator.jobs.outcome import Absent, Observation, Reading, read
from ocore_operator.jobs.shape import job_name
from ocore_operator.kube.resources import Snapshot

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Series(Generic[ResultT]):
    """All attempts of `command` for the object of that uid. `result`: what one reports. `what`: an attempt, as the
    subject of a message."""

    command: Command[Any]
    uid: str
    result: type[ResultT]
    what: str
    #: Stands before the number in the names.
    prefix: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError where the table of commands has another result."""
        if self.result not in self.command.results:
            raise ValueError(f"{self.command.name} does not report a {self.result.__name__}")

    def attempt(self, number: int) -> str:
        """What the name of that attempt's Job ends with."""
        return f"{self.prefix}{number}"

    def job(self, number: int) -> str:
        """Name of that attempt's Job."""
        return job_name(self.command.name, self.uid, self.attempt(number))

    def newest(self, seen: Observation) -> tuple[int, Reading[ResultT]]:
        """Number of the newest attempt and what its Job says; 0 and Absent where there is none."""
        start = job_name(self.command.name, self.uid, self.prefix)
        numbers = [name.removeprefix(start) for name in seen.of_command(self.command.name)]
        newest = max((int(number) for number in numbers if number.isdigit()), default=0)
        return newest, self.reading(seen, newest) if newest else Absent()

    def reading(self, seen: Observation, number: int) -> Reading[ResultT]:
        """What that attempt's Job says."""
        return read(seen.state(self.job(number)), self.result, self.what)


# --- of a Snapshot -------------------------------------------------------------------------------------------------


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
