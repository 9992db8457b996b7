"""What the API server refuses, as a problem. The messages are those of a real one."""

import pytest

from ocore_api.http.refusals import problem
from ocore_kube.errors import ApiError, Conflict, Forbidden, Invalid
from ocore_kube.transport import to_error

SSA = (
    b'{"kind":"Status","status":"Failure","message":"Apply failed with 2 conflicts: conflicts with'
    b' \\"argocd-controller\\"","reason":"Conflict","details":{"causes":['
    b'{"reason":"FieldManagerConflict","message":"conflict with \\"argocd-controller\\" using ocore.dev/v1alpha1",'
    b'"field":".spec.retentionDays"},'
    b'{"reason":"FieldManagerConflict","message":"conflict with \\"kubectl\\" using ocore.dev/v1alpha1",'
    b'"field":".spec.maxPinned"}]},"code":409}'
)


def test_a_field_of_another_manager_is_named_with_its_owner() -> None:
    found = problem(to_error(409, SSA))
    assert (found.status, found.reason) == (409, "FieldOwned")
    assert (found.fields["manager"], found.fields["field"]) == ("argocd-controller", "spec.retentionDays")
    assert found.fields["conflicts"][1] == {"field": "spec.maxPinned", "manager": "kubectl"}
    assert "spec.maxPinned (by kubectl)" in found.detail


def test_the_message_of_an_admission_policy_is_passed_on() -> None:
    found = problem(
        Forbidden(
            403,
            "Forbidden",
            "snapshots.ocore.dev \"kept\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'a' denied request:"
            " snapshot kept is pinned",
        )
    )
    assert (found.status, found.reason) == (409, "AdmissionRefused")
    assert found.detail == "An admission policy refuses this: snapshot kept is pinned"
    webhook = problem(Forbidden(403, "", 'admission webhook "w.example.org" denied the request: not on Fridays'))
    assert webhook.detail.endswith("refuses this: not on Fridays")


def test_a_quota() -> None:
    message = (
        'snapshots.ocore.dev "x" is forbidden: exceeded quota: few, requested: count/snapshots.ocore.dev=1, used: 9,'
        " limited: 9"
    )
    found = problem(Forbidden(403, "Forbidden", message))
    assert (found.status, found.reason) == (403, "QuotaExceeded")
    assert "exceeded quota: few, requested" in found.detail


def test_missing_rights_of_the_facade_are_not_shown() -> None:
    message = 'snapshots.ocore.dev is forbidden: User "system:serviceaccount:a:b" cannot create resource "snapshots"'
    found = problem(Forbidden(403, "Forbidden", message))
    assert (found.status, found.reason) == (503, "FacadeRefused")
    assert "system:serviceaccount" not in found.detail
    assert found.headers["Retry-After"]


def test_a_rule_of_the_schema_lists_the_fields() -> None:
    causes = (
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: 5: must be at least 30",
            "field": "spec.timeoutSeconds",
        },
    )
    found = problem(Invalid(422, "Invalid", "x is invalid", causes))
    assert (found.status, found.reason) == (422, "InvalidValue")
    assert found.fields["errors"] == [
        {"field": "spec.timeoutSeconds", "message": "Invalid value: 5: must be at least 30"}
    ]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Conflict(409, "Conflict", "the object has been modified"), 409, "Conflict"),
        (ApiError(404, "NotFound", "namespaces \"x\" not found"), 404, "NotFound"),
        (ApiError(405, "MethodNotAllowed", "x"), 503, "FacadeRefused"),
        (Forbidden(403, "", "is forbidden: unable to create new content in namespace a because it is being terminated"),
         409, "NamespaceTerminating"),
    ],
)  # fmt: skip
def test_the_others(error: ApiError, status: int, reason: str) -> None:
    found = problem(error)
    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize("details", ["null", "[]", '{"causes":"x"}', '{"causes":[1,{"field":2}]}'])
def test_strange_details_are_no_error(details: str) -> None:
    error = to_error(409, f'{{"reason":"Conflict","message":"m","details":{details}}}'.encode())
    assert problem(error).reason == "Conflict"
