"""The operator as a test sees it: installed from the chart, killed, restarted, scaled."""

import subprocess

from .cluster import REPOSITORY, Cluster, wait_for

NAMESPACE = "ocore-system"
RELEASE = "ocore"
SELECTOR = "app.kubernetes.io/name=ocore-snapshots,app.kubernetes.io/component=operator"


class Operator:
    """The operator's Deployment."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def install(self, *arguments: str) -> None:
        """`helm upgrade --install` with the local images, then the setting that allows failpoints."""
        done = subprocess.run(
            [
                "helm", "upgrade", "--install", RELEASE, str(REPOSITORY / "charts/ocore-snapshots"),
                "--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s", *arguments,
            ],
            env=self.cluster.env, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        self.set_env("OCORE_ALLOW_FAILPOINTS=true")

    @property
    def deployment(self) -> str:
        """Its name."""
        return str(self.cluster.objects("Deployment", NAMESPACE, SELECTOR)[0]["metadata"]["name"])

    def set_env(self, *assignments: str) -> None:
        """Sets (or with `NAME-` removes) variables and waits for the new pod."""
        self.cluster.kubectl("-n", NAMESPACE, "set", "env", f"deployment/{self.deployment}", *assignments)
        self.ready()

    def scale(self, replicas: int) -> None:
        """Scales, and waits until the pods are as many."""
        self.cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{self.deployment}", f"--replicas={replicas}")
        if replicas:
            self.ready()
        else:
            wait_for("operator gone", lambda: not self.cluster.pods(NAMESPACE, SELECTOR), 60)

    def ready(self, timeout: float = 90) -> None:
        """Waits until the rollout is done."""
        self.cluster.kubectl(
            "-n", NAMESPACE, "rollout", "status", f"deployment/{self.deployment}", f"--timeout={timeout:.0f}s",
            timeout=timeout + 10,
        )  # fmt: skip

    def pod(self) -> dict[str, object]:
        """The running pod."""
        found: dict[str, object] = wait_for(
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

    def kill(self) -> None:
        """`kill -9` of the process in its container: nothing is told, nothing is released."""
        pod = self.pod()
        uid = pod["metadata"]["uid"]  # type: ignore[index]
        restarts = self._restarts(pod)
        script = (
            "for c in /proc/[0-9]*/cgroup; do p=${c%/cgroup}; p=${p#/proc/}; "
            f'grep -q "{uid}" "$c" 2>/dev/null && tr "\\0" " " < /proc/$p/cmdline | grep -q ocore_operator '
            "&& kill -9 $p; done; true"
        )
        subprocess.run(
            [str(REPOSITORY / "localcluster/cluster"), "exec", "--", "bash", "-c", script], check=True, timeout=30
        )
        wait_for("operator restarted", lambda: self._restarts(self.pod()) > restarts, 60)

    @staticmethod
    def _restarts(pod: dict[str, object]) -> int:
        statuses = pod.get("status", {}).get("containerStatuses") or [{}]  # type: ignore[attr-defined]
        return int(statuses[0].get("restartCount", 0))

    def logs(self, lines: int = 200) -> str:
        """The end of its log."""
        name = self.pod()["metadata"]["name"]  # type: ignore[index]
        return self.cluster.logs(NAMESPACE, name, tail_lines=lines)
