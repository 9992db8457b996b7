"""Row 77: one object that cannot be read ends nothing: neither the resync, nor the catalog, nor /metrics, nor the
facade."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from ocore_api.cache.store import Store
from ocore_api.cache.watch import Watch
from ocore_crds import conditions as c
from ocore_crds.kinds import KINDS, Kind
from ocore_kube.types import OURS, Type
from ocore_operator.context import Context
from ocore_operator.engine import unreadable
from ocore_operator.engine.access import Access
from ocore_operator.engine.dispatch import Dispatch
from ocore_operator.engine.kinds import reconcilers
from ocore_operator.engine.metrics import FromCatalog
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.engine.resync import Resync
from ocore_operator.jobs.observing.lingering import Lingering
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key, Object
from support.crds import hostile
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import at, moment, obj, snapshot_object

FUZZ = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
ROWS = reconcilers()
YEAR_0 = "0000-01-01T00:00:00Z"


def unread(name: str = "bad") -> Object:
    """As an import of an earlier version could leave it."""
    done = {"type": "Complete", "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(0)}
    return snapshot_object(
        {"environmentRef": {"name": "shop"}},
        {"phase": "Complete", "completedAt": YEAR_0, "conditions": [done]},
        name=name,
    )


def scrape(catalog: Catalog) -> str:
    found = CollectorRegistry()
    queue = WorkQueue(workers=1, timeout=1)
    found.register(FromCatalog(catalog, queue, lambda: 0, lambda: True, lambda: [("", True)], lambda: moment(0)))
    return generate_latest(found).decode()


async def resynced(catalog: Catalog, *objects: Object) -> list[Key]:
    """Lists these once; returns what was queued."""
    queue = WorkQueue(workers=1, timeout=1)
    queued: list[Key] = []
    queue.add = lambda key, **_: queued.append(key)  # type: ignore[method-assign,misc,assignment]

    async def pages(type_: Type, _: str | None) -> AsyncIterator[list[Object]]:
        yield [o for o in objects if OURS[o["kind"]] is type_]

    ctx = cast(Context, SimpleNamespace(kube=SimpleNamespace(pages=pages), catalog=catalog))
    assert not await Resync(ctx, queue, ROWS, Access(())).once((None,))
    return queued


def test_row_77_an_unreadable_object_ends_neither_resync_nor_metrics_and_is_named() -> None:
    catalog = new_catalog()
    queued = asyncio.run(resynced(catalog, unread(), snapshot_object(name="good")))
    bad = Key("Snapshot", "shop", "bad")
    assert bad in queued
    found = catalog.get(bad)
    assert found is not None
    assert found.unreadable
    text = scrape(catalog)
    assert 'ocore_unreadable_objects{kind="Snapshot",namespace="shop"} 1.0' in text
    assert 'ocore_unreadable_object{kind="Snapshot",name="bad",namespace="shop"} 1.0' in text
    assert 'ocore_resources{kind="Snapshot",namespace="shop",phase="Unreadable"} 1.0' in text


def test_the_metrics_name_some_and_count_all() -> None:
    catalog = new_catalog()
    for number in range(unreadable.NAMED + 5):
        catalog.put("Snapshot", unread(f"bad-{number}"))
    text = scrape(catalog)
    assert text.count("ocore_unreadable_object{") == unreadable.NAMED
    assert f'ocore_unreadable_objects{{kind="Snapshot",namespace="shop"}} {unreadable.NAMED + 5}.0' in text


def test_row_77_its_condition_says_what_cannot_be_read() -> None:
    server = ApiServer()
    server.put(OURS["Snapshot"], unread())
    key = Key("Snapshot", "shop", "bad")
    ctx = cast(Context, SimpleNamespace(kube=server.client(), now=lambda: moment(0)))

    async def reconcile() -> float | None:
        resources.snapshot(server.read(OURS["Snapshot"], "shop", "bad"))
        return None

    assert asyncio.run(unreadable.reported(ctx, key, reconcile())) == unreadable.AGAIN
    found = {x["type"]: x for x in server.read(OURS["Snapshot"], "shop", "bad")["status"]["conditions"]}
    assert (found[c.STALLED]["status"], found[c.STALLED]["reason"]) == ("True", c.UNREADABLE)
    assert "status.completedAt" in found[c.STALLED]["message"]
    assert found[c.READY]["status"] == "False"
    assert "Complete" in found  # the others stay
    before = len(server.requests)
    asyncio.run(unreadable.reported(ctx, key, reconcile()))
    assert not [m for m, _ in server.requests[before:] if m != "GET"]  # once is enough


def test_an_error_of_another_cause_is_raised() -> None:
    server = ApiServer()
    server.put(OURS["Snapshot"], snapshot_object(name="bad"))
    ctx = cast(Context, SimpleNamespace(kube=server.client(), now=lambda: moment(0)))

    async def reconcile() -> float | None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        asyncio.run(unreadable.reported(ctx, Key("Snapshot", "shop", "bad"), reconcile()))


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_whatever_a_tenant_writes_is_listed_watched_and_scraped(kind: Kind) -> None:
    @FUZZ
    @given(st.lists(hostile.objects(kind), min_size=1, max_size=3))
    def check(found: list[Object]) -> None:
        catalog = new_catalog()
        asyncio.run(resynced(catalog, *found))
        ctx = cast(Context, SimpleNamespace(catalog=catalog, limits=SimpleNamespace(waiters=tuple)))
        dispatch = Dispatch(ctx, WorkQueue(workers=1, timeout=1), ROWS, Lingering(600))
        for each in found:
            dispatch.changed(dispatch.news(kind.kind, "MODIFIED", each))
        environment = obj("Environment", "shop", {"projectId": "x"}, {})
        catalog.put("Environment", environment)
        scrape(catalog)
        scrape(catalog)
        for each in found:
            with suppress(ValueError):  # a pydantic.ValidationError, which is reported
                resources.any_kind(kind.kind, each)

    check()


@pytest.mark.parametrize("kind", ["Environment", "Snapshot", "Rollback", "SnapshotPolicy"])
def test_whatever_a_tenant_writes_does_not_end_the_facade(kind: str) -> None:
    @FUZZ
    @given(st.lists(hostile.objects(resources.KIND_BY_NAME[kind]), min_size=1, max_size=3))
    def check(found: list[Object]) -> None:
        store = Store()
        watch = Watch(cast(Any, None), store, kind, None)
        for each in (*found, *found):
            watch._apply({"type": "MODIFIED", "object": each})

    check()
