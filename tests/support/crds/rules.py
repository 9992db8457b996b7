"""Every rule that a generated CRD holds, as data, so that a test can ask for each of them whether it was tried."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from support.cluster.cluster import REPOSITORY

Object = dict[str, Any]
VALIDATIONS = "x-kubernetes-validations"
LIST_KEYS = "x-kubernetes-list-map-keys"
INT_OR_STRING = "x-kubernetes-int-or-string"
#: Keywords that limit nothing by themselves.
SILENT = {
    "description",
    "properties",
    "items",
    "additionalProperties",
    "anyOf",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
}
RULES = {
    "type", "enum", "format", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "maxProperties",     "required", "default", INT_OR_STRING, LIST_KEYS, VALIDATIONS,
}  # fmt: skip
REMOVED = object()


class Rule(NamedTuple):
    """One thing that the API server checks or does. `value` is the bound, the missing field's name, or a CEL rule's
    message."""

    kind: str
    path: str
    keyword: str
    value: Any

    def __str__(self) -> str:
        value = "" if self.keyword in ("enum", "default") else self.value
        return f"{self.kind}.{self.path or 'metadata.name'}:{self.keyword}={value}"


class Node(NamedTuple):
    """One schema and where it stands: ``spec.workloads[].name``, ``status.evidence.paths[*]``."""

    path: str
    schema: Object


def crds(folder: Path = REPOSITORY / "crds") -> dict[str, Object]:
    """Kind → the CRD as it is shipped."""
    found = (yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(folder.glob("*.yaml")))
    return {crd["spec"]["names"]["kind"]: crd for crd in found}


def schema_of(crd: Object) -> Object:
    """The schema of its only version."""
    schema: Object = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Object, path: str = "") -> Iterator[Node]:
    """All schemas below spec and status, and the root itself."""
    yield Node(path, schema)
    for name, child in schema.get("properties", {}).items():
        if path or name in ("spec", "status"):
            yield from nodes(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}[*]")


def rules(kind: str, schema: Object) -> Iterator[Rule]:
    """Every rule of the schema. An unknown keyword is an error: no test would try it."""
    for path, node in nodes(schema):
        unknown = set(node) - RULES - SILENT
        assert not unknown, f"{kind}.{path}: no test knows the keyword {unknown}"
        for keyword in sorted(RULES & set(node)):
            if keyword == "required":
                yield from (Rule(kind, path, keyword, name) for name in node[keyword])
            elif keyword == VALIDATIONS:
                yield from (Rule(kind, path, keyword, found["message"]) for found in node[keyword])
            elif keyword in ("enum", LIST_KEYS):
                yield Rule(kind, path, keyword, tuple(node[keyword]))
            elif keyword == "default":
                yield Rule(kind, path, keyword, yaml.safe_dump(node[keyword]))
            elif path or keyword != "type":
                yield Rule(kind, path, keyword, node[keyword])


def steps(path: str) -> list[str | int]:
    """``spec.workloads[].name`` → spec, workloads, 0, name. The key of a map's value is ``key``."""
    found: list[str | int] = []
    for part in path.split("."):
        name, bracket, suffix = part.partition("[")
        found.append(name)
        if bracket:
            found.append(0 if suffix == "]" else "key")
    return found


def has(obj: Object, path: str) -> bool:
    """Whether the object has that field."""
    here: Any = obj
    for step in steps(path):
        if isinstance(step, int):
            if len(here) <= step:
                return False
        elif step not in here:
            return False
        here = here[step]
    return True


def get(obj: Object, path: str) -> Any:
    """The field's value."""
    here: Any = obj
    for step in steps(path):
        here = here[step]
    return here


def changed(obj: Object, changes: dict[str, Any]) -> Object:
    """A copy with fields set, or removed by the value REMOVED. Objects on the way are made."""
    copied = copy.deepcopy(obj)
    for path, value in changes.items():
        *way, last = steps(path)
        here: Any = copied
        for step in way:
            here = here.setdefault(step, {}) if isinstance(step, str) else here[step]
        if value is REMOVED:
            here.pop(last, None)
        else:
            here[last] = value
    return copied


def field_name(path: str) -> str:
    """The field as the API server names it in an error."""
    return path.replace("[]", "[0]").replace("[*]", ".key")
