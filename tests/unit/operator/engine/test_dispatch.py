"""What a Job's or pod's event puts into the queue: forged ones leave nothing there."""

import asyncio
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import cast

import kopf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds import naming
from ocore_operator.context import Context
from ocore_operator.engine import dispatch as dispatch_module
from ocore_operator.engine.dispatch import Dispatch, configure, pod_begins, substance
from ocore_operator.engine.handlers import Forgetful
from ocore_operator.engine.kinds import reconcilers
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.jobs.observing import outcome, pod_failures
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.observing.lingering import Lingering
from ocore_operator.kube.resources import Key, Object
from support.operator.catalogs import new_catalog
from support.operator.objects import NOW, OTHER_UID, UID, controller, environment_object, job, obj, pod, snapshot_object

OWNER = Key("Snapshot", "shop", "before")
WAITING = Key("Snapshot", "shop", "waiting")


RUNNING = {"running": {"startedAt": "2026-03-01T12:00:00Z"}}
WAITING_TO_START = {"waiting": {"reason": "ContainerCreating"}}
READY = [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]
LOST = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
UNPLACED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node fits"}]


class Added(WorkQueue):
    """A queue that only remembers."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self._active: set[Key] = set()
        self._again: dict[Key, bool] = {}
        self._afterwards: dict[Key, Callable[[], None]] = {}

    def begin(self, key: Key) -> None:
        self._active.add(key)

    def end(self, key: Key) -> None:
        self._finish(key)

    def add(self, key: Key, *, low: bool = False) -> None:
        self.keys.append(key)

    def forget(self, key: Key) -> None:
        pass


class Waiters:
    """One Job waits for a slot."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bool]] = []

    def changed(self, job: Object, *, deleted: bool) -> None:
        self.events.append((job["metadata"]["name"], deleted))

    def waiters(self) -> tuple[Key, ...]:
        return (WAITING,)


@pytest.fixture
def queue() -> Added:
    return Added()


@pytest.fixture
def dispatch(queue: Added) -> Dispatch:
    rows = reconcilers()

    class Fake:
        catalog = new_catalog()
        slots = Waiters()
        remembered = Remembered(lambda _: True)

    Fake.catalog.put("Snapshot", snapshot_object())
    return Dispatch(cast(Context, Fake()), queue, rows, Lingering(600))


def changed(obj: Object, **metadata: object) -> Object:
    obj["metadata"].update(metadata)
    return obj


def test_a_job_of_ours_wakes_its_owner_and_at_its_end_those_who_wait(dispatch: Dispatch, queue: Added) -> None:
    dispatch.job_changed(job("a"), False)
    assert queue.keys == []  # the reconcile that created it knows
    dispatch.job_changed(job("a", condition="Complete"), False)
    assert queue.keys == [OWNER, WAITING]
    dispatch.job_changed(job("a"), True)
    assert queue.keys[2:] == [OWNER, WAITING]


def test_each_event_of_ours_reaches_what_remembers_jobs_and_pods(dispatch: Dispatch) -> None:
    """Also those that are no news to a reconcile. What is forged takes no slot, and a Job frees its slot though its
    owner is gone."""
    ctx = dispatch._ctx

    def remembered() -> bool:
        return ctx.remembered.of(UID) is not None

    for tell in (
        lambda: dispatch.job_changed(job("a"), False),
        lambda: dispatch.pod_changed(pod("a", RUNNING), False),
        lambda: dispatch.pod_changed(pod("a", RUNNING), False),
        lambda: dispatch.job_changed(job("a"), True),
    ):
        ctx.remembered.keep(UID, ctx.remembered.begin(UID, "shop"), [], [])
        assert remembered()
        tell()
        assert not remembered()
    dispatch.job_changed(changed(job("b"), ownerReferences=[controller("Snapshot", "before", OTHER_UID)]), False)
    assert cast(Waiters, ctx.slots).events == [("a", False), ("a", True)]
    ctx.catalog.remove(OWNER)
    dispatch.job_changed(job("a"), True)
    assert cast(Waiters, ctx.slots).events[2:] == [("a", True)]


