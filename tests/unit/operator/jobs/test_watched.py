"""What the watch reports of Jobs and pods: the newest version wins, and whatever is uncertain is listed."""

import asyncio
import copy
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_kube.errors import ApiError, Unavailable
from ocore_kube.types import JOBS, PODS, Type
from ocore_operator.context import Context
from ocore_operator.jobs import control, watched
from ocore_operator.jobs.outcome import Running, Starting
from ocore_operator.jobs.watched import AGE, BYTES, OBJECTS, Watched
from ocore_operator.kube.client import Listed
from ocore_operator.kube.resources import Object
from support.operator.objects import OTHER_UID, SETTINGS, UID, at, job, moment, pod, snapshot

RUNNING = {"running": {"startedAt": at(0)}}


def of(obj: Object, version: int, **metadata: Any) -> Object:
    """As the API server has it at that version."""
    found = copy.deepcopy(obj)
    found["metadata"].update({"resourceVersion": str(version), **metadata})
    return found


class Cluster:
    """An API server with the Jobs and pods of one object, and a watch that says what it is told to."""

    def __init__(self) -> None:
        self.version = 10
        self.there: dict[str, list[Object]] = {"jobs": [], "pods": []}
        self.lists = 0
        self.time = 0.0
        self.runs = True
        self.refused: ApiError | None = None
        #: Events that arrive after the API server has read a list, before its answer arrives.
        self.during_list: list[tuple[Type, Object, bool]] = []
        self.watched = Watched(lambda namespace: namespace == "shop" and self.runs, lambda: self.time)
        self.ctx = cast(Context, self)
        self.kube = self
        self.settings = SETTINGS

    def now(self) -> object:
        return moment(5)

    async def list(self, *_: Any, **__: Any) -> list[Object]:
        return []  # no Events

    async def listed(self, type_: Type, namespace: str, *, labels: str) -> Listed:
        assert (namespace, labels) == ("shop", control.selector(UID))
        self.lists += 1
        found = Listed(copy.deepcopy(self.there[type_.plural]), self.version)
        await asyncio.sleep(0)
        for event in [e for e in self.during_list if e[0] == type_]:
            self.say(*event)
        return found

    async def create(self, type_: Type, obj: Object) -> Object:
        if self.refused is not None:
            raise self.refused
        self.version += 1
        self.there[type_.plural].append(of(obj, self.version))
        return obj

    async def delete(self, type_: Type, namespace: str, name: str, **_: Any) -> bool:
        self.there[type_.plural] = [o for o in self.there[type_.plural] if o["metadata"]["name"] != name]
        if self.refused is not None:
            raise self.refused
        return True

    class limits:  # noqa: N801 - stands for an attribute
        class slot:  # noqa: N801
            def __init__(self, *_: Any) -> None: ...

            async def __aenter__(self) -> Any:
                return lambda _: None

            async def __aexit__(self, *_: object) -> None: ...

    def say(self, type_: Type, obj: Object, deleted: bool = False) -> None:
        self.watched.take(type_, obj, deleted=deleted)

    def seen(self, *, fresh: bool = False) -> dict[str, str]:
        """Each Job with the version that is known of it."""
        found = asyncio.run(control.observe(self.ctx, snapshot(), fresh=fresh))
        return {name: j["metadata"]["resourceVersion"] for name, j in found.jobs.items()}

    def start(self) -> None:
        asyncio.run(control.start(self.ctx, job("b"), waiting_since=at(0)))

    def stop(self) -> None:
        seen = asyncio.run(control.observe(self.ctx, snapshot(), fresh=False))
        asyncio.run(control.stop(self.ctx, seen, snapshot().meta, "a"))


@pytest.fixture
def cluster() -> Cluster:
    """With one Job, which was listed."""
    found = Cluster()
    found.there["jobs"] = [of(job("a"), 5)]
    assert found.seen() == {"a": "5"}
    assert found.lists == 2
    return found


def test_what_was_listed_is_not_listed_again(cluster: Cluster) -> None:
    assert cluster.seen() == {"a": "5"}
    assert cluster.lists == 2


def test_what_acts_lists_again(cluster: Cluster) -> None:
    cluster.there["jobs"] = []
    assert cluster.seen(fresh=True) == {}
    assert cluster.lists == 4


def test_events_change_what_is_known(cluster: Cluster) -> None:
    cluster.say(JOBS, of(job("a", condition="Complete"), 11))
    cluster.say(JOBS, of(job("b"), 12))
    assert cluster.seen() == {"a": "11", "b": "12"}
    cluster.say(JOBS, of(job("a"), 13), deleted=True)
    assert cluster.seen() == {"b": "12"}
    assert cluster.lists == 2


