"""Examples of requests and answers for the OpenAPI document, from `examples.json`. A test validates each one."""

import json
from pathlib import Path
from typing import Any

Object = dict[str, Any]


def _resolved(value: Any, data: Object) -> Any:
    """The value, with other examples in the place of `"$Name"`, and with the fields of another one where it has
    `"$with": "Name"`."""
    if isinstance(value, str) and value.startswith("$"):
        return _resolved(data[value[1:]], data)
    if isinstance(value, list):
        return [_resolved(each, data) for each in value]
    if not isinstance(value, dict):
        return value
    shared = _resolved(data[value["$with"]], data) if "$with" in value else {}
    return shared | {name: _resolved(each, data) for name, each in value.items() if name != "$with"}


_DATA = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
#: Name of a schema → an example of it.
EXAMPLES: dict[str, Object] = {name: _resolved(example, _DATA) for name, example in _DATA.items()}


def describe_examples(document: Object) -> None:
    """Adds the examples to the requests and answers of the OpenAPI document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in part.get("content", {}).values():
                    name = content.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
                    if name in EXAMPLES:
                        content["example"] = EXAMPLES[name]