@pytest.mark.parametrize(
    ("then", "wakes"),
    [
        (job("a", condition="SuccessCriteriaMet"), False),
        (job("a", condition="FailureTarget"), False),
        (job("a", condition="Complete"), True),
        (job("a", condition="Failed"), True),
        (changed(job("a"), deletionTimestamp="2026-03-01T12:00:00Z"), True),
    ],
)
def test_a_job_wakes_its_owner_where_it_ends(dispatch: Dispatch, queue: Added, then: Object, wakes: bool) -> None:
    dispatch.job_changed(job("a"), False)
    dispatch.job_changed(then, False)
    assert (OWNER in queue.keys) == wakes


@pytest.mark.parametrize(
    "forged",
    [
        changed(job("a", condition="Failed"), ownerReferences=[]),
        changed(job("a", condition="Failed"), ownerReferences=[controller("Snapshot", "before", OTHER_UID)]),
        changed(job("a", condition="Failed"), ownerReferences=[controller("Nothing", "before", OTHER_UID)]),
        changed(job("a", condition="Failed"), ownerReferences=[controller("Job", "before", OTHER_UID)]),
        changed(job("a", condition="Failed"), ownerReferences=[], labels={"ocore.dev/kind": "Nothing"}),
        changed(job("a", condition="Failed"), ownerReferences=[], labels=None, annotations=None),
    ],
)
def test_a_forged_job_makes_no_work(dispatch: Dispatch, queue: Added, forged: Object) -> None:
    """A key of an unknown kind failed in the queue again and again, without an end."""
    dispatch.job_changed(forged, False)
    dispatch.job_changed(forged, True)
    assert queue.keys == []


def test_a_job_without_owner_wakes_the_object_that_is_being_deleted(dispatch: Dispatch, queue: Added) -> None:
    deleted = snapshot_object(deletionTimestamp="2026-03-01T12:00:00Z", resourceVersion="101")
    dispatch.changed(dispatch.news("Snapshot", "MODIFIED", deleted))
    queue.keys.clear()
    dispatch.job_changed(changed(job("a", condition="Failed"), ownerReferences=[]), False)
    assert OWNER in queue.keys


def test_a_pod_wakes_the_object_that_it_names(dispatch: Dispatch, queue: Added) -> None:
    dispatch.pod_changed(pod("a", RUNNING), False)
    assert queue.keys == [OWNER]


@pytest.mark.parametrize(
    "forged",
    [
        changed(pod("a", RUNNING), labels={"ocore.dev/kind": "Nothing", "ocore.dev/uid": OTHER_UID}),
        changed(pod("a", RUNNING), labels={"ocore.dev/kind": "Snapshot", "ocore.dev/uid": OTHER_UID}),
        changed(pod("a", RUNNING), annotations={"ocore.dev/name": "none"}),
        changed(pod("a", RUNNING), labels=None, annotations=None),
    ],
)
def test_a_forged_pod_makes_no_work(dispatch: Dispatch, queue: Added, forged: Object) -> None:
    dispatch.pod_changed(forged, False)
    dispatch.pod_changed(forged, True)
    assert queue.keys == []
    assert dispatch._told == {}


def begun(**status: object) -> Object:
    """A pod whose container is created."""
    return pod("a", WAITING_TO_START, phase="Pending", **status)


