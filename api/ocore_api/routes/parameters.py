"""Parameters that several operations have, as the document names them. An empty one of the query is the same as an
absent one."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Path, Query
from pydantic import AfterValidator, BeforeValidator, Field

from ocore_api.views.models import EnvironmentType, Status

#: Page size, unless the client names one.
PAGE = 20


def _lower(value: object) -> object:
    return (value.lower() or None) if isinstance(value, str) else value


#: An empty value is the same as an absent one.
unset = BeforeValidator(lambda value: None if value == "" else value)


def _or(default: int) -> BeforeValidator:
    return BeforeValidator(lambda value: default if value == "" else value)


EnvironmentId = Annotated[UUID, Path(alias="environmentId", description="Environment ID")]
ProjectId = Annotated[UUID, Path(alias="projectId", description="Project ID")]
OptionalProjectId = Annotated[UUID | None, unset, Query(alias="projectId", description="Project ID")]
OnlyOf = Annotated[
    UUID | None,
    unset,
    Query(alias="environmentId", description="Not found unless it is of this environment. Absent: of any."),
]
PreviewId = Annotated[UUID, Path(alias="previewId", description="Preview ID")]
ExtractId = Annotated[UUID, Path(alias="extractId", description="Extract ID")]
SnapshotId = Annotated[UUID, Path(alias="snapshotId", description="Snapshot ID")]
DeploymentId = Annotated[UUID, Path(alias="deploymentId", description="Deployment ID")]
Limit = Annotated[
    int,
    Query(ge=0, le=100, description="Page size (max 100)"),
    _or(PAGE),
    AfterValidator(lambda value: value or PAGE),  # 0 is what a Go client sends for unset
]
Offset = Annotated[int, Query(ge=0, description="Offset"), _or(0)]
TypeFilter = Annotated[
    EnvironmentType | None,
    BeforeValidator(_lower),
    Query(alias="environmentType", description="Filter by environment type. Case does not matter."),
]
StatusFilter = Annotated[
    Status | None, BeforeValidator(_lower), Query(description="Filter by snapshot status. Case does not matter.")
]
#: The schema is for clients. `ocore_api.writes.keys` checks the key, with a message of its own.
_Key = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]*$"})]
IdempotencyKey = Annotated[
    _Key | None,
    Header(
        alias="Idempotency-Key",
        description=(
            "A request with the same key, subject and environment gets the answer of the first one and starts nothing."
        ),
    ),
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=200,
        description="Id of the last event that the client has: it gets later ones only.",
    ),
]


def header(status: int, name: str, description: str, schema: dict[str, Any], example: Any) -> dict[int | str, Any]:
    """A header of the answers with a status, for the OpenAPI document."""
    return {status: {"headers": {name: {"description": description, "schema": schema, "example": example}}}}


def location(description: str, example: str) -> dict[int | str, Any]:
    """The header Location of an answer 202."""
    return header(202, "Location", description, {"type": "string", "format": "uri-reference"}, example)


def describe_parameters(document: dict[str, Any]) -> None:
    """Adds to the OpenAPI document that parameters of the query may be empty."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":
                    parameter["allowEmptyValue"] = True