def test_pods_are_read_as_the_jobs(cluster: Cluster) -> None:
    def state() -> object:
        return asyncio.run(control.observe(cluster.ctx, snapshot(), fresh=False)).state("a")

    assert isinstance(state(), Starting)
    cluster.say(PODS, of(pod("a", RUNNING), 11))
    assert isinstance(state(), Running)


def test_an_older_event_changes_nothing(cluster: Cluster) -> None:
    cluster.say(JOBS, of(job("a"), 12))
    cluster.say(JOBS, of(job("a", condition="Failed"), 11))
    assert cluster.seen() == {"a": "12"}
    cluster.say(JOBS, of(job("a"), 11), deleted=True)
    assert cluster.seen() == {"a": "12"}


def test_what_was_deleted_does_not_come_back(cluster: Cluster) -> None:
    """By events in another order, or by one that is older than the list that did not have it."""
    cluster.say(JOBS, of(job("a"), 13), deleted=True)
    cluster.say(JOBS, of(job("a"), 12))
    cluster.say(JOBS, of(job("gone"), 9))
    assert cluster.seen() == {}
    cluster.say(JOBS, of(job("a"), 14, uid="uid-of-another"))
    assert cluster.seen() == {"a": "14"}


def test_a_list_that_kopf_makes_again_changes_nothing(cluster: Cluster) -> None:
    """After a gap each object comes once more, whatever its version."""
    cluster.say(JOBS, of(job("a"), 11))
    for each in (of(job("a"), 11), of(job("b"), 12)):
        cluster.say(JOBS, each)
        cluster.say(JOBS, each)
    assert cluster.seen() == {"a": "11", "b": "12"}


def test_events_that_arrive_while_it_is_listed_count_where_they_are_newer() -> None:
    cluster = Cluster()
    cluster.there["jobs"] = [of(job("a"), 5), of(job("b"), 6)]
    cluster.during_list = [
        (JOBS, of(job("a"), 11), False),
        (JOBS, of(job("b"), 4), False),
        (JOBS, of(job("c"), 12), False),
        (JOBS, of(job("gone"), 9), False),
    ]
    assert cluster.seen() == {"a": "5", "b": "6"}, "the first one rests on the lists alone"
    assert cluster.seen() == {"a": "11", "b": "6", "c": "12"}
    assert cluster.lists == 2


def test_after_ten_seconds_it_is_listed_again(cluster: Cluster) -> None:
    cluster.there["jobs"] = []
    cluster.time = AGE - 0.1
    assert cluster.seen() == {"a": "5"}
    cluster.time = AGE
    assert cluster.seen() == {}
    assert AGE == 10


def test_events_do_not_make_it_last_longer(cluster: Cluster) -> None:
    """A watch that is silent for one Job may still speak of another one."""
    for second in range(1, 10):
        cluster.time = second
        cluster.say(JOBS, of(job("b"), 10 + second))
        cluster.seen()
    cluster.there["jobs"] = []
    cluster.time = AGE
    assert cluster.seen() == {}


def test_without_a_watch_everything_is_listed(cluster: Cluster) -> None:
    cluster.runs = False
    cluster.there["jobs"] = []
    assert cluster.seen() == {}


@pytest.mark.parametrize("answered", [True, False])
def test_what_the_operator_has_created_or_deleted_is_listed(cluster: Cluster, answered: bool) -> None:
    """Also where no answer came: it may have happened."""
    cluster.refused = None if answered else Unavailable(0, "NoAnswer", "no answer in time")

    def sent(act: Any) -> None:
        if answered:
            act()
        else:
            with pytest.raises(Unavailable):
                act()

    cluster.there["jobs"].append(of(job("c"), 9))
    sent(cluster.start)
    assert set(cluster.seen()) == ({"a", "b", "c"} if answered else {"a", "c"})
    lists = cluster.lists
    sent(cluster.stop)
    assert set(cluster.seen()) == ({"b", "c"} if answered else {"c"})
    assert cluster.lists == lists + 2


def test_a_list_that_began_before_a_job_was_created_is_not_kept(cluster: Cluster) -> None:
    reading = cluster.watched.begin(UID, "shop")
    cluster.watched.changed(UID)
    cluster.watched.keep(UID, reading, {"jobs": Listed([of(job("a"), 5)], 10), "pods": Listed([], 10)})
    assert cluster.watched.of(UID) is None


def test_nothing_rests_on_a_list_that_failed(cluster: Cluster) -> None:
    cluster.watched.begin(UID, "shop")
    cluster.say(JOBS, of(job("b"), 11))
    assert cluster.watched.of(UID) is None
    cluster.there["jobs"] = []
    assert cluster.seen() == {}
    assert cluster.lists == 4


