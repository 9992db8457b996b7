"""What a request is refused with. Served as RFC 9457 problem+json by the room `http`.

::

    Problem
    ├── BadRequest            400: the request cannot be read
    ├── Unauthorized          401: no valid token
    ├── Forbidden             403: the token lacks a scope
    ├── NotFound              404: unknown, or not the caller's
    ├── Conflict              409: pinned, an operation is running, a GitOps tool owns the field
    ├── TooLarge              413: the body is too large
    ├── Unprocessable         422: a value that is not allowed
    ├── TooManyRequests       429: over the rate limit
    └── Unavailable           503: the API server or the key server does not answer
"""

from typing import Any


class Problem(Exception):
    """A refusal. `reason`: one PascalCase word for programs; `detail`: what happened, then what to do; `fields`:
    further members of the answer."""

    status: int
    title: str

    def __init__(self, reason: str, detail: str, *, headers: dict[str, str] | None = None, **fields: Any) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.headers = headers or {}
        self.fields = fields


class BadRequest(Problem):
    """The request cannot be read."""

    status, title = 400, "Bad request"


class Unauthorized(Problem):
    """No valid token."""

    status, title = 401, "Unauthorized"


class Forbidden(Problem):
    """The token lacks a scope."""

    status, title = 403, "Forbidden"


class NotFound(Problem):
    """Unknown, or not the caller's: the answer is the same."""

    status, title = 404, "Not found"


class Conflict(Problem):
    """The state of the object forbids it."""

    status, title = 409, "Conflict"


class TooLarge(Problem):
    """The body is too large."""

    status, title = 413, "Content too large"


class Unprocessable(Problem):
    """A value that is not allowed."""

    status, title = 422, "Unprocessable content"


class TooManyRequests(Problem):
    """Over the rate limit. `headers` has Retry-After."""

    status, title = 429, "Too many requests"


class Unavailable(Problem):
    """The API server or the key server does not answer. `headers` has Retry-After."""

    status, title = 503, "Service unavailable"
