"""Which fields a field manager owns, by `metadata.managedFields`. Pure."""

from typing import Any

Object = dict[str, Any]


def applied_spec(obj: Object, manager: str) -> Object:
    """The part of the spec that the manager has applied (server-side apply), with its values. An apply that leaves them
    out would remove them."""
    for entry in obj["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields = (entry.get("fieldsV1") or {}).get("f:spec")
            return _values(obj.get("spec") or {}, fields) if isinstance(fields, dict) else {}
    return {}


def owned_by_others(obj: Object, manager: str, *path: str) -> bool:
    """Whether anything but an apply of the manager owns the field of the spec: it then stays when the apply leaves it
    out."""
    for entry in obj["metadata"].get("managedFields") or ():
        if entry.get("subresource") or (entry.get("manager"), entry.get("operation")) == (manager, "Apply"):
            continue
        at: Any = entry.get("fieldsV1") or {}
        for name in ("spec", *path):
            at = at.get(f"f:{name}") if isinstance(at, dict) else None
        if at is not None:
            return True
    return False


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
