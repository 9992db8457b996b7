"""The operator's one exception tree.

::

    OperatorError
    ├── Outcome               how a step of a reconcile ended; summarize.py turns it into conditions
    │   ├── Waiting           something else must happen first; looked at again after some seconds
    │   ├── Stalled           a person must change something; looked at again when something changes
    │   └── Failed            terminal, for this object
    └── ApiError              the API server refused, or did not answer
        ├── Conflict          409: the object moved on since it was read; read again
        │   └── AlreadyExists 409 at a create
        ├── Forbidden         403: RBAC, quota or admission
        ├── Invalid           400, 422: the request will never be taken
        └── Unavailable       no answer in time, 429, 5xx; tried again with back-off by the work queue

A 404 is no exception: :meth:`ocore_operator.kube.client.Kube.get` answers None.
"""

from ocore_crds.protocol import Failure


class OperatorError(Exception):
    """Root of the tree."""


class Outcome(OperatorError):
    """How a step ended: `reason` is one of ocore_crds.conditions, `message` says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Waiting(Outcome):
    """Something else must happen first. `after`: seconds until the next look (events come sooner)."""

    def __init__(self, reason: str, message: str, after: float) -> None:
        super().__init__(reason, message)
        self.after = after


class Stalled(Outcome):
    """It will not get on before a person changes something."""


class Failed(Outcome):
    """It has failed for good."""

    @classmethod
    def of(cls, failure: Failure) -> "Failed":
        """From what the mover reported."""
        return cls(failure.reason, failure.message)


class ApiError(OperatorError):
    """The API server refused. `status`: the HTTP status, 0 where there was no answer; `reason`: as in metav1.Status."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason
        self.message = message


class Conflict(ApiError):
    """The object moved on since it was read."""


class AlreadyExists(Conflict):
    """An object of that name is there already."""


class Forbidden(ApiError):
    """RBAC, a quota or an admission rule said no."""


class Invalid(ApiError):
    """The request is malformed or breaks a rule of the schema."""


class Unavailable(ApiError):
    """No answer in time, too many requests, or a fault of the server."""
