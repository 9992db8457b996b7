"""Trouble in one watched namespace stays there: its Role is gone, or the namespace itself, and it is the first one of
the list."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ocore_crds.naming import FINALIZER_DATA, FINALIZER_ROLLBACK
from support.cluster.cluster import GROUP, REPOSITORY, Cluster, condition, unique, wait_for
from support.operator.process import OperatorProcess

#: A finalizer of someone else.
KEEP = "example.org/keep"
#: Kind → our finalizer, and a spec.
HELD = {
    "Snapshot": (FINALIZER_DATA, {"environmentRef": {"name": "none"}}),
    "Rollback": (FINALIZER_ROLLBACK, {"snapshotRef": {"name": "none"}}),
}
FAST = {"environment_wait": 1, "resync_interval": 3, "request_timeout": 3}


@dataclass(frozen=True)
class Install:
    """The rights of the chart for an operator that watches two namespaces, and a kubeconfig of its service account."""

    name: str
    home: str
    first: str
    second: str
    kubeconfig: Path


@pytest.fixture
def install(crds: Cluster, tmp_path: Path) -> Iterator[Install]:
    home, first, second = (crds.namespace(n) for n in ("home", "first", "second"))
    name = unique("rights")
    command = ["helm", "template", name, str(REPOSITORY / "charts/ocore-snapshots"), "--namespace", home]
    command += ["--values", str(REPOSITORY / "localcluster/values.yaml")]
    command += ["--set", f"fullnameOverride={name},watchNamespaces={{{first},{second}}}"]
    command += ["--show-only", "templates/rbac-operator.yaml", "--show-only", "templates/serviceaccount.yaml"]
    rendered = subprocess.run(command, env=crds.env, check=True, capture_output=True, text=True, timeout=60).stdout
    objects = [o for o in yaml.safe_load_all(rendered) if o]
    crds.apply(*objects)
    account = next(o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount")
    token = crds.kubectl("create", "token", account, "-n", home, "--duration=1h").strip()
    loaded = yaml.safe_load(Path(crds.env["KUBECONFIG"]).read_text())
    for user in loaded["users"]:
        user["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(loaded))
    yield Install(name, home, first, second, path)
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        crds.delete(kind, f"{name}-operator")
    for namespace in (home, first, second):
        if crds.get("Namespace", namespace, None) is not None:
            crds.delete("Namespace", namespace)


def operator_of(crds: Cluster, install: Install, folder: Path) -> OperatorProcess:
    return OperatorProcess(
        crds,
        [install.first, install.second],
        folder,
        **{**FAST, "namespace": install.home, "lease_name": install.name, "kubeconfig": install.kubeconfig},
    )


def test_row_33_finalizers_go_without_the_role_of_a_namespace(crds: Cluster, install: Install, tmp_path: Path) -> None:
    """A namespace that is deleted loses its Role before its objects. What the operator may do in the whole cluster is
    enough to let go of them."""
    first = install.first
    operator = operator_of(crds, install, tmp_path).start()
    try:
        for kind, (_, spec) in HELD.items():
            metadata = {"name": "shop", "namespace": first}
            crds.apply({"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec})
            crds.wait(kind, "shop", first, lambda o: condition(o, "Failed") is not None, 60, "reconciled")
        crds.delete("RoleBinding", f"{install.name}-operator", first)
        wait_for("list refused", lambda: f"cannot list namespace {first}" in operator.get("/readyz")[1], 60)
        for kind, (finalizer, _) in HELD.items():
            crds.patch(kind, "shop", first, {"metadata": {"finalizers": [finalizer, KEEP]}})
        crds.delete("Namespace", first)
        for kind in HELD:
            crds.delete(kind, "shop", first)
        for kind in HELD:
            crds.wait(kind, "shop", first, lambda o: o["metadata"]["finalizers"] == [KEEP], 60, "let go")
    finally:
        operator.stop()
        for kind in HELD:
            crds.patch(kind, "shop", first, {"metadata": {"finalizers": None}})


def create(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.apply(
        {
            "apiVersion": GROUP,
            "kind": "Snapshot",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"environmentRef": {"name": "none"}},
        }
    )


def reconciled(cluster: Cluster, namespace: str, name: str, timeout: float = 60) -> None:
    """Waits until the Snapshot has failed: its Environment does not exist."""
    found = cluster.wait(
        "Snapshot", name, namespace, lambda o: condition(o, "Failed") is not None, timeout, "reconciled"
    )
    assert (condition(found, "Failed") or {})["reason"] == "EnvironmentNotFound"


def test_row_33_trouble_stays_in_its_namespace(crds: Cluster, install: Install, tmp_path: Path) -> None:
    first, second = install.first, install.second
    operator = operator_of(crds, install, tmp_path).start()
    try:
        for namespace in (first, second):
            create(crds, namespace, "before")
            reconciled(crds, namespace, "before")

        binding = crds.get("RoleBinding", f"{install.name}-operator", first)
        assert binding is not None
        crds.delete("RoleBinding", f"{install.name}-operator", first)
        create(crds, first, "unseen")
        wait_for("list reported", lambda: f"cannot list namespace {first}" in operator.get("/readyz")[1], 60)
        # A watch that is open stays so until the server ends it: SERVER_TIMEOUT.
        wait_for("watch reported", lambda: f"cannot watch namespace {first}" in operator.get("/readyz")[1], 240)
        create(crds, second, "during")
        reconciled(crds, second, "during")
        assert operator.get("/readyz")[0] == 200
        assert operator.get("/healthz") == (200, "ok")
        metrics = operator.get("/metrics")[1]
        assert f'ocore_namespace_readable{{namespace="{first}"}} 0.0' in metrics
        assert f'ocore_namespace_readable{{namespace="{second}"}} 1.0' in metrics

        for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            binding["metadata"].pop(field)
        crds.apply(binding)
        reconciled(crds, first, "unseen")
        wait_for("list works", lambda: "cannot list" not in operator.get("/readyz")[1])
        wait_for("watch works", lambda: operator.get("/readyz") == (200, "ok"), 120)

        crds.delete("Namespace", first)
        crds.wait_gone("Namespace", first, None, 120)
        wait_for("deletion reported", lambda: f"cannot list namespace {first}" in operator.get("/readyz")[1], 60)
        create(crds, second, "after")
        reconciled(crds, second, "after")
        assert operator.process is not None
        assert operator.process.poll() is None, "the process that was started at the beginning"

        operator.stop()
        operator.start(wait=False)
        wait_for("ready without the first namespace", lambda: operator.get("/readyz")[0] == 200, 60)
        assert f"cannot list namespace {first}" in operator.get("/readyz")[1]
        create(crds, second, "restarted")
        reconciled(crds, second, "restarted")
    finally:
        operator.stop()
