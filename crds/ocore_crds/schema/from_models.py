"""Pydantic models → structural schemas → CustomResourceDefinitions, as data. Does no I/O.

Pydantic emits JSON Schema; an API server accepts only the structural subset of OpenAPI v3. Each difference is converted
here:

========================  ==================================================================================
pydantic                  structural schema
========================  ==================================================================================
``anyOf: […, null]``      the inner schema; an optional field is one that is not required
``default: null``         left out
``default`` of a model    its wire form, so that the server's defaults and the model's are the same
``$ref``                  inlined
``additionalProperties``  ``false`` is left out: the server prunes, or refuses by ``fieldValidation=Strict``
``const``                 an ``enum`` of one
``title``                 left out
union, ``exclusive*``     refused: use sibling objects and a rule, ``ge`` and ``le``
``uniqueItems``           refused: use ``x-kubernetes-list-type``
========================  ==================================================================================

Source:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ocore_crds.group import GROUP, VERSION
from ocore_crds.kinds import MAX_NAME, Column, Kind
from ocore_crds.model import Model, StatusModel
from ocore_crds.schema.cel_rules import rule

Schema = dict[str, Any]

CATEGORY = "ocore"
INT_OR_STRING = "x-kubernetes-int-or-string"
VALIDATIONS = "x-kubernetes-validations"
#: The status before the operator has observed the object: kstatus then reads "in progress", never "done". The default
#: belongs on `status` itself, because a default inside an absent object does not apply.
STATUS_DEFAULT = {"observedGeneration": -1}

#: Pruning a CRD deletes every object of its kind. Argo CD honours Helm's own "keep" only when an Application is
#: deleted, not when a chart stops rendering the CRD (argo-cd#17819).
KEPT = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}

_FIRST = ("type", "description")
_LAST = (VALIDATIONS, "required", "properties", "items")
_DROPPED = ("title",)
_REFUSED = ("exclusiveMinimum", "exclusiveMaximum", "uniqueItems", "oneOf", "allOf", "not", "prefixItems", "const")


class SchemaError(TypeError):
    """A model uses something that a structural schema cannot express; the message says what to write instead."""


class _Spec(GenerateJsonSchema):
    """Schema of what a user writes, with literal defaults."""

    with_defaults: ClassVar[bool] = True

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def union_schema(self, schema: core_schema.UnionSchema) -> JsonSchemaValue:
        raise SchemaError("a union is not structural; use optional sibling objects and rules.exactly_one")

    tagged_union_schema = union_schema  # type: ignore[assignment]

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        found = super().literal_schema(schema)
        if "const" in found:
            found["enum"] = [found.pop("const")]
        return found

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if not self.with_defaults:
            return inner
        if "default_factory" in schema:
            raise SchemaError("default_factory gives the server no default; write a literal one")
        if schema.get("default") is None:
            return inner
        return {**inner, "default": self.encode_default(schema["default"])}

    def encode_default(self, dft: Any) -> Any:
        return dft.wire() if isinstance(dft, Model) else super().encode_default(dft)


class _Status(_Spec):
    """Schema of what the operator writes, without defaults: `kubectl get -o yaml` shows only what was written."""

    with_defaults = False


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model. Raises SchemaError if the model has none."""
    generator = _Status if issubclass(model, StatusModel) else _Spec
    raw = model.model_json_schema(by_alias=True, schema_generator=generator)
    return _tidy(raw, raw.get("$defs", {}), model.__name__)


def _tidy(node: Schema, definitions: dict[str, Schema], where: str) -> Schema:
    """The node with references inlined, without what an API server refuses or ignores."""
    node = dict(node)
    reference = node.pop("$ref", None)
    if reference is not None:
        node = {**definitions[reference.rsplit("/", 1)[1]], **node}
    for key in ("$defs", *_DROPPED):
        node.pop(key, None)
    for key in _REFUSED:
        if key in node:
            raise SchemaError(f"{where}: {key} is not allowed in a structural schema; see the table in schema.py")
    if node.get("additionalProperties") is False:
        del node["additionalProperties"]
    if node.get(INT_OR_STRING):
        del node["type"]
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        node["minimum"] = 0
    properties = node.pop("properties", None)
    if properties:  # an API server serves no empty ones
        node["properties"] = {name: _tidy(child, definitions, f"{where}.{name}") for name, child in properties.items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            node[key] = _tidy(node[key], definitions, f"{where}.{key}")
    return {key: node[key] for key in _ordered(node)}


def _ordered(node: Schema) -> list[str]:
    """Type and description first, nested fields last: the order in which people read."""
    middle = sorted(k for k in node if k not in _FIRST and k not in _LAST)
    return [k for k in (*_FIRST, *middle, *_LAST) if k in node]


def object_schema(kind: Kind) -> Schema:
    """The schema of the whole object."""
    status = structural(kind.status)
    return {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{kind.api_version}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object"},
            "spec": structural(kind.spec),
            "status": {**status, "default": STATUS_DEFAULT},
        },
        VALIDATIONS: [
            rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"name too long: choose one of at most {MAX_NAME} characters",
            ),
            *kind.rules,
        ],
    }


def crd(kind: Kind) -> Schema:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "annotations": dict(KEPT)},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(c) for c in kind.columns],
                    **({"selectableFields": [{"jsonPath": ".status.id"}]} if "id" in kind.status.model_fields else {}),
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


def _column(column: Column) -> Schema:
    found: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.wide:
        found["priority"] = 1
    return found


@dataclass(frozen=True)
class Field:
    """One field of a schema with its path: ``spec.workloads[].name``; the values of a map are ``[*]``."""

    path: str
    schema: Schema
    required: bool


def fields(schema: Schema, path: str) -> Iterator[Field]:
    """Every field below an object's schema, depth first, in the order of the model."""
    required = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        yield from _field(child, f"{path}.{name}", name in required)


def _field(schema: Schema, path: str, required: bool) -> Iterator[Field]:
    yield Field(path, schema, required)
    if "items" in schema and "properties" in schema["items"]:
        yield from fields(schema["items"], f"{path}[]")
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and "properties" in values:
        yield from fields(values, f"{path}[*]")
    yield from fields(schema, path)


def walk(schema: Schema, path: str, visit: Callable[[str, Schema], None]) -> None:
    """Calls `visit` with every schema node: the object itself, its fields, the items of its lists."""
    visit(path, schema)
    for name, child in schema.get("properties", {}).items():
        walk(child, f"{path}.{name}", visit)
    if "items" in schema:
        walk(schema["items"], f"{path}[]", visit)
    if isinstance(schema.get("additionalProperties"), dict):
        walk(schema["additionalProperties"], f"{path}[*]", visit)
