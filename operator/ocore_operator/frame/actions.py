"""The actions that do not depend on a kind. Frozen values without I/O."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from ocore_crds.model import Model
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.reconcile_loop import Note

StatusT = TypeVar("StatusT", bound=Model)


@dataclass(frozen=True)
class Idle(Generic[StatusT]):
    """Nothing to do for so many seconds (None: until something changes). `status` is written first where given."""

    seconds: float | None = None
    status: StatusT | None = None


@dataclass(frozen=True)
class Record(Generic[StatusT]):
    """Write this status and record the Events, then observe again."""

    status: StatusT
    notes: tuple[Note, ...] = ()
    #: Hit after the status is written.
    failpoint: str = ""
    #: Name of the Job whose result the status has: it is removed first, else its result would be read again under the
    #: name of another attempt.
    job: str = ""


@dataclass(frozen=True)
class SetFinalizer:
    """Add or remove the kind's finalizer."""

    present: bool


def until_passed(refusal: Outcome) -> Idle[StatusT] | None:
    """How long nothing is done where a Job could not be created; None: it has failed. What a person must change is
    reported by the next probe of the object."""
    return Idle(refusal.after) if isinstance(refusal, (Waiting, Stalled)) else None
