"""The facade's cache against the real API server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ocore_api.cache import Cache, EnvironmentEntry, RollbackEntry, SnapshotEntry
from ocore_api.streams.progress import Topic
from ocore_kube.errors import AlreadyExists, Unavailable
from ocore_kube.transport import MERGE_PATCH, Transport, connect
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS, SNAPSHOTS, Type
from support.api import objects as o
from support.cluster.cluster import Cluster
from support.cluster.node import kill_component

PROJECT = o.uid_of("project of test_api_cache")


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    name = crds.namespace("api-cache")
    yield name
    crds.delete("Namespace", name)


class Api:
    """Makes objects with a status, as the operator would."""

    def __init__(self, transport: Transport, namespace: str) -> None:
        self.transport = transport
        self.namespace = namespace

    async def create(self, type_: Type, name: str, spec: o.Object, status: o.Object | None = None) -> o.Object:
        """Creates the object; then its status, with the id."""
        meta = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": type_.api_version, "kind": type_.kind, "metadata": meta, "spec": spec}
        made = await self.transport.request("POST", type_.path(self.namespace), body=body)
        return made if status is None else await self.status(type_, name, {"id": made["metadata"]["uid"], **status})

    async def status(self, type_: Type, name: str, status: o.Object) -> o.Object:
        """Merges fields into a status."""
        path = type_.path(self.namespace, name, "status")
        return await self.transport.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)

    async def environment(self, name: str) -> o.Object:
        """An Environment that the operator has seen."""
        files = {"claimName": "files", "path": f"data/{name}", "layout": "Plain"}
        spec = {"projectId": PROJECT, "type": "staging", "storeRef": {"name": "store"}, "filestore": files}
        return await self.create(ENVIRONMENTS, name, spec, {"observedGeneration": 1})


async def until(what: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - it waits for the API server
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(cluster: Cluster, *namespaces: str) -> AsyncIterator[tuple[Cache, Api]]:
    """A cache of these namespaces, and what makes objects in the first one."""
    transport = Transport(await connect(Path(cluster.env["KUBECONFIG"])), timeout=10, program="test")
    cache = Cache(transport, namespaces)
    task = asyncio.create_task(cache.run())
    try:
        yield cache, Api(transport, namespaces[0])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await transport.close()


def case(cluster: Cluster, namespace: str, work: Callable[[Cache, Api], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running(cluster, namespace) as (cache, api):
            await until(lambda: cache.not_ready is None)
            await work(cache, api)

    asyncio.run(main())


def test_objects_appear_change_and_vanish(crds: Cluster, namespace: str) -> None:
    async def work(cache: Cache, api: Api) -> None:
        shop = await api.environment("shop")
        id_ = shop["metadata"]["uid"]
        await until(lambda: cache.served.find(EnvironmentEntry, id_))
        made = await api.create(SNAPSHOTS, "before", {"environmentRef": {"name": "shop"}})
        await until(lambda: len(cache.served.of(SnapshotEntry, id_)) == 1)
        assert cache.served.of(SnapshotEntry, id_)[0].status == "pending"
        topic = Topic(cache.served.of(SnapshotEntry, id_)[0])
        first = topic.frame
        cache.store.changes.listeners.append(
            lambda change, entry: topic.changed(change, entry) if change.type is SnapshotEntry else None
        )
        await api.status(SNAPSHOTS, "before", {"id": made["metadata"]["uid"], "phase": "Running", "startedAt": o.at(1)})
        await until(lambda: cache.served.of(SnapshotEntry, id_)[0].status == "running" and topic.frame is not first)
        await api.create(ROLLBACKS, "back", {"snapshotRef": {"name": "before"}})
        await until(lambda: [e.snapshot_id for e in cache.served.of(RollbackEntry, id_)] == [made["metadata"]["uid"]])
        await api.transport.request("DELETE", SNAPSHOTS.path(namespace, "before"))
        await until(lambda: len(cache.served.of(SnapshotEntry, id_)) == 0)
        assert topic.frame.final

    case(crds, namespace, work)


def test_an_answer_to_a_write_is_read_at_once_and_kept(crds: Cluster, namespace: str) -> None:
    async def work(cache: Cache, api: Api) -> None:
        shop = await api.environment("shop")
        cache.store.put("Environment", shop)
        for n in range(20):
            made = await api.create(SNAPSHOTS, f"s{n}", {"environmentRef": {"name": "shop"}})
            cache.store.put("Snapshot", made)
            found = await cache.find(SnapshotEntry, made["metadata"]["uid"])
            assert found is not None
        await until(lambda: len(cache.served.of(SnapshotEntry, shop["metadata"]["uid"])) == 20)

    case(crds, namespace, work)


def test_an_id_that_the_cache_lacks_is_found_at_the_api_server(crds: Cluster, namespace: str) -> None:
    """The CRDs' selectable field status.id. The cache does not watch here."""

    async def main() -> None:
        transport = Transport(await connect(Path(crds.env["KUBECONFIG"])), timeout=10, program="test")
        try:
            cache, api = Cache(transport, (namespace,)), Api(transport, namespace)
            shop = await api.environment("shop")
            id_ = shop["metadata"]["uid"]
            found = await cache.find(EnvironmentEntry, id_)
            assert found is not None
            assert found.name == "shop"
            made = await api.create(SNAPSHOTS, "before", {"environmentRef": {"name": "shop"}}, {"phase": "Pending"})
            snapshot = await cache.find(SnapshotEntry, made["metadata"]["uid"])
            assert snapshot is not None
            assert snapshot.environment_id == id_
            back = await api.create(ROLLBACKS, "back", {"snapshotRef": {"name": "before"}}, {"phase": "Pending"})
            assert await cache.find(RollbackEntry, back["metadata"]["uid"]) is not None
            assert await cache.find(SnapshotEntry, o.uid_of("nothing")) is None
        finally:
            await transport.close()

    asyncio.run(main())


def test_namespaces_that_are_not_served_are_not_read(crds: Cluster, namespace: str) -> None:
    other = crds.namespace("api-cache-other")

    async def main() -> None:
        async with running(crds, namespace) as (cache, api):
            await until(lambda: cache.not_ready is None)
            hidden = await Api(api.transport, other).environment("hidden")
            shown = await api.environment("shown")
            await until(lambda: cache.served.find(EnvironmentEntry, shown["metadata"]["uid"]))
            assert await cache.find(EnvironmentEntry, hidden["metadata"]["uid"]) is None

    try:
        asyncio.run(main())
    finally:
        crds.delete("Namespace", other)


@pytest.mark.exclusive
def test_a_restart_of_the_api_server(crds: Cluster, namespace: str) -> None:
    async def work(cache: Cache, api: Api) -> None:
        shop = await api.environment("shop")
        id_ = shop["metadata"]["uid"]
        await until(lambda: cache.served.find(EnvironmentEntry, id_))
        await asyncio.to_thread(kill_component, "kube-apiserver")
        assert cache.served.find(EnvironmentEntry, id_) is not None, "reads continue"

        async def create() -> bool:
            try:
                await api.create(SNAPSHOTS, "after", {"environmentRef": {"name": "shop"}})
            except AlreadyExists:
                return True
            except Unavailable:
                return False
            return True

        async with asyncio.timeout(90):
            while not await create():  # noqa: ASYNC110 - it waits for the API server
                await asyncio.sleep(0.5)
        await until(lambda: len(cache.served.of(SnapshotEntry, id_)) == 1, 60)
        assert cache.not_ready is None

    case(crds, namespace, work)
