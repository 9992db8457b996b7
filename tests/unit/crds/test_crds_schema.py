"""Models become structural schemas: each difference that is converted, each that is refused."""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import ConfigDict, Field, create_model

from ocore_crds.kinds import KINDS, Kind
from ocore_crds.model import LocalRef, Model, Quantity, StatusModel, Timestamp
from ocore_crds.schema import from_models
from ocore_crds.schema.cel_rules import exactly_one, immutable, validations


class Inner(Model):
    """An inner object."""

    size: int = Field(default=3, description="Size.")
    note: str | None = Field(default=None, description="Note.")


def properties(model: type[Model]) -> dict[str, Any]:
    found: dict[str, Any] = from_models.structural(model)["properties"]
    return found


def one(annotation: Any, default: Any = ..., base: type[Model] = Model) -> dict[str, Any]:
    """The schema of a single field."""
    found: dict[str, Any] = properties(create_model("M", __base__=base, field_name=(annotation, default)))["fieldName"]
    return found


def test_an_optional_field_is_its_inner_schema_without_a_default() -> None:
    assert one(str | None, None) == {"type": "string"}
    assert one(Annotated[int, Field(ge=1)] | None, None) == {"type": "integer", "minimum": 1}


def test_a_reference_is_inlined_and_keeps_its_own_description() -> None:
    found = one(LocalRef, Field(description="The store."))
    assert found["description"] == "The store."
    assert found["properties"]["name"]["maxLength"] == 253
    assert found["required"] == ["name"]
    assert "$ref" not in str(found)


def test_the_default_of_an_object_is_its_wire_form() -> None:
    assert one(Inner, Inner())["default"] == {"size": 3}


def test_defaults_are_literal() -> None:
    assert one(bool, True) == {"type": "boolean", "default": True}
    assert one(tuple[str, ...], ()) == {"type": "array", "default": [], "items": {"type": "string"}}


def test_one_literal_is_an_enum() -> None:
    assert one(Literal["A"]) == {"type": "string", "enum": ["A"]}
    assert one(Literal["A", "B"]) == {"type": "string", "enum": ["A", "B"]}


def test_an_enum_class_is_inlined() -> None:
    colour = StrEnum("Colour", {"RED": "red"})
    assert one(colour)["enum"] == ["red"]
    assert "const" not in one(colour)


def test_a_map_keeps_its_values_schema() -> None:
    assert one(dict[str, int]) == {"type": "object", "additionalProperties": {"type": "integer"}}


def test_a_quantity_is_a_number_or_text() -> None:
    found = one(Quantity, "10Gi")
    assert "type" not in found
    assert found["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert found["minimum"] == 0
    assert found[from_models.INT_OR_STRING] is True
    assert found["default"] == "10Gi"


def test_a_time_has_its_format() -> None:
    assert one(Timestamp)["format"] == "date-time"


def test_neither_titles_nor_closed_objects_are_left() -> None:
    found = from_models.structural(create_model("M", __base__=Model, inner=(Inner, ...)))
    assert "title" not in str(found)
    assert "additionalProperties" not in str(found)


def test_a_status_has_no_defaults() -> None:
    found = one(tuple[int, ...], (), StatusModel)
    assert found == {"type": "array", "items": {"type": "integer"}}
    assert one(dict[str, str], Field(default_factory=dict), StatusModel) == {
        "type": "object",
        "additionalProperties": {"type": "string"},
    }


@pytest.mark.parametrize(
    ("annotation", "default", "word"),
    [
        (int | str, ..., "union"),
        (Annotated[int, Field(gt=1)], ..., "exclusiveMinimum"),
        (Annotated[int, Field(lt=1)], ..., "exclusiveMaximum"),
        (set[str], ..., "uniqueItems"),
        (dict[str, str], Field(default_factory=dict), "default_factory"),
        (tuple[int, str], ..., "prefixItems"),
    ],
)
def test_what_is_not_structural_is_refused(annotation: Any, default: Any, word: str) -> None:
    with pytest.raises(from_models.SchemaError, match=word):
        one(annotation, default)


def test_rules_stand_on_the_object() -> None:
    class Ruled(Model):
        """Ruled."""

        a: str | None = None
        b: str | None = None
        model_config = ConfigDict(json_schema_extra=validations(exactly_one("a", "b"), immutable("a")))

    first, second = from_models.structural(Ruled)[from_models.VALIDATIONS]
    assert first["message"] == "give exactly one of a, b"
    assert second["fieldPath"] == ".a"


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
class TestKinds:
    def test_every_field_has_a_description(self, kind: Kind) -> None:
        whole = from_models.object_schema(kind)
        for part in ("spec", "status"):
            found = list(from_models.fields(whole["properties"][part], part))
            assert not [f.path for f in found if not f.schema.get("description", "").endswith((".", ")"))]

    def test_names_and_categories(self, kind: Kind) -> None:
        names = from_models.crd(kind)["spec"]["names"]
        assert names["singular"] == kind.kind.lower()
        assert names["plural"] == re.sub("ys$", "ies", f"{kind.kind.lower()}s")
        assert names["shortNames"] == [kind.short]
        assert names["categories"] == ["ocore"]

    def test_status_is_a_subresource_that_begins_unobserved(self, kind: Kind) -> None:
        (version,) = from_models.crd(kind)["spec"]["versions"]
        assert version["subresources"] == {"status": {}}
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
        assert status["default"] == {"observedGeneration": -1}

    def test_every_string_of_a_spec_is_bounded(self, kind: Kind) -> None:
        """Without bounds the cost of a CEL rule over them is estimated as unbounded."""
        unbounded: list[str] = []

        def visit(path: str, node: dict[str, Any]) -> None:
            if node.get("type") == "string" and not {"maxLength", "enum"} & set(node):
                unbounded.append(path)
            if node.get("type") == "array" and "maxItems" not in node:
                unbounded.append(path)

        from_models.walk(from_models.structural(kind.spec), "spec", visit)
        assert not unbounded

    def test_every_rule_names_only_fields_that_exist(self, kind: Kind) -> None:
        def visit(path: str, node: dict[str, Any]) -> None:
            for rule in node.get(from_models.VALIDATIONS, ()):
                for escaped in re.findall(r"(?:self|oldSelf)\.(\w+)", rule["rule"]):
                    name = escaped.strip("_")  # Kubernetes escapes the reserved words of CEL: __import__
                    assert name in node["properties"], f"{path}: {rule['rule']}"

        from_models.walk(from_models.structural(kind.spec), "spec", visit)
