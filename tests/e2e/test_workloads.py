"""Workloads that are no Deployment: CronJobs, and kinds of which only the scale subresource is used. And what cannot be
stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ocore_crds.text import timestamps
from support.cluster.cluster import POD_SECURITY, Cluster, Object, condition, is_true
from support.cluster.promises import fresh, holds_all_promises, old_or_new
from support.cluster.site import DEMO_IMAGE, Site, claim, container

#: The kind is in the chart's value workloads.kinds (support/cluster/operator.py).
WORKER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "worker"}


@pytest.fixture
def change(site: Site) -> Iterator[Callable[..., None]]:
    """Changes the site's Environment: another one may not have its database. Afterwards it is as it was, and ready."""
    yield lambda **fields: site.cluster.apply(site.environment_object(**fields))
    site.cluster.apply(site.environment_object())
    site.environment_ready()


def pod(*command: str) -> Object:
    return {
        "securityContext": POD_SECURITY,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container("app", DEMO_IMAGE, command=list(command))],
    }


def cron_job(site: Site, name: str, *, suspend: bool) -> Object:
    """One whose schedule never comes."""
    template = {"spec": {**pod("sleep", "12"), "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": site.namespace},
        "spec": {"schedule": "0 0 31 2 *", "suspend": suspend, "jobTemplate": {"spec": {"template": template}}},
    }


def worker(site: Site) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "worker", "namespace": site.namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "worker"}},
            "template": {"metadata": {"labels": {"app": "worker"}}, "spec": pod("sleep", "infinity")},
        },
    }


def keeper(site: Site) -> Object:
    """A StatefulSet whose claim is deleted when it is scaled to zero."""
    template = claim("data", site.namespace, "1Mi")
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "keeper", "namespace": site.namespace},
        "spec": {
            "replicas": 1,
            "serviceName": "keeper",
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Delete"},
            "selector": {"matchLabels": {"app": "keeper"}},
            "template": {"metadata": {"labels": {"app": "keeper"}}, "spec": keeper_pod()},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": template["spec"]}],
        },
    }


