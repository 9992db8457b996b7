"""Streams in the OpenAPI document: what one event has. Pure."""

from typing import Any

from ocore_api.views.models import ProgressEvent

MEDIA_TYPE = "text/event-stream"


def describe_streams(document: dict[str, Any]) -> None:
    """Replaces the schema of every stream by that of its events (`itemSchema` of OpenAPI 3.2, which older tools ignore)."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("200", {}).get("content", {})
            if MEDIA_TYPE in content:
                content[MEDIA_TYPE] = {"itemSchema": _EVENT}
                schemas["ProgressEvent"] = ProgressEvent.model_json_schema(mode="serialization")


_EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For the header Last-Event-ID."},
        "event": {"enum": ["snapshot-progress", "rollback-progress"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/ProgressEvent"},
        },
    },
}
