"""The mover's one exception tree.

::

    MoverError            a command ends with a failure: reason, message that says what to do, retryable
    ├── Corrupt           stored or frozen bytes are not what they must be
    ├── Cancelled         SIGTERM, or the deadline
    └── StoreError        the store refused or did not answer
"""

from ocore_crds import conditions
from ocore_crds.protocol import Failure


class MoverError(Exception):
    """Ends the command. `reason` is one of ocore_crds.conditions."""

    def __init__(self, reason: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable

    def failure(self) -> Failure:
        """As the last report line says it."""
        return Failure(reason=self.reason, message=self.message, retryable=self.retryable)


class Corrupt(MoverError):
    """Bytes differ from their digest."""

    def __init__(self, message: str) -> None:
        super().__init__(conditions.CORRUPT, message)


class Cancelled(MoverError):
    """SIGTERM (reason Cancelled) or the deadline (reason DeadlineExceeded)."""


class StoreError(MoverError):
    """The store refused, or did not answer after retries."""
