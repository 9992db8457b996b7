"""The operator's one exception tree.

::

    OperatorError
    ├── Outcome               how a step of a reconcile ended; summarize.py turns it into conditions
    │   ├── Waiting           something else must happen first; reconciled again after some seconds
    │   ├── Stalled           a person must change something; reconciled again when something changes
    │   └── Failed            terminal for this object
    └── ApiError              the API server refused, or did not answer
        ├── Conflict          409: the object changed since it was read; read again
        │   └── AlreadyExists 409 at a create
        ├── Forbidden         403: RBAC, quota or admission
        ├── Invalid           400, 422: the request will never be accepted
        └── Unavailable       no answer in time, 429, 5xx; the work queue retries with back-off

A 404 raises nothing: :meth:`ocore_operator.kube.client.Kube.get` returns None.
"""

from ocore_crds.protocol import Failure

#: HTTP statuses of a list or watch in a namespace whose Role is gone, or that is gone itself.
UNREADABLE = (403, 404)


class OperatorError(Exception):
    """Root of the tree."""


class Outcome(OperatorError):
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
    """A person must change something."""


class Failed(Outcome):
    """The operation has failed."""

    @classmethod
    def of(cls, failure: Failure) -> "Failed":
        """From the failure that the mover reported."""
        return cls(failure.reason, failure.message)


class ApiError(OperatorError):
    """The API server refused. `status`: the HTTP status, 0 where there was no answer; `reason`: as in metav1.Status."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason
        self.message = message


class Conflict(ApiError):
    """The object changed since it was read."""


class AlreadyExists(Conflict):
    """An object of that name exists."""


class Forbidden(ApiError):
    """RBAC, a quota or an admission rule refused the request."""


class Invalid(ApiError):
    """The request is malformed or breaks a rule of the schema."""


class Unavailable(ApiError):
    """No answer in time, too many requests, or an error of the server."""
