"""`kubectl ocore` against the real API server; the test writes status as the operator does.

What kubectl itself must find is run as kubectl runs it. The other commands run in this process: each process of Python
costs more than a second of imports.
"""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from support.cluster.cluster import REPOSITORY, Cluster, Object, wait_for
from support.cluster.plugin import ocore
from support.crds.samples import UUID

NOW = "2026-01-31T12:00:00Z"


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace with an Environment and no operator that knows it."""
    name = crds.namespace("cli")
    crds.apply(
        {
            "apiVersion": "ocore.dev/v1alpha1",
            "kind": "Environment",
            "metadata": {"name": "shop", "namespace": name},
            "spec": {
                "projectId": UUID,
                "type": "production",
                "storeRef": {"name": "backups"},
                "database": {"secretRef": {"name": "none"}},
                "filestore": {"claimName": "files", "path": "shop", "layout": "Plain"},
            },
        }
    )
    yield name
    crds.delete("Namespace", name)


def kubectl_ocore(cluster: Cluster, *arguments: str, timeout: float = 60) -> tuple[int, str]:
    """Exit code and output of `kubectl ocore`: kubectl itself finds the plugin in the checkout."""
    env = {**os.environ, **cluster.env}
    env["PATH"] = f"{REPOSITORY}/cli:{env['PATH']}"
    done = subprocess.run(
        ["kubectl", "ocore", *arguments], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    return done.returncode, done.stdout + done.stderr


def condition(type_: str, reason: str, message: str) -> Object:
    return {"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": NOW}


def test_a_snapshot_is_created_and_followed_to_its_failure(crds: Cluster, namespace: str) -> None:
    outcome: list[tuple[int, str]] = []
    waiter = threading.Thread(
        target=lambda: outcome.append(
            kubectl_ocore(crds, "snapshot", "shop", "--name", "before", "--wait", "-n", namespace)
        )
    )
    waiter.start()
    crds.wait("Snapshot", "before", namespace, lambda _: True, 30)
    steps = [{"name": "Prepare", "state": "Running", "startedAt": NOW, "message": ""}]
    crds.patch_status("Snapshot", "before", namespace, {"phase": "Running", "steps": steps})
    assert ocore(crds, "status", "-n", namespace)[0] == 0
    crds.patch_status(
        "Snapshot",
        "before",
        namespace,
        {"phase": "Failed", "completedAt": NOW, "conditions": [condition("Failed", "DumpFailed", "pg_dump says no")]},
    )
    waiter.join(60)
    code, text = outcome[0]
    assert code == 1, text
    assert "snapshot.ocore.dev/before created" in text
    assert "Prepare" in text
    assert "Failed DumpFailed" in text
    assert text.count("pg_dump says no") == 1
    code, text = ocore(crds, "rollback", "before", "-n", namespace)
    assert (code, "is Failed, not Complete" in text) == (3, True)


def test_kubectls_own_completion_proposes_our_words(crds: Cluster) -> None:
    """kubectl finds the program, and reads its last line as the directive of cobra."""
    env = {**os.environ, **crds.env, "PATH": f"{REPOSITORY}/cli:{crds.env.get('PATH', os.environ['PATH'])}"}
    done = subprocess.run(
        ["kubectl", "__complete", "ocore", "get", "osnap", "-o", "n"],
        env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["name", ":4"]


def test_a_complete_one_is_exit_code_0_and_can_be_gone_back_to(crds: Cluster, namespace: str) -> None:
    code, text = ocore(crds, "snapshot", "shop", "--name", "good", "-n", namespace)
    assert code == 0, text
    status = {"phase": "Complete", "completedAt": NOW, "conditions": [condition("Complete", "Succeeded", "")]}
    crds.patch_status("Snapshot", "good", namespace, status)
    assert ocore(crds, "watch", "snapshot", "good", "-n", namespace)[0] == 0
    code, text = ocore(crds, "rollback", "good", "--name", "back", "--undo-window", "60", "--yes", "-n", namespace)
    assert code == 0, text
    made = crds.get("Rollback", "back", namespace)
    assert made is not None
    assert made["spec"]["undoWindowSeconds"] == 60
    code, text = ocore(crds, "watch", "rollback", "back", "--timeout", "1", "-n", namespace)
    assert code == 4
    # The time that passed, not the limit: a busy machine makes it longer.
    waited = re.search(r"is not terminal after a wait of (\d+\.\d) s", text)
    assert waited, text
    assert float(waited[1]) >= 1
    code, text = ocore(crds, "status", "-n", namespace)
    assert "rollback back" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("snapshot", "nowhere"), "environment nowhere does not exist"),
        (("rollback", "nowhere"), "snapshot nowhere does not exist"),
        (("watch", "rollback", "nowhere"), "rollback nowhere does not exist"),
        (("watch", "orb/nowhere"), "rollback nowhere does not exist"),
        (("snapshot", "shop", "--name", "Not A Name"), "Invalid value"),
        (("status", "--context", "nowhere"), "cannot read the kubeconfig"),
        (("status", "--kubeconfig", "/nowhere"), "cannot read the kubeconfig"),
    ],
)
def test_errors_say_what_to_do(crds: Cluster, namespace: str, arguments: tuple[str, ...], message: str) -> None:
    code, text = ocore(crds, *arguments, "-n", namespace)
    assert code == (3 if message == "Invalid value" else 1), text
    assert message in text
    assert "Traceback" not in text


def test_an_api_server_that_is_not_there_ends_at_the_deadline(crds: Cluster, namespace: str, tmp_path: object) -> None:
    """No server listens: the first read fails at once, with a message."""
    config = subprocess.run(
        ["kubectl", "config", "view", "--raw", "--flatten"],
        env={**os.environ, **crds.env},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    broken = f"{tmp_path}/kubeconfig"
    lines = ["    server: https://127.0.0.1:1" if "server: https://" in line else line for line in config.splitlines()]
    with open(broken, "w") as file:  # noqa: PTH123 - a name, not a path, goes to the option
        file.write("\n".join(lines))
    code, text = kubectl_ocore(crds, "status", "--kubeconfig", broken)
    assert code == 1
    assert "the API server does not answer" in text
    assert "Traceback" not in text


def test_what_the_doctor_prints_fixes_what_it_found(crds: Cluster, namespace: str) -> None:
    """The commands run as they are printed, in a shell."""
    policy = {"environmentRef": {"name": "shop"}, "schedule": ["0 2 * * *"], "suspend": True}
    metadata = {"name": "shop", "namespace": namespace}
    crds.apply({"apiVersion": "ocore.dev/v1alpha1", "kind": "SnapshotPolicy", "metadata": metadata, "spec": policy})
    spare = {"claim": {"claimName": "no-such-claim"}}
    metadata = {"name": "spare", "namespace": namespace}
    crds.apply({"apiVersion": "ocore.dev/v1alpha1", "kind": "SnapshotStore", "metadata": metadata, "spec": spare})
    code, text = ocore(crds, "doctor", "shop", "-n", namespace)
    assert code == 5, text
    assert "SnapshotStore backups does not exist" in text
    fixes = [line.partition("fix: ")[2] for line in text.splitlines() if " patch " in line]
    assert len(fixes) == 3, text
    for fix in fixes:
        subprocess.run(["bash", "-ec", fix], env={**os.environ, **crds.env}, check=True, timeout=60)
    environment, scheduled = crds.get("Environment", "shop", namespace), crds.get("SnapshotPolicy", "shop", namespace)
    assert environment is not None
    assert scheduled is not None
    assert environment["spec"]["storeRef"] == {"name": "spare"}
    assert (scheduled["spec"]["suspend"], scheduled["spec"]["verify"]["schedule"]) == (False, ["0 4 * * 0"])
    _, text = ocore(crds, "doctor", "shop", "-n", namespace)
    assert "suspended" not in text
    assert "SnapshotStore backups does not exist" not in text
    assert "none are scheduled" not in text
    # A policy that was deleted is made again by the printed line.
    crds.delete("SnapshotPolicy", "shop", namespace)
    _, text = ocore(crds, "doctor", "shop", "-n", namespace)
    (command,) = [line.partition("fix: ")[2] for line in text.splitlines() if "fix: echo" in line]
    subprocess.run(["bash", "-ec", command], env={**os.environ, **crds.env}, check=True, timeout=60)
    assert "there is no SnapshotPolicy" not in ocore(crds, "doctor", "-n", namespace)[1]
    code, text = ocore(crds, "doctor", "-n", "no-such-namespace")
    assert (code, "namespace no-such-namespace does not exist" in text) == (1, True)


def test_the_doctor_prints_the_owner_of_the_files(crds: Cluster, namespace: str) -> None:
    """As the operator proposes it. The line runs as it is printed; then the next spec is to be observed, and nothing is
    asked again."""
    message = "The user of the Jobs is unknown."
    probe = {"time": "2026-01-01T00:00:00Z", "generation": 1, "fileOwner": {"runAsUser": 101, "runAsGroup": 102}}
    found = {**condition("Ready", "JobUserUnknown", message), "status": "False"}
    crds.patch_status(
        "Environment", "shop", namespace, {"observedGeneration": 1, "conditions": [found], "probe": probe}
    )
    _, text = ocore(crds, "doctor", "shop", "-n", namespace)
    (fix,) = [line.partition("fix: ")[2] for line in text.splitlines() if "runAsUser" in line and "fix: " in line]
    subprocess.run(["bash", "-ec", fix], env={**os.environ, **crds.env}, check=True, timeout=60)
    environment = crds.get("Environment", "shop", namespace)
    assert environment is not None
    jobs = environment["spec"]["jobs"]
    assert (jobs["runAsUser"], jobs["runAsGroup"]) == (101, 102)
    ready = {**found, "status": "True", "reason": "Succeeded", "message": ""}
    crds.patch_status("Environment", "shop", namespace, {"observedGeneration": 2, "conditions": [ready]})
    assert "JobUserUnknown" not in ocore(crds, "doctor", "shop", "-n", namespace)[1]


def test_init_applies_what_it_shows(crds: Cluster, namespace: str) -> None:
    """Server-side apply: a second run changes nothing, and keeps the ids."""
    metadata = {"name": "web", "namespace": namespace}
    secret = {"host": "db", "dbname": "prod", "user": "odoo", "password": "x"}
    crds.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret})
    keys = {"accessKeyId": "x", "secretAccessKey": "x"}
    of_bucket = {**metadata, "name": "keys"}
    crds.apply({"apiVersion": "v1", "kind": "Secret", "metadata": of_bucket, "stringData": keys})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    crds.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    container = {
        "name": "web",
        "image": "odoo:18",
        "env": [{"name": "HOST", "valueFrom": {"secretKeyRef": {"name": "web", "key": "host"}}}],
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/odoo"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "web"}}]}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    crds.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    arguments = ("init", "deployment/web", "-n", namespace, "--store")
    code, shown = ocore(crds, *arguments, "s3://backups/web")
    assert code == 0, shown
    assert crds.get("Environment", "web", namespace) is None
    code, text = ocore(crds, *arguments, "s3://backups/web", "--apply", "--timeout", "1")
    assert code == 1, text  # there is no such database, and no such bucket
    assert "is not Ready" in text
    made = crds.get("Environment", "web", namespace)
    assert made is not None
    assert f"id: {made['spec']['id']}" in shown
    assert made["spec"]["filestore"] == {
        "claimName": "web",
        "path": "filestore/prod",
        "layout": "Odoo",
        "missingFiles": "Fail",
        "consistency": "Strict",
    }
    assert crds.get("SnapshotStore", "main", namespace) is not None
    assert crds.get("SnapshotPolicy", "web", namespace) is not None
    _, text = ocore(crds, *arguments, "main", "--apply", "--timeout", "1")
    again = crds.get("Environment", "web", namespace)
    assert again is not None
    assert again["spec"]["id"] == made["spec"]["id"], text
    assert again["metadata"]["generation"] == made["metadata"]["generation"]


def test_in_a_checkout_and_as_a_module(crds: Cluster) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocore_cli", "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "kubectl ocore" in done.stdout
    wait_for("help of the plugin", lambda: kubectl_ocore(crds, "--help")[0] == 0)
