"""Workloads that are no Deployment and no StatefulSet: CronJobs, and kinds of which only the scale is used."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources.environment import Workload
from ocore_crds.resources.snapshot import SavedWorkload
from ocore_crds.resources.workloads import Target, targets
from ocore_kube.errors import ApiError, Forbidden, Unavailable
from ocore_kube.types import CRON_JOBS, DEPLOYMENTS, Type
from ocore_operator.errors import Stalled
from ocore_operator.jobs import scalable_kinds
from ocore_operator.jobs.building import inputs
from ocore_operator.jobs.scalable_kinds import Scale
from ocore_operator.kube.resources import Object
from ocore_operator.settings import Settings, WorkloadKind
from ocore_operator.workloads import images, quiesce, scale
from ocore_operator.workloads.view import ContainerView, WorkloadView, saved
from support.operator.objects import environment

ROLLOUT = Target("Rollout", "shop", "argoproj.io/v1alpha1")
NIGHTLY = Target("CronJob", "nightly", "batch/v1")
SETTINGS = Settings(
    workload_kinds=(WorkloadKind(api_version="argoproj.io/v1alpha1", kind="Rollout", resource="rollouts"),)
)
ROLLOUTS = Type("argoproj.io/v1alpha1", "rollouts", "Rollout")
SCALE: Object = {
    "metadata": {"name": "shop", "resourceVersion": "7"},
    "spec": {"replicas": 2},
    "status": {"replicas": 2, "selector": "app=shop"},
}
SERVED: Object = {
    "resources": [
        {"name": "rollouts", "kind": "Rollout"},
        {"name": "rollouts/scale", "kind": "Scale"},
        {"name": "rollouts/status", "kind": "Rollout"},
        {"name": "experiments", "kind": "Experiment"},
    ]
}


class Kube:
    """Answers by path, and records the writes."""

    def __init__(self, scale: Object | ApiError | None = None, served: Object | None = SERVED, **objects: Any) -> None:
        self._scale, self._served, self._objects = scale, served, objects
        self.written: list[tuple[object, ...]] = []
        self.selected: list[str] = []

    async def scale(self, type_: Type, namespace: str, name: str) -> Object | None:
        assert (type_, namespace, name) == (ROLLOUTS, "ns", "shop")
        if isinstance(self._scale, ApiError):
            raise self._scale
        return self._scale

    async def served(self, _: str) -> Object | None:
        return self._served

    async def get(self, type_: Type, *_: str) -> Object | None:
        found: Object | None = self._objects.get(type_.plural)
        return found

    async def list(self, type_: Type, _: str, *, labels: str = "", keep: Any = lambda _: True) -> list[Object]:
        self.selected.append(labels)
        return [obj for obj in self._objects.get(type_.plural, ()) if keep(obj)]

    async def set_scale(self, type_: Type, _: str, name: str, replicas: int, *, resource_version: str) -> bool:
        self.written.append((type_, name, replicas, resource_version))
        return True

    async def merge_patch(self, type_: Type, _: str, name: str, patch: Object, *, resource_version: str) -> Object:
        self.written.append((type_, name, {"metadata": {"resourceVersion": resource_version}, **patch}))
        return {}


def context(kube: Kube, settings: Settings = SETTINGS) -> Any:
    return SimpleNamespace(kube=kube, settings=settings)


def read(kube: Kube, target: Target = ROLLOUT, settings: Settings = SETTINGS) -> Scale | Failure:
    return asyncio.run(scalable_kinds.read(context(kube, settings), "ns", target))


def observed(kube: Kube, target: Target) -> WorkloadView:
    (view,) = asyncio.run(scale.observe(context(kube), "ns", [target]))
    return view


def pod(*, ready: bool = True, phase: str = "Running", **meta: Any) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    spec = {"terminationGracePeriodSeconds": 45}
    return {
        "metadata": {"name": "p", "ownerReferences": [{"uid": "j1"}], **meta},
        "spec": spec,
        "status": {"phase": phase, "conditions": conditions},
    }


# --- which one is meant -----------------------------------------------------------------------------------------------


def test_the_api_version_of_the_known_kinds_is_known() -> None:
    given = [
        {"name": "a"}, {"kind": "StatefulSet", "name": "a"}, {"kind": "CronJob", "name": "nightly"},
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "shop"},
        {"apiVersion": "apps.kruise.io/v1beta1", "kind": "StatefulSet", "name": "a"},
    ]  # fmt: skip
    found = targets(Workload.model_validate(each) for each in given)
    assert found[:4] == [Target("Deployment", "a"), Target("StatefulSet", "a"), NIGHTLY, ROLLOUT]
    assert [t.has_template for t in found] == [True, True, False, False, False]
    assert [t.is_cron_job for t in found] == [False, False, True, False, False]
    assert targets([SavedWorkload(kind="Deployment", name="a", replicas=1)]) == [Target("Deployment", "a")]


def test_a_saved_workload_is_found_again() -> None:
    views = [WorkloadView("Deployment", "a", replicas=1), WorkloadView("Rollout", "shop", api_version="x.io/v1")]
    kept = saved(views)
    assert [w.wire().get("apiVersion") for w in kept] == [None, "x.io/v1"]
    assert targets(kept) == [view.target for view in views]


# --- a kind that the chart lists --------------------------------------------------------------------------------------


def test_only_the_scale_of_a_listed_kind_is_used() -> None:
    pods = [pod(), pod(deletionTimestamp="2026-11-29T12:00:00Z"), pod(ready=False), pod(phase="Succeeded")]
    kube = Kube(SCALE, pods=pods)
    view = observed(kube, ROLLOUT)
    assert kube.selected == ["app=shop"]
    assert (view.target, view.replicas, view.pods, view.ready_replicas, view.version) == (ROLLOUT, 2, 3, 1, "7")
    assert (view.grace_seconds, view.containers, view.image) == (45, (), "")
    asyncio.run(scale.set_replicas(context(kube), "ns", view, 0))
    assert kube.written == [(ROLLOUTS, "shop", 0, "7")]


def test_pods_that_its_scale_counts_are_waited_for() -> None:
    assert observed(Kube(SCALE), ROLLOUT).pods == 1
    gone = {**SCALE, "status": {"selector": "app=shop"}}
    assert observed(Kube(gone), ROLLOUT).pods == 0


def test_a_kind_that_is_not_listed_is_refused_with_the_line_to_add() -> None:
    found = read(Kube(SCALE), settings=Settings())
    assert isinstance(found, Failure)
    assert found.reason == c.WORKLOAD_KIND_NOT_ALLOWED
    assert found.message.endswith(
        "workloads.kinds: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, resource: rollouts}."
    )


@pytest.mark.parametrize(
    ("kube", "target", "reason", "says"),
    [
        (Kube(None), ROLLOUT, c.WORKLOAD_NOT_FOUND, "There is no Rollout shop in the namespace ns."),
        (Kube(None, rollouts={}), ROLLOUT, c.WORKLOAD_NOT_SCALABLE, "has no scale subresource"),
        (Kube(), Target("Experiment", "x", "a.io/v1"), c.WORKLOAD_NOT_SCALABLE, "has no scale subresource"),
        (Kube(served=None), Target("Ghost", "x", "a.io/v1"), c.WORKLOAD_NOT_FOUND, "has no kind Ghost in a.io/v1"),
        # An empty selector would be all pods of the namespace.
        (Kube({**SCALE, "status": {"replicas": 1}}), ROLLOUT, c.WORKLOAD_NOT_SCALABLE, "has no status.selector"),
        (
            Kube(Unavailable(500, "InternalError", 'the spec replicas field ".spec.replicas" does not exist')),
            ROLLOUT,
            c.WORKLOAD_NOT_SCALABLE,
            "Add to it: spec: {replicas: 1}.",
        ),
        (Kube(Forbidden(403, "Forbidden", "no.")), ROLLOUT, c.WORKLOAD_KIND_NOT_ALLOWED, "get and patch of rollouts/"),
    ],
    ids=["absent", "no scale", "not listed, no scale", "no such kind", "no selector", "no replicas", "no rights"],
)
def test_what_cannot_be_stopped_is_named(kube: Kube, target: Target, reason: str, says: str) -> None:
    found = read(kube, target)
    assert isinstance(found, Failure)
    assert found.reason == reason
    assert says in found.message
    workload = {"apiVersion": target.api_version, "kind": target.kind, "name": target.name}
    with pytest.raises(Stalled) as stalled:
        asyncio.run(inputs._workloads(context(kube), in_ns(workload)))
    assert stalled.value.reason == reason


def in_ns(*workloads: Object) -> Any:
    return environment({"workloads": list(workloads)}, namespace="ns")


def test_an_api_server_that_does_not_answer_is_no_refusal() -> None:
    with pytest.raises(Unavailable):
        read(Kube(Unavailable(503, "ServiceUnavailable", "later")))


def test_an_operation_does_not_end_while_what_it_stopped_cannot_be_started() -> None:
    """The kind was taken out of the chart's list, or its scale is gone: it counts as stopped, with pods left."""
    view = observed(Kube(None, rollouts={}), ROLLOUT)
    assert (view.exists, view.replicas, view.pods) == (True, 0, 1)
    assert quiesce.to_start([(view, 2)], late=True) == ((view, 2),)
    with pytest.raises(Forbidden, match="no scale subresource"):
        asyncio.run(scale.set_replicas(context(Kube()), "ns", view, 2))
    refused = asyncio.run(scale.set_all(context(Kube()), "ns", [(view, 2)]))
    assert isinstance(refused, Forbidden)
    found = quiesce.missing([view], "Rollback")
    assert found is not None
    assert (found.reason, found.message.endswith("create a new Rollback.")) == (c.WORKLOAD_NOT_SCALABLE, True)
    assert observed(Kube(None), ROLLOUT).exists is False


