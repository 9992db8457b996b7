"""The operator's client against the real API server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

from ocore_kube.errors import AlreadyExists, ApiError, Conflict, Invalid, Unavailable
from ocore_kube.transport import Transport, connect
from ocore_kube.types import CONFIG_MAPS, DEPLOYMENTS, ENVIRONMENTS, PODS, SNAPSHOTS
from ocore_operator.kube import resources
from ocore_operator.kube.client import MANAGER_LOCK, Kube
from ocore_operator.kube.resources import Object
from support.cluster.cluster import GROUP, Cluster, pod
from support.ports import free_port

T = TypeVar("T")
PROJECT = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def namespace(crds: Cluster) -> Iterator[str]:
    name = crds.namespace("kube")
    yield name
    crds.delete("Namespace", name)


def run(cluster: Cluster, work: Callable[[Kube], Awaitable[T]]) -> T:
    """Runs with a client; the result."""

    async def main() -> T:
        transport = Transport(await connect(Path(cluster.env["KUBECONFIG"])), timeout=10, program="test")
        try:
            return await work(Kube(transport))
        finally:
            await transport.close()

    return asyncio.run(main())


def config_map(name: str, namespace: str, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": {"a": "1"},
    }


def environment(name: str, namespace: str) -> Object:
    return {
        "apiVersion": GROUP,
        "kind": "Environment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "projectId": PROJECT,
            "type": "staging",
            "storeRef": {"name": "store"},
            "database": {"secretRef": {"name": "db"}},
        },
    }


def test_what_is_not_there_is_none(crds: Cluster, namespace: str) -> None:
    async def work(kube: Kube) -> None:
        assert await kube.get(CONFIG_MAPS, namespace, "none") is None
        assert not await kube.delete(CONFIG_MAPS, namespace, "none")
        assert await kube.merge_patch(CONFIG_MAPS, namespace, "none", {}) is None
        assert not await kube.set_scale(DEPLOYMENTS, namespace, "none", 1)
        assert not await kube.annotate(PODS, namespace, "none", {"a": "b"})
        assert await kube.list(CONFIG_MAPS, "no-such-namespace") == []

    run(crds, work)


def test_creating_twice_and_deleting_by_uid(crds: Cluster, namespace: str) -> None:
    async def work(kube: Kube) -> None:
        made = await kube.create(CONFIG_MAPS, config_map("twice", namespace))
        with pytest.raises(AlreadyExists):
            await kube.create(CONFIG_MAPS, config_map("twice", namespace))
        assert not await kube.delete(CONFIG_MAPS, namespace, "twice", uid=PROJECT)
        assert await kube.get(CONFIG_MAPS, namespace, "twice") is not None
        assert await kube.delete(CONFIG_MAPS, namespace, "twice", uid=made["metadata"]["uid"])
        assert await kube.get(CONFIG_MAPS, namespace, "twice") is None

    run(crds, work)


def test_lists_come_in_pages(crds: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocore_operator.kube.client.PAGE", 3)

    async def work(kube: Kube) -> None:
        for number in range(8):
            await kube.create(CONFIG_MAPS, config_map(f"page-{number}", namespace, test="pages"))
        pages = [len(p) async for p in kube.pages(CONFIG_MAPS, namespace, labels="test=pages")]
        assert pages == [3, 3, 2]
        assert len(await kube.list(CONFIG_MAPS, namespace, labels="test=pages")) == 8

    run(crds, work)


def test_a_status_is_applied_whole_and_only_by_whoever_has_seen_the_last_one(crds: Cluster, namespace: str) -> None:
    async def work(kube: Kube) -> None:
        made = resources.environment(await kube.create(ENVIRONMENTS, environment("status", namespace)))
        written = await kube.apply_status(made, {"id": PROJECT, "phase": "Ready", "observedGeneration": 1})
        assert written is not None
        assert written["status"]["phase"] == "Ready"
        with pytest.raises(Conflict):
            await kube.apply_status(made, {"phase": "NotReady"})
        seen = resources.environment(written)
        held = await kube.apply_status(
            seen,
            {"operation": {"kind": "Snapshot", "name": "a", "uid": "u", "since": "2026-01-01T00:00:00Z"}},
            MANAGER_LOCK,
        )
        assert held is not None
        assert held["status"]["id"] == PROJECT  # the other manager's fields stay
        less = await kube.apply_status(resources.environment(held), {"phase": "NotReady", "observedGeneration": 1})
        assert less is not None
        assert "id" not in less["status"]  # what a manager leaves out, it takes away
        assert less["status"]["operation"]["name"] == "a"
        free = await kube.apply_status(resources.environment(less), {}, MANAGER_LOCK)
        assert free is not None
        assert "operation" not in free["status"]

    run(crds, work)


def test_a_gone_object_takes_no_status(crds: Cluster, namespace: str) -> None:
    async def work(kube: Kube) -> None:
        made = resources.environment(await kube.create(ENVIRONMENTS, environment("gone", namespace)))
        await kube.delete(ENVIRONMENTS, namespace, "gone")
        assert await kube.apply_status(made, {"phase": "Ready"}) is None

    run(crds, work)


def test_finalizers_are_set_on_what_was_seen(crds: Cluster, namespace: str) -> None:
    async def work(kube: Kube) -> None:
        spec = {"environmentRef": {"name": "shop"}}
        body = {"apiVersion": GROUP, "kind": "Snapshot", "metadata": {"name": "final", "namespace": namespace}}
        seen = resources.snapshot(await kube.create(SNAPSHOTS, {**body, "spec": spec})).meta
        changed = await kube.set_finalizers(seen, SNAPSHOTS, ("ocore.dev/data",))
        assert changed is not None
        with pytest.raises(Conflict):
            await kube.set_finalizers(seen, SNAPSHOTS, ())
        await kube.set_finalizers(resources.snapshot(changed).meta, SNAPSHOTS, ())

    run(crds, work)


def test_a_broken_rule_is_invalid(crds: Cluster, namespace: str) -> None:
    async def work(kube: Kube) -> None:
        bad = environment("bad", namespace)
        bad["spec"]["type"] = "holiday"
        with pytest.raises(Invalid, match="holiday"):
            await kube.create(ENVIRONMENTS, bad)
        with pytest.raises(ApiError) as refused:
            await kube.create(CONFIG_MAPS, config_map("x", "no-such-namespace"))
        assert refused.value.status == 404

    run(crds, work)


def test_replicas_and_annotations_of_what_was_seen(crds: Cluster, namespace: str) -> None:
    async def work(kube: Kube) -> None:
        template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
        body: Object = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "scaled", "namespace": namespace},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template},
        }
        await kube.create(DEPLOYMENTS, body)
        before = await kube.get(DEPLOYMENTS, namespace, "scaled")
        assert before is not None
        assert before["spec"]["replicas"] == 0
        version = before["metadata"]["resourceVersion"]
        assert await kube.annotate(DEPLOYMENTS, namespace, "scaled", {"ocore.dev/signal": "{}"})
        with pytest.raises(Conflict):
            await kube.set_scale(DEPLOYMENTS, namespace, "scaled", 2, resource_version=version)
        assert await kube.set_scale(DEPLOYMENTS, namespace, "scaled", 0)

    run(crds, work)


def test_a_pods_log_is_followed_to_its_end(crds: Cluster, namespace: str) -> None:
    script = "import time\nfor i in range(3): print('line', i, flush=True); time.sleep(0.3)"
    talks = pod("talks", namespace, "localhost/ocore-snapshots/mover:17", ["python3", "-c", script])
    talks["spec"]["containers"][0]["name"] = "mover"  # whose log is followed, whatever was injected beside it
    crds.apply(talks)
    crds.wait("Pod", "talks", namespace, lambda p: p["status"]["phase"] in ("Running", "Succeeded"), 60)

    async def work(kube: Kube) -> list[str]:
        return [line.text async for line in kube.follow_log(namespace, "talks", seconds=20)]

    assert run(crds, work) == ["line 0", "line 1", "line 2"]


def test_nobody_answers(crds: Cluster, tmp_path: Path) -> None:
    """A refused connection is Unavailable, after a few tries of a read and at once for a write."""
    loaded = yaml.safe_load(Path(crds.env["KUBECONFIG"]).read_text())
    for each in loaded["clusters"]:
        each["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    broken = tmp_path / "kubeconfig"
    broken.write_text(yaml.safe_dump(loaded))

    async def main() -> None:
        transport = Transport(await connect(broken), timeout=2, program="test")
        kube = Kube(transport)
        try:
            with pytest.raises(Unavailable):
                await kube.get(CONFIG_MAPS, "default", "x")
            with pytest.raises(Unavailable):
                await kube.create(CONFIG_MAPS, config_map("x", "default"))
        finally:
            await transport.close()

    asyncio.run(main())
