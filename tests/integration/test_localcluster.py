"""The local cluster itself: volumes, network, images, and what is left of it in the end."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster.cluster import POD_SECURITY, REPOSITORY, Cluster, Object, pod, unique, wait_for
from support.cluster.site import DEMO_IMAGE, claim

SCRIPT = REPOSITORY / "localcluster/cluster"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    name = cluster.namespace("localcluster")
    yield name
    cluster.delete("Namespace", name)


@pytest.fixture
def own_node(cluster: Cluster) -> None:
    """For what kind does its own way."""
    if not cluster.kubectl("config", "current-context").startswith("localcluster-"):
        pytest.skip("not the cluster in namespaces")


def shell(cluster: Cluster, namespace: str, script: str, **spec: object) -> tuple[int, str]:
    return cluster.run_pod(namespace, DEMO_IMAGE, ["sh", "-c", script], **spec)  # type: ignore[arg-type]


# --- volumes ---------------------------------------------------------------------------------------------
def test_a_pod_without_root_writes_to_its_claim(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("data", namespace))
    pod_ = pod("writer", namespace, DEMO_IMAGE, ["sh", "-c", "umask 007; cd /data && id -u && echo hello >a && ln a b"],
               claims={"/data": "data"})  # fmt: skip
    pod_["spec"]["securityContext"] = {**POD_SECURITY, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 3000}
    cluster.apply(pod_)
    done = cluster.wait("Pod", "writer", namespace, finished)
    assert done["status"]["phase"] == "Succeeded", cluster.logs(namespace, "writer")
    assert cluster.logs(namespace, "writer") == "1000\n"

    reader = pod("reader", namespace, DEMO_IMAGE, ["sh", "-c", "cat /data/b; stat -c '%g %h' /data/a"],
                 claims={"/data": "data"})  # fmt: skip
    reader["spec"]["securityContext"] = {**POD_SECURITY, "runAsUser": 2000, "fsGroup": 3000}
    cluster.apply(reader)
    cluster.wait("Pod", "reader", namespace, finished)
    assert cluster.logs(namespace, "reader") == "hello\n3000 2\n"


@pytest.mark.usefixtures("own_node")
def test_a_claim_is_not_writable_without_its_group(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("strict", namespace))
    stranger = pod("stranger", namespace, DEMO_IMAGE, ["sh", "-c", "echo >/data/a"], claims={"/data": "strict"})
    stranger["spec"]["securityContext"] = {k: v for k, v in POD_SECURITY.items() if k != "fsGroup"}
    cluster.apply(stranger)
    assert cluster.wait("Pod", "stranger", namespace, finished)["status"]["phase"] == "Failed"


@pytest.mark.usefixtures("own_node")
def test_a_deleted_claim_takes_its_volume_and_files_along(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("short", namespace), claim("short-sized", namespace, "20Mi", "sized"))
    claims = {"/data": "short", "/sized": "short-sized"}
    assert shell(cluster, namespace, "touch /data/a /sized/a", claims=claims) == (0, "")
    volumes = [volume_of(cluster, c, namespace) for c in ("short", "short-sized")]
    paths = [cluster.get("PersistentVolume", v)["spec"]["local"]["path"] for v in volumes]  # type: ignore[index]
    assert in_node("ls", *paths).count("a\n") == 2
    for name in claims.values():
        cluster.delete("PersistentVolumeClaim", name, namespace)
    for volume in volumes:
        cluster.wait_gone("PersistentVolume", volume, None, 30)
    assert [p for p in in_node("find", "/state/volumes", "-maxdepth", "1").split() if p.startswith(tuple(paths))] == []


@pytest.mark.usefixtures("own_node")
def test_a_sized_volume_is_full_at_its_size(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("small", namespace, "20Mi", "sized"))
    code, log = shell(
        cluster,
        namespace,
        "ls -A /data; dd if=/dev/zero of=/data/a bs=1M count=15 2>&1 && dd if=/dev/zero of=/data/b bs=1M count=10 2>&1",
        claims={"/data": "small"},
    )
    assert code == 1, log
    assert "No space left on device" in log
    assert "lost+found" not in log


def volume_of(cluster: Cluster, name: str, namespace: str) -> str:
    found = cluster.get("PersistentVolumeClaim", name, namespace)
    assert found is not None
    return str(found["spec"]["volumeName"])


def finished(obj: Object) -> bool:
    return obj.get("status", {}).get("phase") in ("Succeeded", "Failed")


# --- network and images ----------------------------------------------------------------------------------
def test_names_resolve_in_a_pod(cluster: Cluster, namespace: str) -> None:
    code, log = shell(cluster, namespace, "getent hosts kubernetes.default kubernetes.default.svc.cluster.local")
    assert code == 0, log
    assert log.split().count("10.96.0.1") == 2


@pytest.mark.usefixtures("own_node")
def test_names_resolve_here() -> None:
    """The tests run in the node's network."""
    done = subprocess.run(["getent", "hosts", "kubernetes.default"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "10.96.0.1"


@pytest.mark.usefixtures("own_node")
def test_nothing_reaches_another_machine(cluster: Cluster, namespace: str) -> None:
    # The node has no link that leaves it. An address of the range for documentation: no host has it.
    assert "default" not in in_node("ip", "route")
    links = re.findall(r"^\d+: (\S+?)[@:]", in_node("ip", "-o", "link"), re.M)
    assert [link for link in links if not re.match(r"lo|eth0p?|veth", link)] == []
    connect = "import socket; socket.create_connection(('192.0.2.1', 443), 5)"
    code, log = cluster.run_pod(namespace, DEMO_IMAGE, ["python3", "-c", connect])
    assert code == 1, log
    assert "unreachable" in log.lower()


def test_a_pod_reaches_itself_and_others_through_a_service(cluster: Cluster, namespace: str) -> None:
    server = pod("server-0", namespace, DEMO_IMAGE, ["python3", "-m", "http.server", "8080", "-d", "/tmp"])
    server["metadata"]["labels"] = {"app": "server"}
    server["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    cluster.apply(
        server,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": namespace},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    cluster.wait("Pod", "server-0", namespace, ready)
    get = "import urllib.request; print(urllib.request.urlopen('http://server', timeout=5).status)"
    code, log = cluster.run_pod(namespace, DEMO_IMAGE, ["python3", "-c", get])
    assert (code, log) == (0, "200\n")
    assert cluster.kubectl("exec", "-n", namespace, "server-0", "--", "python3", "-c", get) == "200\n"


def ready(obj: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in obj.get("status", {}).get("conditions", []))


def test_an_unknown_image_fails_at_once(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("unknown", namespace, "registry.invalid/no/image:1", ["true"]))

    def reason() -> bool:
        found = cluster.get("Pod", "unknown", namespace)
        statuses = (found or {}).get("status", {}).get("containerStatuses", [])
        return any(
            s["state"].get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff") for s in statuses
        )

    wait_for("ErrImagePull", reason)


# --- its life --------------------------------------------------------------------------------------------
@pytest.fixture
def second() -> Iterator[dict[str, str]]:
    """The environment of a cluster of its own."""
    env = {**os.environ, "OCORE_CLUSTER": unique("lc")}
    env.pop("OCORE_API_PORT", None)
    yield env
    subprocess.run([SCRIPT, "down"], env=env, check=True, timeout=60)


def run(env: dict[str, str], *command: str) -> str:
    done = subprocess.run([SCRIPT, *command], env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exports(env: dict[str, str]) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(.*)$", run(env, "env"), re.M))


def kubectl(env: dict[str, str], *arguments: str) -> str:
    return run(env, "net", "--", "kubectl", *arguments)


@pytest.mark.usefixtures("own_node")
def test_a_second_cluster_lives_beside_the_first_and_leaves_nothing(
    cluster: Cluster, second: dict[str, str], tmp_path: Path
) -> None:
    links = set(os.listdir("/sys/class/net"))  # noqa: PTH208
    run(second, "up")
    assert "is up already" in run(second, "up")
    node = int(exports(second)["OCORE_NODE_PID"])
    state = Path(exports(second)["KUBECONFIG"]).parent
    assert not namespaces_of(node) & namespaces_of(os.getpid())
    ours = processes_beside(node)
    assert kubectl(second, "get", "nodes", "-o", "name") == "node/node1\n"
    cluster.get("Namespace", "default")  # the first one answers still

    kubectl(second, "create", "configmap", "kept", "--from-literal=a=b")
    (tmp_path / "sleeper.json").write_text(json.dumps(sleeper()))
    kubectl(second, "apply", "-f", str(tmp_path / "sleeper.json"))
    kubectl(second, "wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
    volume = kubectl(second, "get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}")
    run(second, "exec", "--", "touch", f"/state/volumes/{volume}/kept")
    assert volume in loop_devices()
    os.kill(node, signal.SIGKILL)
    wait_for("the node to end", lambda: not Path(f"/proc/{node}").exists())
    run(second, "up")
    assert kubectl(second, "get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"

    run(second, "stop")
    assert state.exists()
    run(second, "start")
    assert kubectl(second, "get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"

    assert "/dev/loop" in run(second, "exec", "--", "df", "--output=source", f"/state/volumes/{volume}/kept")

    node = int(exports(second)["OCORE_NODE_PID"])
    ours |= processes_beside(node)
    assert len(ours) > 10
    run(second, "down")
    assert not state.exists()
    name = f"ocore-{second['OCORE_CLUSTER']}"
    assert list(Path("/sys/fs/cgroup").glob(f"**/{name}")) == []
    assert str(state) not in Path("/proc/mounts").read_text()
    wait_for("the loop device to be let go", lambda: volume not in loop_devices())
    assert set(os.listdir("/sys/class/net")) == links  # noqa: PTH208
    assert {process for process in ours if started(process[0]) == process[1]} == set()
    assert "there is no cluster" in run(second, "down")


def sleeper() -> Object:
    """A pod of the one image that every cluster has, on a sized volume."""
    sleeping = pod("sleeper", "default", "localhost/ocore-snapshots/pause:1", ["/pause"], claims={"/data": "data"})
    return {"apiVersion": "v1", "kind": "List", "items": [claim("data", "default", "10Mi", "sized"), sleeping]}


def loop_devices() -> str:
    return subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout


def namespaces_of(process: int) -> set[tuple[str, str]]:
    kinds = ("net", "mnt", "pid", "uts", "ipc")
    try:
        return {(kind, str(Path(f"/proc/{process}/ns/{kind}").readlink())) for kind in kinds}
    except OSError:  # it has ended
        return set()


def processes_beside(node: int) -> set[tuple[int, str]]:
    """Id and start of each process that shares a namespace with the node. The kernel gives the number of a namespace
    that is gone to the next one, so that only processes say afterwards whether anything is left."""
    own = namespaces_of(node)
    found = {int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and own & namespaces_of(int(p.name))}
    return {(process, started(process)) for process in found}


def started(process: int) -> str:
    """When the process began, in clock ticks since the start of the machine; empty where it has ended."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else fields[18]


def test_the_versions_agree() -> None:
    built = re.search(r"^K8S_VERSION=(\S+)", (REPOSITORY / "localcluster/lib/build.sh").read_text(), re.M)
    module = re.search(r"k8s\.io/kubernetes v(\S+)", (REPOSITORY / "localcluster/node/go.mod").read_text())
    assert built is not None
    assert module is not None
    assert built[1] == module[1]


def in_node(*command: str) -> str:
    return subprocess.run(
        [SCRIPT, "exec", "--", *command], check=True, capture_output=True, text=True, timeout=30
    ).stdout
