"""What a request to the API server can raise.

::

    ApiError              the API server refused, or did not answer
    ├── Conflict          409: the object changed since it was read; read again
    │   └── AlreadyExists 409 at a create
    ├── Forbidden         403: RBAC, quota or admission
    ├── Invalid           400, 422: the request will never be accepted
    ├── TooLarge          the answer has more bytes than the caller takes
    └── Unavailable       no answer in time, 429, 5xx; try again later

A 404 is an ApiError with status 404; clients return None for it.
"""

#: HTTP statuses of a list or watch in a namespace whose Role is gone, or that is gone itself.
UNREADABLE = (403, 404)


class ApiError(Exception):
    """The API server refused. `status`: the HTTP status, 0 where there was no answer; `reason`: as in metav1.Status;
    `causes`: its `details.causes`, each with `reason`, `message` and `field`, as far as they are text."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[dict[str, str], ...] = ()) -> None:
        super().__init__(message or reason)
        self.causes = causes
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


class TooLarge(ApiError):
    """The answer has more bytes than the caller takes."""


class Unavailable(ApiError):
    """No answer in time, too many requests, or an error of the server."""
