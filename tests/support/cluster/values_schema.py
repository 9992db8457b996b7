"""The part of the chart's values.schema.json that follows from a model: `python -m support.cluster.values_schema`."""

import json
from typing import Any

from ocore_crds.resources.scheduling import RESERVED_KEYS, RESERVED_PREFIXES, PodTemplate
from ocore_crds.schema.from_models import structural
from support.cluster.cluster import REPOSITORY

SCHEMA = REPOSITORY / "charts/ocore-snapshots/values.schema.json"
#: Field of the model → what the chart has in its place.
ELSEWHERE = {"startDeadlineSeconds": "settings.startDeadline"}


def job_defaults() -> dict[str, Any]:
    """Field of the value `jobs` → its schema: that of the same field of an Environment's `spec.jobs`."""
    found: dict[str, Any] = _plain(structural(PodTemplate))["properties"]
    for name in ELSEWHERE:
        del found[name]
    prefixes = "|".join(prefix.replace(".", r"\.") for prefix in RESERVED_PREFIXES)
    keys = "|".join(key.replace(".", r"\.") for key in RESERVED_KEYS)
    for name in ("labels", "annotations"):
        found[name]["propertyNames"] = {"not": {"pattern": f"^({prefixes}|({keys})$)"}}
    found["priorityClassName"] = {"$ref": "#/$defs/optionalName"}
    return found


def _plain(node: Any) -> Any:
    """Without what only an API server reads, and closed to other fields."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {
        key: _plain(value)
        for key, value in node.items()
        if not key.startswith("x-") and key not in ("description", "default", "properties")
    }
    if "properties" in node:
        found["additionalProperties"] = False
        found["properties"] = {name: _plain(child) for name, child in node["properties"].items()}
    return found


def main() -> None:
    """Writes it into the schema."""
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["jobs"]["properties"] |= job_defaults()
    SCHEMA.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
