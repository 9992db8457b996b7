"""Extracts for the console, from raw objects. Pure; JSON-ready."""

from ocore_api.views import events
from ocore_api.views.values import Object, Resource, identity

_RESULT = ("files", "rows", "bytes", "bytesRead")


def extract_view(obj: Resource, environment_id: str, snapshot_id: str | None) -> Object:
    """The fields of :class:`ocore_api.views.console.models.ExtractView`. `snapshot_id` is used where the status has
    none."""
    spec, status, event = obj.spec, obj.status, events.progress_event(obj)
    attachments, claim, result = spec.get("attachments"), spec["target"].get("claim"), status.get("result")
    tables, listing = spec.get("tables"), spec.get("listing")
    return {
        "id": obj.id,
        "name": obj.meta["name"],
        "environmentId": environment_id,
        "snapshotId": identity(status, "snapshotId") or snapshot_id,
        "requestedBy": spec.get("requestedBy") or None,
        "status": obj.state,
        "isExpired": status.get("phase") == "Expired",
        "createdAt": obj.created_at,
        "startedAt": status.get("startedAt") or None,
        "completedAt": status.get("completedAt") or None,
        "expiresAt": status.get("resultExpiresAt") or None,
        "step": event["step"],
        "percent": event["percent"],
        "message": event["message"],
        "errorMessage": obj.error,
        "files": {"paths": list(spec["files"].get("paths") or ())} if spec.get("files") else None,
        "attachments": {
            "model": attachments["model"],
            "recordId": attachments["recordId"],
            "name": attachments.get("name") or None,
        }
        if attachments
        else None,
        "tables": [_rows(each) for each in tables] if tables else None,
        "format": str((spec["target"].get("store") or {}).get("format") or "CSV").lower()
        if tables and spec["target"].get("store") is not None
        else None,
        "listing": {"path": str(listing.get("path") or ""), "tables": bool(listing.get("tables"))}
        if listing is not None
        else None,
        "target": next((name for name in ("claim", "database") if spec["target"].get(name) is not None), "store"),
        "folder": claim.get("path") or None if claim else None,
        "result": _result(result) if result else None,
    }


def _rows(table: Object) -> Object:
    return {
        "schema": str(table.get("schema") or "public"),
        "name": table["name"],
        "where": [_that(each) for each in table.get("where") or ()] or None,
    }


def _that(entry: Object) -> Object:
    return {
        "allOf": [
            {"column": each["column"], "operator": each["operator"], "values": list(each.get("values") or ())}
            for each in entry["allOf"]
        ]
    }


def _result(result: Object) -> Object:
    return {
        **{name: int(result.get(name) or 0) for name in _RESULT},
        "size": result.get("size"),
        **{name: result.get(name) or None for name in ("key", "sha256", "folder", "schema")},
    }
