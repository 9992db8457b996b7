"""The operator as a test sees it: installed from the chart, killed, restarted, scaled."""

import json
import subprocess

from . import node
from .cluster import PATIENCE, REPOSITORY, Cluster, Object, unique, wait_for

NAMESPACE = "ocore-system"
RELEASE = "ocore"
#: Of this run of the tests. The tag of the images stays the same from build to build: only a new pod has the new one.
RUN = unique("at")
#: Two operators.
PRODUCTION = REPOSITORY / "charts/ocore-snapshots/values-production.yaml"
SELECTOR = "app.kubernetes.io/name=ocore-snapshots,app.kubernetes.io/component=operator"


def operator_account(cluster: Cluster) -> str:
    """The user name of the operator's service account."""
    spec = cluster.objects("Deployment", NAMESPACE, SELECTOR)[0]["spec"]["template"]["spec"]
    return f"system:serviceaccount:{NAMESPACE}:{spec['serviceAccountName']}"


class Operator:
    """The operator's Deployment."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def install(self, *arguments: str) -> None:
        """`helm upgrade --install` with the local images, then the setting that allows failpoints, which stays: its pod
        starts again at the first installation only."""
        done = subprocess.run(
            [
                "helm", "upgrade", "--install", RELEASE, str(REPOSITORY / "charts/ocore-snapshots"),
                "--namespace", NAMESPACE, "--create-namespace", "--force-conflicts", "--wait", "--timeout", "120s",
                "--values", str(REPOSITORY / "localcluster/values.yaml"),
                # What is not there is waited for; the tests of bad input need not wait as long as a person would.
                "--set", "settings.environmentWait=15",
                # A kind of which only the scale subresource is used.
                "--set-json", 'workloads.kinds=[{"apiVersion":"apps/v1","kind":"ReplicaSet","resource":"replicasets"}]',
                "--set", "rbac.cnpg=true", "--set", "rbac.jobIdentities=true", "--set", "jobs.allowed.labels={team}",
                # Pods and services of the local cluster. Its node is outside, with a private address.
                "--set", r"settings.clusterNetworks=10.244.0.0/16\,10.96.0.0/16", *arguments,
            ],
            env=self.cluster.env, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        template = self.cluster.objects("Deployment", NAMESPACE, SELECTOR)[0]["spec"]["template"]
        name = template["spec"]["containers"][0]["name"]
        allowed = {"name": name, "env": [{"name": "OCORE_ALLOW_FAILPOINTS", "value": "true"}]}
        change = {"metadata": {"annotations": {"ocore.dev/restarted": RUN}}, "spec": {"containers": [allowed]}}
        patch = json.dumps({"spec": {"template": change}})
        self.cluster.kubectl("-n", NAMESPACE, "patch", f"deployment/{self.deployment}", "--patch", patch)
        self.ready()

    @property
    def deployment(self) -> str:
        """Its name."""
        return str(self.cluster.objects("Deployment", NAMESPACE, SELECTOR)[0]["metadata"]["name"])

    def set_env(self, *assignments: str) -> None:
        """Sets (or with `NAME-` removes) variables and waits for the new pod."""
        self.cluster.kubectl("-n", NAMESPACE, "set", "env", f"deployment/{self.deployment}", *assignments)
        self.ready()

    def lease(self) -> Object:
        """The spec of its Lease: who leads."""
        found = self.cluster.get("Lease", self.deployment, NAMESPACE)
        assert found is not None
        return dict(found["spec"])

    def leader(self) -> Object:
        """The pod that leads."""

        def found() -> Object | None:
            holder = self.lease().get("holderIdentity") or ""
            return next((p for p in self.pods() if p["metadata"]["uid"] in holder), None)

        pod: Object = wait_for("a leader", found, 60)
        return pod

    def next_leader(self, holder: str) -> Object:
        """The spec of the Lease when another one than that holder leads."""

        def found() -> Object | None:
            lease = self.lease()
            return lease if lease.get("holderIdentity") not in ("", None, holder) else None

        lease: Object = wait_for("the next leader", found, 60)
        return lease

    def vanish(self, pod: Object) -> None:
        """Ends one of its pods without a word, as with the pod's node. (Where only the process is killed, the kubelet
        starts it again, and it leads on.)"""
        pids, name = self.processes(pod), pod["metadata"]["name"]
        assert pids
        node.signal(pids, "STOP")  # or it would be told of the deletion, and release the Lease
        self.cluster.kubectl("-n", NAMESPACE, "delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
        node.signal(pids, "KILL")

    def scale(self, replicas: int) -> None:
        """Scales, and waits until the pods are as many."""
        self.cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{self.deployment}", f"--replicas={replicas}")
        if replicas:
            self.ready()
        else:
            wait_for("operator gone", lambda: not self.cluster.pods(NAMESPACE, SELECTOR), 60)

    def ready(self, timeout: float = 90) -> None:
        """Waits until the rollout is done; fails after `timeout` seconds times PATIENCE."""
        timeout *= PATIENCE
        self.cluster.kubectl(
            "-n", NAMESPACE, "rollout", "status", f"deployment/{self.deployment}", f"--timeout={timeout:.0f}s",
            timeout=timeout + 10,
        )  # fmt: skip

    def pod(self) -> Object:
        """The running pod."""
        found: Object = wait_for(
            "operator pod",
            lambda: next(
                (
                    p
                    for p in self.cluster.pods(NAMESPACE, SELECTOR)
                    if p.get("status", {}).get("phase") == "Running" and not p["metadata"].get("deletionTimestamp")
                ),
                None,
            ),
            60,
        )
        return found

    def pods(self) -> list[Object]:
        """All its pods that are not being deleted, the older first."""
        found = [p for p in self.cluster.pods(NAMESPACE, SELECTOR) if not p["metadata"].get("deletionTimestamp")]
        return sorted(found, key=lambda p: p["metadata"]["creationTimestamp"])

    @staticmethod
    def processes(pod: Object) -> list[int]:
        """Ids, in the node, of the operator's process in that pod."""
        return node.processes(pod, "ocore_operator")

    def kill(self) -> None:
        """`kill -9` of the process in its container: nothing is reported, nothing is released."""
        pod = self.pod()
        restarts = self.restarts(pod)
        node.signal(self.processes(pod), "KILL")
        wait_for("operator restarted", lambda: self.restarts(self.pod()) > restarts, 60)

    @staticmethod
    def restarts(pod: Object) -> int:
        """How often its container was started again."""
        statuses = pod.get("status", {}).get("containerStatuses") or [{}]
        return int(statuses[0].get("restartCount", 0))

    def fired(self, point: str) -> int:
        """How often a failpoint of the operator fired in this pod: each time leaves a mark that outlives the
        container."""
        code, listed = self.cluster.exec_in(NAMESPACE, self.pod()["metadata"]["name"], "ls", "/tmp")
        assert code == 0, listed
        return sum(name.startswith("failpoint-") and name.endswith(f"-{point}") for name in listed.split())

    def logs(self, lines: int = 200) -> str:
        """The end of its log."""
        name = self.pod()["metadata"]["name"]
        return self.cluster.logs(NAMESPACE, name, tail_lines=lines)
