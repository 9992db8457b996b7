"""Schemas and registries → Markdown: the field reference and the list of failpoints. Does no I/O."""

import json
from collections.abc import Iterable, Iterator

from ocore_crds import failpoints
from ocore_crds.kinds import Kind
from ocore_crds.model import NAME_PATTERN, NAMESPACE_PATTERN, TIME_PATTERN, UUID_PATTERN
from ocore_crds.schema.from_models import (
    CATEGORY,
    INT_OR_STRING,
    VALIDATIONS,
    Field,
    Schema,
    fields,
    object_schema,
    walk,
)

#: Patterns that are described in words; the description includes the lengths.
_DESCRIBED = {
    UUID_PATTERN: "a UUID in lower case",
    NAME_PATTERN: "the name of an object",
    NAMESPACE_PATTERN: "the name of a namespace",
    TIME_PATTERN: "RFC 3339 in UTC: `2026-01-31T23:59:59Z`",
}
NOTICE = "<!-- Made by `make generate` from the models in crds/ocore_crds; do not edit. -->\n"


def kind_page(kind: Kind) -> str:
    """The field reference of one kind."""
    schema = object_schema(kind)
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    return "\n".join(
        (
            NOTICE,
            f"# {kind.kind}\n",
            f"{kind.description}\n",
            (
                f"`apiVersion: {kind.api_version}`, `kind: {kind.kind}`, namespaced; "
                f"`kubectl get {kind.plural}.ocore.dev`, short `{kind.short}`, also in `kubectl get {CATEGORY}`.\n"
            ),
            f"## spec\n\n{spec['description']}\n",
            *_table(("field", "type", "default", "bounds", "meaning"), map(_spec_row, fields(spec, ""))),
            "\n## Rules\n\nThe API server refuses an object that breaks a rule, with the message.\n",
            *_table(("at", "message", "rule"), _rule_rows(schema)),
            f"\n## status\n\n{status['description']} Written only by the operator.\n",
            *_table(("field", "type", "values", "meaning"), map(_status_row, fields(status, ""))),
            "\n## Columns of `kubectl get`\n",
            *_table(
                ("column", "shows", "with"),
                ((c.name, _code(c.path), "`-o wide`" if c.wide else "") for c in kind.columns),
            ),
            "",
        )
    )


def index_page(kinds: Iterable[Kind]) -> str:
    """The list of the kinds."""
    rows = ((f"[{k.kind}]({k.kind.lower()}.md)", f"`{k.short}`", k.description) for k in kinds)
    return "\n".join((NOTICE, "# Field reference\n", *_table(("kind", "short name", "meaning"), rows), ""))


def failpoints_page() -> str:
    """The list of the failpoints."""
    rows = ((f"`{name}`", where) for name, where in failpoints.REGISTRY.items())
    return "\n".join(
        (
            NOTICE,
            "# Failpoints\n",
            (
                "Named places where a test may kill, stop or fail a program of this project. They are always compiled"
                f" in and armed only by\n`{failpoints.ENVIRONMENT_VARIABLE}=name=action[,name=action]` in the program's"
                " environment; the chart does not set it.\nActions: `kill` (SIGKILL to itself), `error` (an"
                " exception), `sleep:SECONDS` and `delay:SECONDS`. A `delay` fires each time. The others fire"
                f" once per process, and once per pod\nwhere `{failpoints.MARKS_VARIABLE}` names a folder that"
                " outlives the container.\n"
            ),
            *_table(("failpoint", "state at that point"), rows),
            "",
        )
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield "|" + "---|" * len(head)
    yield from map(_row, rows)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _spec_row(field: Field) -> tuple[str, ...]:
    name = _code(field.path.removeprefix(".")) + (" (required)" if field.required else "")
    default = _code(json.dumps(field.schema["default"])) if "default" in field.schema else ""
    return name, type_name(field.schema), default, bounds(field.schema), field.schema["description"]


def _status_row(field: Field) -> tuple[str, ...]:
    values = _enum(field.schema)
    return _code(field.path.removeprefix(".")), type_name(field.schema), values, field.schema["description"]


def type_name(schema: Schema) -> str:
    """The type as text."""
    if schema.get(INT_OR_STRING):
        return "quantity"
    if schema["type"] == "array":
        return f"list of {type_name(schema['items'])}s"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {type_name(schema['additionalProperties'])}s"
    if schema.get("format") == "date-time":
        return "time"
    return str(schema["type"])


def bounds(schema: Schema) -> str:
    """Everything that limits the value, as text."""
    if schema.get("pattern") in _DESCRIBED:
        return _DESCRIBED[schema["pattern"]]
    found = [
        _enum(schema),
        _range(schema.get("minimum"), schema.get("maximum"), "") if not schema.get(INT_OR_STRING) else "",
        _range(schema.get("minLength"), schema.get("maxLength"), " characters"),
        _range(schema.get("minItems"), schema.get("maxItems"), " items"),
        (
            "unique by " + ", ".join(schema["x-kubernetes-list-map-keys"])
            if "x-kubernetes-list-map-keys" in schema
            else ""
        ),
        _code(schema["pattern"]) if "pattern" in schema else "",
    ]
    return ", ".join(filter(None, found))


def _enum(schema: Schema) -> str:
    return " or ".join(_code(value) for value in schema.get("enum", ()))


def _range(low: int | None, high: int | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    if low is None or high is None:
        return f"at least {low}{unit}" if high is None else f"at most {high}{unit}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _rule_rows(schema: Schema) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []

    def visit(path: str, node: Schema) -> None:
        for found in node.get(VALIDATIONS, ()):
            rows.append((_code(path or "metadata.name"), found["message"], _code(found["rule"])))

    walk(schema, "", visit)
    return [(at.replace("`.", "`", 1), message, text) for at, message, text in rows]