@pytest.mark.parametrize(
    ("then", "wakes"),
    [
        (begun(), False),
        (begun(podIP="10.0.0.9", startTime="2026-03-01T12:00:00Z", conditions=READY), False),
        (begun(containerStatuses=None), False),
        ({**begun(containerStatuses=None), "spec": {}}, False),  # no node yet
        ({**begun(), "spec": {"nodeName": "node2"}}, False),
        (changed(begun(), resourceVersion="7", managedFields=[{"manager": "kubelet"}]), False),
        ({**begun(conditions=UNPLACED), "spec": {}}, True),
        (pod("a", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, phase="Pending"), True),
        (pod("a", WAITING_TO_START), True),
        (pod("a", RUNNING), True),
        (pod("a", RUNNING, phase="Pending"), True),
        (begun(conditions=LOST), True),
        (begun(reason="Evicted", message="the node has no memory"), True),
        (changed(begun(), deletionTimestamp="2026-03-01T12:00:00Z"), True),
        (pod("a", WAITING_TO_START, phase="Failed"), True),
    ],
)
def test_a_pod_wakes_its_owner_where_it_says_something_new(
    dispatch: Dispatch, queue: Added, then: Object, wakes: bool
) -> None:
    """That it begins is no news: its Job was created by a reconcile."""
    dispatch.pod_changed(begun(), False)
    assert queue.keys == []
    dispatch.pod_changed(then, False)
    assert queue.keys == ([OWNER] if wakes else [])
    dispatch.pod_changed(then, False)
    assert queue.keys == ([OWNER] if wakes else [])
    queue.keys.clear()
    dispatch.pod_changed(then, True)
    assert queue.keys == ([] if outcome.pod_ended(then) else [OWNER])
    assert dispatch._told == {}


def test_the_deletion_of_a_pod_that_has_ended_is_no_news(dispatch: Dispatch, queue: Added) -> None:
    """A Job that has been read is removed with its pod: four events, and nothing that a reconcile does not know. But
    what was never told is: the pod may have ended in between."""
    ended = pod("a", {"terminated": {"exitCode": 0}}, phase="Succeeded")
    dispatch.pod_changed(ended, False)
    assert queue.keys == [OWNER]
    dispatch.pod_changed(changed(ended, deletionTimestamp="2026-03-01T12:00:00Z"), False)
    dispatch.pod_changed(ended, True)
    assert queue.keys == [OWNER]
    assert dispatch._told == {}
    dispatch.pod_changed(ended, True)
    assert queue.keys == [OWNER, OWNER]


def test_the_event_of_an_own_write_is_no_news(dispatch: Dispatch, queue: Added) -> None:
    """It often comes before the answer to the write, while the object is reconciled."""
    queue.begin(OWNER)
    dispatch.changed(dispatch.news("Snapshot", "MODIFIED", snapshot_object(resourceVersion="101")))
    dispatch._ctx.catalog.put("Snapshot", snapshot_object(resourceVersion="101"))  # the answer
    queue.end(OWNER)
    assert queue.keys == []


def test_what_another_one_has_written_during_a_reconcile_is_news(dispatch: Dispatch, queue: Added) -> None:
    queue.begin(OWNER)
    dispatch.changed(dispatch.news("Snapshot", "MODIFIED", snapshot_object(resourceVersion="101")))
    dispatch.changed(dispatch.news("Snapshot", "MODIFIED", snapshot_object(resourceVersion="102")))
    dispatch._ctx.catalog.put("Snapshot", snapshot_object(resourceVersion="101"))
    assert queue.keys == []
    queue.end(OWNER)
    assert queue.keys == [OWNER]
    found = dispatch._ctx.catalog.get(OWNER)
    assert found is not None
    assert found.version == 102


def test_what_came_before_a_deletion_does_not_bring_the_object_back(dispatch: Dispatch, queue: Added) -> None:
    queue.begin(OWNER)
    dispatch.changed(dispatch.news("Snapshot", "MODIFIED", snapshot_object(resourceVersion="101")))
    dispatch.changed(dispatch.news("Snapshot", "DELETED", snapshot_object(resourceVersion="102")))
    assert queue.keys == [OWNER]
    queue.end(OWNER)
    assert dispatch._ctx.catalog.get(OWNER) is None


def test_a_pod_that_runs_and_is_disrupted_wakes_its_owner(dispatch: Dispatch, queue: Added) -> None:
    dispatch.pod_changed(pod("a", RUNNING), False)
    queue.keys.clear()
    dispatch.pod_changed(pod("a", RUNNING, conditions=READY), False)
    assert queue.keys == []
    dispatch.pod_changed(pod("a", RUNNING, conditions=LOST), False)
    assert queue.keys == [OWNER]


