"""Errors in the OpenAPI document: the schema of a problem, and the statuses of each operation. Pure."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ocore_api.errors import REASONS
from ocore_api.http.problems import MEDIA_TYPE

#: Statuses that every operation may have, and what they say.
EVERYWHERE = {
    400: "The request cannot be read.",
    401: "No valid token.",
    403: "The token lacks a scope.",
    404: "Unknown, or not the caller's.",
    422: "A value that is not allowed.",
    429: "Too many requests.",
    500: "An unexpected error.",
    503: "The API server or the key server does not answer.",
}
WITH_BODY = {408: "The body did not arrive in time.", 413: "The body is too large."}
ON_WRITE = {409: "The state of the object forbids it."}
_CHALLENGE = {"WWW-Authenticate": {"description": "What a token must have.", "schema": {"type": "string"}}}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which the request can be repeated.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 5,
    }
}
_WRITES = ("post", "put", "delete", "patch")


class FieldError(BaseModel):
    """One value that is not allowed."""

    field: str = Field(description="Where the value is, for example `query.limit`.")
    message: str = Field(description="Why it is not allowed.")


class ProblemView(BaseModel):
    """An error (RFC 9457). Problems may have further members."""

    model_config = ConfigDict(alias_generator=to_camel, title="Problem", extra="allow")

    type: str = Field(description="Always about:blank.")
    title: str = Field(description="The status as text.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, then what to do.")
    reason: str = Field(
        description="One PascalCase word for programs. More may be added later.", examples=sorted(REASONS)
    )
    request_id: str | None = Field(default=None, description="Id of the request, also in the header X-Request-Id.")
    errors: tuple[FieldError, ...] = Field(default=(), description="With 422: the values that are not allowed.")


def describe_problems(document: dict[str, Any]) -> None:
    """Adds the errors to every operation of the document."""
    schema = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {**schema.pop("$defs"), "Problem": schema}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for method, operation in operations.items():
            statuses = dict(EVERYWHERE)
            if "requestBody" in operation:
                statuses |= WITH_BODY
            if method in _WRITES:
                statuses |= ON_WRITE
            found = {str(s): {"description": text, "content": content} for s, text in sorted(statuses.items())}
            for status in found.keys() & {"401", "429", "503"}:
                header = _CHALLENGE if status == str(HTTPStatus.UNAUTHORIZED.value) else _RETRY_AFTER
                found[status] = {**found[status], "headers": header}
            operation["responses"] = {**operation.get("responses", {}), **found}
