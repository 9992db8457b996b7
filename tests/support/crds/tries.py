"""What to try for each rule of the CRDs, and which tries one request can ask together."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from ocore_crds.text.age_keys import RECIPIENT_PATTERN
from support.crds.rules import (
    LIST_KEYS,
    REMOVED,
    VALIDATIONS,
    Object,
    Rule,
    crds,
    field_name,
    has,
    nodes,
    rules,
    schema_of,
    steps,
)
from support.crds.samples import CEL, COMPANIONS, FREE, PATTERNS, SPECS, Cel, public_keys, recipients, sample

SCHEMAS = {kind: schema_of(crd) for kind, crd in crds().items()}
RULES = [rule for kind, schema in SCHEMAS.items() for rule in rules(kind, schema)]
WRONG_TYPE: dict[str, Any] = {"string": 7, "boolean": "yes", "integer": "7", "number": "7", "object": "x", "array": "x"}
#: What CEL rules compare with other fields. A group with these would be refused, and each of its tries asked again.
COMPARED = {
    "metadata.name",
    "spec.environmentRef.name",
    "spec.remoteStoreRef.name",
    "spec.filestore.path",
}
Path = tuple[str | int, ...]


class Try(NamedTuple):
    """Changes to an object that the server takes; with `refused`, words of its answer and the field it names."""

    changes: Object
    refused: str = ""
    field: str = ""
    spec: int = 0
    update: bool = False


@cache
def _by_path(kind: str) -> dict[str, Object]:
    return {node.path: node.schema for node in nodes(SCHEMAS[kind])}


def schema_at(rule: Rule) -> Object:
    """The schema that holds the rule."""
    return _by_path(rule.kind)[rule.path]


def _spec_with(rule: Rule) -> int:
    """The complete spec that has the rule's field."""
    if not rule.path.startswith("spec"):
        return 0
    return next(i for i, spec in enumerate(SPECS[rule.kind]) if has({"spec": spec}, rule.path))


@cache
def tries(rule: Rule) -> tuple[Try, ...]:
    """What to try for the rule: at least one that is taken and one that is refused."""
    if rule.keyword == VALIDATIONS:
        return tuple(_cel_tries(rule, CEL[rule.kind][rule.path][rule.value]))
    field = f"{rule.path}.{rule.value}".lstrip(".") if rule.keyword == "required" else rule.path
    index = _spec_with(rule)
    return tuple(Try(changes, refused, field_name(field), index) for changes, refused in _tries(rule, schema_at(rule)))


def _tries(rule: Rule, schema: Object) -> Iterator[tuple[Object, str]]:
    """(changes, words of the refusal or nothing)."""
    path, value = rule.path, rule.value
    pattern = PATTERNS[schema["pattern"]] if "pattern" in schema else FREE
    match rule.keyword:
        case "type":
            yield {}, ""
            yield {path: WRONG_TYPE[value]}, f"must be of type {schema.get('format', value)}"
        case "x-kubernetes-int-or-string":
            yield from (({path: good}, "") for good in (1, "1"))
            yield {path: True}, "must be of type integer,string"
        case "required":
            yield {}, ""
            yield {f"{path}.{value}".lstrip("."): REMOVED}, "Required value"
        case "enum":
            yield from (({path: v} | COMPANIONS.get((path, v), {}), "") for v in value)
            yield {path: "Other"}, "Unsupported value"
        case "pattern":
            yield from (({path: good}, "") for good in pattern.good if len(good) >= schema.get("minLength", 0))
            yield from (({path: bad}, "should match") for bad in pattern.bad)
        case "format":
            yield {path: "2024-02-29T00:00:00Z"}, ""
            yield from (
                ({path: f"{bad}Z"}, "must be of type date-time")
                for bad in ("2026-02-29T00:00:00", "2026-01-01T24:00:00")
            )
        case "minimum":
            yield {path: value}, ""
            yield {path: value - 1}, f"greater than or equal to {value}"
        case "maximum":
            yield {path: value}, ""
            yield {path: value + 1}, f"less than or equal to {value}"
        case "minLength":
            yield {path: pattern.long(value)}, ""
            yield {path: pattern.long(value)[: value - 1]}, f"at least {value} chars long"
        case "maxLength":
            yield {path: pattern.long(value)}, ""
            yield {path: pattern.long(value) + "a"}, "Too long"
        case "minItems":
            yield {path: _items(schema, value)}, ""
            yield {path: _items(schema, value - 1)}, f"should have at least {value} items"
        case "maxItems":
            yield {path: _items(schema, value)}, ""
            yield {path: _items(schema, value + 1)}, f"must have at most {value} items"
        case "maxProperties":
            value_of = sample(schema["additionalProperties"])
            yield {path: {f"key-{i}": value_of for i in range(value)}}, ""
            yield {path: {f"key-{i}": value_of for i in range(value + 1)}}, f"must have at most {value} items"
        case "x-kubernetes-list-map-keys":
            yield {path: _items(schema, 2)}, ""
            yield {path: _items(schema, 1) * 2}, "Duplicate value"
        case "default":
            yield {path: REMOVED} | COMPANIONS.get((path, None), {}), ""
        case other:
            raise NotImplementedError(f"no test knows what to try for {other}")