def test_a_pod_that_begins_again_wakes_its_owner(dispatch: Dispatch, queue: Added) -> None:
    """Its trouble is over."""
    dispatch.pod_changed(pod("a", {"waiting": {"reason": "ErrImagePull"}}, phase="Pending"), False)
    queue.keys.clear()
    dispatch.pod_changed(begun(), False)
    assert queue.keys == [OWNER]


def test_nothing_is_kept_of_a_pod_whose_owner_went_first(dispatch: Dispatch) -> None:
    dispatch.pod_changed(pod("a", WAITING_TO_START), False)
    dispatch.job_changed(job("a"), False)
    assert len(dispatch._told) == 2
    dispatch._ctx.catalog.remove(OWNER)
    dispatch.pod_changed(pod("a", WAITING_TO_START), True)
    dispatch.job_changed(job("a"), True)
    assert dispatch._told == {}


def test_what_is_kept_of_pods_has_a_limit(dispatch: Dispatch, queue: Added, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where their deletion was missed. Of one that was dropped the next event wakes the owner."""
    monkeypatch.setattr(dispatch_module, "TOLD", 3)
    for number in range(10):
        dispatch.pod_changed(pod(f"a{number}", RUNNING), False)
    assert len(dispatch._told) == 3
    queue.keys.clear()
    dispatch.pod_changed(pod("a9", RUNNING), False)
    assert queue.keys == []
    dispatch.pod_changed(pod("a0", RUNNING), False)
    assert queue.keys == [OWNER]


def test_a_job_that_only_counts_wakes_nobody(dispatch: Dispatch, queue: Added) -> None:
    ended = job("a", condition="Complete")
    dispatch.job_changed(ended, False)
    queue.keys.clear()
    ended["status"] |= {"succeeded": 1, "ready": 0, "startTime": "2026-03-01T12:00:00Z"}
    dispatch.job_changed(ended, False)
    assert queue.keys == []


STATES = st.sampled_from(
    [
        {},
        WAITING_TO_START,
        {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        {"running": {"startedAt": "2026-03-01T12:00:00Z"}},
        {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    ]
)
CONDITIONS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["PodScheduled", "Ready", "Initialized", "DisruptionTarget"]),
            "status": st.sampled_from(["True", "False"]),
            "reason": st.sampled_from(["Unschedulable", "PreemptionByScheduler"]),
        }
    ),
    max_size=3,
)


@st.composite
def pods(draw: st.DrawFn) -> Object:
    phase = draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]))
    found = pod("a", draw(STATES), phase=phase, conditions=draw(CONDITIONS), podIP=draw(st.sampled_from(["", "::1"])))
    found["spec"] = {"nodeName": draw(st.sampled_from(["", "node1"]))}
    if draw(st.booleans()):
        found["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    if draw(st.booleans()):
        del found["status"]["containerStatuses"]
    return found


@given(pods(), pods())
def test_two_pods_of_one_substance_mean_the_same_to_a_reconcile(one: Object, other: Object) -> None:
    def read(found: Object) -> list[object]:
        status = pod_failures.mover(found)
        return [
            *(outcome.pod_ended(found), outcome._terminated(found), outcome.ever_ran(found)),
            *(outcome._running(found, now) for now in (NOW, NOW + timedelta(hours=1))),
            *(pod_failures.pod_trouble(found), pod_failures.container_trouble(status), pod_failures.died(found)),
        ]

    if substance(one) == substance(other):
        assert read(one) == read(other)


@given(pods())
def test_a_pod_that_begins_is_starting_and_without_trouble(found: Object) -> None:
    if pod_begins(found):
        state = outcome.classify(job("a"), (found,), {}, NOW, start_deadline=600)
        assert isinstance(state, outcome.Starting)
        assert state.reason in pod_failures.VAGUE


def test_row_36_what_goes_to_the_main_event_loop_holds_no_object(dispatch: Dispatch) -> None:
    """20,000 raw objects that waited there took 1.1 GB."""
    obj = snapshot_object(status={"phase": "Running", "progress": {"message": "m" * 5000}})
    news = pickle.dumps(dispatch.news("Snapshot", None, obj))
    assert len(news) < 1500


def test_row_36_kopf_keeps_no_object_either(dispatch: Dispatch) -> None:
    configuration = kopf.OperatorSettings()
    configure(configuration)
    assert configuration.watching.chunk_size
    assert configuration.queueing.idle_timeout < 1
    body = kopf.Body(cast(kopf.RawBody, snapshot_object()))
    assert configuration.persistence.diffbase_storage.build(body=body) == {}

    async def main() -> None:
        memories = Forgetful()
        for number in range(10):
            await memories.recall(snapshot_object(uid=f"{number}"), noticed_by_listing=True)
        await memories.forget(snapshot_object(uid="3"))
        assert list(memories.iter_all_memories()) == []

    asyncio.run(main())


POLICY = Key("SnapshotPolicy", "shop", "shop")


def rollback_object(status: Object) -> Object:
    return obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, status)


ENDED = {"phase": "Complete", "conditions": [{"type": "Complete", "status": "True", "reason": "Succeeded"}]}


@pytest.mark.parametrize(
    ("kind", "type_", "object_", "woken"),
    [
        ("Snapshot", "MODIFIED", snapshot_object(status=ENDED), True),
        ("Snapshot", "DELETED", snapshot_object(status=ENDED), True),
        ("Snapshot", "MODIFIED", snapshot_object({"pin": {}}, {"phase": "Running"}), True),
        ("Snapshot", "MODIFIED", snapshot_object(status={"phase": "Running"}), False),  # each second
        ("Snapshot", None, snapshot_object(status=ENDED), False),  # listed: the policy is listed as well
        ("Environment", None, environment_object(), True),  # it may have no policy
        ("Rollback", "MODIFIED", rollback_object(ENDED | {"environmentName": "shop"}), True),
        ("Rollback", "MODIFIED", rollback_object({"phase": "Restoring", "environmentName": "shop"}), False),
        ("Rollback", "MODIFIED", rollback_object(ENDED), False),  # its environment is not known
    ],
)
def test_who_wakes_the_policy(
    dispatch: Dispatch, queue: Added, kind: str, type_: str | None, object_: Object, woken: bool
) -> None:
    dispatch.changed(dispatch.news(kind, type_, object_))
    assert (POLICY in queue.keys) == woken


SNAPSHOT = Key("Snapshot", "shop", "before")
ROLLBACK = Key("Rollback", "shop", "undo")
IMPORTED = {"annotations": {naming.ANNOTATION_IMPORT: "uid"}}


def rollback(**metadata: object) -> Object:
    """Without a status."""
    return changed(obj("Rollback", "undo", {"snapshotRef": {"name": "before"}}, None, uid=OTHER_UID), **metadata)


@pytest.mark.parametrize(
    ("found", "queued"),
    [
        (changed(snapshot_object(uid=OTHER_UID), **IMPORTED), []),
        (changed(snapshot_object(uid=OTHER_UID)), [SNAPSHOT]),
        (changed(snapshot_object(uid=OTHER_UID), deletionTimestamp="2026-03-01T12:00:00Z", **IMPORTED), [SNAPSHOT]),
        (changed(snapshot_object({}, {"phase": "Pending"}, uid=OTHER_UID), **IMPORTED), [SNAPSHOT]),
        (rollback(**IMPORTED), []),
        (rollback(), [ROLLBACK]),
        (changed({**rollback(), "status": {"phase": "Pending"}}, **IMPORTED), [ROLLBACK]),
    ],
    ids=[
        "imported",
        "not-imported",
        "deleted-before-its-status",
        "adopted",
        "rollback-imported",
        "rollback",
        "rollback-of-a-person",
    ],
)
def test_what_an_import_creates_is_reconciled_when_it_has_its_status(
    dispatch: Dispatch, queue: Added, found: Object, queued: list[Key]
) -> None:
    """Not before: thousands of reconciles would find that they must wait. The resync finds those that never get one."""
    dispatch.changed(dispatch.news(found["kind"], "ADDED", found))
    assert [key for key in queue.keys if key.kind == found["kind"]] == queued
