"""The models and the schema agree: what the API server stores, the operator can read, and the other way round."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ocore_crds import model, naming
from ocore_crds.kinds import KINDS, Kind
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.schema.from_models import structural
from ocore_crds.text import quantity
from support.crds.samples import MINIMAL, PATTERNS, SPECS

BY_KIND = {kind.kind: kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_a_complete_spec_goes_through_the_model_unchanged(kind: Kind) -> None:
    for spec in SPECS[kind.kind]:
        wire = kind.spec.model_validate(spec).wire()
        assert _subset(spec, wire)
        assert kind.spec.model_validate(wire).wire() == wire


def _subset(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and _subset(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(_subset, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_the_schema_defaults_are_the_models(kind: Kind) -> None:
    for spec in MINIMAL[kind.kind]:
        assert _defaulted(structural(kind.spec), spec) == kind.spec.model_validate(spec).wire()


def _defaulted(schema: dict[str, Any], value: Any) -> Any:
    """As the API server does: the default where the field is absent, then the same inside it."""
    if isinstance(value, list):
        return [_defaulted(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in filled and "default" in child:
            filled[name] = child["default"]
        if name in filled:
            filled[name] = _defaulted(child, filled[name])
    return filled


def test_the_project_of_a_namespace_never_changes() -> None:
    """It is in the manifests of stores: a rebuilt cluster, and every later version, must derive the same one."""
    assert naming.project_id(None, "shop") == "19ed10da-61d6-c9f9-16c9-c97b36bcfe38"
    assert naming.project_id(None, "shop2") != naming.project_id(None, "shop")
    assert naming.project_id("0f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b", "shop") == "0f2a1c3e-5b6d-4e7f-8a9b-0c1d2e3f4a5b"
    TypeAdapter(model.Uuid).validate_python(naming.project_id(None, "x" * 63))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_of_both_regular_expression_engines(pattern: str) -> None:
    """RE2 (the API server) and Rust's (pydantic) know neither look-around nor back-references."""
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    assert not re.search(r"\(\?[=!<]|\\[1-9]", pattern)
    values = TypeAdapter(model.Annotated[str, model.StringConstraints(pattern=pattern)])
    for good in PATTERNS[pattern].good:
        values.validate_python(good)
    for bad in PATTERNS[pattern].bad:
        with pytest.raises(ValidationError):
            values.validate_python(bad)


@given(st.from_regex(r"[A-Za-z0-9_@+=.,/-]{0,20}", fullmatch=True))
def test_a_relative_path_never_leaves_the_claim(path: str) -> None:
    try:
        TypeAdapter(model.RelativePath).validate_python(path)
    except ValidationError:
        return
    assert path == "" or all(part not in ("", ".", "..") for part in path.split("/"))


@pytest.mark.parametrize(("given_", "kept"), [(5, "5"), ("5", "5"), ("1.5Gi", "1.5Gi")])
def test_a_quantity_may_be_a_whole_number(given_: object, kept: str) -> None:
    assert TypeAdapter(model.Quantity).validate_python(given_) == kept


@pytest.mark.parametrize("bad", [True, 1.5, -1, "5m", "", None])
def test_what_is_no_quantity_is_refused(bad: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(model.Quantity).validate_python(bad)


@given(
    st.from_regex(
        structural(BY_KIND["Environment"].spec)["properties"]["scratch"]["properties"]["size"]["pattern"],
        fullmatch=True,
    )
)
def test_every_quantity_has_a_number_of_bytes(text: str) -> None:
    assert quantity.parse(text) >= 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_an_unknown_field_is_an_error_in_a_spec_and_ignored_in_a_status(kind: Kind) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        kind.spec.model_validate({**SPECS[kind.kind][0], "surprise": 1})
    assert kind.status.model_validate({"surprise": 1}).wire() == kind.status().wire()


def test_a_copy_with_a_misspelt_field_is_an_error() -> None:
    """pydantic would keep it as an attribute that no status shows."""
    status = RollbackStatus()
    assert status.model_copy(update={"switch_attempt": 2}).switch_attempt == 2
    with pytest.raises(TypeError, match="RollbackStatus has no field switchAttempt, switch_atempt"):
        status.model_copy(update={"switch_atempt": 2, "switchAttempt": 2})
