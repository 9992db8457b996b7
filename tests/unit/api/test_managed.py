"""Which fields a manager has applied."""

from typing import Any

from ocore_api.managed import applied_spec, other_owner


def entry(manager: str, fields: dict[str, Any], operation: str = "Apply", **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}, **more}


def policy(*entries: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}, "spec": spec}


def test_the_fields_that_were_applied_with_their_values_now() -> None:
    obj = policy(
        entry("ocore-api", {"f:retentionDays": {}, "f:environmentRef": {"f:name": {}}}),
        entry("kubectl", {"f:maxPinned": {}}, "Update"),
        retentionDays=7,
        environmentRef={"name": "shop"},
        maxPinned=3,
    )
    assert applied_spec(obj, "ocore-api") == {"retentionDays": 7, "environmentRef": {"name": "shop"}}


def test_updates_statuses_and_other_managers_do_not_count() -> None:
    obj = policy(
        entry("ocore-api", {"f:maxPinned": {}}, "Update"),
        entry("ocore-api", {"f:maxPinned": {}}, subresource="status"),
        entry("other", {"f:maxPinned": {}}),
        maxPinned=3,
    )
    assert applied_spec(obj, "ocore-api") == {}
    assert applied_spec({"metadata": {}, "spec": {}}, "ocore-api") == {}


def test_of_a_map_only_the_owned_fields() -> None:
    obj = policy(entry("ocore-api", {"f:pin": {}}), pin={"label": "of another manager"})
    assert applied_spec(obj, "ocore-api") == {"pin": {}}


def test_a_field_that_is_gone_is_not_applied_again() -> None:
    assert applied_spec(policy(entry("ocore-api", {"f:retentionDays": {}})), "ocore-api") == {}


def test_which_other_manager_owns_a_field() -> None:
    label = {"f:pin": {"f:label": {}}}
    ours, status = entry("ocore-api", label), entry("ocore-operator", label, subresource="status")
    assert other_owner(policy(ours, status, entry("git", {"f:pin": {}})), "ocore-api", "pin", "label") == ""
    assert other_owner(policy(ours, entry("git", label)), "ocore-api", "pin", "label") == "git"
    assert other_owner(policy(ours, entry("ocore-api", label, "Update")), "ocore-api", "pin", "label") == "ocore-api"
    assert other_owner(policy({"fieldsV1": {"f:spec": label}}), "ocore-api", "pin", "label") == "unknown"
