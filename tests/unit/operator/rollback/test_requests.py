"""How often an operation asks the API server. A count that has grown is a loop that reads again what it knows: find out
why before you raise it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import conditions as c
from ocore_crds.naming import ANNOTATION_SIGNAL
from ocore_kube.errors import Conflict
from ocore_kube.types import CLAIMS, DEPLOYMENTS, ENVIRONMENTS, PODS, ROLLBACKS, SNAPSHOTS, Type
from ocore_operator.jobs import lifecycle
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Object
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.observe import Observed, with_status
from ocore_operator.rollback.plan_preflight import APPEAR_SECONDS
from ocore_operator.rollback.world import StartJob, World
from support.operator import objects
from support.operator.objects import NOW
from support.operator.whole_rollback import KEY, UNDO_UID, Site, probed
from support.operator.whole_rollback import UNDO as UNDO_KEY

#: Of a rollback in place, of its undo, and of a snapshot.
ROLLBACK, UNDO, SNAPSHOT = 170, 116, 39


def test_a_rollback_and_its_undo_take_no_more_requests_than_that() -> None:
    site = Site()
    rolled_back, undone = site.roll_back(), site.undo()
    assert rolled_back.total() <= ROLLBACK, rolled_back
    assert undone.total() <= UNDO, undone


def test_a_snapshot_takes_no_more_requests_than_that() -> None:
    made = Site().snapshot()
    assert made.total() <= SNAPSHOT, made


def test_what_others_have_announced_is_read_after_the_own_announcement() -> None:
    """Of two rollbacks that announce at once that they stop a workload, each must see the other one."""
    site = Site()
    site.restore()
    site.place.requests.clear()
    site.reconcile(KEY)
    announced, listed = (
        [n for n, each in enumerate(site.place.requests) if each == wanted]
        for wanted in (("PATCH", f"{ROLLBACKS.path('shop', 'back')}/status"), ("LIST", ROLLBACKS.path("shop")))
    )
    assert announced[0] < listed[-1] < announced[1]


@pytest.mark.parametrize("key", [KEY, UNDO_KEY])
def test_a_job_starts_after_two_observations(key: Key) -> None:
    """Status, finalizer and operation lock follow one; what another operation may have changed is observed under the
    lock, and status and Job follow that."""
    site = Site()
    if key == UNDO_KEY:
        site.roll_back()
    site.undo() if key == UNDO_KEY else site.restore()
    path = ROLLBACKS.path("shop", key.name)
    begun = site.place.requests[: next(n for n, (method, _) in enumerate(site.place.requests) if method == "POST")]
    own = [("PATCH", f"{path}/status"), ("PATCH", path), ("PATCH", f"{ENVIRONMENTS.path('shop', 'shop')}/status")]
    assert [each for each in begun if each[0] == "PATCH"] == [*own, own[0]]
    last = begun[begun.index(own[2]) :]
    read = [("GET", ENVIRONMENTS.path("shop", "shop")), ("LIST", PODS.path("shop")), ("GET", path)]
    assert [each for each in read if each in last[: last.index(own[0])]] == read
    assert begun.count(("GET", path)) == 3


@pytest.mark.parametrize(
    ("method", "type_", "name", "stage"),
    [("status", ROLLBACKS, "undo", "Preflight"), ("finalizers", ENVIRONMENTS, "shop", "Preflight")],
)
def test_nothing_begins_on_what_has_changed_in_between(
    monkeypatch: pytest.MonkeyPatch, method: str, type_: Type, name: str, stage: str
) -> None:
    """In the moment in which the first status is written, or the finalizer, another client changes what is written
    next."""
    site = Site()
    site.roll_back()
    kube = site.ctx.kube
    write = kube.apply_status if method == "status" else kube.set_finalizers

    async def written(*given: Any) -> Any:
        answer = await write(*given)
        site.place.put(type_, site.place.read(type_, "shop", name))
        return answer

    site.place.put(ROLLBACKS, an_undo())
    with monkeypatch.context() as patched:
        patched.setattr(kube, "apply_status" if method == "status" else "set_finalizers", written)
        with pytest.raises(Conflict):
            site.reconcile(UNDO_KEY)
    assert site.stage(UNDO_KEY) == stage
    assert not site.jobs(UNDO_KEY)
    site.reconcile(UNDO_KEY)
    assert len(site.jobs(UNDO_KEY)) == 1


def test_no_workload_is_stopped_before_the_others_announcements_are_read() -> None:
    """They are read at the stage Prepare, which an undo enters before its Job exists."""
    begun = asyncio.run(_entered("Prepare"))
    assert begun is not None
    assert begun.allowed == (StartJob,)
    assert asyncio.run(_entered("Resume")) is None  # the pods that mount the claim were not read


def an_undo() -> Object:
    """An undo as it is created."""
    return objects.obj("Rollback", "undo", {"undo": {"rollbackRef": {"name": "back"}}}, {}, uid=UNDO_UID)


async def _entered(stage: str) -> Observed | None:
    """What was observed of an undo at the stage Preflight, once that stage is written."""
    site = Site()
    rollback = resources.rollback(an_undo())
    before, after = (
        rollback.status.model_copy(update={"stage": each, "environment_name": "shop"}) for each in ("Preflight", stage)
    )
    others = World(NOW, None, None, environment_name="shop")
    seen = lifecycle.no_jobs(site.ctx)
    observed = Observed(rollback.with_status(before), before, others, others=others, seen=seen)
    return await with_status(site.ctx, Memory(), observed, after)


def test_what_is_waited_for_is_written_with_the_stage() -> None:
    """Announced, stopped, drained: one write for each."""
    site = Site()
    site.restore()
    site.place.requests.clear()
    site.reconcile(KEY)
    assert site.place.writes().count(("PATCH", f"{ROLLBACKS.path('shop', 'back')}/status")) == 3
    status = site.place.read(ROLLBACKS, "shop", "back")["status"]
    assert status["stage"] == "Drain"
    assert status["conditions"][0]["message"].startswith("Waiting until the pods of Deployment shop are gone")


def test_what_follows_a_status_is_carried_out_in_the_world_that_it_was_decided_in() -> None:
    """The workloads are scaled at the version at which their replicas were saved, and the signal goes to the pod at the
    version at which it was ready."""
    site = Site()
    pod = site.restore()
    site.reconcile(KEY)
    site.follow()
    site.reconcile(KEY)
    written = [n for n, each in enumerate(site.place.requests) if each[0] == "PATCH"]
    followed = [site.place.requests[n + 1] for n in written if n + 1 in written]
    scaled, signalled = ("PATCH", f"{DEPLOYMENTS.path('shop', 'shop')}/scale"), ("PATCH", PODS.path("shop", pod))
    assert {scaled, signalled} <= set(followed)


@pytest.mark.parametrize(("stage", "type_"), [("Stop", DEPLOYMENTS), ("Switch", PODS)])
def test_what_has_changed_since_that_world_is_a_conflict(
    monkeypatch: pytest.MonkeyPatch, stage: str, type_: Type
) -> None:
    """In the moment in which the stage is written, another client changes what is to be scaled, or gets the signal."""
    site = Site()
    pod = site.restore()
    name = pod if type_ == PODS else "shop"
    apply = site.place._apply

    def applied(path: str, status: Object, manager: str) -> Object:
        if status.get("stage") == stage:
            site.place.put(type_, site.place.read(type_, "shop", name))
        return apply(path, status, manager)

    if stage == "Switch":
        site.reconcile(KEY)
        site.follow()
    with monkeypatch.context() as patched:
        patched.setattr(site.place, "_apply", applied)
        with pytest.raises(Conflict):
            site.reconcile(KEY)
    assert site.stage(KEY) == stage
    site.reconcile(KEY)
    found = site.place.read(type_, "shop", name)
    assert (
        found["spec"]["replicas"] == 0
        if type_ == DEPLOYMENTS
        else ANNOTATION_SIGNAL in found["metadata"]["annotations"]
    )


def test_pods_that_are_waited_for_are_watched_until_the_end() -> None:
    site = Site()
    watched: list[tuple[object, ...]] = []
    changes = SimpleNamespace(
        ensure=lambda *given: watched.append((site.stage(KEY), *given)), forget=lambda key: watched.append(("", key))
    )
    site.ctx = replace(site.ctx, pod_changes=cast("Any", changes))
    site.roll_back()
    waits = [(stage, KEY, "app=shop") for stage in ("Drain", "HealthCheck")]
    assert list(dict.fromkeys(watched)) == [*waits, ("", KEY)]


def test_nothing_is_stopped_where_the_claim_is_being_deleted() -> None:
    """It is read at each stage that may stop a workload, and only there."""
    site = Site()
    site.restore()
    claim = site.place.read(CLAIMS, "shop", "files")
    site.place.put(CLAIMS, {**claim, "metadata": {**claim["metadata"], "deletionTimestamp": objects.at(5)}})
    site.reconcile(KEY)
    status = site.place.read(ROLLBACKS, "shop", "back")["status"]
    assert (status.get("failureReason"), status.get("quiescedAt")) == (c.SCALING_DELETES_CLAIM, None)


def waits_under_the_lock(*, late: bool = False) -> Site:
    """A Rollback in Preflight: it has the lock, and waits for a probe. `late`: it first waited for its Snapshot."""
    site = Site()
    snapshot = site.place.read(SNAPSHOTS, "shop", "before")
    found = site.place.read(ENVIRONMENTS, "shop", "shop")
    refused = {"type": c.ROLLBACK_READY, "status": "False", "reason": c.CAPACITY_UNKNOWN, "message": "."}
    found["status"]["conditions"][1] |= refused
    site.place.put(ENVIRONMENTS, found)
    site.place.put(ROLLBACKS, objects.obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, {}))
    if late:
        site.place.remove(SNAPSHOTS, "shop", "before")
        site.reconcile(KEY)
        site.place.put(SNAPSHOTS, snapshot)
    site.reconcile(KEY)
    assert site.place.read(ENVIRONMENTS, "shop", "shop")["status"]["operation"]["name"] == "back"
    return site


def test_a_rollback_that_is_refused_under_the_lock_releases_it() -> None:
    site = waits_under_the_lock()
    site.place.put(ENVIRONMENTS, probed(site.place.read(ENVIRONMENTS, "shop", "shop"), site.now))
    site.reconcile(KEY)
    assert site.stage(KEY) == "Ended"
    assert "operation" not in site.place.read(ENVIRONMENTS, "shop", "shop")["status"]


def is_released(site: Site) -> bool:
    """Whether the Rollback has ended because its Snapshot is gone, and nothing locks the Environment."""
    status = site.place.read(ROLLBACKS, "shop", "back")["status"]
    assert (status["stage"], status["failureReason"]) == ("Ended", c.SNAPSHOT_NOT_FOUND)
    return "operation" not in site.place.read(ENVIRONMENTS, "shop", "shop")["status"]


@pytest.mark.parametrize("late", [False, True])
def test_row_144_the_lock_is_released_though_the_snapshot_was_deleted_under_it(*, late: bool) -> None:
    """Nothing but the status names the Environment then. `late`: the Snapshot was created after the Rollback."""
    site = waits_under_the_lock(late=late)
    site.place.remove(SNAPSHOTS, "shop", "before")
    site.now += timedelta(seconds=APPEAR_SECONDS)
    site.reconcile(KEY)
    assert is_released(site)


def test_row_144_the_lock_is_released_though_the_snapshot_was_deleted_before_the_job() -> None:
    """The Job could not be created, so nothing of the rollback exists, and its status is as before the start."""
    site = Site()
    site.place.refuses_jobs = True
    site.place.put(ROLLBACKS, objects.obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, {}))
    site.reconcile(KEY)
    site.place.remove(SNAPSHOTS, "shop", "before")
    site.reconcile(KEY)
    assert is_released(site)
