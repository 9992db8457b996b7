"""The images as a strict cluster runs them: any user, a read-only root without a writable volume, no rights, and
nothing in them that only a build needs."""

import json

from support.cluster.cluster import Cluster, Object, unique, wait_for

#: As OpenShift gives to a namespace: a user that no image knows, with the group of root.
USER = 1_000_650_000
PROGRAMS = {
    "operator:dev": "import ocore_operator.main",
    "api:dev": "import ocore_api.main",
    "cli:dev": "import ocore_cli.app",
    "mover:17": (
        "import ocore_mover.commands, subprocess; subprocess.run(['/usr/lib/postgresql/17/bin/pg_dump', '--version'],"
        " check=True)"
    ),
}
CHECK = """
import os, shutil
assert os.getuid() == %d
try:
    open('/probe', 'w')
except OSError:
    pass
else:
    raise SystemExit('the root can be written')
found = [name for name in ('pip', 'apt-get', 'gcc', 'curl', 'wget', 'git', 'sudo') if shutil.which(name)]
assert not found, found
"""


def container(image: str, program: str) -> Object:
    return {
        "name": image.partition(":")[0],
        "image": f"localhost/ocore-snapshots/{image}",
        "command": ["python3", "-c", CHECK % USER + program],
        "securityContext": {
            "runAsUser": USER,
            "runAsGroup": 0,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def test_each_image_runs_as_any_user_on_a_read_only_root(cluster: Cluster) -> None:
    namespace = cluster.namespace("images")
    name = unique("images")
    containers = [container(*item) for item in PROGRAMS.items()]
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": containers}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec})

    def ended() -> dict[str, str] | None:
        statuses = (cluster.get("Pod", name, namespace) or {}).get("status", {}).get("containerStatuses", [])
        states = {s["name"]: s["state"].get("terminated") for s in statuses}
        return {n: str(s["exitCode"]) for n, s in states.items()} if states and all(states.values()) else None

    codes = wait_for("the end of the containers", ended)
    logs = {n: cluster.kubectl("-n", namespace, "logs", name, "-c", n) for n, code in codes.items() if code != "0"}
    assert not logs, json.dumps(logs, indent=1)
    cluster.delete("Namespace", namespace)
