"""Parameters that several operations have, as the document names them."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Query
from pydantic import BeforeValidator, Field

from ocore_api.views.models import EnvironmentType, Status


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


EnvironmentId = Annotated[UUID, Path(alias="environmentId", description="Environment ID")]
ProjectId = Annotated[UUID, Path(alias="projectId", description="Project ID")]
SnapshotId = Annotated[UUID, Path(alias="snapshotId", description="Snapshot ID")]
DeploymentId = Annotated[UUID, Path(alias="deploymentId", description="Deployment ID")]
Limit = Annotated[int, Query(ge=1, le=100, description="Page size (max 100)")]
Offset = Annotated[int, Query(ge=0, description="Offset")]
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
        description="A request with the same key, subject and environment gets the answer of the first one and starts nothing.",
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
