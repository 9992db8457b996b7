"""The chart as a test sees it: rendered, applied as a dry run, installed as a release."""

import json
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import yaml

from .cluster import GROUP, REPOSITORY, Cluster, Object

CHART = REPOSITORY / "charts/ocore-snapshots"
#: Values that name the images of the local cluster: the chart itself names no registry.
LOCAL = REPOSITORY / "localcluster/values.yaml"
#: Kinds of the Prometheus Operator and the Gateway API, which the local cluster has not.
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute"}


class HelmError(AssertionError):
    """Helm refused; the message is its own."""


class Helm:
    """helm of the local cluster."""

    #: Arguments → the objects as JSON: a process of helm, and YAML, cost a hundred times as much as reading JSON.
    _rendered: ClassVar[dict[str, str]] = {}

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def run(self, *arguments: str, values: Object | None = None, timeout: float = 180) -> str:
        """Its stdout; raises HelmError with what it said. Values are added to those of the local cluster."""
        done = subprocess.run(
            ["helm", *arguments, *(["--values", str(LOCAL), "--values", "-"] if values is not None else [])],
            env=self.cluster.env, input=json.dumps(values) if values is not None else None,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise HelmError(done.stderr)
        return done.stdout

    def render(
        self, values: Object, *, release: str = "ocore", namespace: str = "ocore-system", chart: Path = CHART
    ) -> list[Object]:
        """The objects of a release."""
        key = json.dumps([values, release, namespace, str(chart)])
        if key not in self._rendered:
            text = self.run("template", release, str(chart), "--namespace", namespace, values=values, timeout=60)
            self._rendered[key] = json.dumps([d for d in yaml.load_all(text, yaml.CSafeLoader) if d])
        objects: list[Object] = json.loads(self._rendered[key])
        return objects

    def install(self, release: str, namespace: str, values: Object, *options: str, chart: Path = CHART) -> None:
        """`helm upgrade --install`."""
        self.run(
            "upgrade", "--install", release, str(chart), "--namespace", namespace, "--create-namespace",
            "--timeout", "120s", *options, values=values,
        )  # fmt: skip

    def uninstall(self, release: str, namespace: str) -> None:
        """Removes a release; an absent one does not matter."""
        self.run("uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait", "--timeout", "60s")


def find(objects: list[Object], kind: str, suffix: str = "") -> Object:
    """The only object of that kind whose name ends so."""
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(suffix)]
    return found


def environment(objects: list[Object], deployment: str = "") -> dict[str, str]:
    """The variables of a Deployment's container that have a value. `deployment`: how its name ends, where there are
    several."""
    (container,) = find(objects, "Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    return {v["name"]: v["value"] for v in container["env"] if "value" in v}


def snapshot(namespace: str, name: str, pin: Object | None, **metadata: Any) -> Object:
    """A Snapshot."""
    spec = {"environmentRef": {"name": "shop"}} | ({} if pin is None else {"pin": pin})
    return {
        "apiVersion": GROUP,
        "kind": "Snapshot",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": spec,
    }


def accepted(cluster: Cluster, obj: Object) -> None:
    """The API server takes the object, and knows all of its fields. Nothing is created."""
    if obj["kind"] in FOREIGN:
        return
    resource = cluster.dynamic.resources.get(api_version=obj["apiVersion"], kind=obj["kind"])
    resource.server_side_apply(
        body=obj, name=obj["metadata"]["name"], namespace=obj["metadata"].get("namespace"),
        field_manager="helm", dry_run="All", query_params=[("fieldValidation", "Strict")], force_conflicts=True,
    )  # fmt: skip


def prefer_different_nodes_and_zones(deployment: Object) -> None:
    """Asserts it of the spec of a Deployment, with pods of its newest revision only, and so that nodes without the
    label of a zone count."""
    pod = deployment["template"]
    (nodes,) = pod["spec"]["topologySpreadConstraints"]
    (zones,) = pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert nodes["whenUnsatisfiable"] == "ScheduleAnyway"
    for term, key in ((nodes, "kubernetes.io/hostname"), (zones["podAffinityTerm"], "topology.kubernetes.io/zone")):
        assert (term["topologyKey"], term["matchLabelKeys"]) == (key, ["pod-template-hash"])
        assert term["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
