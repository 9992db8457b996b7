"""The outcomes of a reconcile's steps.

::

    Outcome               how a step of a reconcile ended; summarize.py turns it into conditions
    ├── Waiting           something else must happen first; reconciled again after some seconds
    ├── Stalled           a person must change something; reconciled again when something changes
    └── Failed            terminal for this object

Errors of the API server: :mod:`ocore_kube.errors`.
"""

from ocore_crds.protocol import Failure


class Outcome(Exception):
    """How a step ended: `reason` is one of ocore_crds.conditions, `message` says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Waiting(Outcome):
    """Something else must happen first. `after`: seconds until the next reconcile (events come sooner)."""

    def __init__(self, reason: str, message: str, after: float) -> None:
        super().__init__(reason, message)
        self.after = after


class Stalled(Outcome):
    """A person must change something. `after`: seconds until the next reconcile, where no watch shows the change."""

    def __init__(self, reason: str, message: str, after: float | None = None) -> None:
        super().__init__(reason, message)
        self.after = after


class Failed(Outcome):
    """The operation has failed."""

    @classmethod
    def of(cls, failure: Failure) -> "Failed":
        """From the failure that the mover reported."""
        return cls(failure.reason, failure.message)
