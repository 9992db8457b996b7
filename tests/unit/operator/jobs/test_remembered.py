"""The last lists of Jobs and pods: any doubt makes the operator list again."""

import asyncio
import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_kube.errors import ApiError, Unavailable
from ocore_kube.types import Type
from ocore_operator.context import Context
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.observing import last_lists
from ocore_operator.jobs.observing.last_lists import AGE, BYTES, OBJECTS, Remembered
from ocore_operator.kube.resources import Key, Object
from ocore_operator.main import Operator
from ocore_operator.settings import Settings
from support.operator.objects import OTHER_UID, SETTINGS, UID, at, job, moment, pod, snapshot

RUNNING = {"running": {"startedAt": at(0)}}


def changed(obj: Object, **metadata: Any) -> Object:
    obj["metadata"].update(metadata)
    return obj


class Cluster:
    """An API server with the Jobs and pods of one object, and a watch that runs or not."""

    def __init__(self) -> None:
        self.there: dict[str, list[Object]] = {"jobs": [job("a")], "pods": []}
        self.lists = 0
        self.time = 0.0
        self.runs = True
        self.refused: ApiError | None = None
        #: Called once a list was read, before its answer arrives.
        self.during_list: Callable[[Type], None] = lambda _: None
        self.remembered = Remembered(lambda namespace: namespace == "shop" and self.runs, lambda: self.time)
        self.ctx = cast(Context, self)
        self.kube = self
        self.settings = SETTINGS

    def now(self) -> object:
        return moment(5)

    async def list(self, type_: Type, namespace: str, *, labels: str = "", fields: str = "") -> list[Object]:
        if type_.plural not in self.there:
            return []  # no Events
        assert (namespace, labels) == ("shop", lifecycle.selector(UID))
        self.lists += 1
        found = copy.deepcopy(self.there[type_.plural])
        await asyncio.sleep(0)
        self.during_list(type_)
        if self.refused is not None:
            raise self.refused
        return found

    async def create(self, type_: Type, obj: Object) -> Object:
        if self.refused is not None:
            raise self.refused
        self.there[type_.plural].append(obj)
        return obj

    async def delete(self, type_: Type, namespace: str, name: str, **_: Any) -> bool:
        self.there[type_.plural] = [o for o in self.there[type_.plural] if o["metadata"]["name"] != name]
        if self.refused is not None:
            raise self.refused
        return True

    class slots:  # noqa: N801 - stands for an attribute
        class slot:  # noqa: N801
            def __init__(self, *_: Any) -> None: ...

            async def __aenter__(self) -> Any:
                return lambda _: None

            async def __aexit__(self, *_: object) -> None: ...

    def seen(self, *, fresh: bool = False) -> set[str]:
        """The Jobs that an observation shows."""
        return set(asyncio.run(lifecycle.observe(self.ctx, snapshot(), fresh=fresh)).jobs)

    def start(self) -> None:
        asyncio.run(lifecycle.start(self.ctx, job("b"), waiting_since=at(0)))

    def stop(self) -> None:
        asyncio.run(lifecycle.delete(self.ctx, snapshot().meta, "a", UID, "Foreground"))


@pytest.fixture
def cluster() -> Cluster:
    """With one Job, which was listed; since then, it is gone."""
    found = Cluster()
    assert found.seen() == {"a"}
    assert found.lists == 2
    found.there["jobs"] = []
    return found


def test_what_was_listed_is_not_listed_again(cluster: Cluster) -> None:
    seen = asyncio.run(lifecycle.observe(cluster.ctx, snapshot(), fresh=False))
    assert (set(seen.jobs), seen.remembered, cluster.lists) == ({"a"}, True, 2)


def test_what_acts_lists_again(cluster: Cluster) -> None:
    seen = asyncio.run(lifecycle.observe(cluster.ctx, snapshot(), fresh=True))
    assert (set(seen.jobs), seen.remembered, cluster.lists) == (set(), False, 4)


@pytest.mark.parametrize("event", [job("a"), job("b"), pod("a", RUNNING)])
def test_an_event_about_one_of_them_makes_it_list_again(cluster: Cluster, event: Object) -> None:
    cluster.remembered.heard(event)
    assert cluster.seen() == set()


@pytest.mark.parametrize("kind", ["jobs", "pods"])
def test_lists_during_which_something_changed_are_not_kept(kind: str) -> None:
    cluster = Cluster()
    cluster.during_list = lambda type_: cluster.remembered.heard(job("a")) if type_.plural == kind else None
    assert cluster.seen() == {"a"}
    assert cluster.remembered.of(UID) is None


def test_after_ten_seconds_it_is_listed_again(cluster: Cluster) -> None:
    """Whatever the watch reports: it may have died silently."""
    cluster.time = AGE - 0.1
    assert cluster.seen() == {"a"}
    cluster.time = AGE
    assert cluster.seen() == set()
    assert AGE == 10


def test_what_is_older_than_ten_seconds_is_not_used(cluster: Cluster) -> None:
    cluster.time = 2 * AGE
    assert cluster.remembered.of(UID) is None


