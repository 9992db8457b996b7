"""What the API server refuses, as a problem for the client. Pure.

The message of an admission policy or a schema rule is written for people and passed on. That of RBAC names accounts, so
it is only logged.
"""

import re

import structlog

from ocore_api.errors import Problem
from ocore_kube.errors import ApiError, Conflict, Forbidden, Invalid

#: The cause of a conflict between field managers, in the answer to a server-side apply.
FIELD_CONFLICT = "FieldManagerConflict"
_MANAGER = re.compile(r'conflict with "([^"]*)"')
_DENIED = re.compile(r"denied (?:the )?request: ?(.*)", re.DOTALL)
_QUOTA = "exceeded quota"

_log = structlog.get_logger()


def problem(error: ApiError) -> Problem:
    """The problem of a refusal. One that may pass (Unavailable) is answered with 503 by the edge."""
    if isinstance(error, Conflict):
        return _owned(error) or Problem(
            "Conflict", "The object was changed or deleted at the same moment. Read it again, then repeat the request."
        )
    if isinstance(error, Forbidden):
        return _forbidden(error)
    if isinstance(error, Invalid):
        return _invalid(error)
    if error.status == 404:
        return Problem("NotFound", "The object does not exist any more.")
    return _unexpected(error)


def field_conflicts(error: ApiError) -> list[dict[str, str]]:
    """The fields of an apply that other managers own, each with its `manager`."""
    found = []
    for cause in error.causes:
        if cause.get("reason") == FIELD_CONFLICT:
            match = _MANAGER.search(cause.get("message", ""))
            field = cause.get("field", "").lstrip(".")
            found.append({"field": field, "manager": match.group(1) if match else "unknown"})
    return found


def _owned(error: ApiError) -> Problem | None:
    conflicts = field_conflicts(error)
    if not conflicts:
        return None
    first = conflicts[0]
    fields = ", ".join(f"{each['field']} (by {each['manager']})" for each in conflicts)
    return Problem(
        "FieldOwned",
        f"Another client of the API server owns {fields} and has set another value. Change the value there, for example"
        " in Git, or remove the field there.",
        manager=first["manager"],
        field=first["field"],
        conflicts=conflicts,
    )


def _forbidden(error: ApiError) -> Problem:
    denied = _DENIED.search(error.message)
    if denied:
        return Problem("AdmissionRefused", f"An admission policy refuses this: {denied.group(1).strip()}")
    if _QUOTA in error.message:
        quota = error.message[error.message.index(_QUOTA) :]
        return Problem(
            "QuotaExceeded",
            f"A ResourceQuota of the namespace refuses this: {quota}. Delete objects, or raise the quota.",
        )
    if "because it is being terminated" in error.message:
        return Problem("NamespaceTerminating", "The environment's namespace is being deleted.")
    return _unexpected(error)


def _invalid(error: ApiError) -> Problem:
    listed = [
        {"field": cause.get("field", "").lstrip("."), "message": cause.get("message", "")}
        for cause in error.causes[:20]
    ]
    what = "; ".join(f"{each['field']}: {each['message']}" for each in listed[:5]) or error.message
    return Problem("InvalidValue", f"The API server refuses a value: {what}", errors=listed)


def _unexpected(error: ApiError) -> Problem:
    """The facade's own rights are missing, or the CRD is: nothing that the client can change."""
    _log.error("the API server refused a request of the facade", status=error.status, message=error.message)
    return Problem(
        "FacadeRefused",
        "The API server refused a request of this facade. Its log has the reason: check its permissions and the CRDs.",
        headers={"Retry-After": "30"},
    )
