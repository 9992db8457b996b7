"""The bodies of the console's requests."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from ocore_api.views.models import SOURCE
from ocore_api.views.requests import Body, OptionalUuid, UuidText, unset_text


class PreviewRequest(Body):
    """Which snapshot a rollback would restore, and where."""

    snapshot_id: UuidText = Field(
        description="The snapshot; a completed one of the environment in the path.",
        json_schema_extra={SOURCE: "Rollback spec.snapshotRef"},
    )
    target_environment_id: Annotated[OptionalUuid | None, BeforeValidator(unset_text)] = Field(
        default=None,
        description="UUID of the environment that it would replace, of the same project. Empty or null: the one in the"
        " path.",
        json_schema_extra={SOURCE: "Rollback spec.targetEnvironmentRef"},
    )