def test_being_read_does_not_make_it_last_longer(cluster: Cluster) -> None:
    for second in range(1, 10):
        cluster.time = second
        assert cluster.seen() == {"a"}
    cluster.time = AGE
    assert cluster.seen() == set()


def test_a_list_that_was_begun_before_a_change_is_not_kept(cluster: Cluster) -> None:
    """Another one began after it, at the same moment of the clock."""
    first = cluster.remembered.begin(UID, "shop")
    cluster.remembered.changed(UID)
    second = cluster.remembered.begin(UID, "shop")
    cluster.remembered.keep(UID, first, [job("a")], [])
    assert cluster.remembered.of(UID) is None
    cluster.remembered.keep(UID, second, [job("b")], [])
    assert cluster.remembered.of(UID) is second
    cluster.remembered.changed(UID)
    assert cluster.remembered._size == 0


def test_without_a_watch_everything_is_listed(cluster: Cluster) -> None:
    cluster.runs = False
    assert cluster.seen() == set()


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("act", [Cluster.start, Cluster.stop])
def test_what_the_operator_has_created_or_deleted_is_listed(
    cluster: Cluster, act: Callable[[Cluster], None], answered: bool
) -> None:
    """Also where no answer came: it may have happened."""
    if answered:
        act(cluster)
    else:
        cluster.refused = Unavailable(0, "NoAnswer", "no answer in time")
        with pytest.raises(Unavailable):
            act(cluster)
    assert cluster.remembered.of(UID) is None


def test_nothing_rests_on_a_list_that_failed() -> None:
    cluster = Cluster()
    cluster.refused = Unavailable(0, "NoAnswer", "no answer in time")
    with pytest.raises(Unavailable):
        cluster.seen()
    assert cluster.remembered.of(UID) is None


def test_what_belongs_to_another_object_changes_nothing(cluster: Cluster) -> None:
    cluster.remembered.heard(changed(job("b"), labels={"ocore.dev/uid": OTHER_UID}))
    cluster.remembered.heard(changed(job("b"), labels=None))
    assert cluster.seen() == {"a"}
    assert cluster.remembered.of(OTHER_UID) is None


@pytest.mark.parametrize("namespace", ["a-tenant", "tenant"])
def test_what_is_in_another_namespace_changes_nothing(cluster: Cluster, namespace: str) -> None:
    """Its label and owner reference name our object, and its name is that of our Job."""
    cluster.remembered.heard(changed(job("a", condition="Complete"), namespace=namespace))
    assert cluster.seen() == {"a"}


def test_a_tenants_jobs_are_not_kept_but_still_read() -> None:
    """Those with too much in them, and too many of them."""
    cluster = Cluster()
    large = changed(job("large"), annotations={"ocore.dev/x": "x" * BYTES})
    cluster.there["jobs"].append(large)
    assert cluster.seen() == {"a", "large"}
    assert cluster.remembered.of(UID) is None
    cluster.there["jobs"] = [job(f"j{n}") for n in range(OBJECTS)]
    assert len(cluster.seen()) == OBJECTS
    assert cluster.remembered.of(UID) is not None
    cluster.there["pods"] = [pod("j1", RUNNING)]
    assert len(cluster.seen(fresh=True)) == OBJECTS
    assert cluster.remembered.of(UID) is None
    assert cluster.remembered._size == 0


def test_all_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first."""
    size = len(str(job("a")))
    monkeypatch.setattr(last_lists, "TOTAL_BYTES", 3 * size)
    found = Remembered(lambda _: True, lambda: 0.0)
    for number in range(100):
        uid = f"uid-{number}"
        found.keep(uid, found.begin(uid, "shop"), [job("a")], [])
    assert found.of("uid-99") is not None
    assert found.of("uid-0") is None
    assert sum(found.of(f"uid-{number}") is not None for number in range(100)) == len(found._lists) <= 4


@pytest.mark.parametrize("age", [AGE, 2 * AGE])
def test_what_is_out_of_date_is_forgotten(cluster: Cluster, age: float) -> None:
    cluster.time = age
    cluster.remembered.begin(OTHER_UID, "shop")
    assert list(cluster.remembered._lists) == [OTHER_UID]
    cluster.remembered.changed(OTHER_UID)
    assert cluster.remembered._size == 0


def test_what_is_not_out_of_date_is_kept(cluster: Cluster) -> None:
    cluster.time = AGE - 0.1
    cluster.remembered.begin(OTHER_UID, "shop")
    assert cluster.remembered.of(UID) is not None


@pytest.mark.parametrize("within", [0.0, 0.5])
def test_what_a_log_says_is_acted_on_with_lists_of_after_it(monkeypatch: pytest.MonkeyPatch, within: float) -> None:
    """Not what only its status shows, as a step."""
    operator, key, queued = Operator(Settings(), object(), object()), Key("Rollback", "shop", "back"), []
    monkeypatch.setattr(operator._ctx.catalog, "get", lambda _: SimpleNamespace(uid=UID))
    monkeypatch.setattr(operator._queue, "add_after", lambda *given: queued.append(given))
    kept = operator._ctx.remembered
    kept.keep(UID, kept.begin(UID, "shop"), [job("a")], [])
    operator._heard(key, within)
    assert (UID in kept._lists, queued) == (within > 0, [(key, within)])
