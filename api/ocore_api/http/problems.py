"""Errors as RFC 9457 problem+json. No answer repeats a value of the request, or names anything inside this program."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ocore_api.errors import Problem

MEDIA_TYPE = "application/problem+json"
#: Where the edge keeps the request's id.
REQUEST_ID = "ocore.request_id"
#: Errors of one body that are listed.
MAX_ERRORS = 20

_REASONS = {404: "NotFound", 408: "BodyTimeout", 405: "MethodNotAllowed", 413: "BodyTooLarge", 400: "BadRequest"}
_DETAILS = {
    400: "The body cannot be read.",
    404: "No such path.",
    408: "The body did not arrive in time.",
    405: "This path does not know the method. The header Allow lists those that it knows.",
    413: "The body is too large.",
}


def body(problem: Problem, request_id: str | None) -> bytes:
    """The JSON of a problem."""
    members: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "reason": problem.reason,
        **problem.fields,
    }
    if request_id is not None:
        members["requestId"] = request_id
    return json.dumps(members).encode()


def internal_error() -> Problem:
    """What a client learns of an unexpected error."""
    return Problem("InternalError", "An unexpected error occurred. The server's log has it under the request id.")


def response(problem: Problem, scope: Mapping[str, Any]) -> Response:
    """The answer of a problem."""
    return Response(
        body(problem, scope.get(REQUEST_ID)), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def of_http(error: HTTPException) -> Problem:
    """The problem of an error of the framework: unknown path, wrong method, unreadable body."""
    status = error.status_code
    headers = dict(error.headers or {})
    reason = _REASONS.get(status, HTTPStatus(status).phrase.replace(" ", ""))
    return Problem(reason, _DETAILS.get(status, f"{HTTPStatus(status).phrase}."), status=status, headers=headers)


def of_validation(error: RequestValidationError) -> Problem:
    """400 for a body that is not JSON, 422 with a list of fields for values. The list has no value of the request."""
    found = error.errors()
    if any(e["type"] == "json_invalid" for e in found):
        return Problem("InvalidJson", "The body is not valid JSON.")
    errors = [
        {"field": ".".join(str(part)[:100] for part in e["loc"]), "message": str(e["msg"])[:500]}
        for e in found[:MAX_ERRORS]
    ]
    fields = ", ".join(e["field"] for e in errors[:5])
    return Problem("InvalidValue", f"Values that are not allowed: {fields}. See `errors`.", errors=errors)


def of_api_server() -> Problem:
    """The API server did not answer."""
    return Problem(
        "ApiServerUnavailable",
        "The Kubernetes API server does not answer. Try again later.",
        headers={"Retry-After": "5"},
    )


def install(app: FastAPI, methods: Mapping[str, str]) -> None:
    """Makes the application answer the errors of the framework with problem+json; the edge answers all others.
    `methods`: for each path of a route, the value of Allow."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
        refusal = of_http(error)
        if error.status_code == 405:
            # The framework names the methods of one of the path's routes only.
            refusal.headers["Allow"] = methods.get(request.scope["route"].path, refusal.headers.get("Allow", "GET"))
        return response(refusal, request.scope)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return response(of_validation(error), request.scope)

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, validation)