def keeper_pod() -> Object:
    found = pod("sleep", "infinity")
    found["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    return found


def budget(site: Site) -> Object:
    """No pod of the application may be evicted."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "shop", "namespace": site.namespace},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "shop"}}},
    }


@contextmanager
def gadgets(cluster: Cluster) -> Iterator[None]:
    """Within the block the API server has a kind with the scale subresource that the chart does not list."""
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"scale": paths},
    }
    cluster.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "gadgets.test.example.org"},
            "spec": {
                "group": "test.example.org",
                "scope": "Namespaced",
                "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
                "versions": [version],
            },
        }
    )
    try:
        yield
    finally:
        cluster.delete("CustomResourceDefinition", "gadgets.test.example.org")


def spec_of(site: Site, kind: str, name: str) -> Object:
    found = site.cluster.get(kind, name, site.namespace)
    assert found is not None
    return dict(found["spec"])


def test_cron_jobs_and_other_kinds_are_stopped_and_started(site: Site, change: Callable[..., None]) -> None:
    """Beside a rollout that is under way and a PodDisruptionBudget that allows nothing."""
    site.cluster.apply(
        cron_job(site, "report", suspend=False), cron_job(site, "off", suspend=True), worker(site), budget(site)
    )
    crons = [{"kind": "CronJob", "name": name} for name in ("report", "off")]
    change(workloads=[*crons, WORKER, {"kind": "Deployment", "name": "shop"}])
    site.environment_ready()
    site.cluster.kubectl("-n", site.namespace, "patch", "deployment/shop", "-p", '{"spec":{"minReadySeconds":300}}')
    try:
        site.patch_shop({"metadata": {"annotations": {"rollout": "under way"}}})
        name = fresh("kinds")
        # Time enough to start a Job before anything is stopped.
        late = {"ocore.dev/failpoints": "operator-rollback-replicas-saved=sleep:4"}
        site.rollback(name, "base", undoWindowSeconds=0, annotations=late)
        site.cluster.wait("Rollback", name, site.namespace, lambda o: o["status"].get("stage") == "Stop", 120, "near")
        site.cluster.kubectl("-n", site.namespace, "create", "job", "--from=cronjob/report", "running")
        obj = site.completed("Rollback", name)
    finally:
        site.cluster.kubectl("-n", site.namespace, "patch", "deployment/shop", "-p", '{"spec":{"minReadySeconds":0}}')
    old_or_new(site, obj)
    saved = [(w.get("apiVersion"), w["kind"], w["name"], w["replicas"]) for w in obj["status"]["workloads"]]
    assert saved == [
        (None, "CronJob", "report", 1),
        (None, "CronJob", "off", 0),
        ("apps/v1", "ReplicaSet", "worker", 2),
        (None, "Deployment", "shop", 1),
    ]
    job = site.cluster.get("Job", "running", site.namespace)
    assert job is not None
    # Kubernetes writes whole seconds, we write milliseconds: as texts, the same second compares the wrong way.
    ended, switched = (
        timestamps.parse(text) for text in (job["status"]["completionTime"], obj["status"]["switchedAt"])
    )
    assert ended <= switched, "its Job was not waited for"
    assert spec_of(site, "CronJob", "report")["suspend"] is False
    assert spec_of(site, "CronJob", "off")["suspend"] is True
    assert spec_of(site, "ReplicaSet", "worker")["replicas"] == 2
    holds_all_promises(site)


def test_row_123_what_deletes_its_claim_when_it_is_scaled_is_not_stopped(
    site: Site, change: Callable[..., None]
) -> None:
    """Neither a quiesced Snapshot nor a Rollback stops a pod, of this workload or of another one."""
    site.cluster.apply(keeper(site))
    try:
        site.cluster.wait(
            "StatefulSet", "keeper", site.namespace, lambda o: o["status"].get("readyReplicas") == 1, 90, "ready"
        )
        before = pods(site)
        change(workloads=[{"kind": "Deployment", "name": "shop"}, {"kind": "StatefulSet", "name": "keeper"}])

        def refused(obj: Object) -> bool:
            found = condition(obj, "RollbackReady")
            return is_true(obj, "Ready") and found is not None and found["reason"] == "ScalingDeletesClaim"

        site.cluster.wait("Environment", site.environment, site.namespace, refused, 90, "ScalingDeletesClaim")
        quiesced = site.snapshot(fresh("stopped"), quiesce=True)
        site.failed("Snapshot", quiesced, "ScalingDeletesClaim")
        obj = site.failed("Rollback", site.rollback(fresh("stopped"), "base"), "ScalingDeletesClaim")
        assert "whenScaled" in str(condition(obj, "Failed"))
        assert pods(site) == before
        for name in ("data-keeper-0", site.filestore_claim):
            kept = site.cluster.get("PersistentVolumeClaim", name, site.namespace)
            assert kept is not None
            assert "deletionTimestamp" not in kept["metadata"]
        site.files_fit()
        assert spec_of(site, "StatefulSet", "keeper")["replicas"] == 1
        assert spec_of(site, "Deployment", "shop")["replicas"] == 1
    finally:
        site.cluster.delete("StatefulSet", "keeper", site.namespace)


def pods(site: Site) -> set[str]:
    """The uids of the pods of the workloads."""
    return {p["metadata"]["uid"] for app in ("shop", "keeper") for p in site.cluster.pods(site.namespace, f"app={app}")}


def test_a_paused_deployment_is_stopped_and_started(site: Site) -> None:
    """A change that it does not roll out stays pending. It is warned of; with restoreImage the Rollback is refused."""

    def pause(*, paused: bool) -> None:
        site.cluster.patch("Deployment", "shop", site.namespace, {"spec": {"paused": paused}})

    before = len(site.cluster.objects("ReplicaSet", site.namespace))
    pause(paused=True)
    try:
        site.patch_shop({"metadata": {"annotations": {"rollout": "pending"}}}, ready=False)
        name = site.rollback(fresh("paused"), "base", undoWindowSeconds=0)
        obj = site.completed("Rollback", name)
        old_or_new(site, obj)
        assert "WorkloadPaused" in [w["reason"] for w in obj["status"]["warnings"]]
        assert spec_of(site, "Deployment", "shop")["replicas"] == 1
        assert spec_of(site, "Deployment", "shop")["paused"] is True
        assert len(site.cluster.objects("ReplicaSet", site.namespace)) == before
        site.app_ready()
        refused = site.rollback(fresh("paused"), "base", restoreImage="Always")
        site.failed("Rollback", refused, "WorkloadPaused")
    finally:
        pause(paused=False)
        site.rolled_out()
    holds_all_promises(site)


def test_what_cannot_be_stopped_stalls_with_the_line_to_change(site: Site, change: Callable[..., None]) -> None:
    def shown(reason: str, *words: str) -> None:
        def seen(obj: Object) -> bool:
            found = condition(obj, "Ready")
            return (
                found is not None
                and found["reason"] == reason
                and all(word in found["message"] for word in words)
                and is_true(obj, "Stalled")
            )

        site.cluster.wait("Environment", site.environment, site.namespace, seen, 60, f"{reason} {words}")

    with gadgets(site.cluster):
        gadget = {"apiVersion": "test.example.org/v1", "kind": "Gadget", "name": "a"}
        change(workloads=[gadget])
        line = "workloads.kinds: {apiVersion: test.example.org/v1, kind: Gadget, resource: gadgets}"
        shown("WorkloadKindNotAllowed", line)
    change(workloads=[{"apiVersion": "apps/v1", "kind": "ControllerRevision", "name": "a"}])
    shown("WorkloadNotScalable", "Remove it from spec.workloads")
    change(workloads=[{**WORKER, "name": "ghost"}])
    shown("WorkloadNotFound", "There is no ReplicaSet ghost")
    obj = site.cluster.get("Deployment", "shop", site.namespace)
    assert obj is not None
    assert obj["spec"]["replicas"] == 1
