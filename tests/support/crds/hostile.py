"""Hypothesis strategies of everything that a schema allows, with the values that break programs more often than chance
would find them."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from ocore_crds.kinds import Kind
from ocore_crds.model import TIME_PATTERN
from ocore_crds.schema.from_models import object_schema

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


def _sound_times() -> tuple[str, ...]:
    """Those of TIMES that an API server takes: by our pattern, and days that exist (kube-openapi, strfmt/time.go)."""
    found = ("1970-01-01T00:00:00Z", "8999-12-31T23:59:59.123456789012345678Z", "2024-02-29T23:59:59.5Z", *TIMES)
    return tuple(t for t in found if re.fullmatch(TIME_PATTERN, t) and t[5:10] != "02-30")


def held(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that an API server holds: valid to the structural schema, with its defaults. Its rules in CEL are not
    kept."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([0, 1, 2**31 - 1]) | st.from_regex(_anchored(schema["pattern"]), fullmatch=True)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            return _held_object(schema)
        case "array":
            keys = schema.get("x-kubernetes-list-map-keys")
            unique = (lambda each: tuple(each.get(k) for k in keys)) if keys else None
            if schema.get("x-kubernetes-list-type") == "set":
                unique = repr
            return st.lists(
                held(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=min(3, schema.get("maxItems", 3)),
                unique_by=unique,
            )
        case "string":
            return _held_string(schema)
        case _:
            return of_schema(schema)


def _anchored(pattern: str) -> str:
    """Go's `$` is the end of the text only; Python's is before a last line end as well."""
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern


def _held_string(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    low, high = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    if schema.get("format") == "date-time":
        return st.sampled_from(_sound_times())
    found = st.from_regex(_anchored(schema["pattern"]), fullmatch=True) if "pattern" in schema else texts()
    return found.filter(lambda text: low <= len(text) <= high)


def _held_object(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "additionalProperties" in schema:
        return st.dictionaries(st.sampled_from(("a", "b", *TEXTS)), held(schema["additionalProperties"]), max_size=2)
    properties = schema.get("properties", {})  # none: an object that only stands there
    present = {*schema.get("required", ()), *(n for n, each in properties.items() if "default" in each)}
    values = {name: held(each) for name, each in properties.items()}
    return st.fixed_dictionaries(
        {name: each for name, each in values.items() if name in present},
        optional={name: each for name, each in values.items() if name not in present},
    )


def of_schema(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Values by structure and type; patterns and bounds are kept half of the time only: a model must refuse what its
    schema does, not fail on it."""
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