def _items(schema: Object, count: int) -> list[Any]:
    """That many different items."""
    if schema.get("x-kubernetes-list-type") == "set":  # of keys: there is no other
        return (recipients if schema["items"]["pattern"] == RECIPIENT_PATTERN else public_keys)(count)
    item = sample(schema["items"])
    if isinstance(item, str):
        return [item] * count
    keys = schema.get(LIST_KEYS, ())
    fields = schema["items"]["properties"]
    free = [k for k in keys if "enum" not in fields[k] and re.search(fields[k].get("pattern", ""), "item-0")]
    return [{**item, **dict.fromkeys(free, f"item-{i}")} for i in range(count)]


def _cel_tries(rule: Rule, cel: Cel) -> Iterator[Try]:
    for changes in cel.good:
        yield Try(changes, spec=cel.spec, update=cel.update)
    for changes in cel.bad:
        yield Try(changes, rule.value, spec=cel.spec, update=cel.update)


# --- together --------------------------------------------------------------------------------------------------------


class Group(NamedTuple):
    """Tries that one request asks: none changes what another one changes. `together`: all of their changes."""

    name: str
    kind: str
    part: str
    together: Try


def part_of(rule: Rule) -> str:
    """`status` where a status is tried; a default of a status shows when the object is created."""
    return "status" if rule.path.startswith("status") and rule.keyword != "default" else "spec"


def alone(rule: Rule, attempt: Try) -> bool:
    """Whether nothing else may be tried beside it. The API server evaluates no CEL rule of an object whose schema has
    errors, and names no field that belongs to one try only. A default is read from the answer.
    """
    return rule.keyword in (VALIDATIONS, "default") or not COMPARED.isdisjoint(attempt.changes)


@cache
def groups() -> dict[str, Group]:
    """The group of each try, by its `key`."""
    drafts: dict[tuple[Any, ...], list[_Draft]] = {}
    seen: set[str] = set()
    for rule in RULES:
        for attempt in tries(rule):
            asked = key(rule.kind, part_of(rule), attempt)
            if alone(rule, attempt) or not attempt.changes or asked in seen:
                continue
            seen.add(asked)
            found = drafts.setdefault((rule.kind, part_of(rule), attempt.spec, bool(attempt.refused)), [])
            if not any(draft.add(attempt) for draft in found):
                found.append(_Draft())
                found[-1].add(attempt)
    found_groups: dict[str, Group] = {}
    for (kind, part, spec, refused), found in drafts.items():
        for number, draft in enumerate(found):
            changes = {path: value for attempt in draft.attempts for path, value in attempt.changes.items()}
            name = f"{kind}.{part}[{spec}] {'refused' if refused else 'taken'} {number}"
            group = Group(name, kind, part, Try(changes, spec=spec))
            found_groups |= {key(kind, part, attempt): group for attempt in draft.attempts}
    return found_groups


class _Draft:
    """A group that is being filled."""

    def __init__(self) -> None:
        self.attempts: list[Try] = []
        self._changed: set[Path] = set()
        self._above: set[Path] = set()

    def add(self, attempt: Try) -> bool:
        """Adds it, unless it changes what another one changes, or what is above or below that."""
        paths = [tuple(steps(path)) for path in attempt.changes]
        above = {path[:n] for path in paths for n in range(1, len(path))}
        if not self._above.isdisjoint(paths) or not self._changed.isdisjoint([*paths, *above]):
            return False
        self.attempts.append(attempt)
        self._changed.update(paths)
        self._above |= above
        return True


def key(kind: str, part: str, attempt: Try) -> str:
    """What distinguishes two tries."""
    return repr((kind, part, attempt))
