"""Streams in the OpenAPI document: what one event has. Pure."""

import json
from typing import Any

from ocore_api.examples import EXAMPLES
from ocore_api.views.console.models import ChangeEvent, ResetEvent
from ocore_api.views.models import ProgressEvent

MEDIA_TYPE = "text/event-stream"


def describe_streams(document: dict[str, Any]) -> None:
    """Describes every stream, with a schema that generators need, and its events (`itemSchema` of OpenAPI 3.2, which
    older tools ignore)."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("200", {}).get("content", {})
            if MEDIA_TYPE in content and operation["operationId"] == "stream_changes":
                content[MEDIA_TYPE] = {"schema": _CHANGES, "itemSchema": _CHANGE, "example": _CHANGE_EXAMPLE}
                for model in (ChangeEvent, ResetEvent):
                    found = model.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
                    for name, each in {**found.pop("$defs", {}), model.__name__: found}.items():
                        schemas.setdefault(name, each)
            elif MEDIA_TYPE in content:
                content[MEDIA_TYPE] = {"schema": _STREAM, "itemSchema": _EVENT, "example": _EXAMPLE}
                schemas["ProgressEvent"] = ProgressEvent.model_json_schema(mode="serialization")


#: Without a type: OpenAPI 3.2 would take a text as one that each event is, and older generators need a schema.
_STREAM = {"description": "Server-sent events. The JSON in `data` of each one is a ProgressEvent."}
_EXAMPLE = (
    "retry: 2000\n\nid: 812-3kVd0xQm9aZt\nevent: snapshot-progress\n"
    f"data: {json.dumps(EXAMPLES['ProgressEvent'], separators=(',', ':'))}\n\n"
)


def _event(names: list[str], data: dict[str, Any]) -> dict[str, Any]:
    """The schema of one event."""
    return {
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string", "description": "For the header Last-Event-ID."},
            "event": {"enum": names},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
    }


_EVENT = _event(["snapshot-progress", "rollback-progress"], {"$ref": "#/components/schemas/ProgressEvent"})
_CHANGES = {"description": "Server-sent events. The JSON in `data` is a ChangeEvent; of `reset`, a ResetEvent."}
_CHANGE_EXAMPLE = (
    "retry: 2000\n\nid: 5f0c9a1b2c3d-812\nevent: reset\n"
    f"data: {json.dumps(EXAMPLES['ResetEvent'], separators=(',', ':'))}\n\n"
    "id: 5f0c9a1b2c3d-813\nevent: extract\n"
    f"data: {json.dumps(EXAMPLES['ChangeEvent'], separators=(',', ':'))}\n\n"
)
_CHANGE = _event(
    ["reset", "environment", "snapshot", "rollback", "preview", "extract"],
    {"anyOf": [{"$ref": "#/components/schemas/ChangeEvent"}, {"$ref": "#/components/schemas/ResetEvent"}]},
)
