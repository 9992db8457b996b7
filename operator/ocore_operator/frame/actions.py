"""The actions that do not depend on a kind. Frozen values without I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from ocore_crds.model import Model
from ocore_crds.protocol import Failure
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.jobs.observing import attempts
from ocore_operator.jobs.observing.attempts import STOP_PAUSE
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Key

StatusT = TypeVar("StatusT", bound=Model)


@dataclass(frozen=True)
class Note:
    """An Event to record on the object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Idle(Generic[StatusT]):
    """Nothing to do for so many seconds (None: until something changes). `status` is written first where given."""

    seconds: float | None = None
    status: StatusT | None = None
    #: Why a Job does not run yet, for what waits for the object.
    why: str = ""


@dataclass(frozen=True)
class Wait:
    """Report in the conditions what is waited for. Observe again after so many seconds, or when something changes. The
    only action that may rest on the last lists of Jobs (``loop.py``)."""

    seconds: float
    reason: str
    message: str
    #: A person must change something: Stalled, not Reconciling.
    stalled: bool = False
    #: The pod whose log is followed.
    pod: str = ""
    #: Name of the Job to record, so that its loss is noticed.
    job: str = ""
    #: An object to reconcile now, because this one waits for it.
    wake: Key | None = None


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
    #: Failpoint that is hit before the status is written.
    before: str = ""


@dataclass(frozen=True)
class SetFinalizer:
    """Add or remove the kind's finalizer."""

    present: bool


@dataclass(frozen=True)
class SetLock:
    """Acquire or release the operation lock of the Environment."""

    held: bool


@dataclass(frozen=True)
class StartJob:
    """Create the Job of an attempt at that command. `attempt`: what its name ends with."""

    command: str
    attempt: int | str


@dataclass(frozen=True)
class StopJob:
    """Delete a Job, and observe again until its pods are gone. `because` is reported first where given: nothing else
    remembers it once the Job is gone."""

    job: str
    because: Failure | None = None


def stop(seen: Observation, names: Iterable[str], *, with_ended: bool = True) -> Idle[Any] | StopJob | None:
    """Stops the first of these Jobs that may still act, and waits for its pods; None: none may. `with_ended`: see
    :func:`attempts.acts`."""
    name = attempts.acts(seen, names, with_ended=with_ended)
    if name is None:
        return None
    return Idle(STOP_PAUSE) if attempts.is_stopped(seen, name) else StopJob(name)


def until_passed(refusal: Outcome) -> Idle[StatusT] | None:
    """How long nothing is done where a Job could not be created; None: it has failed. What a person must change is
    reported by the next probe of the object."""
    return Idle(refusal.after) if isinstance(refusal, (Waiting, Stalled)) else None
