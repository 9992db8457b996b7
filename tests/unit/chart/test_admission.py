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
