"""The operator as a process: one leader, health, what it does when the API server is cut off, objects that need no
Job."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.cluster.cluster import GROUP, Cluster, Object, condition, unique, wait_for
from support.operator.process import OperatorProcess, Proxy, api_address, kubeconfig_through, sleep_until

PROJECT = "11111111-2222-4333-8444-555555555555"
#: Short times, so that a test takes seconds.
FAST = {"environment_wait": 1, "resync_interval": 3, "request_timeout": 3}


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace that no operator watches yet."""
    name = crds.namespace("process")
    yield name
    crds.delete("Namespace", name)


@pytest.fixture(scope="module")
def watched(crds: Cluster) -> Iterator[str]:
    """The namespace of the operator that several tests share."""
    name = crds.namespace("process")
    yield name
    crds.delete("Namespace", name)


@pytest.fixture(scope="module")
def operator(crds: Cluster, watched: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """A running operator; no test that uses it harms it."""
    operator = OperatorProcess(crds, [watched], tmp_path_factory.mktemp("operator"), **FAST).start()
    yield operator
    operator.stop()


@pytest.fixture(scope="module")
def patient(crds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The namespace of an operator that waits long for an Environment."""
    name = crds.namespace("process")
    settings = {**FAST, "environment_wait": 300}
    operator = OperatorProcess(crds, [name], tmp_path_factory.mktemp("operator"), **settings).start()
    yield name
    operator.stop()
    crds.delete("Namespace", name)


def snapshot(cluster: Cluster, namespace: str, name: str, **spec: object) -> str:
    """A Snapshot of an Environment that is not there, where nothing else is said."""
    cluster.apply(
        {
            "apiVersion": GROUP,
            "kind": "Snapshot",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"environmentRef": {"name": "none"}, **spec},
        }
    )
    return name


def failed(cluster: Cluster, namespace: str, name: str, reason: str, timeout: float = 60) -> Object:
    """The Snapshot once it has failed for that reason."""
    obj = cluster.wait(
        "Snapshot", name, namespace, lambda o: (condition(o, "Failed") or {}).get("status") == "True", timeout, "Failed"
    )
    found = condition(obj, "Failed")
    assert found is not None
    assert found["reason"] == reason, found
    return obj


def test_it_says_how_it_is(operator: OperatorProcess) -> None:
    assert operator.get("/healthz") == (200, "ok")
    status, metrics = operator.get("/metrics")
    assert status == 200
    documented = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    names = {line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE ocore_")}
    assert names
    for name in names:
        assert name.removesuffix("_created") in documented, f"{name} is not in docs/metrics.md"
    assert operator.metric("ocore_leader") == 1


def test_an_unknown_environment_is_waited_for_and_then_failed(
    crds: Cluster, watched: str, operator: OperatorProcess
) -> None:
    obj = failed(crds, watched, snapshot(crds, watched, "lost"), "EnvironmentNotFound")
    assert obj["status"]["phase"] == "Failed"
    assert obj["status"]["observedGeneration"] == 1
    assert obj["metadata"]["finalizers"] == ["ocore.dev/data"]
    message = (condition(obj, "Failed") or {})["message"]
    assert "none" in message
    events = wait_for(
        "event",
        lambda: [
            e
            for e in crds.objects("Event", watched)
            if e["involvedObject"]["name"] == "lost" and e["reason"] == "EnvironmentNotFound" and e["type"] == "Warning"
        ],
        10,
    )
    assert events[0]["source"]["component"] == "ocore-operator"


def test_nothing_of_kopf_is_put_on_objects(crds: Cluster, watched: str, operator: OperatorProcess) -> None:
    obj = failed(crds, watched, snapshot(crds, watched, "plain"), "EnvironmentNotFound")
    assert not obj["metadata"].get("annotations")
    managers = {m["manager"] for m in obj["metadata"]["managedFields"]}
    assert managers == {"test", "ocore-operator"}


def test_what_has_nothing_in_the_store_goes_at_once(crds: Cluster, watched: str, operator: OperatorProcess) -> None:
    for policy in ("Delete", "Retain"):
        name = snapshot(crds, watched, f"gone-{policy.lower()}", deletionPolicy=policy)
        failed(crds, watched, name, "EnvironmentNotFound")
        crds.delete("Snapshot", name, watched)
        crds.wait_gone("Snapshot", name, watched, 10)


def test_it_is_cancelled_while_it_waits(crds: Cluster, patient: str) -> None:
    name = snapshot(crds, patient, "waits")
    crds.wait("Snapshot", name, patient, lambda o: o.get("status", {}).get("phase") == "Pending", 20)
    crds.delete("Snapshot", name, patient)
    crds.wait_gone("Snapshot", name, patient, 10)


def test_a_namespace_goes_although_it_has_finalizers(crds: Cluster, tmp_path: Path) -> None:
    namespace = crds.namespace("process")
    operator = OperatorProcess(crds, [namespace], tmp_path, **FAST, lease_name=unique("lease")).start()
    try:
        for number in range(5):
            failed(crds, namespace, snapshot(crds, namespace, f"s{number}"), "EnvironmentNotFound")
        crds.delete("Namespace", namespace)
        crds.wait_gone("Namespace", namespace, None, 60)
    finally:
        operator.stop()


def test_the_younger_of_two_with_one_id_fails(crds: Cluster, patient: str) -> None:
    snapshot(crds, patient, "first", id=PROJECT)
    crds.wait("Snapshot", "first", patient, lambda o: o.get("status", {}).get("phase") == "Pending", 20)
    sleep_until(time.monotonic() + 1.1)  # creationTimestamp has whole seconds
    snapshot(crds, patient, "second", id=PROJECT)
    obj = failed(crds, patient, "second", "DuplicateId")
    assert "first" in (condition(obj, "Failed") or {})["message"]
    # Its deletion must not touch what the first one has.
    crds.delete("Snapshot", "second", patient)
    crds.wait_gone("Snapshot", "second", patient, 10)
    first = crds.get("Snapshot", "first", patient)
    assert first is not None
    assert condition(first, "Failed") is None


def test_an_environment_says_what_is_missing(crds: Cluster, watched: str, operator: OperatorProcess) -> None:
    spec = {
        "projectId": PROJECT,
        "type": "staging",
        "storeRef": {"name": "nowhere"},
        "database": {"secretRef": {"name": "db"}},
    }
    for name, changes in (("one", {"id": PROJECT}), ("two", {"id": PROJECT})):
        crds.apply(
            {
                "apiVersion": GROUP,
                "kind": "Environment",
                "metadata": {"name": name, "namespace": watched},
                "spec": {**spec, **changes},
            }
        )
        sleep_until(time.monotonic() + 1.1)  # creationTimestamp has whole seconds

    def reason(name: str) -> str:
        obj = crds.get("Environment", name, watched) or {}
        return str((condition(obj, "Stalled") or {}).get("reason"))

    wait_for("store not found", lambda: reason("one") == "StoreNotFound")
    wait_for("duplicate", lambda: reason("two") == "DuplicateId")
    crds.delete("Environment", "one", watched)
    wait_for("no duplicate any more", lambda: reason("two") == "StoreNotFound")


def announced(namespace: str, lease: str) -> Object:
    """The ClusterRole by which the chart announces a release."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": f"{namespace}-{lease}",
            "labels": {"ocore.dev/release": "true"},
            "annotations": {"ocore.dev/lease": f"{namespace}/{lease}", "ocore.dev/watches": namespace},
        },
        "rules": [],
    }


