"""The bodies of requests. Unknown fields and values of another type are refused; null is the same as no value."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from ocore_api.views.models import SOURCE


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: JSON Schema, and clients whose numbers are all floats, count 7.0 as a whole number.
WHOLE = BeforeValidator(_whole)
#: A UUID in a body; upper case is accepted and changed to lower case.
UuidText = Annotated[
    str,
    BeforeValidator(_lower),
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
    Field(json_schema_extra={"format": "uuid", "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"}),
]


class Body(BaseModel):
    """A frozen body with camelCase names."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=False, frozen=True, extra="forbid", strict=True
    )

    def given(self) -> dict[str, Any]:
        """The fields that the client gave a value, with their wire names."""
        return self.model_dump(by_alias=True, exclude_none=True, exclude_unset=True)


class RollbackRequest(Body):
    """Which snapshot to restore, and where."""

    create_safety_snapshot: bool | None = Field(
        default=None,
        description="Take a snapshot of the environment before it is replaced. The default is false.",
        json_schema_extra={SOURCE: "Rollback spec.createSafetySnapshot"},
    )
    snapshot_id: UuidText = Field(
        description="The snapshot to restore; a completed one of the environment in the path.",
        json_schema_extra={SOURCE: "Rollback spec.snapshotRef"},
    )
    target_environment_id: UuidText | None = Field(
        default=None,
        description="The environment to replace, of the same project. The default is the one in the path.",
        json_schema_extra={SOURCE: "Rollback spec.targetEnvironmentRef"},
    )


class SettingsUpdate(Body):
    """The settings to change; the others keep their values."""

    auto_enabled: bool | None = Field(
        default=None,
        description="Whether deployments take a snapshot first.",
        json_schema_extra={SOURCE: "SnapshotPolicy spec.autoEnabled"},
    )
    failure_policy: Annotated[Literal["block", "continue"], BeforeValidator(_lower)] | None = Field(
        default=None,
        description="What a failed snapshot does to the deployment. Case does not matter.",
        json_schema_extra={SOURCE: "SnapshotPolicy spec.failurePolicy"},
    )
    max_pinned: Annotated[int, Field(ge=0, le=10000), WHOLE] | None = Field(
        default=None,
        description="Snapshots that may be pinned; 0: no limit.",
        json_schema_extra={SOURCE: "SnapshotPolicy spec.maxPinned"},
    )
    retention_days: Annotated[int, Field(ge=0, le=36500), WHOLE] | None = Field(
        default=None,
        description="Days that snapshots are kept; 0: no limit.",
        json_schema_extra={SOURCE: "SnapshotPolicy spec.retentionDays"},
    )
    timeout_seconds: Annotated[int, Field(ge=30, le=604800), WHOLE] | None = Field(
        default=None,
        description="Seconds after which a snapshot fails.",
        json_schema_extra={SOURCE: "SnapshotPolicy spec.timeoutSeconds"},
    )


class PinRequest(Body):
    """Why the snapshot is kept."""

    label: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Label of the pin.", json_schema_extra={SOURCE: "Snapshot spec.pin.label"}
    )
