"""Objects for the unit tests of the operator, as the API server would send them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ocore_operator import clock
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Object, Snapshot, Store
from ocore_operator.settings import Settings

RECORDED = Path(__file__).resolve().parents[2] / "unit/operator/jobs/recorded"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UID = "11111111-2222-4333-8444-555555555555"
OTHER_UID = "99999999-2222-4333-8444-555555555555"
PROJECT = "aaaaaaaa-2222-4333-8444-555555555555"
SETTINGS = Settings()
#: Labels of the Jobs and pods of the Snapshot of these tests.
LABELS = {"app.kubernetes.io/managed-by": "ocore-snapshots", "ocore.dev/kind": "Snapshot", "ocore.dev/uid": UID}


def at(seconds: float) -> str:
    """The time these seconds after NOW."""
    return clock.text(NOW + timedelta(seconds=seconds))


def moment(seconds: float) -> datetime:
    """The same, as a datetime."""
    return NOW + timedelta(seconds=seconds)


def obj(kind: str, called: str, spec: Object, status: Object | None = None, /, **meta: Any) -> Object:
    """An object of one of our kinds."""
    return {
        "apiVersion": "ocore.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": called,
            "namespace": "shop",
            "uid": UID,
            "generation": 1,
            "resourceVersion": "100",
            "creationTimestamp": at(0),
            **meta,
        },
        "spec": spec,
        "status": {"observedGeneration": -1} if status is None else status,
    }


def environment_object(spec: Object | None = None, status: Object | None = None, **meta: Any) -> Object:
    """An Environment with every field; `spec` replaces fields, None removes one."""
    full: Object = {
        "projectId": PROJECT,
        "type": "production",
        "storeRef": {"name": "store"},
        "database": {"secretRef": {"name": "db"}, "capacity": "50Gi"},
        "filestore": {"claimName": "files", "path": "filestore/shop"},
        "config": {"configMapRef": {"name": "app"}},
        "workloads": [{"kind": "Deployment", "name": "shop"}],
        **(spec or {}),
    }
    return obj("Environment", "shop", {k: v for k, v in full.items() if v is not None}, status, **meta)


def environment(spec: Object | None = None, status: Object | None = None, **meta: Any) -> Environment:
    """The same, parsed."""
    return resources.environment(environment_object(spec, status, **meta))


def store(spec: Object | None = None, status: Object | None = None, **meta: Any) -> Store:
    """A SnapshotStore; S3 by default."""
    full = spec or {
        "s3": {"bucket": "snapshots", "prefix": "eu/shop", "credentialsSecretRef": {"name": "s3"}},
    }
    return resources.store(obj("SnapshotStore", "store", full, {"storeId": OTHER_UID, **(status or {})}, **meta))


def snapshot_object(spec: Object | None = None, status: Object | None = None, **meta: Any) -> Object:
    """A Snapshot."""
    return obj("Snapshot", "before", {"environmentRef": {"name": "shop"}, **(spec or {})}, status, **meta)


def snapshot(spec: Object | None = None, status: Object | None = None, **meta: Any) -> Snapshot:
    """The same, parsed with the CRD's defaults."""
    return resources.snapshot(snapshot_object(spec, status, **meta))


def started(seconds: float = 600, **status: Any) -> Object:
    """Status of a Snapshot that began at NOW and ends these seconds later at the latest."""
    return {
        "phase": "Running",
        "startedAt": at(0),
        "deadline": at(seconds),
        "attempt": 1,
        "source": {
            "environmentId": UID,
            "environmentName": "shop",
            "environmentType": "production",
            "projectId": PROJECT,
        },
        "storeName": "store",
        "storeId": OTHER_UID,
        "fullFilestore": True,
        **status,
    }


def recorded(name: str) -> Object:
    """Job, pods and warnings as a real cluster had them (tests/unit/operator/jobs/recorded)."""
    found: Object = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def controller(kind: str, name: str, uid: str) -> Object:
    """The owner reference of a controller."""
    version = "batch/v1" if kind == "Job" else "ocore.dev/v1alpha1"
    return {"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": True}


def job(name: str, command: str = "snapshot", *, created: float = 0, condition: str = "", **spec: Any) -> Object:
    """A Job; `condition`: Complete or Failed."""
    conditions = [{"type": condition, "status": "True", "lastTransitionTime": at(60)}] if condition else []
    return {
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-of-{name}",
            "resourceVersion": "1",
            "creationTimestamp": at(created),
            "labels": {**LABELS, "ocore.dev/command": command, "ocore.dev/store": "store"},
            "annotations": {"ocore.dev/name": "before"},
            "ownerReferences": [controller("Snapshot", "before", UID)],
        },
        "spec": {"template": {"spec": {"restartPolicy": "Never"}}, **spec},
        "status": {"conditions": conditions},
    }


def pod(job_name: str, state: Object, *, phase: str = "Running", created: float = 0, **status: Any) -> Object:
    """A pod of a Job with the state of its one container."""
    return {
        "metadata": {
            "name": f"{job_name}-x",
            "namespace": "shop",
            "uid": f"pod-of-{job_name}",
            "resourceVersion": "1",
            "creationTimestamp": at(created),
            "labels": {**LABELS, "batch.kubernetes.io/job-name": job_name},
            "annotations": {"ocore.dev/name": "before"},
            "ownerReferences": [controller("Job", job_name, f"uid-of-{job_name}")],
        },
        "spec": {"nodeName": "node1"},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": "mover", "state": state, "ready": "running" in state, "restartCount": 0}],
            **status,
        },
    }


def ended(message: str, code: int = 0) -> Object:
    """State of a container that ended with a termination message."""
    return {"terminated": {"exitCode": code, "message": message, "finishedAt": at(60), "reason": "Completed"}}


def observation(
    jobs: list[Object] | None = None,
    pods: dict[str, list[Object]] | None = None,
    *,
    seconds: float = 60,
    start_deadline: float = 180,
    warnings: dict[str, tuple[str, str]] | None = None,
) -> Observation:
    """What was read these seconds after NOW."""
    return Observation(
        jobs={j["metadata"]["name"]: j for j in jobs or []},
        pods={k: tuple(v) for k, v in (pods or {}).items()},
        now=moment(seconds),
        start_deadline=start_deadline,
        warnings=warnings or {},
    )


def on_a_lost_node(seen: Observation) -> Observation:
    """The same, after the node of all pods was lost at second 10: Kubernetes has deleted them, and none has ended."""
    pods = {
        name: tuple({**each, "metadata": {**each["metadata"], "deletionTimestamp": at(10)}} for each in found)
        for name, found in seen.pods.items()
    }
    return replace(seen, pods=pods)
