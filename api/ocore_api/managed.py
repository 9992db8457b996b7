"""Which fields a field manager owns, by `metadata.managedFields`. Pure."""

from typing import Any

Object = dict[str, Any]

#: Field manager of everything that a request asks for.
MANAGER = "ocore-api"


def applied_spec(obj: Object, manager: str) -> Object:
    """The part of the spec that the manager has applied (server-side apply), with its values. An apply that leaves them
    out would remove them."""
    for entry in obj["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields = (entry.get("fieldsV1") or {}).get("f:spec")
            return _values(obj.get("spec") or {}, fields) if isinstance(fields, dict) else {}
    return {}


def other_owner(obj: Object, manager: str, *path: str) -> str:
    """The manager that owns the field of the spec by anything but an apply of this one; empty: none does. The field
    then stays when the apply leaves it out, and an apply without force of another value is refused."""
    for entry in obj["metadata"].get("managedFields") or ():
        if entry.get("subresource") or (entry.get("manager"), entry.get("operation")) == (manager, "Apply"):
            continue
        at: Any = entry.get("fieldsV1") or {}
        for name in ("spec", *path):
            at = at.get(f"f:{name}") if isinstance(at, dict) else None
        if at is not None:
            return str(entry.get("manager") or "unknown")
    return ""


def _values(live: Object, fields: Object) -> Object:
    """The values of the fields. Of a map, only the fields below it that are owned: none for a map that was applied
    empty."""
    found: Object = {}
    for key, inner in fields.items():
        name = key.removeprefix("f:")
        if key.startswith("f:") and name in live:
            value = live[name]
            found[name] = _values(value, inner) if isinstance(value, dict) else value
    return found