# --- a CronJob --------------------------------------------------------------------------------------------------------


def job(uid: str, owner: str = "c1", *, ended: bool = False) -> Object:
    status = {"conditions": [{"type": "Complete", "status": "True"}]} if ended else {}
    return {"metadata": {"uid": uid, "ownerReferences": [{"uid": owner}]}, "status": status}


@pytest.mark.parametrize(
    ("jobs", "pods", "left"),
    [
        ([], [], 0),
        ([job("j1")], [], 1),  # it starts a pod soon
        ([job("j1", ended=True)], [pod()], 1),  # its pod is ending
        ([job("j1", ended=True), job("j2")], [pod(phase="Failed")], 1),
        ([job("j1", "another")], [pod()], 0),
    ],
)
def test_what_a_cron_job_has_started_is_waited_for(jobs: list[Object], pods: list[Object], left: int) -> None:
    obj = {"metadata": {"uid": "c1", "resourceVersion": "3"}, "spec": {"suspend": True}}
    view = observed(Kube(cronjobs=obj, jobs=jobs, pods=pods), NIGHTLY)
    assert (view.target, view.replicas, view.pods, view.version) == (NIGHTLY, 0, left, "3")


@pytest.mark.parametrize("spec", [{}, {"suspend": False}])
def test_a_cron_job_is_suspended_and_resumed(spec: Object) -> None:
    obj = {"metadata": {"uid": "c1", "resourceVersion": "3"}, "spec": spec}
    kube = Kube(cronjobs=obj)
    view = observed(kube, NIGHTLY)
    assert (view.replicas, view.ready_replicas) == (1, 1)
    for replicas, suspend in ((0, True), (1, False)):
        asyncio.run(scale.set_replicas(context(kube), "ns", view, replicas))
        assert kube.written[-1] == (
            CRON_JOBS,
            "nightly",
            {"metadata": {"resourceVersion": "3"}, "spec": {"suspend": suspend}},
        )
    assert observed(Kube(), NIGHTLY).exists is False