def test_row_122_leases_of_tenants_are_not_believed(crds: Cluster, namespace: str, tmp_path: Path) -> None:
    """Of the year 0, of a release that has all namespaces, older than any other: the operator starts, and leads. No
    admission policy holds here."""
    fresh = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    times = ("0000-01-01T00:00:00.000000Z", fresh)
    crds.apply(
        *(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": f"forged-{number}",
                    "namespace": namespace,
                    "labels": {"app.kubernetes.io/managed-by": "ocore-snapshots", "ocore.dev/release": "true"},
                    "annotations": {
                        "ocore.dev/watches": "",
                        "ocore.dev/lease": f"{namespace}/forged-{number}",
                        "large": "x" * 250_000,
                    },
                },
                "spec": {"holderIdentity": "me", "renewTime": renewed, "acquireTime": times[0]},
            }
            for number, renewed in enumerate(times)
        )
    )
    role = announced(namespace, "test-operator")
    crds.apply(role)
    operator = OperatorProcess(crds, [namespace], tmp_path, **FAST)
    try:
        operator.start(wait=False)
        operator.ready(60)
        assert operator.metric("ocore_leader") == 1
    finally:
        operator.stop()
        crds.delete("ClusterRole", role["metadata"]["name"])


def test_row_99_the_next_one_takes_over(crds: Cluster, namespace: str, tmp_path: Path) -> None:
    """Killed: after the lease has run out. After SIGTERM: at once. Another release waits all the time."""
    times = {**FAST, "lease_duration": 6}
    other = OperatorProcess(crds, [namespace], tmp_path, **FAST, lease_name="another")
    first = OperatorProcess(crds, [namespace], tmp_path, **times).start()
    second = OperatorProcess(crds, [namespace], tmp_path, **times, standby=True).start()
    third = OperatorProcess(crds, [namespace], tmp_path, **times)
    release = announced(namespace, "test-operator")
    crds.apply(release)
    try:
        # A standby is ready, counts no objects, and does nothing.
        failed(crds, namespace, snapshot(crds, namespace, "before"), "EnvironmentNotFound")
        assert (first.metric("ocore_leader"), second.metric("ocore_leader")) == (1, 0)
        assert "ocore_resources{" in first.get("/metrics")[1]
        assert "ocore_resources{" not in second.get("/metrics")[1]
        other.start(wait=False)
        said = f"another release watches {namespace} too: its Lease is {namespace}/test-operator"
        wait_for("another release waits", lambda: said in other.get("/readyz")[1], 30)
        assert crds.get("Lease", "another", namespace) is None
        other.stop()
        first.kill()
        begin = time.monotonic()
        left = snapshot(crds, namespace, "left")
        wait_for("the second leads", lambda: second.metric("ocore_leader") == 1, 30)
        assert time.monotonic() - begin < 20
        failed(crds, namespace, left, "EnvironmentNotFound")
        assert second.metric("ocore_reconciles_total") < 10, "what was heard before was not kept for now"
        third.start(wait=False)
        wait_for("third listens", lambda: third.get("/healthz")[0] == 200, 60)
        status, words = third.get("/readyz")
        assert status == 503
        assert "lease" in words
        second.send(signal.SIGTERM)
        assert second.exit_code() == 0
        third.ready(6)
    finally:
        for each in (first, second, third, other):
            each.stop()
        crds.delete("ClusterRole", release["metadata"]["name"])


