"""The bodies of requests. Unknown fields and values of another type are refused; null is the same as no value.

Clients that send every field have a value for one that they do not set: Go's are "" and 0. Where these are no values of
their own, they count as no value.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from ocore_api.views.models import source


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def unset_text(value: Any) -> Any:
    return None if value == "" else value


def _unset_number(value: Any) -> Any:
    return None if value == 0 and not isinstance(value, bool) else value


#: JSON Schema, and clients whose numbers are all floats, count 7.0 as a whole number.
WHOLE = BeforeValidator(_whole)
_UUID_PATTERN = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_Uuid = Annotated[
    str,
    BeforeValidator(_lower),
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
]
#: A UUID in a body; upper case is accepted and changed to lower case.
UuidText = Annotated[_Uuid, Field(json_schema_extra={"format": "uuid", "pattern": f"^{_UUID_PATTERN}$"})]
#: The same, or empty.
OptionalUuid = Annotated[_Uuid, Field(json_schema_extra={"pattern": f"^({_UUID_PATTERN})?$"})]


_FailurePolicy = Annotated[
    Literal["block", "continue"], BeforeValidator(_lower), Field(json_schema_extra={"enum": ["block", "continue", ""]})
]
_Timeout = Annotated[
    int,
    Field(ge=30, le=604800, json_schema_extra={"minimum": 0, "not": {"minimum": 1, "maximum": 29}}),
    WHOLE,
]
#: Fields of the settings that only the server sets.
READ_ONLY = frozenset({"createdAt", "environmentId", "id", "updatedAt"})


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

    create_safety_snapshot: bool | None = source(
        "Rollback spec.createSafetySnapshot",
        "Take a snapshot of the environment before it is replaced. Null: false.",
        default=None,
    )
    snapshot_id: UuidText = source(
        "Rollback spec.snapshotRef", "The snapshot to restore; a completed one of the environment in the path."
    )
    target_environment_id: Annotated[OptionalUuid | None, BeforeValidator(unset_text)] = source(
        "Rollback spec.targetEnvironmentRef",
        "UUID of the environment to replace, of the same project. Empty or null: the one in the path.",
        default=None,
    )


class SettingsUpdate(Body):
    """The settings to change; the others keep their values. What GET answers can be sent back: its read-only fields are
    ignored."""

    @model_validator(mode="before")
    @classmethod
    def _without_read_only(cls, body: Any) -> Any:
        return {k: v for k, v in body.items() if k not in READ_ONLY} if isinstance(body, dict) else body

    auto_enabled: bool | None = source(
        "SnapshotPolicy spec.autoEnabled", "Whether deployments take a snapshot first. Null: unchanged.", default=None
    )
    failure_policy: Annotated[_FailurePolicy | None, BeforeValidator(unset_text)] = source(
        "SnapshotPolicy spec.failurePolicy",
        "What a failed snapshot does to the deployment. Case does not matter. Empty or null: unchanged.",
        default=None,
    )
    max_pinned: Annotated[int, Field(ge=0, le=10000), WHOLE] | None = source(
        "SnapshotPolicy spec.maxPinned", "Snapshots that may be pinned; 0: no limit. Null: unchanged.", default=None
    )
    retention_days: Annotated[int, Field(ge=0, le=36500), WHOLE] | None = source(
        "SnapshotPolicy spec.retentionDays", "Days that snapshots are kept; 0: no limit. Null: unchanged.", default=None
    )
    timeout_seconds: Annotated[_Timeout | None, BeforeValidator(_unset_number)] = source(
        "SnapshotPolicy spec.timeoutSeconds",
        "Seconds after which a snapshot fails, from 30 on. 0 or null: unchanged.",
        default=None,
    )


def _readable(value: str) -> str:
    if re.search(f"[{_HIDDEN}]", value):
        raise ValueError("control characters and those that change the direction of text are not allowed")
    return value


#: Control characters, separators of lines, and what changes the direction of the text after it: they make a list or a
#: log show something else.
_HIDDEN = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_READABLE = AfterValidator(_readable)


class PinRequest(Body):
    """Why the snapshot is kept."""

    label: (
        Annotated[str, Field(max_length=256, json_schema_extra={"pattern": f"^[^{_HIDDEN}]*$"}), _READABLE] | None
    ) = source(
        "Snapshot spec.pin.label",
        "Label of the pin. Empty or null: none; a label that another client, such as Git, has set stays.",
        default=None,
    )
