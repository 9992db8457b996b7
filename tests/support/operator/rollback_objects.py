"""Rollbacks and their Environments as the API server would send them, at times of the model."""

from datetime import timedelta
from typing import Any

from ocore_crds.resources.rollback import RollbackStatus, RollbackTarget
from ocore_operator.kube import resources
from ocore_operator.rollback.conditions import summarized
from support.operator.rollback_model import ENVIRONMENT_ID, PROJECT_ID, START

TARGET = RollbackTarget(database_secret_name="db", claim_name="files", path="odoo", layout="Odoo")


def time_at(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


NOW = "2026-01-01T00:00:00Z"


def rollback(name: str = "r1", uid: str = "0a1b2c3d-0000-4000-8000-000000000001", **spec: Any) -> resources.Rollback:
    meta = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "1", "creationTimestamp": NOW}
    return resources.rollback({"metadata": meta, "spec": {"snapshotRef": {"name": "s1"}, **spec}})


def environment(entries: list[dict[str, Any]]) -> resources.Environment:
    meta = {"name": "shop", "namespace": "ns", "uid": ENVIRONMENT_ID, "resourceVersion": "1", "creationTimestamp": NOW}
    spec = {
        "projectId": PROJECT_ID,
        "type": "production",
        "storeRef": {"name": "s"},
        "database": {"secretRef": {"name": "d"}},
    }
    return resources.environment({"metadata": meta, "spec": spec, "status": {"executedRollbacks": entries}})


def conditions(status: RollbackStatus, *, deleting: bool = False) -> dict[str, tuple[str, str, str]]:
    done_ = summarized(status, generation=1, deleting=deleting, reason="", message="", now=START)
    return {x.type: (x.status, x.reason, x.message) for x in done_.conditions}