def test_what_belongs_to_another_object_is_not_kept(cluster: Cluster) -> None:
    cluster.say(JOBS, of(job("b"), 11, labels={"ocore.dev/uid": OTHER_UID}))
    cluster.say(JOBS, of(job("c"), 11, labels=None))
    assert cluster.seen() == {"a": "5"}
    assert cluster.watched.of(OTHER_UID) is None


def test_what_is_in_another_namespace_is_not_kept(cluster: Cluster) -> None:
    """Its label and owner reference name our object, and its name is that of our Job."""
    cluster.say(JOBS, of(job("a", condition="Complete"), 11, namespace="tenant", uid="forged"))
    cluster.say(PODS, of(pod("a", RUNNING), 11, namespace="tenant"))
    assert cluster.seen() == {"a": "5"}
    reading = cluster.watched.of(UID)
    assert reading is not None
    assert reading.objects("pods") == []


def test_a_job_that_followed_one_of_the_same_name_is_known_by_its_uid(cluster: Cluster) -> None:
    """The end of the first one is reported late."""
    cluster.say(JOBS, of(job("a"), 12, uid="uid-of-the-next"))
    cluster.say(JOBS, of(job("a"), 11), deleted=True)
    assert cluster.seen() == {"a": "12"}


def test_a_tenants_jobs_are_not_kept_but_still_read(cluster: Cluster) -> None:
    """Those with too much in them, and too many of them."""
    large = of(job("large"), 11)
    large["metadata"]["annotations"] = {"ocore.dev/x": "x" * BYTES}
    cluster.there["jobs"].append(large)
    cluster.say(JOBS, large)
    assert cluster.watched.of(UID) is None
    assert set(cluster.seen()) == {"a", "large"}
    assert cluster.watched.of(UID) is None
    cluster.there["jobs"] = [of(job(f"j{n}"), n) for n in range(OBJECTS)]
    assert len(cluster.seen()) == OBJECTS
    assert cluster.watched.of(UID) is not None
    cluster.say(JOBS, of(job("one more"), 11))
    assert cluster.watched.of(UID) is None


def test_what_has_ours_is_kept_slim(cluster: Cluster) -> None:
    fat = of(job("b", template={"spec": {"containers": [{"env": "x" * 1000}]}}), 11)
    cluster.say(JOBS, fat)
    reading = cluster.watched.of(UID)
    assert reading is not None
    assert all("containers" not in str(each) for each in reading.objects("jobs"))


def test_all_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first."""
    size = len(str(of(job("a"), 5)))
    monkeypatch.setattr(watched, "TOTAL_BYTES", 3 * size)
    found = Watched(lambda _: True, lambda: 0.0)
    for number in range(100):
        uid = f"uid-{number}"
        found.keep(uid, found.begin(uid, "shop"), {"jobs": Listed([of(job("a"), 5)], 10), "pods": Listed([], 10)})
    assert found.of("uid-99") is not None
    assert found.of("uid-0") is None
    assert sum(found.of(f"uid-{number}") is not None for number in range(100)) <= 4
    assert len(found._readings) <= 4


def test_what_is_out_of_date_is_forgotten(cluster: Cluster) -> None:
    cluster.time = AGE
    cluster.watched.begin(OTHER_UID, "shop")
    assert list(cluster.watched._readings) == [OTHER_UID]
    cluster.watched.changed(OTHER_UID)
    assert cluster.watched._size == 0


@given(st.permutations(range(6)), st.integers(0, 6), st.integers(0, 6))
def test_events_in_any_order_end_in_the_newest_state(order: list[int], listed_at: int, begun: int) -> None:
    """Two Jobs with three events each; the list is one of the states on the way, and events arrive before and after."""
    history = [
        (job("a"), False),
        (job("b"), False),
        (job("a", condition="Complete"), False),
        (job("b"), True),
        (job("c"), False),
        (job("a", condition="Complete"), True),
    ]
    there: dict[str, Object] = {}
    for version, (obj, deleted) in enumerate(history[:listed_at], 1):
        name = obj["metadata"]["name"]
        there.pop(name, None)
        if not deleted:
            there[name] = of(obj, version)
    found = Watched(lambda _: True, lambda: 0.0)
    reading = found.begin(UID, "shop")

    def events(numbers: list[int]) -> None:
        for number in numbers:
            obj, deleted = history[number]
            found.take(JOBS, of(obj, number + 1), deleted=deleted)

    events(order[:begun])
    found.keep(UID, reading, {"jobs": Listed(list(there.values()), listed_at), "pods": Listed([], listed_at)})
    events(order[begun:])
    known = found.of(UID)
    assert known is not None
    assert [each["metadata"]["name"] for each in known.objects("jobs")] == ["c"]
    assert found._size == known.size == sum(each.size for each in known.known["jobs"].values())