# --- beside the others ------------------------------------------------------------------------------------------------


def test_jobs_inherit_from_the_first_that_has_a_pod_template() -> None:
    app: Object = {"metadata": {"name": "shop"}, "spec": {}}
    kube = Kube(SCALE, cronjobs={}, deployments=app, pods=[])
    listed_first = in_ns(
        {"kind": "CronJob", "name": "nightly"},
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "shop"},
        {"name": "shop"},
    )
    assert asyncio.run(inputs._workloads(context(kube), listed_first)) == app
    assert asyncio.run(inputs.first_template(context(kube), "ns", listed_first.spec)) == app
    only = in_ns({"kind": "CronJob", "name": "nightly"})
    assert asyncio.run(inputs._workloads(context(kube), only)) is None
    with pytest.raises(Stalled) as stalled:
        asyncio.run(inputs._workloads(context(Kube()), only))
    assert stalled.value.reason == c.WORKLOAD_NOT_FOUND


def test_the_application_is_the_first_that_has_a_pod_template() -> None:
    app = WorkloadView("Deployment", "shop", containers=(ContainerView("app", init=False, image="shop:1"),))
    nightly = WorkloadView("CronJob", "nightly", api_version="batch/v1")
    assert images.of_application([nightly, app], "") == ((app, app.containers[0]),)
    assert images.of_application([nightly], "shop:1") == ()


def test_they_are_stopped_and_started_in_the_order_of_the_list() -> None:
    kube = Kube(SCALE)
    views = [WorkloadView("CronJob", "nightly", replicas=1, api_version="batch/v1", version="1"),
             WorkloadView("Deployment", "shop", replicas=2, version="2"),
             WorkloadView("Rollout", "shop", replicas=3, version="3", api_version=ROLLOUT.api_version)]  # fmt: skip
    stop = quiesce.stop(views, 0, None, None)  # type: ignore[arg-type]
    assert isinstance(stop, quiesce.SetReplicas)
    asyncio.run(scale.set_all(context(kube), "ns", stop.targets))
    assert [written[0] for written in kube.written] == [CRON_JOBS, DEPLOYMENTS, ROLLOUTS]
    assert quiesce.to_start([(w, 1) for w in views], late=False) == tuple((w, 1) for w in views[1:])
