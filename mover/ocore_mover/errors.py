"""The mover's one exception tree.

::

    MoverError            the command fails with a reason, a message with the remedy, and whether to retry
    ├── Corrupt           stored or frozen bytes differ from their digest
    ├── Cancelled         SIGTERM or the deadline
    └── StoreError        the store refused or did not answer

    UsageError            the request is not valid: exit code 2, no result
"""

from ocore_crds import conditions
from ocore_crds.reports.base import Failure, Finding


class MoverError(Exception):
    """The command fails. `reason` is one of ocore_crds.conditions."""

    def __init__(self, reason: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.object_key: str | None = None

    def failure(self) -> Failure:
        """The failure for the last report line."""
        return Failure(reason=self.reason, message=self.message, retryable=self.retryable, object_key=self.object_key)

    def finding(self) -> Finding:
        """The same as a finding."""
        return Finding(reason=self.reason, message=self.message, object_key=self.object_key)


class Corrupt(MoverError):
    """Bytes differ from their digest. `object_key`: of the stored object that has them; None: not known."""

    def __init__(self, message: str, object_key: str | None = None) -> None:
        super().__init__(conditions.CORRUPT, message)
        self.object_key = object_key


class Cancelled(MoverError):
    """SIGTERM (reason Cancelled) or the deadline (reason DeadlineExceeded)."""


class StoreError(MoverError):
    """The store refused, or did not answer within the retries."""


class UsageError(Exception):
    """The request of the command is not valid. The message names the field."""