@dataclass(frozen=True)
class Proxied:
    """An operator whose connections can be broken, and the namespace that it watches. Each test leaves it connected."""

    namespace: str
    operator: OperatorProcess
    proxy: Proxy


@pytest.fixture(scope="module")
def proxied(crds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    proxy, folder = Proxy(api_address(crds)), tmp_path_factory.mktemp("operator")
    namespace = crds.namespace("process")
    settings = {**FAST, "kubeconfig": kubeconfig_through(crds, proxy, folder), "lease_duration": 60}
    operator = OperatorProcess(crds, [namespace], folder, **settings).start()
    yield Proxied(namespace, operator, proxy)
    operator.stop()
    proxy.close()
    crds.delete("Namespace", namespace)


def test_row_22_connections_that_break(crds: Cluster, proxied: Proxied) -> None:
    """Those that are silent: tests/e2e/test_failure_rows_operator.py."""
    namespace = proxied.namespace
    for number in range(3):
        proxied.proxy.cut()
        failed(crds, namespace, snapshot(crds, namespace, f"cut-{number}"), "EnvironmentNotFound", 30)
    assert proxied.operator.metric("ocore_leader") == 1, "the lease was lost with the connections"


def test_an_api_server_that_is_away(crds: Cluster, proxied: Proxied) -> None:
    """Fifteen seconds without an API server: the same process continues afterwards, and nothing is lost."""
    operator, proxy, namespace = proxied.operator, proxied.proxy, proxied.namespace
    proxy.refusing = True
    proxy.cut()
    snapshot(crds, namespace, "away")
    sleep_until(time.monotonic() + 15)
    assert operator.get("/healthz")[0] == 200
    proxy.refusing = False
    failed(crds, namespace, "away", "EnvironmentNotFound")
    assert operator.get("/healthz")[0] == 200
