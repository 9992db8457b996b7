"""The operator's memory while one tenant has large objects: 100 Jobs of 1.2 MB with our labels, and large Snapshots
before the operator's start.

Run it as docs/performance-operator.md says, below `tests/with-apiserver`: the API server is a real one without
controllers, so no pod is made of the Jobs. The operator is a process on this machine. Its peak is compared with the
memory limit of the chart (`resources.limits.memory`).
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, limit, report
from scale import cpu

from ocore_crds.naming import LABEL_MANAGED_BY, MANAGED_BY
from ocore_crds.text.quantity import parse
from ocore_kube import types
from ocore_kube.transport import Transport, connect
from ocore_operator.kube.resources import Object
from support.cluster.cluster import REPOSITORY, Cluster
from support.operator.many import Api, apply_crds, environment, finished, memory, ours, prepare, together
from support.operator.process import OperatorProcess

#: Bytes of one value in a large object: fewer than the kernel takes as an argument.
PART = 100_000


def job(namespace: str, number: int, size: int) -> Object:
    """A Job of a tenant, with our labels and none of our owners."""
    container: Object = {
        "name": "mover",
        "image": "registry.example.org/x:1",
        "env": [{"name": f"BULK_{n}", "value": f"{n}".zfill(PART)} for n in range(size // PART)],
    }
    labels = {LABEL_MANAGED_BY: MANAGED_BY, "ocore.dev/command": "snapshot", "ocore.dev/kind": "Snapshot"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"bulk-{number}", "namespace": namespace, "labels": labels},
        "spec": {
            "suspend": True,
            "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


def large(namespace: str, number: int, size: int) -> tuple[Object, Object]:
    """A Complete Snapshot of so many bytes, and its status."""
    obj, status = finished("shop-0", namespace, number, told=True)
    status["paths"] = {f"artifact-{n}": "p" * 1000 for n in range(size // 1020)}
    return obj, status


async def watched(operator: OperatorProcess, seconds: float) -> tuple[float, float]:
    """The largest resident memory in MB, read each second, and the cores used."""
    assert operator.process is not None
    found = []
    before, begin = cpu(operator.process.pid), time.monotonic()
    while time.monotonic() < begin + seconds:
        if operator.process.poll() is not None:
            raise SystemExit(f"the operator has ended: {operator.log()[-4000:]}")
        found.append(memory(operator, "VmRSS"))
        await asyncio.sleep(1)
    return max(found), (cpu(operator.process.pid) - before) / (time.monotonic() - begin)


async def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The operator's peak: at its start, while operations ask for slots, and while all Jobs change."""
    most = memory_limit()
    cluster = Cluster()
    apply_crds(cluster)
    transport = Transport(await connect(Path(cluster.env["KUBECONFIG"])), 60, program="bench")
    api = Api(transport)
    try:
        namespace = await prepare(api, cluster, "hostile")
        await together(api.create(types.JOBS, job(namespace, n, options.bytes)) for n in range(options.jobs))
        made = (large(namespace, n, options.bytes) for n in range(options.snapshots))
        await together(api.create(types.SNAPSHOTS, obj, status) for obj, status in made)
        operator = await asyncio.to_thread(OperatorProcess(cluster, [namespace], folder).start)
        try:
            start = memory(operator, "VmHWM")
            # Each probe of a store asks for a slot. Without a kubelet none ends, so those that wait ask again and
            # again.
            await together(waiting(api, namespace, 30))
            asking, cores = await watched(operator, options.seconds)
            await together(changes(api, namespace, options.jobs))
            changing, _ = await watched(operator, options.seconds / 2)
            peak = memory(operator, "VmHWM")
        finally:
            await asyncio.to_thread(operator.stop)
    finally:
        await transport.close()
    what = f"{options.jobs} Jobs and {options.snapshots} Snapshots of {options.bytes / 1e6:g} MB"
    return [
        limit(f"{what}: operator's peak at its start", [start], most, "MB"),
        limit(f"{what}: resident memory while 30 probes ask for slots", [asking], most, "MB"),
        limit(f"{what}: operator while 30 probes ask for slots", [cores], 0.5, "cores"),
        limit(f"{what}: resident memory while all Jobs change", [changing], most, "MB"),
        limit(f"{what}: operator's peak", [peak], most, "MB"),
    ]


async def stored(api: Api, namespace: str, number: int) -> None:
    """An Environment with a SnapshotStore of its own, which is probed."""
    name = f"store-{number}"
    store = ours("SnapshotStore", namespace, name, {"claim": {"claimName": "backups", "path": name}})
    await api.create(types.STORES, store)
    shop = environment(namespace, f"shop-{number}")
    shop["spec"]["storeRef"]["name"] = name
    await api.create(types.ENVIRONMENTS, shop)


def waiting(api: Api, namespace: str, count: int) -> Iterator[Awaitable[None]]:
    """Probes that ask for slots."""
    return (stored(api, namespace, number) for number in range(count))


def changes(api: Api, namespace: str, count: int) -> Iterator[Awaitable[None]]:
    """A change of each Job: a watch reports each whole."""
    for number in range(count):
        yield api.patch(types.JOBS, namespace, f"bulk-{number}", {"metadata": {"labels": {"bench/changed": "yes"}}})


def memory_limit() -> float:
    """The chart's memory limit of the operator, in MB."""
    values = yaml.safe_load((REPOSITORY / "charts/ocore-snapshots/values.yaml").read_text())
    return parse(values["operator"]["resources"]["limits"]["memory"]) / 1e6


def main() -> None:
    """Measures once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--snapshots", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=1_200_000)
    parser.add_argument(
        "--seconds", type=float, default=60, help="for which the operator is watched while probes ask for slots"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        rows = asyncio.run(measure(options, Path(folder)))
    report(rows, options.json)


if __name__ == "__main__":
    main()
