"""Fixtures of the integration tests: the API server of the local cluster, with our CRDs."""

import subprocess
import zlib

import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

from support.cluster.chart import CHART, LOCAL
from support.cluster.cluster import Cluster, wait_for
from support.cluster.operator import NAMESPACE, RELEASE
from support.cluster.shared import Shared

#: Thousands of short tests, which need little before them: workers share them, in so many parts, at the end.
SHARED, PARTS = "test_crds_rules.py", 40
#: Files whose tests mostly wait start first.
WAITING = "test_operator_"


class ByFiles(LoadScopeScheduling):
    """The tests of a file run in one worker: an operator, or the chart's policies, are started once for them."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return f"{file} {zlib.crc32(nodeid.encode()) % PARTS}" if file.endswith(SHARED) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFiles | None:
    """In place of `--dist loadscope`."""
    return ByFiles(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda i: (i.path.name == SHARED, not i.path.name.startswith(WAITING)))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster."""
    return Cluster()


@pytest.fixture(scope="session")
def crds(cluster: Cluster, shared: Shared) -> Cluster:
    """The cluster with our CRDs as they are now, marked and owned so that the chart's release takes them over."""
    shared.once("crds", lambda: _apply_crds(cluster))
    cluster.dynamic.resources.invalidate_cache()
    return cluster


def _apply_crds(cluster: Cluster) -> str:
    rendered = subprocess.run(
        ["helm", "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(LOCAL)],
        env=cluster.env,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    found = [d for d in yaml.safe_load_all(rendered) if d and d["kind"] == "CustomResourceDefinition"]
    for crd in found:
        crd["metadata"]["annotations"] |= {
            "meta.helm.sh/release-name": RELEASE,
            "meta.helm.sh/release-namespace": NAMESPACE,
        }
    cluster.apply(*found, manager="helm")
    for crd in found:
        name = crd["metadata"]["name"]
        # A previous manager must not keep its fields against an upgrade of the chart.
        there = cluster.wait("CustomResourceDefinition", name, None, lambda _: True)
        helms = [m for m in there["metadata"]["managedFields"] if m["manager"] == "helm"]
        cluster.patch("CustomResourceDefinition", name, None, {"metadata": {"managedFields": helms}})
    for crd in found:
        cluster.wait("CustomResourceDefinition", crd["metadata"]["name"], None, _established, 30)
        plural = crd["spec"]["names"]["plural"]
        wait_for(f"{plural} served", lambda plural=plural: cluster.kubectl("get", plural, "-n", "default") or True)
    return "applied"


def _established(crd: dict[str, object]) -> bool:
    conditions = crd.get("status", {}).get("conditions", [])  # type: ignore[attr-defined]
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
