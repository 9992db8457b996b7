"""Thousands of Snapshots with the real API server: the operator stays within the chart's memory (failure row 36)."""

import asyncio
from pathlib import Path

import pytest
import yaml

from ocore_kube import types
from ocore_kube.transport import Transport, connect
from support.cluster.cluster import REPOSITORY, Cluster
from support.operator.many import SNAPSHOT_BYTES, Api, finished, memory, prepare, together
from support.operator.process import OperatorProcess

#: Snapshots of this test, and those that the chart's limit must be enough for. `bench/scale.py` measures with as many.
FEW, MANY = 2_000, 20_000


def limit() -> float:
    """The chart's memory limit of the operator, in MB."""
    values = yaml.safe_load((REPOSITORY / "charts/ocore-snapshots/values.yaml").read_text())
    text = str(values["operator"]["resources"]["limits"]["memory"])
    assert text.endswith("Mi")
    return int(text[:-2]) * 1.048576


async def fill(crds: Cluster, count: int) -> str:
    """A namespace with so many Complete Snapshots."""
    transport = Transport(await connect(Path(crds.env["KUBECONFIG"])), 60, program="test")
    try:
        api = Api(transport)
        namespace = await prepare(api, crds, "many")
        made = (finished(f"shop-{n % 20}", namespace, n, told=True) for n in range(count))
        await together(api.create(types.SNAPSHOTS, obj, status) for obj, status in made)
    finally:
        await transport.close()
    return namespace


@pytest.mark.exclusive  # it keeps the API server busy
def test_row_36_thousands_of_snapshots_within_the_charts_limits(crds: Cluster, tmp_path: Path) -> None:
    """kopf's first list held all raw objects, five seconds each, and so did the main event loop: 1.1 GB for 20,000."""
    empty, filled = crds.namespace("few"), asyncio.run(fill(crds, FEW))
    peaks = []
    for namespace in (empty, filled):
        operator = OperatorProcess(crds, [namespace], tmp_path, resync_interval=5).start()
        try:
            snapshots = operator.get("/metrics")[1].count('ocore_resources{kind="Snapshot"')
            assert snapshots == (namespace == filled)
            asyncio.run(asyncio.sleep(12))  # a full list comes, too
            assert operator.get("/readyz") == (200, "ok")
            peaks.append(memory(operator, "VmHWM"))
        finally:
            operator.stop()
    growth = max(peaks[1] - peaks[0], 0)
    assert growth < FEW * SNAPSHOT_BYTES * 4 / 1e6, "all raw objects were in memory at a time"
    assert peaks[0] + growth * MANY / FEW < limit(), f"{peaks} MB with none and with {FEW:,}"
    crds.delete("Namespace", empty)
    crds.delete("Namespace", filled)
