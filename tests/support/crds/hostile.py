"""Hypothesis strategies of everything that a schema allows, with the values that break programs more often than chance would find them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ocore_crds.kinds import Kind
from ocore_crds.schema import object_schema

#: Timestamps of RFC 3339 that programs refuse or misread.
TIMES = (
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2016-12-31T23:59:60Z",
    "2026-01-01T00:00:00.123456789123Z",
    "2026-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "2026-01-01T00:00:00+23:59",
    "",
)
#: Text of every kind: astral, right to left, NUL, ESC, line ends, a lone surrogate's neighbour, empty, long.
TEXTS = ("", "a", "\U0001f600", "\u202eabc", "a\x00b", "\x1b[31m", "\u2028", "\ud7ff", "x" * 300, "0", "null", "../..")
NUMBERS = (0, 1, -1, 2**31, 2**53, 2**63 - 1, -(2**63))


def times() -> st.SearchStrategy[str]:
    """Timestamps."""
    return st.sampled_from(TIMES)


def texts() -> st.SearchStrategy[str]:
    """Texts."""
    return st.sampled_from(TEXTS) | times() | st.text(max_size=8)


def of_schema(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Values by structure and type; patterns and bounds are kept half of the time only: a model must refuse what its schema does, not fail on it."""
    known = definitions if definitions is not None else schema.get("$defs", {})
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: of_schema(known[name], known))
    for several in ("anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            return st.one_of(*(of_schema(each, known) for each in schema[several]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from(NUMBERS) | st.sampled_from(("1", "10Gi", "500m"))
    match schema.get("type"):
        case "object":
            return _object(schema, known)
        case "array":
            return st.lists(of_schema(schema.get("items", {}), known), max_size=3)
        case "integer":
            low, high = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1)
            return st.sampled_from([n for n in (*NUMBERS, low, high) if low <= n <= high])
        case "number":
            return st.sampled_from((0.0, -1.0, 1e300, 0.5))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return _string(schema)
        case _:
            return st.sampled_from((None, 1, "x", [], {}))


def _string(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return times()
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True) | texts()
    return texts()


def _object(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    properties = {name: of_schema(each, known) for name, each in schema.get("properties", {}).items()}
    if not properties and isinstance(schema.get("additionalProperties"), dict):
        return st.dictionaries(
            st.sampled_from(("a", "b")), of_schema(schema["additionalProperties"], known), max_size=2
        )
    required = schema.get("required", ())
    return st.fixed_dictionaries(
        {name: properties[name] for name in required},
        optional={name: each for name, each in properties.items() if name not in required},
    )


def objects(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of that kind as an API server could return them: its metadata is sound, and each field has its type."""
    schema = object_schema(kind)["properties"]
    return st.fixed_dictionaries(
        {"spec": of_schema(schema["spec"]), "metadata": _metadata()}, optional={"status": of_schema(schema["status"])}
    ).map(lambda found: {"apiVersion": kind.api_version, "kind": kind.kind, **found})


def _metadata() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "name": st.sampled_from(("a", "b", "shop")),
            "namespace": st.sampled_from(("shop", "other")),
            "uid": st.uuids().map(str),
            "resourceVersion": st.integers(1, 10**6).map(str),
            "creationTimestamp": st.just("2026-03-01T12:00:00Z"),
            "generation": st.just(1),
        },
        optional={
            "annotations": st.dictionaries(
                st.sampled_from(("ocore.dev/import", "ocore.dev/import-requested", "ocore.dev/probe-requested")),
                texts(),
                max_size=2,
            ),
            "finalizers": st.just(["ocore.dev/data"]),
            "deletionTimestamp": st.just("2026-03-01T12:00:00Z"),
        },
    )
